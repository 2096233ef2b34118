"""Regions: shapes combined by union, intersection and difference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import sympy
from numpy.typing import NDArray

from pinnsolve.problems.formulas import constant_value
from pinnsolve.problems.geometry.logic import conjunction, disjunction
from pinnsolve.problems.geometry.shapes import Bounds, Shape

Points = NDArray[np.float64]
Depth = NDArray[np.float64]


@dataclass(frozen=True)
class Factor:
    """One of the functions whose conjunction is a region.

    Attributes:
        level: positive in the region, zero where its sides bound the region, with slope 1 away from corners.
        sides: of which shapes, by number; those that bound the region and those that do not.
    """

    level: sympy.Expr
    sides: frozenset[tuple[Shape, int]]


@dataclass(frozen=True)
class Leaf:
    """A shape, under the name that the problem file gives it."""

    shape: Shape
    name: str = ""

    @property
    def bounds(self) -> Bounds:
        """An interval in each coordinate that holds the region."""
        return self.shape.bounds

    @property
    def level(self) -> sympy.Expr:
        """A function that is positive inside, zero on the boundary, negative outside."""
        return self.shape.level

    def depth(self, points: Points) -> Depth:
        """Return how far inside points are, to first order near the boundary; negative outside."""
        return self.shape.depth(points)

    def leaves(self) -> Iterator[Leaf]:
        """Yield the shapes."""
        yield self

    def factors(self, complement: bool = False) -> list[Factor]:
        """Return functions whose conjunction is the region, or its complement."""
        sides = frozenset((self.shape, index) for index in range(len(self.shape.sides)))
        if complement:
            return [Factor(-self.level, sides)]
        return [Factor(w.level, frozenset((self.shape, k) for k in w.sides)) for w in self.shape.walls]


@dataclass(frozen=True)
class _Pair:
    first: Region
    second: Region

    def leaves(self) -> Iterator[Leaf]:
        """Yield the shapes, those of the first region first."""
        yield from self.first.leaves()
        yield from self.second.leaves()

    def _sides(self) -> frozenset[tuple[Shape, int]]:
        return frozenset((leaf.shape, k) for leaf in self.leaves() for k in range(len(leaf.shape.sides)))


@dataclass(frozen=True)
class Union(_Pair):
    """What lies in one region or in both."""

    @property
    def bounds(self) -> Bounds:
        """An interval in each coordinate that holds the region."""
        return _combined(self.first.bounds, self.second.bounds, _lower, _upper)

    @property
    def level(self) -> sympy.Expr:
        """A function that is positive inside, zero on the boundary, negative outside."""
        return disjunction([self.first.level, self.second.level])

    def depth(self, points: Points) -> Depth:
        """Return how far inside points are, to first order near the boundary; negative outside."""
        return np.maximum(self.first.depth(points), self.second.depth(points))

    def factors(self, complement: bool = False) -> list[Factor]:
        """Return functions whose conjunction is the region, or its complement."""
        if complement:
            return self.first.factors(True) + self.second.factors(True)
        return [Factor(self.level, self._sides())]


@dataclass(frozen=True)
class Intersection(_Pair):
    """What lies in both regions."""

    @property
    def bounds(self) -> Bounds:
        """An interval in each coordinate that holds the region."""
        return _combined(self.first.bounds, self.second.bounds, _upper, _lower)

    @property
    def level(self) -> sympy.Expr:
        """A function that is positive inside, zero on the boundary, negative outside."""
        return conjunction([self.first.level, self.second.level])

    def depth(self, points: Points) -> Depth:
        """Return how far inside points are, to first order near the boundary; negative outside."""
        return np.minimum(self.first.depth(points), self.second.depth(points))

    def factors(self, complement: bool = False) -> list[Factor]:
        """Return functions whose conjunction is the region, or its complement."""
        if complement:
            return [Factor(-self.level, self._sides())]
        return self.first.factors() + self.second.factors()


@dataclass(frozen=True)
class Difference(_Pair):
    """What lies in the first region and not in the second."""

    @property
    def bounds(self) -> Bounds:
        """An interval in each coordinate that holds the region."""
        return self.first.bounds

    @property
    def level(self) -> sympy.Expr:
        """A function that is positive inside, zero on the boundary, negative outside."""
        return conjunction([self.first.level, -self.second.level])

    def depth(self, points: Points) -> Depth:
        """Return how far inside points are, to first order near the boundary; negative outside."""
        return np.minimum(self.first.depth(points), -self.second.depth(points))

    def factors(self, complement: bool = False) -> list[Factor]:
        """Return functions whose conjunction is the region, or its complement."""
        if complement:
            return [Factor(-self.level, self._sides())]
        return self.first.factors() + self.second.factors(True)


Region = Leaf | Union | Intersection | Difference


def _lower(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    return a if constant_value(a) <= constant_value(b) else b


def _upper(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    return a if constant_value(a) >= constant_value(b) else b


Choice = Callable[[sympy.Expr, sympy.Expr], sympy.Expr]


def _combined(first: Bounds, second: Bounds, low: Choice, high: Choice) -> Bounds:
    pairs = zip(first, second, strict=True)
    return tuple((low(a[0], b[0]), high(a[1], b[1])) for a, b in pairs)
