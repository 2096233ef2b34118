"""References by collocation on boxes: steady, of every order and kind of condition, against exact solutions."""

import math
from dataclasses import replace

import numpy as np
import pytest

from pinnsolve.problems import load_problem_file
from pinnsolve.problems.problem import Reference
from pinnsolve.references import boxes, cache, exact_derivatives, find_reference, ode
from pinnsolve.references.bases import BoxChart, ChebyshevBasis, FourierBasis, contracted, product_matrix
from pinnsolve.references.reference import relative_differences

from .test_references import LIBRARY, library, points_of, problem_of

SQUARE = "x = [0, 1]\ny = [0, 1]"
ROUNDOFF = 1e-11  # of series of up to 2,000 coefficients, solved by QR with scaled columns
EPSILON = float(np.finfo(np.float64).eps)


def check_against_exact(problem, at_most=ROUNDOFF):
    """The solver, which does not see the exact solution, finds it, and its own error is an honest one."""
    reference = boxes.solve(problem)
    points = points_of(problem)
    values = [problem.partial(name) for name in problem.field_names]
    truth = {partial.field: value for partial, value in exact_derivatives(problem, values, points).items()}
    found = reference(points)
    for name in problem.floating_fields:
        found[name] = found[name] + (truth[name] - found[name]).mean()
    for name, error in relative_differences(truth, found).items():
        assert error < at_most
        assert error < 10 * reference.errors[name] + ROUNDOFF, "the reference claims more than it has"
        assert reference.errors[name] < 10 * at_most


@pytest.mark.parametrize(
    "name",
    [
        *("poisson_1d", "poisson", "laplace", "helmholtz", "poisson_neumann", "poisson_robin", "boundary_layer"),
        *("anisotropic_diffusion", "plate", "plate_clamped", "euler_bernoulli", "lane_emden", "kovasznay"),
    ],
)
def test_collocation_reaches_the_exact_solution_of(name):
    check_against_exact(load_problem_file(LIBRARY / f"{name}.toml"))


@pytest.mark.parametrize(
    ("equation", "conditions", "coordinates", "top", "exact"),
    [
        ("u_xx + u_yy - u^3 = 0", ["u = exact(u)"], SQUARE, "", "2 + sin(x + 2*y)"),
        (
            "d((1 + u^2)*u_x, x) + d((1 + u^2)*u_y, y) = 0",
            ["u + dn(u + u^3/3) = exact(u) + dn(exact(u + u^3/3))"],
            SQUARE,
            "",
            "exp(x)*cos(y)",
        ),
        ("u_xx + u_yy + u_zz = 0", ["u = exact(u)"], SQUARE + "\nz = [0, 1]", "", "sin(x + y)*exp(z/2)"),
        (
            "u_xx + u_yy - u = 0",
            ["u = exact(u)"],
            'x = [0, "2*pi"]\ny = [0, 1]',
            'periodic = ["x"]',
            "cos(2*x)*exp(y)",
        ),
        ("u_xy - u_yy + 4*u_xx = 0", ["u = exact(u)"], SQUARE, "", "cos(3*x - y)"),
    ],
    ids=["nonlinear", "nonlinear coefficient, Robin", "cube", "periodic", "mixed derivative"],
)
def test_manufactured_solutions_on_boxes(equation, conditions, coordinates, top, exact):
    places = [("boundary", condition) for condition in conditions]
    problem = problem_of([equation], places, coordinates, f'{top}\nmanufactured.u = "{exact}"')
    check_against_exact(problem, at_most=1e-8 if "z = " in coordinates else ROUNDOFF)


def test_an_insulated_plate_is_known_up_to_a_constant():
    problem = problem_of(
        ["laplacian(u) = 0"], [("boundary", "dn(u) = dn(exact(u))")], SQUARE, 'manufactured.u = "cos(pi*x)*cos(2*pi*y)"'
    )
    assert problem.floating_fields == ("u",)
    check_against_exact(problem)


def test_what_is_no_initial_value_problem_is_collocated_in_space_and_time():
    problem = problem_of(
        ["u_t + u_x + u*u_x - u_xxt = 0"],
        [("t = 0", "u = exact(u)"), ("boundary", "u = exact(u)")],
        top='manufactured.u = "exp(-t)*sin(2*x)"',
    )
    found = find_reference(replace(problem, reference=Reference(solver="auto")))
    assert found.solver == "collocation"
    check_against_exact(problem)


@pytest.mark.parametrize(
    ("equation", "start", "boundary", "coordinates", "top", "exact"),
    [
        ("u_t = 0.1*laplacian(u)", ["u = exact(u)"], ["u = exact(u)"], SQUARE, "", "exp(-t)*sin(x + y)"),
        ("u_t = laplacian(u) - u^3", ["u = exact(u)"], ["dn(u) = dn(exact(u))"], SQUARE, "", "cos(x - y + t/2)"),
        ("u_tt = laplacian(u)", ["u = exact(u)", "u_t = d(exact(u), t)"], ["u = exact(u)"], SQUARE, "", "sin(x + t)*y"),
        (
            "u_t + u_x = 0.1*laplacian(u)",
            ["u = exact(u)"],
            [],
            'x = [0, "2*pi"]\ny = [0, "2*pi"]',
            'periodic = ["x", "y"]',
            "sin(x - t)*cos(y)*exp(-t/5)",
        ),
    ],
    ids=["dirichlet", "nonlinear, neumann", "second order in time", "periodic"],
)
def test_two_space_coordinates_and_time(equation, start, boundary, coordinates, top, exact):
    conditions = [*(("t = 0", text) for text in start), *(("boundary", text) for text in boundary)]
    text = f'{top}\nmanufactured.u = "{exact}"'
    problem = problem_of([equation], conditions, coordinates + "\nt = [0, 0.5]", text)
    found = boxes.collocate(replace(problem, reference=Reference(solver="auto")), [9, 9, 8])
    points = points_of(problem, 500)
    value = problem.partial("u")
    truth = exact_derivatives(problem, [value], points)[value]
    # a series of nine functions over a unit, or a period, of functions that turn by one radian in it
    assert relative_differences({"u": truth}, found(points))["u"] < 1e-6


def test_conditions_on_parts_of_a_face_together_determine_the_solution():
    mixed = [("y = 0 and x < 0.5", "u = exact(u)"), ("y = 0 and x > 0.5", "dn(u) = dn(exact(u))")]
    rest = [(face, "u = exact(u)") for face in ("x = 0", "x = 1", "y = 1")]
    problem = problem_of(["laplacian(u) = 0"], [*mixed, *rest], SQUARE, 'manufactured.u = "exp(x)*sin(y) + x^3"')
    check_against_exact(problem, at_most=1e-9)  # twice as many conditions as there need be, on either half


def test_the_blasius_layer_has_the_known_wall_friction():
    problem = library("blasius")
    chart = find_reference(problem).evaluate
    friction = contracted(chart.coefficients, [chart.bases[0].matrix(np.zeros(1), 2)])[0, 0]
    # Boyd (1999), Experimental Mathematics 8, 381-394; at x = 10 the velocity is 1 to 1e-10
    assert friction == pytest.approx(0.332057336215195, abs=1e-9)


def test_bratus_problem_has_the_solution_of_its_transcendental_equation():
    theta = 1.0
    for _ in range(60):  # θ = √2 cosh(θ/4), a contraction near the lower root
        theta = math.sqrt(2.0) * math.cosh(theta / 4)
    x = np.linspace(0, 1, 101)
    exact = -2 * np.log(np.cosh((x - 0.5) * theta / 2) / np.cosh(theta / 4))
    np.testing.assert_allclose(find_reference(library("bratu"))(x[:, None])["u"], exact, atol=1e-14)


def test_a_boundary_value_problem_and_an_initial_value_problem_agree():
    start = problem_of(["u_xx = -sin(u)"], [("x = 0", "u = 1"), ("x = 0", "u_x = 0")], "x = [0, 3]")
    trajectory = ode.solve(start)
    end = float(trajectory(np.array([[3.0]]))["u"][0])
    ends = problem_of(["u_xx = -sin(u)"], [("x = 0", "u_x = 0"), ("x = 3", f"u = {end!r}")], "x = [0, 3]")
    points = points_of(ends)
    found = find_reference(ends)
    assert found.solver == "collocation"
    assert relative_differences(trajectory(points), found(points))["u"] < 1e-9


def test_a_singular_corner_is_told_by_the_error():
    problem = problem_of(["-laplacian(u) = 1"], [("boundary", "u = 0")], SQUARE)
    reference = boxes.solve(problem, tolerance=1e-6)
    # series of sines (Timoshenko, Goodier 1951, Theory of Elasticity, section 98)
    odd = np.arange(1, 60, 2)
    terms = 4 * (-1.0) ** ((odd - 1) // 2) / (np.pi * odd) ** 3 * (1 - 1 / np.cosh(odd * np.pi / 2))
    centre = terms.sum()
    assert reference(np.array([[0.5, 0.5]]))["u"][0] == pytest.approx(centre, rel=10 * reference.errors["u"])
    assert 0 < reference.errors["u"] < 1e-6


def test_a_deadline_that_is_past_leaves_no_solution():
    problem = library("poisson")
    assert boxes.collocate(problem, [8, 8], deadline=-1.0) is None


def test_newton_gives_up_where_there_is_no_solution():
    problem = problem_of(["u_xx + 20*exp(u) = 0"], [("boundary", "u = 0")], "x = [0, 1]")  # none above 3.51
    assert boxes.collocate(problem, [16]) is None


# -- the bases -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("basis", [ChebyshevBasis(-1.0, 3.0, 9), FourierBasis(-1.0, 3.0, 9)])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_derivatives_of_basis_functions_are_those_of_sixth_order_differences(basis, order):
    places, h = np.linspace(-0.9, 2.9, 7), 0.02
    weights = {-3: -1 / 60, -2: 3 / 20, -1: -3 / 4, 1: 3 / 4, 2: -3 / 20, 3: 1 / 60}
    found = sum(w * basis.matrix(places + k * h, order - 1) for k, w in weights.items()) / h
    expected = basis.matrix(places, order)
    # h⁶/140 times the seventh derivative of what is differentiated
    bound = h**6 / 140 * np.abs(basis.matrix(np.linspace(-1, 3, 101), order + 6)).max()
    rounding = 4 * EPSILON / h * np.abs(basis.matrix(np.linspace(-1, 3, 101), order - 1)).max()
    assert np.abs(found - expected).max() < 1.5 * bound + rounding


def test_product_matrix_and_contraction_are_two_routes_to_one_sum():
    generator = np.random.default_rng(0)
    coefficients = generator.normal(size=(2, 3, 4, 5))
    factors = [generator.normal(size=(7, n)) for n in (3, 4, 5)]
    by_matrix = product_matrix(factors) @ coefficients.reshape(2, -1).T
    np.testing.assert_allclose(contracted(coefficients, factors), by_matrix.T, rtol=1e-13)


def test_a_box_chart_survives_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PINNSOLVE_CACHE", str(tmp_path))
    problem = library("poisson")
    solved = replace(boxes.solve(problem), seconds=1.0)
    cache.save(problem, solved)
    loaded = cache.load(problem)
    points = points_of(problem, 100)
    assert isinstance(loaded.evaluate, BoxChart)
    np.testing.assert_array_equal(loaded(points)["u"], solved(points)["u"])
