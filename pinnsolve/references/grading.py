"""Families of triangle meshes of a plane domain: halved, graded towards corners, curved along round sides.

At corners solutions behave as r^(π/α) (Babuška, Guo 1986, Comput. Mech. 1, 21-41).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsolve.problems import Condition
from pinnsolve.problems.geometry import Domain, Round
from pinnsolve.references.meshing import boundary_curves, coarse_mesh, projected

Array = NDArray[np.float64]
_EDGE = 0.5  # of a triangle on the coarsest mesh, of the radius of a round side plus the distance from it
_MOST_CUTS = 8
_ROUND_LAYERS = 1  # of smaller triangles along round sides
_CORNER_ERROR = 1e-7
_CORNER_RADIUS = 0.1  # of the outermost, of the domain's size


def first_mesh(domain: Domain, conditions: Sequence[Condition]) -> tuple[Any, Array]:
    """Return a coarse mesh, and the corners (K, 2) of the domain and of its conditions.

    Raises:
        ValueError: no mesh was found: the domain is too narrow somewhere.
    """
    from skfem import MeshTri

    nodes, triangles, corners = coarse_mesh(domain, boundary_curves(domain, conditions))
    mesh = MeshTri(np.ascontiguousarray(nodes.T), np.ascontiguousarray(triangles.T))
    for _ in range(_MOST_CUTS):
        long = _too_long(domain, mesh)
        if not len(long):
            break
        mesh = halved(domain, mesh, long)
    return mesh, corners


def _too_long(domain: Domain, mesh: Any) -> NDArray[np.intp]:
    """Return the triangles whose longest edge is a large part of the radius of a round side nearby."""
    nodes = mesh.p[:, mesh.t].transpose(2, 1, 0)  # (T, 3, 2)
    longest = np.max([np.linalg.norm(nodes[:, i] - nodes[:, i - 1], axis=1) for i in range(3)], axis=0)
    allowed = np.full(len(nodes), np.inf)
    for piece in domain.pieces:
        if isinstance(piece.side, Round):
            away = np.abs(piece.shape.depth(nodes.mean(axis=1)))
            allowed = np.minimum(allowed, _EDGE * (min(piece.side.radii) + away))
    return np.flatnonzero(longest > allowed)


def halved(domain: Domain, mesh: Any, marked: Any = 1) -> Any:
    """Return the mesh with all edges halved, or the marked triangles cut; new boundary nodes lie on the boundary."""
    from skfem import MeshTri

    finer = mesh.refined(marked)
    before = mesh.p.shape[1]
    nodes = finer.p.copy()
    facets = finer.facets[:, finer.boundary_facets()]
    new = np.unique(facets[facets >= before])
    old = mesh.facets[:, mesh.boundary_facets()]
    middles = mesh.p[:, old].mean(axis=1)
    _, match = _nearest(middles.T, nodes[:, new].T)
    ends = mesh.p[:, old[:, match]].transpose(2, 1, 0)
    nodes[:, new] = projected(domain, ends, nodes[:, new].T).T
    return MeshTri(nodes, finer.t)


def _nearest(places: Array, points: Array) -> tuple[Array, NDArray[np.intp]]:
    from scipy.spatial import cKDTree

    distance, index = cKDTree(places).query(points)
    return distance, index


def graded(domain: Domain, conditions: Sequence[Condition], mesh: Any, corners: Array) -> Any:
    """Return the mesh refined along round sides, and in ever smaller neighbourhoods of corners.

    Quadratic edges leave a round side by O(h³), quartic polynomials a smooth solution by O(h⁵): a finer mesh along
    the sides makes up for some of it. At a corner all triangles within a radius are cut, then within half of it, and
    so on: relative to their distance from the corner they have the size of the others.
    """
    for _ in range(_ROUND_LAYERS):
        mesh = halved(domain, mesh, _at_round_sides(domain, mesh))
    radius = _CORNER_RADIUS * domain.size
    layers = _layers(domain, conditions, corners)
    for layer in range(max(layers, default=0)):
        distance, _ = _nearest(corners[layers > layer], mesh.p.T)
        mesh = halved(domain, mesh, np.flatnonzero(distance[mesh.t].min(axis=0) < radius * 0.5**layer))
    return mesh


def _layers(domain: Domain, conditions: Sequence[Condition], corners: Array) -> NDArray[np.intp]:
    """Return how often to halve the radius at each corner: until r^(1 + λ), the error that is left, is small.

    λ = π/α at an angle α, half of it where a value may meet a flux.
    """
    angles = np.linspace(0, 2 * np.pi, 257)[:-1]
    around = 1e-3 * domain.size * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    share = np.array([(domain.region.depth(corner + around) > 0).mean() for corner in corners])
    values = [each for each in conditions if all(not partial.order for partial in each.residual.partials)]
    exponent = 0.5 / np.maximum(share, 1 / len(angles)) / (1 if len(values) == len(conditions) else 2)
    return np.ceil(np.log2(1 / _CORNER_ERROR) / (1 + exponent)).astype(np.intp)


def _at_round_sides(domain: Domain, mesh: Any) -> NDArray[np.intp]:
    """Return the triangles with an edge on a round side."""
    facets = mesh.boundary_facets()
    ends = mesh.p[:, mesh.facets[:, facets]].transpose(2, 1, 0)
    middles = ends.mean(axis=1)
    moved = projected(domain, ends, middles)
    bent = facets[np.linalg.norm(moved - middles, axis=1) > 1e-12 * domain.size]
    return np.unique(mesh.f2t[0, bent])


def curved(domain: Domain, mesh: Any) -> Any:
    """Return the mesh with quadratic edges that follow the boundary."""
    from skfem import MeshTri2

    curved = MeshTri2.from_mesh(mesh)
    places = curved.doflocs.copy()
    facets = mesh.boundary_facets()
    ends = mesh.p[:, mesh.facets[:, facets]].transpose(2, 1, 0)
    numbers = curved.dofs.facet_dofs[0, facets]
    places[:, numbers] = projected(domain, ends, places[:, numbers].T).T
    return MeshTri2(places, curved.t)


def inverted_to_rounding(mesh: Any) -> Any:
    """Return the mesh's mapping, with an inverse that is content with the rounding of its smallest triangles.

    scikit-fem's Newton iteration ends at 1e-12 of a triangle. In one of size h, coordinates of size 1 are known to
    eps/h of it, which is more in triangles that are graded towards a corner.
    """
    from skfem.mapping import MappingIsoparametric

    ends = mesh.p[:, mesh.facets[:2]]
    shortest = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=0).min()
    tolerance = max(1e-12, 1e3 * np.finfo(float).eps * np.abs(mesh.p).max() / shortest)

    class Mapping(MappingIsoparametric):
        def invF(self, x: Any, tind: Any = None, newton_max_iters: int = 50) -> Any:
            return super().invF(x, tind, newton_max_iters, tolerance)

    return Mapping(mesh, mesh.elem(), mesh.bndelem)
