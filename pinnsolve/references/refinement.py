"""Refinement until two resolutions agree; their difference is the reference's own error."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from pinnsolve.problems import Problem
from pinnsolve.references.reference import Chart, ReferenceSolution, check_points, relative_differences, unknown


@dataclass(frozen=True)
class Attempt:
    """One resolution: its solution (None where the computation broke down) and what it took."""

    chart: Chart | None
    seconds: float


def refined(
    problem: Problem,
    solver: str,
    attempts: Iterable[Attempt],
    tolerance: float,
    budget: float,
    settled: float = math.inf,
) -> ReferenceSolution:
    """Return the finest solution, with the difference from the one before as its error.

    Stops when the two agree to the tolerance, when they no longer come closer, or when the budget is
    used. A single finished attempt has the error NaN, none at all the field values NaN.

    Args:
        attempts: solutions of rising resolution, computed as they are drawn.
        tolerance: relative L2 difference on `check_points` that is enough.
        budget: seconds of processor time, lest other programs spoil a reference; none is begun once they are used.
        settled: difference below which one that no longer falls is rounding; above it the resolution is too low
            to tell anything.
    """
    started, began = time.perf_counter(), time.process_time()
    points = check_points(problem)
    best: Chart | None = None
    values, errors = None, dict.fromkeys(problem.field_names, math.nan)
    for attempt in attempts:
        if attempt.chart is not None:
            fine = attempt.chart(points)
            difference = dict.fromkeys(fine, math.nan) if values is None else relative_differences(fine, values)
            if 0.5 * largest(errors) < largest(difference) < settled:
                break  # roundoff: finer is no better
            best, values, errors = attempt.chart, fine, difference
        if largest(errors) <= tolerance or time.process_time() - began > budget:
            break
    seconds = time.perf_counter() - started
    return ReferenceSolution(solver, errors, seconds, best or unknown(problem))


def largest(errors: Mapping[str, float]) -> float:
    """Return the largest of the errors, NaN if one of them is."""
    return float(np.max(list(errors.values())))
