"""References that the problem file gives as expressions, with their symbolic derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pinnsolve.problems import Partial, Problem
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.problems.problem import differentiated
from pinnsolve.references.reference import Points, ReferenceSolution, Values

_ROUNDOFF = float(np.finfo(np.float64).eps)


def applies(problem: Problem) -> bool:
    """Whether the problem file gives an expression for some field and no file of values."""
    return bool(problem.reference.exact) and problem.reference.file is None


def solve(problem: Problem) -> ReferenceSolution:
    """Return the exact solution; fields without an expression are absent."""
    expressions = dict(problem.reference.exact)
    formula = Formula(list(expressions.values()), problem.symbols)

    def evaluate(points: Points) -> Values:
        return dict(zip(expressions, _evaluated(formula, points), strict=True))

    return ReferenceSolution("exact", dict.fromkeys(expressions, _ROUNDOFF), 0.0, evaluate)


def exact_derivatives(
    problem: Problem, partials: Sequence[Partial], points: Points
) -> Mapping[Partial, NDArray[np.float64]]:
    """Return ∂^|α| u*/∂x^α at points (N, d), by symbolic differentiation of the exact solution.

    Partial derivatives of fields without an exact expression are absent. At a kink or a jump of the
    solution the value is that of a one-sided or averaged derivative.
    """
    known = [partial for partial in partials if partial.field in problem.reference.exact]
    exact, symbols = problem.reference.exact, problem.symbols
    formula = Formula([differentiated(exact[partial.field], partial, symbols) for partial in known], symbols)
    return dict(zip(known, _evaluated(formula, np.asarray(points, dtype=np.float64)), strict=True))


def _evaluated(formula: Formula, points: Points) -> list[NDArray[np.float64]]:
    with np.errstate(all="ignore"):  # a singular point of the solution is NaN, not a warning
        values = formula(numpy_functions(), list(points.T))
    return [np.array(np.broadcast_to(value, len(points)), dtype=np.float64) for value in values]
