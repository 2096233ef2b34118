"""Whether quantities that the problem conserves stay what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from pinnsolve.derivatives import Differentiator
from pinnsolve.evaluation.accuracy import residual_values
from pinnsolve.problems import Problem
from pinnsolve.problems.problem import Invariant

Array = NDArray[np.float64]

_NODES = 8  # of Gauss-Legendre quadrature, on each panel
_PANELS = {0: (1,), 1: (16, 32, 64, 128, 256, 512), 2: (2, 4, 8, 16), 3: (1, 2, 4)}
_TIMES = {0: 401, 1: 21, 2: 11, 3: 6}
_AGREEMENT = 1e-9
DRIFT = 1e-2  # relative, from which a quantity is called not conserved


@dataclass(frozen=True)
class Drift:
    """How an invariant moves.

    Attributes:
        text: as the problem file writes it.
        start: its value at the first time.
        largest: the largest |I(t) - I(start)|.
        relative: that over the largest ∫|density|, which is not zero where positive and negative parts cancel.
        quadrature_error: the change by the last doubling of the panels, over the same.
    """

    text: str
    start: float
    largest: float
    relative: float
    quadrature_error: float

    def sentence(self, name: str) -> str:
        """Return the finding in words."""
        moved = f"{name} = {self.text} starts at {self.start:.6g} and moves by {self.relative:.1e} of its size"
        return f"{moved}: it is not conserved." if self.relative > DRIFT else f"{moved}."

    @property
    def record(self) -> dict[str, Any]:
        """The drift as it stands in metrics.json."""
        return asdict(self)


def measure_invariants(problem: Problem, ansatz: nn.Module, differentiator: Differentiator) -> dict[str, Drift]:
    """Return the drift of every invariant that the problem file names."""
    return {each.name: _drift(problem, each, ansatz, differentiator) for each in problem.invariants}


def _drift(problem: Problem, invariant: Invariant, ansatz: nn.Module, differentiator: Differentiator) -> Drift:
    assert problem.time_axis is not None
    dimension = len(problem.coordinates) - 1
    clock = problem.coordinates[problem.time_axis]
    times = np.linspace(clock.lower, clock.upper, _TIMES[dimension])
    last: Array | None = None
    change = np.inf
    for panels in _PANELS[dimension]:
        points, weights = _quadrature(problem, times, panels)
        (density,) = residual_values([invariant.density], ansatz, differentiator, points).values()
        values = density.reshape(len(times), -1) @ weights
        size = float(np.max(np.abs(density.reshape(len(times), -1)) @ weights)) or 1.0
        change = 0.0 if dimension == 0 else np.inf if last is None else float(np.max(np.abs(values - last))) / size
        last = values
        if change <= _AGREEMENT:
            break
    assert last is not None
    moved = float(np.max(np.abs(last - last[0])))
    return Drift(invariant.text, float(last[0]), moved, moved / size, change)


def _quadrature(problem: Problem, times: Array, panels: int) -> tuple[Array, Array]:
    """Return points (times · M, d), time slowest, and the weights (M,) of the space coordinates."""
    assert problem.time_axis is not None
    space = problem.space_axes
    rules = [_panels(problem.coordinates[axis].lower, problem.coordinates[axis].upper, panels) for axis in space]
    mesh = np.meshgrid(times, *(nodes for nodes, _ in rules), indexing="ij")
    points = np.empty((mesh[0].size, len(problem.coordinates)))
    for axis, part in zip([problem.time_axis, *space], mesh, strict=True):
        points[:, axis] = part.ravel()
    return points, _products([weights for _, weights in rules])


def _panels(lower: float, upper: float, count: int) -> tuple[Array, Array]:
    """Return nodes and weights of Gauss-Legendre quadrature on equal panels."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    width = (upper - lower) / count
    starts = lower + width * np.arange(count)
    return (starts[:, None] + width * (nodes + 1) / 2).ravel(), np.tile(weights * width / 2, count)


def _products(weights: Sequence[Array]) -> Array:
    result = np.ones(1)
    for each in weights:
        result = np.outer(result, each).ravel()
    return result
