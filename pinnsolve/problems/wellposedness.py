"""How many conditions a problem has where, against the order of its equations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from pinnsolve.problems.problem import Face, Problem

_SAMPLES = 10  # as a power of two


def order_of(problem: Problem, field: str, axis: int) -> int:
    """Return the highest number of derivatives of a field along one coordinate."""
    return max((partial.orders[axis] for partial in problem.partials if partial.field == field), default=0)


def conditions_along(problem: Problem, axis: int, field: str) -> int:
    """Return how many conditions a field has along an axis; those on parts of a face count once per face."""
    whole, parts = 0, set()
    for condition in problem.conditions:
        if (
            not isinstance(condition.face, Face)
            or condition.face.axis != axis
            or all(partial.field != field for partial in condition.residual.partials)
        ):
            continue
        if condition.restrictions:
            parts.add(condition.face.side)
        else:
            whole += 1
    return whole + len(parts)


def uncovered_shares(problem: Problem) -> dict[Face, float]:
    """Return the share of each face of the box that has conditions on which none of them holds, where there is any."""
    shares = {}
    for face in dict.fromkeys(c.face for c in problem.conditions if isinstance(c.face, Face)):
        here = [condition for condition in problem.conditions if condition.face == face]
        covered = np.any([condition.holds(points_on(problem, face)) for condition in here], axis=0)
        if not covered.all():
            shares[face] = float(1 - covered.mean())
    return shares


def points_on(problem: Problem, face: Face) -> NDArray[np.float64]:
    """Return Sobol points (1024, d) of a face."""
    lower, upper = problem.box
    points: NDArray[np.float64] = lower + (upper - lower) * _unit_points(len(lower))
    points[:, face.axis] = (lower if face.side == "lower" else upper)[face.axis]
    return points


@cache
def _unit_points(dimension: int) -> NDArray[np.float64]:
    """Return Sobol points (1024, d) of the unit cube; not to be written to, since every caller has the same ones."""
    points: NDArray[np.float64] = qmc.Sobol(dimension, seed=7).random_base2(_SAMPLES)
    return points


def is_determined(problem: Problem) -> bool:
    """Whether one unknown function on a box has as many conditions along each coordinate as derivatives.

    Of several fields it cannot be counted: a pressure has derivatives and no conditions.
    """
    if problem.domain is not None or uncovered_shares(problem):
        return False
    if len(problem.fields) > 1:
        return True
    axes: Sequence[int] = [axis for axis, coordinate in enumerate(problem.coordinates) if not coordinate.periodic]
    (name,) = problem.field_names
    return all(conditions_along(problem, axis, name) >= order_of(problem, name, axis) for axis in axes)
