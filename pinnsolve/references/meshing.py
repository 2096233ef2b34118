"""Triangle meshes of plane domains: coarse ones by Delaunay's criterion, refined by halving, finer at corners.

Boundary nodes are placed at equal distances along the sides, interior ones on a hexagonal lattice that is smoothed
(each node to the mean of its neighbours). Refinement halves edges; new nodes on the boundary move onto the side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from pinnsolve.problems import Condition
from pinnsolve.problems.changes import labelled_parts
from pinnsolve.problems.geometry import Domain, Flat
from pinnsolve.problems.geometry.domain import Piece

Points = NDArray[np.float64]
Indices = NDArray[np.intp]
_SAMPLES = 512  # per side: what is narrower than a 512th of a side is not seen
_SNAP = 1e-5  # of a side or of the domain's size: nodes closer than this are one
_ON_SIDE = 1e-9  # of the size: points of a side lie on it but for rounding
_SMOOTHINGS = 6
_LEAST_EDGES = 8  # along any side that is round
_ATTEMPTS = 5


@dataclass(frozen=True)
class Curve:
    """A part of a side between two corners, from position `start` to `end` along it."""

    piece: Piece
    start: float
    end: float

    @property
    def is_closed(self) -> bool:
        """Whether it is a whole circle or ellipse."""
        return not isinstance(self.piece.side, Flat) and self.end - self.start > 1 - _SNAP

    def points(self, share: Points) -> Points:
        """Return points (N, 2) at shares (N,) of the way along the curve."""
        return self.piece.side.points((self.start + (self.end - self.start) * share)[:, None])

    def edges(self, spacing: float) -> int:
        """Return into how many edges of this length at most the curve is cut."""
        length = (self.end - self.start) * self.piece.side.measure
        least = 1 if isinstance(self.piece.side, Flat) else int(np.ceil(_LEAST_EDGES * (self.end - self.start)))
        return max(int(np.ceil(length / spacing)), least, 1)


def boundary_curves(domain: Domain, conditions: Sequence[Condition]) -> list[Curve]:
    """Return the boundary in pieces that end at corners and where another condition begins."""
    curves = []
    for piece in domain.pieces:

        def label(share: Points, piece: Piece = piece) -> NDArray[np.int64]:
            """Return a number for each set of conditions that hold, -1 off the boundary."""
            points = piece.side.points(share[:, None])
            holds = [_holds(condition, domain, points) for condition in conditions]
            code = sum((1 << k) * held.astype(np.int64) for k, held in enumerate(holds))
            return np.where(domain.bounds(piece, points), code, -1)

        marks, changes = labelled_parts(label, _SAMPLES)
        cuts = [0.0, *map(_snapped, changes), 1.0]
        ends = zip(pairwise(cuts), marks, strict=True)
        curves += [Curve(piece, a, b) for (a, b), mark in ends if mark >= 0 and b - a > _SNAP]
    return curves


def condition_at(domain: Domain, conditions: Sequence[Condition], points: Points) -> list[NDArray[np.bool_]]:
    """Return for each condition at which points (N, 2) of the boundary it holds."""
    return [_holds(condition, domain, points) for condition in conditions]


def _holds(condition: Condition, domain: Domain, points: Points) -> NDArray[np.bool_]:
    face: Any = condition.face
    held = face.holds(points, _ON_SIDE)
    for restriction in condition.restrictions:
        placed = np.zeros((len(points), len(restriction.coordinates)))  # restrictions do not depend on time
        placed[:, domain.axes] = points
        held = held & restriction.holds(placed)
    return np.asarray(held, dtype=bool)


def _snapped(position: float) -> float:
    """Return a position along a side, or the end of the side that it is close to."""
    return 0.0 if position < _SNAP else 1.0 if position > 1 - _SNAP else position


def coarse_mesh(domain: Domain, curves: list[Curve]) -> tuple[Points, Indices, Points]:
    """Return nodes (N, 2), triangles (T, 3) and corners (K, 2) of a mesh that has every side.

    Raises:
        ValueError: no mesh was found in a few attempts: the domain is too narrow somewhere.
    """
    spacing = domain.size / 8
    for _ in range(_ATTEMPTS):
        nodes, edges, corners = _boundary_nodes(domain, curves, spacing)
        mesh = _triangulated(domain, nodes, spacing)
        if mesh is not None and _has_edges(mesh[1], edges):
            return mesh[0], mesh[1], corners
        spacing *= 0.6
    raise ValueError("no triangulation has all sides of the domain")


def _boundary_nodes(domain: Domain, curves: list[Curve], spacing: float) -> tuple[Points, Indices, Points]:
    """Return boundary nodes, the edges between them, and those nodes at which a curve ends."""
    nodes: list[Points] = []
    edges: list[tuple[int, int]] = []
    corners: dict[int, None] = {}

    def number(place: Points) -> int:
        for index, other in enumerate(nodes):
            if np.linalg.norm(other - place) < 2 * _SNAP * domain.size:
                return index
        nodes.append(place)
        return len(nodes) - 1

    for curve in curves:
        places = curve.points(np.linspace(0, 1, curve.edges(spacing) + 1))
        numbers = [number(place) for place in places]
        edges += pairwise(numbers)
        if not curve.is_closed:
            corners |= dict.fromkeys((numbers[0], numbers[-1]))
    return np.array(nodes), np.array(edges), np.array(nodes)[list(corners)].reshape(-1, 2)


def _triangulated(domain: Domain, boundary: Points, spacing: float) -> tuple[Points, Indices] | None:
    """Return a smoothed mesh with these boundary nodes."""
    low, high = boundary.min(axis=0), boundary.max(axis=0)
    rows = np.arange(low[1], high[1] + spacing, spacing * np.sqrt(0.75))
    columns = np.arange(low[0], high[0] + spacing, spacing)
    lattice = [np.column_stack([columns + (k % 2) * spacing / 2, np.full(len(columns), y)]) for k, y in enumerate(rows)]
    inner = np.concatenate(lattice)
    inner = inner[domain.region.depth(inner) > 0.2 * spacing]
    distance = np.linalg.norm(inner[:, None] - boundary[None], axis=2).min(axis=1)
    nodes = np.concatenate([boundary, inner[distance > 0.6 * spacing]])
    for _ in range(_SMOOTHINGS):
        triangles = _kept(domain, nodes)
        moved = _neighbour_means(nodes, triangles)
        moved[: len(boundary)] = boundary
        nodes = np.where((domain.region.depth(moved) > 0)[:, None], moved, nodes)
        nodes[: len(boundary)] = boundary
    triangles = _kept(domain, nodes)
    used = np.unique(triangles)
    if not np.isin(np.arange(len(boundary)), used).all():
        return None
    numbers = np.full(len(nodes), -1)
    numbers[used] = np.arange(len(used))
    return nodes[used], numbers[triangles]


def _kept(domain: Domain, nodes: Points) -> Indices:
    """Return the Delaunay triangles that lie in the domain."""
    triangles = Delaunay(nodes).simplices
    corners = nodes[triangles]
    sides = corners[:, 1:] - corners[:, :1]
    area = 0.5 * np.abs(sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0])
    inside = domain.region.depth(corners.mean(axis=1)) > 0
    return np.asarray(triangles[inside & (area > 1e-7 * domain.size**2)])


def _neighbour_means(nodes: Points, triangles: Indices) -> Points:
    total, count = np.zeros_like(nodes), np.zeros(len(nodes))
    for a, b in ((0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)):
        np.add.at(total, triangles[:, a], nodes[triangles[:, b]])
        np.add.at(count, triangles[:, a], 1)
    return np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], nodes)


def _has_edges(triangles: Indices, edges: Indices) -> bool:
    """Return whether the boundary of the triangles consists of these edges and no other."""
    pairs = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    unique, counts = np.unique(pairs, axis=0, return_counts=True)
    outer = {tuple(pair) for pair in unique[counts == 1].tolist()}
    return outer == {tuple(sorted(edge)) for edge in edges.tolist()}


def projected(domain: Domain, ends: Points, middles: Points) -> Points:
    """Return the middles of boundary edges moved onto the sides that the edges span.

    Args:
        domain: whose boundary it is.
        ends: (N, 2, 2), the ends of the edges.
        middles: (N, 2).
    """
    pieces = domain.pieces
    off_ends = np.array([_distance(p, ends.reshape(-1, 2)).reshape(-1, 2).max(axis=1) for p in pieces])
    off_middle = np.array([_distance(p, middles) for p in pieces])
    # both ends of an edge across a corner may lie on two sides: the nearer one to its middle is meant
    chosen = np.argmin(np.where(off_ends < 1e-4 * domain.size, off_middle, np.inf), axis=0)
    moved = middles.copy()
    for index, piece in enumerate(pieces):
        here = chosen == index
        if isinstance(piece.side, Flat) or not here.any():
            continue
        for _ in range(6):  # Newton's method for level = 0 along the normal
            normals = piece.normals(moved[here])
            normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
            depth = piece.shape.depth(moved[here]) * (1 if piece.within else -1)
            moved[here] = moved[here] + depth[:, None] * normals
    return moved


def _distance(piece: Piece, points: Points) -> Points:
    depth = np.abs(piece.shape.depth(points))
    if not isinstance(piece.side, Flat):
        return np.asarray(depth)
    normal = np.array([float(component) for component in piece.side.outward])
    return np.maximum(depth, np.abs((points - np.array(piece.side.origin)) @ normal))
