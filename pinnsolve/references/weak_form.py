r"""Second-order equations as finite elements need them, read from their residuals.

The residuals Σ_f a^kf_ij(x) ∂_ij u_f + F_k(x, u, ∇u) of the fields' equations k, without ∂ₜu_k where there is time
(solved for it, so that the equation is ∂ₜu_k + residual = 0), tested with v and integrated by parts, are

    r_k(u; v) = ∫ Σ_f (-a^kf∇u_f·∇v - (div a^kf)·∇u_f v) + F_k v dx + ∮ Σ_f (a^kf n·∇u_f) v ds.

A field without second derivatives, such as a pressure, has the equation without second derivatives that is left over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy
from numpy.typing import NDArray

from pinnsolve.problems import Condition, Problem
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.problems.geometry.domain import Part
from pinnsolve.references.weak_symbols import Equation, WeakSymbols, paired

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Expressions:
    """Expressions in the coordinates and, field by field, u, u_x, u_y, evaluated together."""

    expressions: tuple[sympy.Expr, ...]
    symbols: tuple[sympy.Symbol, ...]

    def __call__(self, points: Array, values: Array, slopes: Array) -> list[Array]:
        """Return each value, (...).

        Args:
            points: (coordinates, ...), in the problem's order.
            values: of the fields, (fields, ...).
            slopes: their gradients, (fields, 2, ...).
        """
        readings = [part for u, (ux, uy) in zip(values, slopes, strict=True) for part in (u, ux, uy)]
        with np.errstate(all="ignore"):
            found = self._formula(numpy_functions(), [*points, *readings])
        return [np.broadcast_to(np.asarray(value, dtype=float), values.shape[1:]) for value in found]

    @cached_property
    def _formula(self) -> Formula:
        return Formula(self.expressions, self.symbols)


@dataclass(frozen=True)
class Coupling:
    """How the equation of one field reads another, or the same.

    Attributes:
        row, column: the equation's field and the other.
        second: a_xx, a_xy (half of the coefficient of ∂_xy), a_yy, then (div a)_x, (div a)_y.
        slopes: ∂F/∂u, ∂F/∂u_x, ∂F/∂u_y.
    """

    row: int
    column: int
    second: Expressions
    slopes: Expressions

    @property
    def has_flux(self) -> bool:
        """Whether second derivatives of the other field occur."""
        return any(expression != 0 for expression in self.second.expressions[:3])


@dataclass(frozen=True)
class BoundaryTerm:
    """A condition: a value u_f = data, or Σ_f c_f·∇u_f + b = 0.

    Attributes:
        condition: as the problem has it.
        field: whose value it is; None for a condition on fluxes.
        value: the data's expression.
        slopes: c_x, c_y of each field, one after the other.
        rest: b, then ∂b/∂u of each field.
    """

    condition: Condition
    field: int | None
    value: Expressions | None
    slopes: Expressions
    rest: Expressions


@dataclass(frozen=True)
class WeakForm:
    """The terms of the equations, each in the place of the field that its test functions are those of.

    Attributes:
        couplings: between equations and fields, those that are not zero.
        lower: F of each field's equation.
        conditions: on the boundary, in the order of the problem's.
        initial: each field at the start; None for a steady problem.
        of_first_order: whether a field has no second derivatives, field by field.
        is_linear: whether r is affine in the fields.
        is_constant: whether it is, and its derivative by them does not change in time either.
    """

    couplings: tuple[Coupling, ...]
    lower: Expressions
    conditions: tuple[BoundaryTerm, ...]
    initial: tuple[Expressions, ...] | None
    of_first_order: tuple[bool, ...]
    is_linear: bool
    is_constant: bool


def weak_form(problem: Problem) -> WeakForm | None:
    """Return the weak form of a plane problem that is linear in second derivatives and in ∂ₜu, else None."""
    domain = problem.domain
    if domain is None or len(domain.axes) != 2 or len(problem.fields) != len(problem.equations) or problem.order != 2:
        return None
    names = WeakSymbols(problem)
    boundary = [condition for condition in problem.conditions if isinstance(condition.face, Part)]
    terms = [_boundary_term(names, condition) for condition in boundary]
    initial = _initial(names, [condition for condition in problem.conditions if condition not in boundary])
    equations = names.equations() if boundary and initial is not None and None not in terms else None
    order = None if equations is None else paired(equations, names)
    if equations is None or order is None:
        return None
    found = tuple(term for term in terms if term is not None)
    several = range(len(order))
    pairs = [_coupling(names, equations[order[row]], row, column) for row in several for column in several]
    couplings = tuple(coupling for coupling in pairs if coupling is not None)
    is_linear = problem.is_linear and all(condition.residual.is_linear for condition in boundary)
    return WeakForm(
        couplings,
        Expressions(tuple(equations[k].rest for k in order), names.symbols),
        found,
        initial or None,
        tuple(not any(coupling.has_flux for coupling in couplings if coupling.column == field) for field in several),
        is_linear,
        is_linear and not any(names.moves(expression) for expression in _derivatives(couplings, found)),
    )


def _coupling(names: WeakSymbols, equation: Equation, row: int, column: int) -> Coupling | None:
    """Return what an equation reads of a field, None if nothing."""
    axx, axy, ayy = equation.second[column]
    x, y = names.x, names.y
    divergence = (sympy.diff(axx, x) + sympy.diff(axy, y), sympy.diff(axy, x) + sympy.diff(ayy, y))
    slopes = tuple(sympy.diff(equation.rest, symbol) for symbol in names.first[column])
    if all(expression == 0 for expression in (axx, axy, ayy, *slopes)):
        return None
    second = Expressions((axx, axy, ayy, *divergence), names.symbols)
    return Coupling(row, column, second, Expressions(slopes, names.symbols))


def _boundary_term(names: WeakSymbols, condition: Condition) -> BoundaryTerm | None:
    """Return what a condition on a part of the boundary holds the fields to."""
    if not names.is_fixed_in_place(condition) or not names.reads_only(condition.residual, names.readings):
        return None
    whole = condition.residual.placed
    slopes = [sympy.diff(whole, symbol) for _, ux, uy in names.first for symbol in (ux, uy)]
    if any(slope.has(*names.readings) for slope in slopes):
        return None
    rest = whole.subs({symbol: 0 for _, ux, uy in names.first for symbol in (ux, uy)})
    by_value = (sympy.diff(rest, u) for u, _, _ in names.first)
    terms = Expressions(tuple(slopes), names.symbols), Expressions((rest, *by_value), names.symbols)
    if any(slope != 0 for slope in slopes):
        return BoundaryTerm(condition, None, None, *terms)
    held = names.value(rest)
    if held is None:
        return None
    return BoundaryTerm(condition, held[0], Expressions((held[1],), names.symbols), *terms)


def _initial(names: WeakSymbols, conditions: Sequence[Condition]) -> tuple[Expressions, ...] | None:
    """Return each field's initial values, none of a steady problem; None where conditions do not give them."""
    axis, values = names.problem.time_axis, [u for u, _, _ in names.first]
    found: dict[int, Expressions] = {}
    for condition in conditions:
        whole, face = condition.residual.placed, condition.face
        if face.axis != axis or face.side != "lower" or condition.restrictions:
            return None
        given = names.value(whole) if names.reads_only(condition.residual, values) else None
        if given is None:
            return None
        found[given[0]] = Expressions((given[1],), names.symbols)
    needed = 0 if axis is None else len(values)
    return tuple(found[k] for k in sorted(found)) if len(conditions) == len(found) == needed else None


def _derivatives(couplings: Sequence[Coupling], terms: Sequence[BoundaryTerm]) -> Iterator[sympy.Expr]:
    """Yield what the derivative of r by the fields consists of."""
    for coupling in couplings:
        yield from (*coupling.second.expressions, *coupling.slopes.expressions)
    for term in terms:
        yield from (*term.slopes.expressions, *term.rest.expressions[1:])
