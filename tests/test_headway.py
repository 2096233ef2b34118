"""Windows of time that are chosen automatically: when training makes no headway on all of time at once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch

from pinnsolve.networks.piecewise import PiecewiseAnsatz
from pinnsolve.solving import finish, prepare, step_control
from pinnsolve.solving import headway as headway_module
from pinnsolve.solving.headway import PILOT_STEPS, Headway
from pinnsolve.solving.march import March
from pinnsolve.solving.settings import resolve_settings
from pinnsolve.training.features import FeatureTrial
from pinnsolve.training.objective import Objective
from pinnsolve.training.window_features import FeatureChoice, WindowFeatureStage, _Trial
from tests.conftest import BURGERS

FRONT = """
title = "Fisher's front"
[coordinates]
x = [0, 1]
t = [0, 0.4]
[equations]
growth = "u_t = 0.1*u_xx + u*(1 - u)"
[[conditions]]
where = "t = 0"
equation = "u = 0.5 + 0.1*cos(pi*x)"
[[conditions]]
where = "x = 0"
equation = "u_x = 0"
[[conditions]]
where = "x = 1"
equation = "u_x = 0"
"""


@dataclass
class Seen:
    """What a watch looks at."""

    used: float
    best_held_out: float
    step: int = 0


class Late(Seen):
    """A window that ended when it was too late to start anew."""

    def __init__(self, best_held_out: float) -> None:
        super().__init__(1.0, best_held_out)
        self.budget = SimpleNamespace(elapsed=61.0)


def _watch() -> Headway:
    return Headway(may_march=True, seconds=100.0, steps=100)


@pytest.mark.parametrize(
    ("early", "later", "missing"), [(1e-1, 5e-2, True), (1e-1, 1e-3, False), (1e-3, 5e-4, True), (1e-6, 9e-6, False)]
)
def test_headway_is_a_fall_of_the_held_out_objective_or_a_low_one(early, later, missing):
    watch = _watch()
    assert not watch.is_missing(Seen(0.05, early))
    assert not watch.is_missing(Seen(0.2, later))
    assert watch.is_missing(Seen(0.3, later)) == missing


def test_headway_is_asked_for_all_along():
    watch = _watch()
    assert not any(watch.is_missing(Seen(used, left)) for used, left in ((0.05, 1e4), (0.2, 1e3), (0.3, 1e2)))
    assert not watch.is_missing(Seen(0.45, 90.0))  # at 0.18 it was 1e4
    assert watch.is_missing(Seen(0.55, 80.0))  # at 0.22 it was 1e3
    assert not watch.is_missing(Seen(0.55, 9e-6))


def test_dispersive_waves_must_be_lower_at_first_and_no_more_once_they_make_headway():
    for steps in ((0.05, 1e-2), (0.3, 1e-6)), ((0.05, 1e-6), (0.3, 1e-10)):
        watch = Headway(may_march=True, seconds=100.0, steps=100, is_dispersive=True)
        assert not any(watch.is_missing(Seen(*step)) for step in steps)
        assert not watch.is_missing(Seen(0.8, steps[-1][1]))
    watch = Headway(may_march=True, seconds=100.0, steps=100, is_dispersive=True)
    assert [watch.is_missing(Seen(used, 1e-6)) for used in (0.05, 0.3)] == [False, True]


def test_nothing_is_said_of_a_few_steps_however_short_the_time():
    watch = Headway(may_march=True, seconds=8.0, steps=None)
    assert not watch.is_missing(Seen(0.05, 1.0, step=4))
    assert not watch.is_missing(Seen(0.3, 0.5, step=20))
    assert not watch.is_missing(Seen(0.9, 0.5, step=PILOT_STEPS - 1))
    assert watch.is_missing(Seen(0.9, 0.5, step=PILOT_STEPS))


def test_all_of_time_is_given_up_once_and_in_time(problem_from):
    watch, whole = _watch(), March(problem_from(FRONT))
    assert not watch.is_given_up(whole, Seen(0.05, 1.0))
    assert watch.is_given_up(whole, Seen(0.3, 0.5, step=30))
    assert not watch.is_given_up(whole, Seen(0.3, 0.5, step=61))  # 39 steps are no march
    assert not watch.is_given_up(March.adaptive(whole.problem, Fraction(1, 8)), Seen(0.3, 0.5, step=30))
    assert not watch.is_given_up(whole, Seen(0.7, 0.5, step=70))
    assert not Headway(True, 100.0, None, noted=[(0.01, 1.0)]).is_given_up(whole, Late(0.5))
    assert not Headway(False, 100.0, 100).is_given_up(whole, Seen(0.3, 0.5))


@pytest.mark.parametrize(
    ("settings", "may"),
    [({}, True), ({"training.windows": 1}, False), ({"training.optimizer": "lm"}, False)],
)
def test_windows_are_an_alternative_only_where_they_are_chosen_automatically(problem_from, settings, may):
    assert Headway.of(problem_from(BURGERS), resolve_settings(settings)).may_march == may
    linear = problem_from(BURGERS.replace("+ u*u_x", "+ u_x"))
    assert not Headway.of(linear, resolve_settings(settings)).may_march


def _session(problem, monkeypatch, **changes):
    """Return a run that gives all of time up after a quarter of its steps, and two windows that are solved at once."""
    monkeypatch.setattr(headway_module, "LOW", -1.0)  # nothing is ever solved: march whatever happens
    monkeypatch.setattr(headway_module, "HEADWAY", 1e300)
    monkeypatch.setattr(step_control, "OTHER_LENGTH", Fraction(1, 2))
    monkeypatch.setattr(step_control, "OTHER_GOAL", 1.0)
    monkeypatch.setattr(step_control, "OTHER_EASY", 0.0)
    monkeypatch.setattr(headway_module, "MARCH_STEPS", 1)
    settings = {"training.steps": 12, "training.points": 64, "network.width": 5, "time_limit": 600.0, **changes}
    session = prepare(problem, resolve_settings(settings))
    session.control.given = session.control.choice = FeatureChoice("tanh", (1.0, 1.0), 60, held_out=float("inf"))
    return session


@pytest.mark.usefixtures("no_probe")
def test_a_run_without_headway_starts_anew_in_windows(problem_from, monkeypatch):
    session = _session(problem_from(FRONT), monkeypatch)
    rows = [progress.row() for progress in session.train()]
    assert [row["window"] for row in rows] == [0, 0, 0, 1, 2]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["stage"] for row in rows] == ["lm"] * 3 + ["features"] * 2
    assert rows[-1]["error"] < 1e-6


def test_the_smaller_residual_wins_in_the_end(problem_from, monkeypatch):
    for better in ("whole", "march"):
        session = _session(problem_from(FRONT), monkeypatch)
        monkeypatch.setattr(
            Objective,
            "typical_residual",
            lambda of, _, b=better: float(isinstance(of.fields, PiecewiseAnsatz) == (b == "whole")),
        )
        monkeypatch.setattr(Headway, "is_missing", lambda _, training: training.used >= 0.25)
        for _ in session.train():
            pass
        assert session.march.count == (1 if better == "whole" else 2)
        assert session.training.step == 5
        told = ["2 windows of time were tried and left a larger residual than all of it at once"]
        assert [text for text in session.warnings if "window" in text] == told * (better == "whole")
        solution = finish(session)
        assert {bool(each.window) for each in solution.history} == {True, False}
        kept = [each for each in solution.history if bool(each.window) == (better == "march")]
        assert solution.kept_step() in [each.training for each in kept]
        monkeypatch.undo()


def _hopeless_session(problem, monkeypatch, **changes):
    """Return a run whose windows are never solved and too slow, so that it returns to all of time at once."""
    session = _session(problem, monkeypatch, **{"training.steps": 8, **changes})
    monkeypatch.setattr(step_control, "OTHER_GOAL", 0.0)
    monkeypatch.setattr(step_control.StepControl, "halves", lambda *_: True)
    monkeypatch.setattr(step_control.StepControl, "is_hopeless", lambda *_: True)
    monkeypatch.setattr(
        WindowFeatureStage, "_trials", lambda stage: iter([_Trial(40, FeatureTrial("tanh", (1.0, 1.0)))])
    )
    return session


@pytest.mark.usefixtures("no_probe")
def test_a_march_that_cannot_reach_the_end_gives_way_to_all_of_time_at_once(problem_from, monkeypatch):
    problem = problem_from(FRONT)
    session = _hopeless_session(problem, monkeypatch)
    rows = [progress.row() for progress in session.train()]
    assert [row["window"] for row in rows] == [0, 0, 1, *[0] * 5]
    assert [row["stage"] for row in rows][:4] == ["lm", "lm", "features", "lm"]
    assert session.march.is_whole
    assert [text for text in session.warnings if "window" in text] == [
        "windows of time were tried up to t = 0: too short to reach the end in time, so all of it at once"
    ]
    assert session.training.budget.spent > 0  # it goes by the clock of the windows
    # training goes on where it was left: its damping and its network, not afresh
    alone = _hopeless_session(problem, monkeypatch, **{"training.windows": 1})
    for row, wanted in zip([*rows[:2], rows[3]], alone.train(), strict=False):
        assert (row["loss"], row["damping"]) == (wanted.training.loss, wanted.training.damping)


@pytest.mark.usefixtures("no_probe")
@pytest.mark.parametrize("step", [3, 4])
def test_a_run_resumed_in_or_after_a_hopeless_march_is_the_run_that_went_on(problem_from, monkeypatch, step):
    problem = problem_from(FRONT)
    expected = [progress.row() for progress in _hopeless_session(problem, monkeypatch).train()]
    rows, state = _stopped(_hopeless_session(problem, monkeypatch), step)
    second = _hopeless_session(problem, monkeypatch)
    second.restore(step, *state)
    resumed = [progress.row() for progress in second.train()]
    if step == 3:  # the window is solved anew first
        assert resumed.pop(0)["window"] == 1
        resumed = [row | {"step": row["step"] - 1} for row in resumed]
        expected = expected[:-1]
    for row, wanted in zip([*rows, *resumed], expected, strict=True):
        assert {k: v for k, v in row.items() if k not in ("seconds", "evaluations")} == {
            k: v for k, v in wanted.items() if k not in ("seconds", "evaluations")
        }


def _stopped(session, step):
    """Train up to a step; return the rows so far, and the state as a checkpoint holds it."""
    rows = []
    for progress in session.train():
        rows.append(progress.row())
        if session.training.step == step:
            break
    tensors, values = session.state()
    return rows, ({name: tensor.detach().clone() for name, tensor in tensors.items()}, json.loads(json.dumps(values)))


def test_a_residual_is_typical_at_most_points_and_no_number_is_a_large_one(problem_from):
    training = prepare(problem_from(FRONT), resolve_settings({})).training
    objective = training.objective
    values = (1e-3, 2e-3, 5.0, float("nan"), 1e-4)

    def fields(block, points):
        return [torch.tensor(values, dtype=torch.float64)[: len(points)]]

    object.__setattr__(objective, "values", fields)
    scale = objective.blocks[0].factors[0]
    assert objective.typical_residual([torch.zeros(5, 2)]) == pytest.approx(2e-3 * scale)


@pytest.mark.usefixtures("no_probe")
def test_a_run_resumed_before_its_march_is_the_run_that_went_on(problem_from, monkeypatch):
    problem = problem_from(FRONT)
    whole = _session(problem, monkeypatch)
    expected = [progress.row() for progress in whole.train()]
    rows, state = _stopped(_session(problem, monkeypatch), 2)
    second = _session(problem, monkeypatch)
    second.restore(2, *state)
    rows += [progress.row() for progress in second.train()]
    for row, wanted in zip(rows, expected, strict=True):
        assert {k: v for k, v in row.items() if k != "seconds"} == {k: v for k, v in wanted.items() if k != "seconds"}


@pytest.mark.usefixtures("no_probe")
def test_a_run_resumed_in_its_march_solves_the_window_under_way_anew(problem_from, monkeypatch):
    problem = problem_from(FRONT)
    first = _session(problem, monkeypatch)
    _, state = _stopped(first, 5)
    second = _session(problem, monkeypatch)
    second.restore(5, *state)
    assert second.march == first.march
    assert second.control == first.control
    for one, other in ((first.windows[0], second.windows[0]), (first.whole, second.whole)):
        for name, tensor in one.ansatz.network.state_dict().items():
            assert torch.equal(other.ansatz.network.state_dict()[name], tensor), name
    assert [progress.window for progress in second.train()] == [2]
    assert second.history[-1].error < 1e-6
