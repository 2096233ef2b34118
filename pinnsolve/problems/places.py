"""Where points come from: the domain, a face of its box, a part of its boundary, at positions in the unit cube."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from pinnsolve.problems.geometry.domain import Part
from pinnsolve.problems.problem import Condition, Problem

Points = NDArray[np.float64]
_MOST_DRAWS = 1000


@dataclass(frozen=True)
class Place:
    """The domain of a problem (no condition), or the part of its boundary on which a condition holds."""

    problem: Problem
    condition: Condition | None = None

    @property
    def dimension(self) -> int:
        """How many numbers in [0, 1] place a point; 0 for the end of an interval."""
        face = None if self.condition is None else self.condition.face
        count = len(self.problem.coordinates)
        if face is None:
            return count
        if isinstance(face, Part):
            return face.dimension + count - len(face.domain.axes)
        return count - 1

    def points(self, unit: Points) -> Points:
        """Return the points of the place (M, d) among those at positions (N, dimension) in the unit cube.

        Uniform on the place; positions outside the domain or a condition's restrictions are left out.
        """
        condition = self.condition
        if condition is None:
            points = self._in_box(unit, np.arange(len(self.problem.coordinates)))
            return points[self.problem.contains(points)]
        points = self._on_part(unit, condition.face) if isinstance(condition.face, Part) else self._on_face(unit)
        return points[condition.holds(points)]

    def towards_ends(self, unit: Points) -> Points:
        """Return positions in the unit cube (N, dimension) that gather where a coordinate begins and ends.

        (1 - cos π s)/2, whose density is that of Chebyshev points: what is fitted to them does not swing beyond the
        last of them (Runge's phenomenon). Coordinates that are periodic, or bounded by a shape, stay as they are.
        """
        shaped = () if self.problem.domain is None else self.problem.domain.axes
        moved = unit.copy()
        for axis, coordinate in enumerate(self.problem.coordinates):
            if not coordinate.periodic and axis not in shaped:
                moved[:, axis] = (1 - np.cos(np.pi * unit[:, axis])) / 2
        return moved

    def sobol(self, count: int, seed: int) -> Points:
        """Return so many Sobol points of the place; fewer, or none, if next to nothing of it is there.

        Args:
            count: of the points, a power of two.
            seed: of the scrambling.
        """
        if not self.dimension:
            return self.points(np.empty((1, 0)))
        engine = qmc.Sobol(self.dimension, seed=seed)
        found = self.points(engine.random(count))
        for _ in range(_MOST_DRAWS if len(found) else 4):
            if len(found) >= count:
                break
            found = np.concatenate([found, self.points(engine.random(count))])
        return found[:count]

    def _in_box(self, unit: Points, axes: NDArray[np.intp]) -> Points:
        lower, upper = self.problem.box
        points = np.empty((len(unit), len(lower)))
        points[:, axes] = lower[axes] + (upper - lower)[axes] * unit
        return points

    def _on_face(self, unit: Points) -> Points:
        assert self.condition is not None
        face, (lower, upper) = self.condition.face, self.problem.box
        points = self._in_box(unit, np.array([a for a in range(len(lower)) if a != face.axis], dtype=np.intp))
        points[:, face.axis] = (lower if face.side == "lower" else upper)[face.axis]
        return points[self.problem.contains(points)]

    def _on_part(self, unit: Points, part: Part) -> Points:
        axes = list(part.domain.axes)
        others = np.array([a for a in range(len(self.problem.coordinates)) if a not in axes], dtype=np.intp)
        points = self._in_box(unit[:, part.dimension :], others)
        points[:, axes] = part.placed(unit[:, : part.dimension])
        return points[np.isfinite(points).all(1)]
