"""The derivative audit against theory, and against derivatives that were made wrong on purpose."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pinnsolve.audit import audit
from pinnsolve.audit.kinks import recorded_signs
from pinnsolve.audit.sample import audit_sample
from pinnsolve.audit.verdict import VERDICTS
from pinnsolve.derivatives import exact
from pinnsolve.derivatives.finite_differences import finite_differences
from pinnsolve.derivatives.stencils import SCHEMES, Family, family
from pinnsolve.errors import SettingsError
from pinnsolve.networks.activations import Activation, activation
from pinnsolve.networks.multilayer import MultilayerPerceptron
from pinnsolve.problems.loading import parse_problem

CPU = torch.device("cpu")


def problem(equation, *, reference="", **coordinates):
    """Return a problem with this equation and these coordinates."""
    lines = ['title = "test"', "[coordinates]", *(f"{name} = {list(ends)}" for name, ends in coordinates.items())]
    lines += ["[equations]", f'e = "{equation}"']
    lines += ["[reference]", f'exact = {{ u = "{reference}" }}'] if reference else []
    return parse_problem("\n".join(lines).encode(), Path("test.toml"))


LINE = problem("u_xx = u_x", x=(-1, 1))


class Field(nn.Module):
    """A function of the first coordinate (or of the points) as the field u."""

    def __init__(self, function, of_points=False) -> None:
        super().__init__()
        self.function, self.of_points = function, of_points

    def forward(self, points):
        return {"u": self.function(points if self.of_points else points[..., 0])}


class Network(nn.Module):
    """A perceptron with biases as the field u."""

    def __init__(self, phi: Activation, inputs=1, width=10, depth=2) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.network = MultilayerPerceptron(inputs, [width] * depth, 1, phi, torch.float64)
        self.network.initialized("glorot", generator)
        with torch.no_grad():
            for layer in self.network.hidden:
                layer.bias.uniform_(-0.5, 0.5, generator=generator)

    def forward(self, points):
        return {"u": self.network(points)[..., 0]}


def verdicts(report, **wanted):
    """Return the verdicts of the findings that have these attributes."""
    chosen = [f for f in report.summary if all(getattr(f, key) == value for key, value in wanted.items())]
    assert chosen
    return {finding.verdict for finding in chosen}


# --- sound derivatives --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [torch.sin, torch.exp])
def test_measured_steps_errors_and_orders_are_the_predicted_ones(function):
    report = audit(LINE, Field(function), points=256)
    assert len(report.summary) == 2 * 2 * len(SCHEMES)
    for finding in report.summary:
        order = 1 if finding.term == "u_x" else 2
        if finding.dtype == "float32" and finding.scheme == "central6":
            continue  # h* is beyond what the domain holds
        assert 1 / 3 <= finding.step / finding.predicted_step <= 3, finding
        assert 1 / 3 <= finding.fd_vs_ad / finding.predicted_error <= 3, finding
        assert finding.verdict in ("ok", "rounding-limited")
        if finding.dtype == "float64":
            expected = family(finding.scheme, order).free.accuracy
            assert finding.observed_order is None or finding.observed_order == pytest.approx(expected, abs=0.05)
    found = {(f.term, f.scheme) for f in report.summary if f.observed_order is not None and f.dtype == "float64"}
    assert {(term, scheme) for term in ("u_x", "u_xx") for scheme in SCHEMES[:5]} <= found | {("u_xx", "central4")}


@pytest.mark.parametrize("scheme", ["forward", "central2", "central4"])
def test_predicted_steps_on_sin_are_those_of_the_law(scheme):
    # points over whole periods: |sin| and |cos| have one RMS; ε_f is the measured 0.3 to 1 u
    long = problem("u_xx = u_x", x=(-32, 32))
    for finding in audit(long, Field(torch.sin), points=256, schemes=[scheme]).summary:
        free = family(scheme, 1 if finding.term == "u_x" else 2).free
        noise = 0.5 * torch.finfo(getattr(torch, finding.dtype)).eps / 2
        assert 1 / 3 <= finding.predicted_step / free.best_step(noise, 1.0) <= 3
        assert 1 / 3 <= finding.predicted_error / free.best_error(noise, 1.0) <= 3


def test_v_curves_span_the_decades_and_have_one_best_step():
    report = audit(LINE, Field(torch.sin), points=64)
    for scheme in SCHEMES:
        for dtype, decades in (("float64", 10), ("float32", 6)):
            for term in ("u_x", "u_xx"):
                rows = [r for r in report.rows if (r.scheme, r.dtype, r.term) == (scheme, dtype, term)]
                steps = np.array([row.step for row in rows])
                assert np.log10(steps[-1] / steps[0]) >= decades
                assert (np.diff(np.log10(steps)) < 0.5).all()
                assert [row.fd_vs_ad for row in rows if row.best] == [min(row.fd_vs_ad for row in rows)]
                assert all(row.fd_vs_ad_max >= row.fd_vs_ad for row in rows)


def test_every_node_is_exact_in_both_precisions():
    sample = audit_sample(problem("u_x + u_t = 0", x=("-pi", "3.3"), t=(0, 0.01)), 100, 3, CPU)
    for dtype in ("float64", "float32"):
        points, steps = sample.points.to(getattr(torch, dtype)), sample.steps(dtype)
        assert torch.equal(points.double(), sample.points)
        for step in (steps[0], steps[1], steps[-8]):
            differentiator = sample.differentiator("central6", step)
            nodes = differentiator.batch(points, [(1, 0), (0, 1)]).nodes
            for axis, h in enumerate(differentiator.steps):
                for node in nodes[:, ::10, axis].unbind():
                    moved = [(Fraction(a) - Fraction(b)) / Fraction(h) for a, b in _pairs(node, points[::10, axis])]
                    assert all(shift.denominator == 1 and abs(shift) <= 6 for shift in moved)


def _pairs(one: Tensor, other: Tensor):
    return zip(one.tolist(), other.tolist(), strict=True)


def test_no_point_outside_the_domain_is_looked_at():
    boxed = problem("u_xx + u_t + u_xt = 0", x=(0.1, 0.7), t=(-2, 3))
    seen = []

    def watched(points):
        if isinstance(points, Tensor):
            seen.append(
                (points.detach().double().flatten(0, -2).amin(0), points.detach().double().flatten(0, -2).amax(0))
            )
        return torch.sin(points[..., 0] * points[..., 1])

    audit(boxed, Field(watched, of_points=True), points=64)
    assert (torch.stack([low for low, _ in seen]).amin(0) >= torch.tensor([0.1, -2.0], dtype=torch.float64)).all()
    assert (torch.stack([high for _, high in seen]).amax(0) <= torch.tensor([0.7, 3.0], dtype=torch.float64)).all()


def test_a_sound_network_is_ok_in_every_derivative_and_mixture():
    plane = problem("u_t + u_xx + u_xt = 0", x=(-1, 1), t=(0, 1))
    network = Network(activation("tanh"), inputs=2)
    report = audit(plane, network, points=256)
    assert verdicts(report, dtype="float64") == {"ok"}
    assert verdicts(report, dtype="float32") <= {"ok", "rounding-limited"}
    assert {row.kink_fraction for row in report.rows} == {0.0}
    assert all(p.dtype == torch.float64 and p.requires_grad for p in network.parameters())
    assert report == audit(plane, network, points=256)  # the same points, the same numbers
    assert report != audit(plane, network, points=256, seed=1)
    assert [sentence.split(":")[0] for sentence in report.sentences] == [p.name("xt") for p in plane.partials]


def test_a_periodic_coordinate_may_be_left():
    ring = parse_problem(
        b'title="t"\nperiodic=["x"]\n[coordinates]\nx=[0,2]\n[equations]\ne="u_xx=u"', Path("ring.toml")
    )
    report = audit(ring, Field(lambda x: torch.sin(x * math.pi)), points=128, schemes=["central4"])
    assert verdicts(report) == {"ok"}


# --- the exact solution ------------------------------------------------------------------------------------------


def exact_report(error):
    known = problem("u_xx = u_x", reference="sin(x)", x=(-1, 1))
    field = Field(lambda x: torch.sin(x) + error * torch.cos(3 * x))
    return audit(known, field, exact=exact(known.reference.exact, known.symbols), points=256, dtypes=["float64"])


def test_the_network_error_is_the_distance_from_the_exact_derivative():
    report = exact_report(1e-3)
    x = audit_sample(LINE, 256, 0, CPU).points[:, 0].numpy()
    value = np.cos(x) - 3e-3 * np.sin(3 * x)
    expected = np.sqrt(np.mean((3e-3 * np.sin(3 * x)) ** 2) / np.mean(value**2))
    for finding in report.summary:
        if finding.term == "u_x":
            assert finding.ad_vs_exact == pytest.approx(expected, rel=1e-12)
            assert finding.fd_vs_exact == pytest.approx(expected, rel=1e-4)  # e_FD is 1e-8 at most
    assert verdicts(report) == {"ok"}
    told = next(f for f in report.summary if f.term == "u_x" and f.scheme == "central2")
    sentence = f"u_x: AD {told.ad_vs_exact:.1e} from exact, central2 {told.fd_vs_ad:.1e} from AD at h = {told.step:.1e}"
    assert report.sentences[0] == sentence


def test_verdicts_say_what_limits_a_derivative():
    assert verdicts(exact_report(0.0)) == {"rounding-limited"}  # R = e_FD / e_net is large
    report = exact_report(0.5)
    assert verdicts(report) == {"network-limited"}
    assert "train longer" in report.sentences[0]


# --- kinks ---------------------------------------------------------------------------------------------------------


def test_kink_fractions_are_those_of_a_count_by_hand():
    network = Network(activation("elu"), width=6)
    report = audit(LINE, network, points=64, schemes=["central2"], dtypes=["float64"])
    points = audit_sample(LINE, 64, 0, CPU).points[:, 0].tolist()
    rows = [row for row in report.rows if row.term == "u_xx"]
    for row in rows[-14:]:
        count = sum(_kinked(network, x, row.step) for x in points)
        assert row.kink_fraction == count / 64
    assert rows[0].kink_fraction < 0.1 < rows[-1].kink_fraction


def _kinked(network, x, h):
    offsets = (0, 1, 2, 3) if x - h < -1 else (0, -1, -2, -3) if x + h > 1 else (-1, 0, 1)
    patterns = set()
    for j in offsets:
        values, pattern = np.array([x + j * h]), []
        for layer in network.network.hidden:
            z = layer.weight.detach().numpy() @ values + layer.bias.detach().numpy()
            pattern += [bool(each) for each in z > 0]
            values = np.where(z > 0, z, np.expm1(np.minimum(z, 0)))
        patterns.add(tuple(pattern))
    return len(patterns) > 1


def test_rough_activations_are_kink_limited_or_too_rough():
    report = audit(LINE, Network(activation("elu")), points=512, schemes=["central2", "central6"])
    assert verdicts(report, term="u_xx", dtype="float64") == {"kink-limited"}
    too_rough = audit(LINE, Network(activation("relu")), points=256, schemes=["central2"])
    assert verdicts(too_rough, term="u_xx") == {"smoothness violation"}
    assert {row.fd_vs_ad for row in too_rough.rows if row.term == "u_xx"} == {None}  # u_xx of AD is zero
    assert verdicts(audit(problem("u_xxx = u", x=(-1, 1)), Network(activation("elu")), points=64)) == {
        "smoothness violation"
    }


# --- sabotage ---------------------------------------------------------------------------------------------------


class _Slope(torch.autograd.Function):
    """tanh' with half of its derivative."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return 1 - torch.tanh(z) ** 2

    @staticmethod
    def backward(ctx, gradient):
        (z,) = ctx.saved_tensors
        return 0.5 * gradient * -2 * torch.tanh(z) * (1 - torch.tanh(z) ** 2)


class _Tanh(torch.autograd.Function):
    """tanh whose second derivative is halved."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return torch.tanh(z)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * _Slope.apply(ctx.saved_tensors[0])


def _halved(z, order):
    phi = activation("tanh").derivatives(z, order)
    return [value * 0.5 if k == 2 else value for k, value in enumerate(phi)]


@pytest.mark.parametrize("routes", ["taylor", "autograd", "both"])
def test_a_falsified_second_derivative_is_flagged(routes):
    tanh = activation("tanh")
    value = tanh.value if routes == "taylor" else _Tanh.apply
    derivatives = tanh.derivatives if routes == "autograd" else _halved
    report = audit(LINE, Network(dataclasses.replace(tanh, value=value, derivatives=derivatives)), points=128)
    assert verdicts(report, term="u_xx") == {"derivative mismatch"}
    assert "derivative mismatch" not in verdicts(report, term="u_x")
    assert "do not trust" in next(s for s in report.sentences if s.startswith("u_xx"))


def test_a_missing_input_scale_is_flagged():
    def doubled(x):  # the value of sin 2x, with the slope of x where 2x is due
        return torch.sin(x + (x.detach() if isinstance(x, Tensor) else x.coefficients[0]))

    report = audit(LINE, Field(doubled), points=128)
    assert verdicts(report) == {"derivative mismatch"}


def test_a_missing_input_scale_is_flagged_through_kinks_too():
    class Scaled(Network):
        def forward(self, points):
            return super().forward(points + (points.detach() if isinstance(points, Tensor) else points.coefficients[0]))

    report = audit(LINE, Scaled(activation("elu")), points=256)
    assert verdicts(report) == {"derivative mismatch"}


@pytest.mark.parametrize("function", [lambda x: torch.sin(300 * x), lambda x: torch.tanh(400 * x)])
def test_large_steps_that_miss_all_detail_are_no_mismatch(function):
    # differences with steps past the wavelength are near zero, and so agree with each other
    assert verdicts(audit(LINE, Field(function), points=512)) <= {"ok", "rounding-limited"}


@pytest.mark.parametrize("size", [1e-2, 1e-5])
def test_a_small_error_of_the_derivative_is_flagged(size):
    def slightly_wrong(x):
        hidden = x.detach() if isinstance(x, Tensor) else x.coefficients[0]
        return torch.sin(x) + size * torch.sin(hidden)

    assert verdicts(audit(LINE, Field(slightly_wrong), points=128), dtype="float64") == {"derivative mismatch"}


def test_a_wrong_stencil_is_flagged_alone(monkeypatch):
    def flipped(scheme, order):
        sound = family(scheme, order)
        if (scheme, order) != ("central4", 2):
            return sound
        wrong = [dataclasses.replace(s, weights=(-s.weights[0], *s.weights[1:])) for s in sound.stencils]
        return Family(tuple(wrong))

    monkeypatch.setattr("pinnsolve.derivatives.finite_differences.family", flipped)
    report = audit(LINE, Field(lambda x: torch.sin(x + 0.5)), points=128)
    assert verdicts(report, term="u_xx", scheme="central4") == {"derivative mismatch"}
    assert {f.scheme for f in report.summary if f.verdict == "derivative mismatch"} == {"central4"}


def test_float32_is_compared_with_float64_of_the_same_rounded_weights():
    class Line(nn.Module):
        def __init__(self):
            super().__init__()
            self.slope = nn.Parameter(torch.tensor(1 + 2.0**-25, dtype=torch.float64))  # 1 in float32

        def forward(self, points):
            return {"u": points[..., 0] * self.slope}

    report = audit(LINE, Line(), points=32, schemes=["central2"], dtypes=["float32"])
    assert min(row.fd_vs_ad for row in report.rows if row.term == "u_x") == 0.0


def test_float32_is_not_claimed_for_values_of_another_precision():
    offset = torch.linspace(0, 1, 1, dtype=torch.float64)  # neither a parameter nor a buffer
    report = audit(LINE, Field(lambda x: torch.sin(x + offset)), points=32, schemes=["central2"])
    assert {row.dtype for row in report.rows} == {"float64"}


def test_a_domain_that_float32_cannot_resolve_is_audited_in_float64_alone():
    report = audit(problem("u_x = u", x=(10**6, 10**6 + 1)), Field(lambda x: torch.sin(x - 1e6)), points=32)
    assert {row.dtype for row in report.rows} == {"float64"}
    assert verdicts(report, scheme="central2") == {"ok"}


# --- what cannot be said -------------------------------------------------------------------------------------------


def test_a_vanishing_derivative_has_no_relative_errors():
    report = audit(LINE, Field(lambda x: x * 3.0 + 1), points=64)
    assert {row.fd_vs_ad for row in report.rows if row.term == "u_xx"} == {None}
    assert verdicts(report, term="u_xx") == {"ok"}
    assert report.sentences[1] == "u_xx: no relative errors, AD is zero or not finite"
    constant = audit(LINE, Field(lambda x: x * 0.0 + 0.1), points=64)
    assert verdicts(constant) == {"ok"}
    assert {finding.fd_vs_ad for finding in constant.summary} == {None}


def test_nan_is_neither_averaged_away_nor_a_zero():
    report = audit(LINE, Field(lambda x: torch.sqrt(x - 0.5)), points=64)
    assert verdicts(report) == {"not finite"}
    assert {row.fd_vs_ad for row in report.rows} == {None}
    assert "not finite" in report.sentences[0]


def test_records_have_the_keys_of_the_run_folder():
    report = audit(LINE, Field(torch.sin), points=16, schemes=["central2"], dtypes=["float64"])
    rows = """term field scheme dtype step fd_vs_ad fd_vs_ad_max fd_vs_ad_median fd_vs_ad_p99 fd_vs_ad_clean ad_vs_exact
        fd_vs_exact truncation rounding predicted_error leading_ratio kink_fraction best"""
    assert list(report.rows[0].record) == rows.split()
    keys = """term scheme dtype step fd_vs_ad ad_vs_exact fd_vs_exact ad_error independent_error observed_order
        order_low order_high order_l1 order_max plateau predicted_step predicted_error kink_fraction noise_ratio
        decision evaluations verdict"""
    assert list(report.summary[0].record) == keys.split()
    assert report.summary[0].verdict in VERDICTS
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.rows[0].step = 0.0


def test_a_problem_without_derivatives_has_an_empty_audit():
    report = audit(problem("u = sin(x)", x=(0, 1)), Field(torch.sin))
    assert (report.rows, report.summary, report.sentences) == ((), (), ())


def test_one_point_and_one_neuron_are_enough():
    report = audit(LINE, Network(activation("tanh"), width=1, depth=1), points=1)
    assert verdicts(report, dtype="float64", scheme="central2") == {"ok"}


def test_bad_settings_are_refused_with_their_values():
    field = Field(torch.sin)
    with pytest.raises(SettingsError, match="at least 1 point, got 0"):
        audit(LINE, field, points=0)
    with pytest.raises(SettingsError, match="unknown precision 'float16'"):
        audit(LINE, field, dtypes=["float16"])
    with pytest.raises(SettingsError, match="unknown finite-difference scheme 'centre'"):
        audit(LINE, field, schemes=["centre"])


def test_functions_without_a_taylor_rule_are_audited_by_nested_autograd():
    report = audit(LINE, Field(torch.expm1), points=64, schemes=["central2"])
    assert verdicts(report) == {"ok"}
    assert all(finding.predicted_error is not None for finding in report.summary)


def test_the_differentiators_of_the_audit_are_the_public_ones():
    sample = audit_sample(LINE, 8, 0, CPU)
    ours = sample.differentiator("central2", 2.0**-5)
    assert ours == finite_differences("central2", [2.0**-4], [-1], [1], [False])


def test_kinks_of_a_residual_network_lie_where_its_sums_change_sign():
    network = MultilayerPerceptron(1, [4] * 2, 1, activation("elu"), torch.float64, "resnet")
    network.initialized("glorot", torch.Generator().manual_seed(1))
    x = torch.tensor([[[-0.5]], [[0.5]]], dtype=torch.float64)  # two nodes at one point
    with recorded_signs(network) as signs:
        network(x)
    lift, inner, outer, last = network.layers
    h = lift(x)
    middle = inner(torch.nn.functional.elu(h))
    after = last(h + outer(torch.nn.functional.elu(middle)))
    assert [sign.tolist() for sign in signs] == [(z > 0).tolist() for z in (h, middle, after)]
    assert network.activation.name == "elu"
