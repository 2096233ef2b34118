"""The shapes that a problem file can name: exact, symbolic, with their sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import sympy
from numpy.typing import NDArray

from pinnsolve.errors import ProblemError, unknown_name
from pinnsolve.problems.formulas import Formula, constant_value, numpy_functions
from pinnsolve.problems.geometry.logic import conjunction
from pinnsolve.problems.geometry.polygons import inward, ordered_vertices, walls_of
from pinnsolve.problems.geometry.sides import Flat, Round, Side
from pinnsolve.problems.space import DIMENSIONS

Numbers = Sequence[sympy.Expr]
Symbols = tuple[sympy.Symbol, ...]
Bounds = tuple[tuple[sympy.Expr, sympy.Expr], ...]


@dataclass(frozen=True)
class Wall:
    """One of the functions whose conjunction is a shape.

    Attributes:
        level: positive on the shape's side, zero on the wall with slope 1, away from corners.
        sides: the numbers of the shape's sides that lie on it.
    """

    level: sympy.Expr
    sides: tuple[int, ...]


@dataclass(frozen=True)
class Shape:
    """A closed region of a standard form.

    Attributes:
        kind: its name in problem files.
        arguments: exact, as the problem file gives them.
        symbols: the space coordinates.
        walls: their conjunction is the shape.
        sides: what its boundary consists of.
        bounds: the smallest interval in each coordinate that holds it.
        vertices: corners of its boundary, (M, d).
    """

    kind: str
    arguments: tuple[sympy.Expr, ...]
    symbols: Symbols
    walls: tuple[Wall, ...]
    sides: tuple[Side, ...]
    bounds: Bounds
    vertices: tuple[tuple[float, ...], ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(str(argument) for argument in self.arguments)})"

    @cached_property
    def level(self) -> sympy.Expr:
        """A function that is positive inside, zero on the boundary with slope 1 away from corners, negative outside."""
        return conjunction(wall.level for wall in self.walls)

    def depth(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far inside points (N, d) are, to first order near the boundary; negative outside."""
        values = self._formula(numpy_functions(), list(points.T))
        return np.min([np.broadcast_to(value, len(points)) for value in values], axis=0)

    @cached_property
    def _formula(self) -> Formula:
        return Formula([wall.level for wall in self.walls], self.symbols)


def shape(kind: str, arguments: Numbers, symbols: Symbols) -> Shape:
    """Return the shape of this kind.

    Raises:
        ProblemError: the kind is unknown, the number of arguments wrong, or the shape empty.
    """
    if kind not in SHAPES:
        raise ProblemError(unknown_name("shape", kind, SHAPES))
    form = SHAPES[kind]
    if not form.fits(len(arguments)):
        raise ProblemError(f"{kind} cannot be made of {len(arguments)} numbers", remedy=f"write {form.usage}")
    dimension = DIMENSIONS[kind](len(arguments))
    if dimension != len(symbols):
        names = ", ".join(symbol.name for symbol in symbols)
        raise ProblemError(f"{kind} has {dimension} coordinates; the space coordinates here are {names}")
    return form.make(kind, tuple(arguments), symbols)


def _box(kind: str, numbers: tuple[sympy.Expr, ...], symbols: Symbols) -> Shape:
    bounds = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    for symbol, (low, high) in zip(symbols, bounds, strict=True):
        if not constant_value(low) < constant_value(high):
            raise ProblemError(f"{kind} needs lower < upper in {symbol.name}, got {low} and {high}")
    sides: list[Side] = []
    walls: list[Wall] = []
    for axis, (low, high) in enumerate(bounds):
        for index, level in enumerate((symbols[axis] - low, high - symbols[axis])):
            walls.append(Wall(level, (len(sides),)))
            sides.append(_box_side(bounds, axis, index))
    corners = np.stack(np.meshgrid(*[_values(pair) for pair in bounds]), axis=-1).reshape(-1, len(bounds))
    vertices = tuple(map(tuple, corners.tolist())) if 1 < len(bounds) <= 3 else ()
    return Shape(kind, numbers, symbols, tuple(walls), tuple(sides), bounds, vertices)


def _box_side(bounds: Bounds, axis: int, index: int) -> Flat:
    values = [_values(pair) for pair in bounds]
    origin = [pair[index if k == axis else 0] for k, pair in enumerate(values)]
    spans = [
        tuple(high - low if j == k else 0.0 for j in range(len(bounds)))
        for k, (low, high) in enumerate(values)
        if k != axis
    ]
    outward = tuple(sympy.Integer(0 if k != axis else 2 * index - 1) for k in range(len(bounds)))
    return Flat(tuple(origin), tuple(spans), outward)


def _sphere(kind: str, numbers: tuple[sympy.Expr, ...], symbols: Symbols) -> Shape:
    *centre, radius = numbers
    _check_positive(kind, "radius", radius)
    offsets = [x - c for x, c in zip(symbols, centre, strict=True)]
    level = (radius**2 - sum((offset**2 for offset in offsets), sympy.S.Zero)) / (2 * radius)
    outward = tuple(offset / radius for offset in offsets)
    side = Round(_values(centre), (constant_value(radius),) * len(centre), outward)
    bounds = tuple((c - radius, c + radius) for c in centre)
    return Shape(kind, numbers, symbols, (Wall(level, (0,)),), (side,), bounds)


def _ellipse(kind: str, numbers: tuple[sympy.Expr, ...], symbols: Symbols) -> Shape:
    """Return an ellipse; q / √(q²/c² + |∇q|²) is its level, q = 1 - X²/a² - Y²/b², c = min(a, b)."""
    cx, cy, a, b = numbers[:4]
    angle = numbers[4] if len(numbers) == 5 else sympy.S.Zero
    for name, value in (("first half axis", a), ("second half axis", b)):
        _check_positive(kind, name, value)
    dx, dy, cos, sin = symbols[0] - cx, symbols[1] - cy, sympy.cos(angle), sympy.sin(angle)
    along, across = cos * dx + sin * dy, cos * dy - sin * dx
    q = 1 - along**2 / a**2 - across**2 / b**2
    steepness = 2 * sympy.sqrt(along**2 / a**4 + across**2 / b**4)
    shorter = a if constant_value(a) <= constant_value(b) else b
    level = q / sympy.sqrt(q**2 / shorter**2 + steepness**2)
    outward = tuple(-sympy.diff(q, symbol) / steepness for symbol in symbols)
    side = Round(_values([cx, cy]), _values([a, b]), outward, constant_value(angle))
    reach = sympy.sqrt(a**2 * cos**2 + b**2 * sin**2), sympy.sqrt(a**2 * sin**2 + b**2 * cos**2)
    bounds = tuple((c - r, c + r) for c, r in zip((cx, cy), reach, strict=True))
    return Shape(kind, numbers, symbols, (Wall(level, (0,)),), (side,), bounds)


def _polygon(kind: str, numbers: tuple[sympy.Expr, ...], symbols: Symbols) -> Shape:
    vertices = ordered_vertices(numbers)
    sides = []
    for start, end in pairwise([*vertices, vertices[0]]):
        inside = inward(start, end)
        span = _values([e - s for s, e in zip(start, end, strict=True)])
        sides.append(Flat(_values(start), (span,), (-inside[0], -inside[1])))
    walls = tuple(Wall(level, edges) for level, edges in walls_of(vertices, symbols))
    columns = [sorted(column, key=constant_value) for column in zip(*vertices, strict=True)]
    bounds = tuple((column[0], column[-1]) for column in columns)
    return Shape(kind, numbers, symbols, walls, tuple(sides), bounds, tuple(_values(v) for v in vertices))


def _check_positive(kind: str, what: str, value: sympy.Expr) -> None:
    if not constant_value(value) > 0:
        raise ProblemError(f"the {what} of {kind} is positive, got {value}")


def _values(numbers: Numbers) -> tuple[float, ...]:
    return tuple(constant_value(number) for number in numbers)


@dataclass(frozen=True)
class Form:
    """How a kind of shape is written and made.

    Attributes:
        usage: as an error message shows it.
        fits: whether it can be made of so many numbers.
        make: (kind, numbers, symbols) to the shape.
    """

    usage: str
    fits: Callable[[int], bool]
    make: Callable[[str, tuple[sympy.Expr, ...], Symbols], Shape]


SHAPES: dict[str, Form] = {
    "cuboid": Form("cuboid(x_lower, x_upper, y_lower, y_upper, z_lower, z_upper)", (6).__eq__, _box),
    "disk": Form("disk(centre_x, centre_y, radius)", (3).__eq__, _sphere),
    "ellipse": Form(
        "ellipse(centre_x, centre_y, half_axis, half_axis) and an angle after it",
        (4, 5).__contains__,
        _ellipse,
    ),
    "hypercube": Form("hypercube(lower, upper, lower, upper, ...)", lambda n: n >= 2 and n % 2 == 0, _box),
    "interval": Form("interval(lower, upper)", (2).__eq__, _box),
    "polygon": Form("polygon(x1, y1, x2, y2, x3, y3, ...)", lambda n: n >= 6 and n % 2 == 0, _polygon),
    "rectangle": Form("rectangle(x_lower, x_upper, y_lower, y_upper)", (4).__eq__, _box),
    "sphere": Form("sphere(centre_x, centre_y, centre_z, radius)", lambda n: n >= 4, _sphere),
    "triangle": Form("triangle(x1, y1, x2, y2, x3, y3)", (6).__eq__, _polygon),
}
