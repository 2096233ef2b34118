"""Reference solutions: what a network's solution is measured against, with their own error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pinnsolve.problems import Problem
from pinnsolve.problems.places import Place

Points = NDArray[np.float64]
Values = dict[str, NDArray[np.float64]]
Evaluator = Callable[[Points], Values]


class Chart(Protocol):
    """A numerical solution: evaluates at points, and consists of nothing but arrays."""

    def __call__(self, points: Points) -> Values:
        """Return the fields (N,) at points (N, d)."""
        ...

    def arrays(self) -> dict[str, NDArray]:
        """Return everything the chart consists of."""
        ...


@dataclass(frozen=True)
class ReferenceSolution:
    """The truth as well as it is known.

    Attributes:
        solver: "exact", "file", or the name of one of `COMPUTED`.
        errors: the reference's own relative L2 error by field; NaN where it is not known.
        seconds: what the computation took, also when it came from the cache.
        evaluate: points (N, d) to the values (N,) of each field that is known.
    """

    solver: str
    errors: Mapping[str, float]
    seconds: float
    evaluate: Evaluator

    @property
    def field_names(self) -> tuple[str, ...]:
        """The fields that this reference knows."""
        return tuple(self.errors)

    def __call__(self, points: Points) -> Values:
        """Return the value (N,) of every known field at points of shape (N, d)."""
        points = np.asarray(points, dtype=np.float64)
        if points.ndim != 2:
            raise ValueError(f"points have the shape (N, d), got {points.shape}")
        return self.evaluate(points)


def check_points(problem: Problem) -> Points:
    """Return the points on which two resolutions are compared, shape (N, d).

    A uniform grid, 2,001 points for one coordinate, 201 x 101 for two, 31 x 31 x 21 for three, ends included; 2^14
    Sobol points of a domain that is no box.
    """
    if problem.domain is not None:
        return Place(problem).sobol(2**14, seed=0)
    counts = {1: (2001,), 2: (201, 101), 3: (31, 31, 21)}[len(problem.coordinates)]
    axes = [np.linspace(c.lower, c.upper, n) for c, n in zip(problem.coordinates, counts, strict=True)]
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)


def relative_differences(finer: Values, coarser: Values) -> dict[str, float]:
    """Return ‖fine - coarse‖₂ / ‖fine‖₂ by field (the absolute difference where a field is zero)."""
    return {name: relative_l2(coarser[name], values) for name, values in finer.items()}


def relative_l2(values: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Return ‖u - u*‖₂ / ‖u*‖₂; the absolute norm (root mean square) where u* is zero."""
    size = float(np.linalg.norm(truth))
    difference = float(np.linalg.norm(values - truth))
    return difference / size if size > 0 else difference / math.sqrt(len(truth))


def unknown(problem: Problem) -> Evaluator:
    """Return the evaluator of a reference that could not be computed: NaN everywhere."""

    def evaluate(points: Points) -> Values:
        return {name: np.full(len(points), np.nan) for name in problem.field_names}

    return evaluate
