"""Finite elements in space with Radau steps in time: against exact solutions, and what they refuse."""

import math
from dataclasses import replace

import numpy as np
import pytest

from pinnsolve.evaluation import classical_cost
from pinnsolve.problems.places import Place
from pinnsolve.problems.problem import Reference
from pinnsolve.references import evolving_elements, exact_derivatives, find_reference
from pinnsolve.references.weak_form import weak_form

ELLIPSE = """
title = "t"
[coordinates]
t = [1, 2]
[geometry]
domain = "ellipse(0.1, 0, 1, 0.7, 0.4)"
[equations]
e = "EQUATION = 0"
[[conditions]]
where = "t = 1"
equation = "START"
[[conditions]]
where = "boundary"
equation = "WALL"
[manufactured]
u = "exp(-t/2)*sin(2*x + 1)*cos(y - t)"
"""
VALUE = "u = exact(u)"
ROBIN = "dn(u) + t*u = dn(exact(u)) + t*exact(u)"
CASES = {
    "fluxes": ("u_t - laplacian(u) + u_x", "dn(u) = dn(exact(u))"),
    "moving coefficients": ("t*u_t - 2*u_xx - t*u_yy - u_xy + x*u", VALUE),
    "robin": ("(2 + x)*u_t - (2 + x)*laplacian(u)", ROBIN),
    "nonlinear": ("u_t - laplacian(u) + u^3 - u*u_y", "dn(u) + u^2 = dn(exact(u)) + exact(u)^2"),
}


def ellipse(equation="u_t - laplacian(u)", wall=VALUE, start=VALUE):
    return ELLIPSE.replace("EQUATION", equation).replace("START", start).replace("WALL", wall)


def unsolved(problem):
    return replace(problem, reference=Reference(solver="auto"))


def exact_values(problem, points):
    partial = problem.partial("u")
    return exact_derivatives(problem, [partial], points)[partial]


@pytest.mark.parametrize("case", CASES)
def test_meshes_and_steps_refined_together_come_to_the_exact_solution(problem_from, case):
    problem = problem_from(ellipse(*CASES[case]))
    points = Place(problem).sobol(2**10, 0)
    truth = exact_values(problem, points)
    errors = []
    for attempt in evolving_elements.resolutions(unsolved(problem), math.inf):
        errors.append(np.linalg.norm(attempt.chart(points)["u"] - truth) / np.linalg.norm(truth))
        if len(errors) == 2:
            break
    assert errors[1] < 2e-6
    # quadratic edges leave an ellipse by O(h³); on so coarse a mesh half an order is lost
    assert errors[0] / errors[1] > 2**2.5


def test_a_solution_that_starts_from_zero_is_marched(problem_from):
    problem = problem_from(ellipse().replace("exp(-t/2)*sin(2*x + 1)*cos(y - t)", "1e-6*(t - 1)*sin(2*x + 1)*cos(y)"))
    points = Place(problem).sobol(2**10, 0)
    truth = exact_values(problem, points)
    attempt = next(evolving_elements.resolutions(unsolved(problem), math.inf))
    assert np.linalg.norm(attempt.chart(points)["u"] - truth) < 1e-3 * np.linalg.norm(truth)


def test_the_reference_tells_its_error_comes_from_the_cache_and_ends_at_the_boundary(problem_from):
    problem = problem_from(ellipse())
    asked = unsolved(problem)
    reference = find_reference(asked)
    assert reference.solver == "evolving elements"
    points = Place(problem).sobol(2**10, 3)
    truth = exact_values(problem, points)
    error = np.linalg.norm(reference(points)["u"] - truth) / np.linalg.norm(truth)
    assert error < 2 * reference.errors["u"] < 2e-6
    again = find_reference(asked)
    assert again.seconds == reference.seconds
    np.testing.assert_array_equal(again(points)["u"], reference(points)["u"])
    outside = np.array([[0.1, 1.0, 1.5], [2.0, 0.0, 1.5]])
    assert np.isnan(reference(outside)["u"]).all()


def test_what_the_classical_way_takes_is_told_of_a_moving_problem_on_a_domain(problem_from):
    problem = problem_from(ellipse())
    cost = classical_cost(problem, find_reference(problem), 1e-4, budget=60.0)
    assert cost.solver == "evolving elements"
    assert cost.reached
    assert cost.relative_l2 <= 1e-4
    assert "A finite-element solver in space (quartic) with Radau steps in time reaches" in cost.sentence(58.0)


@pytest.mark.parametrize(
    "changed",
    [
        {"equation": "d(u, t, t) - laplacian(u)"},
        {"equation": "u_t^2 - laplacian(u)"},
        {"equation": "d(u, x, t) - laplacian(u) + u_t"},
        {"equation": "u_t - u*laplacian(u)"},
        {"start": "u^2 = 1"},
        {"start": "u_x = 1"},
        {"wall": "u_t = 0"},
    ],
)
def test_other_forms_have_no_weak_form(problem_from, changed):
    assert weak_form(problem_from(ellipse())) is not None
    assert weak_form(problem_from(ellipse(**changed))) is None


def test_a_condition_whose_place_moves_has_no_weak_form(problem_from):
    text = ellipse().replace('"boundary"', '["boundary and x < t - 2", "boundary and x > t - 2"]')
    assert weak_form(problem_from(text)) is None
    still = ellipse().replace('"boundary"', '["boundary and x < 0", "boundary and x > 0"]')
    assert weak_form(problem_from(still)) is not None


def test_a_march_that_runs_out_of_time_has_no_solution(problem_from):
    problem = unsolved(problem_from(ellipse()))
    system, _ = next(evolving_elements.systems(problem, weak_form(problem)))
    assert evolving_elements.march(system, 1e-5, -1.0) is None
