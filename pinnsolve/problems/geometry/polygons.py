r"""Polygons as logic of half planes, each edge used once.

The hull of a polygon is the conjunction of its edges' half planes; where a chain of edges cuts in from
an edge of the hull, the chain's pocket, again a polygon on the other side, is taken away:

    P = ∧ hull edges ∧ ¬ pockets,    recursively.

Source: Dobkin, Guibas, Hershberger, Snoeyink (1988), SIGGRAPH, 31-40; Shapiro (2001), ASME J. Comput. Inf. Sci. Eng. 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
import sympy
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from pinnsolve.errors import ProblemError
from pinnsolve.problems.formulas import constant_value
from pinnsolve.problems.geometry.logic import conjunction

Vertex = tuple[sympy.Expr, sympy.Expr]
Chain = list[int]  # vertices of the polygon, by number
MOST_VERTICES = 100


def ordered_vertices(numbers: Sequence[sympy.Expr]) -> list[Vertex]:
    """Return the vertices counter-clockwise, without those on a straight edge.

    Raises:
        ProblemError: fewer than three corners, or edges that meet elsewhere than at their ends.
    """
    vertices = list(zip(numbers[::2], numbers[1::2], strict=True))
    if len(vertices) > MOST_VERTICES:
        raise ProblemError(f"a polygon has at most {MOST_VERTICES} vertices, got {len(vertices)}")
    places = np.array([[constant_value(x), constant_value(y)] for x, y in vertices])
    size = float(np.ptp(places, axis=0).max())
    before, after = places - np.roll(places, 1, axis=0), np.roll(places, -1, axis=0) - places
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    kept = np.flatnonzero(np.abs(turns) > 1e-12 * size**2)
    if len(kept) < 3:
        raise ProblemError(f"a polygon needs three corners that are not in line, got {_shown(vertices)}")
    _refuse_crossings(places[kept])
    x, y = places[kept].T
    doubled_area = float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
    return [vertices[k] for k in (kept if doubled_area > 0 else kept[::-1])]


def walls_of(vertices: Sequence[Vertex], symbols: Sequence[sympy.Symbol]) -> list[tuple[sympy.Expr, tuple[int, ...]]]:
    """Return functions whose conjunction is the polygon, each with the numbers of its edges.

    Args:
        vertices: counter-clockwise; edge k leads from vertex k to the next one.
        symbols: the coordinates.
    """
    places = np.array([[constant_value(x), constant_value(y)] for x, y in vertices])
    first = int(np.lexsort((places[:, 1], places[:, 0]))[0])  # a corner of the hull
    closed = [(first + k) % len(vertices) for k in range(len(vertices) + 1)]
    return _items(closed, vertices, places, symbols)


def _items(
    chain: Chain, vertices: Sequence[Vertex], places: NDArray[np.float64], symbols: Sequence[sympy.Symbol]
) -> list[tuple[sympy.Expr, tuple[int, ...]]]:
    """Return the conjunction's terms along a chain with its inside to the left; the chain's ends are on its hull."""
    inner = chain[:-1] if chain[0] == chain[-1] else chain
    on_hull = set(np.array(inner)[ConvexHull(places[inner]).vertices]) if len(inner) > 3 else set(inner)
    corners = [k for k, vertex in enumerate(chain) if vertex in on_hull or k in (0, len(chain) - 1)]
    found = []
    for start, end in pairwise(corners):
        part = chain[start : end + 1]
        edges = tuple(_edge(a, b, len(vertices)) for a, b in pairwise(part))
        if len(part) == 2:
            found.append((half_plane(vertices[part[0]], vertices[part[1]], symbols), edges))
        else:
            pocket = conjunction(level for level, _ in _items(part[::-1], vertices, places, symbols))
            found.append((-pocket, edges))
    return found


def half_plane(start: Vertex, end: Vertex, symbols: Sequence[sympy.Symbol]) -> sympy.Expr:
    """Return the signed distance from the line through two points, positive to the left."""
    normal = inward(start, end)
    return sum((n * (x - p) for n, x, p in zip(normal, symbols, start, strict=True)), sympy.S.Zero)


def inward(start: Vertex, end: Vertex) -> tuple[sympy.Expr, sympy.Expr]:
    """Return the unit vector to the left of the way from one point to another."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = sympy.sqrt(dx**2 + dy**2)
    return -dy / length, dx / length


def _edge(a: int, b: int, count: int) -> int:
    """Return the number of the edge between two neighbours, in either direction."""
    return a if (a + 1) % count == b else b


def _refuse_crossings(places: NDArray[np.float64]) -> None:
    count = len(places)
    for i, j in combinations(range(count), 2):
        if j == i + 1 or (i == 0 and j == count - 1):
            continue
        if _cross(places[i], places[(i + 1) % count], places[j], places[(j + 1) % count]):
            raise ProblemError(f"edges {i + 1} and {j + 1} of the polygon meet", remedy="list the vertices in order")


def _cross(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64], d: NDArray[np.float64]) -> bool:
    def side(p: NDArray[np.float64], q: NDArray[np.float64], r: NDArray[np.float64]) -> float:
        return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    apart = (np.maximum(a, b) < np.minimum(c, d)) | (np.maximum(c, d) < np.minimum(a, b))
    return not apart.any() and side(a, b, c) * side(a, b, d) <= 0 and side(c, d, a) * side(c, d, b) <= 0


def _shown(vertices: Sequence[Vertex]) -> str:
    return ", ".join(f"({x}, {y})" for x, y in vertices[:5])
