r"""A scalar second-order equation as finite elements need it, read from its residual.

The residual a_ij(x) ∂_ij u + F(x, u, ∇u), tested with v and integrated by parts, is

    r(u; v) = ∫ -a∇u·∇v - (div a)·∇u v + F v dx + ∮ (a n·∇u) v ds,

and a condition c·∇u + b(x, u) = 0 with c = κ a n gives the flux a n·∇u = -b/κ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy
from numpy.typing import NDArray

from pinnsolve.problems import Condition, Partial, Problem, Residual
from pinnsolve.problems.formulas import Formula, numpy_functions

Array = NDArray[np.float64]
U, UX, UY = (0, 0), (1, 0), (0, 1)
SECOND = ((2, 0), (1, 1), (0, 2))


@dataclass(frozen=True)
class _Expressions:
    """Expressions in x, y, u, u_x, u_y, evaluated together."""

    expressions: tuple[sympy.Expr, ...]
    symbols: tuple[sympy.Symbol, ...]

    def __call__(self, points: Array, u: Array, slope: Array) -> list[Array]:
        """Return each value, of the shape of u.

        Args:
            points: (2, ...).
            u: (...).
            slope: (2, ...).
        """
        values = self._formula(numpy_functions(), [*points, u, *slope])
        return [np.broadcast_to(np.asarray(value, dtype=float), u.shape) for value in values]

    @cached_property
    def _formula(self) -> Formula:
        return Formula(self.expressions, self.symbols)


@dataclass(frozen=True)
class BoundaryTerm:
    """A condition: a value u = data, or c·∇u + b = 0.

    Attributes:
        value: the data's expression for a condition on the value; None for one on the flux.
        terms: c_x, c_y, b, ∂b/∂u.
    """

    value: _Expressions | None
    terms: _Expressions


@dataclass(frozen=True)
class WeakForm:
    """The terms of an equation.

    Attributes:
        second: a_xx, a_xy (half of the coefficient of u_xy), a_yy, then (div a)_x, (div a)_y.
        lower: F, ∂F/∂u, ∂F/∂u_x, ∂F/∂u_y.
        conditions: in the order of the problem's.
    """

    second: _Expressions
    lower: _Expressions
    conditions: tuple[BoundaryTerm, ...]
    is_linear: bool


def weak_form(problem: Problem) -> WeakForm | None:
    """Return the weak form of a problem that is steady, plane, scalar and linear in second derivatives, else None."""
    domain = problem.domain
    if domain is None or len(problem.coordinates) != 2 or problem.time_axis is not None or len(problem.fields) != 1:
        return None
    if len(problem.equations) != 1 or problem.order != 2 or not problem.conditions:
        return None
    read = _terms(problem.equations[0], problem)
    conditions = [_boundary_term(condition, problem) for condition in problem.conditions]
    if read is None or any(condition is None for condition in conditions):
        return None
    (axx, axy, ayy), rest, symbols = read
    x, y, u, ux, uy = symbols
    divergence = (sympy.diff(axx, x) + sympy.diff(axy, y), sympy.diff(axy, x) + sympy.diff(ayy, y))
    lower = (rest, sympy.diff(rest, u), sympy.diff(rest, ux), sympy.diff(rest, uy))
    return WeakForm(
        _Expressions((axx, axy, ayy, *divergence), symbols),
        _Expressions(lower, symbols),
        tuple(condition for condition in conditions if condition is not None),
        problem.is_linear and all(condition.residual.is_linear for condition in problem.conditions),
    )


Read = tuple[Sequence[sympy.Expr], sympy.Expr, tuple[sympy.Symbol, ...]]


def _terms(residual: Residual, problem: Problem) -> Read | None:
    """Return the coefficients of second derivatives (that of u_xy halved), the rest, and the symbols."""
    name = problem.field_names[0]
    if any(partial.order > 2 for partial in residual.partials):
        return None
    first = [residual.placeholders.get(Partial(name, orders), sympy.Symbol(f"_{orders}")) for orders in (U, UX, UY)]
    second = [residual.placeholders.get(Partial(name, orders), sympy.Symbol(f"_{orders}")) for orders in SECOND]
    coefficients = [sympy.diff(residual.placed, symbol) for symbol in second]
    if any(coefficient.has(*first, *second) for coefficient in coefficients):
        return None
    rest = residual.placed.subs(dict.fromkeys(second, 0))
    coefficients[1] = coefficients[1] / 2
    return coefficients, rest, (*problem.symbols, *first)


def _boundary_term(condition: Condition, problem: Problem) -> BoundaryTerm | None:
    read = _terms(condition.residual, problem)
    if read is None or any(coefficient != 0 for coefficient in read[0]):
        return None
    _, whole, symbols = read
    u, ux, uy = symbols[2:]
    slopes = [sympy.diff(whole, symbol) for symbol in (ux, uy)]
    if any(slope.has(u, ux, uy) for slope in slopes):
        return None
    rest = whole.subs({ux: 0, uy: 0})
    terms = _Expressions((*slopes, rest, sympy.diff(rest, u)), symbols)
    if any(slope != 0 for slope in slopes):
        return BoundaryTerm(None, terms)
    factor = sympy.diff(rest, u)
    if factor == 0 or factor.has(u):
        return None
    return BoundaryTerm(_Expressions((-rest.subs(u, 0) / factor,), symbols), terms)
