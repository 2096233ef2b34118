"""Verdicts and V-curves from numbers written by hand: each threshold is met from both of its sides."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from pinnsolve.audit.baseline import Baseline, _together, agree, rounding_where
from pinnsolve.audit.curve import VCurve
from pinnsolve.audit.records import LossGradientAudit
from pinnsolve.audit.verdict import MISSED, gradient_sentence, rounding_sentence, verdicts
from pinnsolve.problems import Partial

SIGNS = np.array([1.0, -1.0, 1.0, -1.0])  # a derivative of RMS 1 at four points
STEPS = np.array([1e-3, 1e-2, 1e-1])


def baseline(order=2, **changes):
    """Return automatic differentiation without fault, of a derivative of RMS 1."""
    sound = Baseline(
        partial=Partial("u", (order,)),
        values=SIGNS,
        exact=None,
        noise=1e-16,
        magnitude=1.0,
        roundoff=2.0**-53,
        automatic_error=0.0,
        independent_error=None,
        reproducible=True,
        floor=1e-16,
    )
    return dataclasses.replace(sound, **changes)


def curve(
    differences, *, steps=STEPS, truncation=None, rounding=0.0, kinked=False, free=True, dtype="float64", **known
):
    """Return the V-curve of differences (K, N) or (K, 1) from automatic differentiation."""
    differences = np.asarray(differences, dtype=float) * SIGNS
    shape, known_values = differences.shape, baseline(**known)
    return VCurve(
        scheme="central2",
        dtype=dtype,
        baseline=known_values,
        steps=np.asarray(steps),
        relative_steps=np.asarray(steps),
        values=known_values.values + differences,
        truncation=None if truncation is None else np.broadcast_to(truncation, shape) * SIGNS,
        rounding=np.broadcast_to(rounding, shape),
        kinked=np.broadcast_to(kinked, shape),
        free=np.broadcast_to(free, shape),
        evaluations=3,
    )


def judged(differences, smoothness=math.inf, **given):
    """Return the verdict on one V-curve."""
    return verdicts([curve(differences, **given)], smoothness)[0]


def best_of(error):
    """Return differences whose least RMS this is, in the middle, and that do not agree with each other."""
    return np.array([[4.0], [1.0], [4.0]]) * error


# --- verdicts -------------------------------------------------------------------------------------------------------


def test_without_an_exact_solution_finite_differences_may_err_by_a_hundredth():
    assert judged(best_of(0.009)) == "ok"
    assert judged(best_of(0.011)) == "rounding-limited"


def test_with_an_exact_solution_finite_differences_may_err_by_as_much_as_the_network():
    assert judged(best_of(0.019), exact=SIGNS + 0.02) == "ok"
    assert judged(best_of(0.021), exact=SIGNS + 0.02) == "rounding-limited"
    assert judged(best_of(0.011), exact=SIGNS + np.array([0.0, 0.0, np.nan, 0.0])) == "rounding-limited"


def test_a_network_may_err_by_a_tenth_of_its_derivative():
    assert judged(best_of(1e-6), exact=SIGNS + 0.09) == "ok"
    assert judged(best_of(1e-6), exact=SIGNS - 0.11) == "network-limited"
    twice = 2 * SIGNS  # errors are relative to the derivative
    assert judged(best_of(0.018), values=twice) == "ok"
    assert judged(best_of(0.022), values=twice) == "rounding-limited"
    assert judged(best_of(1e-6), values=twice, exact=twice + 0.18) == "ok"
    assert judged(best_of(1e-6), values=twice, exact=twice + 0.22) == "network-limited"


def test_differences_that_agree_ten_times_better_with_each_other_are_a_mismatch():
    assert judged([[1e-3], [1e-3 + 0.9e-4], [1e-1]]) == "derivative mismatch"
    assert judged([[1e-3], [1e-3 + 1.1e-4], [1e-1]]) == "ok"
    assert judged([[1e-1], [1e-3], [1e-3 + 0.9e-4]]) == "derivative mismatch"
    assert judged([[1e-3], [1e-3 + 0.9e-4], [1e-5]]) == "derivative mismatch"  # the two alone are compared
    assert judged([[1.05e-3], [0.95e-3], [1e-1]]) == "ok"  # by the lesser of their errors


def test_rounding_and_the_floor_of_the_derivative_excuse_a_mismatch():
    close = [[1e-3], [1e-3 + 0.3e-4], [1e-1]]
    assert judged(close, rounding=0.6e-4) == "derivative mismatch"
    assert judged(close, rounding=0.8e-4) == "ok"
    assert judged(close, rounding=[[0.6e-4], [0.9e-4], [0.0]]) == "derivative mismatch"  # the lesser of the two
    assert judged(close, rounding=[[0.9e-4], [0.6e-4], [0.0]]) == "derivative mismatch"
    assert judged(close, rounding=[[0.8e-4], [0.8e-4], [0.0]]) == "ok"
    assert judged(close, floor=0.9e-4) == "derivative mismatch"
    assert judged(close, floor=1.1e-4) == "ok"
    assert judged([[1e-3]], steps=[0.1]) == "ok"  # one step has no neighbour


def test_differences_agree_relative_to_their_size():
    # the last two, with steps past all detail, are near zero and so near to each other
    assert judged([[1e-4], [2e-4], [-0.99], [-0.99 + 1e-5]], steps=10.0 ** np.arange(4)) == "ok"


def test_an_error_a_hundred_times_above_the_law_is_a_mismatch():
    assert judged(best_of(0.9e-3), truncation=-0.8e-5, rounding=0.2e-5) == "ok"
    assert judged(best_of(1.1e-3), truncation=-0.8e-5, rounding=0.2e-5) == "derivative mismatch"
    assert judged(best_of(1.1e-3)) == "ok"  # the law is not known
    assert judged(best_of(1.1e-3), truncation=[[1e-3], [1e-5], [1e-3]]) == "derivative mismatch"  # where it is least


def test_the_law_is_compared_at_the_median_point_and_not_across_kinks():
    spoilt = best_of(1.1e-3) * np.array([1.0, 0.0, 0.0, 0.0])
    assert judged(spoilt, truncation=1e-5) == "ok"
    assert judged(best_of(1.1e-3), truncation=[1e-5, 1e-5, 1e-5, 1e-2]) == "derivative mismatch"
    assert judged(best_of(1.1e-3), truncation=1e-5, kinked=[True, False, False, False]) == "ok"


def test_a_best_error_three_times_that_of_clean_points_is_limited_by_kinks():
    # √((a² + b²)/2) > 3b from a² = 17 b² on
    half = np.array([True, True, False, False])
    assert judged(best_of(1e-5) * np.where(half, 4.0, 1.0), kinked=half) == "ok"
    assert judged(best_of(1e-5) * np.where(half, 4.2, 1.0), kinked=half) == "kink-limited"
    reaching = np.array([half, half, [True] * 4])  # the largest step reaches across a kink from everywhere
    assert judged(best_of(1e-5) * np.where(half, 4.2, 1.0), kinked=reaching) == "kink-limited"


def test_where_few_points_are_clean_kinks_must_carry_the_error_and_break_the_law():
    most = np.array([True, True, True, False])
    for ratio, verdict in ((2.9, "ok"), (3.1, "kink-limited")):
        assert judged(best_of(ratio * 1e-5), kinked=most, truncation=-0.6e-5, rounding=0.4e-5) == verdict
    # squares: 3 of the kinked points against d² of the clean one
    for clean, verdict in ((1.7, "kink-limited"), (1.8, "ok")):
        differences = best_of(1e-4) * np.where(most, 1.0, clean)
        assert judged(differences, kinked=most, truncation=1e-5) == verdict
    assert judged(best_of(1e-4), kinked=most) == "ok"  # the law is not known


def test_an_activation_may_be_one_order_rougher_than_the_derivative():
    assert judged(best_of(1e-6), smoothness=1) == "ok"
    assert judged(best_of(1e-6), smoothness=0) == "smoothness violation"


def test_values_that_are_not_finite_come_first():
    assert judged(best_of(1e-6), smoothness=0, values=np.array([1.0, np.nan, 1.0, 1.0])) == "not finite"
    assert judged(np.full((3, 1), np.nan)) == "not finite"
    assert judged([[np.nan], [1e-6], [np.nan]]) == "ok"


def test_a_derivative_that_vanishes_has_no_error_to_limit():
    assert judged(best_of(0.5), values=SIGNS * 0.99e-3, floor=1e-5) == "ok"
    assert judged(best_of(0.5), values=SIGNS * 1.01e-3, floor=1e-5) == "rounding-limited"


def test_automatic_differentiation_is_at_fault_if_most_schemes_say_so():
    sound, wrong = best_of(1e-6), [[1e-3], [1e-3], [1e-1]]
    other = curve(sound, order=1)
    single = curve(sound, dtype="float32")
    half = [curve(wrong), curve(wrong), curve(sound), curve(sound), single, other]
    most = [curve(wrong), curve(wrong), curve(sound), single, other]
    bad = "derivative mismatch"
    assert verdicts(half, math.inf) == [bad, bad, "ok", "ok", "ok", "ok"]
    assert verdicts(most, math.inf) == [bad, bad, bad, bad, "ok"]  # in both precisions, of this derivative alone


def test_a_derivative_that_another_way_does_not_reproduce_is_a_mismatch():
    curves = [
        curve(best_of(1e-6)),
        curve(best_of(1e-6), dtype="float32", reproducible=False),
        curve(best_of(1e-6), order=1),
    ]
    assert verdicts(curves, math.inf) == ["derivative mismatch", "derivative mismatch", "ok"]


def test_the_taylor_test_of_a_loss_gradient_is_told_below_order_one_and_a_half():
    for order, told in ((1.4, True), (1.6, False), (None, False)):
        found = LossGradientAudit(taylor_order=order, misspecification=None, points=64)
        assert ("Taylor test" in gradient_sentence(found, has_moving_kinks=False)) == told
        assert gradient_sentence(found, has_moving_kinks=True) == ""
    for missed, told in ((0.009, False), (0.011, True)):
        found = LossGradientAudit(taylor_order=1.0, misspecification=missed, points=64)
        assert ("automatic differentiation misses" in gradient_sentence(found, has_moving_kinks=True)) == told
    assert gradient_sentence(None, has_moving_kinks=True) == ""


# --- V-curves -------------------------------------------------------------------------------------------------------


def test_errors_of_clean_points_are_read_where_half_of_the_points_are_clean():
    kinked = np.array([[False, True, True, False], [True, True, True, False], [False, False, False, False]])
    found = curve(np.array([[3.0, 9.0, 9.0, 4.0]] * 3), kinked=kinked).clean_errors
    assert found[0] == pytest.approx(np.sqrt((9 + 16) / 2), rel=1e-15)
    assert np.isnan(found[1])
    assert found[2] == pytest.approx(np.sqrt((9 + 81 + 81 + 16) / 4), rel=1e-15)


def test_the_best_step_is_the_one_of_least_finite_error():
    assert curve([[2.0], [1.0], [np.nan]]).best == 1
    assert curve([[np.nan], [np.nan], [np.nan]]).best == 2


def test_the_predicted_step_is_where_truncation_and_rounding_are_least_together():
    found = curve(np.ones((3, 1)), truncation=[[-1.0], [-2.0], [-9.0]], rounding=[[9.0], [3.0], [1.0]])
    assert found.predictions == pytest.approx([10.0, 5.0, 10.0], rel=1e-15)
    assert found.predicted == pytest.approx((STEPS[1], 5.0), rel=1e-15)
    assert curve(np.ones((3, 1))).predicted == (None, None)
    unknown = curve(np.ones((3, 1)), truncation=[[np.nan], [2.0], [9.0]], rounding=[[0.0], [3.0], [1.0]])
    assert unknown.predicted == pytest.approx((STEPS[1], 5.0), rel=1e-15)


def powers(steps, order=2, **given):
    """Return the V-curve of an error h^p, that its leading term explains."""
    errors = (np.asarray(steps) ** order)[:, None]
    return curve(errors, steps=steps, truncation=errors, **given)


def test_orders_are_read_ten_times_above_rounding():
    # e / R of the first step: 9 leaves less than a decade
    steps = np.array([1e-2, 3e-2, 1e-1])
    for ratio, order in ((9.0, None), (11.0, 2.0)):
        found = powers(steps, rounding=1e-4 / ratio).observed_order
        assert found is None if order is None else found.rms == pytest.approx(order, rel=1e-12)


def test_orders_are_read_where_the_leading_term_explains_the_error():
    steps, errors = np.array([1e-2, 3e-2, 1e-1]), np.array([[1e-4], [9e-4], [1e-2]])
    for ratio, read in ((0.49, False), (0.51, True), (1.99, True), (2.01, False)):
        found = curve(errors, steps=steps, truncation=errors / [[ratio], [1.0], [1.0]]).observed_order
        assert (found is not None) == read
    assert curve(errors, steps=steps).observed_order is None  # the leading term is not known


def test_orders_are_read_over_a_decade_of_the_longest_run():
    steps = 12.0 ** np.arange(-5, 1)
    differences = 1e8 * np.concatenate([steps[:2], [1.0], steps[3:] ** 2])  # order 1, nonsense, order 2
    found = curve(differences[:, None], steps=steps)
    assert found.order_within(np.array([1, 1, 0, 1, 1, 1], bool)).rms == pytest.approx(2.0, rel=1e-12)
    assert found.order_within(np.array([1, 1, 0, 1, 0, 1], bool)).rms == pytest.approx(1.0, rel=1e-12)  # the first
    assert found.order_within(np.array([1, 0, 1, 0, 1, 0], bool)) is None
    assert found.order_within(np.zeros(6, bool)) is None
    assert powers(np.array([1e-2, 0.099])).order_within(np.ones(2, bool)) is None  # less than a decade


def test_orders_depend_on_the_norm_and_on_the_points_that_keep_their_stencil():
    # over two steps the slope is that of the line through both
    differences = np.array([[1.0, 2.0, 3.0, 50.0], [10.0, 40.0, 90.0, 50.0]])
    free = np.array([[True, True, True, True], [True, True, True, False]])
    order = curve(differences, steps=[0.1, 1.0], free=free).order_within(np.ones(2, bool))
    assert order.mean == pytest.approx(math.log10(140 / 6), rel=1e-12)
    assert order.rms == pytest.approx(math.log10(math.sqrt((100 + 1600 + 8100) / 14)), rel=1e-12)
    assert order.maximum == pytest.approx(math.log10(30), rel=1e-12)
    both = np.ones(2, bool)
    assert curve(differences, steps=[0.1, 1.0], free=[True, False, False, False]).order_within(
        both
    ).rms == pytest.approx(1)
    assert curve(differences, steps=[0.1, 1.0], free=False).order_within(both) is None
    some = np.array([[0.0, 1.0, 1.0, 1.0], [0.0, 10.0, 10.0, 10.0]])  # one point has no error at all
    assert curve(some, steps=[0.1, 1.0]).order_within(both).rms == pytest.approx(1)
    assert curve([[0.0], [1.0]], steps=[0.1, 1.0]).order_within(both) is None
    assert curve([[1.0], [np.inf]], steps=[0.1, 1.0]).order_within(both) is None


def test_the_plateau_is_the_median_ratio_over_half_a_decade():
    steps = np.array([1e-3, 1e-2, 3.3e-2, 1e-1])
    ratios = np.array([[0.5], [0.95], [1.05], [1.2]])
    assert curve(ratios, steps=steps, truncation=1.0).plateau == pytest.approx(1.0, rel=1e-12)
    assert curve(ratios, steps=steps, truncation=-1.0).plateau is None
    assert curve(ratios, steps=[1e-3, 1e-2, 3.1e-2, 1e-1], truncation=1.0).plateau is None
    for edge, read in ((0.89, False), (0.91, True), (1.09, True), (1.11, False)):
        ratios[1] = edge
        assert (curve(ratios, steps=steps, truncation=1.0).plateau is not None) == read


def test_the_leading_ratio_is_the_median_where_there_is_a_leading_term():
    found = curve([[2.0, 3.0, 8.0, 9.0]], steps=[0.1], truncation=[[1.0, 1.0, 1.0, 0.0]])
    assert found.ratios == pytest.approx([3.0], rel=1e-15)
    assert np.isnan(curve([[1.0]], steps=[0.1], truncation=0.0).ratios).all()


# --- baselines ------------------------------------------------------------------------------------------------------


def test_the_baseline_of_all_parts_weighs_them_by_their_points():
    one = baseline(
        values=SIGNS[:1], exact=SIGNS[:1], noise=1.0, magnitude=2.0, automatic_error=3.0, independent_error=4.0
    )
    other = baseline(
        values=SIGNS[:3],
        exact=2 * SIGNS[:3],
        noise=5.0,
        magnitude=6.0,
        automatic_error=7.0,
        independent_error=8.0,
        floor=1e-3,
        reproducible=False,
    )
    whole = _together([one, other])
    assert whole.values.tolist() == [1.0, 1.0, -1.0, 1.0]
    assert whole.exact.tolist() == [1.0, 2.0, -2.0, 2.0]
    found = (whole.noise, whole.magnitude, whole.automatic_error, whole.independent_error)
    assert found == pytest.approx([math.sqrt((a**2 + 3 * (a + 4) ** 2) / 4) for a in (1.0, 2.0, 3.0, 4.0)], rel=1e-15)
    assert (whole.floor, whole.reproducible) == (1e-3, False)
    assert _together([one, dataclasses.replace(other, independent_error=None)]).independent_error is None
    assert _together([one, one]).reproducible


def test_errors_are_divided_by_the_derivative_unless_it_vanishes():
    assert curve([[1.0]], steps=[0.1], values=2 * SIGNS).relative(1.0) == 0.5
    assert curve([[1.0]], steps=[0.1], values=0 * SIGNS).relative(1.0) is None


def test_noise_is_told_in_units_of_the_roundoff():
    assert baseline(noise=3e-16, magnitude=2.0, roundoff=1e-16).noise_ratio == pytest.approx(1.5, rel=1e-15)
    assert math.isnan(baseline(magnitude=0.0).noise_ratio)


def test_two_ways_agree_up_to_rounding_at_the_median_of_the_square():
    one = np.array([1.0, -1.0, 1.0])
    for difference, same in ((0.9e-9, True), (1.1e-9, False)):
        assert agree(one, one + difference * np.array([1e6, 0.0, 0.0]), 0.0)
        assert agree(one, one - difference * np.array([1.0, 2.0, 0.0]), 0.0) == same
        assert agree(2 * one, 2 * one - 2 * difference, 0.0) == same  # relative to the derivative
    assert agree(one, one + 1e-3, 1.1e-5)
    assert not agree(one, one + 1e-3, 0.9e-5)
    assert agree(one, one + 1e-3, 0.0, 1.1e-4)
    assert not agree(one, one + 1e-3, 0.0, 0.9e-4)


def test_two_ways_are_compared_where_the_derivative_is():
    front = np.array([0.0, 0.0, 0.0, 1.0])
    assert not agree(front, 1.01 * front, 0.0)
    assert not agree(np.zeros(4), front, 0.0)  # one of them sees nothing
    # a number that is none says nothing
    assert agree(np.array([1.0, np.nan]), np.array([1.0, 2.0]), 0.0)
    assert not agree(np.array([1.0, np.nan]), np.array([2.0, 2.0]), 0.0)
    assert agree(np.full(2, np.nan), np.ones(2), 0.0)


def test_rounding_counts_where_the_derivative_is_and_as_a_whole():
    front = np.array([0.0, 0.0, 0.0, np.nan, 1.0])
    assert rounding_where(front, np.array([0.0, 0.0, 0.0, 0.0, 1e-3])) == pytest.approx(1e-3, rel=1e-15)
    assert rounding_where(front, np.array([3e-3, 0.0, 0.0, 0.0, 1e-3])) == pytest.approx(math.sqrt(2) * 1e-3, rel=1e-15)
    assert rounding_where(0 * SIGNS, 1e-3 * SIGNS) == pytest.approx(1e-3, rel=1e-15)


# --- rounding of automatic differentiation --------------------------------------------------------------------------


def test_ten_times_the_rounding_of_automatic_differentiation_excuses_a_mismatch():
    close = [[1e-3], [1e-3 + 0.3e-4], [1e-1]]
    unit = 2.0**-53
    assert judged(close, condition=0.9e-4 / unit) == "derivative mismatch"
    assert judged(close, condition=1.1e-4 / unit) == "ok"
    assert judged(close, condition=1.1e-4 / unit, roundoff=unit / 2) == "derivative mismatch"  # that of the dtype
    unexplained = {"truncation": -0.8e-5, "rounding": 0.2e-5}
    assert judged(best_of(1.1e-3), condition=1.0e-4 / unit, **unexplained) == "derivative mismatch"
    assert judged(best_of(1.1e-3), condition=1.2e-4 / unit, **unexplained) == "ok"


def test_rounding_of_a_hundredth_of_the_derivative_is_told():
    unit = 2.0**-24
    for share, verdict in ((0.009, "ok"), (0.011, "precision-limited")):
        found = {"condition": share / unit, "roundoff": unit}
        assert judged(best_of(1e-3), **found) == verdict
        assert judged(best_of(1e-3), values=2 * SIGNS, **found) == "ok"
        assert judged(best_of(1e-3), exact=SIGNS + 0.0115, **found) == "ok"  # the network errs by more
    kinks = {"kinked": [True, True, False, False], "condition": 0.011 / unit, "roundoff": unit}
    assert judged(best_of(1e-3) * [9.0, 9.0, 1.0, 1.0], **kinks) == "precision-limited"  # no advice to use it


def test_a_derivative_that_is_ten_times_its_rounding_is_there():
    unit = 2.0**-53
    assert baseline(condition=0.11 / unit).vanishes
    assert not baseline(condition=0.09 / unit).vanishes
    assert baseline(condition=0.09 / unit).scale == 1.0
    single = baseline(condition=0.09 / unit, roundoff=2.0**-24)  # what is nothing in float32 is known in float64
    assert not single.vanishes


def test_parts_share_the_mean_square_of_their_rounding():
    one, other = baseline(values=SIGNS[:1], condition=1.0), baseline(values=SIGNS[:3], condition=5.0)
    assert _together([one, other]).condition == pytest.approx(math.sqrt((1 + 3 * 25) / 4), rel=1e-15)


def test_the_digits_that_rounding_leaves_are_told_below_half():
    unit, partial = 2.0**-53, Partial("u", (2,))
    for share, told in ((1.0e-8, ""), (1.1e-8, "8 in u_xx"), (3e-6, "6 in u_xx")):
        curves = [curve(best_of(1e-3), condition=share / unit), curve(best_of(1e-3), dtype="float32", condition=1e16)]
        found = rounding_sentence(curves, {partial: "u_xx"})
        assert found.endswith(told)
        assert bool(found) == bool(told)


def test_equations_of_first_order_are_not_told_to_become_so():
    found = LossGradientAudit(taylor_order=None, misspecification=2 * MISSED, points=64)
    assert "first-order" in gradient_sentence(found, has_moving_kinks=True, order=2)
    assert "first-order" not in gradient_sentence(found, has_moving_kinks=True, order=1)
