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
    best_ratio: float | None = None,
) -> ReferenceSolution:
    """Return the finest solution, with the difference from the one before as its error.

    Where errors are known to fall geometrically, by a ratio q, the finest one's is what the later differences would
    add up to, q/(1 - q) of the last one; q is that of the last two, once there are two.

    Stops when the two agree to the tolerance, when they no longer come closer, or when the budget is
    used. A single finished attempt has the error NaN, none at all the field values NaN.

    Args:
        attempts: solutions of rising resolution, computed as they are drawn.
        tolerance: relative L2 difference on `check_points` that is enough.
        budget: seconds of processor time, lest other programs spoil a reference; none is begun once they are used.
        settled: difference below which one that no longer falls is rounding; above it the resolution is too low
            to tell anything.
        best_ratio: the least q to be believed; None where errors do not fall geometrically.
    """
    started, began = time.perf_counter(), time.process_time()
    points = check_points(problem)
    best: Chart | None = None
    values, errors, last = None, dict.fromkeys(problem.field_names, math.nan), math.nan
    for attempt in attempts:
        if attempt.chart is not None:
            fine = attempt.chart(points)
            difference = dict.fromkeys(fine, math.nan) if values is None else relative_differences(fine, values)
            if 0.5 * last < largest(difference) < settled:
                break  # roundoff: finer is no better
            share = 1.0 if best_ratio is None else _rest(largest(difference), last, best_ratio)
            errors = {name: share * each for name, each in difference.items()}
            best, values, last = attempt.chart, fine, largest(difference)
        if largest(errors) <= tolerance or time.process_time() - began > budget:
            break
    seconds = time.perf_counter() - started
    return ReferenceSolution(solver, errors, seconds, best or unknown(problem))


def _rest(difference: float, last: float, best_ratio: float) -> float:
    """Return q/(1 - q) = Σ_{k>0} q^k for the ratio q of two differences; 1 where it is not known or above a half."""
    if not difference < 0.5 * last:
        return 1.0
    ratio = max(best_ratio, difference / last)
    return ratio / (1 - ratio)


def largest(errors: Mapping[str, float]) -> float:
    """Return the largest of the errors, NaN if one of them is."""
    return float(np.max(list(errors.values())))
