"""Poles of coefficients, sources and data in the midst of the domain, where no sample point need lie."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import sympy
from numpy.typing import NDArray
from scipy.optimize import minimize

from pinnsolve.problems.finding import Finding, keyed_residuals
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.problems.places import Place
from pinnsolve.problems.problem import Condition, Problem, Residual

_POINTS = 2**10
_BISECTIONS = 60  # to the last digit of a double
_NEAR, _NEARER, _GROWTH = 1e-3, 1e-6, 10.0
_STARTS, _ROUNDING = 4, 1e-14  # of searches for a place where a denominator touches zero; what is zero there
_REMEDY = "nothing, if the solution is smooth there; otherwise change the expression, or solve on both sides"


def pole_findings(problem: Problem) -> list[Finding]:
    """Return what has a pole inside the domain, such as 1/(x - 0.3) on [0, 1].

    A denominator that has both signs at sample points vanishes between them; one that has a single sign may touch zero
    where it is least, as 1 - cos(x) does. The expression has a pole there if it grows as the place is approached along
    a coordinate, |f(x₀ ± 1e-6 L)| > 10 |f(x₀ ± 1e-3 L)|, which sin(x)/x does not.
    """
    return [finding for entry in keyed_residuals(problem) for finding in _findings(problem, *entry)]


def pole_notes(problem: Problem) -> list[str]:
    """Return the poles in words, for whoever solves the problem."""
    return [f"{finding.key}: {finding.message}" for finding in pole_findings(problem)]


def _findings(problem: Problem, key: str, residual: Residual, condition: Condition | None) -> Iterator[Finding]:
    points = Place(problem, condition).sobol(_POINTS, seed=7)
    for part in dict.fromkeys(_coefficients(residual.placed, set(residual.placeholders.values()))):
        for denominator in dict.fromkeys(_denominators(part)):
            pole = _pole(problem, part, denominator, points)
            if pole is not None:
                place = ", ".join(f"{name} = {x:.4g}" for name, x in zip(problem.coordinate_names, pole, strict=True))
                yield Finding("warning", key, f"{part} has a pole inside the domain, at {place}", _REMEDY)
                break


def _coefficients(expression: sympy.Expr, unknowns: set[sympy.Symbol]) -> Iterator[sympy.Expr]:
    """Yield the largest parts of an expression that hold no field; factors of a product together, as in u*sin(x)/x."""
    if not expression.free_symbols & unknowns:
        yield expression
        return
    known = [part for part in expression.args if not part.free_symbols & unknowns] if expression.is_Mul else []
    if known:
        yield sympy.Mul(*known)
    for part in expression.args:
        if part not in known:
            yield from _coefficients(part, unknowns)


def _denominators(part: sympy.Expr) -> Iterator[sympy.Expr]:
    written_out = part.replace(sympy.tan, lambda z: sympy.sin(z) / sympy.cos(z))
    for node in sympy.preorder_traversal(written_out):
        if node.is_Pow and node.exp.is_number and node.exp.is_negative and node.base.free_symbols:
            yield node.base.args[0] if isinstance(node.base, sympy.Abs) else node.base


def _pole(
    problem: Problem, part: sympy.Expr, denominator: sympy.Expr, points: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return a point (d,) of the domain at which the denominator vanishes and the part has a pole, None if none is."""
    if not len(points):
        return None
    values = _values(problem, denominator, points)
    crosses = values.min() < 0 < values.max()
    found = [_crossing(problem, denominator, points, values)] if crosses else _touching(problem, denominator, points)
    axes = np.diag(problem.box[1] - problem.box[0])
    for root in found:
        if problem.contains(root[None])[0] and any(_grows(problem, part, root, direction) for direction in axes):
            return root
    return None


def _grows(problem: Problem, part: sympy.Expr, root: NDArray[np.float64], direction: NDArray[np.float64]) -> bool:
    """Whether the part grows like a pole where a line in this direction comes close to the root."""
    around = np.array([-_NEARER, _NEARER, -_NEAR, _NEAR])[:, None] * direction
    values = np.abs(_values(problem, part, root + around))
    return bool(values[:2].max() > _GROWTH * values[2:].max())


def _crossing(
    problem: Problem, denominator: sympy.Expr, points: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return where the denominator vanishes (d,) between the points where it is smallest and largest, by bisection."""
    ends = points[[int(np.argmin(values)), int(np.argmax(values))]]
    direction, shares = ends[1] - ends[0], [0.0, 1.0]
    for _ in range(_BISECTIONS):
        middle = sum(shares) / 2
        positive = _values(problem, denominator, ends[:1] + middle * direction)[0] > 0
        shares[int(positive)] = middle
    root: NDArray[np.float64] = ends[0] + shares[1] * direction
    return root


def _touching(problem: Problem, denominator: sympy.Expr, points: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Yield places (d,) off the faces where a denominator of one sign touches zero, downhill from its least values."""
    lower, upper = problem.box

    def size(unit: NDArray[np.float64]) -> float:
        return float(np.abs(_values(problem, denominator, (lower + unit * (upper - lower))[None]))[0])

    sizes = np.abs(_values(problem, denominator, points))
    options = {"xatol": _ROUNDING, "fatol": 0.0, "maxiter": 200 * len(lower)}
    for start in (points[np.argsort(sizes)[:_STARTS]] - lower) / (upper - lower):
        found = minimize(size, start, method="Nelder-Mead", bounds=[(0.0, 1.0)] * len(lower), options=options)
        if found.fun <= _ROUNDING * np.median(sizes) and np.abs(found.x - 0.5).max() < 0.5 - _NEARER:
            yield lower + found.x * (upper - lower)


def _values(problem: Problem, expression: sympy.Expr, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values (N,) of an expression at points (N, d)."""
    with np.errstate(all="ignore"):
        (found,) = Formula([expression], problem.symbols)(numpy_functions(), list(points.T))
    return np.broadcast_to(np.asarray(found, dtype=float), len(points))
