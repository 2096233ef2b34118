"""References: each against an independent route to the same solution."""

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pinnsolve.errors import ProblemError
from pinnsolve.problems import load_problem_file
from pinnsolve.problems.loading import parse_problem
from pinnsolve.problems.problem import Reference
from pinnsolve.references import cache, chebyshev, exact_derivatives, find_reference, fourier, ode, search
from pinnsolve.references.elements import Mesh, derivative_matrix, lobatto_nodes
from pinnsolve.references.etdrk4 import SpectralSystem, etdrk4
from pinnsolve.references.evolution import evolution_of
from pinnsolve.references.radau import radau
from pinnsolve.references.reference import ReferenceSolution, check_points, relative_differences
from pinnsolve.references.semilinear import semilinear

LIBRARY = Path(__file__).parents[1] / "problems"
ROUNDOFF = 1e-13  # of a solution after some hundred steps, and of the closed forms themselves


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PINNSOLVE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def problem_of(equations, conditions, coordinates="x = [0, 1]\nt = [0, 1]", top="", path=Path("test.toml")):
    """A problem from equations {name: text} or [text] and conditions [(where, equation)]."""
    lines = [f'title = "test"\n{top}\n[coordinates]\n{coordinates}\n[equations]']
    lines += [f'e{number} = "{equation}"' for number, equation in enumerate(equations)]
    lines += [f'[[conditions]]\nwhere = "{where}"\nequation = "{equation}"' for where, equation in conditions]
    return parse_problem("\n".join(lines).encode(), path)


def library(name, solver="auto"):
    """A problem of the library, its exact solution forgotten."""
    return replace(load_problem_file(LIBRARY / f"{name}.toml"), reference=Reference(solver=solver))


def points_of(problem, count=3000, seed=0):
    lower, upper = problem.box
    return np.random.default_rng(seed).uniform(lower, upper, size=(count, len(lower)))


def check_against(reference, problem, exact, at_most=1e-9):
    """The solution is accurate, and its own error is an honest one."""
    points = points_of(problem)
    truth = {name: function(*points.T) for name, function in exact.items()}
    true_errors = relative_differences(truth, reference(points))
    for name, error in true_errors.items():
        assert error < at_most
        assert error < 10 * reference.errors[name] + ROUNDOFF, "the reference claims more than it has"
        assert reference.errors[name] < at_most


# -- ordinary differential equations -------------------------------------------------------------------


def test_logistic_growth_against_its_closed_form():
    problem = library("logistic")
    reference = find_reference(problem)
    assert reference.solver == "solve_ivp"
    check_against(reference, problem, {"u": lambda t: 1 / (1 + 9 * np.exp(-t))})


def test_a_second_order_equation_becomes_a_first_order_system():
    problem = problem_of(["u_tt = -4*u"], [("t = 0", "u = 1"), ("t = 0", "u_t = 2")], "t = [0, 10]")
    check_against(find_reference(problem), problem, {"u": lambda t: np.cos(2 * t) + np.sin(2 * t)})


def test_lotka_volterra_keeps_its_invariant():
    problem = problem_of(
        ["u_t = 1.5*u - u*v", "v_t = u*v - 3*v"],
        [("t = 0", "u = 10"), ("t = 0", "v = 5")],
        "t = [0, 10]",
        'fields = ["u", "v"]',
    )
    values = find_reference(problem)(points_of(problem))
    u, v = values["u"], values["v"]
    invariant = u - 3 * np.log(u) + v - 1.5 * np.log(v)
    start = 10 - 3 * np.log(10) + 5 - 1.5 * np.log(5)
    # the sensitivity of the invariant: 1 - 3/u and 1 - 1.5/v, at the smallest values of the orbit
    slope = max(np.abs(1 - 3 / u).max(), np.abs(1 - 1.5 / v).max())
    assert np.abs(invariant - start).max() < 1e-9 * slope * max(u.max(), v.max())


def test_a_stiff_equation_is_solved_by_an_implicit_method():
    stiffness = 1e5
    problem = problem_of([f"u_t = -{stiffness:.0f}*(u - cos(t))"], [("t = 0", "u = 1")], "t = [0, 3]")
    a = stiffness**2 / (1 + stiffness**2)

    def exact(t):
        return a * (np.cos(t) + np.sin(t) / stiffness) + (1 - a) * np.exp(-stiffness * t)

    check_against(ode.solve(problem, tolerance=1e-8), problem, {"u": exact}, at_most=1e-7)


MORRIS_LECAR = """
title = "Morris-Lecar neuron"
fields = ["V", "w"]
[coordinates]
t = [0, 100]
[constants]
gCa = {gCa}
V3 = {V3}
V4 = {V4}
phi = "{phi}"
I = {I}
[equations]
V = "20*V_t = I - 2*(V+60) - gCa*0.5*(1+tanh((V+1.2)/18))*(V-120) - 8*w*(V+84)"
w = "w_t = phi*(0.5*(1+tanh((V-V3)/V4)) - w)*cosh((V-V3)/(2*V4))"
[[conditions]]
where = "t = 0"
equation = "V = -20"
[[conditions]]
where = "t = 0"
equation = "w = 0.1"
"""


@pytest.mark.parametrize(
    ("constants", "trajectory"),
    [
        (
            {"gCa": 4.4, "V3": 2, "V4": 30, "phi": "0.04", "I": 100},
            [(5, -3.06089, 0.131708), (10, 35.15125, 0.25023), (40, -50.19916, 0.329937), (100, 29.78684, 0.376985)],
        ),
        (
            {"gCa": 4.0, "V3": 12, "V4": 17.4, "phi": "1/15", "I": 45},
            [(5, -25.55789, 0.066729), (20, -30.81872, 0.017676), (60, -8.6427, 0.027115), (100, -41.41603, 0.012082)],
        ),
    ],
    ids=["hopf", "snic"],
)
def test_the_morris_lecar_neuron_follows_the_known_trajectories(constants, trajectory):
    problem = parse_problem(MORRIS_LECAR.format(**constants).encode(), Path("neuron.toml"))
    times, voltages, gates = np.array(trajectory).T
    values = find_reference(problem)(times[:, None])
    assert np.abs(values["V"] - voltages).max() < 0.5e-5 + 1e-6  # half of the last digit given, rtol 1e-9 of it
    assert np.abs(values["w"] - gates).max() < 0.5e-6 + 1e-8


# -- one space dimension and time ----------------------------------------------------------------------


def cole_hopf(x, t, viscosity):
    """Burgers from -sin(πx), with a trapezoid rule in z, η = 2√(νt) z (Cole 1951, Q. Appl. Math. 9)."""
    z = np.linspace(-14, 14, 6000)
    y = x[:, None] - 2 * np.sqrt(viscosity * t)[:, None] * z
    exponent = -np.cos(np.pi * y) / (2 * np.pi * viscosity) - z**2
    weight = np.exp(exponent - exponent.max(axis=1, keepdims=True))
    return -(np.sin(np.pi * y) * weight).sum(axis=1) / weight.sum(axis=1)


def test_burgers_against_the_cole_hopf_quadrature():
    problem = library("burgers")
    points = points_of(problem, 1000)
    truth = {"u": cole_hopf(*points.T, 0.01 / np.pi)}
    reference = find_reference(problem)
    error = relative_differences(truth, reference(points))["u"]
    assert error < 1e-9
    assert error < 10 * reference.errors["u"] + ROUNDOFF


EXACT = {
    "heat": lambda x, t: np.exp(-(np.pi**2) * t / 4) * np.sin(np.pi * x),
    "wave": lambda x, t: (
        np.sin(np.pi * x) * np.cos(2 * np.pi * t) + 0.5 * np.sin(4 * np.pi * x) * np.cos(8 * np.pi * t)
    ),
    "convection": lambda x, t: np.sin(x - 50 * t),
    "klein_gordon": lambda x, t: x * np.cos(5 * np.pi * t) + (x * t) ** 3,
}


@pytest.mark.parametrize("name", EXACT)
def test_elements_reach_the_exact_solution(name):
    problem = library(name)
    assert chebyshev.applies(problem)
    check_against(chebyshev.solve(problem), problem, {"u": EXACT[name]})


def test_fourier_series_reach_the_exact_solution():
    problem = library("convection")
    assert fourier.applies(problem)
    check_against(fourier.solve(problem), problem, {"u": EXACT["convection"]})


@pytest.mark.parametrize(
    ("equation", "boundary", "exact"),
    [
        ("u_t = u_xx", ["dn(u) = 0"], "exp(-pi^2*t)*cos(pi*x)"),
        ("u_t = u_xx", ["dn(u) + 2*u = dn(exact(u)) + 2*exact(u)"], "exp(-t)*sin(x + 0.3)"),
        ("u_t = u_xx", ["u = exact(u)"], "exp(-t)*sin(x + 0.3)"),
        ("u_t = u_xx", ["u + 0.1*u^3 = exact(u) + 0.1*exact(u)^3"], "exp(-t)*sin(x + 0.3)"),
        ("u_tt = -u_xxxx", ["u = 0", "d(u, x, x) = 0"], "sin(pi*x)*cos(pi^2*t)"),
        ("u_tt = u_xx", ["u_t + dn(u) = d(exact(u), t) + dn(exact(u))"], "sin(x - t) + cos(2*(x + t))"),
    ],
    ids=["neumann", "robin", "dirichlet in time", "nonlinear condition", "beam", "absorbing"],
)
def test_boundary_conditions_of_every_kind(equation, boundary, exact):
    order = 2 if "u_tt" in equation else 1
    start = [("t = 0", "u = exact(u)"), ("t = 0", "u_t = d(exact(u), t)")][:order]
    places = [("boundary", condition) for condition in boundary]
    text = problem_of([equation], [*start, *places], top=f'reference.exact.u = "{exact}"')
    problem = replace(text, reference=Reference(solver="auto"))
    reference = find_reference(problem)
    assert reference.solver == "chebyshev"

    def truth(x, t):
        value = text.partial("u")
        return exact_derivatives(text, [value], np.stack([x, t], axis=1))[value]

    # rounding of ∂⁴ on elements of a quarter: 1e-16 · 16⁸/105 · (2/0.25)⁴ = 2e-5, against π⁴ = 97
    check_against(reference, problem, {"u": truth}, at_most=2e-7 if "xxxx" in equation else 1e-9)


def test_a_system_with_variable_coefficients_and_sources():
    problem = problem_of(
        ["u_t = d((1 + x^2)*u_x, x) + v", "v_t = v_xx*u + u_x"],
        [
            ("t = 0", "u = exact(u)"),
            ("t = 0", "v = exact(v)"),
            ("boundary", "u = exact(u)"),
            ("boundary", "dn(v) = dn(exact(v))"),
        ],
        top='fields = ["u", "v"]\nmanufactured = { u = "2 + sin(x + t)", v = "cos(2*x)*exp(-t)" }',
    )
    reference = find_reference(replace(problem, reference=Reference(solver="auto")))
    check_against(
        reference,
        problem,
        {"u": lambda x, t: 2 + np.sin(x + t), "v": lambda x, t: np.cos(2 * x) * np.exp(-t)},
    )


def manufactured(equations, fields, coordinates):
    """Elements against an exact solution {field: (expression, the same of x and t)}, with values at start and ends."""
    names = ", ".join(f'"{name}"' for name in fields)
    exact = ", ".join(f'{name} = "{text}"' for name, (text, _) in fields.items())
    conditions = [(where, f"{name} = exact({name})") for name in fields for where in ("t = 0", "boundary")]
    top = f"fields = [{names}]\nmanufactured = {{ {exact} }}"
    problem = problem_of(equations, conditions, coordinates, top)
    reference = chebyshev.solve(replace(problem, reference=Reference(solver="auto")))
    check_against(reference, problem, {name: truth for name, (_, truth) in fields.items()})


def test_a_solution_that_starts_from_zero_finds_its_size():
    micro = "2e-8*t*sin(x/1e-5 + 0.3)/(0.1 + t)", lambda x, t: 2e-8 * t * np.sin(x / 1e-5 + 0.3) / (0.1 + t)
    manufactured(["u_t = 2e-10*u_xx"], {"u": micro}, "x = [0, 1e-5]\nt = [0, 0.5]")


def test_fields_of_very_different_units_are_resolved_each_in_its_own():
    dense = "1e12*exp(-t)*cos(x)", lambda x, t: 1e12 * np.exp(-t) * np.cos(x)
    fine = "t*sin(25*x)", lambda x, t: t * np.sin(25 * x)
    manufactured(["n_t = n_xx", "v_t = 0.01*v_xx - v"], {"n": dense, "v": fine}, "x = [0, 1]\nt = [0, 1]")


def test_data_that_disagree_a_little_leave_a_reference_with_an_error():
    start = [("t = 0", "a = cos(pi*x/2) + 1e-6"), ("t = 0", "b = 0"), ("boundary", "a = 0"), ("boundary", "b = 0")]
    waves = ["a_t = -b_xx", "b_t = a_xx"]
    problem = problem_of(waves, start, "x = [-1, 1]\nt = [0, 0.1]", 'fields = ["a", "b"]')
    reference = chebyshev.solve(problem, accuracies=(1e-9,), budget=1.0)  # seconds: it does not get through in twenty
    points = points_of(problem)
    phase = (np.pi / 2) ** 2 * points[:, 1]
    for name, wave in (("a", np.cos(phase)), ("b", -np.sin(phase))):
        truth = wave * np.cos(np.pi / 2 * points[:, 0])
        error = np.linalg.norm(reference(points)[name] - truth) / np.linalg.norm(truth)
        assert error < 10 * reference.errors[name] + 1e-5  # the jump, against the ninth of b's greatest size
        assert 1e-9 < reference.errors[name] < 1e-2


def test_initial_conditions_may_differentiate_in_space():
    problem = problem_of(
        ["u_tt = u_xx"],
        [("t = 0", "u = sin(x)"), ("t = 0", "u_t + u_x = 0")],
        'x = [0, "2*pi"]\nt = [0, 1]',
        'periodic = ["x"]',
    )
    check_against(find_reference(problem), problem, {"u": lambda x, t: np.sin(x - t)})


KDV = ("u_t + u*u_x + 0.022^2*u_xxx = 0", "u = cos(pi*x)")
SMOOTH_BURGERS = ("u_t + u*u_x = 0.01*u_xx", "u = -sin(pi*x)")


@pytest.mark.parametrize(
    ("equation", "start", "modes", "windows", "agreement"),
    [(*KDV, 256, 256, 1e-8), (*SMOOTH_BURGERS, 256, 64, 1e-9)],
    ids=["kdv", "burgers"],
)
def test_fourier_and_elements_agree(equation, start, modes, windows, agreement):
    problem = problem_of([equation], [("t = 0", start)], "x = [-1, 1]\nt = [0, 1]", 'periodic = ["x"]')
    spectral = fourier.march(semilinear(evolution_of(problem)), modes, windows, math.inf)
    elements = find_reference(problem)
    assert elements.solver == "chebyshev"
    points = points_of(problem)
    assert relative_differences(elements(points), spectral(points))["u"] < agreement


def test_allen_cahn_agrees_with_fourier_series_started_from_exact_coefficients():
    problem = library("allen_cahn")
    elements = find_reference(problem)
    assert elements.errors["u"] < 1e-9
    spectral = fourier.march(semilinear(evolution_of(problem)), 768, 32, math.inf)
    points = points_of(problem)
    points = points[points[:, 1] > 0.05]  # modes above 768 have decayed by exp(-1e-4 (768π)² 0.05) = 2e-13
    assert relative_differences(elements(points), spectral(points))["u"] < 1e-7  # of ETDRK4 with 1024 steps


def test_kuramoto_sivashinsky_converges_though_it_is_chaotic():
    reference = fourier.solve(library("kuramoto_sivashinsky"), tolerance=5e-9, budget=math.inf)
    assert reference.errors["u"] < 1e-8  # the change by twice the steps plus that by twice the modes


def test_initial_fourier_coefficients_of_a_kink_are_exact():
    problem = library("allen_cahn")
    modes = 300
    found = SpectralSystem(semilinear(evolution_of(problem)), modes).initial()[0]
    n = np.arange(modes)
    moment = {m: 4.0 * (-1) ** m / (m * np.pi) ** 2 if m else 2 / 3 for m in range(-1, modes + 1)}
    expected = np.array([(moment[k - 1] + moment[k + 1]) / 4 for k in n]) * (-1.0) ** n  # the series starts at x = -1
    np.testing.assert_allclose(found, expected, atol=100 * np.finfo(float).eps)


# -- the numerical methods -----------------------------------------------------------------------------


@pytest.mark.parametrize(("stages", "largest"), [(1, 0.02), (3, 0.4), (5, 2.0)])
def test_radau_has_order_2s_minus_1(stages, largest):
    inverse = radau(stages).inverse
    steps = largest * np.array([1.0, 0.8, 0.6])
    # one step of y' = -y from 1: (A⁻¹/h + I) Y = A⁻¹ 1/h, with an error of O(h^(2s))
    last = [np.linalg.solve(inverse / h + np.eye(stages), inverse.sum(axis=1) / h)[-1] for h in steps]
    # exp has derivatives of all orders: the next power changes the slope by O(h)
    refined = [np.log(abs(y - np.exp(-h)) / h ** (2 * stages)) for y, h in zip(last, steps, strict=True)]
    slope = np.polyfit(steps, refined, deg=1)[0]
    observed = np.polyfit(np.log(steps), np.array(refined) - slope * steps, deg=1)[0] + 2 * stages
    assert observed == pytest.approx(2 * stages, abs=0.05)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_derivative_matrices_are_exact_on_polynomials(order):
    degree = 8
    nodes = lobatto_nodes(degree)
    polynomial = np.polynomial.Polynomial(np.arange(1.0, degree + 2))
    expected = polynomial.deriv(order)(nodes)
    found = derivative_matrix(degree, order) @ polynomial(nodes)
    # each differentiation multiplies rounding by the norm of the matrix
    tolerance = np.finfo(float).eps * np.abs(derivative_matrix(degree, order)).sum(axis=1).max() * polynomial(1.0)
    np.testing.assert_allclose(found, expected, atol=4 * tolerance)


def test_splitting_and_joining_elements_keeps_a_polynomial():
    mesh = Mesh(np.array([0.0, 1.0, 2.0]), 6)
    polynomial = np.polynomial.Polynomial(np.arange(1.0, 8))
    halves = mesh.split(np.array([False, True]))
    values = mesh.split_values(polynomial(mesh.nodes), np.array([False, True]))
    np.testing.assert_allclose(values, polynomial(halves.nodes), rtol=1e-13)
    first, whole = halves.joined(values)
    np.testing.assert_array_equal(first, [1])
    np.testing.assert_allclose(whole[0], polynomial(mesh.nodes[1]), rtol=1e-13)
    np.testing.assert_allclose(halves.join(first).edges, mesh.edges)


def test_etdrk4_has_order_four():
    problem = problem_of(
        ["u_t = 0.1*u_xx - 2*u*u_x"], [("t = 0", "u = sin(x)")], 'x = [0, "2*pi"]\nt = [0, 1]', 'periodic = ["x"]'
    )
    spectral = SpectralSystem(semilinear(evolution_of(problem)), 12)

    def at_end(count):
        step, state = etdrk4(spectral, 1.0 / count), spectral.initial()
        for i in range(count):
            state = step(i / count, state)
        return state

    counts = np.array([64, 128, 256])
    errors = [np.linalg.norm(at_end(count) - at_end(2048)) for count in counts]
    observed, _ = np.polyfit(np.log(counts), np.log(errors), deg=1)
    assert observed == pytest.approx(-4.0, abs=0.05)


# -- what is given: expressions and files --------------------------------------------------------------


def test_an_exact_reference_is_evaluated_and_differentiated():
    problem = load_problem_file(LIBRARY / "heat.toml")
    points = points_of(problem, 50)
    reference = find_reference(problem)
    assert reference.solver == "exact"
    np.testing.assert_allclose(reference(points)["u"], EXACT["heat"](*points.T), rtol=1e-14)
    partial = problem.partial("u_xx")
    derivative = exact_derivatives(problem, [partial], points)[partial]
    np.testing.assert_allclose(derivative, -(np.pi**2) * EXACT["heat"](*points.T), rtol=1e-14)


def test_fields_without_an_exact_expression_are_absent():
    problem = problem_of(
        ["u_t = v", "v_t = -u"],
        [("t = 0", "u = 0"), ("t = 0", "v = 1")],
        "t = [0, 1]",
        'fields = ["u", "v"]\nreference.exact.u = "sin(t)"',
    )
    reference = find_reference(problem)
    assert reference.field_names == ("u",)
    assert set(reference(np.zeros((3, 1)))) == {"u"}


def test_points_of_a_wrong_shape_are_refused():
    reference = find_reference(load_problem_file(LIBRARY / "heat.toml"))
    with pytest.raises(ValueError, match=r"\(N, d\), got \(3,\)"):
        reference(np.zeros(3))


@pytest.fixture
def table(tmp_path):
    """Write arrays beside a problem and return the problem."""

    def write(**arrays):
        np.savez(tmp_path / "u.npz", **arrays)
        return problem_of(
            ["u_t = u_xx"], [("t = 0", "u = 0")], top='reference.file = "u.npz"', path=tmp_path / "problem.toml"
        )

    return write


AXIS = np.linspace(0, 1, 21)


def test_a_file_may_lack_fields_and_tell_its_error(tmp_path):
    np.savez(tmp_path / "u.npz", x=AXIS, t=AXIS, u=AXIS[:, None] * AXIS)
    given = 'fields = ["u", "p"]\nreference = { file = "u.npz", error = 1e-7 }'
    problem = problem_of(["u_t = p_x", "p_t = u_x"], [("t = 0", "u = 0")], top=given, path=tmp_path / "problem.toml")
    reference = find_reference(problem)
    assert reference.errors == {"u": 1e-7}
    np.testing.assert_allclose(reference(np.array([[0.5, 0.3]]))["u"], 0.15, rtol=1e-13)


def test_an_error_without_a_file_is_refused():
    with pytest.raises(ProblemError, match=r"reference\.error: only a file has an error"):
        problem_of(["u_t = u_x"], [("t = 0", "u = 0")], top="reference.error = 1e-7")


def test_a_file_is_interpolated(table):
    problem = table(x=AXIS, t=AXIS, u=AXIS[:, None] ** 3 * AXIS)
    reference = find_reference(problem)
    assert reference.solver == "file"
    assert math.isnan(reference.errors["u"])
    points = points_of(problem)
    np.testing.assert_allclose(reference(points)["u"], points[:, 0] ** 3 * points[:, 1], atol=1e-14)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": AXIS, "t": AXIS}, "no array 'u'; it has: t, x"),
        ({"x": AXIS, "t": AXIS, "u": np.zeros((21, 20))}, r"'u' has the shape \(21, 20\)"),
        ({"x": AXIS, "t": AXIS, "u": np.full((21, 21), np.nan)}, "'u' holds 441 values that are not finite"),
        ({"x": AXIS[::-1], "t": AXIS, "u": np.zeros((21, 21))}, "'x' is no ascending axis"),
        ({"x": AXIS / 2, "t": AXIS, "u": np.zeros((21, 21))}, r"'x' covers \[0, 0.5\], not \[0, 1\]"),
        ({"x": AXIS, "t": AXIS, "u": np.full((21, 21), "a")}, "'u' has the type <U1"),
        ({"x": AXIS, "t": AXIS, "u": np.full((21, 21), None)}, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(table, arrays, message):
    with pytest.raises(ProblemError, match=message):
        find_reference(table(**arrays))


def test_a_file_that_is_no_archive_is_refused(table, tmp_path):
    problem = table(x=AXIS)
    (tmp_path / "u.npz").write_bytes(b"not an archive")
    with pytest.raises(ProblemError, match=r"u\.npz cannot be read"):
        find_reference(problem)


def test_an_archive_that_unpacks_to_too_much_is_refused(table, monkeypatch):
    monkeypatch.setattr("pinnsolve.references.tabulated.MAX_VALUES", 100)
    with pytest.raises(ProblemError, match=r"'u\.npy' has 3656 bytes"):
        find_reference(table(x=AXIS, t=AXIS, u=np.zeros((21, 21))))


# -- where there is none, and where it is not good -----------------------------------------------------


def test_no_reference_is_none():
    assert find_reference(library("burgers", solver="none")) is None


@pytest.mark.parametrize(
    "problem",
    [
        problem_of(["u_t = u_xx"], [("t = 0", "u = 0"), ("x = 0", "u = 0")]),
        problem_of(["u_t = u_xx"], [("t = 0 and x > 0.5", "u = 0"), ("boundary", "u = 0")]),
        problem_of(["u_x = u_y"], [("boundary", "u = x")], "x = [0, 1]\ny = [0, 1]"),
        problem_of(["u_t = p_x", "u_x = 0"], [("t = 0", "u = 0")], top='fields = ["u", "p"]'),
    ],
    ids=["one condition", "restricted", "contradiction", "pressure"],
)
def test_ill_posed_problems_have_no_reference(problem):
    assert find_reference(problem) is None


def test_a_solution_that_blows_up_has_no_reference(monkeypatch):
    monkeypatch.setattr(search, "SECONDS", 1.0)
    problem = problem_of(["u_t = u^2"], [("t = 0", "u = 1")], "t = [0, 2]")
    assert find_reference(problem) is None


def test_steps_towards_a_blow_up_end_before_they_vanish():
    """u_t = u_xx + u² from 50 sin(π x) is infinite near t = 1.025; steps shrink to rounding there, and no further."""
    problem = problem_of(
        ["u_t = u_xx + u^2"], [("t = 1", "u = 50*sin(pi*x)"), ("boundary", "u = 0")], "x = [0, 1]\nt = [1, 2]"
    )
    assert chebyshev.march(evolution_of(problem), 1e-2, time.process_time() + 60.0) is None


@pytest.mark.parametrize("solver", [chebyshev, fourier])
def test_a_budget_that_is_too_small_leaves_the_error_unknown_or_large(solver):
    problem = library("allen_cahn")
    reference = solver.solve(problem, budget=0.01)
    assert not reference.errors["u"] < 1e-10
    assert reference(check_points(problem)[:5])["u"].shape == (5,)


# -- the cache -----------------------------------------------------------------------------------------


def counted(monkeypatch):
    """Count the solutions of Burgers that are computed."""
    calls = []

    def solve(problem, budget):
        calls.append(problem)
        found = chebyshev.solve(problem, accuracies=(1e-6, 1e-8), budget=budget)
        return replace(found, seconds=1.0)

    solver = search.ReferenceSolver("chebyshev", chebyshev.applies, solve)
    monkeypatch.setattr(search, "COMPUTED", (solver,))
    return calls


def test_a_reference_is_computed_once(monkeypatch):
    calls, problem = counted(monkeypatch), library("burgers")
    first, second = find_reference(problem), find_reference(problem)
    assert len(calls) == 1
    assert (first.solver, first.errors, first.seconds) == (second.solver, second.errors, second.seconds)
    points = points_of(problem, 100)
    np.testing.assert_array_equal(first(points)["u"], second(points)["u"])


@pytest.mark.parametrize("damage", [b"", b"not an archive", None])
def test_a_damaged_cache_file_is_computed_again(monkeypatch, damage):
    calls, problem = counted(monkeypatch), library("burgers")
    find_reference(problem)
    path = cache.cached_file(problem)
    path.write_bytes(path.read_bytes()[:-2000] if damage is None else damage)
    find_reference(problem)
    assert len(calls) == 2
    find_reference(problem)
    assert len(calls) == 2, "the file was written anew"


def test_a_cache_file_with_other_arrays_is_computed_again(monkeypatch):
    calls, problem = counted(monkeypatch), library("burgers")
    cache.save(problem, find_reference(problem))
    np.savez(cache.cached_file(problem), header=np.array('{"solver": "chebyshev", "errors": {}, "seconds": 1}'))
    find_reference(problem)
    assert len(calls) == 2


def test_a_cache_folder_that_cannot_be_written_does_no_harm(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PINNSOLVE_CACHE", str(tmp_path / "file"))
    calls, problem = counted(monkeypatch), library("burgers")
    assert find_reference(problem) is not None
    assert find_reference(problem) is not None
    assert len(calls) == 2


@pytest.mark.parametrize("name", ["logistic", "convection"])
def test_every_kind_of_solution_survives_the_cache(name):
    problem = library(name)
    solved = (ode if name == "logistic" else fourier).solve(problem)
    cache.save(problem, replace(solved, seconds=1.0))
    loaded = cache.load(problem)
    points = points_of(problem, 100)
    assert isinstance(loaded, ReferenceSolution)
    np.testing.assert_array_equal(loaded(points)["u"], solved(points)["u"])
