"""Places on the sides of a rectangle where the kind of condition changes: a value on one side of it, a slope beyond."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pinnsolve.problems.conditions import Condition, Face
from pinnsolve.problems.problem import Problem

_SAMPLES = 2**10  # places along a side between which changes are sought
_BISECTIONS = 50

Kinds = frozenset[tuple[str, bool]]  # fields with a given value (True) or a given slope (False)


@dataclass(frozen=True)
class Change:
    """A place on a side of a rectangle where the kind of condition changes.

    Attributes:
        place: (2,), in the space coordinates.
        inward: the unit vector across the side into the rectangle.
    """

    place: tuple[float, float]
    inward: tuple[float, float]


def given_kinds(condition: Condition) -> Kinds:
    """Return of which fields a condition gives values and of which slopes, by its highest derivatives."""
    partials = condition.residual.partials
    highest = max((each.order for each in partials), default=0)
    return frozenset((partial.field, partial.order == 0) for partial in partials if partial.order == highest)


def condition_changes(problem: Problem) -> list[Change]:
    """Return the changes along the sides of a rectangle, corners left out; none on other domains."""
    axes = [axis for axis in range(len(problem.coordinates)) if axis != problem.time_axis]
    if problem.domain is not None or len(axes) != 2:
        return []
    found = []
    for axis, along in (axes, axes[::-1]):
        for side in ("lower", "upper"):
            own = [
                condition
                for condition in problem.conditions
                if isinstance(condition.face, Face) and (condition.face.axis, condition.face.side) == (axis, side)
            ]
            inward = 1.0 if side == "lower" else -1.0
            for place in _changes(problem, own, axis, along, side == "lower"):
                vector = (inward, 0.0) if axis == axes[0] else (0.0, inward)
                found.append(Change((float(place[axes[0]]), float(place[axes[1]])), vector))
    return found


def _changes(
    problem: Problem, conditions: Sequence[Condition], axis: int, along: int, is_lower: bool
) -> list[NDArray[np.float64]]:
    """Return the points (d,) of a side where the kind changes, in the middle of the time."""
    if not any(condition.restrictions for condition in conditions):
        return []
    lower, upper = problem.box
    base = 0.5 * (lower + upper)
    base[axis] = (lower if is_lower else upper)[axis]

    def kinds(position: float) -> Kinds:
        point = base.copy()
        point[along] = lower[along] + position * (upper[along] - lower[along])
        holding = [c for c in conditions if all(each.holds(point[None])[0] for each in c.restrictions)]
        return frozenset().union(*map(given_kinds, holding))

    positions = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    there = [kinds(position) for position in positions]
    found = []
    for k in range(_SAMPLES - 1):
        if there[k] == there[k + 1] or not (there[k] and there[k + 1]):
            continue  # of one kind, or the end of an inflow, beyond which nothing is given
        low, high = positions[k], positions[k + 1]
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if kinds(middle) == there[k] else (low, middle)
        point = base.copy()
        point[along] = lower[along] + high * (upper[along] - lower[along])
        found.append(point)
    return found
