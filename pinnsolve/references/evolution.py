"""Initial value problems in first-order form, derived symbolically from a problem's equations.

With m the highest time derivative of a field u, the components are u, ∂ₜu, …, ∂ₜ^(m-1)u, and

    ∂ₜ(∂ₜ^k u)     = ∂ₜ^(k+1) u                       k < m-1
    ∂ₜ(∂ₜ^(m-1) u) = rate(x, t, components and their space derivatives)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import sympy

from pinnsolve.problems import Condition, Partial, Problem, Residual
from pinnsolve.problems.lint_scales import data_sizes


@dataclass(frozen=True)
class Evolution:
    """A problem in at most two space coordinates, solved for its highest time derivatives.

    Attributes:
        time_axis: the column of the time-like coordinate.
        components: ∂ₜ^k u for k < m of each field, field by field.
        rates: ∂ₜ of the last component of each field, by field, in the symbols of `symbol`.
        initial: the initial value of each component, an expression in the space coordinates.
        boundary: the conditions at the ends of the space coordinates.
    """

    problem: Problem
    time_axis: int
    components: tuple[Partial, ...]
    rates: Mapping[str, sympy.Expr]
    initial: tuple[sympy.Expr, ...]
    boundary: tuple[Condition, ...]

    @property
    def space_axes(self) -> list[int]:
        """The columns of the space coordinates."""
        return [axis for axis in range(len(self.problem.coordinates)) if axis != self.time_axis]

    @property
    def space_axis(self) -> int:
        """The column of the space coordinate, in a problem of two coordinates."""
        (axis,) = self.space_axes
        return axis

    @property
    def time(self) -> tuple[float, float]:
        """The first and the last time."""
        coordinate = self.problem.coordinates[self.time_axis]
        return coordinate.lower, coordinate.upper

    def symbol(self, partial: Partial) -> sympy.Symbol:
        """Return the plain symbol that stands for a partial derivative in the rates."""
        return _symbol(self.problem, partial)

    @cached_property
    def reads(self) -> tuple[Partial, ...]:
        """The partial derivatives that the rates read."""
        used = {symbol for rate in self.rates.values() for symbol in rate.free_symbols}
        known = {partial for equation in self.problem.equations for partial in equation.partials}
        return tuple(partial for partial in sorted(known) if self.symbol(partial) in used)

    def component(self, partial: Partial) -> int:
        """Return the index of the component that this is a space derivative of."""
        orders = tuple(order if axis == self.time_axis else 0 for axis, order in enumerate(partial.orders))
        return self.components.index(Partial(partial.field, orders))

    def space_order(self, partial: Partial) -> int:
        """Return the number of derivatives along the space coordinate."""
        return partial.orders[self.space_axis] if len(partial.orders) == 2 else 0

    def last_component(self, field: str) -> int:
        """Return the index of ∂ₜ^(m-1) of a field."""
        return max(index for index, component in enumerate(self.components) if component.field == field)

    @property
    def value_components(self) -> dict[str, int]:
        """The index of the component that is the field itself, by field."""
        return {component.field: i for i, component in enumerate(self.components) if component.order == 0}

    @cached_property
    def known_sizes(self) -> tuple[float, ...]:
        """How large the data say that each component becomes, ∂ₜ^k u ~ u/T^k; 0 where they say nothing."""
        sizes, duration = data_sizes(self.problem), self.time[1] - self.time[0]
        return tuple(sizes[c.field] / duration ** c.orders[self.time_axis] for c in self.components)

    @cached_property
    def constraints(self) -> tuple[Residual, ...]:
        """The boundary conditions, differentiated in time until they speak of a last component.

        A condition on u alone, where ∂ₜ²u is what the equation gives, would make the system
        differential-algebraic of index 3; its time derivative leaves index 1.
        """
        return tuple(self._constraint(condition.residual) for condition in self.boundary)

    def _constraint(self, residual: Residual) -> Residual:
        axis = self.time_axis
        last = {field: self.components[self.last_component(field)].orders[axis] for field in self.rates}
        times = min(last[partial.field] - partial.orders[axis] for partial in residual.partials)
        if times <= 0:
            return residual
        expression = sympy.diff(residual.expression, residual.coordinates[axis], times)
        return Residual(residual.name, expression, residual.coordinates, residual.fields)


def evolution_of(problem: Problem) -> Evolution | None:
    """Return the problem in first-order form, or None where it does not have this form.

    Needed: one coordinate, or one or two space coordinates and time; as many equations as fields, affine in
    the highest time derivatives, which stand without space derivatives; initial conditions at the
    lower end of time that determine every component; no condition on a part of a face; a box.
    """
    if problem.domain is not None:
        return None
    axis = 0 if len(problem.coordinates) == 1 else problem.time_axis
    if axis is None or len(problem.coordinates) > 3 or len(problem.equations) != len(problem.fields):
        return None
    if problem.coordinates[axis].periodic or any(condition.restrictions for condition in problem.conditions):
        return None
    at_start = [c for c in problem.conditions if c.face.axis == axis]
    boundary = tuple(c for c in problem.conditions if c.face.axis != axis)
    if any(condition.face.side != "lower" for condition in at_start):
        return None
    highest = _highest(problem, axis)
    components = tuple(
        _pure(problem, axis, field.name, k) for field in problem.fields for k in range(highest[field.name])
    )
    rates = _rates(problem, [_pure(problem, axis, name, m) for name, m in highest.items()])
    initial = _initial_values(problem, axis, [c.residual for c in at_start], components)
    if rates is None or initial is None or len(at_start) != len(components):
        return None
    evolution = Evolution(problem, axis, components, rates, initial, boundary)
    return evolution if _within_components(evolution) else None


def _symbol(problem: Problem, partial: Partial) -> sympy.Symbol:
    return sympy.Symbol(partial.name(problem.coordinate_names), real=True)


def _pure(problem: Problem, axis: int, field: str, times: int) -> Partial:
    return Partial(field, tuple(times if i == axis else 0 for i in range(len(problem.coordinates))))


def _highest(problem: Problem, axis: int) -> dict[str, int]:
    """Return the highest time derivative of each field in the equations."""
    return {
        name: max((p.orders[axis] for p in problem.partials if p.field == name), default=0)
        for name in problem.field_names
    }


def _rates(problem: Problem, tops: Sequence[Partial]) -> dict[str, sympy.Expr] | None:
    """Return the highest time derivatives that the equations, affine in them, determine."""
    if any(top.order == 0 for top in tops):
        return None  # a field without evolution, such as a pressure
    symbols = [_symbol(problem, top) for top in tops]
    residuals = [equation.placed for equation in problem.equations]
    solved = _affine_solution(residuals, symbols)
    return None if solved is None else {top.field: solved[symbol] for top, symbol in zip(tops, symbols, strict=True)}


def _affine_solution(
    residuals: Sequence[sympy.Expr], unknowns: Sequence[sympy.Symbol]
) -> dict[sympy.Symbol, sympy.Expr] | None:
    """Return the solution of residuals = 0, None where they are not affine or not independent."""
    if len(residuals) != len(unknowns):
        return None
    own = [residual.free_symbols.intersection(unknowns) for residual in residuals]
    if len(own) > 1 and all(len(symbols) == 1 for symbols in own):  # a matrix of 100 rows would take ten seconds
        found: dict[sympy.Symbol, sympy.Expr] = {}
        for residual, (unknown,) in zip(residuals, own, strict=True):
            found |= _affine_solution([residual], [unknown]) or {}
        return found if len(found) == len(unknowns) else None
    matrix = sympy.Matrix([[sympy.diff(residual, unknown) for unknown in unknowns] for residual in residuals])
    if matrix.has(*unknowns) or matrix.det() == 0:
        return None
    rest = sympy.Matrix([residual.xreplace(dict.fromkeys(unknowns, sympy.S.Zero)) for residual in residuals])
    return dict(zip(unknowns, matrix.LUsolve(-rest), strict=True))


def _initial_values(
    problem: Problem, axis: int, residuals: Sequence[Residual], components: Sequence[Partial]
) -> tuple[sympy.Expr, ...] | None:
    """Return the initial value of every component.

    Conditions that also read space derivatives, such as u_t = -u_x, are solved once the values that
    they differentiate are known.
    """
    at_start = {problem.symbols[axis]: problem.coordinates[axis].interval[0]}
    unknowns = {_symbol(problem, component): component for component in components}
    known: dict[sympy.Symbol, sympy.Expr] = {}
    waiting = list(residuals)
    while waiting:
        ready = [(r, _with_known(problem, axis, r, known)) for r in waiting]
        ready = [(r, expression) for r, expression in ready if _symbols_of(problem, r, expression) <= set(unknowns)]
        wanted = sorted(set().union(*(_symbols_of(problem, *pair) for pair in ready)), key=str)
        solved = _affine_solution([expression for _, expression in ready], wanted) if wanted else None
        if solved is None:
            return None
        known |= {symbol: value.xreplace(at_start) for symbol, value in solved.items()}
        waiting = [r for r in waiting if all(r is not used for used, _ in ready)]
    if set(known) != set(unknowns):
        return None
    return tuple(known[_symbol(problem, component)] for component in components)


def _with_known(
    problem: Problem, axis: int, residual: Residual, known: Mapping[sympy.Symbol, sympy.Expr]
) -> sympy.Expr:
    """Return the residual with known components, and their space derivatives, put in."""
    replacements = {}
    for partial, placeholder in residual.placeholders.items():
        component = _pure(problem, axis, partial.field, partial.orders[axis])
        value = known.get(_symbol(problem, component))
        if value is not None:
            steps = [(x, n) for i, (x, n) in enumerate(zip(problem.symbols, partial.orders, strict=True)) if i != axis]
            replacements[placeholder] = sympy.diff(value, *steps) if partial != component else value
    return residual.placed.xreplace(replacements)


def _symbols_of(problem: Problem, residual: Residual, expression: sympy.Expr) -> set[sympy.Symbol]:
    return set(residual.placeholders.values()) & expression.free_symbols


def _within_components(evolution: Evolution) -> bool:
    """Whether everything that rates and boundary conditions read is a space derivative of a component."""
    read = {partial for residual in evolution.constraints for partial in residual.partials} | set(evolution.reads)
    tops = {field: evolution.components[evolution.last_component(field)] for field in evolution.rates}
    axis = evolution.time_axis
    return all(partial.orders[axis] <= tops[partial.field].orders[axis] for partial in read)
