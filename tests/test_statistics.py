"""What a comparison counts, by hand: ties, missing numbers, curves of several runs, the worst of several fields."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from pinnsolve.comparison.curves import SAMPLES, ErrorCurve, band, error_curve
from pinnsolve.comparison.statistics import friedman
from pinnsolve.comparison.summary import Outcome, audit_columns, summarize


def history(**columns):
    """Return a history of these columns."""
    return {name: np.array(values, dtype=float) for name, values in columns.items()}


def outcome(method="elu", seed=0, status="finished", error=1e-3, reached=1.0, fd_error=None, problem="heat", **changes):
    """Return the outcome of a run that had its error from a moment on."""
    settings = SimpleNamespace(seed=seed, network=SimpleNamespace(trained_activation=method))
    run = SimpleNamespace(
        problem=SimpleNamespace(name=problem), method=method, settings=settings, chosen={}, name="r", command="c"
    )
    metrics = {"status": status, "seconds": 2.0, "fields": {"u": {"relative_l2": error, "reference_error": 1e-9}}}
    if fd_error is not None:
        metrics["derivatives"] = [{"term": "u_x", "dtype": "float64", "step": fd_error, "fd_vs_ad": fd_error}]
    rows = history(seconds=[reached], error=[error], evaluations=[10.0])
    return Outcome.of(run, metrics | changes, rows)


# --- tests and curves -----------------------------------------------------------------------------------------------


def test_the_sign_test_counts_the_wins_of_the_first_method_and_no_ties():
    found = friedman(np.array([[1.0, 2.0]] * 3 + [[2.0, 1.0]] + [[1.0, 1.0]] * 2))
    assert found.statistic == 3
    assert found.p_value == pytest.approx(2 * (1 + 4) / 2**4, rel=1e-12)  # none or one of four signs, on either side


def test_a_test_has_its_name_whatever_it_says():
    assert friedman(np.array([[1.0, 2.0, 3.0]] * 2)).name == "Friedman"
    assert friedman(np.array([[1.0, 2.0, 3.0]])).name == "Friedman"
    assert friedman(np.array([[1.0, 2.0]])).name == "sign"


def test_rows_without_a_held_out_residual_count_as_better_than_all_before():
    rows = history(seconds=[1, 2, 3, 4], error=[0.5, 0.4, 0.3, 0.2], held_out=[2, math.nan, 3, 1])
    assert error_curve(rows).errors.tolist() == [0.5, 0.4, 0.4, 0.2]
    del rows["held_out"]
    assert error_curve(rows).errors.tolist() == [0.5, 0.4, 0.3, 0.2]


def test_equal_held_out_residuals_keep_the_earlier_network():
    rows = history(seconds=[1, 2], error=[0.5, 0.4], held_out=[1, 1])
    assert error_curve(rows).errors.tolist() == [0.5, 0.5]


def test_a_curve_over_evaluations_leaves_out_rows_without_an_error():
    rows = history(seconds=[1, 2, 3], evaluations=[10, 20, 30], error=[math.nan, 0.4, 0.3])
    curve = error_curve(rows, "evaluations")
    assert (curve.moments.tolist(), curve.errors.tolist()) == ([20, 30], [0.4, 0.3])


def test_a_band_begins_with_the_first_curve_and_is_spaced_evenly_in_the_logarithm():
    early = ErrorCurve(np.array([1.0, 100.0]), np.array([1.0, 0.1]))
    late = ErrorCurve(np.array([10.0, 50.0]), np.array([0.5, 0.05]))
    found = band([early, late])
    assert (found["moments"][0], found["moments"][-1], len(found["moments"])) == (1, 100, SAMPLES)
    # six digits are kept
    np.testing.assert_allclose(np.diff(np.log(found["moments"])), math.log(100) / (SAMPLES - 1), rtol=1e-3)
    assert (found["low"][0], found["median"][0], found["high"][0]) == (1.0, None, None)
    middle = next(k for k, moment in enumerate(found["moments"]) if moment > 10)
    assert (found["low"][middle], found["median"][middle], found["high"][middle]) == (0.5, 0.75, 1.0)
    assert (found["low"][-1], found["median"][-1], found["high"][-1]) == (0.05, 0.075, 0.1)


def test_the_band_of_one_moment_is_that_moment():
    found = band([ErrorCurve(np.array([3.0]), np.array([0.5]))])
    assert found == {"moments": [3.0], "median": [0.5], "low": [0.5], "high": [0.5]}


# --- outcomes -------------------------------------------------------------------------------------------------------


def test_the_error_of_a_run_is_that_of_its_worst_field():
    two = {"u": {"relative_l2": 1e-3}, "v": {"relative_l2": 1e-1}, "p": {"relative_l2": None}}
    assert outcome(fields=two).error == 1e-1
    assert outcome(fields=two, status="diverged").error == 1e-1
    assert outcome(fields=two, status="interrupted").error == math.inf
    assert outcome(fields={**two, "w": {"relative_l2": math.nan}}).error == math.inf
    assert math.isnan(outcome(fields={"p": {"relative_l2": None}}).error)


def test_the_best_difference_of_a_derivative_is_that_of_least_error_in_any_order():
    rows = [{"term": "u_x", "dtype": "float64", "step": step, "fd_vs_ad": step} for step in (1e-3, 1e-5, 1e-4)]
    assert audit_columns({"derivatives": rows})["fd_step"] == 1e-5
    assert audit_columns({"derivatives": rows[::-1]})["fd_error"] == 1e-5
    assert audit_columns({"derivatives": [{**rows[0], "dtype": "float32"}]})["fd_error"] is None


def test_a_group_has_the_audit_of_its_median_run_and_the_worst_reference():
    members = [outcome(seed=seed, fd_error=fd) for seed, fd in enumerate((1e-3, 1e-7, 1e-5))]
    rough = {"u": {"relative_l2": 1e-3, "reference_error": 1e-9}, "v": {"relative_l2": 1e-4, "reference_error": 1e-6}}
    members += [outcome(seed=3, fd_error=1e-1, status="diverged", fields=rough), outcome(seed=4, status="failed")]
    (group,) = summarize("test", members, 1e-2)["groups"]
    assert group["fd_error"] == 1e-3  # of 1e-7, 1e-5, 1e-3, 1e-1 and a run without audit
    assert group["reference_error"] == 1e-6
    assert (group["runs"], group["without_result"], group["diverged"]) == (5, 1, 1)
    assert group["seconds"] == 2.0


def test_times_to_an_error_are_medians_of_the_first_moments():
    members = [
        outcome(seed=seed, error=error, reached=reached)
        for seed, error, reached in ((0, 2e-3, 5.0), (1, 1e-4, 7.0), (2, 0.5, 1.0))
    ]
    (group,) = summarize("test", members, 1e-2)["groups"]
    assert group["seconds_to_target"] == 7.0  # 5, 7 and never
    assert (group["seconds_to"]["1e-02"], group["seconds_to"]["1e-03"]) == (7.0, None)
    assert list(group["seconds_to"]) == [f"1e-{digits:02d}" for digits in range(1, 13)]


def test_a_curve_has_an_error_for_each_moment():
    with pytest.raises(ValueError, match="as many as errors; got 2"):
        ErrorCurve(np.array([1.0, 2.0]), np.array([1.0]))


def test_moments_below_a_millisecond_count_as_one_in_profiles():
    members = [outcome("elu", reached=0.0), outcome("tanh", reached=2e-3)]
    profiles = summarize("test", members, 1e-2)["profiles"]
    assert profiles["tau"] == [1.0, 2.0]
    assert profiles["share"] == [[1.0, 1.0], [0.0, 1.0]]
    assert (profiles["tasks"], profiles["methods"]) == (1, ["elu", "tanh"])


def test_seeds_that_one_method_lacks_are_not_ranked():
    members = [outcome("elu", seed=0), outcome("elu", seed=1), outcome("tanh", seed=1, error=1e-5)]
    ranks = summarize("test", members, 1e-2)["ranks"]
    assert (ranks["over"], ranks["blocks"], ranks["mean_ranks"]) == ("seeds", 1, [2.0, 1.0])
    # q = 1.960 for two methods in one block
    assert ranks["critical_distance"] == pytest.approx(1.960, rel=5e-4)


def test_a_method_without_an_error_is_ranked_last_where_another_has_one():
    unknown = {"u": {"relative_l2": None}}
    ranks = summarize("test", [outcome("elu", fields=unknown), outcome("tanh")], 1e-2)["ranks"]
    assert (ranks["blocks"], ranks["mean_ranks"]) == (1, [2.0, 1.0])


def test_over_several_problems_medians_are_ranked_and_unknown_errors_are_infinite():
    """Of the first problem elu has 1e-3, unknown and 3e-3, tanh 2e-3: the median 3e-3 is the worse one."""
    unknown = {"u": {"relative_l2": None}}
    members = [outcome("elu", seed=0, error=1e-3), outcome("elu", seed=1, fields=unknown)]
    members += [outcome("elu", seed=2, error=3e-3), outcome("tanh", error=2e-3)]
    members += [outcome("elu", problem="wave", error=1e-5), outcome("tanh", problem="wave", error=1e-4)]
    ranks = summarize("test", members, 1e-2)["ranks"]
    assert (ranks["over"], ranks["blocks"], ranks["mean_ranks"]) == ("problems", 2, [1.5, 1.5])
