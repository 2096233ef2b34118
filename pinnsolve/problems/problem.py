"""The records that a problem consists of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import sympy
from numpy.typing import NDArray

from pinnsolve.errors import ProblemError
from pinnsolve.problems.conditions import Condition, Face, Inequality, Side
from pinnsolve.problems.formulas import constant_value
from pinnsolve.problems.geometry.domain import Domain
from pinnsolve.problems.partials import Partial
from pinnsolve.problems.residuals import Residual, differentiated, partial_of

__all__ = [
    "Condition",
    "Coordinate",
    "Face",
    "Field",
    "Inequality",
    "Invariant",
    "Problem",
    "Reference",
    "Residual",
    "Side",
    "differentiated",
    "partial_of",
]


@dataclass(frozen=True)
class Coordinate:
    """One coordinate and its closed interval [lower, upper], exact as the file writes it."""

    symbol: sympy.Symbol
    interval: tuple[sympy.Expr, sympy.Expr]
    periodic: bool = False

    def __post_init__(self) -> None:
        if not self.lower < self.upper:
            raise ProblemError(f"an interval needs lower < upper, got [{self.lower:g}, {self.upper:g}]")

    @property
    def name(self) -> str:
        """The name in the problem file."""
        return self.symbol.name

    @property
    def lower(self) -> float:
        """The left end."""
        return constant_value(self.interval[0])

    @property
    def upper(self) -> float:
        """The right end."""
        return constant_value(self.interval[1])

    @property
    def length(self) -> float:
        """The length upper - lower, which is the period of a periodic coordinate."""
        return self.upper - self.lower


@dataclass(frozen=True)
class Field:
    """One unknown function of the coordinates.

    Attributes:
        symbol: the applied function u(x, t).
        bounds: the open interval that the values lie in; infinite ends are no restriction.
        stands_for: the derivative that the field is in a first-order formulation; None for a field of the file.
    """

    symbol: sympy.Expr
    bounds: tuple[float, float] = (-math.inf, math.inf)
    label: str = ""
    unit: str = ""
    stands_for: Partial | None = None

    def __post_init__(self) -> None:
        if not self.bounds[0] < self.bounds[1]:
            raise ProblemError(f"a range needs lower < upper, got {list(self.bounds)}")

    @property
    def name(self) -> str:
        """The name in the problem file."""
        return str(self.symbol.func)


@dataclass(frozen=True)
class Invariant:
    """A quantity that does not change in time: the integral of a density over space, or a value of an ODE system.

    Attributes:
        name: in the problem file.
        text: as the file writes it.
        density: what is integrated over the space coordinates.
    """

    name: str
    text: str
    density: Residual


@dataclass(frozen=True)
class Reference:
    """What the problem file names as the truth.

    Attributes:
        exact: expressions by field.
        solver: whether one is to be computed.
        file: an archive of values on a grid.
        error: the relative error of the file's values; None where it is not known.
    """

    exact: Mapping[str, sympy.Expr] = field(default_factory=dict)
    solver: Literal["auto", "none"] = "none"
    file: Path | None = None
    error: float | None = None


@dataclass(frozen=True)
class Problem:
    """A boundary or initial value problem in symbolic form, on a box or on a domain within it."""

    name: str
    title: str
    coordinates: tuple[Coordinate, ...]
    fields: tuple[Field, ...]
    equations: tuple[Residual, ...]
    conditions: tuple[Condition, ...]
    time: str | None = None
    source: str = ""
    tags: tuple[str, ...] = ()
    constants: Mapping[str, sympy.Expr] = field(default_factory=dict)
    reference: Reference = Reference()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    digest: str = ""
    domain: Domain | None = None
    invariants: tuple[Invariant, ...] = ()

    @property
    def coordinate_names(self) -> tuple[str, ...]:
        """The coordinates' names, in the column order of point arrays."""
        return tuple(coordinate.name for coordinate in self.coordinates)

    @property
    def field_names(self) -> tuple[str, ...]:
        """The fields' names."""
        return tuple(field.name for field in self.fields)

    @property
    def symbols(self) -> tuple[sympy.Symbol, ...]:
        """The coordinates' symbols."""
        return tuple(coordinate.symbol for coordinate in self.coordinates)

    @property
    def time_axis(self) -> int | None:
        """The column of the time coordinate, None for a steady problem."""
        return None if self.time is None else self.coordinate_names.index(self.time)

    @property
    def space_axes(self) -> tuple[int, ...]:
        """The columns of the space coordinates."""
        return tuple(axis for axis in range(len(self.coordinates)) if axis != self.time_axis)

    @property
    def box(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The lower and upper corners of the smallest box around the domain, each of shape (d,)."""
        lower = np.array([coordinate.lower for coordinate in self.coordinates])
        return lower, np.array([coordinate.upper for coordinate in self.coordinates])

    def contains(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which points (N, d) of the box lie in the domain; corners of a domain that is no box do not."""
        return np.ones(len(points), dtype=bool) if self.domain is None else self.domain.contains(points)

    @cached_property
    def partials(self) -> tuple[Partial, ...]:
        """Every partial derivative that an equation reads."""
        return tuple(sorted({partial for equation in self.equations for partial in equation.partials}))

    @cached_property
    def floating_fields(self) -> tuple[str, ...]:
        """The fields of which only derivatives occur: a constant can be added to them."""
        residuals = [*self.equations, *(condition.residual for condition in self.conditions)]
        held = {partial.field for residual in residuals for partial in residual.partials if partial.order == 0}
        return tuple(name for name in self.field_names if name not in held)

    @property
    def is_linear(self) -> bool:
        """Whether every equation is affine in the fields and their derivatives."""
        return all(equation.is_linear for equation in self.equations)

    @property
    def order(self) -> int:
        """The highest total order of a derivative in the equations."""
        return max((partial.order for partial in self.partials), default=0)

    def order_in(self, axis: int) -> int:
        """Return the highest number of derivatives along one coordinate in the equations."""
        return max((partial.orders[axis] for partial in self.partials), default=0)

    def partial(self, name: str) -> Partial:
        """Return the partial derivative of this name, e.g. `u_xx` or `d(u, x1, x1)`.

        Raises:
            ProblemError: the name is no partial derivative of a field.
        """
        from pinnsolve.problems.expressions import Scope

        scope = Scope(
            coordinates={symbol.name: symbol for symbol in self.symbols},
            fields={field.name: field.symbol for field in self.fields},
        )
        node = scope.expression(name)
        if not isinstance(node, sympy.Derivative) and node not in [field.symbol for field in self.fields]:
            raise ProblemError(f"{name!r} is not a partial derivative of a field")
        return partial_of(node, self.symbols)
