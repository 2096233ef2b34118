"""Parts of the audit on their own: samples, noise, kinks, costs, the step of residuals, against counts by hand."""

from __future__ import annotations

import math
from itertools import count, pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from pinnsolve.audit import audit, cost, extrapolation
from pinnsolve.audit.baseline import Model, _floor, baselines, higher_derivatives, leading_partials
from pinnsolve.audit.cost import costs
from pinnsolve.audit.extrapolation import _change
from pinnsolve.audit.kinks import kinked, smoothness
from pinnsolve.audit.noise import noise_of, rounding_noise
from pinnsolve.audit.residuals import _scheme_and_step
from pinnsolve.audit.sample import Sample, _spread_over_time, audit_sample, audit_samples
from pinnsolve.derivatives import exact
from pinnsolve.networks.activations import activation
from pinnsolve.networks.piecewise import PiecewiseAnsatz
from pinnsolve.problems import Partial
from pinnsolve.problems.loading import parse_problem

from .test_audit import CPU, LINE, Field, Network, problem
from .test_verdicts import baseline, curve

UNIT = 2.0**-53


def box(*ends, periodic=None):
    """Return a sample of one point in a box, whose units are its lengths."""
    lower, upper = zip(*ends, strict=True)
    units = tuple(high - low for low, high in ends)
    return Sample(torch.zeros(1, len(ends)), lower, upper, units, periodic or (False,) * len(ends))


# --- samples --------------------------------------------------------------------------------------------------------


def test_steps_and_points_are_no_finer_than_numbers_at_the_far_end():
    near, far = box((0.0, 1.0)), box((2.0**20 - 1, 2.0**20))  # numbers below 2^20 are 2^-33 apart
    assert near.noise_step("float64") == 2.0**-30
    assert far.noise_step("float64") == 64 * 2.0**-33
    assert near.steps("float64")[0] == 1.5 * 2.0**-38
    assert near.steps("float32")[0] == 2.0**-24
    assert far.steps("float64")[0] == 2.0**-33
    assert far.steps("float64")[1] == 1.5 * 2.0**-32  # 3 · 2^-33; one half of it would need another bit
    assert near.noise_step("float32") == max(2.0**-14, 64 * 2.0**-24)
    assert box((-(2.0**20), 1.0 - 2.0**20)).steps("float64")[0] == 2.0**-33  # the sign does not matter


def test_steps_rise_by_a_third_at_least_and_double_at_most():
    ratios = np.array(box((0.0, 1.0)).steps("float64"))
    np.testing.assert_allclose(sorted(set(np.round(ratios[1:] / ratios[:-1], 12))), [4 / 3, 1.5, 2.0], rtol=1e-11)


def test_parts_share_units_that_fit_the_shortest_window():
    plane = problem("u_t + u_x = 0", x=(2, 3), t=(1, 3))
    parts = [Field(torch.sin) for _ in range(3)]
    found = audit_samples(plane, PiecewiseAnsatz(1, [1.0, 1.5, 2.0, 3.0], parts), 64, 0, CPU)
    assert [part for part, _ in found] == parts
    assert sum(len(sample.points) for _, sample in found) == 64
    for (_, sample), window in zip(found, [(1.0, 1.5), (1.5, 2.0), (2.0, 3.0)], strict=True):
        assert sample.units == (1.0, 0.5)
        assert (sample.lower[1], sample.upper[1]) == window
        assert (sample.points[:, 1] >= window[0]).all()
        assert (sample.points[:, 1] <= window[1]).all()


def test_long_windows_are_audited_before_short_ones():
    edges = np.concatenate([[0.0], np.linspace(0.5, 1, 21)])  # one that is as long as twenty others together
    windows = list(pairwise(edges.tolist()))
    # at (k + 1/2)/8: four times in the long one, then 2.5, 7.5, 12.5 and 17.5 short ones later
    assert _spread_over_time(SimpleNamespace(windows=windows)) == [0, 3, 8, 13, 18]
    assert _spread_over_time(SimpleNamespace(windows=windows[:8])) == list(range(8))


def test_nodes_may_pass_a_periodic_end_so_that_numbers_there_are_coarser():
    ends = (2.0**12 - 1, 2.0**12)  # in float32 2^-12 apart below 2^12, and 2^-11 beyond
    assert box(ends).resolved("float32")
    assert not box(ends, periodic=(True,)).resolved("float32")
    assert box((2.0**11 - 1, 2.0**11), periodic=(True,)).resolved("float32")  # at most twice as far
    assert not box((0.0, 1.0), ends, periodic=(False, True)).resolved("float32")  # the coarsest coordinate decides


def test_a_stencil_fits_into_the_box_and_within_its_reach():
    sample = box((0.0, 1.0), (0.0, 2.0))
    # central2 of the second derivative needs four steps somewhere: -1 0 1, or 0 1 2 3 at an end
    assert sample.fits("central2", (2, 0), 0.25)
    assert not sample.fits("central2", (2, 0), 0.26)
    assert not sample.fits("central2", (1, 2), 0.26)
    short = Sample(sample.points, sample.lower, sample.upper, sample.units, sample.periodic, (math.inf, 0.125))
    assert short.fits("central2", (2, 0), 0.25)
    assert short.fits("central2", (0, 2), 0.03125)
    assert not short.fits("central2", (0, 2), 0.032)
    assert sample.step_along((0, 1), 0.25) == 0.5


def test_half_of_the_points_of_a_disk_are_clear_of_its_boundary():
    text = '[geometry]\ndomain = "disk(0, 0, 1)"\n[[conditions]]\nwhere = "boundary"\nequation = "u = 0"\n'
    round_ = parse_problem(('title = "t"\n[equations]\ne = "laplacian(u) = 1"\n' + text).encode(), Path("t.toml"))
    sample = audit_sample(round_, 128, 0, CPU)
    assert sample.units == (2.0, 2.0)
    assert len(sample.points) == 128

    def share(half):
        """The share of the disk around whose points a square of this half width lies in it, by quadrature."""
        x, y = np.meshgrid(*[(np.arange(1000) + 0.5) / 1000] * 2)
        return np.mean(np.hypot(x + half, y + half)[np.hypot(x, y) < 1] < 1)

    (reach, same) = sample.reach
    assert reach == same
    assert share(4 * reach) < 0.48 < 0.52 < share(2 * reach)  # points err by less than 1/50
    corner = sample.points.abs() + 2 * reach
    assert (torch.linalg.vector_norm(corner, dim=1) < 1).all()


# --- noise ----------------------------------------------------------------------------------------------------------


def test_the_noise_measured_is_the_noise_put_in():
    generator, size = torch.Generator().manual_seed(0), 1e-7

    def noisy(x):
        return torch.sin(x) + size * torch.randn(x.shape, generator=generator, dtype=x.dtype)

    sample = audit_sample(LINE, 1024, 0, CPU)
    found = rounding_noise(Field(noisy), sample, sample.points, ["u"])
    # the square of a normal number has the variance 2: √(2/N)/2 relative, five times
    assert found["u", 0] == pytest.approx(size, rel=5 * math.sqrt(2 / 1024) / 2)


def test_a_field_without_rounding_here_is_said_to_round_by_a_quarter_of_the_roundoff():
    sample = audit_sample(LINE, 64, 0, CPU)
    found = rounding_noise(Field(lambda x: 0 * x + 3.0), sample, sample.points, ["u"])
    assert found == {("u", 0): pytest.approx(0.25 * UNIT * 3, rel=1e-12, abs=0)}


def test_noise_of_a_derivative_is_the_largest_along_its_coordinates():
    noise = {("u", 0): 1.0, ("u", 1): 2.0, ("v", 0): 9.0}
    found = [noise_of(Partial("u", orders), noise) for orders in ((1, 0), (0, 2), (1, 1))]
    assert found == [1.0, 2.0, 2.0]
    # σ / Π L^order
    assert _floor(Partial("u", (1, 2)), noise, box((0.0, 2.0), (1.0, 4.0))) == 2.0 / (2 * 3**2)


# --- baselines ------------------------------------------------------------------------------------------------------


class Pair(nn.Module):
    """Two fields, the second of which is computed in double precision whatever the points are in."""

    def forward(self, points):
        return {"u": torch.sin(points[..., 0]), "v": torch.sin(points[..., 0].double())}


def test_a_field_that_is_computed_in_another_precision_betrays_all():
    sample = audit_sample(LINE, 8, 0, CPU)
    assert Model.rounded(Pair(), sample, "float64").computes_in_its_dtype()
    assert not Model.rounded(Pair(), sample, "float32").computes_in_its_dtype()
    assert Model.rounded(Field(torch.sin), sample, "float32").computes_in_its_dtype()


@pytest.mark.parametrize(("dtype", "roundoff"), [("float64", 2.0**-53), ("float32", 2.0**-24)])
def test_a_baseline_has_the_size_of_the_field_and_the_roundoff_of_its_dtype(dtype, roundoff):
    sample, slope = audit_sample(LINE, 64, 0, CPU), Partial("u", (1,))
    found = baselines([Model.rounded(Field(torch.sin), sample, dtype)], [slope], None)[slope]
    x = sample.points[:, 0].numpy()
    assert found.roundoff == roundoff
    assert found.magnitude == pytest.approx(np.sqrt(np.mean(np.sin(x) ** 2)), rel=1e-14)
    assert found.scale == pytest.approx(np.sqrt(np.mean(np.cos(x) ** 2)), rel=1e-14)
    assert found.floor < 1e-15  # of double precision, whatever is audited
    # the cosine in float32 errs by half of its roundoff at most, relative to numbers up to one
    assert found.automatic_error <= roundoff
    assert (found.automatic_error == 0) == (dtype == "float64")


def test_leading_terms_are_the_next_derivatives_along_each_coordinate():
    assert leading_partials(Partial("u", (1, 0, 2)), "central2") == {
        0: Partial("u", (3, 0, 2)),
        2: Partial("u", (1, 0, 4)),
    }
    assert leading_partials(Partial("u", (2,)), "forward") == {0: Partial("u", (3,))}


def test_leading_terms_beyond_what_is_cheap_are_left_out():
    """Orders up to 8 in Taylor mode, and up to 4 by nested reverse mode where it lacks a rule (of expm1)."""
    sample = audit_sample(LINE, 16, 0, CPU)
    x, third = sample.points[:, 0].numpy(), Partial("u", (3,))
    smooth = Model.rounded(Field(torch.sin), sample, "float64")
    found = higher_derivatives([smooth], [third], ["central2", "central4", "central6"])
    assert {partial.order for partial in found} == {5, 7}
    # Taylor coefficients of sin: sums of a few numbers below one
    np.testing.assert_allclose(found[Partial("u", (5,))], np.cos(x), rtol=1e-14)
    np.testing.assert_allclose(found[Partial("u", (7,))], -np.cos(x), rtol=1e-14)
    nested = Model.rounded(Field(torch.expm1), sample, "float64")
    found = higher_derivatives([nested], [Partial("u", (1,)), Partial("u", (2,))], ["central2", "central4"])
    assert {partial.order for partial in found} == {3, 4}
    np.testing.assert_allclose(found[third], np.exp(x), rtol=1e-14)


# --- kinks ----------------------------------------------------------------------------------------------------------


def test_a_point_is_kinked_where_a_unit_changes_its_sign_at_the_nodes_that_it_reads():
    # three nodes of four points, two layers of one unit
    first = torch.tensor([[1, 1, 0, 1], [1, 0, 0, 1], [1, 0, 0, 0]], dtype=torch.bool)[..., None]
    second = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 0]], dtype=torch.bool)[..., None]
    every = torch.ones(3, 4, dtype=torch.bool)
    assert kinked([first, second], every).tolist() == [False, True, True, True]
    assert kinked([first], every).tolist() == [False, True, False, True]
    two = every.clone()
    two[2] = False  # the last node is not read
    assert kinked([first], two).tolist() == [False, True, False, False]
    assert kinked([], every).tolist() == [False] * 4
    wide = torch.cat([first, torch.ones_like(first)], -1)  # beside a unit that keeps its sign
    assert kinked([wide], every).tolist() == [False, True, False, True]


def test_the_roughest_activation_decides_how_smooth_a_network_is():
    rough, smooth = Network(activation("elu")), Network(activation("tanh"))
    assert smoothness(nn.ModuleList([smooth, rough])) == 1
    assert smoothness(smooth) == math.inf
    assert smoothness(nn.Identity()) == math.inf


# --- steps ----------------------------------------------------------------------------------------------------------


def test_the_largest_step_of_an_extrapolation_is_half_of_the_length_on_which_the_derivative_changes():
    sample, slope = audit_sample(LINE, 8, 0, CPU), Partial("u", (1,))  # a unit of 2
    known = baseline(partial=slope, values=np.array([3.0, -4.0, 3.0, -4.0]))
    third = {Partial("u", (3,)): 100.0 * known.values}
    assert _change(known, third, sample) == pytest.approx(0.5 * math.sqrt(1 / 100) / 2, rel=1e-14)
    assert _change(known, {}, sample) == 2.0**-3
    assert _change(known, {Partial("u", (3,)): 0 * known.values}, sample) == 2.0**-3
    assert _change(known, {Partial("u", (3,)): 1e-3 * known.values}, sample) == 2.0**-3


def test_an_extrapolation_covers_the_points_whose_errors_are_within_its_estimates(monkeypatch):
    missed = np.array([0.0, -2.0, 2.0, 0.5])
    monkeypatch.setattr(extrapolation, "_extrapolated", lambda model, known, step: (known.values + missed, np.ones(4)))
    model = Model.rounded(Field(torch.sin), audit_sample(LINE, 4, 0, CPU), "float64")
    slope = Partial("u", (1,))
    known = {slope: baseline(partial=slope, values=2 * baseline().values)}
    (found,) = extrapolation.extrapolations([model], known, {}, {slope: "u_x"})
    assert (found.term, found.step, found.covered) == ("u_x", 2.0**-3 * 2, 0.5)
    assert found.fd_vs_ad == pytest.approx(math.sqrt((4 + 4 + 0.25) / 4) / 2, rel=1e-14)
    assert found.estimated == 0.5


def test_the_step_of_a_residual_is_the_one_that_serves_its_worst_derivative_best():
    steps = [0.1, 0.2, 0.4]
    slopes = curve([[1e-3], [1e-4], [1e-6]], steps=steps, order=1)
    bends = curve([[1e-4], [2e-4], [1e-1]], steps=steps)
    assert _scheme_and_step([slopes, bends]) == ("central2", 0.2)
    assert _scheme_and_step([slopes]) == ("central2", 0.4)
    large = curve([[1e-4], [2e-3], [1e-1]], steps=steps, values=10 * baseline().values)  # relative: a tenth
    assert _scheme_and_step([slopes, large]) == ("central2", 0.2)
    shorter = curve([[1e-4]], steps=steps[:1])  # a step that serves one derivative alone is none
    assert _scheme_and_step([slopes, shorter]) == ("central2", 0.1)
    assert _scheme_and_step([curve([[np.nan]], steps=[0.1])]) is None
    zero = curve([[3e-4], [2e-4], [5e-4]], steps=steps, values=0 * baseline().values)  # no size to compare with
    assert _scheme_and_step([zero]) == ("central2", 0.2)


# --- units ----------------------------------------------------------------------------------------------------------


def audited(factor=1, stretch=1):
    """Return the audit of factor · sin(x / stretch) with an error; both are powers of two, so that rounding is one."""
    ends = (-stretch, stretch)
    known = problem("u_xx = u_x", reference=f"{factor}*sin(x/{stretch})", x=ends)
    field = Field(lambda x: (torch.sin(x / stretch) + 1e-3 * torch.cos(3 * x / stretch)) * factor)
    oracle = exact(known.reference.exact, known.symbols)
    return audit(known, field, exact=oracle, points=64, schemes=["forward", "central4"])


def test_an_audit_is_the_same_in_other_units():
    plain, large, long = audited(), audited(factor=1024), audited(stretch=8)
    for found, length in ((large, 1), (long, 8)):
        for one, other in zip([*plain.rows, *plain.summary], [*found.rows, *found.summary], strict=True):
            for key, value in one.record.items():
                scale = length if key in ("step", "predicted_step") and value is not None else 1
                wanted = pytest.approx(scale * value, rel=1e-6, abs=0) if isinstance(value, float) else value
                assert other.record[key] == wanted, (length, key, one)
        for one, other in zip(plain.extrapolations, found.extrapolations, strict=True):
            assert (other.step / length, other.covered) == (one.step, one.covered)
            assert (other.fd_vs_ad, other.estimated) == pytest.approx((one.fd_vs_ad, one.estimated), rel=1e-6, abs=0)
    assert large.residuals[0].gap == pytest.approx(1024 * plain.residuals[0].gap, rel=1e-6, abs=0)


# --- costs ----------------------------------------------------------------------------------------------------------


def test_costs_are_microseconds_and_evaluations_per_point(monkeypatch):
    seconds = (3e-3 * tick for tick in count())
    monkeypatch.setattr(cost, "perf_counter", lambda: next(seconds))  # every run takes three milliseconds
    sample = audit_sample(problem("u_xx = 1", x=(-1, 1)), 50, 0, CPU)
    model = Model.rounded(Field(torch.sin), sample, "float64")
    waited = []
    found = list(costs(model, {Partial("u", (2,)): "u_xx"}, ["central2"], lambda: waited.append(True)))
    assert [each.method for each in found] == ["taylor", "autograd", "central2"]
    assert [each.microseconds for each in found] == [pytest.approx(3e-3 * 1e6 / 50, rel=1e-9)] * 3
    assert [each.evaluations for each in found] == [1, 1, 3]
    assert len(waited) == 3 * 4  # once for the memory, three times for the time
