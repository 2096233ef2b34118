"""References in two space coordinates and time by the method of lines, against exact solutions."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from pinnsolve.problems.problem import Reference
from pinnsolve.references import applicable, boxes, cache, find_reference, method_of_lines
from pinnsolve.references.bases import ChebyshevBasis, basis_of
from pinnsolve.references.evolution import evolution_of
from pinnsolve.references.lines import Lines, ends_of, nodes_of
from pinnsolve.references.reference import relative_differences

from .test_references import library, points_of

TOLERANCE = 1e-7  # of references, and less than any of the mistakes that these tests look for

BOX = 'title = "A box"\n{top}\n[coordinates]\n{coordinates}\n[equations]\n{equations}\n{conditions}[{key}]\n{exact}\n'
SQUARE = "x = [0, 1]\ny = [-1, 1]\nt = [0, 0.5]"
CONDITION = '[[conditions]]\nwhere = {where}\nequation = "{equation}"\n'


def text_of(equations, conditions, exact, *, coordinates=SQUARE, top="", key="manufactured"):
    """Return a problem file."""
    given = "".join(CONDITION.format(where=where, equation=text) for where, text in conditions)
    lines = "\n".join(f'e{k} = "{equation}"' for k, equation in enumerate(equations))
    values = "\n".join(f'{name} = "{value}"' for name, value in exact.items())
    return BOX.format(top=top, coordinates=coordinates, equations=lines, conditions=given, key=key, exact=values)


EPSILON = float(np.finfo(np.float64).eps)
START = ('"t = 0"', "u = exact(u)")
SIDES = '["x = 0", "x = 1", "y = -1", "y = 1"]'
CASES = {
    "values that move": (
        ["u_t = laplacian(u) + u_x"],
        [START, (SIDES, "u = exact(u)")],
        {"u": "exp(-t)*sin(x + 2*y + t)"},
    ),
    "every kind of condition": (
        ["u_t = d((1 + x*y/4)*u_x, x) + u_xy/3 + u_yy - u^2"],
        [
            START,
            ('"x = 0"', "u_x = exact(u_x)"),
            ('"x = 1"', "u = exact(u)"),
            ('"y = -1"', "dn(u) + (2 + t)*u = dn(exact(u)) + (2 + t)*exact(u)"),
            ('"y = 1"', "dn(u) = dn(exact(u))"),
        ],
        {"u": "cos(x + t)*exp(y/2)"},
    ),
    "waves with damping and velocities on the boundary": (
        ["u_tt = laplacian(u) + d(laplacian(u), t)/5"],
        [START, ('"t = 0"', "u_t = exact(u_t)"), (SIDES, "u = exact(u)")],
        {"u": "cos(2*t + x)*sin(y + 1)"},
    ),
    "a side that absorbs": (
        ["u_tt = u_xx + u_yy"],
        [
            START,
            ('"t = 0"', "u_t = exact(u_t)"),
            ('["x = 0", "y = -1", "y = 1"]', "u = exact(u)"),
            ('"x = 1"', "u_t + u_x = exact(u_t) + exact(u_x)"),
        ],
        {"u": "sin(2*x - 2*t)*(1 + y^2) + t^2"},
    ),
    "inflow": (
        ["u_t + 2*u_x - (1 + x)*u_y = 0"],
        [START, ('["x = 0", "y = 1"]', "u = exact(u)")],
        {"u": "exp(x - y)*cos(t)"},
    ),
    "a period and two fields": (
        ["u_t = laplacian(u)/2 + u*v", "v_t = laplacian(v)/3 - u^2 + v_x"],
        [
            START,
            ('"t = 0"', "v = exact(v)"),
            ('["y = -1", "y = 1"]', "u = exact(u)"),
            ('["y = -1", "y = 1"]', "v_y = exact(v_y)"),
        ],
        {"u": "sin(2*pi*x)*exp(-t)*(2 + y)", "v": "cos(2*pi*x + t)*cos(y)"},
    ),
}


def problem_of(problem_from, name):
    equations, conditions, exact = CASES[name]
    top = 'fields = ["u", "v"]\nperiodic = ["x"]' if len(exact) > 1 else ""
    return problem_from(text_of(equations, conditions, exact, top=top))


def lines_of(problem_from, name, sizes=(7, 9)):
    evolution = evolution_of(problem_of(problem_from, name))
    bases = [basis_of(evolution.problem.coordinates[axis], size) for axis, size in enumerate(sizes)]
    return Lines(evolution, ends_of(evolution), bases)


@pytest.mark.parametrize("name", CASES)
def test_the_method_of_lines_finds_manufactured_solutions(problem_from, name):
    problem = problem_of(problem_from, name)
    truth = find_reference(problem)
    unsolved = replace(problem, reference=Reference(solver="auto"))
    assert applicable(unsolved)[0].name == "method of lines"
    found, points = method_of_lines.solve(unsolved, TOLERANCE), points_of(problem)
    for field, error in relative_differences(truth(points), found(points)).items():
        assert error < TOLERANCE
        assert error < 10 * found.errors[field] + 1e-12, "the reference claims more than it has"
        assert found.errors[field] <= TOLERANCE


def test_the_ends_of_lines_follow_from_the_conditions(problem_from):
    """At any moment and for any state, the values at the ends satisfy the conditions there."""
    lines = lines_of(problem_from, "every kind of condition")
    x, y = lines.nodes
    state = np.random.default_rng(0).normal(size=len(lines.start))
    assert len(state) == 5 * 7
    (u,) = lines.values(0.3, state)
    u_x, u_y = (
        basis.matrix(nodes, 1) @ np.linalg.inv(basis.matrix(nodes, 0))
        for basis, nodes in zip(lines.bases, lines.nodes, strict=True)
    )
    inner = slice(1, -1)
    assert u[-1, inner] == pytest.approx(np.cos(x[-1] + 0.3) * np.exp(y[inner] / 2), rel=1e-13)
    assert (u_x @ u)[0, inner] == pytest.approx(-np.sin(0.3) * np.exp(y[inner] / 2), rel=1e-10)
    truth = np.cos(x + 0.3)[inner]
    assert (u @ u_y.T)[inner, -1] == pytest.approx(truth * np.exp(0.5) / 2, rel=1e-10)
    flux = -(u @ u_y.T)[inner, 0] + 2.3 * u[inner, 0]
    assert flux == pytest.approx(truth * np.exp(-0.5) * (2.3 - 0.5), rel=1e-10)


@pytest.mark.parametrize("name", ["values that move", "a side that absorbs", "a period and two fields"])
def test_the_jacobian_is_that_of_the_rates(problem_from, name):
    lines = lines_of(problem_from, name)
    state, direction = np.random.default_rng(0).normal(size=(2, len(lines.start)))
    step = EPSILON ** (1 / 3)  # central differences: rounding and h² are both EPSILON^(2/3) of sizes of 1e3
    moved = (lines.rate(0.2, state + step * direction) - lines.rate(0.2, state - step * direction)) / (2 * step)
    assert lines.has_constant_ends
    assert lines.jacobian(0.2, state) @ direction == pytest.approx(moved, abs=1e4 * EPSILON ** (2 / 3))


def test_ends_whose_coefficients_move_have_no_jacobian(problem_from):
    assert not lines_of(problem_from, "every kind of condition").has_constant_ends


def test_nodes_reach_both_ends():
    nodes = nodes_of(ChebyshevBasis(-1.0, 3.0, 9))
    assert nodes == pytest.approx(1 - 2 * np.cos(np.pi * np.arange(9) / 8), abs=1e-15)
    assert (nodes[0], nodes[-1]) == (-1.0, 3.0)


@pytest.mark.parametrize(
    ("equations", "conditions"),
    [
        (["u_t = -d(laplacian(u), x, x) - d(laplacian(u), y, y)"], [(SIDES, "u = 0"), (SIDES, "dn(u) = 0")]),
        (["u_t = laplacian(u)"], [('["x = 0", "x = 1", "y = -1"]', "u = 0")]),
        (["u_t = laplacian(u)"], [('["x = 0", "x = 1", "y = -1"]', "u = 0"), ('"y = 1"', "dn(u) = u^4")]),
        (["u_t = laplacian(u)"], [('["x = 0", "x = 1", "y = -1"]', "u = 0"), ('"y = 1"', "u_t = u")]),
        (["u_t = laplacian(u)"], [('["x = 0", "x = 1", "y = -1"]', "u = 0"), ('"y = 1"', "u_x = 0")]),
        (["u_t = laplacian(u)"], [(SIDES, "d(u, x, x, x) + u = 0")]),
    ],
)
def test_other_evolutions_are_left_to_other_solvers(problem_from, equations, conditions):
    problem = problem_from(text_of(equations, [('"t = 0"', "u = 0"), *conditions], {"solver": "auto"}, key="reference"))
    assert not method_of_lines.applies(problem)
    assert not method_of_lines.applies(library("heat"))
    assert not method_of_lines.applies(library("poisson_3d"))


def test_a_narrow_pulse_that_turns_has_a_reference(problem_from):
    """A pulse of width 0.13 is beyond series in space and time at once."""
    width = "(1/60 + t/500)"  # of a Gaussian, squared, that spreads with the diffusivity 1/1000
    turning = f"exp(-((x - 0.4*cos(pi*t))^2 + (y - 0.4*sin(pi*t))^2)/2/{width})/{width}/60"
    problem = problem_from(
        text_of(
            ["u_t = pi*(y*u_x - x*u_y) + laplacian(u)/1000"],
            [START, ('["x = -1", "x = 1", "y = -1", "y = 1"]', "u = exact(u)")],
            {"u": turning},
            coordinates="x = [-1, 1]\ny = [-1, 1]\nt = [0, 1]",
            key="reference.exact",
        )
    )
    truth, points = find_reference(problem)(points_of(problem)), points_of(problem)
    unsolved = replace(problem, reference=Reference(solver="auto"))
    assert not boxes.solve(unsolved, budget=2.0).errors["u"] < 1e-2
    found = find_reference(unsolved)
    assert found.solver == "method of lines"
    assert relative_differences(truth, found(points))["u"] < 1e-6
    assert found.errors["u"] < 1e-6
    assert cache.load(unsolved)(points)["u"] == pytest.approx(found(points)["u"], abs=1e-14)


def test_what_takes_too_long_is_given_up(problem_from):
    problem = replace(problem_of(problem_from, "values that move"), reference=Reference(solver="auto"))
    assert list(method_of_lines.resolutions(problem, time.process_time() - 1)) == []


def test_a_solution_that_blows_up_has_no_reference(problem_from):
    problem = problem_from(
        text_of(
            ["u_t = laplacian(u) + u^3"],
            [('"t = 0"', "u = 9"), (SIDES, "dn(u) = 0")],
            {"solver": "auto"},
            key="reference",
        )
    )
    assert all(attempt.chart is None for attempt in method_of_lines.resolutions(problem, time.process_time() + 5))
