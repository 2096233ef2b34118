"""Whether the terms of an equation are of comparable size, and the scaled form to write if they are not."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import sympy

from pinnsolve.problems.expansion import written_out
from pinnsolve.problems.finding import Finding
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.problems.partials import Partial
from pinnsolve.problems.places import Place
from pinnsolve.problems.problem import Coordinate, Problem, Residual

LARGEST_RATIO = 1e4
_LONG = 8  # characters of a fraction


def scale_findings(problem: Problem) -> list[Finding]:
    """Return the equations whose terms differ by more than 10⁴, with a non-dimensional form.

    The size of a term is estimated: fields as large as their data (1 where those say nothing), derivatives as
    fields over lengths of the coordinates, u_xx ~ U/L². Terms without a field are not looked at.
    """
    sizes = field_sizes(problem)
    return [finding for equation in problem.equations if (finding := _finding(problem, equation, sizes)) is not None]


def field_sizes(problem: Problem) -> dict[str, float]:
    """Return the largest size of each field that conditions or the exact solution tell, 1 where they tell none."""
    return {name: size or 1.0 for name, size in data_sizes(problem).items()}


def data_sizes(problem: Problem) -> dict[str, float]:
    """Return the largest size of each field that conditions or the exact solution tell, 0 where they tell none."""
    sizes: dict[str, float] = dict.fromkeys(problem.field_names, 0.0)
    inside = Place(problem).sobol(2**8, seed=7)
    for name, expression in problem.reference.exact.items():
        sizes[name] = _largest(expression, problem, inside)
    for condition in problem.conditions:
        residual = condition.residual
        if len(residual.partials) != 1 or residual.partials[0].order or not residual.is_linear:
            continue
        (partial,) = residual.partials
        unknown = residual.placeholders[partial]
        value = residual.placed.xreplace({unknown: sympy.S.Zero}) / sympy.diff(residual.placed, unknown)
        points = Place(problem, condition).sobol(2**8, seed=7)
        sizes[partial.field] = max(sizes[partial.field], _largest(value, problem, points))
    return sizes


def _largest(expression: sympy.Expr, problem: Problem, points: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        (found,) = Formula([expression], problem.symbols)(numpy_functions(), list(points.T))
    values = np.abs(np.broadcast_to(np.asarray(found, dtype=np.float64), len(points)))
    return float(np.max(values, initial=0.0, where=np.isfinite(values)))


def _finding(problem: Problem, equation: Residual, sizes: Mapping[str, float]) -> Finding | None:
    terms = {term: _size(problem, equation, term, sizes) for term in sympy.Add.make_args(written_out(equation.placed))}
    known = {term: size for term, size in terms.items() if term.has(*equation.placeholders.values()) and size > 0}
    if not known or max(known.values()) <= LARGEST_RATIO * min(known.values()):
        return None
    largest, smallest = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
    message = (
        f"the terms {_shown(smallest)} ~ {known[smallest]:.1e} and {_shown(largest)} ~ {known[largest]:.1e} differ by "
        f"{known[largest] / known[smallest]:.0e} (fields as large as their data, derivatives over the whole intervals)"
    )
    return Finding("warning", f"equations.{equation.name}", message, _proposal(problem, known, sizes))


def _proposal(problem: Problem, terms: Mapping[sympy.Expr, float], sizes: Mapping[str, float]) -> str:
    """Return the substitution that makes coordinates and fields of size 1, and the coefficients that are left."""
    lengths = [f"{x.name} = {_scaled(x)}" for x in problem.coordinates if (x.lower, x.length) != (0, 1)]
    units = [f"{name} = {size:.3g}*{name}'" for name, size in sizes.items() if f"{size:.3g}" != "1"]
    substitution = ", ".join([*lengths, *units])
    largest = max(terms.values())
    left = ", ".join(f"{size / largest:.1e} for {_shown(term)}" for term, size in terms.items())
    return (
        f"{f'write {substitution} and ' if substitution else ''}divide by {largest:.2g}: the coefficients are then "
        f"{left}; what stays small makes layers, which need points where they are"
    )


def _scaled(x: Coordinate) -> str:
    return f"{f'{x.lower:g} + ' if x.lower else ''}{x.length:g}*{x.name}'"


def _shown(term: sympy.Expr) -> str:
    """Return a term with its long fractions as decimal numbers."""
    long = {q: sympy.Float(q, 4) for q in term.atoms(sympy.Rational) if len(str(q)) > _LONG}
    return str(term.xreplace(long))


def _size(problem: Problem, equation: Residual, term: sympy.Expr, sizes: Mapping[str, float]) -> float:
    """Return the estimated size of a term: of its coefficient over the domain, times those of its derivatives."""
    derivatives = {
        symbol: _derivative_size(problem, partial, sizes) for partial, symbol in equation.placeholders.items()
    }
    points = Place(problem).sobol(2**8, seed=7)
    # at parts of the fields too: sin(u) is small at u = 2π, exp(-u) at every large u
    at_shares = [
        term.xreplace({symbol: sympy.Float(share * size) for symbol, size in derivatives.items()})
        for share in (1.0, 0.75, 0.5, 0.25)
    ]
    return max(_largest(expression, problem, points) for expression in at_shares)


def _derivative_size(problem: Problem, partial: Partial, sizes: Mapping[str, float]) -> float:
    """Return U / Π L^order."""
    lengths = [coordinate.length**order for coordinate, order in zip(problem.coordinates, partial.orders, strict=True)]
    return sizes[partial.field] / math.prod(lengths)
