"""Windows of time that are chosen automatically: when training makes no headway on all of time at once."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from pinnsolve.solving import finish, prepare
from pinnsolve.solving import headway as headway_module
from pinnsolve.solving import session as session_module
from pinnsolve.solving.headway import PILOT_STEPS, Headway
from pinnsolve.solving.settings import resolve_settings
from tests.conftest import BURGERS

LOGISTIC = """
title = "Logistic growth"
[coordinates]
t = [0, 2]
[equations]
growth = "u_t = u*(1 - u)"
[[conditions]]
where = "t = 0"
equation = "u = 0.5"
[reference]
exact = { u = "1/(1 + exp(-t))" }
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
    ("early", "later", "missing"), [(1e-1, 5e-2, True), (1e-1, 1e-3, False), (1e-4, 5e-5, True), (1e-7, 9e-7, False)]
)
def test_headway_is_a_fall_of_the_held_out_objective_or_a_low_one(early, later, missing):
    watch = _watch()
    assert not watch.is_missing(Seen(0.05, early))
    assert not watch.is_missing(Seen(0.2, later))
    assert watch.is_missing(Seen(0.3, later)) == missing


def test_nothing_is_said_of_a_few_steps_however_short_the_time():
    watch = Headway(may_march=True, seconds=8.0, steps=None)
    assert not watch.is_missing(Seen(0.05, 1.0, step=4))
    assert not watch.is_missing(Seen(0.3, 0.5, step=20))
    assert not watch.is_missing(Seen(0.9, 0.5, step=PILOT_STEPS - 1))
    assert watch.is_missing(Seen(0.9, 0.5, step=PILOT_STEPS))


def test_a_march_begins_once_and_gets_finer_if_its_first_window_is_not_solved():
    watch = _watch()
    watch.is_missing(Seen(0.05, 1.0))
    assert watch.next_march(1, 1, Seen(0.3, 0.5, step=30)) == 8
    assert watch.next_march(8, 1, Seen(1.0, 0.5, step=40)) == 16
    assert watch.next_march(16, 1, Seen(1.0, 0.5, step=45)) is None
    assert watch.next_march(8, 1, Seen(1.0, 1e-9, step=40)) is None
    assert watch.next_march(8, 2, Seen(1.0, 0.5, step=50)) is None
    assert watch.next_march(8, 1, Seen(1.0, 0.5, step=53)) is None  # 47 steps are not 3 for each of 16 windows
    assert Headway(True, 100.0, None).next_march(8, 1, Late(0.5)) is None
    assert Headway(False, 100.0, 100).next_march(1, 1, Seen(0.3, 0.5)) is None


@pytest.mark.parametrize(
    ("settings", "may"),
    [({}, True), ({"training.windows": 1}, False), ({"training.optimizer": "lm"}, False)],
)
def test_windows_are_an_alternative_only_where_they_are_chosen_automatically(problem_from, settings, may):
    assert Headway.of(problem_from(BURGERS), resolve_settings(settings)).may_march == may
    linear = problem_from(BURGERS.replace("+ u*u_x", "+ u_x"))
    assert not Headway.of(linear, resolve_settings(settings)).may_march


def _session(problem, monkeypatch, **changes):
    monkeypatch.setattr(headway_module, "UNSOLVED", -1.0)  # nothing is ever solved: march whatever happens
    monkeypatch.setattr(headway_module, "HEADWAY", 1e300)
    monkeypatch.setattr(headway_module, "FIRST_MARCH", 2)
    monkeypatch.setattr(headway_module, "FINEST_MARCH", 2)
    settings = {"training.steps": 12, "training.points": 64, "network.width": 5, "time_limit": 600.0, **changes}
    return prepare(problem, resolve_settings(settings))


def test_a_run_without_headway_starts_anew_in_windows(problem_from, monkeypatch):
    session = _session(problem_from(LOGISTIC), monkeypatch)
    rows = [progress.row() for progress in session.train()]
    assert [row["window"] for row in rows][:4] == [0, 0, 0, 1]
    assert {row["window"] for row in rows} == {0, 1, 2}
    assert [row["step"] for row in rows] == list(range(1, 13))
    t = torch.linspace(0, 2, 21, dtype=torch.float64)[:, None]
    with torch.no_grad():
        error = (session.ansatz(t)["u"] - torch.sigmoid(t[:, 0])).abs().max()
    assert float(error) < 1e-3


def test_the_smaller_residual_wins_in_the_end(problem_from, monkeypatch):
    for better in ("whole", "march"):
        session = _session(problem_from(LOGISTIC), monkeypatch)
        monkeypatch.setattr(
            session_module.Training, "best_held_out", property(lambda _, b=better: 0.0 if b == "whole" else 1.0)
        )
        monkeypatch.setattr(Headway, "is_missing", lambda _, training: training.used > 0.25)
        monkeypatch.setattr(Headway, "next_march", lambda _, count, begun, __: 2 if count == 1 and begun == 1 else None)
        for _ in session.train():
            pass
        assert session.march.count == (1 if better == "whole" else 2)
        assert session.training.step == 12
        told = ["2 windows of time were tried and left a larger residual than all of it at once"]
        assert [text for text in session.warnings if "window" in text] == told * (better == "whole")
        solution = finish(session)
        assert {bool(each.window) for each in solution.history} == {True, False}
        kept = [each for each in solution.history if bool(each.window) == (better == "march")]
        assert solution.kept_step() in [each.training for each in kept]
        monkeypatch.undo()


def test_a_run_resumed_in_its_march_is_the_run_that_went_on(problem_from, monkeypatch):
    problem = problem_from(LOGISTIC)
    whole = _session(problem, monkeypatch)
    expected = [progress.row() for progress in whole.train()]
    first = _session(problem, monkeypatch)
    rows, state, stopped = [], None, 4  # in a gradient stage: those go on bit for bit
    for progress in first.train():
        rows.append(progress.row())
        if first.training.step == stopped:
            tensors, values = first.state()
            state = {name: tensor.detach().clone() for name, tensor in tensors.items()}, values
            break
    assert state is not None
    second = _session(problem, monkeypatch)
    second.restore(stopped, *state)
    rows += [progress.row() for progress in second.train()]
    for row, wanted in zip(rows, expected, strict=True):
        assert {k: v for k, v in row.items() if k != "seconds"} == {k: v for k, v in wanted.items() if k != "seconds"}
