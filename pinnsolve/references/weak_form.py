r"""A scalar second-order equation as finite elements need it, read from its residual.

The residual a_ij(x) ∂_ij u + F(x, u, ∇u), without u_t where there is time (divided by its factor, so that the equation
is u_t + residual = 0), tested with v and integrated by parts, is

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
from pinnsolve.problems.geometry.domain import Part

Array = NDArray[np.float64]
U, UX, UY = (0, 0), (1, 0), (0, 1)
SECOND = ((2, 0), (1, 1), (0, 2))


@dataclass(frozen=True)
class _Expressions:
    """Expressions in the coordinates, u, u_x, u_y, evaluated together."""

    expressions: tuple[sympy.Expr, ...]
    symbols: tuple[sympy.Symbol, ...]

    def __call__(self, points: Array, u: Array, slope: Array) -> list[Array]:
        """Return each value, of the shape of u.

        Args:
            points: (coordinates, ...), in the problem's order.
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
        condition: as the problem has it.
        value: the data's expression for a condition on the value; None for one on the flux.
        terms: c_x, c_y, b, ∂b/∂u.
    """

    condition: Condition
    value: _Expressions | None
    terms: _Expressions


@dataclass(frozen=True)
class WeakForm:
    """The terms of an equation.

    Attributes:
        second: a_xx, a_xy (half of the coefficient of u_xy), a_yy, then (div a)_x, (div a)_y.
        lower: F, ∂F/∂u, ∂F/∂u_x, ∂F/∂u_y.
        conditions: on the boundary, in the order of the problem's.
        initial: u at the start; None for a steady problem.
        is_linear: whether r is affine in u.
        is_constant: whether it is, and its derivative by u does not change in time either.
    """

    second: _Expressions
    lower: _Expressions
    conditions: tuple[BoundaryTerm, ...]
    initial: _Expressions | None
    is_linear: bool
    is_constant: bool


def weak_form(problem: Problem) -> WeakForm | None:
    """Return the weak form of a plane, scalar problem that is linear in second derivatives and in u_t, else None."""
    domain = problem.domain
    if domain is None or len(domain.axes) != 2 or len(problem.fields) != 1 or len(problem.equations) != 1:
        return None
    boundary = [condition for condition in problem.conditions if isinstance(condition.face, Part)]
    start = [condition for condition in problem.conditions if not isinstance(condition.face, Part)]
    if problem.order != 2 or not boundary or len(start) != int(problem.time_axis is not None):
        return None
    names = _Names(problem)
    read = names.equation(problem.equations[0])
    terms = [names.boundary(condition) for condition in boundary]
    initial = names.initial(start[0]) if start else None
    if read is None or any(term is None for term in terms) or (start and initial is None):
        return None
    (axx, axy, ayy), rest = read
    x, y, u, ux, uy = names.x, names.y, *names.first
    divergence = (sympy.diff(axx, x) + sympy.diff(axy, y), sympy.diff(axy, x) + sympy.diff(ayy, y))
    slopes = (sympy.diff(rest, u), sympy.diff(rest, ux), sympy.diff(rest, uy))
    found = tuple(term for term in terms if term is not None)
    by_u = [axx, axy, ayy, *divergence, *slopes]
    by_u += [expression for term in found for k, expression in enumerate(term.terms.expressions) if k != 2]
    is_linear = problem.is_linear and all(condition.residual.is_linear for condition in boundary)
    return WeakForm(
        _Expressions((axx, axy, ayy, *divergence), names.symbols),
        _Expressions((rest, *slopes), names.symbols),
        found,
        initial,
        is_linear,
        is_linear and not any(names.time in expression.free_symbols for expression in by_u),
    )


class _Names:
    """The symbols under which an equation's derivatives stand in it, and what it is when they are told apart."""

    def __init__(self, problem: Problem) -> None:
        domain = problem.domain
        assert domain is not None
        self.problem, self.x, self.y = problem, *domain.symbols
        self.time = None if problem.time_axis is None else problem.symbols[problem.time_axis]
        self.first = tuple(self._placeholder(orders) for orders in (U, UX, UY))
        self.second = tuple(self._placeholder(orders) for orders in SECOND)
        self.rate = self._placeholder(U, 1)
        self.symbols = (*problem.symbols, *self.first)

    def _placeholder(self, orders: tuple[int, int], in_time: int = 0) -> sympy.Symbol:
        """Return the symbol of a derivative in `Residual.placed`."""
        problem, every = self.problem, [0] * len(self.problem.coordinates)
        assert problem.domain is not None
        for axis, order in zip(problem.domain.axes, orders, strict=True):
            every[axis] = order
        if problem.time_axis is not None:
            every[problem.time_axis] = in_time
        name = Partial(problem.field_names[0], tuple(every)).name(problem.coordinate_names)
        return sympy.Symbol(name, real=True)

    def _reads_only(self, residual: Residual, symbols: Sequence[sympy.Symbol]) -> bool:
        return {residual.placeholders[partial] for partial in residual.partials} <= set(symbols)

    def equation(self, residual: Residual) -> tuple[list[sympy.Expr], sympy.Expr] | None:
        """Return the coefficients of second derivatives (that of u_xy halved) and the rest, where that of u_t is 1."""
        if not self._reads_only(residual, (*self.first, *self.second, *([self.rate] if self.time else []))):
            return None
        whole = residual.placed
        if self.time is not None:
            speed = sympy.diff(whole, self.rate)
            if speed == 0 or speed.has(*self.first, *self.second, self.rate):
                return None
            whole = whole.subs(self.rate, 0) / speed
        coefficients = [sympy.diff(whole, symbol) for symbol in self.second]
        if any(coefficient.has(*self.first, *self.second) for coefficient in coefficients):
            return None
        coefficients[1] = coefficients[1] / 2
        return coefficients, whole.subs(dict.fromkeys(self.second, 0))

    def boundary(self, condition: Condition) -> BoundaryTerm | None:
        """Return what a condition on a part of the boundary holds u to."""
        in_time = any(restriction.margin.has(self.time) for restriction in condition.restrictions if self.time)
        if in_time or not self._reads_only(condition.residual, self.first):
            return None
        whole = condition.residual.placed
        u, ux, uy = self.first
        slopes = [sympy.diff(whole, symbol) for symbol in (ux, uy)]
        if any(slope.has(u, ux, uy) for slope in slopes):
            return None
        rest = whole.subs({ux: 0, uy: 0})
        terms = _Expressions((*slopes, rest, sympy.diff(rest, u)), self.symbols)
        if any(slope != 0 for slope in slopes):
            return BoundaryTerm(condition, None, terms)
        value = self._value(rest)
        return None if value is None else BoundaryTerm(condition, value, terms)

    def initial(self, condition: Condition) -> _Expressions | None:
        """Return the initial values that a condition gives."""
        face, axis = condition.face, self.problem.time_axis
        whole = condition.residual.placed
        if face.axis != axis or face.side != "lower" or condition.restrictions:
            return None
        return self._value(whole) if self._reads_only(condition.residual, self.first[:1]) else None

    def _value(self, whole: sympy.Expr) -> _Expressions | None:
        """Return the v for which an expression in u is zero at u = v, if it is linear in u."""
        u = self.first[0]
        factor = sympy.diff(whole, u)
        if factor == 0 or factor.has(u):
            return None
        return _Expressions((-whole.subs(u, 0) / factor,), self.symbols)
