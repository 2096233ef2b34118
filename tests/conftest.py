"""Shared helpers of the tests: problems from text, small ansätze."""

from __future__ import annotations

import os
import signal

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line does, before torch is loaded

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from pinnsolve.problems import Problem
from pinnsolve.problems.loading import parse_problem

for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:  # as in the background of a script; what tests start would ignore it
        signal.signal(number, handler)

BURGERS = """
title = "Burgers"
[coordinates]
x = [-1, 1]
t = [0, 1]
[constants]
nu = "0.01/pi"
[equations]
burgers = "u_t + u*u_x = nu*u_xx"
[[conditions]]
where = "t = 0"
equation = "u = -sin(pi*x)"
[[conditions]]
where = ["x = -1", "x = 1"]
equation = "u = 0"
"""
DECAY = """
title = "decay"
[coordinates]
t = [0, 1]
[equations]
decay = "u_t = -u"
[[conditions]]
where = "t = 0"
equation = "u = 1"
"""


def executed_here(_: object, orders: Sequence[Any], report: object) -> Iterator[tuple[int, dict[str, Any]]]:
    """Execute the runs of a comparison in this process, in place of `cluster.executed`."""
    from pinnsolve.comparison import execute

    for index, order in enumerate(orders):
        yield index, execute(order, None)


@pytest.fixture
def problem_from() -> Callable[[str], Problem]:
    """Return a function from the text of a problem file to its problem."""
    return lambda text: parse_problem(text.encode(), Path("test.toml"))


@pytest.fixture
def generator() -> torch.Generator:
    """Return a seeded generator."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep computed references out of the user's cache; one folder serves the whole session."""
    monkeypatch.setenv("PINNSOLVE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def no_probe(monkeypatch):
    """Nonlinear problems are trained from the start, without a look at random features."""
    monkeypatch.setattr("pinnsolve.training.plan.PROBE_SHARE", 0.0)
