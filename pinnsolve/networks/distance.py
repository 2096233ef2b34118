r"""Values built in on the boundary of a domain that is no box: u = g + D·N with smooth distance functions.

A domain is a conjunction of factors φ_i > 0, each zero on some of its sides with slope 1. Factors join as

    φ = φ_a φ_b / (φ_a + φ_b)                       (1/φ = Σ 1/φ_i; keeps the slope 1, smooth where they do not meet),
    φ ∝ φ_a φ_b                                     where they meet at a right angle, since u is smooth there like x·y.

Values g_k on groups of sides, each with its distance Φ_k, are joined by inverse distances (transfinite interpolation):

    g = Σ_k g_k w_k / Σ_k w_k,    w_k = Π_{j≠k} Φ_j,    D = (Σ_k 1/Φ_k)⁻¹.

Source: Sukumar, Srivastava (2022), Comput. Methods Appl. Mech. Eng. 389, 114333, sections 3-5; Rvachev, Sheiko,
Shapiro, Tsukanov (2001), Comput. Aided Geom. Des. 18, 195-220.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import combinations

import numpy as np
import sympy
from numpy.typing import NDArray
from scipy.stats import qmc

from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.problems.geometry import Domain, Shape
from pinnsolve.problems.geometry.domain import Piece
from pinnsolve.problems.geometry.regions import Factor

Points = NDArray[np.float64]
_TOUCH = 5e-3  # of the domain's size: factors closer to each other than this meet
_RIGHT_ANGLE = 0.05  # cosine up to which an angle counts as right
_PROBES = 2**10  # points per side
_VANISHING = 1e-6  # a distance that is so small, of its largest value, in the middle of the domain is zero there


@dataclass(frozen=True)
class Wall:
    """A factor of the domain on all of whose sides a value is given.

    Attributes:
        level: positive in the domain, zero on the sides.
        data: the value.
        points: on the sides, in space, (N, d_space).
    """

    level: sympy.Expr
    data: sympy.Expr
    points: Points


@dataclass(frozen=True)
class Boundary:
    """The walls of a domain, and how they meet."""

    domain: Domain
    walls: tuple[Wall, ...]

    @cached_property
    def cosines(self) -> dict[tuple[int, int], float]:
        """|cos| of the angle at which two walls meet, for those that do."""
        found = {}
        for i, j in combinations(range(len(self.walls)), 2):
            place = self._meeting(i, j)
            if place is not None:
                a, b = (self._slope(self.walls[k].level, place) for k in (i, j))
                found[i, j] = float(abs(a @ b) / (np.linalg.norm(a) * np.linalg.norm(b)))
        return found

    def groups(self) -> dict[sympy.Expr, list[int]]:
        """Return the walls by the value given on them."""
        groups: dict[sympy.Expr, list[int]] = {}
        for index, wall in enumerate(self.walls):
            groups.setdefault(wall.data, []).append(index)
        return groups

    def distance(self, chosen: Iterable[int]) -> sympy.Expr:
        """Return the distance function of some of the walls."""
        return reduce(joined, [self._product(part) for part in self._square(list(chosen))])

    def scaled(self, level: sympy.Expr) -> sympy.Expr:
        """Return a function scaled to a greatest value of 1 in the domain."""
        return level / _short(np.max(self._inside(level)))

    def vanishes_inside(self, level: sympy.Expr) -> bool:
        """Return whether a distance function vanishes on a side of a shape that lies within the domain."""
        places = np.concatenate([self._within(leaf.shape) for leaf in self.domain.region.leaves()])
        largest = float(np.max(self._inside(level)))
        lowest = np.min(self._values(level, places), initial=np.inf)
        return bool(lowest < _VANISHING * largest or np.min(self._inside(level)) < 0)

    def _within(self, shape: Shape) -> Points:
        """Return points of the shape's sides on both sides of which the domain lies."""
        found = []
        for index, side in enumerate(shape.sides):
            points = side.points(qmc.Sobol(max(side.dimension, 1), seed=1).random(_PROBES))
            across = _TOUCH * self.domain.size * Piece(shape, index, True).normals(points)
            inside = [self.domain.region.depth(points + sign * across) > 0 for sign in (-1, 1)]
            found.append(points[inside[0] & inside[1]])
        return np.concatenate(found)

    def _product(self, part: Sequence[int]) -> sympy.Expr:
        """Return the product of walls at right angles, of the size of one of them."""
        levels = [self.walls[index].level for index in part]
        sizes = [float(np.max(self._inside(level))) for level in levels]
        return math.prod(levels) / _short(math.prod(sizes) / min(sizes)) if len(part) > 1 else levels[0]

    def _square(self, chosen: Sequence[int]) -> list[list[int]]:
        """Return the chosen walls in parts that are connected by right angles."""
        parts = [[index] for index in chosen]
        for (i, j), cosine in self.cosines.items():
            if cosine < _RIGHT_ANGLE and i in chosen and j in chosen:
                one, other = (next(part for part in parts if k in part) for k in (i, j))
                if one is not other:
                    parts.remove(other)
                    one.extend(other)
        return parts

    def _meeting(self, i: int, j: int) -> Points | None:
        """Return a point close to where two walls meet, None if they do not."""
        distances = np.abs(self._values(self.walls[j].level, self.walls[i].points))
        nearest = int(np.argmin(distances))
        close = distances[nearest] < _TOUCH * self.domain.size
        return self.walls[i].points[nearest] if close else None

    def _slope(self, level: sympy.Expr, place: Points) -> Points:
        step = 1e-6 * self.domain.size * np.eye(len(place))
        return self._values(level, place + step) - self._values(level, place - step)

    @cached_property
    def _sample(self) -> Points:
        lower, upper = np.array([[float(end) for end in pair] for pair in self.domain.region.bounds]).T
        points = lower + (upper - lower) * qmc.Sobol(len(lower), seed=2).random(2**12)
        return points[self.domain.region.depth(points) > 0]

    def _inside(self, level: sympy.Expr) -> Points:
        return self._values(level, self._sample)

    def _values(self, level: sympy.Expr, points: Points) -> Points:
        (values,) = Formula([level], self.domain.symbols)(numpy_functions(), list(points.T))
        return np.broadcast_to(np.asarray(values, dtype=float), len(points))


def joined(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    """Return ab/(a + b): zero where a or b is, with the slope of the one that vanishes.

    >>> a, b = sympy.symbols("a b")
    >>> joined(a, b)
    a*b/(a + b)
    """
    return a * b / (a + b)


def interpolated(data: Sequence[sympy.Expr], distances: Sequence[sympy.Expr]) -> sympy.Expr:
    """Return the function that takes each of the data where its distance is zero: weights by inverse distance."""
    if len(data) == 1:
        return data[0]
    weights = [math.prod(other for j, other in enumerate(distances) if j != k) for k in range(len(data))]
    return sum((value * weight for value, weight in zip(data, weights, strict=True)), sympy.S.Zero) / sum(weights)


def wall_of(factor: Factor, data: sympy.Expr, domain: Domain) -> Wall:
    """Return the wall of a factor, on the sides of which these data are given."""
    found = []
    for piece in domain.pieces:
        if (piece.shape, piece.index) in factor.sides:
            points = piece.side.points(qmc.Sobol(max(piece.side.dimension, 1), seed=3).random(_PROBES))
            found.append(points[domain.bounds(piece, points)])
    return Wall(factor.level, data, np.concatenate(found))


def _short(value: float) -> sympy.Expr:
    """Return a number rounded to two digits: a scale needs no more, and is easier to read."""
    return sympy.Rational(f"{value:.1e}")
