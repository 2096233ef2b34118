"""Error over time and over residual evaluations: what a user who stops a run at any moment would hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = tuple(10.0**-digits for digits in range(1, 13))
SAMPLES = 60  # of a curve with bands


@dataclass(frozen=True)
class ErrorCurve:
    """The error at some moments of a run, constant between them; infinite before the first one.

    Attributes:
        moments: seconds or residual evaluations, ascending.
        errors: relative L2 errors of the network that the run would return if it ended then.
    """

    moments: NDArray[np.float64]
    errors: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.moments.shape != self.errors.shape or np.any(np.diff(self.moments) < 0):
            raise ValueError(f"a curve needs ascending moments, as many as errors; got {len(self.moments)}")

    def at(self, moments: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the error at each moment."""
        index = np.searchsorted(self.moments, moments, side="right") - 1
        return np.where(index >= 0, np.append(self.errors, math.inf)[index], math.inf)

    def first(self, level: float) -> float:
        """Return when the error was at or below the level for the first time; infinity if it never was."""
        met = np.flatnonzero(self.errors <= level)
        return float(self.moments[met[0]]) if len(met) else math.inf


def error_curve(history: Mapping[str, NDArray[Any]], over: str = "seconds") -> ErrorCurve:
    """Return the curve of a run from its history, over "seconds" or "evaluations".

    A run returns the network whose held-out residual is least, hence so does a run that is stopped; rows without
    a held-out residual count as better than all before. A run in windows of time has no solution of the whole
    problem before its last window.
    """
    if over not in history or "error" not in history:
        return ErrorCurve(np.empty(0), np.empty(0))
    windows = history.get("window", np.ones(len(history["error"])))
    whole = windows == (windows[-1] if len(windows) else 1)
    held_out = history.get("held_out", np.full(len(windows), np.nan))[whole]
    moments, errors = history[over][whole], history["error"][whole]
    least = math.inf
    kept: list[int] = []
    for index, value in enumerate(held_out):
        is_better = not value >= least
        kept.append(index if is_better or not kept else kept[-1])
        least = float(value) if is_better and not math.isnan(value) else least
    best = errors[kept] if kept else np.empty(0)
    known = np.isfinite(best) & np.isfinite(moments)
    return ErrorCurve(moments[known], best[known])


def band(curves: Sequence[ErrorCurve]) -> dict[str, list[float | None]]:
    """Return the median of several curves and the band from the least to the greatest, on shared moments.

    Moments are spaced evenly in their logarithm from the first one at which any curve has an error to the last.
    None stands where the median is infinite: half of the runs have no error there.
    """
    filled = [curve for curve in curves if len(curve.moments)]
    if not filled:
        return {"moments": [], "median": [], "low": [], "high": []}
    start = max(min(float(curve.moments[0]) for curve in filled), 1e-9)
    end = max(max(float(curve.moments[-1]) for curve in filled), start)
    moments = np.geomspace(start, end, SAMPLES) if end > start else np.array([start])
    moments[0], moments[-1] = start, end
    values = np.sort([curve.at(moments) for curve in curves], axis=0)
    middle = (len(curves) - 1) // 2, len(curves) // 2
    with np.errstate(invalid="ignore"):
        median = (values[middle[0]] + values[middle[1]]) / 2
    columns = {"moments": moments, "median": median, "low": values[0], "high": values[-1]}
    return {name: [_finite(value) for value in column] for name, column in columns.items()}


def _finite(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
