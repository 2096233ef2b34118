"""The weak form of a problem on one mesh: quartic polynomials on curved triangles (scikit-fem)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import bmat, csr_matrix

from pinnsolve.problems import Problem
from pinnsolve.references.boundary_flux import BoundarySide
from pinnsolve.references.grading import curved, inverted_to_rounding
from pinnsolve.references.meshing import condition_at
from pinnsolve.references.triangles import exponents
from pinnsolve.references.weak_form import BoundaryTerm, Coupling, Expressions, WeakForm

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
DEGREE = 4


@dataclass(frozen=True)
class GalerkinSystem:
    """r_k(u; v) for every test function v, as a function of the unknowns u (n,) and of time (0 where there is none).

    The unknowns of one field come after those of the other. Fields without second derivatives have polynomials of one
    degree less (Taylor, Hood 1973, Computers & Fluids 1, 73-100).

    Attributes:
        mesh: of straight triangles.
    """

    problem: Problem
    form: WeakForm
    mesh: Any

    @cached_property
    def basis(self) -> Any:
        """The polynomials of fields with second derivatives, with a quadrature of twice their degree."""
        from skfem import Basis, ElementTriP4

        assert self.problem.domain is not None
        mesh = curved(self.problem.domain, self.mesh)
        return Basis(mesh, ElementTriP4(), mapping=inverted_to_rounding(mesh), intorder=2 * DEGREE)

    @cached_property
    def bases(self) -> list[Any]:
        """The polynomials of each field."""
        from skfem import ElementTriP3

        lower = self.basis.with_element(ElementTriP3()) if any(self.form.of_first_order) else None
        return [lower if is_lower else self.basis for is_lower in self.form.of_first_order]

    @cached_property
    def starts(self) -> list[int]:
        """Where the unknowns of each field begin, and where those of the last one end."""
        return [0, *np.cumsum([basis.N for basis in self.bases]).tolist()]

    def parts(self, u: Array) -> list[Array]:
        """Return the unknowns of each field."""
        return [u[start:end] for start, end in zip(self.starts, self.starts[1:], strict=False)]

    @cached_property
    def _sides(self) -> list[tuple[list[BoundaryTerm], Indices]]:
        """The facets of the boundary by the conditions that hold on them.

        Raises:
            ArithmeticError: a part of the boundary has no condition.
        """
        assert self.problem.domain is not None
        mesh, facets = self.basis.mesh, self.mesh.boundary_facets()
        middles = mesh.doflocs[:, mesh.dofs.facet_dofs[0, facets]].T
        conditions = [term.condition for term in self.form.conditions]
        held = np.array(condition_at(self.problem.domain, conditions, middles))  # (conditions, facets)
        if not held.any(axis=0).all():
            raise ArithmeticError("a part of the boundary has no condition")
        kinds, kind_of = np.unique(held, axis=1, return_inverse=True)
        kind_of = kind_of.ravel()
        return [
            ([term for term, here in zip(self.form.conditions, kind, strict=True) if here], facets[kind_of == number])
            for number, kind in enumerate(kinds.T)
        ]

    @cached_property
    def _values(self) -> list[tuple[BoundaryTerm, Indices]]:
        """The conditions on values, in the problem's order, with the field's own numbers of the unknowns they hold."""
        found = []
        for term in self.form.conditions:
            facets = [part for terms, part in self._sides if any(each is term for each in terms)]
            if term.field is not None and facets:
                found.append((term, self.bases[term.field].get_dofs(np.concatenate(facets)).flatten()))
        return found

    @cached_property
    def _fluxes(self) -> list[BoundarySide]:
        """The parts of the boundary on which some field is not held to a value."""
        sides = []
        for terms, facets in self._sides:
            held = {term.field for term in terms if term.field is not None}
            free = [k for k, is_lower in enumerate(self.form.of_first_order) if k not in held and not is_lower]
            if free:
                fluxes = [term for term in terms if term.field is None]
                sides.append(BoundarySide(self.form, fluxes, free, [basis.boundary(facets) for basis in self.bases]))
        return sides

    @cached_property
    def fixed(self) -> Indices:
        """The unknowns that are held to a value, ascending."""
        numbers = [self.starts[term.field or 0] + part for term, part in self._values]
        return np.unique(np.concatenate([np.empty(0, dtype=np.intp), *numbers]))

    def held(self, time: float = 0.0) -> Array:
        """Return the values of the fixed unknowns; where conditions meet, that of the last one."""
        u = np.zeros(self.starts[-1])
        for term, numbers in self._values:
            assert term.value is not None
            field = term.field or 0
            u[self.starts[field] + numbers] = self._at_nodes(term.value, self.bases[field], numbers, time)
        return np.asarray(u[self.fixed])

    def initial(self, time: float) -> Array:
        """Return the unknowns (n,) of the initial values."""
        assert self.form.initial is not None
        pairs = zip(self.form.initial, self.bases, strict=True)
        return np.concatenate([self._at_nodes(data, basis, np.arange(basis.N), time) for data, basis in pairs])

    def _at_nodes(self, data: Expressions, basis: Any, numbers: Indices, time: float) -> Array:
        zero = np.zeros((len(self.bases), len(numbers)))
        return data(self._placed(basis.doflocs[:, numbers], time), zero, np.stack([zero, zero], axis=1))[0]

    def _placed(self, places: Any, time: float) -> Array:
        """Return points (coordinates, …) at places (2, …)."""
        assert self.problem.domain is not None
        places = np.asarray(places)
        points = np.full((len(self.problem.coordinates), *places.shape[1:]), time)
        points[list(self.problem.domain.axes)] = places
        return points

    def _at(self, bases: list[Any], u: Array, time: float) -> tuple[Array, Array, Array]:
        """Return points, values (fields, …) and gradients (fields, 2, …) at the quadrature points of some bases."""
        fields = [basis.interpolate(part) for basis, part in zip(bases, self.parts(u), strict=True)]
        place = self._placed(bases[0].global_coordinates(), time)
        return place, np.stack([np.asarray(f) for f in fields]), np.stack([np.asarray(f.grad) for f in fields])

    @cached_property
    def floating(self) -> list[int]:
        """The fields that are known up to a constant."""
        return [self.problem.field_names.index(name) for name in self.problem.floating_fields]

    @cached_property
    def means(self) -> Any:
        """∫ v over the domain for the polynomials of each floating field, (n, floating)."""
        from skfem import LinearForm

        found = np.zeros((self.starts[-1], len(self.floating)))
        for column, field in enumerate(self.floating):
            self.parts(found[:, column])[field][:] = LinearForm(lambda v, _: 1.0 * v).assemble(self.bases[field])
        return csr_matrix(found)

    @cached_property
    def mass(self) -> Any:
        """∫ u v for every pair of polynomials of one field."""
        from skfem import BilinearForm

        of_one = {id(basis): BilinearForm(lambda u, v, _: u * v).assemble(basis) for basis in self.bases}
        return self._blocks([(k, k, of_one[id(basis)]) for k, basis in enumerate(self.bases)])

    def _blocks(self, blocks: Iterable[tuple[int, int, Any]]) -> Any:
        """Return the matrix (n, n) of blocks by row and column field; those in one place are added."""
        counts = np.diff(self.starts)
        rows = [[csr_matrix((height, width)) for width in counts] for height in counts]
        for row, column, block in blocks:
            rows[row][column] = rows[row][column] + block
        return bmat(rows, format="csr")

    def residual(self, u: Array, time: float = 0.0) -> Array:
        """Return r(u; v), (n,)."""
        from skfem import LinearForm

        at = self._at(self.bases, u, time)
        sources = [np.array(source) for source in self.form.lower(*at)]
        fluxes = np.zeros((len(sources), *at[2].shape[1:]))
        for coupling in self.form.couplings:
            axx, axy, ayy, bx, by = coupling.second(*at)
            ux, uy = at[2][coupling.column]
            fluxes[coupling.row] += np.stack([axx * ux + axy * uy, axy * ux + ayy * uy])
            sources[coupling.row] -= bx * ux + by * uy
        parts = [
            LinearForm(lambda v, _, c=flux, s=source: -c[0] * v.grad[0] - c[1] * v.grad[1] + s * v).assemble(basis)
            for basis, flux, source in zip(self.bases, fluxes, sources, strict=True)
        ]
        for side in self._fluxes:
            for field, flux in zip(side.free, side.fluxes(*self._at(side.bases, u, time)), strict=True):
                parts[field] = parts[field] + LinearForm(lambda v, _, c=flux: c * v).assemble(side.bases[field])
        return np.concatenate(parts)

    def jacobian(self, u: Array, time: float = 0.0) -> Any:
        """Return the derivative of r(u; v) by u, (n, n)."""
        at = self._at(self.bases, u, time)
        blocks = [(coupling.row, coupling.column, self._block(coupling, *at)) for coupling in self.form.couplings]
        return self._blocks([*blocks, *self._boundary_blocks(u, time)])

    def _block(self, coupling: Coupling, points: Array, values: Array, slopes: Array) -> Any:
        from skfem import BilinearForm

        axx, axy, ayy, bx, by = coupling.second(points, values, slopes)
        by_u, by_x, by_y = coupling.slopes(points, values, slopes)

        @BilinearForm
        def slope(d: Any, v: Any, _: Any) -> Any:
            fx, fy = axx * d.grad[0] + axy * d.grad[1], axy * d.grad[0] + ayy * d.grad[1]
            change = by_u * d + (by_x - bx) * d.grad[0] + (by_y - by) * d.grad[1]
            return -fx * v.grad[0] - fy * v.grad[1] + change * v

        return slope.assemble(self.bases[coupling.column], self.bases[coupling.row])

    def _boundary_blocks(self, u: Array, time: float) -> Iterator[tuple[int, int, Any]]:
        from skfem import BilinearForm

        for side in self._fluxes:
            for row, column, by_u, by_x, by_y in side.slopes(*self._at(side.bases, u, time)):
                form = BilinearForm(lambda d, v, _, c=by_u, x=by_x, y=by_y: (c * d + x * d.grad[0] + y * d.grad[1]) * v)
                yield row, column, form.assemble(side.bases[column], side.bases[row])

    @property
    def nodes(self) -> Array:
        """The corners and edge middles of the curved triangles, (T, 6, 2)."""
        mesh = self.basis.mesh
        return np.asarray(mesh.doflocs[:, mesh.dofs.element_dofs].transpose(2, 1, 0))

    def coefficients(self, u: Array) -> Array:
        """Return the coefficients of each field's polynomials on the triangles, (fields, T, monomials)."""
        pairs = zip(self.bases, self.parts(u), strict=True)
        return np.stack([part[basis.element_dofs].T @ monomials(basis) for basis, part in pairs])


def monomials(basis: Any) -> Array:
    """Return the coefficients of a triangle's polynomials (unknowns, 15), one row for each of its unknowns."""
    places = np.array(exponents(DEGREE)).T / DEGREE  # as many points as monomials
    shape = np.array([basis.elem.lbasis(places, index)[0] for index in range(len(basis.element_dofs))])
    powers = np.stack([places[0] ** a * places[1] ** b for a, b in exponents(DEGREE)])  # (monomials, points)
    return np.asarray(np.linalg.solve(powers.T, shape.T).T)
