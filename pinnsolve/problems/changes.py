"""Where along a side of a domain one thing gives way to another: the kind of condition, or a condition itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pinnsolve.problems.conditions import Condition, Face
from pinnsolve.problems.problem import Problem

_SAMPLES = 2**10  # places along a side of a rectangle between which changes are sought
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


def labelled_parts(
    label: Callable[[NDArray[np.float64]], NDArray[np.int64]], samples: int
) -> tuple[list[int], list[float]]:
    """Return the labels of the parts of a side in their order, and the positions in (0, 1) where one ends.

    Args:
        label: a number for each position (N,) along the side.
        samples: between which changes are sought; a shorter part than their distance is not seen.
    """
    positions = (np.arange(samples) + 0.5) / samples
    found = label(positions)
    changes = np.flatnonzero(found[1:] != found[:-1])
    ends = [_bisected(label, positions[k], positions[k + 1]) for k in changes]
    return [int(found[0]), *(int(found[k + 1]) for k in changes)], ends


def _bisected(label: Callable[[NDArray[np.float64]], NDArray[np.int64]], low: float, high: float) -> float:
    first = label(np.array([low]))[0]
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if label(np.array([middle]))[0] == first else (low, middle)
    return 0.5 * (low + high)


def given_kinds(condition: Condition) -> Kinds:
    """Return of which fields a condition gives values and of which slopes, by its highest derivatives."""
    partials = condition.residual.partials
    highest = max((each.order for each in partials), default=0)
    return frozenset((partial.field, partial.order == 0) for partial in partials if partial.order == highest)


def condition_changes(problem: Problem) -> list[Change]:
    """Return the changes along the sides of a rectangle, corners left out; none on other domains."""
    if problem.domain is not None or len(problem.space_axes) != 2:
        return []
    faces = dict.fromkeys(each.face for each in problem.conditions if isinstance(each.face, Face))
    return [
        change
        for face in faces
        if face.axis in problem.space_axes
        for change in _changes(problem, face, [each for each in problem.conditions if each.face == face])
    ]


def _changes(problem: Problem, face: Face, conditions: Sequence[Condition]) -> list[Change]:
    """Return the changes along one side, in the middle of the time."""
    if not any(condition.restrictions for condition in conditions):
        return []
    space, (lower, upper) = list(problem.space_axes), problem.box
    (along,) = (axis for axis in space if axis != face.axis)

    def points(positions: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.tile(0.5 * (lower + upper), (len(positions), 1))
        found[:, face.axis] = (lower if face.side == "lower" else upper)[face.axis]
        found[:, along] = lower[along] + positions * (upper[along] - lower[along])
        return found

    given = list(dict.fromkeys(map(given_kinds, conditions)))

    def label(positions: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return a number whose bits say which kinds of conditions hold."""
        code = np.zeros(len(positions), dtype=np.int64)
        for condition in conditions:
            code |= condition.holds(points(positions)).astype(np.int64) << given.index(given_kinds(condition))
        return code

    labels, ends = labelled_parts(label, _SAMPLES)
    inward = [float(-face.sign) if axis == face.axis else 0.0 for axis in space]
    return [
        Change(tuple(points(np.array([end]))[0, space].tolist()), (inward[0], inward[1]))
        for end, before, after in zip(ends, labels, labels[1:], strict=False)
        if before and after  # not the end of an inflow, beyond which nothing is given
    ]
