"""The domain of a problem: a region of its space coordinates, and the parts of its boundary."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import sympy
from numpy.typing import NDArray
from scipy.stats import qmc

from pinnsolve.problems.formulas import Formula, constant_value, numpy_functions
from pinnsolve.problems.geometry.corners import Corner, corners_of
from pinnsolve.problems.geometry.regions import Region
from pinnsolve.problems.geometry.shapes import Shape
from pinnsolve.problems.geometry.sides import Flat, Side

Points = NDArray[np.float64]
Mask = NDArray[np.bool_]

TOLERANCE = 1e-12  # of the domain's size: points of the boundary belong to it whatever rounding says
_ACROSS = 1e-6  # of the size: how far before and behind a side to look whether it bounds the domain
_PROBES = 2**10  # points per side that find out which sides bound the domain


@dataclass(frozen=True)
class Piece:
    """A side of a shape, where it bounds the domain.

    Attributes:
        shape, index: which side.
        within: whether the domain lies within the shape there; else the shape is a hole.
    """

    shape: Shape
    index: int
    within: bool

    @property
    def side(self) -> Side:
        """The whole side of the shape."""
        return self.shape.sides[self.index]

    @property
    def outward(self) -> tuple[sympy.Expr, ...]:
        """The unit normal away from the domain, in the space coordinates."""
        return self.side.outward if self.within else tuple(-component for component in self.side.outward)

    def normals(self, points: Points) -> Points:
        """Return unit normals away from the domain (N, d) at points (N, d) of the side."""
        values = self._formula(numpy_functions(), list(points.T))
        return np.stack([np.broadcast_to(value, len(points)) for value in values], axis=1)

    @cached_property
    def _formula(self) -> Formula:
        return Formula(self.outward, self.shape.symbols)


@dataclass(frozen=True)
class Domain:
    """A region of the space coordinates; time, if there is one, is an interval beside it.

    Attributes:
        region: what lies in it.
        names: regions by the names of the problem file.
        axes: the columns of the space coordinates in point arrays.
        symbols: the space coordinates.
        text: the line `domain` of the problem file.
    """

    region: Region
    names: Mapping[str, Region] = field(hash=False)
    axes: tuple[int, ...]
    symbols: tuple[sympy.Symbol, ...]
    text: str = ""

    @cached_property
    def size(self) -> float:
        """The longest edge of the smallest box around the domain."""
        return max(constant_value(high) - constant_value(low) for low, high in self.region.bounds)

    def depth(self, points: Points) -> NDArray[np.float64]:
        """Return how far inside points of all coordinates (N, d) are, to first order near the boundary."""
        return self.region.depth(points[:, self.axes])

    def contains(self, points: Points) -> Mask:
        """Return which points of all coordinates (N, d) lie in the closed domain, corners left out.

        At corners distance functions have no derivative, and a boundary has no normal.
        """
        inside: Mask = self.depth(points) >= -TOLERANCE * self.size
        for vertex in self._vertices:
            inside &= ~(np.abs(points[:, self.axes] - vertex) < 1e-9 * self.size).all(1)
        return inside

    @cached_property
    def _vertices(self) -> Points:
        found = {vertex for leaf in self.region.leaves() for vertex in leaf.shape.vertices}
        found |= {corner.place for corner in self.corners}
        return np.array(sorted(found)).reshape(-1, len(self.axes))

    def bounds(self, piece: Piece, points: Points) -> Mask:
        """Return which points (N, d_space) of a side bound the domain, which lies on the side that the piece says."""
        across = _ACROSS * self.size * piece.normals(points)
        mask: Mask = (self.region.depth(points - across) > 0) & (self.region.depth(points + across) < 0)
        return mask

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The sides that bound the domain somewhere, in the order in which the file names their shapes."""
        shapes = dict.fromkeys(leaf.shape for leaf in self.region.leaves())
        return tuple(piece for shape in shapes for piece in self._pieces_of(shape))

    def _pieces_of(self, shape: Shape) -> Iterator[Piece]:
        for index, side in enumerate(shape.sides):
            unit = qmc.Sobol(max(side.dimension, 1), seed=0).random(_PROBES if side.dimension else 1)
            points = side.points(unit)
            for within in (True, False):
                piece = Piece(shape, index, within)
                if self.bounds(piece, points).any():
                    yield piece

    @cached_property
    def corners(self) -> tuple[Corner, ...]:
        """Where two sides of a domain of two space coordinates end, whether of one shape or of two."""
        return tuple(corners_of(self))

    def parts(self, region: Region | None = None) -> list[Part]:
        """Return the boundary's parts, one per shape (of a region)."""
        wanted = {leaf.shape for leaf in (region or self.region).leaves()}
        groups: dict[tuple[Shape, bool], list[Piece]] = {}
        for piece in self.pieces:
            if piece.shape in wanted:
                groups.setdefault((piece.shape, piece.within), []).append(piece)
        return [Part(self, tuple(pieces), self._label(*key)) for key, pieces in groups.items()]

    def plane(self, axis: int, value: float) -> Part | None:
        """Return the flat part of the boundary on which one space coordinate has a value, None if there is none."""
        pieces = tuple(piece for piece in self.pieces if self.plane_of(piece, axis, value))
        if not pieces:
            return None
        return Part(self, pieces, f"{self.symbols[axis].name} = {value:g}")

    def plane_of(self, piece: Piece, axis: int, value: float) -> bool:
        """Return whether a side is flat and lies where one space coordinate has a value."""
        side = piece.side
        if not isinstance(side, Flat) or abs(abs(constant_value(side.outward[axis])) - 1) > TOLERANCE:
            return False
        return math.isclose(side.origin[axis], value, abs_tol=1e-9 * self.size)

    def _label(self, shape: Shape, within: bool) -> str:
        alike = list(dict.fromkeys(leaf.shape for leaf in self.region.leaves() if leaf.shape.kind == shape.kind))
        unnamed = shape.kind if len(alike) == 1 else f"{shape.kind} {alike.index(shape) + 1}"
        name = next((leaf.name for leaf in self.region.leaves() if leaf.shape == shape and leaf.name), unnamed)
        both = len({piece.within for piece in self.pieces if piece.shape == shape}) == 2
        return f"on {name}" + ((" from inside" if within else " from outside") if both else "")


@dataclass(frozen=True)
class Part:
    """A part of a domain's boundary: some sides of shapes, where they bound the domain.

    Attributes:
        domain: whose boundary it is a part of.
        pieces: the sides.
        where: how it is written.
    """

    domain: Domain
    pieces: tuple[Piece, ...]
    where: str
    axis: None = field(default=None, init=False)
    side: str = field(default="", init=False)

    @property
    def dimension(self) -> int:
        """How many numbers in [0, 1] place a point in space: the first chooses the side."""
        return max(1, *(piece.side.dimension for piece in self.pieces))

    @property
    def single_sides(self) -> list[Part]:
        """The sides as parts of their own; each has one expression for its normal."""
        if len(self.pieces) == 1:
            return [self]
        return [replace(self, pieces=(piece,), where=self._side_name(piece)) for piece in self.pieces]

    @property
    def outward(self) -> tuple[sympy.Expr, ...]:
        """The unit normal away from the domain, in the space coordinates, of a single side."""
        (piece,) = self.pieces
        return piece.outward

    def placed(self, unit: Points) -> Points:
        """Return points (N, d_space) at positions (N, dimension) in the unit cube, uniform in length or area.

        Where a side does not bound the domain they are NaN.
        """
        ends = np.cumsum([0.0, *(piece.side.measure for piece in self.pieces)])
        place = unit[:, 0] * ends[-1]
        chosen = np.clip(np.searchsorted(ends, place, side="right") - 1, 0, len(self.pieces) - 1)
        found = np.full((len(unit), len(self.domain.axes)), np.nan)
        for index, piece in enumerate(self.pieces):
            here = np.flatnonzero(chosen == index)
            local = np.column_stack([(place[here] - ends[index]) / piece.side.measure, unit[here, 1:]])
            points = piece.side.points(local)
            kept = self.domain.bounds(piece, points)
            found[here[kept]] = points[kept]
        return found

    def holds(self, points: Points, tolerance: float = 1e-7) -> Mask:
        """Return which points (N, d_space) of the domain's boundary lie on this part.

        Args:
            points: on the boundary.
            tolerance: of the domain's size.
        """
        distance = np.min([self._distance(piece, points) for piece in self.pieces], axis=0)
        mask: Mask = distance < tolerance * self.domain.size
        return mask

    @staticmethod
    def _distance(piece: Piece, points: Points) -> NDArray[np.float64]:
        """Return the distance of points near a side from it, of a flat one from plane and shape, whichever is more."""
        depth = np.abs(piece.shape.depth(points))
        if not isinstance(piece.side, Flat):
            return depth
        normal = np.array([constant_value(component) for component in piece.side.outward])
        return np.maximum(depth, np.abs((points - np.array(piece.side.origin)) @ normal))

    def _side_name(self, piece: Piece) -> str:
        outward = [constant_value(n) if not n.free_symbols else 0.0 for n in piece.outward]
        if isinstance(piece.side, Flat) and max(np.abs(outward)) == 1:
            axis = int(np.argmax(np.abs(outward)))
            return f"{self.where}, {self.domain.symbols[axis].name} = {piece.side.origin[axis]:g}"
        return f"{self.where}, side {piece.index + 1}"
