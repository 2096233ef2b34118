"""Piecewise polynomials on curved triangles, evaluated anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pinnsolve.references.radau import stage_nodes
from pinnsolve.references.reference import Points, Values
from pinnsolve.references.windows import interpolation_matrix, locate

Array = NDArray[np.float64]
_NEIGHBOURS = 24  # triangles of one size whose centres are near a point
_OUTSIDE = -0.05  # barycentric: chords of the coarsest meshes leave the boundary by less
_NEWTON_STEPS = 6


def exponents(degree: int) -> list[tuple[int, int]]:
    """Return the exponents of the monomials ξ^a η^b up to a degree."""
    return [(a, b) for a in range(degree + 1) for b in range(degree + 1 - a)]


def powers(places: Array, degree: int) -> Array:
    """Return the monomials at places (N, 2) of the reference triangle, (N, monomials)."""
    return np.stack([places[:, 0] ** a * places[:, 1] ** b for a, b in exponents(degree)], axis=1)


@dataclass(frozen=True)
class CurvedTriangles:
    """Triangles with quadratic edges.

    Attributes:
        nodes: (T, 6, 2), three corners, then the middles of edges 01, 12, 02: a quadratic map.
    """

    nodes: Array

    @cached_property
    def _by_size(self) -> list[tuple[NDArray[np.intp], float, cKDTree]]:
        """Triangles of similar size: their numbers, the largest diameter, and a tree of their centres."""
        corners = self.nodes[:, :3]
        diameters = np.max([np.linalg.norm(corners[:, i] - corners[:, i - 1], axis=1) for i in range(3)], axis=0)
        classes = np.round(np.log2(diameters)).astype(int)
        groups = [np.flatnonzero(classes == size) for size in np.unique(classes)[::-1]]
        return [(group, float(diameters[group].max()), cKDTree(corners[group].mean(axis=1))) for group in groups]

    def located(self, points: Points) -> tuple[NDArray[np.intp], Array]:
        """Return the triangle of each point (-1 for none) and the place in it, (N, 2)."""
        best = np.full(len(points), _OUTSIDE)
        triangle, local = np.full(len(points), -1), np.zeros((len(points), 2))
        for group, reach, tree in self._by_size:
            open_ = np.flatnonzero(best < 0)
            count = min(_NEIGHBOURS, len(group))
            _, near = tree.query(points[open_], k=count, distance_upper_bound=reach)
            near = near.reshape(len(open_), count)
            for rank in range(count):
                there = (near[:, rank] < len(group)) & (best[open_] < 0)
                if not there.any():
                    break
                asked, candidates = open_[there], group[near[there, rank]]
                place = self._inverse(candidates, points[asked])
                inside = np.minimum(place.min(axis=1), 1 - place.sum(axis=1))
                better = inside > best[asked]
                chosen = asked[better]
                best[chosen], triangle[chosen], local[chosen] = inside[better], candidates[better], place[better]
        return triangle, local

    def _inverse(self, triangles: NDArray[np.intp], points: Points) -> Array:
        """Return the places (N, 2) in these triangles that are mapped to the points, by Newton's method."""
        nodes = self.nodes[triangles]
        edges = np.stack([nodes[:, 1] - nodes[:, 0], nodes[:, 2] - nodes[:, 0]], axis=2)
        place = _solved(edges, points - nodes[:, 0])
        bent = np.flatnonzero(self._is_bent[triangles])
        nodes, points, at = nodes[bent], points[bent], place[bent]
        for _ in range(_NEWTON_STEPS if len(bent) else 0):
            at = np.clip(at, -1.0, 2.0)  # far outside the quadratic map folds over
            values, slopes = _quadratic(at)
            miss = points - np.einsum("nk,nkd->nd", values, nodes)
            at = at + _solved(np.einsum("nkj,nkd->ndj", slopes, nodes), miss)
        place[bent] = at
        return np.nan_to_num(place, nan=-1.0)

    @cached_property
    def _is_bent(self) -> NDArray[np.bool_]:
        """Which triangles have an edge that is not straight, (T,)."""
        corners = self.nodes[:, :3]
        middles = 0.5 * (corners + np.roll(corners, -1, axis=1))  # of edges 01, 12, 20
        size = np.abs(corners[:, 1:] - corners[:, :1]).max(axis=(1, 2))
        bent: NDArray[np.bool_] = np.abs(self.nodes[:, 3:] - middles).max(axis=(1, 2)) > 1e-13 * size
        return bent


@dataclass(frozen=True)
class TriangleChart:
    """Fields that are on every triangle polynomials in the coordinates (ξ, η) of the reference triangle.

    Attributes:
        nodes: (T, 6, 2), three corners, then the middles of edges 01, 12, 02: a quadratic map.
        coefficients: (fields, T, monomials), in the order of `exponents`.
        degree: of the polynomials.
        fields: the fields' names.
    """

    nodes: Array
    coefficients: Array
    degree: int
    fields: tuple[str, ...]

    def __call__(self, points: Points) -> Values:
        """Return the fields (N,) at points (N, 2); NaN outside the mesh."""
        triangle, local = self._triangles.located(points)
        inside = triangle >= 0
        found = np.full((len(self.fields), len(points)), np.nan)
        weights = powers(local[inside], self.degree)
        found[:, inside] = np.einsum("nk,fnk->fn", weights, self.coefficients[:, triangle[inside]])
        return dict(zip(self.fields, found, strict=True))

    @cached_property
    def _triangles(self) -> CurvedTriangles:
        return CurvedTriangles(self.nodes)

    def arrays(self) -> dict[str, NDArray]:
        """Return everything the chart consists of."""
        return {
            "nodes": self.nodes,
            "coefficients": self.coefficients,
            "degree": np.array(self.degree),
            "fields": np.array(self.fields),
        }


@dataclass(frozen=True)
class EvolvingChart:
    """Fields that are on every triangle polynomials, whose coefficients are polynomials on windows of time.

    Attributes:
        nodes: (T, 6, 2), as in `CurvedTriangles`.
        unknowns: the numbers of each triangle's unknowns, (unknowns of a triangle, T).
        monomials: their polynomials' coefficients, (unknowns of a triangle, monomials).
        values: of each field the unknowns at the first window's start, then at the stages of each window,
            (fields, 1 + W stages, n).
        times: ends of the windows, (W + 1,).
        time_axis: the column of time.
        degree: of the polynomials in space.
        fields: the fields' names.
    """

    nodes: Array
    unknowns: NDArray[np.intp]
    monomials: Array
    values: Array
    times: Array
    time_axis: int
    degree: int
    fields: tuple[str, ...]

    def __call__(self, points: Points) -> Values:
        """Return the fields (N,) at points (N, 3); NaN outside the mesh."""
        triangle, local = self._triangles.located(np.delete(points, self.time_axis, axis=1))
        found = np.full((len(self.fields), len(points)), np.nan)
        inside = np.flatnonzero(triangle >= 0)
        weights = powers(local[inside], self.degree) @ self.monomials.T  # (N, unknowns of a triangle)
        window, position = locate(self.times, points[inside, self.time_axis])
        stages = (self.values.shape[1] - 1) // (len(self.times) - 1)
        for index in np.unique(window):
            here = np.flatnonzero(window == index)
            at_stages = self.values[:, index * stages : (index + 1) * stages + 1]
            in_time = interpolation_matrix(stage_nodes(stages), position[here])
            numbers = self.unknowns[:, triangle[inside[here]]]
            for k in range(stages + 1):  # one at a time: (fields, unknowns, N) at once
                at_stage = np.einsum("nu,fun->fn", weights[here], at_stages[:, k, numbers])
                found[:, inside[here]] = (found[:, inside[here]] if k else 0.0) + in_time[:, k] * at_stage
        return dict(zip(self.fields, found, strict=True))

    @cached_property
    def _triangles(self) -> CurvedTriangles:
        return CurvedTriangles(self.nodes)

    def arrays(self) -> dict[str, NDArray]:
        """Return everything the chart consists of."""
        return {
            "nodes": self.nodes,
            "unknowns": self.unknowns,
            "monomials": self.monomials,
            "values": self.values,
            "times": self.times,
            "time_axis": np.array(self.time_axis),
            "degree": np.array(self.degree),
            "fields": np.array(self.fields),
        }


def _solved(matrices: Array, right: Array) -> Array:
    """Return the solutions of 2 × 2 systems (N, 2), NaN where a matrix is singular."""
    a, b, c, d = matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 1, 0], matrices[:, 1, 1]
    with np.errstate(all="ignore"):
        factor = 1 / (a * d - b * c)
        return np.stack(
            [factor * (d * right[:, 0] - b * right[:, 1]), factor * (a * right[:, 1] - c * right[:, 0])], axis=1
        )


def _quadratic(place: Array) -> tuple[Array, Array]:
    """Return the six quadratic shape functions (N, 6) and their slopes (N, 6, 2)."""
    x, y = place.T
    z = 1 - x - y
    values = np.stack([z * (2 * z - 1), x * (2 * x - 1), y * (2 * y - 1), 4 * x * z, 4 * x * y, 4 * y * z], axis=1)
    zero = np.zeros_like(x)
    along_x = np.stack([1 - 4 * z, 4 * x - 1, zero, 4 * (z - x), 4 * y, -4 * y], axis=1)
    along_y = np.stack([1 - 4 * z, zero, 4 * y - 1, -4 * x, 4 * x, 4 * (z - y)], axis=1)
    return values, np.stack([along_x, along_y], axis=2)
