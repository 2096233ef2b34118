"""What a check finds, and the names of what it looks at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pinnsolve.problems.problem import Condition, Problem, Residual

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (error) or may be (warning) or is good to know (note), and what to do about it."""

    level: Level
    key: str
    message: str
    remedy: str


def keyed_residuals(problem: Problem) -> Iterator[tuple[str, Residual, Condition | None]]:
    """Yield every equation and condition with the key that findings on it have, and where it holds: None everywhere."""
    for equation in problem.equations:
        yield f"equations.{equation.name}", equation, None
    for condition in problem.conditions:
        yield f"conditions: {condition.name}", condition.residual, condition
