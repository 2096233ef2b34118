"""Where finite differences err, and where the kinks of the activation lie: arrays for figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pinnsolve.audit.baseline import Model, array
from pinnsolve.audit.curve import VCurve
from pinnsolve.audit.kinks import recorded_signs
from pinnsolve.problems import Partial, Problem

SCHEME = "central2"  # the stencil that users know
COARSE = 0.01  # of a coordinate's unit: a step that users choose, large enough for kinks and truncation to show
_GRID = 257
_ROWS = 8  # of the grid at once: signs of all units are held


def maps(
    problem: Problem, models: Sequence[Model], curves: Sequence[VCurve], names: Mapping[Partial, str]
) -> dict[str, NDArray[Any]]:
    """Return arrays by name.

    points (N, d): where derivatives were audited. For every derivative in float64, by central2 at its best step:
    error_NAME (N,), D_FD f - D_AD f; kinked_NAME (N,), whether the stencil lies across a kink; value_NAME (N,), D_AD f;
    network_NAME (N,), D_AD f - D u*. Likewise coarse_error_NAME and coarse_kinked_NAME at a step coarse_step_NAME ().
    In one and two dimensions, for activations with kinks: kinks, true at the nodes of a regular grid of the box
    that lie in the domain and next to which a pre-activation changes its sign.
    """
    found: dict[str, NDArray[Any]] = {"points": np.concatenate([array(model.sample.points) for model in models])}
    for curve in curves:
        if curve.scheme == SCHEME and curve.dtype == "float64":
            name, baseline = names[curve.baseline.partial], curve.baseline
            found[f"error_{name}"] = curve.differences[curve.best]
            found[f"kinked_{name}"] = curve.kinked[curve.best]
            coarse = int(np.abs(np.log(curve.relative_steps / COARSE)).argmin())
            found[f"coarse_error_{name}"] = curve.differences[coarse]
            found[f"coarse_kinked_{name}"] = curve.kinked[coarse]
            found[f"coarse_step_{name}"] = np.array(curve.steps[coarse])
            found[f"value_{name}"] = baseline.values
            if baseline.exact is not None:
                found[f"network_{name}"] = baseline.values - baseline.exact
    return found | _kinks(problem, models)


def _kinks(problem: Problem, models: Sequence[Model]) -> dict[str, NDArray[Any]]:
    sample = models[0].sample
    if len(models) > 1 or len(sample.lower) > 2:
        return {}
    axes = [
        torch.linspace(low, high, _GRID, dtype=torch.float64)
        for low, high in zip(sample.lower, sample.upper, strict=True)
    ]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).to(sample.points.device)
    changes = kink_grid(models[0].fields64, grid)
    if changes is None:
        return {}
    inside = problem.contains(array(grid).reshape(-1, len(axes))).reshape(changes.shape)
    return {"kinks": changes.cpu().numpy() & inside}


@torch.no_grad()
def kink_grid(fields: nn.Module, grid: Tensor) -> Tensor | None:
    """Return at which nodes of a grid (n, d) or (n, m, d) a pre-activation differs in sign from the next node.

    None if no activation has kinks.
    """
    result = torch.zeros(grid.shape[:-1], dtype=torch.bool, device=grid.device)
    for first in range(0, len(grid), _ROWS):
        rows = grid[first : first + _ROWS + 1]  # one more: the neighbours of the last row
        with recorded_signs(fields) as signs:
            fields(rows)
        if not signs:
            return None
        for positive in signs:
            for axis in range(rows.ndim - 1):
                changed = (
                    positive.narrow(axis, 0, rows.shape[axis] - 1) ^ positive.narrow(axis, 1, rows.shape[axis] - 1)
                ).any(-1)
                place = result[first : first + _ROWS + 1]
                place.narrow(axis, 0, rows.shape[axis] - 1).logical_or_(changed)
    return result
