"""Corners of a plane domain: where two of its sides end, and the angle between them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pinnsolve.problems.geometry.sides import Flat

if TYPE_CHECKING:
    from pinnsolve.problems.geometry.domain import Domain, Piece

Points = NDArray[np.float64]
_SAMPLES = 2**10  # places along a side between which its ends are sought
_CLOSE = 1e-4  # of the domain's size: ends of sides closer than this are one corner
_STEPS, _REFINEMENTS = 64, 2  # together with the samples, 2e-7 of a side: below the accuracy of `Domain.bounds`
_POLISHING = 4  # Newton steps from there to rounding


@dataclass(frozen=True)
class Corner:
    """Where two sides of a plane domain end.

    Attributes:
        place: (2,).
        angle: in the domain, between 0 and 2π; π where sides go over into one another smoothly.
        bisector: the unit vector into the domain that halves the angle.
        pieces: the sides.
    """

    place: tuple[float, float]
    angle: float
    bisector: tuple[float, float]
    pieces: tuple[Piece, Piece]


@dataclass(frozen=True)
class _End:
    """An end of an arc of the boundary: the place, and the unit vectors along the arc and away from the domain."""

    place: Points
    along: Points
    outward: Points
    piece: Piece


def corners_of(domain: Domain) -> list[Corner]:
    """Return the corners of a domain of two space coordinates, none of others.

    A place where more than two sides end is no corner with one angle, and is left out.
    """
    if len(domain.axes) != 2:
        return []
    ends = [end for piece in domain.pieces for end in _ends(domain, piece)]
    meetings = {
        (i, j)
        for i, j in combinations(range(len(ends)), 2)
        if np.linalg.norm(ends[i].place - ends[j].place) < _CLOSE * domain.size
    }
    met = [index for pair in meetings for index in pair]
    return [_corner(ends[i], ends[j]) for i, j in sorted(meetings) if met.count(i) == met.count(j) == 1]


def _corner(a: _End, b: _End) -> Corner:
    # from the one side the angle opens away from its outward normal
    angle = math.atan2(-float(b.along @ a.outward), float(b.along @ a.along)) % (2 * math.pi)
    bisector = math.cos(angle / 2) * a.along - math.sin(angle / 2) * a.outward
    place = _polished(0.5 * (a.place + b.place), a.piece, b.piece)
    return Corner(
        (float(place[0]), float(place[1])), angle, (float(bisector[0]), float(bisector[1])), (a.piece, b.piece)
    )


def _ends(domain: Domain, piece: Piece) -> Iterator[_End]:
    """Yield the ends of the arcs of a side that bound the domain."""
    places = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    bounding = domain.bounds(piece, piece.side.points(places[:, None]))
    for step in (1, -1):
        next_one = np.roll(bounding, -step)
        if isinstance(piece.side, Flat):
            next_one[-1 if step == 1 else 0] = False
        for k in np.flatnonzero(bounding & ~next_one):
            yield _end(domain, piece, places[k], places[k] + step / _SAMPLES)


def _end(domain: Domain, piece: Piece, within: float, beyond: float) -> _End:
    """Return the end of an arc between two positions along its side, of which the second is not on it."""
    inner, outer = within, min(max(beyond, 0.0), 1.0) if isinstance(piece.side, Flat) else beyond
    for _ in range(_REFINEMENTS):
        ladder = np.linspace(inner, outer, _STEPS + 1)
        on_arc = domain.bounds(piece, _points(piece, *ladder))
        last = int(np.argmin([*on_arc[1:], False]))
        inner, outer = ladder[last], ladder[min(last + 1, _STEPS)]
    place, behind = _points(piece, outer, within)
    outward = piece.normals(place[None])[0]
    along = np.array([-outward[1], outward[0]])
    return _End(place, along * math.copysign(1.0, float(along @ (behind - place))), outward, piece)


def _points(piece: Piece, *positions: float) -> Points:
    """Return points of a side at positions along it; those of a round one go on after a whole turn."""
    unit = np.array(positions) if isinstance(piece.side, Flat) else np.mod(positions, 1.0)
    return piece.side.points(unit[:, None])


def _polished(place: Points, a: Piece, b: Piece) -> Points:
    """Return where two sides meet, close to a place, by Newton's method; the place itself where they are parallel."""
    for _ in range(_POLISHING):
        slopes = np.stack([piece.normals(place[None])[0] for piece in (a, b)])
        if abs(np.linalg.det(slopes)) < _CLOSE:
            return place
        place = place - np.linalg.solve(slopes, [_height(piece, place) for piece in (a, b)])
    return place


def _height(piece: Piece, place: Points) -> float:
    """Return how far a place lies beyond a side, away from the domain, to first order."""
    if isinstance(piece.side, Flat):
        return float((place - np.array(piece.side.origin)) @ piece.normals(place[None])[0])
    depth = float(piece.shape.depth(place[None])[0])
    return -depth if piece.within else depth
