"""Windows of time that are as long as random features solve them."""

from __future__ import annotations

import json
from fractions import Fraction
from math import log2
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pinnsolve.errors import SettingsError
from pinnsolve.networks import activation
from pinnsolve.networks.multilayer import random_features
from pinnsolve.solving import finish, prepare, resolve_settings
from pinnsolve.solving.march import March
from pinnsolve.solving.step_control import SHORTEST, UNSOLVED, StepControl
from pinnsolve.training import least_squares as least_squares_module
from pinnsolve.training import window_features
from pinnsolve.training.features import SCALES
from pinnsolve.training.frozen import FrozenObjective, is_freezable
from pinnsolve.training.jacobian import jacobian
from pinnsolve.training.least_squares import solve_output_layer
from pinnsolve.training.loop import StepResult
from pinnsolve.training.window_features import FeatureChoice, WindowFeatureStage

EPS = np.finfo(float).eps

RELAXATION = """
title = "Van der Pol, stiff"
[coordinates]
t = [0, 15]
[equations]
e = "u_tt - 10*(1 - u^2)*u_t + u = 0"
[[conditions]]
where = "t = 0"
equation = "u = 2"
[[conditions]]
where = "t = 0"
equation = "u_t = 0"
[reference]
solver = "none"
"""
PAIR = """
title = "Two fields in one space coordinate, one condition soft"
[fields.u]
[fields.v]
[coordinates]
x = [0, 1]
t = [0, 1]
[equations]
one = "u_t = 0.1*u_xx + u*v_x"
two = "v_t = 0.2*v_xx - u^2 + v*u_x"
[[conditions]]
where = "t = 0"
equation = "u = sin(pi*x)"
[[conditions]]
where = "t = 0"
equation = "v = cos(pi*x)"
[[conditions]]
where = "x = 0"
equation = "u*v_x = 0"
[reference]
solver = "none"
"""


# --- the objective while hidden layers stand still -------------------------------------------------------------------


def _wide(problem, width=30):
    """Return a prepared session whose network is one layer of random features, with random output weights."""
    session = prepare(problem, resolve_settings({"training.windows": 1}))
    training = session.training
    wide = random_features(
        training.trained, width, [2.0] * training.trained.inputs, training.generator, activation("tanh")
    )
    training.ansatz.network = wide
    wide.hidden.requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(
        parameters_to_vector(wide.output.parameters()).shape, generator=generator, dtype=torch.float64
    )
    vector_to_parameters(weights, wide.output.parameters())
    return training, wide, weights, training.objective.draw(64, 0.0, training.generator)


def test_the_frozen_objective_is_the_objective(problem_from):
    training, wide, weights, points = _wide(problem_from(PAIR))
    objective = training.objective
    assert len(objective.blocks) == 2  # the equations, and one condition
    frozen = FrozenObjective.of(objective, wide.output, points)
    other = 0.5 * weights.flip(0)
    for given in (weights, other):
        vector_to_parameters(given, wide.output.parameters())
        # 60 weights of order 1, derivatives of order 1e2: sums of 1e4 · eps, against values of order 1e2
        assert frozen.value(given) == pytest.approx(objective.value(points), rel=1e-11)
        rows, filled = frozen.rows(given), 0
        for block, place in zip(objective.blocks, points, strict=True):
            values, columns = jacobian(wide.output, lambda b=block, p=place: objective.raw(b, p))
            for value, column, factor in zip(values, columns, block.factors, strict=True):
                part = rows[filled : filled + len(value)]
                scale = factor / len(place) ** 0.5
                assert (part[:, -1] - scale * value).abs().max() <= 1e-11 * (scale * value).abs().max()
                assert (part[:, :-1] - scale * column.t()).abs().max() <= 1e-11 * (scale * column).abs().max()
                filled += len(value)
        assert filled == len(rows)


def test_gauss_newton_steps_do_not_depend_on_freezing(problem_from, monkeypatch):
    found = []
    for is_frozen in (True, False):
        training, wide, weights, points = _wide(problem_from(PAIR))
        vector_to_parameters(torch.zeros_like(weights), wide.output.parameters())
        monkeypatch.setattr(least_squares_module, "is_freezable", lambda *_, answer=is_frozen: answer)
        loss, evaluations = solve_output_layer(training.objective, wide.output, points, iterations=3)
        found.append((loss, evaluations, training.objective.value(points)))
    (loss, evaluations, value), (other, count, _) = found
    assert loss == pytest.approx(value, rel=1e-9)
    assert loss == pytest.approx(other, rel=1e-6)  # QR of matrices with condition numbers near 1e10 after three steps
    assert evaluations == count


def test_fields_in_a_range_and_great_matrices_are_not_frozen(problem_from, monkeypatch):
    training, wide, _, points = _wide(problem_from(PAIR))
    assert is_freezable(training.objective, wide.output, points)
    monkeypatch.setattr("pinnsolve.training.frozen._NUMBERS_IN_MEMORY", 1000)
    assert not is_freezable(training.objective, wide.output, points)
    monkeypatch.undo()
    training, wide, _, points = _wide(problem_from(PAIR.replace("[fields.v]", "[fields.v]\nrange = [-2, 2]")))
    assert not is_freezable(training.objective, wide.output, points)


# --- the march -------------------------------------------------------------------------------------------------------


def test_windows_are_added_and_halved_and_leave_no_stump(problem_from):
    march = March.adaptive(problem_from(RELAXATION), Fraction(1))
    assert march.is_whole
    half = march.shortened()
    assert half.ends == (0, Fraction(1, 2))
    assert not half.reaches_the_end
    assert [float(edge) for edge in half.edges] == [0, 7.5, 15]
    assert half.extended(Fraction(1, 8)).ends[-1] == Fraction(5, 8)
    assert half.extended(Fraction(2, 5)).ends[-1] == 1  # what would be left is less than half a window
    assert half.extended(Fraction(4)).reaches_the_end


def test_budgets_of_adaptive_windows_leave_room_to_look_for_features(problem_from):
    march = March(problem_from(RELAXATION), (Fraction(0), Fraction(1, 2), Fraction(5, 8)), is_adaptive=True)
    settings = resolve_settings({"time_limit": 100, "training.steps": 50})
    budget = march.budget(settings, 1, 20.0, 10)  # a quarter of what is left of the time, twice over
    assert (budget.seconds, budget.steps) == (20.0 + 0.5 * 80.0, 10 + 20)
    assert march.budget(settings, 0).seconds == 100
    short = March(problem_from(RELAXATION), (Fraction(0), Fraction(1, 2**20)), is_adaptive=True)
    assert short.budget(settings, 0, 20.0, 10).seconds == 20.0 + 5.0, "a solve takes as long as in a long window"


def test_adaptive_windows_need_features(problem_from):
    problem = problem_from(PAIR)
    for name, value in {"training.optimizer": "lm", "precision": "float32", "derivatives": "autograd"}.items():
        with pytest.raises(SettingsError, match="adaptive needs engine = native, optimizer = auto"):
            prepare(problem, resolve_settings({"training.windows": "adaptive", name: value}))
    assert prepare(problem, resolve_settings({"training.windows": "adaptive"})).march.ends == (0, Fraction(1, 8))
    assert prepare(problem, resolve_settings({})).march.is_whole


# --- the control of their lengths ------------------------------------------------------------------------------------


def _window(left, *, length=Fraction(1, 8), start=Fraction(1, 2), took=1.0, elapsed=10.0, satisfied=False, easy=False):
    """Return a march, and the window at its end as the control sees it."""
    found = FeatureChoice("tanh", (2.0, 4.0), 400, left)
    stage = WindowFeatureStage(["tanh"], [[0], [1]], (400, 1600), choice=found, found=found, took=took)
    stage._goal = 2 * left if satisfied else 0.0
    stage._tried = 1 if easy else 3
    training = SimpleNamespace(
        plan=[stage], best_held_out=left, budget=SimpleNamespace(elapsed=elapsed), is_paused=True, stage_index=1
    )
    window = SimpleNamespace(
        training=training,
        problem=SimpleNamespace(time_axis=1),
        ansatz=SimpleNamespace(features=SimpleNamespace(plain=[0, 1])),
    )
    return SimpleNamespace(last_length=length, ends=(Fraction(0), start, start + length), count=2), window


def test_a_window_nearly_as_good_as_the_one_before_is_enough_where_there_is_no_time_for_more():
    found = FeatureChoice("tanh", (2.0, 4.0), 400, held_out=1e-9)
    stage = WindowFeatureStage(["tanh"], [[0], [1]], (400, 1600), choice=found, found=found, took=1.0, accepted=1e-10)
    stage._goal = 1e-13
    stage.pace = 4.0  # twice the features would take 5 s
    assert stage.is_satisfied
    stage.pace = 6.0
    assert not stage.is_satisfied
    stage.pace, stage.accepted = 4.0, 1e-11
    assert not stage.is_satisfied


def _widths(stage, left):
    """Return the widths that a stage tries if each leaves what `left` says of it."""
    widths = []
    for trial in stage._trials():
        widths.append(trial.width)
        stage._judge(trial, left(trial), 1.0)
    return widths


def _known(left):
    """Return a stage that begins with 800 features, which left so much before."""
    choice = FeatureChoice("tanh", (2.0, 4.0), 800, held_out=left)
    return WindowFeatureStage(["tanh"], [[0], [1]], (400, 3200), choice=choice)


def test_features_that_solve_nothing_in_a_longer_window_leave_it_to_a_shorter_one():
    assert _widths(_known(1e-12), lambda trial: 1e-2) == [800]


def test_the_best_features_of_an_unsolved_window_come_first_in_its_half():
    looks = len(SCALES) + 4  # they do not serve: all scales are looked at, and the neighbours of the best
    assert _widths(_known(1e-2), lambda trial: 1e-2) == [800, *[400] * looks, 1600]
    assert _widths(_known(1e-2), lambda trial: 1e-6) == [800, 1600, *[1600] * 4]  # and neighbours


def test_features_that_are_given_are_tried_once_in_a_window():
    """Scales go with the window's length: half of it does what features twice as smooth would do."""
    choice = FeatureChoice("tanh", (4.0,), 80, held_out=float("inf"))
    for left in (1e-2, 1e-12):
        stage = WindowFeatureStage(["tanh"], [[0]], (80, 80), choice=choice)
        assert _widths(stage, lambda trial, left=left: left) == [80]


def test_more_features_are_tried_while_they_gain_enough_the_less_the_less_is_resolved():
    stage = WindowFeatureStage(["tanh"], [[0]], (400, 3200))
    looks = len(SCALES) + 2  # and two neighbours of the best
    for gain, widths in ((11.0, [800, 1600, 3200]), (9.0, [800])):
        stage.found = None
        found = _widths(stage, lambda trial, gain=gain: 1.0 * gain ** -log2(trial.width / 400))
        assert found[looks:] == widths
    stage.found = None  # once resolved, a factor of 30 is asked for
    assert _widths(stage, lambda trial: 1e-5 * 11.0 ** -log2(trial.width / 400))[looks:] == [800]


def test_a_window_whose_time_is_over_is_left_with_the_best_so_far(monkeypatch):
    tried = []

    def solved(training, width, trial, *others, **named):
        tried.append(trial.scales)
        training.used += 0.3
        return StepResult({"e": 1.0})

    monkeypatch.setattr(window_features, "solve_features", solved)
    training = SimpleNamespace(
        goal=0.0,
        used=0.0,
        best_network=None,
        trained=None,
        last_held_out=1.0,
        budget=SimpleNamespace(elapsed=0.0),
        ansatz=SimpleNamespace(network=None),
        converged=lambda before, reached: False,
    )
    stage = WindowFeatureStage(["tanh"], [[0], [1]], (400, 1600))
    assert len(list(stage.steps(training))) == len(tried) == 4
    assert training.is_paused
    assert stage.found is not None


def test_a_window_is_halved_if_nothing_is_solved_or_there_is_time_to_go_on_at_that_pace():
    assert StepControl(1, 100.0).halves(*_window(10 * UNSOLVED, took=1e6))
    assert not StepControl(1, 100.0).halves(*_window(10 * UNSOLVED, satisfied=True))
    assert not StepControl(1, 100.0).halves(*_window(10 * UNSOLVED, elapsed=95.0))
    # half the time is left, which is 8 windows of half the length: 0.8 · 90 seconds are enough for 9 each
    assert StepControl(1, 100.0).halves(*_window(0.1 * UNSOLVED, took=8.9))
    assert not StepControl(1, 100.0).halves(*_window(0.1 * UNSOLVED, took=9.1))
    assert not StepControl(1, 100.0).halves(*_window(1.0, length=SHORTEST))
    # in time alone windows grow again after an initial layer: in the first half of the time no pace is asked for
    assert StepControl(0, 100.0).halves(*_window(0.1 * UNSOLVED, took=9.1, elapsed=49.0))
    assert not StepControl(0, 100.0).halves(*_window(0.1 * UNSOLVED, took=9.1, elapsed=51.0))


def test_halving_ends_where_it_gains_nothing_or_rounding_is_left():
    control = StepControl(1, 100.0)
    assert [control.halves(*_window(left)) for left in (1.0, 0.5, 0.4, 0.3)] == [True, True, True, False]
    control = StepControl(0, 100.0)  # a fast transient may lie anywhere: in time alone it is looked for
    assert all(control.halves(*_window(left)) for left in (1.0, 0.5, 0.4, 0.3, 0.3, 0.3))
    control = StepControl(1, 100.0)
    assert [control.halves(*_window(left)) for left in (1e-12, 1e-14, 0.5e-14)] == [True, True, False]


def test_scales_follow_the_length_of_the_window():
    control = StepControl(1, 100.0)
    assert control.halves(*_window(1e-5))
    assert control.choice.scales == (2.0, 2.0)  # the second coordinate is time
    assert control.next_length(*_window(1e-30, easy=True)) == Fraction(1, 8)  # the other half of a halved one
    assert control.next_length(*_window(1e-30, easy=True)) == Fraction(1, 4)
    assert control.choice.scales == (2.0, 8.0)
    assert control.next_length(*_window(1e-30)) == Fraction(1, 8)  # more than one solve was needed
    assert control.next_length(*_window(1e-14, easy=True)) == Fraction(1, 8)  # no digits to spare
    assert control.next_length(*_window(1e-14, easy=True, length=Fraction(1, 16))) == Fraction(
        1, 8
    )  # as long as before
    control.longest_width = 800
    assert control.next_length(*_window(1e-14, easy=True, length=Fraction(1, 16))) == Fraction(1, 16)  # 400 are too few
    assert control.next_length(*_window(1.0, elapsed=91.0)) == 1
    assert control.accepted == 1e-14


def _choice(width, left=1e-8):
    return FeatureChoice("tanh", (2.0, 4.0), width, held_out=left)


def test_a_window_that_fewer_features_did_not_solve_is_tried_with_as_many_as_before(problem_from):
    march = March(problem_from(PAIR), (Fraction(0), Fraction(1, 2), Fraction(5, 8)), is_adaptive=True)
    control = StepControl(1, 100.0, choice=_choice(800), took=20.0)  # 0.8 · 90 s for four windows are 18 s each
    assert control.features(march, 10.0).choice.width == 400
    failed, window = _window(10 * UNSOLVED)  # 400 features, given
    assert control.halves(failed, window)
    assert (control.choice.width, control.least_width) == (800, 800)
    assert control.features(march, 10.0).choice.width == 800
    control = StepControl(1, 100.0, choice=_choice(400), took=20.0)  # as many as before: the window is too long
    assert control.halves(*_window(10 * UNSOLVED))
    assert (control.choice.width, control.least_width) == (400, StepControl(1, 100.0).least_width)


def test_a_march_is_hopeless_if_the_windows_to_come_take_longer_than_there_is_time():
    march, window = _window(10 * UNSOLVED, elapsed=20.0)  # 80 s are left for the second half of the time
    for took, least, hopeless in ((19.0, 800, False), (21.0, 800, True), (21.0, 400, False), (161.0, 400, True)):
        control = StepControl(1, 100.0, choice=_choice(800), took=took, longest=Fraction(1, 8), least_width=least)
        assert control.is_hopeless(march, window) == hopeless, (took, least)
    # before any is solved: eight halves, as long as this one's solve took
    _, window = _window(10 * UNSOLVED, elapsed=20.0, took=9.0)
    assert not StepControl(1, 100.0, choice=_choice(800)).is_hopeless(march, window)
    _, window = _window(10 * UNSOLVED, elapsed=20.0, took=81.0)
    assert StepControl(1, 100.0, choice=_choice(800)).is_hopeless(march, window)


def test_the_control_goes_on_where_another_stood():
    control = StepControl(1, 100.0)
    assert control.halves(*_window(1e-5))
    control.next_length(*_window(1e-9, length=Fraction(1, 16)))
    control.least_width = 300
    other = StepControl(1, 100.0)
    other.restore(json.loads(json.dumps(control.state())))
    assert other == control


# --- solutions -------------------------------------------------------------------------------------------------------


def test_a_relaxation_oscillation_is_solved_in_windows_that_follow_it(problem_from):
    session = prepare(problem_from(RELAXATION), resolve_settings({"time_limit": 300.0}))
    assert session.march.is_adaptive
    for _ in session.train():
        pass
    solution = finish(session)
    t = np.linspace(0, 15, 301)
    mu = 10.0
    truth = solve_ivp(
        lambda _, y: [y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]],
        (0, 15),
        [2.0, 0.0],
        "Radau",
        t,
        rtol=1e-10,
        atol=1e-12,
    )
    # an error before the jump at t = 9 moves it by about its own size, and slopes there are near 15: 1e-10 · 15 · 10
    assert np.abs(solution(t[:, None])["u"] - truth.y[0]).max() < 1e-7
    lengths = np.diff([float(edge) for edge in session.march.edges])
    jump = np.argmax(np.abs(np.diff(truth.y[0])))
    at_the_jump = np.searchsorted([float(edge) for edge in session.march.edges], t[jump]) - 1
    assert lengths[at_the_jump] < 0.1 * lengths.max()
    assert "windows of time; random features in windows as long as these solve them" in session.plan_reason
    assert solution.reason == "converged: the residual is rounding"


BLOW_UP = """
title = "A solution that ends"
[coordinates]
t = [0, 2]
[equations]
e = "u_t = u^2"
[[conditions]]
where = "t = 0"
equation = "u = 1"
[reference]
solver = "none"
"""


def test_what_lies_beyond_a_singularity_is_not_passed_for_a_solution(problem_from):
    session = prepare(problem_from(BLOW_UP), resolve_settings({"time_limit": 6.0}))
    for _ in session.train():
        pass
    solution = finish(session)
    t = np.linspace(0, 0.9, 50)
    assert np.abs(solution(t[:, None])["u"] * (1 - t) - 1).max() < 1e-6
    (told,) = [text for text in solution.warnings if "cannot be trusted" in text]
    start = float(told.split("t = ")[1].split(" on")[0])
    assert 0.9 < start < 1.0001
    assert "converged" not in solution.reason


def test_features_that_overflow_are_passed_over(problem_from, monkeypatch):
    training = prepare(problem_from(RELAXATION), resolve_settings({"training.steps": 5})).training
    stage = training.plan[0]
    solved = iter([StepResult({"e": float("nan")})] * 3)
    monkeypatch.setattr(window_features, "solve_features", lambda *_, **__: next(solved))
    stage.choice = None
    stage.widths = (80, 80)
    monkeypatch.setattr(window_features, "SCALES", (1.0, 2.0, 4.0))
    stage.activations = ["tanh"]
    assert list(stage.steps(training)) == []
    assert stage.found is None
    assert training.is_paused
