"""References on plane domains by finite elements: quartic on curved triangles, with Newton's method (scikit-fem).

Meshes are halved until two solutions agree. They are graded towards corners, where solutions behave as r^(π/α)
(Babuška, Guo 1986, Comput. Mech. 1, 21-41), and finer along round sides.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsolve.problems import Problem
from pinnsolve.problems.geometry import Round
from pinnsolve.references.meshing import boundary_curves, coarse_mesh, condition_at, projected
from pinnsolve.references.reference import ReferenceSolution
from pinnsolve.references.refinement import Attempt, refined
from pinnsolve.references.triangles import TriangleChart, exponents
from pinnsolve.references.weak_form import WeakForm, weak_form

Array = NDArray[np.float64]
DEGREE = 4
TOLERANCE = 3e-7  # difference of two levels; the finer one is better by a factor of ten
LEVELS = 5
_EDGE = 0.5  # of a triangle on the coarsest mesh, of the radius of a round side plus the distance from it
_MOST_CUTS = 8
_ROUND_LAYERS = 1  # of smaller triangles along round sides
_CORNER_ERROR = 1e-7
_CORNER_RADIUS = 0.1  # of the outermost, of the domain's size
_NEWTON_STEPS = 40
_CONVERGED = 1e-12  # size of a Newton step, of the solution
_PARALLEL = 1e-6  # sine of the angle between a condition's direction and the flux


def applies(problem: Problem) -> bool:
    """Whether the problem has a weak form and scikit-fem is installed."""
    return problem.reference.solver == "auto" and weak_form(problem) is not None and find_spec("skfem") is not None


def solve(problem: Problem, budget: float = 60.0) -> ReferenceSolution:
    """Return the solution on the finest mesh, with its difference from the one before as its error."""
    return refined(problem, "finite elements", _attempts(problem), TOLERANCE, budget)


def resolutions(problem: Problem, deadline: float) -> Iterator[Attempt]:
    """Yield solutions from coarse to fine until a moment of `time.perf_counter`, each timed with its mesh."""
    for attempt in _attempts(problem):
        yield attempt
        if time.perf_counter() > deadline:
            return


def _attempts(problem: Problem) -> Iterator[Attempt]:
    form = weak_form(problem)
    assert form is not None
    began = time.perf_counter()
    meshing = 0.0  # seconds for the meshes so far: each is made of the one before
    try:
        mesh, corners = _first_mesh(problem)
        for level in range(LEVELS):
            if level:
                mesh = _halved(problem, mesh)
            meshing += time.perf_counter() - began
            began = time.perf_counter()
            chart = _Elements(problem, form, _graded(problem, mesh, corners)).solution()
            yield Attempt(chart, meshing + time.perf_counter() - began)
            began = time.perf_counter()
    except (ValueError, ArithmeticError, np.linalg.LinAlgError, RuntimeError):
        yield Attempt(None, meshing + time.perf_counter() - began)


def _first_mesh(problem: Problem) -> tuple[Any, Array]:
    from skfem import MeshTri

    assert problem.domain is not None
    nodes, triangles, corners = coarse_mesh(problem.domain, boundary_curves(problem.domain, problem.conditions))
    mesh = MeshTri(np.ascontiguousarray(nodes.T), np.ascontiguousarray(triangles.T))
    for _ in range(_MOST_CUTS):
        long = _too_long(problem, mesh)
        if not len(long):
            break
        mesh = _halved(problem, mesh, long)
    return mesh, corners


def _too_long(problem: Problem, mesh: Any) -> NDArray[np.intp]:
    """Return the triangles whose longest edge is a large part of the radius of a round side nearby."""
    assert problem.domain is not None
    nodes = mesh.p[:, mesh.t].transpose(2, 1, 0)  # (T, 3, 2)
    longest = np.max([np.linalg.norm(nodes[:, i] - nodes[:, i - 1], axis=1) for i in range(3)], axis=0)
    allowed = np.full(len(nodes), np.inf)
    for piece in problem.domain.pieces:
        if isinstance(piece.side, Round):
            away = np.abs(piece.shape.depth(nodes.mean(axis=1)))
            allowed = np.minimum(allowed, _EDGE * (min(piece.side.radii) + away))
    return np.flatnonzero(longest > allowed)


def _halved(problem: Problem, mesh: Any, marked: Any = 1) -> Any:
    """Return the mesh with all edges halved, or the marked triangles cut; new boundary nodes lie on the boundary."""
    from skfem import MeshTri

    assert problem.domain is not None
    finer = mesh.refined(marked)
    before = mesh.p.shape[1]
    nodes = finer.p.copy()
    facets = finer.facets[:, finer.boundary_facets()]
    new = np.unique(facets[facets >= before])
    old = mesh.facets[:, mesh.boundary_facets()]
    middles = mesh.p[:, old].mean(axis=1)
    _, match = _nearest(middles.T, nodes[:, new].T)
    ends = mesh.p[:, old[:, match]].transpose(2, 1, 0)
    nodes[:, new] = projected(problem.domain, ends, nodes[:, new].T).T
    return MeshTri(nodes, finer.t)


def _nearest(places: Array, points: Array) -> tuple[Array, NDArray[np.intp]]:
    from scipy.spatial import cKDTree

    distance, index = cKDTree(places).query(points)
    return distance, index


def _graded(problem: Problem, mesh: Any, corners: Array) -> Any:
    """Return the mesh refined along round sides, and in ever smaller neighbourhoods of corners.

    Quadratic edges leave a round side by O(h³), quartic polynomials a smooth solution by O(h⁵): a finer mesh along
    the sides makes up for some of it. At a corner all triangles within a radius are cut, then within half of it, and
    so on: relative to their distance from the corner they have the size of the others.
    """
    for _ in range(_ROUND_LAYERS):
        mesh = _halved(problem, mesh, _at_round_sides(problem, mesh))
    assert problem.domain is not None
    radius = _CORNER_RADIUS * problem.domain.size
    layers = _layers(problem, corners)
    for layer in range(max(layers, default=0)):
        distance, _ = _nearest(corners[layers > layer], mesh.p.T)
        mesh = _halved(problem, mesh, np.flatnonzero(distance[mesh.t].min(axis=0) < radius * 0.5**layer))
    return mesh


def _layers(problem: Problem, corners: Array) -> NDArray[np.intp]:
    """Return how often to halve the radius at each corner: until r^(1 + λ), the error that is left, is small.

    λ = π/α at an angle α, half of it where a value may meet a flux.
    """
    assert problem.domain is not None
    angles = np.linspace(0, 2 * np.pi, 257)[:-1]
    around = 1e-3 * problem.domain.size * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    share = np.array([(problem.domain.region.depth(corner + around) > 0).mean() for corner in corners])
    values = [each for each in problem.conditions if all(not partial.order for partial in each.residual.partials)]
    exponent = 0.5 / np.maximum(share, 1 / len(angles)) / (1 if len(values) == len(problem.conditions) else 2)
    return np.ceil(np.log2(1 / _CORNER_ERROR) / (1 + exponent)).astype(np.intp)


def _at_round_sides(problem: Problem, mesh: Any) -> NDArray[np.intp]:
    """Return the triangles with an edge on a round side."""
    assert problem.domain is not None
    facets = mesh.boundary_facets()
    ends = mesh.p[:, mesh.facets[:, facets]].transpose(2, 1, 0)
    middles = ends.mean(axis=1)
    moved = projected(problem.domain, ends, middles)
    bent = facets[np.linalg.norm(moved - middles, axis=1) > 1e-12 * problem.domain.size]
    return np.unique(mesh.f2t[0, bent])


def _curved(problem: Problem, mesh: Any) -> Any:
    """Return the mesh with quadratic edges that follow the boundary."""
    from skfem import MeshTri2

    assert problem.domain is not None
    curved = MeshTri2.from_mesh(mesh)
    places = curved.doflocs.copy()
    facets = mesh.boundary_facets()
    ends = mesh.p[:, mesh.facets[:, facets]].transpose(2, 1, 0)
    numbers = curved.dofs.facet_dofs[0, facets]
    places[:, numbers] = projected(problem.domain, ends, places[:, numbers].T).T
    return MeshTri2(places, curved.t)


@dataclass
class _Elements:
    """One mesh, and the solution on it."""

    problem: Problem
    form: WeakForm
    mesh: Any

    def solution(self) -> TriangleChart:
        """Return the solution by Newton's method; one step for a linear problem.

        Raises:
            ArithmeticError: it does not converge, or a part of the boundary has no condition.
        """
        from skfem import Basis, ElementTriP4, condense
        from skfem import solve as solve_linear

        curved = _curved(self.problem, self.mesh)
        basis = Basis(curved, ElementTriP4(), intorder=2 * DEGREE)
        fixed, u, fluxes = self._conditions(basis)
        for _ in range(_NEWTON_STEPS):
            matrix, residual = self._linearised(basis, fluxes, u)
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # a singular matrix: the conditions do not determine the solution
                try:
                    step = solve_linear(*condense(matrix, -residual, D=fixed))
                except Warning as warning:
                    raise ArithmeticError(str(warning)) from None
            u = u + step
            size = float(np.abs(step).max())
            if not np.isfinite(size):
                break
            if self.form.is_linear or size <= _CONVERGED * max(float(np.abs(u).max()), 1e-300):
                return self._chart(basis, curved, u)
        raise ArithmeticError("Newton's method does not converge")

    def _conditions(self, basis: Any) -> tuple[NDArray[np.intp], Array, list[tuple[Any, Any]]]:
        """Return the fixed unknowns, a start with their values, and the facets of each flux condition."""
        facets = self.mesh.boundary_facets()
        middles = basis.mesh.doflocs[:, basis.mesh.dofs.facet_dofs[0, facets]].T
        held = condition_at(self.problem, middles)
        if not np.any(held, axis=0).all():
            raise ArithmeticError("a part of the boundary has no condition")
        u, fixed, fluxes = basis.zeros(), [], []
        for condition, here in zip(self.form.conditions, held, strict=True):
            if not here.any():
                continue
            if condition.value is None:
                fluxes.append((condition, basis.boundary(facets[here])))
                continue
            numbers = basis.get_dofs(facets[here]).flatten()
            places = basis.doflocs[:, numbers]
            zero = np.zeros(len(numbers))
            u[numbers] = condition.value(places, zero, np.stack([zero, zero]))[0]
            fixed.append(numbers)
        return np.unique(np.concatenate(fixed or [np.empty(0, dtype=np.intp)])), u, fluxes

    def _linearised(self, basis: Any, fluxes: list[tuple[Any, Any]], u: Array) -> tuple[Any, Array]:
        """Return the matrix of the derivative of r(u; v) and r(u; v) itself."""
        from skfem import BilinearForm, LinearForm

        at = basis.interpolate(u)
        place = np.asarray(basis.global_coordinates())
        axx, axy, ayy, bx, by = self.form.second(place, np.asarray(at), at.grad)
        rest, by_u, by_x, by_y = self.form.lower(place, np.asarray(at), at.grad)

        def flux(gradient: Array) -> tuple[Array, Array]:
            return axx * gradient[0] + axy * gradient[1], axy * gradient[0] + ayy * gradient[1]

        @BilinearForm
        def slope(d: Any, v: Any, _: Any) -> Any:
            fx, fy = flux(d.grad)
            change = by_u * d + (by_x - bx) * d.grad[0] + (by_y - by) * d.grad[1]
            return -fx * v.grad[0] - fy * v.grad[1] + change * v

        @LinearForm
        def value(v: Any, _: Any) -> Any:
            fx, fy = flux(at.grad)
            return -fx * v.grad[0] - fy * v.grad[1] + (rest - bx * at.grad[0] - by * at.grad[1]) * v

        matrix, vector = slope.assemble(basis), value.assemble(basis)
        for condition, side in fluxes:
            factor, by_value = self._boundary_flux(condition, side, u)
            matrix = matrix + BilinearForm(lambda d, v, _, c=by_value: c * d * v).assemble(side)
            vector = vector + LinearForm(lambda v, _, c=factor: c * v).assemble(side)
        return matrix, vector

    def _boundary_flux(self, condition: Any, side: Any, u: Array) -> tuple[Array, Array]:
        """Return the flux a n·∇u = -b/κ and its derivative by u.

        Raises:
            ArithmeticError: the condition's direction is not that of the flux.
        """
        at = side.interpolate(u)
        place = np.asarray(side.global_coordinates())
        axx, axy, ayy, *_ = self.form.second(place, np.asarray(at), at.grad)
        cx, cy, rest, by_u = condition.terms(place, np.asarray(at), at.grad)
        nx, ny = side.normals
        fx, fy = axx * nx + axy * ny, axy * nx + ayy * ny
        size = fx**2 + fy**2
        kappa = (cx * fx + cy * fy) / size
        across = np.abs(cx * fy - cy * fx) / np.sqrt(size * (cx**2 + cy**2))
        # normals of quadratic edges differ from exact ones by the square of an edge's angle
        if not (across.mean() < max(_PARALLEL, 0.02) and np.all(kappa != 0)):
            raise ArithmeticError("a condition's direction is not that of the flux")
        return -rest / kappa, -by_u / kappa

    def _chart(self, basis: Any, curved: Any, u: Array) -> TriangleChart:
        """Return the solution as polynomials on every triangle."""
        places = np.array([[a, b] for a, b in exponents(DEGREE)]).T / DEGREE  # as many points as monomials
        unknowns = basis.element_dofs
        shape = [basis.elem.lbasis(places, index)[0] for index in range(len(unknowns))]
        values = np.einsum("ie,ip->ep", u[unknowns], np.array(shape))
        powers = np.stack([places[0] ** a * places[1] ** b for a, b in exponents(DEGREE)])  # (monomials, points)
        coefficients = np.linalg.solve(powers.T, values.T).T
        nodes = curved.doflocs[:, curved.dofs.element_dofs].transpose(2, 1, 0)
        return TriangleChart(nodes, coefficients, DEGREE, self.problem.field_names)
