"""Where a solution is evaluated: tensor grids up to two dimensions, quasi-random points beyond."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pinnsolve.problems import Problem
from pinnsolve.problems.places import Place

_EVALUATION_SEED = 20_011  # apart from every training seed


@dataclass(frozen=True)
class EvaluationPoints:
    """Points (N, d) and, where they form a tensor grid, its axes.

    Attributes:
        points: (N, d); on a grid in 'ij' order, the last coordinate fastest.
        axes: one 1-D array per coordinate, or empty for scattered points.
        mask: which points of a grid lie in the domain, (N,); None if all do.
    """

    points: NDArray[np.float64]
    axes: tuple[NDArray[np.float64], ...] = ()
    mask: NDArray[np.bool_] | None = None

    @cached_property
    def inside(self) -> NDArray[np.float64]:
        """The points in the domain, (M, d)."""
        return self.points if self.mask is None else self.points[self.mask]

    def spread(self, values: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
        """Return values (M,) inside as values (N,) on all points, NaN outside the domain."""
        if self.mask is None:
            return dict(values)
        everywhere = {name: np.full(len(self.points), np.nan) for name in values}
        for name, value in values.items():
            everywhere[name][self.mask] = value
        return everywhere

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in which values on these points are stored."""
        return tuple(len(axis) for axis in self.axes) or (len(self.points),)


def evaluation_points(problem: Problem) -> EvaluationPoints:
    """Return the points on which accuracy is measured.

    2,001 points in one dimension, 201 × 501 with time, 321 × 321 without, 2^17 Sobol points beyond.
    """
    lower, upper = problem.box
    counts = _grid_counts(problem)
    if not counts:
        return EvaluationPoints(scattered_points(problem, 2**17))
    axes = tuple(np.linspace(a, b, n) for a, b, n in zip(lower, upper, counts, strict=True))
    mesh = np.meshgrid(*axes, indexing="ij")
    points = np.column_stack([part.ravel() for part in mesh])
    return EvaluationPoints(points, axes, None if problem.domain is None else problem.contains(points))


def scattered_points(problem: Problem, count: int, seed: int = _EVALUATION_SEED) -> NDArray[np.float64]:
    """Return Sobol points (count, d) of the domain, count a power of two."""
    return Place(problem).sobol(count, seed)


def batches(points: NDArray[np.float64], size: int) -> Iterator[NDArray[np.float64]]:
    """Yield consecutive parts of the points, so that memory stays bounded."""
    for start in range(0, len(points), size):
        yield points[start : start + size]


def _grid_counts(problem: Problem) -> tuple[int, ...]:
    dimension = len(problem.coordinates)
    if dimension == 1:
        return (2001,)
    if dimension == 2 and problem.time_axis is None:
        return (321, 321)
    if dimension == 2:
        return (201, 501) if problem.time_axis == 1 else (501, 201)
    return ()
