"""When a reference is fine enough and which solver's is taken, on solutions made up for it; least squares by hand."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest

from pinnsolve.references import refinement, search
from pinnsolve.references.gauss_newton import IllPosedError, gauss_newton
from pinnsolve.references.reference import ReferenceSolution, check_points, relative_differences
from pinnsolve.references.refinement import Attempt, refined

from .conftest import DECAY

# --- refinement -----------------------------------------------------------------------------------------------------


def attempts(*values, drawn=None):
    """Yield attempts whose solution is one number everywhere; None for one that broke down."""
    for value in values:
        if drawn is not None:
            drawn.append(value)
        chart = None if value is None else (lambda points, v=value: {"u": np.full(len(points), v)})
        yield Attempt(chart, 0.0)


def settled(problem, *values, tolerance=1e-9, budget=math.inf, limit=math.inf):
    """Return the value and the error of the reference of these attempts, and those that were looked at."""
    drawn = []
    found = refined(problem, "made up", attempts(*values, drawn=drawn), tolerance, budget, limit)
    assert found.solver == "made up"
    return float(found(np.zeros((1, 1)))["u"][0]), found.errors["u"], drawn


def test_the_error_of_a_reference_is_its_difference_from_the_one_before(problem_from):
    value, error, drawn = settled(problem_from(DECAY), 2.0, 2.2, 2.25, tolerance=1e-3)
    assert value == 2.25
    assert error == pytest.approx(0.05 / 2.25, rel=1e-12)
    assert drawn == [2.0, 2.2, 2.25]


def test_the_error_of_a_geometric_row_is_what_its_later_differences_add_up_to(problem_from):
    problem = problem_from(DECAY)

    def stated(*values, best_ratio=1 / 8):
        return refined(problem, "t", attempts(*values), 0.0, math.inf, best_ratio=best_ratio).errors["u"]

    row = [1e3 + 0.3**k for k in range(4)]  # 1e3: the size that differences are relative to is the same to 1e-3
    assert stated(*row) == pytest.approx((row[-1] - 1e3) / 1e3, rel=2e-3)
    assert stated(*row[:2]) == pytest.approx((row[0] - row[1]) / 1e3, rel=2e-3)  # two levels do not tell a ratio
    assert stated(1e3, 1001.0, 1001.01) == pytest.approx(0.01 / 7 / 1e3, rel=2e-3)  # 1/100, of which 1/8 is believed
    assert stated(1e3, 1e3, 1e3) == 0.0


def test_a_reference_is_not_refined_beyond_the_tolerance(problem_from):
    value, error, drawn = settled(problem_from(DECAY), 2.0, 2.2, 2.25, 3.0, tolerance=0.05 / 2.24)
    assert (value, drawn) == (2.25, [2.0, 2.2, 2.25])
    assert error < 0.05 / 2.24


def test_a_difference_that_does_not_halve_is_rounding_and_the_coarser_solution_stays(problem_from):
    problem = problem_from(DECAY)
    value, error, drawn = settled(problem, 2.0, 2.1, 2.16, 9.0)  # 0.06 is more than half of 0.1
    assert (value, drawn) == (2.1, [2.0, 2.1, 2.16])
    assert error == pytest.approx(0.1 / 2.1, rel=1e-12)
    value, _, drawn = settled(problem, 2.0, 2.1, 2.14, 2.15)  # 0.04 is less
    assert (value, drawn) == (2.15, [2.0, 2.1, 2.14, 2.15])


def test_a_large_difference_that_does_not_fall_is_too_low_a_resolution(problem_from):
    problem = problem_from(DECAY)
    value, error, _ = settled(problem, 2.0, 2.1, 2.3, 2.301, limit=0.05)
    assert value == 2.301
    assert error == pytest.approx(0.001 / 2.301, rel=1e-9)
    assert settled(problem, 2.0, 2.1, 2.3, 2.301, limit=0.1)[0] == 2.1


def test_a_single_solution_has_an_unknown_error_and_none_at_all_no_values(problem_from):
    problem = problem_from(DECAY)
    value, error, _ = settled(problem, None, 2.0, None)
    assert value == 2.0
    assert math.isnan(error)
    value, error, _ = settled(problem, None, None)
    assert math.isnan(value)
    assert math.isnan(error)


def test_attempts_that_broke_down_are_passed_over(problem_from):
    value, error, _ = settled(problem_from(DECAY), 2.0, None, 2.1)
    assert value == 2.1
    assert error == pytest.approx(0.1 / 2.1, rel=1e-12)


def test_no_attempt_is_begun_once_the_budget_is_used(problem_from):
    assert settled(problem_from(DECAY), 2.0, 2.1, 2.11, budget=-1.0)[2] == [2.0]


def test_the_budget_is_of_processor_time_and_seconds_are_those_of_the_clock(problem_from, monkeypatch):
    processor, clock = itertools.count(100.0, 0.4), itertools.count(500.0, 7.0)
    fake = SimpleNamespace(process_time=lambda: next(processor), perf_counter=lambda: next(clock))
    monkeypatch.setattr(refinement, "time", fake)
    found = refined(problem_from(DECAY), "made up", attempts(2.0, 2.1, 2.11, 2.111), 1e-9, budget=1.0)
    assert found(np.zeros((1, 1)))["u"][0] == 2.11  # looked at after 0.4, 0.8 and 1.2 seconds
    assert found.seconds == 7.0


def test_all_fields_have_to_agree(problem_from):
    problem = problem_from(
        'title = "t"\nfields = ["u", "v"]\n[coordinates]\nt = [0, 1]\n[equations]\na = "u_t = v"\nb = "v_t = u"\n'
    )
    pairs = [
        Attempt(lambda points, v=value: {"u": np.ones(len(points)), "v": np.full(len(points), v)}, 0.0)
        for value in (2.0, 2.1, 2.11)
    ]
    found = refined(problem, "made up", pairs, 1e-3, math.inf)
    assert found.errors == {"u": 0.0, "v": pytest.approx(0.01 / 2.11, rel=1e-9)}


def test_differences_are_relative_to_the_finer_solution_and_absolute_where_it_is_zero():
    fine = {"u": np.array([3.0, 4.0]), "v": np.zeros(4)}
    coarse = {"u": np.array([3.0, 3.0]), "v": np.full(4, 0.5)}
    assert relative_differences(fine, coarse) == {"u": 0.2, "v": 0.5}


@pytest.mark.parametrize(("names", "counts"), [("x", (2001,)), ("xy", (201, 101)), ("xyz", (31, 31, 21))])
def test_resolutions_are_compared_on_a_grid_with_its_ends(problem_from, names, counts):
    coordinates = "\n".join(f"{name} = [{k}, {2 * k + 1}]" for k, name in enumerate(names))
    problem = problem_from(f'title = "t"\n[coordinates]\n{coordinates}\n[equations]\ne = "u_x = 0"\n')
    points = check_points(problem)
    assert points.shape == (math.prod(counts), len(names))
    for axis, count in enumerate(counts):
        own = np.unique(points[:, axis])
        np.testing.assert_allclose(own, np.linspace(axis, 2 * axis + 1, count), rtol=1e-14)


# --- the choice of a solver -----------------------------------------------------------------------------------------


@pytest.fixture
def chosen(problem_from, monkeypatch):
    """Return a function from (error, is it a last resort) per solver to the reference found and what was spent."""

    def choose(*solvers):
        budgets, saved = [], []

        def solver(name, error, last_resort):
            def solve(problem, budget):
                budgets.append((name, budget))
                return ReferenceSolution(name, {"u": error}, 0.0, lambda points: {})

            return search.ReferenceSolver(name, lambda problem: error is not None, solve, last_resort=last_resort)

        table = tuple(solver(name, *each) for name, each in zip("abc", solvers, strict=False))
        monkeypatch.setattr(search, "COMPUTED", table)
        monkeypatch.setattr(search.cache, "load", lambda problem: None)
        monkeypatch.setattr(search.cache, "save", lambda problem, found: saved.append(found.solver))
        found = search.find_reference(problem_from(DECAY + '[reference]\nsolver = "auto"\n'))
        assert saved == ([] if found is None else [found.solver])
        return None if found is None else found.solver, budgets

    return choose


def test_the_first_solver_that_is_good_enough_is_taken_and_ends_the_search(chosen):
    assert chosen((1e-10, False), (1e-12, False)) == ("a", [("a", 15.0)])
    assert chosen((1e-8, False), (1e-10, False), (1e-12, False)) == ("b", [("a", 15.0), ("b", 15.0)])


def test_else_the_best_is_taken_and_the_last_one_has_the_most_time(chosen):
    assert chosen((1e-5, False), (1e-3, False)) == ("a", [("a", 15.0), ("b", 60.0)])
    assert chosen((1e-3, False), (1e-5, False)) == ("b", [("a", 15.0), ("b", 60.0)])
    assert chosen((math.nan, False), (1e-3, False))[0] == "b"


def test_errors_as_large_as_the_solution_are_no_reference(chosen):
    assert chosen((0.99, False))[0] == "a"
    assert chosen((1.01, False))[0] is None
    assert chosen((math.nan, False))[0] is None
    assert chosen() == (None, [])


def test_a_last_resort_is_one_where_no_other_solver_applies(chosen):
    assert chosen((1e-3, True), (1e-2, False)) == ("b", [("b", 60.0)])
    assert chosen((1e-3, True), (None, False)) == ("a", [("a", 60.0)])


# --- least squares --------------------------------------------------------------------------------------------------


def rows(residual, jacobian):
    """Return rows of F with this residual and Jacobian, functions of the coefficients."""
    return SimpleNamespace(
        residual=lambda c: np.atleast_1d(np.asarray(residual(c), dtype=float)),
        jacobian=lambda c: np.atleast_2d(np.asarray(jacobian(c), dtype=float)),
    )


def test_blocks_in_other_units_count_alike():
    blocks = [rows(lambda c: c - 1, lambda c: [[1.0]]), rows(lambda c: 100 * (c - 3), lambda c: [[100.0]])]
    for is_linear in (True, False):
        found = gauss_newton(blocks, np.zeros(1), is_linear, math.inf)
        assert found.coefficients == pytest.approx([2.0], rel=1e-12)
        # (1, -1) is left of (2, 2)
        assert found.residual == pytest.approx(0.5, rel=1e-12)


def test_every_row_counts_alike_however_many_its_block_has():
    twice = rows(lambda c: [c[0] - 1, c[0] - 1], lambda c: [[1.0], [1.0]])
    once = rows(lambda c: c - 4, lambda c: [[1.0]])
    assert gauss_newton([twice, once], np.zeros(1), True, math.inf).coefficients == pytest.approx([2.0], rel=1e-12)


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e8])
def test_convergence_does_not_depend_on_the_unit(unit):
    block = rows(lambda c: (c / unit) ** 2 - 2, lambda c: [2 * c / unit**2])
    found = gauss_newton([block], np.array([unit]), False, math.inf)
    assert found.coefficients == pytest.approx([math.sqrt(2) * unit], rel=1e-14, abs=0)


def test_a_step_that_overshoots_is_shortened():
    """Newton's method on atan(c) = 0 runs away from starts beyond 1.39."""
    block = rows(np.arctan, lambda c: [1 / (1 + c**2)])
    found = gauss_newton([block], np.array([3.0]), False, math.inf)
    # the last step is below 1e-12 of 1e-12
    assert abs(found.coefficients[0]) <= 1e-12


def test_a_nonlinear_system_is_solved_to_rounding():
    block = rows(
        lambda c: [c[0] ** 2 + c[1] ** 2 - 4, c[0] * c[1] - 1],
        lambda c: [[2 * c[0], 2 * c[1]], [c[1], c[0]]],
    )
    found = gauss_newton([block], np.array([2.0, 0.3]), False, math.inf)
    c = found.coefficients
    assert np.hypot(*c) == pytest.approx(2, rel=1e-14)
    assert c[0] * c[1] == pytest.approx(1, rel=1e-14)
    assert found.residual <= 1e-14


def test_coefficients_that_are_not_determined_are_refused():
    for jacobian in ([[1.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]], [[1.0, 2.0]]):
        block = rows(lambda c, j=jacobian: np.array(j) @ c - 1, lambda c, j=jacobian: j)
        with pytest.raises(IllPosedError):
            gauss_newton([block], np.zeros(2), True, math.inf)


def test_residuals_without_a_number_and_a_deadline_end_the_iteration():
    linear = rows(lambda c: c - 1, lambda c: [[1.0]])
    assert gauss_newton([linear], np.zeros(1), True, 0.0) is None
    half = rows(lambda c: [c[0] - 1, np.nan], lambda c: [[1.0], [1.0]])
    assert gauss_newton([half], np.zeros(1), True, math.inf) is None
    endless = rows(np.exp, lambda c: [np.exp(c)])  # every step is -1, however short the one before
    assert gauss_newton([endless], np.zeros(1), False, math.inf) is None
