"""The rows of a collocation system: equations at points of the elements, constraints at edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sympy
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csc_matrix, diags
from scipy.sparse.linalg import splu

from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.references.elements import (
    Mesh,
    collocation_matrix,
    derivative_matrix,
    gauss_nodes,
    lobatto_nodes,
)

Array = NDArray[np.float64]
Indices = NDArray[np.integer]
Block = tuple[Indices, Indices, Array]  # rows, columns and values of some entries of a matrix


@dataclass(frozen=True)
class Reading:
    """The order-th space derivative of a component, under its symbol."""

    symbol: sympy.Symbol
    component: int
    order: int


class Expression:
    """An expression in x, t and readings, with its derivatives by every reading."""

    def __init__(self, expression: sympy.Expr, space: sympy.Symbol, time: sympy.Symbol, reads: Sequence[Reading]):
        self.reads = tuple(reading for reading in reads if reading.symbol in expression.free_symbols)
        symbols = [space, time, *(reading.symbol for reading in self.reads)]
        self._value = Formula([expression], symbols)
        self._slopes = Formula([sympy.diff(expression, reading.symbol) for reading in self.reads], symbols)

    def value(self, x: Array, t: Array | float, readings: Sequence[Array], shape: tuple[int, ...]) -> Array:
        """Return the value, broadcast to a shape."""
        with np.errstate(all="ignore"):
            (value,) = self._value(numpy_functions(), [x, t, *readings])
        return np.broadcast_to(value, shape)

    def slopes(self, x: Array, t: Array | float, readings: Sequence[Array], shape: tuple[int, ...]) -> list[Array]:
        """Return the derivative by each reading, broadcast to a shape."""
        with np.errstate(all="ignore"):
            return [np.broadcast_to(value, shape) for value in self._slopes(numpy_functions(), [x, t, *readings])]


class Rows:
    """Some rows of F(t, Y) = 0 or M Y' = F(t, Y), for Y of shape (components, K, degree + 1)."""

    count: int

    def rate(self, times: Array, states: Array) -> Array:
        """Return the rows' values (s, count) for states (s, components, K, degree + 1)."""
        raise NotImplementedError

    def blocks(self, time: float, state: Array) -> list[Block]:
        """Return rows, columns and values of the non-zero derivatives by Y."""
        raise NotImplementedError


@dataclass(frozen=True)
class EquationRows(Rows):
    """An expression at the collocation points of every element.

    Attributes:
        conditions: the order n in space of the field whose equation this is.
    """

    mesh: Mesh
    expression: Expression
    conditions: int

    @property
    def points(self) -> Array:
        """The collocation points (K, r)."""
        degree = self.mesh.degree
        return self.mesh.points(
            lobatto_nodes(degree) if self.conditions == 0 else gauss_nodes(degree + 1 - self.conditions)
        )

    @property
    def count(self) -> int:  # type: ignore[override]
        """The number of rows K r."""
        return len(self.mesh.widths) * (self.mesh.degree + 1 - self.conditions)

    def _matrix(self, order: int) -> Array:
        return collocation_matrix(self.mesh.degree, self.conditions, order)

    def _readings(self, states: Array) -> list[Array]:
        return [
            states[..., reading.component, :, :]
            @ self._matrix(reading.order).T
            * self.mesh.scales(reading.order)[:, None]
            for reading in self.expression.reads
        ]

    def rate(self, times: Array, states: Array) -> Array:
        """Return the rows' values (s, K r)."""
        shape = (len(times), *self.points.shape)
        value = self.expression.value(self.points, times[:, None, None], self._readings(states), shape)
        return value.reshape(len(times), -1)

    def blocks(self, time: float, state: Array) -> list[Block]:
        """Return rows, columns and values of the non-zero derivatives by Y."""
        slopes = self.expression.slopes(self.points, time, self._readings(state), self.points.shape)
        return [
            self._block(
                reading.component,
                slope[:, :, None] * self._matrix(reading.order) * self.mesh.scales(reading.order)[:, None, None],
            )
            for reading, slope in zip(self.expression.reads, slopes, strict=True)
        ]

    def mass_block(self, component: int) -> Block:
        """Return the block of the mass matrix that evaluates a component at the points."""
        elements = len(self.mesh.widths)
        return self._block(component, np.repeat(self._matrix(0)[None], elements, axis=0))

    def _block(self, component: int, values: Array) -> Block:
        """Return the place of values (K, r, degree + 1) in the matrix."""
        elements, rows, columns = values.shape
        row = np.arange(elements * rows).reshape(elements, rows, 1)
        column = component * elements * columns + np.arange(elements * columns).reshape(elements, 1, columns)
        shape = values.shape
        return (*(np.broadcast_to(index, shape).ravel() for index in (row, column)), values.ravel())  # type: ignore[return-value]


@dataclass(frozen=True)
class ContinuityRows(Rows):
    """∂ₓ^i of a component is the same from both sides of an inner edge, i < conditions.

    Scaled by width^i. On a periodic interval the last element meets the first.
    """

    mesh: Mesh
    component: int
    conditions: int
    periodic: bool

    @property
    def count(self) -> int:  # type: ignore[override]
        """The number of rows."""
        return self.conditions * len(self._left)

    @property
    def _left(self) -> NDArray[np.intp]:
        elements = len(self.mesh.widths)
        return np.arange(elements if self.periodic else elements - 1)

    def rate(self, times: Array, states: Array) -> Array:
        """Return the jumps (s, count)."""
        here = states[:, self.component]
        left, right = self._left, (self._left + 1) % len(self.mesh.widths)
        jumps = []
        for order in range(self.conditions):
            ends = derivative_matrix(self.mesh.degree, order)[[0, -1]]
            factor = self._factors(order)
            jumps.append(here[:, left] @ ends[1] * factor[0] - here[:, right] @ ends[0] * factor[1])
        return np.concatenate(jumps, axis=1)

    def _factors(self, order: int) -> Array:
        """Return the scales of the left and the right derivative, (2, interfaces)."""
        scales = self.mesh.scales(order)
        left, right = scales[self._left], scales[(self._left + 1) % len(scales)]
        return np.stack([left, right]) / np.maximum(left, right)

    def blocks(self, time: float, state: Array) -> list[Block]:
        """Return rows, columns and values of the derivatives by Y, which are constant."""
        elements, size = len(self.mesh.widths), self.mesh.degree + 1
        offset, local = self.component * elements * size, np.arange(size)
        result: list[Block] = []
        for order in range(self.conditions):
            ends = derivative_matrix(self.mesh.degree, order)[[-1, 0]]
            rows = np.repeat(order * len(self._left) + np.arange(len(self._left)), size)
            for side, sign in enumerate((1.0, -1.0)):
                element = (self._left + side) % elements
                columns = offset + (element[:, None] * size + local).ravel()
                values = sign * self._factors(order)[side][:, None] * ends[side]
                result.append((rows, columns, values.ravel()))
        return result


@dataclass(frozen=True)
class BoundaryRow(Rows):
    """A condition at one end of the interval."""

    mesh: Mesh
    expression: Expression
    upper: bool
    count: int = 1

    def _end(self, order: int) -> Array:
        element = -1 if self.upper else 0
        return derivative_matrix(self.mesh.degree, order)[element] * self.mesh.scales(order)[element]

    def _readings(self, states: Array) -> list[Array]:
        element = -1 if self.upper else 0
        return [states[..., r.component, element, :] @ self._end(r.order) for r in self.expression.reads]

    @property
    def _place(self) -> Array:
        return np.array(self.mesh.edges[-1 if self.upper else 0])

    def rate(self, times: Array, states: Array) -> Array:
        """Return the condition's residual (s, 1)."""
        return self.expression.value(self._place, times, self._readings(states), times.shape)[:, None]

    def blocks(self, time: float, state: Array) -> list[Block]:
        """Return rows, columns and values of the derivatives by Y."""
        slopes = self.expression.slopes(self._place, time, self._readings(state), ())
        elements, size = len(self.mesh.widths), self.mesh.degree + 1
        first = (elements - 1) * size if self.upper else 0
        return [
            (np.zeros(size, int), r.component * elements * size + first + np.arange(size), slope * self._end(r.order))
            for r, slope in zip(self.expression.reads, slopes, strict=True)
        ]


class CollocationSystem:
    """Rows stacked to M y' = F(t, y), y the flattened values of all components on a mesh."""

    def __init__(
        self, mesh: Mesh, components: int, dynamic: Sequence[tuple[EquationRows, int]], static: Sequence[Rows]
    ):
        self.shape = (components, len(mesh.widths), mesh.degree + 1)
        self.size = int(np.prod(self.shape))
        self._rows: list[Rows] = [*(rows for rows, _ in dynamic), *static]
        self._offsets = np.concatenate([[0], np.cumsum([rows.count for rows in self._rows])])
        if self._offsets[-1] != self.size:
            raise ValueError(f"{self._offsets[-1]} equations for {self.size} unknowns")
        blocks = [[rows.mass_block(component)] for rows, component in dynamic]
        self.mass = self._assembled([*blocks, *([] for _ in static)])
        self._first_static = self._offsets[len(dynamic)]

    def rate(self, times: Array, states: Array) -> Array:
        """Return F at times (s,) and states (s, n)."""
        shaped = states.reshape(len(times), *self.shape)
        return np.concatenate([rows.rate(times, shaped) for rows in self._rows], axis=1)

    def jacobian(self, time: float, state: Array) -> csc_matrix:
        """Return ∂F/∂y."""
        shaped = state.reshape(self.shape)
        return self._assembled([rows.blocks(time, shaped) for rows in self._rows])

    def consistent(self, time: float, state: Array, accuracy: float) -> Array:
        """Return the state (n,) with the same M y, which is what evolves, that satisfies the static rows.

        One Newton step, exact for affine conditions; none where they are satisfied to the accuracy.
        """
        is_static = np.arange(self.size) >= self._first_static
        residual = np.where(is_static, self.rate(np.array([time]), state[None])[0], 0.0)
        if np.abs(residual).max() <= accuracy * np.abs(state).max():
            return state
        matrix = self.mass + diags(is_static.astype(float)) @ self.jacobian(time, state)
        try:
            return state - splu(matrix.tocsc()).solve(residual)
        except RuntimeError:  # exactly singular, e.g. odd orders on a periodic interval: leave it to the first step
            return state

    def _assembled(self, blocks: Sequence[Sequence[Block]]) -> csc_matrix:
        placed = [
            (row + offset, column, value)
            for group, offset in zip(blocks, self._offsets[:-1], strict=True)
            for row, column, value in group
        ]
        rows, columns, values = (np.concatenate(part) for part in zip(*placed, strict=True))
        return coo_matrix((values, (rows, columns)), shape=(self.size, self.size)).tocsc()
