"""The weak form of a problem on one mesh: quartic polynomials on curved triangles (scikit-fem)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsolve.problems import Problem
from pinnsolve.references.grading import curved, inverted_to_rounding
from pinnsolve.references.meshing import condition_at
from pinnsolve.references.triangles import exponents
from pinnsolve.references.weak_form import BoundaryTerm, WeakForm

Array = NDArray[np.float64]
DEGREE = 4
_PARALLEL = 0.02  # mean sine of the angle between a condition's direction and the flux; edges are quadratic


@dataclass(frozen=True)
class GalerkinSystem:
    """r(u; v) for every test function v, as a function of the unknowns u (n,) and of time (0 where there is none).

    Attributes:
        mesh: of straight triangles.
    """

    problem: Problem
    form: WeakForm
    mesh: Any

    @cached_property
    def basis(self) -> Any:
        """The polynomials, with a quadrature of twice their degree."""
        from skfem import Basis, ElementTriP4

        assert self.problem.domain is not None
        mesh = curved(self.problem.domain, self.mesh)
        return Basis(mesh, ElementTriP4(), mapping=inverted_to_rounding(mesh), intorder=2 * DEGREE)

    @cached_property
    def _sides(self) -> list[tuple[BoundaryTerm, NDArray[np.intp]]]:
        """The conditions that hold somewhere, with the facets on which they do.

        Raises:
            ArithmeticError: a part of the boundary has no condition.
        """
        assert self.problem.domain is not None
        mesh, facets = self.basis.mesh, self.mesh.boundary_facets()
        middles = mesh.doflocs[:, mesh.dofs.facet_dofs[0, facets]].T
        conditions = [term.condition for term in self.form.conditions]
        held = condition_at(self.problem.domain, conditions, middles)
        if not np.any(held, axis=0).all():
            raise ArithmeticError("a part of the boundary has no condition")
        pairs = zip(self.form.conditions, held, strict=True)
        return [(term, facets[here]) for term, here in pairs if here.any()]

    @cached_property
    def _values(self) -> list[tuple[BoundaryTerm, NDArray[np.intp]]]:
        """The conditions on the value, with the unknowns that they hold."""
        return [(term, self.basis.get_dofs(facets).flatten()) for term, facets in self._sides if term.value is not None]

    @cached_property
    def _fluxes(self) -> list[tuple[BoundaryTerm, Any]]:
        """The conditions on the flux, with the polynomials on their facets."""
        return [(term, self.basis.boundary(facets)) for term, facets in self._sides if term.value is None]

    @cached_property
    def fixed(self) -> NDArray[np.intp]:
        """The unknowns that are held to a value, ascending."""
        return np.unique(np.concatenate([np.empty(0, dtype=np.intp), *(numbers for _, numbers in self._values)]))

    def held(self, time: float = 0.0) -> Array:
        """Return the values of the fixed unknowns; where conditions meet, that of the last one."""
        u = self.basis.zeros()
        for term, numbers in self._values:
            assert term.value is not None
            u[numbers] = self._at_nodes(term.value, numbers, time)
        return np.asarray(u[self.fixed])

    def initial(self, time: float) -> Array:
        """Return the unknowns (n,) of the initial values."""
        assert self.form.initial is not None
        return self._at_nodes(self.form.initial, np.arange(self.basis.N), time)

    def _at_nodes(self, data: Callable[..., list[Array]], numbers: NDArray[np.intp], time: float) -> Array:
        zero = np.zeros(len(numbers))
        return data(self._placed(self.basis.doflocs[:, numbers], time), zero, np.stack([zero, zero]))[0]

    def _placed(self, places: Any, time: float) -> Array:
        """Return points (coordinates, …) at places (2, …)."""
        assert self.problem.domain is not None
        places = np.asarray(places)
        points = np.full((len(self.problem.coordinates), *places.shape[1:]), time)
        points[list(self.problem.domain.axes)] = places
        return points

    @cached_property
    def mass(self) -> Any:
        """∫ u v for every pair of polynomials."""
        from skfem import BilinearForm

        return BilinearForm(lambda u, v, _: u * v).assemble(self.basis)

    def residual(self, u: Array, time: float = 0.0) -> Array:
        """Return r(u; v), (n,)."""
        from skfem import LinearForm

        at = self.basis.interpolate(u)
        place = self._placed(self.basis.global_coordinates(), time)
        axx, axy, ayy, bx, by = self.form.second(place, np.asarray(at), at.grad)
        rest = self.form.lower(place, np.asarray(at), at.grad)[0] - bx * at.grad[0] - by * at.grad[1]
        fx, fy = axx * at.grad[0] + axy * at.grad[1], axy * at.grad[0] + ayy * at.grad[1]
        form = LinearForm(lambda v, _: -fx * v.grad[0] - fy * v.grad[1] + rest * v)
        vector = form.assemble(self.basis)
        for term, side in self._fluxes:
            flux = self._flux(term, side, u, time)[0]
            vector = vector + LinearForm(lambda v, _, c=flux: c * v).assemble(side)
        return np.asarray(vector)

    def jacobian(self, u: Array, time: float = 0.0) -> Any:
        """Return the derivative of r(u; v) by u, (n, n)."""
        from skfem import BilinearForm

        at = self.basis.interpolate(u)
        place = self._placed(self.basis.global_coordinates(), time)
        axx, axy, ayy, bx, by = self.form.second(place, np.asarray(at), at.grad)
        _, by_u, by_x, by_y = self.form.lower(place, np.asarray(at), at.grad)

        @BilinearForm
        def slope(d: Any, v: Any, _: Any) -> Any:
            fx, fy = axx * d.grad[0] + axy * d.grad[1], axy * d.grad[0] + ayy * d.grad[1]
            change = by_u * d + (by_x - bx) * d.grad[0] + (by_y - by) * d.grad[1]
            return -fx * v.grad[0] - fy * v.grad[1] + change * v

        matrix = slope.assemble(self.basis)
        for term, side in self._fluxes:
            by_value = self._flux(term, side, u, time)[1]
            matrix = matrix + BilinearForm(lambda d, v, _, c=by_value: c * d * v).assemble(side)
        return matrix

    def _flux(self, term: BoundaryTerm, side: Any, u: Array, time: float) -> tuple[Array, Array]:
        """Return the flux a n·∇u = -b/κ and its derivative by u.

        Raises:
            ArithmeticError: the condition's direction is not that of the flux.
        """
        at = side.interpolate(u)
        place = self._placed(side.global_coordinates(), time)
        axx, axy, ayy, *_ = self.form.second(place, np.asarray(at), at.grad)
        cx, cy, rest, by_u = term.terms(place, np.asarray(at), at.grad)
        nx, ny = side.normals
        fx, fy = axx * nx + axy * ny, axy * nx + ayy * ny
        size = fx**2 + fy**2
        kappa = (cx * fx + cy * fy) / size
        across = np.abs(cx * fy - cy * fx) / np.sqrt(size * (cx**2 + cy**2))
        if not (across.mean() < _PARALLEL and np.all(kappa != 0)):
            raise ArithmeticError("a condition's direction is not that of the flux")
        return -rest / kappa, -by_u / kappa

    @property
    def nodes(self) -> Array:
        """The corners and edge middles of the curved triangles, (T, 6, 2)."""
        mesh = self.basis.mesh
        return np.asarray(mesh.doflocs[:, mesh.dofs.element_dofs].transpose(2, 1, 0))

    @property
    def monomials(self) -> Array:
        """The coefficients of a triangle's polynomials (15, 15): one row for each of its unknowns."""
        places = np.array(exponents(DEGREE)).T / DEGREE  # as many points as monomials
        shape = np.array([self.basis.elem.lbasis(places, index)[0] for index in range(len(self.basis.element_dofs))])
        powers = np.stack([places[0] ** a * places[1] ** b for a, b in exponents(DEGREE)])  # (monomials, points)
        return np.asarray(np.linalg.solve(powers.T, shape.T).T)
