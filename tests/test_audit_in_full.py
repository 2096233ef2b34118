"""What the audit measures beside its V-curves: the complex step, costs, residuals, the loss gradient, kinks, gates."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pinnsolve.audit import audit
from pinnsolve.audit.complex_step import Oracle
from pinnsolve.audit.cost import PeakMemory
from pinnsolve.audit.gates import Gate, parse_gates, refused
from pinnsolve.audit.loss_gradient import _loss, _misspecification, loss_gradient_audit
from pinnsolve.audit.maps import kink_grid
from pinnsolve.audit.records import LossGradientAudit
from pinnsolve.audit.sample import audit_sample
from pinnsolve.audit.verdict import MISSED, gradient_sentence
from pinnsolve.derivatives import exact, taylor
from pinnsolve.derivatives.stencils import SCHEMES, family
from pinnsolve.errors import SettingsError
from pinnsolve.networks import derive_constraints, points_at_once
from pinnsolve.networks.activations import activation, activation_names
from pinnsolve.networks.ansatz import Ansatz, InputFeatures
from pinnsolve.networks.multilayer import MultilayerPerceptron
from pinnsolve.networks.numpy_ansatz import Dual, numpy_activation
from pinnsolve.networks.trunks import build_network
from pinnsolve.problems.loading import parse_problem
from pinnsolve.solving.settings import resolve_settings
from tests.test_audit import CPU, LINE, Field, Network, verdicts


def problem_from(text):
    """Return the problem of a file with this text."""
    return parse_problem(text.encode(), Path("test.toml"))


SMOOTH = [name for name in activation_names() if activation(name).smoothness == math.inf]
PLANE = """
title = "a plane, one way round a ring"
periodic = ["x"]
[fields.u]
[fields.v]
range = [0, 2]
[coordinates]
x = [0, 2]
t = [0, 0.5]
[equations]
one = "u_t + u_xx + u_xt + u_xxx = v_x"
two = "v_tt = u"
[[conditions]]
where = "t = 0"
equation = "u = sin(pi*x)"
"""


def trial(text, seed=0, **settings):
    """Return a problem and its untrained trial solution."""
    problem = problem_from(text)
    chosen = resolve_settings({f"network.{key}": value for key, value in settings.items()}).network
    generator = torch.Generator().manual_seed(seed)
    features = InputFeatures(problem, 3, torch.float64)
    network = build_network(chosen, features.size, len(problem.fields), torch.float64, generator)
    return problem, Ansatz(problem, derive_constraints(problem), features, network, [1.0] * len(problem.fields))


# --- the complex step -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMOOTH)
def test_the_complex_step_confirms_every_smooth_activation(name):
    problem, ansatz = trial(PLANE, activation=name)
    for finding in audit(problem, ansatz, points=128, schemes=["central2"], dtypes=["float64"]).summary:
        bound = {1: 1e-12, 2: 1e-10, 3: 1e-8}[problem.partial(finding.term).order]
        assert finding.independent_error <= bound, finding
        assert finding.ad_error <= bound, finding


@pytest.mark.parametrize("kind", ["mlp", "resnet", "gated"])
@pytest.mark.parametrize("trunk", ["shared", "separate"])
def test_the_trial_solution_in_numpy_is_that_of_torch(kind, trunk):
    problem, ansatz = trial(PLANE, kind=kind, trunk=trunk)
    sample = audit_sample(problem, 64, 0, CPU)
    oracle = Oracle.of(ansatz, sample.units)
    with torch.no_grad():
        values, jet = ansatz(sample.points), taylor(ansatz, sample.points, problem.partials)
    for name, value in oracle.values(sample.points).items():
        assert torch.allclose(value, values[name], rtol=1e-14, atol=1e-14)
    for partial in (partial for partial in problem.partials if partial.order):
        found, _ = oracle.derivative(sample.points.numpy(), partial)
        size = float(jet[partial].square().mean().sqrt())
        bound = 1e-12 if partial.order < 3 else 1e-10  # u 3!/r³ with radii of 1/8 or so
        assert np.abs(found - jet[partial].numpy()).max() <= bound * size


@pytest.mark.parametrize("name", activation_names())
def test_slopes_in_numpy_are_the_complex_steps_of_the_values(name):
    phi = numpy_activation(activation(name, 0.7))
    z = np.concatenate([np.linspace(-30, 30, 240), [-700.0, 700.0]]) + 0.0123
    value, slope = phi(z.astype(complex))
    stepped = np.imag(phi(z + 1e-30j)[0]) / 1e-30
    assert np.allclose(slope.real, stepped, rtol=1e-11, atol=1e-14)
    torch_value = activation(name, 0.7).value(torch.as_tensor(z)).numpy()
    assert np.allclose(value.real, torch_value, rtol=1e-13, atol=1e-15)


def test_duals_follow_the_rules_of_differentiation():
    a, b = Dual(np.array([2.0]), np.array([3.0])), Dual(np.array([5.0]), np.array([7.0]))
    assert ((a * b).slope, (a + b).slope, (a - b).slope) == (3 * 5 + 2 * 7, 10, -4)
    assert ((2.0 * a + 1.0).value, (2.0 * a + 1.0).slope) == (5, 6)


def test_mixtures_of_high_order_have_no_complex_step():
    problem, ansatz = trial(PLANE.replace("u_xxx", "u_xxtt"))
    sample = audit_sample(problem, 8, 0, CPU)
    assert Oracle.of(ansatz, sample.units).derivative(sample.points.numpy(), problem.partial("u_xxtt")) is None
    assert Oracle.of(Field(torch.sin), sample.units) is None


# --- sabotage that only an independent oracle can see ---------------------------------------------------------------


def sabotaged(change):
    """Return the verdicts on a trial solution whose network was changed."""
    problem, ansatz = trial(PLANE)
    sound = audit(problem, ansatz, points=64, schemes=["central2"], dtypes=["float64"])
    assert "derivative mismatch" not in verdicts(sound)
    change(ansatz)
    return verdicts(audit(problem, ansatz, points=64, schemes=["central2"], dtypes=["float64"]))


def test_jets_of_float32_that_are_labelled_float64_are_flagged():
    tanh = activation("tanh")

    def single(ansatz):
        ansatz.network.activation = dataclasses.replace(
            tanh,
            value=lambda z: torch.tanh(z.float()).double(),
            derivatives=lambda z, k: [each.double() for each in tanh.derivatives(z.float(), k)],
        )

    assert sabotaged(single) == {"derivative mismatch"}


class _Rounded(nn.Linear):
    """A layer that multiplies with weights of 10 bits, as TF32 does."""

    def forward(self, z):
        mantissa, exponent = torch.frexp(self.weight)
        return functional.linear(z, torch.ldexp(torch.round(mantissa * 2**11), exponent - 11), self.bias)


def test_products_with_rounded_weights_are_flagged():
    def rounded(ansatz):
        for layer in ansatz.network.layers:
            layer.__class__ = _Rounded

    assert sabotaged(rounded) == {"derivative mismatch"}


def test_a_missing_input_scale_in_both_routes_is_flagged():
    class Scaled(InputFeatures):
        def forward(self, points):
            return super().forward(points) * 0.5

    def scaled(ansatz):
        ansatz.features.__class__ = Scaled

    assert sabotaged(scaled) == {"derivative mismatch"}


def test_a_falsified_activation_is_flagged_though_torch_agrees_with_itself():
    def replaced(ansatz):  # says tanh, is another function: torch's own routes and stencils all agree
        ansatz.network.activation = dataclasses.replace(activation("sine"), name="tanh")

    assert sabotaged(replaced) == {"derivative mismatch"}


# --- the loss gradient ----------------------------------------------------------------------------------------------


class _Unit(nn.Module):
    """c·φ(w x + b), with b as its parameter: w = 2, c = 1."""

    def __init__(self, name):
        super().__init__()
        self.bias, self.activation = nn.Parameter(torch.tensor(-0.4, dtype=torch.float64)), activation(name)

    def forward(self, points):
        return {"u": self.activation(points[..., 0] * 2.0 + self.bias)}


UNIT = problem_from(
    'title = "one unit"\n[coordinates]\nx = [0, 1]\n[equations]\ne = "u_xx = 1"\n'
    '[[conditions]]\nwhere = "x = 0"\nequation = "u = 0"\n'
)


def test_the_misspecification_index_is_that_of_one_elu_unit():
    # dL/db of ∫₀¹ (u'' - 1)² with u = ELU(2x - 0.4): u'' = 4 exp(2x + b) left of the kink at x = -b/2, else 0
    b = -0.4
    inside = 4 * math.exp(2 * 0 + b)
    kink = (4 - 1) ** 2 - 1  # the integrand jumps from (4 - 1)² to 1 where the kink is, which moves by -1/2
    left = (16 - inside**2) / 4 * 2 - 2 * (4 - inside) / 2  # ∫ 2 (u'' - 1) u'' dx over [0, -b/2]
    true, seen = left - 0.5 * kink, left
    assert (true, seen) == (pytest.approx(-0.913, abs=5e-4), pytest.approx(3.087, abs=5e-4))
    points = ((torch.arange(2**20, dtype=torch.float64) + 0.5) / 2**20)[:, None]
    direction = [torch.ones((), dtype=torch.float64)]
    index = _misspecification(_Unit("elu"), [direction], (points,), _loss(UNIT))
    assert index == pytest.approx(
        abs(true - seen) / abs(true), rel=2e-2
    )  # the kink passes 1,049 points, of which one more or less makes 0.4 %
    assert _misspecification(_Unit("tanh"), [direction], (points,), _loss(UNIT)) < 1e-5


def test_the_loss_gradient_of_smooth_networks_passes_and_that_of_kinked_ones_fails():
    text = 'title = "t"\n[coordinates]\nx = [-1, 1]\n[equations]\ne = "u_xx = sin(x)"\n'
    found = {}
    for name in ("tanh", "elu"):
        problem, ansatz = trial(text, seed=2, activation=name)
        found[name] = loss_gradient_audit(problem, ansatz, audit_sample(problem, 128, 0, CPU))
    assert found["tanh"].taylor_order == pytest.approx(2.0, abs=0.05)
    assert found["tanh"].misspecification < 1e-3 < 1e-2 < found["elu"].misspecification
    assert loss_gradient_audit(LINE, Field(torch.sin), audit_sample(LINE, 8, 0, CPU)) is None


def test_the_loss_gradient_of_a_wide_network_is_integrated_in_parts_that_stay_in_the_cache():
    seen = []

    def count(module, arguments):
        (points,) = arguments
        seen.append(len(points if isinstance(points, torch.Tensor) else points.coefficients[0]))

    text = 'title = "t"\n[coordinates]\nx = [-1, 1]\n[equations]\ne = "u_xx = sin(x)"\n'
    problem, ansatz = trial(text, width=512, depth=1)
    ansatz.register_forward_pre_hook(count)
    found = loss_gradient_audit(problem, ansatz, audit_sample(problem, 16, 0, CPU))
    assert found.points == 2**21 // 512 // 2  # the power of two below 2^21 / (512 + 1 units)
    assert max(seen) == points_at_once(ansatz) < found.points
    assert found.taylor_order == pytest.approx(2.0, abs=0.05)


def test_a_wrong_loss_gradient_fails_the_taylor_test():
    class Detached(nn.Linear):
        def forward(self, z):
            return functional.linear(z, self.weight + 0.5 * (self.weight - self.weight.detach()), self.bias)

    problem, ansatz = trial('title = "t"\n[coordinates]\nx = [-1, 1]\n[equations]\ne = "u_xx = sin(x)"\n')
    ansatz.network.layers[1].__class__ = Detached
    found = loss_gradient_audit(problem, ansatz, audit_sample(problem, 64, 0, CPU))
    assert found.taylor_order == pytest.approx(1.0, abs=0.1)
    assert found.misspecification > 1e-2
    report = audit(problem, ansatz, points=64, schemes=["central2"], dtypes=["float64"])
    assert f"the Taylor test is of order {report.loss_gradient.taylor_order:.2f}, not 2" in report.sentences[-1]


def test_a_missed_part_of_the_gradient_is_told():
    problem, ansatz = trial(
        'title = "t"\n[coordinates]\nx = [-1, 1]\n[equations]\ne = "u_xx = sin(x)"\n', seed=2, activation="elu"
    )
    report = audit(problem, ansatz, points=64, schemes=["central2"], dtypes=["float64"])
    assert "first-order" in report.sentences[-1]
    assert f"misses {report.loss_gradient.misspecification:.0%}" in report.sentences[-1]


def test_no_part_of_a_smooth_gradient_is_called_missed_where_the_central_difference_errs():
    found = LossGradientAudit(taylor_order=2.0, misspecification=2 * MISSED, points=64)
    assert gradient_sentence(found, has_moving_kinks=False) == ""
    assert f"misses {2 * MISSED:.0%}" in gradient_sentence(found, has_moving_kinks=True)


# --- costs and residuals --------------------------------------------------------------------------------------------


def test_evaluations_are_those_of_the_stencils():
    report = audit(LINE, Network(activation("tanh")), points=64)
    for cost in report.costs:
        if cost.method in ("taylor", "autograd"):
            assert cost.evaluations == 1
        else:  # points near an end may have more nodes
            free = family(cost.method, LINE.partial(cost.term).order).free
            assert cost.evaluations >= len(free.offsets)
        assert cost.microseconds > 0
        assert cost.bytes >= 8 * 10  # one value per unit of a hidden layer
    assert len(report.costs) == 2 * (2 + 6)
    counts = {(f.term, f.scheme): f.evaluations for f in report.summary}
    assert (counts["u_x", "central2"], counts["u_xx", "central2"], counts["u_xx", "central6"]) == (2, 3, 7)


def test_peak_memory_counts_what_lives_at_once():
    x = torch.zeros(1000, dtype=torch.float64)
    with PeakMemory() as memory:
        y = x + 1
        for _ in range(10):
            y = y + 1  # the old one is freed only after the new one is made
    assert memory.peak == 2 * 8000


def test_counting_memory_does_not_load_the_compiler():
    code = (
        "import sys, torch; from pinnsolve.audit.cost import PeakMemory\n"
        "with PeakMemory() as memory: torch.zeros(8, dtype=torch.float64)\n"
        "sys.exit(f'{memory.peak} bytes' if memory.peak != 64 or 'torch._dynamo' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_extrapolation_needs_no_step_and_knows_its_error():
    report = audit(LINE, Field(torch.sin), points=128, schemes=["central2"])
    central = {f.term: f.fd_vs_ad for f in report.summary if f.dtype == "float64"}
    for found in report.extrapolations:
        assert found.fd_vs_ad < 0.1 * central[found.term]  # without a choice, better than central2 at its best step
        assert 0.9 < found.covered <= 1
        # the estimate is the distance from an entry of lower order: too large, but no larger than what that errs by
        assert found.fd_vs_ad < found.estimated < 100 * central[found.term]
    assert [found.term for found in report.extrapolations] == ["u_x", "u_xx"]


def test_residuals_by_both_ways_are_those_of_the_fields():
    report = audit(LINE, Field(torch.sin), points=128)
    x = audit_sample(LINE, 128, 0, CPU).points[:, 0].numpy()
    (found,) = report.residuals
    truth = np.sqrt(np.mean((-np.sin(x) - np.cos(x)) ** 2))
    assert found.automatic == pytest.approx(truth, rel=1e-13, abs=0)
    assert found.differences == pytest.approx(truth, rel=1e-9)
    assert 0 < found.gap < 1e-9


# --- the law --------------------------------------------------------------------------------------------------------


def test_the_leading_ratio_has_a_plateau_at_one_and_orders_have_intervals():
    report = audit(LINE, Field(torch.sin), points=256, schemes=["central2", "forward"], dtypes=["float64"])
    for finding in report.summary:
        assert finding.plateau == pytest.approx(1.0, abs=0.05)
        assert finding.order_low <= finding.observed_order <= finding.order_high
        assert finding.order_l1 == pytest.approx(finding.order_max, abs=0.05)  # no kinks: one order in all norms
    rows = [row for row in report.rows if row.leading_ratio is not None and 0.95 < row.leading_ratio < 1.05]
    assert rows
    for row in rows:
        assert row.predicted_error == pytest.approx(row.truncation + row.rounding, rel=1e-12, abs=0)


def test_decision_and_noise_are_the_ratios_that_they_are_called():
    problem = problem_from(
        'title = "t"\n[coordinates]\nx = [-1, 1]\n[equations]\ne = "u_xx = -u"\n[reference]\nexact = { u = "sin(x)" }\n'
    )
    field = Field(lambda x: torch.sin(x) * 1.001)
    oracle = exact(problem.reference.exact, problem.symbols)
    report = audit(problem, field, exact=oracle, points=64, schemes=["central2"])
    for finding in report.summary:
        assert finding.decision == finding.fd_vs_ad / finding.ad_vs_exact
        assert 0.1 < finding.noise_ratio < 3  # sin is right to about half a unit in the last place
    single = [finding for finding in report.summary if finding.dtype == "float32"]
    assert 1e-9 < single[0].ad_error < 1e-6  # D_AD in float32 errs by a few roundoffs


@pytest.mark.parametrize("seed", range(3))
def test_orders_across_kinks_depend_on_the_norm(seed):
    from pinnsolve.audit.baseline import Model, baselines, higher_derivatives
    from pinnsolve.audit.curve import v_curves

    network = MultilayerPerceptron(1, [12, 12], 1, activation("elu"), torch.float64)
    generator = torch.Generator().manual_seed(seed)
    network.initialized("he", generator)
    with torch.no_grad():
        for layer in network.layers:
            layer.bias.uniform_(-1, 1, generator=generator)

    class Kinked(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, points):
            return {"u": self.network(points)[..., 0]}

    models = [Model.rounded(Kinked(), audit_sample(LINE, 2**14, 0, CPU), "float64")]
    partials = [LINE.partial("u_x"), LINE.partial("u_xx")]
    known = baselines(models, partials, None)
    first, second = v_curves(models, ["central2"], known, higher_derivatives(models, partials, ["central2"]))
    # each of about 24 kinks within the stencils of some 7 points, and hardly any two within one
    for curve, orders in ((first, (2, 1.5, 1)), (second, (1, 0.5, 0))):
        few = (curve.kinked.mean(1) > 1e-2) & (curve.kinked.mean(1) < 0.3)
        order = curve.order_within(few)
        assert (order.mean, order.rms, order.maximum) == pytest.approx(orders, abs=0.15)


def test_schemes_share_the_values_at_the_nodes_that_they_have_in_common():
    from pinnsolve.audit.baseline import Model, baselines, higher_derivatives
    from pinnsolve.audit.curve import v_curves

    seen = []

    class Watched(Field):
        def forward(self, points):
            if isinstance(points, torch.Tensor):
                seen.append(points.shape[:-1].numel())
            return super().forward(points)

    models = [Model.rounded(Watched(torch.sin), audit_sample(LINE, 64, 0, CPU), "float64")]
    partials = [LINE.partial("u_x"), LINE.partial("u_xx")]
    known, higher = baselines(models, partials, None), higher_derivatives(models, partials, SCHEMES)
    seen.clear()
    shared = v_curves(models, SCHEMES, known, higher)
    together = sum(seen)
    seen.clear()
    alone = [curve for scheme in SCHEMES for curve in v_curves(models, [scheme], known, higher)]
    assert [(c.scheme, c.baseline.partial) for c in shared] == [(c.scheme, c.baseline.partial) for c in alone]
    for one, other in zip(shared, alone, strict=True):
        assert np.array_equal(one.steps, other.steps)
        assert np.array_equal(one.values, other.values)
    # far from the ends -3 ... 3 serve all: 7 nodes in place of 3 + 3 + 3 + 3 + 5 + 7
    assert together < 0.5 * sum(seen)


def test_the_map_of_kinks_is_that_of_the_weights():
    network = Network(activation("elu"), width=5, depth=1)
    nodes = torch.linspace(-1, 1, 401, dtype=torch.float64)[:, None]
    (layer,) = network.network.layers
    kinks = (-layer.bias / layer.weight[:, 0]).tolist()
    wanted = {math.floor((kink + 1) * 200) for kink in kinks if -1 < kink < 1}
    assert set(kink_grid(network, nodes).nonzero()[:, 0].tolist()) == wanted
    assert kink_grid(Network(activation("tanh")), nodes) is None


def test_maps_hold_every_derivative_at_its_points():
    report = audit(LINE, Network(activation("elu")), points=32, schemes=["central2"], dtypes=["float64"])
    assert {"points", "kinks", "error_u_x", "error_u_xx", "kinked_u_xx", "value_u_x"} <= set(report.maps)
    best = next(f for f in report.summary if f.term == "u_xx")
    error, size = report.maps["error_u_xx"], report.maps["value_u_xx"]
    assert best.fd_vs_ad == pytest.approx(np.sqrt(np.mean(error**2) / np.mean(size**2)), rel=1e-12, abs=0)
    assert best.kink_fraction == report.maps["kinked_u_xx"].mean()
    rows = [row for row in report.rows if row.term == "u_xx" and row.step == report.maps["coarse_step_u_xx"]]
    error = report.maps["coarse_error_u_xx"]
    relative = np.sqrt(np.mean(error**2) / np.mean(size**2))
    assert [row.fd_vs_ad for row in rows] == [pytest.approx(relative, rel=1e-12, abs=0)]
    assert rows[0].kink_fraction == report.maps["coarse_kinked_u_xx"].mean() > best.kink_fraction
    assert 0.006 < rows[0].step / 2 < 0.016  # the step of the ladder next to 1/100 of the interval's length


def test_kinks_are_shown_in_the_domain_only():
    disk = '[geometry]\ndomain = "disk(0, 0, 1)"\n[[conditions]]\nwhere = "boundary"\nequation = "u = 0"\n'
    text = 'title = "t"\n[equations]\npoisson = "laplacian(u) = -1"\n' + disk
    problem, network = parse_problem(text.encode(), Path("disk.toml")), Network(activation("elu"), inputs=2)
    kinks = audit(problem, network, points=16, schemes=["central2"], dtypes=["float64"]).maps["kinks"]
    x, y = np.meshgrid(*[np.linspace(-1, 1, n) for n in kinks.shape], indexing="ij")
    inside = x**2 + y**2 <= 1
    grid = torch.as_tensor(np.stack([x, y], -1))
    assert not kinks[~inside].any()
    assert np.array_equal(kinks[inside], kink_grid(network, grid).numpy()[inside])
    assert kinks.any()


# --- gates ----------------------------------------------------------------------------------------------------------


def test_gates_stop_what_they_name():
    report = audit(LINE, Network(activation("elu")), points=512, schemes=["central2"], dtypes=["float64"])
    assert parse_gates(" kink-limited , fd_vs_ad>1e-3 ") == (Gate("kink-limited"), Gate("fd_vs_ad", 1e-3))
    assert [line.split(":")[0] for line in refused(report.summary, [Gate("kink-limited")])] == ["u_xx central2 float64"]
    assert len(refused(report.summary, [Gate("kink_fraction", -1.0)])) == 2
    assert refused(report.summary, [Gate("decision", 0.0), Gate("ok")]) == refused(report.summary, [Gate("ok")])


def test_gates_that_cannot_be_read_are_refused():
    with pytest.raises(SettingsError, match="unknown verdict 'kinky'"):
        parse_gates("kinky")
    with pytest.raises(SettingsError, match="unknown column of the audit 'fd_vs_a'"):
        parse_gates("fd_vs_a>1")
    with pytest.raises(SettingsError, match="a number after '>', got 'much'"):
        parse_gates("fd_vs_ad>much")
