"""Solve a problem: settings in, solution out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pinnsolve.problems import Problem, load_problem
from pinnsolve.solving.progress import Progress
from pinnsolve.solving.session import Session, prepare
from pinnsolve.solving.settings import Settings, named_options, problem_settings, resolve_settings
from pinnsolve.solving.solution import Solution, audited, finish

__all__ = [
    "Progress",
    "Session",
    "Settings",
    "Solution",
    "audited",
    "finish",
    "named_options",
    "prepare",
    "problem_settings",
    "resolve_settings",
    "solve",
]


def solve(problem: str | Path | Problem, settings: dict[str, Any] | None = None, **options: Any) -> Solution:
    """Solve a problem and return its solution, evaluated and audited.

    Args:
        problem: a name, the path of a `.toml` file, or a loaded problem.
        settings: any settings, nested or with dotted keys: {"network.width": 40}.
        options: the common settings by their short names: activation="tanh", time_limit=60.

    Raises:
        InputError: the problem or a setting cannot be used.
        DivergenceError: training left the finite numbers.
    """
    loaded = problem if isinstance(problem, Problem) else load_problem(problem)
    session = prepare(loaded, problem_settings(loaded, settings or {}, named_options(options)))
    for _ in session.train():
        pass
    return finish(session)
