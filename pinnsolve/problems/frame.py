"""The names of a problem file that everything else is written in: constants, coordinates, time, the domain."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Mapping
from itertools import islice

import sympy

from pinnsolve.errors import ProblemError, unknown_name
from pinnsolve.problems.expressions import FUNCTIONS, NUMBERS, OPERATORS, Scope
from pinnsolve.problems.formulas import constant_value
from pinnsolve.problems.geometry.domain import Domain
from pinnsolve.problems.geometry.reading import located, read_domain, refuse_small_box
from pinnsolve.problems.geometry.shapes import SHAPES
from pinnsolve.problems.problem import Coordinate
from pinnsolve.problems.schema import Number, ProblemTable
from pinnsolve.problems.space import coordinate_names

SHORTEST, LONGEST, SHARPEST = 1e-60, 1e60, 1e-10  # lengths to the power of four, the usual order, stay numbers
_MOST_PARTS = 100  # of a constant that is kept as an expression
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")
_RESERVED = {*FUNCTIONS, *NUMBERS, *OPERATORS}


class Frame:
    """Constants, coordinates, time and domain of one table, read in this order."""

    def __init__(self, table: ProblemTable) -> None:
        self.table = table
        self.constants = self._constants()
        self.intervals = self._intervals()
        self.time = self._time()
        self.domain = self._domain()
        self.coordinates = self._coordinates()
        self.symbols = tuple(coordinate.symbol for coordinate in self.coordinates)

    def _constants(self) -> dict[str, sympy.Expr]:
        known: dict[str, sympy.Expr] = {}
        for name, value in self.table.constants.items():
            key = f"constants.{name}"
            known[read_name(name, key, known)] = _short(read_number(Scope(constants=known), value, key))
        return known

    def _intervals(self) -> dict[str, list[Number]]:
        """Return names and ends as the file writes them; no ends where the geometry gives them."""
        return {name: self.table.coordinates.get(name, []) for name in coordinate_names(self.table)}

    def _coordinates(self) -> tuple[Coordinate, ...]:
        for name in self.table.periodic:
            if name not in self.intervals:
                raise ProblemError(unknown_name("coordinate", name, self.intervals), key="periodic")
            if self.domain is not None and name != self.time:
                raise ProblemError(f"{name!r} has a geometry and is not periodic", key="periodic", remedy="remove it")
        result = []
        for name, ends in self._exact_ends().items():
            symbol = sympy.Symbol(name, real=True)
            try:
                result.append(resolved(Coordinate(symbol, ends, name in self.table.periodic)))
            except ProblemError as error:
                raise error.located(key=f"coordinates.{name}") from None
        if not result:
            raise ProblemError("a problem needs at least one coordinate", key="coordinates")
        return tuple(result)

    def _exact_ends(self) -> dict[str, tuple[sympy.Expr, sympy.Expr]]:
        """Return the interval of each coordinate: as written, or the smallest that holds the geometry."""
        scope, found = Scope(constants=self.constants), {}
        bounds = {} if self.domain is None else dict(zip(self._space(), self.domain.region.bounds, strict=True))
        for name, ends in self.intervals.items():
            key = f"coordinates.{name}"
            read_name(name, key, self.constants)
            if len(ends) != 2 and not (name in bounds and not ends):
                raise ProblemError(f"an interval has two ends, got {len(ends)}", key=key, remedy="write [lower, upper]")
            found[name] = (read_number(scope, ends[0], key), read_number(scope, ends[1], key)) if ends else bounds[name]
        if self.domain is not None:
            refuse_small_box([(name, found[name]) for name in bounds], self.domain)
        return found | bounds

    def _space(self) -> list[str]:
        return [name for name in self.intervals if name != self.time]

    def _time(self) -> str | None:
        names = list(self.intervals)
        if self.table.time is not None and self.table.time not in names:
            raise ProblemError(unknown_name("coordinate", self.table.time, names), key="time")
        return self.table.time or ("t" if "t" in names else None)

    def _domain(self) -> Domain | None:
        if self.table.geometry is None:
            return None
        taken: dict[str, object] = {**self.constants, **self.intervals, **dict.fromkeys(SHAPES)}
        for name in self.table.geometry:
            read_name(name, f"geometry.{name}", taken)
        symbols = tuple(sympy.Symbol(name, real=True) for name in self._space())
        axes = tuple(index for index, name in enumerate(self.intervals) if name != self.time)
        return read_domain(self.table.geometry, symbols, axes, Scope(constants=self.constants).number)


def resolved(coordinate: Coordinate) -> Coordinate:
    """Return a coordinate whose interval holds many floating-point numbers, and powers of whose length are some.

    Raises:
        ProblemError: it does not.
    """
    lower, upper, length = coordinate.lower, coordinate.upper, coordinate.length
    if not SHORTEST <= length <= LONGEST or length < SHARPEST * max(abs(lower), abs(upper)):
        raise ProblemError(
            f"an interval needs a length from {SHORTEST:g} to {LONGEST:g}, and {SHARPEST:g} of its ends at least; "
            f"got [{lower:.17g}, {upper:.17g}]",
            remedy="choose another unit, or count from its lower end",
        )
    return coordinate


def _short(constant: sympy.Expr) -> sympy.Expr:
    """Return the constant, as a floating-point number if it is a long expression: those made of it grow with it."""
    parts = sum(1 for _ in islice(sympy.preorder_traversal(constant), _MOST_PARTS + 1))
    return constant if parts <= _MOST_PARTS else sympy.Float(constant_value(constant))


def read_name(name: str, key: str, taken: Mapping[str, object]) -> str:
    """Return a name that is one and is free."""
    if not _NAME.fullmatch(name):
        raise ProblemError(f"{name[:40]!r} is not a name", key=key, remedy="a letter, then letters, digits and _")
    if keyword.iskeyword(name):
        raise ProblemError(
            f"{name!r} is a word of the grammar that expressions are read with",
            key=key,
            remedy=f"choose another name, such as {name}1",
        )
    if name in _RESERVED or name in taken:
        raise ProblemError(f"the name {name!r} already has a meaning", key=key, remedy="choose another name")
    return name


def read_number(scope: Scope, value: Number, key: str) -> sympy.Expr:
    """Return a number, or the constant expression that stands for one."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ProblemError(f"{value} is not a finite number", key=key)
    return located(key, scope.number, value)
