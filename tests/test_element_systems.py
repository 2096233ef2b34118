"""Finite elements for systems: elasticity, reaction and diffusion, Stokes flow; against exact solutions."""

import math
from dataclasses import replace

import numpy as np
import pytest

from pinnsolve.problems.places import Place
from pinnsolve.problems.problem import Reference
from pinnsolve.references import evolving_elements, exact_derivatives, find_reference, finite_elements
from pinnsolve.references.weak_form import weak_form

L_SHAPE = 'domain = "polygon(0, 0, 2, 0, 2, 1, 1, 1, 1, 2, 0, 2)"'
DISK = 'domain = "disk(0.1, 0, 1)"'
ANNULUS = 'wall = "disk(0, 0, 1)"\nbore = "disk(0.1, 0, 0.4)"\ndomain = "wall - bore"'
ALONG_X, ALONG_Y = "3*u_xx + u_yy + 2*v_xy = 0", "3*v_yy + v_xx + 2*u_xy = 0"  # λ = μ = 1
HELD = "boundary and x < 2 and y < 2"


def traction(*texts):
    return [f"{text} = exact({text})" for text in texts]


def plane(domain, equations, conditions, exact, top=""):
    lines = [f'title = "t"\n{top}\n[geometry]\n{domain}\n[equations]']
    lines += [f'e{number} = "{equation}"' for number, equation in enumerate(equations)]
    lines += [f'[[conditions]]\nwhere = "{where}"\nequation = "{equation}"' for where, equation in conditions]
    lines += ["[manufactured]", *(f'{name} = "{text}"' for name, text in exact.items())]
    lines.insert(0, f"fields = {list(exact)}")
    return "\n".join(lines)


DISPLACEMENTS = {"u": "sin(x)*exp(y/2)", "v": "cos(x + y)"}
CASES = {
    "a plate under displacements": (
        DISK,
        [ALONG_X, ALONG_Y],
        [("boundary", traction("u", "v"))],
        DISPLACEMENTS,
        2**2.5,
    ),
    "a bracket under tractions, equations in another order": (
        L_SHAPE,
        [ALONG_Y, ALONG_X],
        [
            ("x = 2", traction("3*u_x + v_y", "u_y + v_x")),
            ("y = 2", traction("v", "u_y + v_x")),  # a roller
            (HELD, traction("v", "u")),
        ],
        DISPLACEMENTS,
        2**4.5,
    ),
    "reaction and diffusion": (
        ANNULUS,
        ["laplacian(a) - a*b^2 + a = 0", "laplacian(b)/2 + a*b^2 - b = 0"],
        [
            ("on wall", ["dn(a) = dn(exact(a))", "dn(b) + a*b = dn(exact(b)) + exact(a*b)"]),
            ("on bore", traction("a", "b")),
        ],
        {"a": "1 + 0.3*sin(x)*y", "b": "0.5 + 0.2*cos(x - y)"},
        2**2.5,
    ),
    "cross-diffusion, with fluxes that read each other": (
        DISK,
        ["d(2*a_x + b_x, x) + d(2*a_y + b_y, y) - a = 0", "d(a_x + 3*b_x, x) + d(a_y + 3*b_y, y) - b = 0"],
        [("boundary", ["2*dn(a) + dn(b) + b = dn(exact(2*a + b)) + exact(b)", "dn(a) + 3*dn(b) = dn(exact(a + 3*b))"])],
        {"a": "sin(2*x)*exp(y)", "b": "cos(x - y)"},
        2**2.5,
    ),
    "Stokes flow": (
        DISK,
        ["laplacian(u) - p_x = 0", "u_x + v_y = 0", "laplacian(v) - p_y = 0"],
        [("boundary", traction("u", "v"))],
        {"u": "sin(x)*cos(y)", "v": "-cos(x)*sin(y)", "p": "x*y + sin(x)"},
        2**2.5,
    ),
    "an insulated disk": (
        DISK,
        ["laplacian(u) = 0"],
        [("boundary", ["dn(u) = dn(exact(u))"])],
        {"u": "sin(2*x)*exp(y)"},
        2**2.5,
    ),
    "an oblique derivative": (
        DISK,
        ["laplacian(u) - u = 0"],
        [("boundary", ["dn(u) + u_y/2 = dn(exact(u)) + d(exact(u), y)/2"])],
        {"u": "sin(2*x)*exp(y)"},
        2**2.5,
    ),
}


def stated(case):
    domain, equations, conditions, exact, _ = CASES[case]
    return plane(domain, equations, [(where, text) for where, texts in conditions for text in texts], exact)


def true_errors(problem, chart, points):
    values = [problem.partial(name) for name in problem.field_names]
    truth = {partial.field: value for partial, value in exact_derivatives(problem, values, points).items()}
    found = chart(points)
    for name in problem.floating_fields:
        found[name] = found[name] + np.mean(truth[name] - found[name])
    return np.array([np.linalg.norm(found[name] - truth[name]) / np.linalg.norm(truth[name]) for name in truth])


@pytest.mark.parametrize("case", CASES)
def test_errors_of_systems_fall_by_the_order_of_the_edges(problem_from, case):
    problem = problem_from(stated(case))
    points = Place(problem).sobol(2**11, 0)
    errors = []
    for system, _ in finite_elements.systems(problem, weak_form(problem)):
        errors.append(true_errors(problem, finite_elements.solution(system), points))
        if len(errors) == 2:
            break
    assert (errors[1] < 1e-6).all()
    # quadratic edges leave a disk by O(h³), half an order is lost on so coarse a mesh; straight ones by nothing
    assert (errors[0] / errors[1] > CASES[case][-1]).all()


def test_the_error_that_a_system_states_is_true(problem_from):
    problem = problem_from(stated("a plate under displacements"))
    reference = find_reference(replace(problem, reference=Reference(solver="auto")))
    assert reference.solver == "finite elements"
    errors = true_errors(problem, reference, Place(problem).sobol(2**11, 3))
    assert (errors < list(reference.errors.values())).all()
    assert max(reference.errors.values()) < 1e-6
    again = find_reference(replace(problem, reference=Reference(solver="auto")))
    points = Place(problem).sobol(64, 5)
    np.testing.assert_array_equal(again(points)["v"], reference(points)["v"])


def test_two_fields_are_marched_in_time(problem_from):
    text = plane(
        DISK + "\n[coordinates]\nt = [0, 0.5]",
        ["a_t + b_t = laplacian(a) + b^2", "2*b_t = laplacian(b) - a"],
        [
            ("t = 0", "a = exact(a)"),
            ("t = 0", "b = exact(b)"),
            ("boundary", "a = exact(a)"),
            ("boundary", "dn(b) + a = dn(exact(b)) + exact(a)"),
        ],
        {"a": "exp(-t)*sin(x + y)", "b": "1e-4*cos(x - t)*y"},
    )
    problem = problem_from(text)
    points = Place(problem).sobol(2**10, 0)
    errors = []
    for attempt in evolving_elements.resolutions(replace(problem, reference=Reference(solver="auto")), math.inf):
        errors.append(true_errors(problem, attempt.chart, points))
        if len(errors) == 2:
            break
    assert (errors[1] < [1e-6, 1e-5]).all()
    assert (errors[0] / errors[1] > 2**2.5).all()


@pytest.mark.parametrize(
    ("case", "old", "new", "message"),
    [
        ("an insulated disk", "dn(u) = dn(exact(u))", "dn(u) = 1", "the conditions contradict the equations"),
        ("an insulated disk", "dn(u) = dn(exact(u))", "u_y = 1", "the conditions do not determine the fluxes"),
        (
            "reaction and diffusion",
            "dn(a) = dn(exact(a))",
            "b = exact(b)",
            "the conditions do not determine the fluxes",
        ),
        ("a plate under displacements", "u = exact(u)", "2*v = 2*exact(v)", "0 conditions on fluxes for 1 fields"),
    ],
)
def test_conditions_that_give_no_solution_are_refused(problem_from, case, old, new, message):
    problem = problem_from(stated(case).replace(old, new))
    system, _ = next(finite_elements.systems(problem, weak_form(problem)))
    with pytest.raises(ArithmeticError, match=message):
        finite_elements.solution(system)


@pytest.mark.parametrize(
    ("case", "old", "new"),
    [
        ("a plate under displacements", "u = exact(u)", "u + v = exact(u + v)"),
        ("reaction and diffusion", "laplacian(a)", "a*laplacian(a)"),
        ("reaction and diffusion", "laplacian(b)/2", "laplacian(a)/2"),
        ("Stokes flow", "u_x + v_y", "u_x + v_y + laplacian(u)"),
    ],
)
def test_other_systems_have_no_weak_form(problem_from, case, old, new):
    assert weak_form(problem_from(stated(case))) is not None
    assert weak_form(problem_from(stated(case).replace(old, new))) is None
