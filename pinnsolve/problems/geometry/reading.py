"""The table [geometry] of a problem file, read: shapes by name, and the domain made of them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import sympy
from scipy.stats import qmc

from pinnsolve.errors import ProblemError, unknown_name
from pinnsolve.problems.formulas import constant_value
from pinnsolve.problems.geometry.domain import Domain
from pinnsolve.problems.geometry.regions import Difference, Intersection, Leaf, Region, Union
from pinnsolve.problems.geometry.shapes import Bounds, shape
from pinnsolve.problems.syntax import parse_region

Number = Callable[[str], sympy.Expr]
Argument = TypeVar("Argument")
Result = TypeVar("Result")
_OPERATIONS: dict[type[ast.operator], Callable[[Region, Region], Region]] = {
    ast.Add: Union,
    ast.Sub: Difference,
    ast.BitAnd: Intersection,
}
_PROBES = 2**14  # points in the smallest box that find a domain
_BOXES = ("cuboid", "hypercube", "interval", "rectangle")


def read_domain(
    table: Mapping[str, str], symbols: tuple[sympy.Symbol, ...], axes: tuple[int, ...], number: Number
) -> Domain:
    """Return the domain that a table describes.

    Args:
        table: names to regions in words; `domain` is the domain, or the only one there is.
        symbols: the space coordinates.
        axes: their columns in point arrays.
        number: text to the constant that it stands for.

    Raises:
        ProblemError: no region can be made of it, or nothing lies in the domain.
    """
    if "domain" not in table and len(table) != 1:
        raise ProblemError("the key is missing", key="geometry.domain", remedy='write domain = "plate - hole"')
    regions: dict[str, Region] = {}
    for name, text in table.items():
        regions[name] = located(f"geometry.{name}", _Reader(name, symbols, number, regions).region, text)
    key = "domain" if "domain" in table else next(iter(table))
    domain = Domain(regions[key], regions, axes, symbols, table[key])
    located(f"geometry.{key}", _refuse_empty, domain)
    return domain


def domain_as_box(domain: Domain) -> Bounds | None:
    """Return the intervals of a domain that is nothing but an interval, rectangle, cuboid or hypercube."""
    region = domain.region
    return region.bounds if isinstance(region, Leaf) and region.shape.kind in _BOXES else None


@dataclass(frozen=True)
class _Reader:
    """Reads one region; knows those before it."""

    name: str
    symbols: tuple[sympy.Symbol, ...]
    number: Number
    known: Mapping[str, Region]

    def region(self, text: str) -> Region:
        found = self._read(parse_region(text))
        return Leaf(found.shape, self.name) if isinstance(found, Leaf) and not found.name else found

    def _read(self, node: ast.expr) -> Region:
        match node:
            case ast.Name(id=name):
                if name not in self.known:
                    raise ProblemError(f"{unknown_name('region', name, self.known)}, at column {node.col_offset + 1}")
                return self.known[name]
            case ast.Call(func=ast.Name(id=kind), args=arguments):
                numbers = [self.number(ast.unparse(argument)) for argument in arguments]
                return Leaf(shape(kind, numbers, self.symbols))
            case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _OPERATIONS:
                return _OPERATIONS[type(operation)](self._read(left), self._read(right))
        raise ProblemError(
            f"{ast.unparse(node)[:60]!r} is not a region",
            remedy="combine shapes with + (union), - (difference) and & (intersection)",
        )


def _refuse_empty(domain: Domain) -> None:
    lower, upper = np.array([[constant_value(end) for end in pair] for pair in domain.region.bounds]).T
    if (lower < upper).all():
        unit = qmc.Sobol(len(lower), seed=0).random(_PROBES)
        if (domain.region.depth(lower + (upper - lower) * unit) > 0).any():
            return
    raise ProblemError("nothing lies in the domain", remedy="shapes that are combined by & have to overlap")


def refuse_small_box(given: Iterable[tuple[str, tuple[sympy.Expr, sympy.Expr]]], domain: Domain) -> None:
    """Raise an error if the interval of a coordinate does not hold the domain.

    Raises:
        ProblemError: naming the coordinate and the interval that is needed.
    """
    for (name, interval), (low, high) in zip(given, domain.region.bounds, strict=True):
        slack = 1e-9 * domain.size
        if constant_value(interval[0]) > constant_value(low) + slack or (
            constant_value(interval[1]) < constant_value(high) - slack
        ):
            raise ProblemError(
                f"the domain reaches from {low} to {high} in {name}, beyond [{interval[0]}, {interval[1]}]",
                key=f"coordinates.{name}",
                remedy=f"write {name} = [{low}, {high}] with quotes around expressions, or leave the coordinate out",
            )


def located(key: str, read: Callable[[Argument], Result], argument: Argument) -> Result:
    """Return read(argument), with the key added to a problem error that comes out of it."""
    try:
        return read(argument)
    except ProblemError as error:
        raise error.located(key=key) from None
