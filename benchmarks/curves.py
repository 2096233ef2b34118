"""Error over time: what a user who stops a run at any moment would hold."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LEVELS = tuple(f"1e-{digits}" for digits in range(2, 9))


@dataclass(frozen=True)
class ErrorCurve:
    """The relative L2 error at some moments of a run.

    Attributes:
        seconds: of training, ascending.
        errors: of the network that the run would return if it ended then.
        evaluations: residuals evaluated at points so far; NaN where that is not known.
    """

    seconds: tuple[float, ...] = ()
    errors: tuple[float, ...] = ()
    evaluations: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        lengths = len(self.seconds), len(self.errors), len(self.evaluations)
        if len(set(lengths)) > 1:
            raise ValueError(f"a curve needs as many seconds as errors and evaluations, got {lengths}")
        if list(self.seconds) != sorted(self.seconds):
            raise ValueError("the seconds of a curve must ascend")

    def seconds_to(self, level: float) -> float | None:
        """Return when the error was at or below the level for the first time; None if it never was."""
        return next((second for second, error in zip(self.seconds, self.errors, strict=True) if error <= level), None)

    def record(self) -> dict[str, Any]:
        """Return the seconds to each level, and the curve with 4 digits, without moments that repeat the last error."""
        kept = [i for i in range(len(self.errors)) if self._is_new(i)]
        curve = {
            "seconds": [_rounded(self.seconds[i]) for i in kept],
            "error": [_rounded(self.errors[i]) for i in kept],
            "evaluations": [_rounded(self.evaluations[i], 10) for i in kept],
        }
        return {"seconds_to": {level: _rounded(self.seconds_to(float(level))) for level in LEVELS}, "curve": curve}

    def _is_new(self, index: int) -> bool:
        return index in (0, len(self.errors) - 1) or self.errors[index] != self.errors[index - 1]


def curve_of_history(path: Path) -> ErrorCurve:
    """Return the curve of a run from its history.csv: at each moment the network of least held-out residual.

    A run tries networks that it does not keep; it returns the one whose held-out residual is least, hence so does
    a run that is stopped. Rows without a held-out residual count as better than all before. A run in windows of
    time has no solution of the whole problem before its last window.
    """
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    last = max((_number(row, "window", 1.0) for row in rows), default=1.0)
    whole = [row for row in rows if _number(row, "window", 1.0) == last]
    return _of_best(whole)


def _of_best(rows: Iterable[dict[str, str]]) -> ErrorCurve:
    least, error, samples = math.inf, math.nan, []
    for row in rows:
        held_out = _number(row, "held_out")
        if not held_out >= least:
            error, least = _number(row, "error"), least if math.isnan(held_out) else held_out
        if math.isfinite(error):
            samples.append((_number(row, "seconds"), error, _number(row, "evaluations")))
    return ErrorCurve(*map(tuple, zip(*samples, strict=True))) if samples else ErrorCurve()


def _number(row: dict[str, str], name: str, missing: float = math.nan) -> float:
    return float(row.get(name) or missing)


def _rounded(value: float | None, digits: int = 4) -> float | None:
    """Return the value with so many significant digits; None for what is no number."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}")
