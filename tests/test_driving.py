"""Pulses and narrow data are not passed by: solvers know what drives an evolution before they choose their steps."""

from dataclasses import replace

import numpy as np
import pytest

from pinnsolve.problems.problem import Reference
from pinnsolve.references import chebyshev, exact_derivatives, find_reference, fourier
from pinnsolve.references.driving import Driving
from pinnsolve.references.elements import Mesh
from pinnsolve.references.evolution import evolution_of

from .test_references import check_against, points_of, problem_of

START, ENDS = ("t = 0", "u = exact(u)"), ("boundary", "u = exact(u)")
PERIODIC = 'periodic = ["x"]'
CASES = {
    "a switch": ("u_t = 0", [START], "t = [0, 10]", "", "1 + erf((t - 7.03)/0.005)"),
    "a switch that multiplies": ("u_t = -u*exp(-((t - 7.03)/0.005)^2)", [START], "t = [0, 10]", "", "exp(-t)"),
    "a switched source": (
        "u_t = u_xx",
        [START, ENDS],
        "x = [0, 1]\nt = [0, 1]",
        "",
        "sin(pi*x)*erf((t - 0.613)/0.002)",
    ),
    "a switched boundary": ("u_t = u_xx", [START, ENDS], "x = [0, 1]\nt = [0, 1]", "", "x*erf((t - 0.613)/0.002)"),
    "a narrow source": (
        "u_t = 0.1*u_xx",
        [START, ENDS],
        "x = [0, 1]\nt = [0, 1]",
        "",
        "t^2*exp(-((x - 0.313)/0.002)^2)",
    ),
    "a narrow start": (
        "u_t + u_x = 0",
        [START],
        "x = [0, 1]\nt = [0, 0.1]",
        PERIODIC,
        "exp(-(sin(pi*(x - t - 0.2))/0.01)^2)",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_happens_between_coarse_steps_is_in_the_reference(case):
    equation, conditions, coordinates, top, exact = CASES[case]
    problem = problem_of([equation], conditions, coordinates, f'{top}\nmanufactured.u = "{exact}"')
    value, points = problem.partial("u"), points_of(problem)
    truth = exact_derivatives(problem, [value], points)[value]
    found = find_reference(replace(problem, reference=Reference(solver="auto")))
    error = np.linalg.norm(found(points)["u"] - truth) / np.linalg.norm(truth)
    assert error < 10 * found.errors["u"] + 1e-12
    assert found.errors["u"] < 1e-8


def test_fourier_series_begin_where_they_show_a_narrow_start():
    equation, conditions, coordinates, top, exact = CASES["a narrow start"]
    problem = problem_of([equation], conditions, coordinates, f'{top}\nmanufactured.u = "{exact}"')
    width, speed = 0.01 / np.pi, 1.0
    reference = fourier.solve(replace(problem, reference=Reference(solver="auto")))
    check_against(
        reference,
        problem,
        {"u": lambda x, t: np.exp(-((np.sin(np.pi * (x - speed * t - 0.2)) / (np.pi * width)) ** 2))},
    )


def driving(equation, start="u = 0", coordinates="t = [0, 8]", ends=()):
    return Driving(evolution_of(problem_of([equation], [("t = 0", start), *ends], coordinates)))


@pytest.mark.parametrize(
    ("equation", "pieces"),
    [
        ("u_t = u - u^2", 1),
        ("u_t = 3 + t*u", 1),
        ("u_t = 1e6 + sin(2*pi*t/8)", 8),
        ("u_t = 1e3*t + exp(-((t - 3)/0.05)^2)", 2**9),
    ],
)
def test_steps_are_as_long_as_straight_lines_show_each_term(equation, pieces):
    # lines over h leave (ωh)²/8·√(8/15) of a wave: 5 % at ωh = 0.74, between 8 and 16 pieces of a period 2π;
    # of a pulse exp(-z²) h²/8·√∫(4z² - 2)²e^(-2z²)/√∫e^(-2z²) = 0.22·(h/w)²: 5 % at h = 0.48 w
    found = 8 / driving(equation).longest_step
    assert pieces <= found <= 2 * pieces


def test_a_jump_limits_steps_and_what_depends_on_space_alone_does_not():
    coordinates, ends = "x = [0, 1]\nt = [0, 8]", [("boundary", "u = 0")]
    assert driving("u_t = u_xx + step(x - 0.3)", coordinates=coordinates, ends=ends).longest_step == 8
    jump = driving("u_t = u_xx + step(t - 3.3)", coordinates=coordinates, ends=ends).longest_step
    # a line over the jump errs by 0.29 √h, of a standard deviation √(0.41·0.59·8)
    assert 8 / 1024 < jump < 8 / 64


def test_terms_that_are_infinite_at_rest_say_nothing():
    coordinates, ends = "x = [0, 1]\nt = [0, 8]", [("boundary", "u = 1")]
    found = driving("u_t = u_xx + sin(3*t)*x/u + log(u)*t", "u = 1", coordinates, ends)
    assert found.longest_step == 8
    assert not found.unseen(Mesh(np.linspace(0, 1, 3), 16)).any()
    assert find_reference(found.evolution.problem).errors["u"] < 1e-9


def test_elements_are_cut_where_they_do_not_show_a_source_and_stay_so():
    coordinates, ends = "x = [0, 1]\nt = [0, 1]", [("boundary", "u = 0")]
    found = driving("u_t = u_xx + exp(-((x - 0.313)/0.002)^2)*cos(t)", coordinates=coordinates, ends=ends)
    coarse = Mesh(np.linspace(0, 1, 5), 16)
    assert found.unseen(coarse).tolist() == [False, True, False, False]
    assert not found.unseen_start(coarse).any()
    chart = chebyshev.march(found.evolution, 1e-6, np.inf)
    edges = np.split(chart.edges, np.cumsum(chart.elements + 1)[:-1])
    narrowest = [np.diff(each)[np.searchsorted(each, 0.313) - 1] for each in edges]
    # 17 nodes show exp(-z²) to a tenth where the element is no wider than about ten of its widths
    assert max(narrowest) < 0.04
