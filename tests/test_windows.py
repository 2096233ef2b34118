"""Windows of time: known functions, their series, the problem in a window, the march."""

from __future__ import annotations

import copy
import csv
import io
import json
import math

import numpy as np
import pytest
import sympy
import torch

from pinnsolve.audit import audit
from pinnsolve.audit.sample import audit_samples
from pinnsolve.cli import run
from pinnsolve.derivatives import autograd, taylor
from pinnsolve.derivatives.finite_differences import finite_differences
from pinnsolve.errors import DivergenceError, SettingsError
from pinnsolve.evaluation import relative_l2, scattered_points
from pinnsolve.networks import derive_constraints
from pinnsolve.networks.piecewise import PiecewiseAnsatz
from pinnsolve.networks.resolution import chopped_length, separable_sums
from pinnsolve.networks.spectral import Basis
from pinnsolve.problems import Partial
from pinnsolve.problems.formulas import Formula, numpy_functions, torch_functions
from pinnsolve.problems.known_functions import known_function
from pinnsolve.problems.windows import problem_in_window, time_edges
from pinnsolve.solving import finish, prepare, resolve_settings, solve
from pinnsolve.solving.differentiation import WindowedJets
from pinnsolve.solving.end_states import end_states
from pinnsolve.solving.march import March

EPS = float(np.finfo(float).eps)
X, Y = sympy.symbols("x y", real=True)
PERIODIC, OPEN = Basis(-1.0, 2.0, True), Basis(-1.0, 3.0, False)
QUICK = {
    "training.points": 200,
    "network.width": 8,
    "network.depth": 2,
    "audit.enabled": False,
    "training.steps": 45,
    "training.optimizer": "lm",
}
OSCILLATOR = """
title = "oscillator"
fields = ["u", "v"]
[coordinates]
t = [0, 3]
[equations]
position = "u_t = v"
velocity = "v_t = -u"
[[conditions]]
where = "t = 0"
equation = "u = 1"
[[conditions]]
where = "t = 0"
equation = "v = 0"
[reference]
exact = { u = "cos(t)", v = "-sin(t)" }
"""
HEAT = """
title = "heat"
[coordinates]
x = [0, 1]
t = [0, 0.5]
[equations]
heat = "u_t = 0.2*u_xx"
[[conditions]]
where = "t = 0"
equation = "u = sin(pi*x)"
[[conditions]]
where = ["x = 0", "x = 1"]
equation = "u = 0"
[reference]
exact = { u = "exp(-0.2*pi**2*t)*sin(pi*x)" }
"""
ADVECTION = """
title = "advection"
periodic = ["x"]
[coordinates]
x = [0, 1]
t = [0, 0.5]
[equations]
advection = "u_t + u_x = 0"
[[conditions]]
where = "t = 0"
equation = "u = sin(2*pi*x)"
[reference]
exact = { u = "sin(2*pi*(x - t))" }
"""
WAVE = """
title = "wave"
[coordinates]
t = [0, 1]
x = [0, 1]
[equations]
wave = "u_tt = u_xx"
[[conditions]]
where = "t = 0"
equation = "u = sin(pi*x)"
[[conditions]]
where = "t = 0"
equation = "u_t = 0"
[[conditions]]
where = ["x = 0", "x = 1"]
equation = "u = 0"
[reference]
exact = { u = "cos(pi*t)*sin(pi*x)" }
"""
PLATE = """
title = "heat in a plate"
[coordinates]
x = [0, 1]
y = [0, 1]
t = [0, 0.3]
[equations]
heat = "u_t = 0.1*laplacian(u)"
[[conditions]]
where = "t = 0"
equation = "u = sin(pi*x)*sin(pi*y)"
[[conditions]]
where = "boundary"
equation = "u = 0"
[reference]
exact = { u = "exp(-0.2*pi**2*t)*sin(pi*x)*sin(pi*y)" }
"""
POISSON = """
title = "steady"
[coordinates]
x = [0, 1]
[equations]
poisson = "u_xx = 1"
[[conditions]]
where = ["x = 0", "x = 1"]
equation = "u = 0"
"""
CYCLE = POISSON.replace("u_xx = 1", "u_t = u_xx + sin(t)").replace("x = [0, 1]", 'x = [0, 1]\nt = [0, "2*pi"]')
CYCLE = CYCLE.replace("[coordinates]", 'periodic = ["t"]\n[coordinates]')


def _series(function, *bases):
    (result,) = separable_sums(lambda points: function(*points.T)[:, None], bases)
    return result


def _derivative_bound(basis: Basis, modes: int, order: int) -> float:
    """Return max |∂^order of a mode|: (ωK)^m for waves, (2/L)^m K^(2m)/(2m-1)!! for polynomials (Markov)."""
    if basis.periodic:
        return (2 * math.pi * modes / basis.length) ** order
    return (2 / basis.length) ** order * modes ** (2 * order) / math.prod(range(1, 2 * order, 2))


CLOSED = [
    pytest.param(PERIODIC, sympy.exp(sympy.sin(sympy.pi * X)), id="fourier"),
    pytest.param(OPEN, sympy.exp(X) * sympy.sin(5 * X), id="chebyshev"),
]


@pytest.mark.parametrize("maker", [taylor, autograd])
@pytest.mark.parametrize(("basis", "closed"), CLOSED)
def test_a_known_function_and_its_derivatives_are_those_of_its_closed_form(basis, closed, maker):
    numeric = Formula([closed], [X])
    series = _series(lambda x: numeric(numpy_functions(), [x])[0], basis)
    formula = Formula([known_function("s", series, 1)(X)], [X])
    points = torch.linspace(basis.lower, basis.lower + basis.length, 101, dtype=torch.float64)[:, None]
    orders = [Partial("u", (order,)) for order in range(5)]
    jet = maker(lambda p: {"u": formula(torch_functions(), [p[..., 0]])[0]}, points, orders)
    modes = len(series.factors[0].coefficients)
    size = np.abs(numeric(numpy_functions(), [points[:, 0].numpy()])[0]).max()
    for partial in orders:
        truth = Formula([sympy.diff(closed, X, partial.order)], [X])(numpy_functions(), [points[:, 0].numpy()])[0]
        # every coefficient errs by some units of rounding of the largest sample
        bound = 4 * modes * EPS * size * _derivative_bound(basis, modes, partial.order)
        assert np.abs(jet[partial].detach().numpy() - truth).max() <= bound, partial
        assert bound < 1e-2 * np.abs(truth).max() or partial.order > 2


def test_symbolic_derivatives_of_a_known_function_are_known_functions():
    s = known_function("s", _series(lambda x: np.exp(np.sin(np.pi * x)), PERIODIC), 1)
    assert sympy.diff(s(X), X, 2) == sympy.diff(sympy.diff(s(X), X), X)
    expression = sympy.diff(X * s(2 * X), X)  # s(2x) + 2x s'(2x)
    x = np.linspace(-0.4, 0.4, 7)
    truth = np.exp(np.sin(2 * np.pi * x)) * (1 + 2 * x * np.pi * np.cos(2 * np.pi * x))
    (value,) = Formula([expression], [X])(numpy_functions(), [x])
    assert value == pytest.approx(truth, abs=1e-13)
    assert float(sympy.N(s(X).subs(X, sympy.Rational(1, 2)))) == pytest.approx(math.e, rel=1e-14)
    assert s(X) != known_function("s", _series(np.cos, PERIODIC), 1)(X)


def test_a_known_function_of_two_coordinates_mixes_its_derivatives():
    f = known_function("f", _series(lambda x, y: np.exp(np.sin(np.pi * x) * y), PERIODIC, OPEN), 2)
    closed = sympy.exp(sympy.sin(sympy.pi * X) * Y)
    points = torch.as_tensor(np.random.default_rng(0).uniform([-1, -1], [1, 2], (64, 2)))
    partials = [Partial("u", orders) for orders in [(0, 0), (1, 1), (2, 0), (0, 3)]]
    formula = Formula([f(X, Y) + f(X, 1) * f(0, Y)], [X, Y])
    expression = closed + closed.subs(Y, 1) * closed.subs(X, 0)
    for maker in (taylor, autograd):
        jet = maker(lambda p: {"u": formula(torch_functions(), [p[..., 0], p[..., 1]])[0]}, points, partials)
        for partial in partials:
            truth = Formula([sympy.diff(expression, X, partial.orders[0], Y, partial.orders[1])], [X, Y])
            values = truth(numpy_functions(), list(points.numpy().T))[0]
            # about 40 modes along each coordinate, derivatives to the third order
            assert np.abs(jet[partial].detach().numpy() - values).max() <= 1e-9 * np.abs(values).max()
    assert f(X, Y).diff(X, Y) == f(X, Y).diff(Y, X)
    for variables in ([Y], [X, Y], [Y, Y]):
        pair = [Formula([sympy.diff(each, *variables)], [X, Y]) for each in (f(X, Y), closed)]
        known, truth = (each(numpy_functions(), list(points.numpy().T))[0] for each in pair)
        assert np.abs(known - truth).max() <= 1e-10 * np.abs(truth).max()


def test_a_derivative_of_a_known_function_has_derivatives():
    s = known_function("s", _series(lambda x: np.exp(np.sin(np.pi * x)), PERIODIC), 1)
    points = torch.linspace(-1, 1, 33, dtype=torch.float64)[:, None]
    slope, function = (Formula([each], [X]) for each in (sympy.diff(s(X), X), s(X)))
    for maker in (taylor, autograd):
        one = maker(lambda p: {"u": slope(torch_functions(), [p[..., 0]])[0]}, points, [Partial("u", (1,))])
        other = maker(lambda p: {"u": function(torch_functions(), [p[..., 0]])[0]}, points, [Partial("u", (2,))])
        assert torch.allclose(one[Partial("u", (1,))], other[Partial("u", (2,))], rtol=1e-13)


def test_single_precision_is_kept():
    f = known_function("f", _series(lambda x, y: np.exp(np.sin(np.pi * x)) * y, PERIODIC, OPEN), 2)
    points = torch.linspace(-1, 1, 33, dtype=torch.float32)[:, None]
    formula = Formula([f(X, sympy.Rational(1, 2))], [X])
    partials = [Partial("u", (0,)), Partial("u", (1,))]
    x = points[:, 0].double().numpy()
    for maker in (taylor, autograd):
        jet = maker(lambda p: {"u": formula(torch_functions(), [p[..., 0]])[0]}, points, partials)
        for partial, factor in zip(partials, [1, np.pi * np.cos(np.pi * x)], strict=True):
            assert jet[partial].dtype == torch.float32
            values = jet[partial].detach().numpy()
            assert np.abs(values - 0.5 * factor * np.exp(np.sin(np.pi * x))).max() <= 20 * 20 * np.pi * 1.2e-7


@pytest.mark.parametrize("rate", [1.5, 2.0, 4.0])
def test_a_series_is_cut_where_its_known_decay_reaches_rounding(rate):
    """The Poisson kernel has the coefficients 2 rate^-k: 1 + 2 Σ r^k cos kφ = (1 - r²)/(1 - 2 r cos φ + r²)."""
    r = 1 / rate
    series = _series(lambda x: (1 - r * r) / (1 - 2 * r * np.cos(np.pi * (x + 1)) + r * r), PERIODIC)
    (factor,) = series.factors
    full = -math.log(EPS) / math.log(rate)  # where rate^-k meets the unit roundoff
    assert 0.85 * full <= len(factor.coefficients) <= 1.1 * full + 2
    kept = np.arange(1, len(factor.coefficients))
    assert np.abs(factor.coefficients[1:, 0] - 2 * r**kept).max() <= 20 * EPS * (1 + r) / (1 - r)
    assert series.error <= 100 * EPS


@pytest.mark.parametrize("level", [1e-12, 1e-8, 1e-4])
def test_a_series_is_cut_where_noise_begins(level):
    def noisy(x):
        return 1 / (1.25 - np.cos(np.pi * x)) + level * np.sin(1e13 * x)  # the sine is as good as random

    series = _series(noisy, PERIODIC)
    modes = len(series.factors[0].coefficients)
    meeting = math.log2(8 / 3 / level)  # coefficients are 8/3 2^-k; those of the noise are somewhat below its level
    assert meeting - 6 <= modes <= 1.25 * (meeting + 5) + 5  # 5/4 j + 5: over which a plateau is looked for
    assert series.error <= 4 * level


def test_a_polynomial_keeps_its_degree():
    assert len(_series(lambda x: x**3 - 2 * x, OPEN).factors[0].coefficients) == 4
    assert len(_series(np.ones_like, OPEN).factors[0].coefficients) == 1
    assert len(_series(np.zeros_like, PERIODIC).factors[0].coefficients) == 1


def test_a_series_without_a_plateau_is_not_cut():
    assert chopped_length(0.9 ** np.arange(64.0), EPS) == 64
    assert chopped_length(np.zeros(64), EPS) == 1
    plateau = np.maximum(0.5 ** np.arange(128.0), 1e-12)  # flat from 40 on, far above the tolerance
    assert 36 <= chopped_length(plateau, EPS) <= 1.25 * 41 + 5


def test_an_oscillation_that_hides_between_the_first_samples_is_found():
    series = _series(lambda x: np.cos(64 * np.pi * x), PERIODIC)  # with 64 samples it looks like 1
    assert len(series.factors[0].coefficients) >= 65
    assert series.error <= 1e-12


def test_what_no_series_resolves_is_said():
    assert 1e-3 < _series(lambda x: np.tanh(3000 * x), OPEN).error < 1


def test_a_separable_function_has_one_term():
    series = _series(lambda x, y: np.sin(np.pi * x) * np.exp(y), PERIODIC, OPEN)
    assert [factor.coefficients.shape[1] for factor in series.factors] == [1, 1]


def _exact_state(problem, time: float):
    """Return the exact solution at a time, and its slope, as known functions."""
    expression = problem.reference.exact["u"]
    axis = problem.time_axis
    space = [c for c in problem.coordinates if c.name != problem.time]
    symbols = [c.symbol for c in space]
    states = []
    for order in range(2 if problem.name == "wave" or "u_tt" in problem.text else 1):
        closed = sympy.diff(expression, problem.symbols[axis], order).subs(problem.symbols[axis], time)
        formula = Formula([closed], symbols)
        series = _series(lambda *x, f=formula: f(numpy_functions(), list(x))[0], *(Basis.of(c) for c in space))
        states.append(known_function(f"exact_{order}", series, len(space))(*symbols))
    return {"u": states}


@pytest.mark.parametrize("text", [HEAT, ADVECTION, WAVE, PLATE], ids=["heat", "advection", "wave", "plate"])
def test_the_exact_end_state_is_built_in_to_rounding(problem_from, text):
    problem = problem_from(text)
    edges = time_edges(problem, 3)
    window = (edges[1], edges[2])
    inner = problem_in_window(problem, window, _exact_state(problem, float(edges[1])))
    assert [inner.box[side][inner.time_axis] for side in (0, 1)] == [float(edge) for edge in window]
    constraints = derive_constraints(inner)
    assert constraints.soft == ()
    points = scattered_points(inner, 64)
    points[:, inner.time_axis] = float(edges[1])
    exact = problem.reference.exact["u"]
    time = problem.symbols[problem.time_axis]
    lift = constraints.fields["u"].lift
    for order in range(2 if text is WAVE else 1):
        pair = [sympy.diff(exact, time, order), sympy.diff(lift, time, order)]
        truth, built = (Formula([each], problem.symbols)(numpy_functions(), list(points.T))[0] for each in pair)
        assert np.abs(built - truth).max() <= 200 * EPS * max(1.0, np.abs(truth).max())
    # a reference that solves the problem solves it in every window
    residual = inner.equations[0].expression.subs({inner.fields[0].symbol: exact}).doit()
    assert sympy.simplify(residual) == 0


def test_numbers_start_the_next_window_of_an_ode(problem_from):
    problem = problem_from(OSCILLATOR)
    states = {"u": [sympy.Float(0.5)], "v": [sympy.Float(-0.25)]}
    inner = problem_in_window(problem, (sympy.Integer(1), sympy.Integer(2)), states)
    constraints = derive_constraints(inner)
    assert constraints.soft == ()
    lifts = [constraints.fields[name].lift for name in ("u", "v")]
    assert lifts == [0.5, -0.25]
    assert [c.name for c in inner.conditions] == [
        "u = end of the window before at t = 1",
        "v = end of the window before at t = 1",
    ]


def test_a_restricted_condition_that_never_holds_in_a_window_is_left_out(problem_from):
    text = HEAT.replace('where = ["x = 0", "x = 1"]', 'where = ["x = 0 and t < 0.2", "x = 0 and t > 0.15", "x = 1"]')
    problem = problem_from(text)
    edges = time_edges(problem, 2)
    faces = [len(problem_in_window(problem, window, None).conditions) for window in (edges[:2], edges[1:])]
    assert faces == [4, 3]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (POISSON, "'test' cannot be marched, it has no time coordinate; use training.windows=1"),
        (CYCLE, "t is periodic"),
        (HEAT.replace('where = "t = 0"', 'where = "t = 0.5"'), "condition 'u = sin.* at t = 1/2' stands at the end"),
        (HEAT.replace("u_t = 0.2*u_xx", "u_xx = t"), "no field is differentiated in t"),
        (
            PLATE.replace("y = [0, 1]", "y = [0, 1]\nz = [0, 1]").split("[reference]")[0],
            "an end state in 3 space coordinates has no series",
        ),
    ],
)
def test_what_cannot_be_marched_is_refused_with_the_reason(problem_from, text, match):
    problem = problem_from(text)
    with pytest.raises(SettingsError, match=match):
        March(problem, 2)
    assert March(problem, 1).problem_of(0, None) is problem


@pytest.mark.parametrize("windows", [0, 1.5, "many", 1001])
def test_a_wrong_number_of_windows_is_refused(windows):
    with pytest.raises(SettingsError, match=r'training\.windows: .*whole number from 1 to 1000, or "auto"'):
        resolve_settings({"training.windows": windows})
    assert resolve_settings({"training.windows": "auto"}).training.window_count == 1


def test_every_window_gets_an_even_share_of_what_is_left(problem_from):
    march = March(problem_from(HEAT), 4)
    settings = resolve_settings({"time_limit": 100, "training.steps": 10})
    first, third, late = (march.budget(settings, *given) for given in [(0,), (2, 20.0, 4), (3, 130.0, 9)])
    assert (first.seconds, first.steps, first.origin) == (25.0, 3, (0.0, 0))
    assert (third.seconds, third.steps) == (20.0 + 80.0 / 2, 4 + 3)
    assert third.used(4) == 0
    assert third.used(7) == 1
    # those before took too long: a fifth of an even share all the same
    assert (late.seconds, late.steps) == (130.0 + 0.2 * 25, 10)
    with pytest.raises(SettingsError, match=r"training\.steps = 3 is too few for training\.windows = 4"):
        march.budget(resolve_settings({"training.steps": 3}), 0)


# max |error| <= factor · max |residual| for data met to rounding: Duhamel's principle, and the maximum principle
# (heat), the energy (oscillator: 2 residuals), characteristics (advection), d'Alembert's formula (wave: T²/2)
@pytest.mark.parametrize(
    ("text", "factor"),
    [
        pytest.param(OSCILLATOR, 3.0 * math.sqrt(2), id="oscillator"),
        pytest.param(HEAT, 0.5, id="heat"),
        pytest.param(ADVECTION, 0.5, id="advection"),
        pytest.param(WAVE, 0.5, id="wave"),
        pytest.param(PLATE, 0.3, id="plate"),
    ],
)
def test_three_windows_solve_what_one_window_solves(problem_from, text, factor):
    problem = problem_from(text)
    one, three = (solve(problem, QUICK | {"training.windows": windows}) for windows in (1, 3))
    for solution in (one, three):
        assert solution.warnings == ()
        residual = max(
            max(norms.max, float(np.abs(solution.evaluation.residual_maps[name]).max()))
            for name, norms in solution.evaluation.residuals.items()
        )
        error = max(accuracy.max_error for accuracy in solution.fields.values())
        assert error <= 1.2 * factor * residual  # the largest of 2^14 points is not quite the supremum
        assert solution.evaluation.error < 2e-2
    assert three.steps == 45
    assert len(three.ansatz.parts) == 3
    for index, later in enumerate(three.ansatz.parts[1:], start=1):
        points = torch.as_tensor(scattered_points(problem, 64))
        points[:, problem.time_axis] = three.ansatz.edges[index]
        before, after = three.ansatz.parts[index - 1](points), later(points)
        for name in problem.field_names:
            jump = (before[name] - after[name]).abs().max() / before[name].abs().max()
            assert jump <= 100 * EPS  # 20 to 60 modes, each rounded


def test_the_slope_of_a_wave_is_continuous_at_the_joints(problem_from):
    ansatz = solve(problem_from(WAVE), QUICK | {"training.windows": 2, "training.steps": 8}).ansatz
    points = torch.tensor([[0.5, x] for x in np.linspace(0, 1, 9)], dtype=torch.float64)
    slope = Partial("u", (1, 0))
    before, after = (taylor(part, points, [slope])[slope] for part in ansatz.parts)
    assert (before - after).abs().max() <= 1e-12 * before.abs().max()  # polynomials of degree 30 from samples of slopes


def _marched(problem_from, text: str = HEAT, windows: int = 3, **options):
    session = prepare(
        problem_from(text), resolve_settings(QUICK, {"training.windows": windows, "training.steps": 6}, options)
    )
    list(session.train())
    return session


@pytest.mark.parametrize("maker", [taylor, autograd])
def test_jets_of_the_whole_are_those_of_the_parts(problem_from, maker):
    session = _marched(problem_from)
    ansatz, problem = session.ansatz, session.problem
    points = torch.as_tensor(scattered_points(problem, 64))
    with torch.no_grad():
        whole = maker(ansatz, points, problem.partials)
        windowed = session.differentiator(ansatz, points, problem.partials)
    for index, part in enumerate(ansatz.parts):
        low, high = ansatz.windows[index]
        inside = (points[:, 1] > low) & (points[:, 1] <= high)
        assert inside.sum() >= 21
        with torch.no_grad():
            jet = maker(part, points[inside], problem.partials)
        for partial in problem.partials:
            scale = jet[partial].abs().max()
            assert torch.allclose(whole[partial][inside], jet[partial], rtol=0, atol=1e-14 * float(scale))
            assert torch.allclose(windowed[partial][inside], jet[partial], rtol=0, atol=1e-11 * float(scale))


def test_points_of_any_shape_come_back_in_their_order(problem_from):
    session = _marched(problem_from)
    ansatz = session.ansatz.requires_grad_(False)
    points = torch.as_tensor(scattered_points(session.problem, 64)).reshape(4, 16, 2)
    values = ansatz(points)["u"]
    assert values.shape == (4, 16)
    for row in range(4):
        for column in (0, 7, 15):
            assert values[row, column] == pytest.approx(float(ansatz(points[row, column][None])["u"][0]), rel=1e-13)
    assert ansatz(points[:0, 0])["u"].shape == (0,)


def test_a_joint_belongs_to_the_window_that_it_ends_in_every_precision(problem_from):
    session = _marched(problem_from)
    ansatz = session.ansatz
    for dtype in (torch.float64, torch.float32):
        times = torch.tensor([0.0, 1 / 6, 1 / 6 + 1e-6, 1 / 3, 0.5, 0.6], dtype=dtype)
        points = torch.stack([torch.full_like(times, 0.3), times], -1)
        assert ansatz.window(points).tolist() == [0, 0, 1, 1, 2, 2]
    joints = np.array([[0.3, 1 / 6], [0.3, 1 / 3]])
    assert session.march.window_of(joints).tolist() == ansatz.window(torch.as_tensor(joints)).tolist() == [0, 1]


def test_the_audit_keeps_to_the_window_of_each_part(problem_from):
    """Parts that have nothing to do with each other: a stencil across the joint would be wrong by jump / h."""
    problem = problem_from(HEAT)
    parts = [prepare(problem, resolve_settings(QUICK, {"seed": seed})).ansatz for seed in (0, 1)]
    ansatz = PiecewiseAnsatz(1, [0.0, 0.05, 0.5], parts)
    samples = audit_samples(problem, ansatz, 64, 0, torch.device("cpu"))
    assert [part for part, _ in samples] == parts
    assert [(sample.lower[1], sample.upper[1]) for _, sample in samples] == ansatz.windows
    assert [sample.units for _, sample in samples] == [(1.0, 2.0**-4)] * 2  # near the shortest window's length
    assert sum(len(sample.points) for _, sample in samples) == 64
    for index, (_, sample) in enumerate(samples):
        assert set(ansatz.window(sample.points).tolist()) == {index}
    report = audit(problem, ansatz, points=64, schemes=("central2", "central6"), dtypes=("float64",))
    assert {row.verdict for row in report.summary} == {"ok"}
    slope = next(row for row in report.summary if row.term == "u_t" and row.scheme == "central2")
    assert slope.fd_vs_ad < 1e-8
    assert slope.observed_order == pytest.approx(2.0, abs=0.05)


def test_no_stencil_of_training_crosses_a_joint(problem_from):
    session = _marched(problem_from, derivatives="fd")
    problem, ansatz = session.problem, session.ansatz
    points = torch.as_tensor(scattered_points(problem, 64))
    makers = [
        finite_differences("central4", [0.005, 0.005 / 6], [0.0, low], [1.0, high], [False] * 2)
        for low, high in ansatz.windows
    ]
    expected = WindowedJets(tuple(makers))(ansatz, points, problem.partials)
    found = session.differentiator(ansatz, points, problem.partials)
    truth = autograd(ansatz, points, problem.partials)
    for partial in problem.partials:
        assert torch.equal(found[partial], expected[partial])
        # h⁴ f⁗' with h = 0.005 of the half length
        assert (found[partial] - truth[partial]).abs().max() <= 1e-4 * truth[partial].abs().max()


def test_the_end_state_is_the_solution_at_the_end(problem_from):
    session = prepare(problem_from(WAVE), resolve_settings(QUICK, {"training.windows": 2, "training.steps": 6}))
    window = session.windows[0]
    states, notes = end_states(window, 1)
    assert notes == []
    x = np.linspace(0, 1, 33)
    points = torch.as_tensor(np.stack([np.full_like(x, 0.5), x], -1))
    jet = autograd(window.ansatz, points, [Partial("u", (0, 0)), Partial("u", (1, 0))])
    for order, state in enumerate(states["u"]):
        (values,) = Formula([state], session.problem.symbols)(numpy_functions(), list(points.numpy().T))
        truth = jet[Partial("u", (order, 0))].detach().numpy()
        assert np.abs(values - truth).max() <= 200 * EPS * np.abs(truth).max()


def test_an_end_state_that_no_series_resolves_is_a_warning(problem_from):
    session = prepare(problem_from(HEAT), resolve_settings(QUICK, {"training.windows": 2}))
    window = session.windows[0]
    with torch.no_grad():
        window.ansatz.network.layers[0].weight[:, 0] *= 1e4  # fronts of a width of 1e-4
    _, notes = end_states(window, 1)
    assert len(notes) == 1
    assert "the series of u at the end of window 1 errs by" in notes[0]


@pytest.mark.parametrize("optimizer", ["lm", "adam"])
def test_a_march_resumed_in_its_second_window_goes_on_bit_for_bit(problem_from, optimizer):
    text = HEAT.replace("0.2*u_xx", "0.2*u_xx - u**2").split("[reference]")[0] + '[reference]\nsolver = "none"\n'
    options = {"training.optimizer": optimizer, "training.steps": 30, "training.windows": 3}
    settings = resolve_settings(QUICK, options)
    problem = problem_from(text)
    straight = prepare(problem, settings)
    list(straight.train())

    first = prepare(problem, settings)
    for progress in first.train():
        if progress.window == 2 and progress.training.step >= 14:
            break
    tensors, values = first.state()
    second = prepare(problem, settings)
    saved = json.loads(json.dumps(values))
    second.restore(first.training.step, {name: tensor.clone() for name, tensor in tensors.items()}, saved)
    assert [len(part.collocation) > 0 for part in second.windows] == [True, True]
    list(second.train())
    assert second.training.step == straight.training.step == 30
    for name, tensor in straight.ansatz.state_dict().items():
        assert torch.equal(tensor, second.ansatz.state_dict()[name]), name


def test_a_march_that_is_broken_off_says_so_and_has_no_values_beyond(problem_from):
    session = prepare(problem_from(HEAT), resolve_settings(QUICK, {"training.windows": 2, "training.steps": 6}))
    for _ in session.train():
        break
    solution = finish(session)
    sentence = "There is no solution beyond t = 0.25: training reached 1 of 2 windows. Values there are NaN."
    assert sentence in solution.sentences
    assert sentence in solution.warnings
    assert solution.status == "interrupted"
    values = solution([[0.5, 0.1], [0.5, 0.25], [0.5, 0.26]])["u"]
    assert np.isfinite(values).tolist() == [True, True, False]
    assert np.isnan(solution.derivatives([[0.5, 0.4]], "u_xx")).all()
    assert math.isnan(solution.fields["u"].relative_l2)
    report = audit(solution.problem, solution.ansatz, points=32, schemes=("central2",), dtypes=("float64",))
    assert all(row.fd_vs_ad is not None for row in report.rows)


def test_a_window_starts_with_the_trained_network_of_the_one_before(problem_from):
    settings = resolve_settings(QUICK, {"training.windows": 2, "training.steps": 6, "training.optimizer": "adam"})
    session = prepare(problem_from(HEAT), settings)
    steps = session.train()
    next(steps)
    session._begin_window()
    old, new = (window.training.trained.state_dict() for window in session.windows)
    for name, tensor in old.items():
        assert torch.equal(new[name], tensor), name
    fresh = prepare(problem_from(HEAT), settings).windows[0].ansatz.network.state_dict()
    assert not torch.equal(new["hidden.0.weight"], fresh["hidden.0.weight"])


def test_every_window_keeps_its_best_network(problem_from):
    options = {"training.optimizer": "adam", "training.learning_rate": 1.0, "training.steps": 160}
    session = prepare(problem_from(HEAT), resolve_settings(QUICK, {"training.windows": 2}, options))
    steps = list(session.train())
    held_out = [[step.training.held_out for step in steps if step.window == number] for number in (1, 2)]
    assert any(min(values) < values[-1] for values in held_out)  # such a learning rate leaves good networks again
    for window, values in zip(session.windows, held_out, strict=True):
        assert window.training.held_out_value() == min(values)


def test_divergence_in_the_second_window_leaves_the_first(problem_from):
    text = OSCILLATOR.replace('"v_t = -u"', '"v_t = -u + 0*log(2 - t)"').split("[reference]")[0]
    text = text.replace("0*log", "1e-3*log") + '[reference]\nsolver = "none"\n'
    session = prepare(problem_from(text), resolve_settings(QUICK, {"training.windows": 2}))
    with pytest.raises(DivergenceError, match=r"'velocity' is nan at \(2\."):
        list(session.train())
    assert session.reason == "divergence"
    assert len(session.windows) == 2
    assert finish(session, "diverged").status == "diverged"
    assert all(torch.isfinite(parameter).all() for parameter in session.ansatz.parameters())


def test_the_history_goes_on_from_window_to_window(problem_from):
    session = prepare(problem_from(HEAT), resolve_settings(QUICK, {"training.windows": 3, "training.steps": 10}))
    points = scattered_points(session.problem, 2**11)
    truth = session.reference(points)["u"]
    for progress in session.train():
        solved = points[:, 1] <= 0.5 * progress.window / 3
        with torch.no_grad():
            values = session.ansatz(torch.as_tensor(points[solved]))["u"].numpy()
        assert progress.error == pytest.approx(relative_l2(values, truth[solved]), rel=1e-9)
    rows = [progress.row() for progress in session.history]
    assert [row["step"] for row in rows] == list(range(1, 11))
    assert [row["window"] for row in rows] == [1] * 4 + [2] * 3 + [3] * 3
    assert all(list(row) == list(rows[0]) for row in rows)
    assert all(row["loss"] == pytest.approx(row["heat"] + row["conditions"]) for row in rows)
    assert sorted(row["seconds"] for row in rows) == [row["seconds"] for row in rows]
    assert session.parameters == 3 * sum(p.numel() for p in session.windows[0].ansatz.parameters())
    assert len(session.collocation) == 3 * 200


def test_soft_conditions_march_too(problem_from):
    session = _marched(problem_from, constraints="soft", **{"training.steps": 60})
    assert session.history[-1].error < 5e-2
    assert session.history[-1].row()["conditions"] > 0


def test_an_unfinished_piecewise_solution_can_be_copied(problem_from):
    ansatz = _marched(problem_from).ansatz
    twin = copy.deepcopy(ansatz)
    points = torch.as_tensor(scattered_points(problem_from(HEAT), 16))
    assert torch.equal(twin(points)["u"], ansatz(points)["u"])


def test_the_command_line_marches_and_resumes(tmp_path, monkeypatch, capsys):
    (tmp_path / "problems").mkdir()
    (tmp_path / "problems" / "heat.toml").write_text(HEAT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pinnsolve.report.build_report", lambda folder: folder.path)  # figures take long

    def output(*arguments: str) -> str:
        assert run(list(arguments)) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    options = ["--steps", "9", "--points", "64", "--width", "6", "--depth", "1", "--optimizer", "lm", "--quiet"]
    output("solve", "heat", "--set", "training.windows=3", "--set", "audit.points=32", *options, "--name", "r")
    folder = tmp_path / "outputs" / "heat" / "r"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["status"], metrics["steps"]) == ("finished", 9)
    rows = list(csv.DictReader(io.StringIO((folder / "history.csv").read_text())))
    assert [int(row["window"]) for row in rows] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    table = list(csv.DictReader(io.StringIO(output("predict", "heat/r", "--grid", "3,4", "--derivatives", "u_t"))))
    assert all(math.isfinite(float(row["u_t"])) for row in table)
    assert json.loads(output("resume", "heat/r", "--steps", "12", "--json"))["steps"] == 12
