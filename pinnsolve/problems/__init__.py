"""Problems: text files in, symbolic boundary and initial value problems out.

Names are loaded on first use: a list of problems needs no symbolic mathematics.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pinnsolve.problems.library import load_problem, problem_files
    from pinnsolve.problems.loading import load_problem_file
    from pinnsolve.problems.outline import Outline, read_outline
    from pinnsolve.problems.partials import Partial
    from pinnsolve.problems.problem import Condition, Coordinate, Face, Field, Problem, Residual

__all__ = [
    "Condition",
    "Coordinate",
    "Face",
    "Field",
    "Outline",
    "Partial",
    "Problem",
    "Residual",
    "load_problem",
    "load_problem_file",
    "problem_files",
    "read_outline",
]

_HOMES = {
    "load_problem": "library",
    "problem_files": "library",
    "load_problem_file": "loading",
    "Outline": "outline",
    "read_outline": "outline",
    "Partial": "partials",
}


def __getattr__(name: str) -> Any:
    """Return a public name, imported on first use."""
    if name not in __all__:
        raise AttributeError(f"module 'pinnsolve.problems' has no attribute {name!r}")
    return getattr(import_module(f"pinnsolve.problems.{_HOMES.get(name, 'problem')}"), name)
