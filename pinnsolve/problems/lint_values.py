"""Whether coefficients and data are finite numbers wherever they are asked for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import sympy

from pinnsolve.problems.finding import Finding, keyed_residuals
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.problems.places import Place
from pinnsolve.problems.problem import Condition, Problem, Residual

_POINTS = 2**10
_REMEDY = "change the expression, or the domain"


def value_findings(problem: Problem) -> list[Finding]:
    """Return the coefficients, sources and data that have no finite value somewhere, such as log(x) left of 0.

    What depends on the fields cannot be known beforehand. Points are interior ones for equations, so that
    1/x on [0, 1] passes, and those of the condition's place for conditions.
    """
    return [
        finding
        for key, residual, condition in keyed_residuals(problem)
        if (finding := _finding(problem, key, residual, condition)) is not None
    ]


def _finding(problem: Problem, key: str, residual: Residual, condition: Condition | None) -> Finding | None:
    unknowns = set(residual.placeholders.values())
    parts = list(dict.fromkeys(_known_parts(residual.placed, unknowns)))
    points = Place(problem, condition).sobol(_POINTS, seed=7)
    with np.errstate(all="ignore"):
        values = Formula(parts, problem.symbols)(numpy_functions(), list(points.T))
    for part, value in zip(parts, values, strict=True):
        bad = ~np.isfinite(np.broadcast_to(np.asarray(value, dtype=float), len(points)))
        if bad.any():
            first = points[int(np.argmax(bad))]
            place = ", ".join(f"{name} = {x:.3g}" for name, x in zip(problem.coordinate_names, first, strict=True))
            message = f"{part} is no finite number at {place}, nor at {bad.mean():.0%} of the points"
            return Finding("error", key, message, _REMEDY)
    return None


def _known_parts(expression: sympy.Expr, unknowns: set[sympy.Symbol]) -> Iterator[sympy.Expr]:
    """Yield the largest parts of an expression that hold coordinates but no field."""
    if not expression.free_symbols & unknowns:
        if expression.free_symbols:
            yield expression
        return
    for part in expression.args:
        yield from _known_parts(part, unknowns)
