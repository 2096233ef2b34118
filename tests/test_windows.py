"""Windows of time: the problem in a window, the march through all of them, the solution of many parts."""

from __future__ import annotations

import copy
import csv
import io
import json
import math
from fractions import Fraction

import numpy as np
import pytest
import sympy
import torch

from pinnsolve.audit import audit
from pinnsolve.audit.complex_step import Oracle
from pinnsolve.audit.sample import audit_samples
from pinnsolve.cli import run
from pinnsolve.derivatives import autograd, taylor
from pinnsolve.derivatives.finite_differences import finite_differences
from pinnsolve.errors import DivergenceError, SettingsError
from pinnsolve.evaluation import relative_l2, scattered_points
from pinnsolve.networks import derive_constraints
from pinnsolve.networks.piecewise import PiecewiseAnsatz
from pinnsolve.networks.resolution import separable_sums
from pinnsolve.networks.spectral import Basis
from pinnsolve.problems import Partial
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.problems.known_functions import KnownFunction, known_function
from pinnsolve.problems.windows import problem_in_window, time_edges, time_order
from pinnsolve.solving import finish, prepare, resolve_settings, solve
from pinnsolve.solving.differentiation import WindowedJets
from pinnsolve.solving.end_states import end_states
from pinnsolve.solving.march import March

EPS = float(np.finfo(float).eps)
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


def _exact_state(problem, time: float):
    """Return the exact solution at a time, and its slope, as known functions."""
    expression = problem.reference.exact["u"]
    axis = problem.time_axis
    space = [c for c in problem.coordinates if c.name != problem.time]
    symbols = [c.symbol for c in space]
    states = []
    for order in range(time_order(problem, "u")):
        closed = sympy.diff(expression, problem.symbols[axis], order).subs(problem.symbols[axis], time)
        formula = Formula([closed], symbols)
        bases = [Basis.of(coordinate) for coordinate in space]
        (series,) = separable_sums(lambda x, f=formula: f(numpy_functions(), list(x.T))[0][:, None], bases)
        states.append(known_function(f"exact_{order}", series, len(space))(*symbols))
    return {"u": states}


@pytest.mark.parametrize("text", [HEAT, ADVECTION, WAVE, PLATE], ids=["heat", "advection", "wave", "plate"])
def test_the_exact_end_state_is_built_in_to_rounding(problem_from, text):
    problem = problem_from(text)
    edges = time_edges(problem, [Fraction(k, 3) for k in range(4)])
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
    edges = time_edges(problem, [Fraction(k, 2) for k in range(3)])
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
        March.equal(problem, 2)
    assert March.equal(problem, 1).problem_of(0, None) is problem


@pytest.mark.parametrize("windows", [0, 1.5, "many", 1001])
def test_a_wrong_number_of_windows_is_refused(windows):
    with pytest.raises(SettingsError, match=r'training\.windows: .*whole number from 1 to 1000, "adaptive" or "auto"'):
        resolve_settings({"training.windows": windows})
    for name in ("auto", "adaptive"):
        assert resolve_settings({"training.windows": name}).training.window_count == 1


def test_every_window_gets_an_even_share_of_what_is_left(problem_from):
    march = March.equal(problem_from(HEAT), 4)
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


@pytest.mark.parametrize("text", [HEAT, ADVECTION, WAVE])
def test_the_complex_step_goes_through_the_end_states_of_a_march(problem_from, text):
    """Every window but the first is lifted by series; the oracle evaluates them in NumPy."""
    session = _marched(problem_from, text)
    samples = audit_samples(session.problem, session.ansatz, 64, 0, torch.device("cpu"))
    assert len(samples) > 1
    for part, sample in samples:
        oracle = Oracle.of(part, sample.units)
        known = {known.func.profile for form in part.forms for known in form.lift.atoms(KnownFunction)}
        modes = max((len(factor.coefficients) for profile in known for factor in profile.factors), default=4)
        with torch.no_grad():
            jet = taylor(part, sample.points, session.problem.partials)
        for partial in (partial for partial in session.problem.partials if partial.order):
            found, _ = oracle.derivative(sample.points.numpy(), partial)
            size = float(jet[partial].square().mean().sqrt())
            # a derivative of a Chebyshev series is up to (modes)² times as large as the series, and so is rounding
            bound = 64 * EPS * modes ** (2 * partial.order) * size
            assert np.abs(found - jet[partial].numpy()).max() <= bound, (partial, modes)


def test_of_many_windows_a_few_are_audited_those_at_evenly_spaced_times(problem_from):
    problem = problem_from(HEAT)
    part = prepare(problem, resolve_settings(QUICK)).ansatz
    short = [0.5 * k / 200 for k in range(101)]  # a hundred windows in the first half of the time, four in the other
    edges = [*short, 0.3125, 0.375, 0.4375, 0.5]
    ansatz = PiecewiseAnsatz(1, edges, [part] * (len(edges) - 1))
    samples = audit_samples(problem, ansatz, 256, 0, torch.device("cpu"))
    assert len(samples) == 8
    assert [sample.lower[1] for _, sample in samples][4:] == edges[100:104]
    expected = 256 * (4 * 0.0625 / 0.27)  # as many in all, evenly over what is audited: 4 · 0.0625 + 4 · 0.005 of 0.5
    assert sum(len(sample.points) for _, sample in samples[4:]) == pytest.approx(expected, abs=40)


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
    options = {"training.points": 12, "training.steps": 40}
    session = prepare(problem_from(HEAT), resolve_settings(QUICK, {"training.windows": 2}, options))
    steps = list(session.train())
    held_out = [[step.training.held_out for step in steps if step.window == number] for number in (1, 2)]
    assert any(min(values) < values[-1] for values in held_out)  # so few points mislead some steps
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
        # values of size one, summed from some dozens of features with weights up to a hundred or so
        assert progress.error == pytest.approx(relative_l2(values, truth[solved]), rel=1e-9, abs=1e-13)
    rows = [progress.row() for progress in session.history]
    assert [row["step"] for row in rows] == list(range(1, 11))
    assert [row["window"] for row in rows] == [1] * 4 + [2] * 3 + [3] * 3
    assert all(list(row) == list(rows[0]) for row in rows)
    assert all(row["loss"] == pytest.approx(row["heat"] + row["conditions"], rel=1e-12, abs=0) for row in rows)
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
