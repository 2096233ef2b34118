"""Where a solution is evaluated: tensor grids up to two dimensions, quasi-random points beyond."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from pinnsolve.problems import Problem

_EVALUATION_SEED = 20_011  # apart from every training seed


@dataclass(frozen=True)
class EvaluationPoints:
    """Points (N, d) and, where they form a tensor grid, its axes.

    Attributes:
        points: (N, d); on a grid in 'ij' order, the last coordinate fastest.
        axes: one 1-D array per coordinate, or empty for scattered points.
    """

    points: NDArray[np.float64]
    axes: tuple[NDArray[np.float64], ...] = ()

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
    return EvaluationPoints(np.column_stack([part.ravel() for part in mesh]), axes)


def scattered_points(problem: Problem, count: int, seed: int = _EVALUATION_SEED) -> NDArray[np.float64]:
    """Return Sobol points (count, d) of the box, count a power of two."""
    lower, upper = problem.box
    unit = qmc.Sobol(len(lower), seed=seed).random_base2(int(np.log2(count)))
    return lower + (upper - lower) * unit


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
