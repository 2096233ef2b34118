"""Evolutions on boxes of two space coordinates as ordinary differential equations: values on a tensor grid.

The grid has Chebyshev-Lobatto nodes, equidistant ones along a periodic coordinate. What evolves are the values that
no boundary condition gives; at both ends of every grid line the others follow from them, so that the system is free
of constraints (Canuto, Hussaini, Quarteroni, Zang (2006), Spectral Methods, section 3.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy
from numpy.typing import NDArray

from pinnsolve.problems import Condition, Partial, Residual
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.references.bases import Basis, ChebyshevBasis, FourierBasis
from pinnsolve.references.evolution import Evolution

Array = NDArray[np.float64]
HIGHEST = 2  # space derivative along one coordinate: more would take two conditions at an end


@dataclass(frozen=True)
class End:
    """A condition on one component at one end of the lines along an axis: factor·u + slope·∂u + rest = 0.

    Attributes:
        component: its index.
        axis: of space, 0 or 1.
        index: 0 at the lower end, -1 at the upper one.
        reads: derivatives of components of lower order in time, which the rest depends on.
        parts: factor, slope, rest, in the coordinates and what is read.
    """

    component: int
    axis: int
    index: int
    reads: tuple[Partial, ...]
    parts: tuple[sympy.Expr, sympy.Expr, sympy.Expr]


def ends_of(evolution: Evolution) -> list[End] | None:
    """Return the boundary conditions of every component, None where they are not of the form of `End`.

    Needed: one field in a condition, affine in the value and the normal derivative of its highest component; one
    condition at each end where the rates hold a second derivative along the axis, none where they hold no derivative.
    A condition on u holds for u_t, too, differentiated in time.
    """
    found: list[End] = []
    for condition in evolution.boundary:
        ends = _ends(evolution, condition)
        if ends is None:
            return None
        found += ends
    for axis, column in enumerate(evolution.space_axes):
        periodic = evolution.problem.coordinates[column].periodic
        for index, component in enumerate(evolution.components):
            orders = [p.orders[column] for p in evolution.reads if p.field == component.field]
            highest, last = max(orders, default=0), index == evolution.last_component(component.field)
            count = [
                sum((end.component, end.axis, end.index) == (index, axis, side) for end in found) for side in (0, -1)
            ]
            if highest > HIGHEST or max(count) > 1 or (max(count) and (periodic or not highest)):
                return None
            if last and highest == HIGHEST and not periodic and min(count) < 1:
                return None
    return found


def _ends(evolution: Evolution, condition: Condition) -> list[End] | None:
    """Return a condition as it holds for each component from the highest that it reads on, None if it cannot."""
    residual, clock = condition.residual, evolution.time_axis
    fields = {partial.field for partial in residual.partials}
    first = max((partial.orders[clock] for partial in residual.partials), default=0)
    components = [k for k, c in enumerate(evolution.components) if c.field in fields and c.orders[clock] >= first]
    if len(fields) != 1 or not components:
        return None
    found = []
    for component in components:
        times = evolution.components[component].orders[clock] - first
        expression = sympy.diff(residual.expression, residual.coordinates[clock], times)
        moved = Residual(residual.name, expression, residual.coordinates, residual.fields)
        end = _end(evolution, condition, moved, component)
        if end is None:
            return None
        found.append(end)
    return found


def _end(evolution: Evolution, condition: Condition, residual: Residual, component: int) -> End | None:
    """Return a condition on a component, None if it is not affine in its value and normal derivative alone."""
    value, clock, column = evolution.components[component], evolution.time_axis, condition.face.axis
    assert column is not None
    normal = Partial(value.field, tuple(1 if axis == column else order for axis, order in enumerate(value.orders)))
    lower = tuple(partial for partial in residual.partials if partial.orders[clock] < value.orders[clock])
    if not set(residual.partials) <= {value, normal, *lower} or any(
        order > HIGHEST for partial in lower for order in partial.orders
    ):
        return None
    symbols = [residual.placeholders.get(partial, sympy.Dummy()) for partial in (value, normal)]
    factor, slope = (sympy.diff(residual.placed, symbol) for symbol in symbols)
    if (factor.free_symbols | slope.free_symbols) & set(residual.placeholders.values()):
        return None
    rest = residual.placed.xreplace(dict.fromkeys(symbols, sympy.S.Zero))
    axis, index = evolution.space_axes.index(column), -1 if condition.face.side == "upper" else 0
    return End(component, axis, index, lower, (factor, slope, rest))


class Lines:
    """u' = f(t, u) for the values u (n,) that evolve on one grid.

    Args:
        evolution: of two space coordinates.
        ends: its boundary conditions.
        bases: functions along each space coordinate, as many as nodes.
    """

    def __init__(self, evolution: Evolution, ends: Sequence[End], bases: Sequence[Basis]) -> None:
        self.evolution, self.bases = evolution, tuple(bases)
        self.nodes = [nodes_of(basis) for basis in bases]
        self._slopes = [
            [basis.matrix(nodes, order) @ coefficients_from_values(basis) for order in range(HIGHEST + 1)]
            for basis, nodes in zip(bases, self.nodes, strict=True)
        ]
        self._shape = (len(self.nodes[0]), len(self.nodes[1]))
        self._free = np.ones((len(evolution.components), *self._shape), dtype=bool)
        symbols = evolution.problem.symbols
        self._ends: dict[tuple[int, int], list[tuple[End, Formula]]] = {}
        for end in ends:
            np.moveaxis(self._free[end.component], end.axis, 0)[end.index] = False
            formula = Formula(end.parts, [*symbols, *(evolution.symbol(partial) for partial in end.reads)])
            self._ends.setdefault((end.component, end.axis), []).append((end, formula))
        self._reads = tuple(sorted({*evolution.reads, *evolution.components}))
        read = [evolution.symbol(partial) for partial in self._reads]
        self._rates = Formula([self._rate_of(index) for index in range(len(evolution.components))], [*symbols, *read])

    def _rate_of(self, index: int) -> sympy.Expr:
        field = self.evolution.components[index].field
        is_last = index == self.evolution.last_component(field)
        return self.evolution.rates[field] if is_last else self.evolution.symbol(self.evolution.components[index + 1])

    @cached_property
    def start(self) -> Array:
        """The initial values, (n,)."""
        space = [self.evolution.problem.symbols[axis] for axis in self.evolution.space_axes]
        found = Formula(self.evolution.initial, space)(numpy_functions(), self._grid)
        return np.stack([np.broadcast_to(np.asarray(value, float), self._shape) for value in found])[self._free]

    def values(self, time: float, state: Array) -> Array:
        """Return all values (components, n₁, n₂) for a state (n,)."""
        values = np.zeros(self._free.shape)
        values[self._free] = state
        clock = self.evolution.time_axis
        for component in sorted(range(len(values)), key=lambda k: self.evolution.components[k].orders[clock]):
            for axis in (0, 1):
                if (component, axis) in self._ends:
                    self._fill(values, time, component, axis)
        return values

    def rate(self, time: float, state: Array) -> Array:
        """Return f(t, u), (n,)."""
        rates = self._rates(numpy_functions(), self._arguments(time, state))
        return np.stack([np.broadcast_to(rate, self._shape) for rate in rates])[self._free]

    def jacobian(self, time: float, state: Array) -> Array:
        """Return ∂f/∂u, (n, n); for ends that do not change in time."""
        slopes = self._rate_slopes(numpy_functions(), self._arguments(time, state))
        rows, count = [], len(self._reads)
        for component, free in enumerate(self._free):
            row = np.zeros((int(free.sum()), len(state)))
            own = slopes[component * count : (component + 1) * count]
            for slope, influence in zip(own, self._influence, strict=True):
                if np.any(slope):
                    row += np.broadcast_to(slope, self._shape)[free][:, None] * influence[free.ravel()]
            rows.append(row)
        return np.concatenate(rows)

    @cached_property
    def has_constant_ends(self) -> bool:
        """Whether the values at the ends are the same linear functions of the others at all times."""
        clock, slopes = self.evolution.problem.symbols[self.evolution.time_axis], []
        for end, _ in (pair for ends in self._ends.values() for pair in ends):
            read = [self.evolution.symbol(partial) for partial in end.reads]
            slopes += [*end.parts[:2], *(sympy.diff(end.parts[2], symbol) for symbol in read)]
            if any(slope.free_symbols & {clock, *read} for slope in slopes):
                return False
        return True

    @cached_property
    def _rate_slopes(self) -> Formula:
        """The derivative of each rate by each reading, rate by rate."""
        read = [self.evolution.symbol(partial) for partial in self._reads]
        rates = [self._rate_of(index) for index in range(len(self.evolution.components))]
        slopes = [sympy.diff(rate, symbol) for rate in rates for symbol in read]
        return Formula(slopes, [*self.evolution.problem.symbols, *read])

    @cached_property
    def _influence(self) -> list[Array]:
        """What each reading changes by with each value that evolves, (n₁ n₂, n) for each."""
        start, count = self.evolution.time[0], len(self.start)
        rest = self.values(start, np.zeros(count))
        found = np.empty((len(self._reads), count, *self._shape))
        for index, unit in enumerate(np.eye(count)):
            values = self.values(start, unit) - rest
            found[:, index] = [self._derivative(values, partial) for partial in self._reads]
        return [np.ascontiguousarray(part.reshape(count, -1).T) for part in found]

    def _arguments(self, time: float, state: Array) -> list[Array]:
        values = self.values(time, state)
        return [*self._columns(time), *(self._derivative(values, partial) for partial in self._reads)]

    @property
    def sizes(self) -> Array:
        """How large each value becomes, by its component's initial values and the data, (n,)."""
        known, counts = np.array(self.evolution.known_sizes), self._free.sum(axis=(1, 2))
        starts = np.split(np.abs(self.start), np.cumsum(counts)[:-1])
        known = np.maximum(known, [part.max(initial=0.0) for part in starts])
        return np.repeat(np.where(known > 0, known, known.max() or 1.0), counts)

    @property
    def _grid(self) -> list[Array]:
        return [self.nodes[0][:, None], self.nodes[1][None, :]]

    def _columns(self, time: float) -> list[Array]:
        columns = [np.full((1, 1), time)] * len(self.evolution.problem.coordinates)
        for axis, column in zip(self.evolution.space_axes, self._grid, strict=True):
            columns[axis] = column
        return columns

    def _derivative(self, values: Array, partial: Partial) -> Array:
        """Return a space derivative of a component, (n₁, n₂)."""
        first, second = (partial.orders[axis] for axis in self.evolution.space_axes)
        found = values[self.evolution.component(partial)]
        found = self._slopes[0][first] @ found if first else found
        return found @ self._slopes[1][second].T if second else found

    def _fill(self, values: Array, time: float, component: int, axis: int) -> None:
        """Give the ends of all lines along an axis the values that their conditions ask for."""
        ends = self._ends[component, axis]
        lines = np.moveaxis(values[component], axis, 0)  # a view, (n, lines)
        slopes, chosen = self._slopes[axis][1], [end.index for end, _ in ends]
        lines[chosen] = 0.0
        matrix, right = np.empty((lines.shape[1], len(ends), len(ends))), np.empty((lines.shape[1], len(ends)))
        for row, (end, formula) in enumerate(ends):
            face = [slice(None), slice(None)]
            face[axis] = slice(end.index, end.index + 1 or None)
            whole = [*self._columns(time), *(self._derivative(values, partial) for partial in end.reads)]
            parts = formula(numpy_functions(), [part[tuple(face)] for part in whole])
            factor, slope, rest = (np.broadcast_to(np.ravel(part), lines.shape[1]) for part in parts)
            matrix[:, row] = slope[:, None] * slopes[end.index, chosen]
            matrix[:, row, row] += factor
            right[:, row] = -rest - slope * (slopes[end.index] @ lines)
        lines[chosen] = np.linalg.solve(matrix, right[..., None])[..., 0].T


def coefficients_from_values(basis: Basis) -> Array:
    """Return the matrix that turns values at the nodes into coefficients."""
    return np.asarray(np.linalg.inv(basis.matrix(nodes_of(basis), 0)), dtype=np.float64)


def nodes_of(basis: Basis) -> Array:
    """Return as many nodes as functions: ends included, or equidistant."""
    if isinstance(basis, FourierBasis):
        return basis.nodes(basis.size)
    assert isinstance(basis, ChebyshevBasis)
    turns = np.pi * np.arange(basis.size) / (2 * (basis.size - 1))
    nodes = basis.lower + (basis.upper - basis.lower) * np.sin(turns) ** 2
    nodes[-1] = basis.upper
    return nodes
