"""Every problem file of the library tests itself."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
import sympy

from pinnsolve.problems import Residual, load_problem_file
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.problems.places import Place
from pinnsolve.references import exact_derivatives

FILES = sorted((Path(__file__).parents[1] / "problems").glob("*.toml"))
TABLES = {path: tomllib.loads(path.read_text()) for path in FILES}
SOLVED = [path for path, table in TABLES.items() if "manufactured" in table or "exact" in table.get("reference", {})]
EPSILON = np.finfo(np.float64).eps
POINTS = 256


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def problem(request):
    return load_problem_file(request.param)


@pytest.fixture(params=SOLVED, ids=lambda path: path.stem)
def solved(request):
    """Return a problem whose exact solution is known."""
    return load_problem_file(request.param)


def relative_residual(problem, residual: Residual, points):
    """The largest residual of the exact solution, relative to the largest sum of its terms' sizes."""
    jet = exact_derivatives(problem, residual.partials, points)
    terms = sympy.Add.make_args(sympy.expand(residual.placed))
    formula = Formula(terms, [*residual.coordinates, *residual.placeholders.values()])
    values = formula(numpy_functions(), [*points.T, *(jet[partial] for partial in residual.partials)])
    size = sum(np.abs(np.broadcast_to(value, len(points))) for value in values)
    return np.abs(residual(numpy_functions(), list(points.T), jet)).max() / (size.max() or 1.0)


def roundoff(problem):
    """Rounding of x moves a term by eps |x u_x / u|: what a function of a large argument makes of it."""
    lower, upper = problem.box
    points = Place(problem).sobol(POINTS, seed=3)
    reach = np.maximum(np.abs(lower), np.abs(upper))
    growth = 1.0
    for name in problem.reference.exact:
        value = problem.partial(name)
        for axis, coordinate in enumerate(problem.coordinate_names):
            slope = problem.partial(f"d({name}, {coordinate})")
            jet = exact_derivatives(problem, [value, slope], points)
            growth = max(growth, reach[axis] * np.abs(jet[slope]).max() / np.abs(jet[value]).max())
    return 16 * EPSILON * growth


def test_a_problem_says_what_it_is_and_where_it_comes_from(problem):
    assert problem.title
    assert any(character.isdigit() for character in problem.source), "a citation has a year"
    assert problem.tags
    assert not problem.defaults, "no tuning in problem files"


def test_the_exact_solution_annihilates_equations_and_conditions(solved):
    assert set(solved.reference.exact) == set(solved.field_names)
    tolerance = roundoff(solved)
    for equation in solved.equations:
        points = Place(solved).sobol(POINTS, seed=0)
        assert relative_residual(solved, equation, points) < tolerance, equation.name
    for condition in solved.conditions:
        points = Place(solved, condition).sobol(POINTS, seed=1)
        # relative to the solution where the terms of the condition all vanish
        assert relative_condition(solved, condition.residual, points) < tolerance, condition.name


def relative_condition(problem, residual, points):
    jet = exact_derivatives(problem, residual.partials, points)
    inside = Place(problem).sobol(POINTS, seed=2)
    sizes = exact_derivatives(problem, residual.partials, inside)
    size = max(np.abs(values).max() for values in sizes.values())
    return np.abs(residual(numpy_functions(), list(points.T), jet)).max() / size


def test_the_exact_solution_is_periodic_where_the_problem_is(solved):
    lower, upper = solved.box
    left = np.random.default_rng(3).uniform(lower, upper, size=(POINTS, len(lower)))
    for axis, coordinate in enumerate(solved.coordinates):
        if coordinate.periodic:
            right = left.copy()
            left[:, axis], right[:, axis] = lower[axis], upper[axis]
            for name in solved.reference.exact:
                value = [solved.partial(name)]
                ends = [exact_derivatives(solved, value, points)[value[0]] for points in (left, right)]
                np.testing.assert_allclose(ends[0], ends[1], atol=roundoff(solved) * np.abs(ends[0]).max())
