"""What drives a problem on a plane domain, and how fine its meshes and steps must be not to miss it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from pinnsolve.problems import Problem
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.problems.places import Place
from pinnsolve.references.driving import FINEST, explicit_terms, pieces_to_show
from pinnsolve.references.galerkin import DEGREE, GalerkinSystem, monomials
from pinnsolve.references.grading import halved
from pinnsolve.references.triangles import CurvedTriangles, powers
from pinnsolve.references.weak_form import WeakForm

Array = NDArray[np.float64]

_PLACES = 14  # of the domain, as a power of two: what is narrower than their distance is not seen
_TIMES = 9
_PLACES_IN_TIME = 5  # as a power of two
_SHOWN = 0.1  # what the polynomials of a mesh leave out of a term at most, of its size
_MOST_CUTS = 8


class PlaneDriving:
    """The terms of equations, boundary conditions and initial values that depend on coordinates alone."""

    def __init__(self, problem: Problem, form: WeakForm) -> None:
        assert problem.domain is not None
        self.problem, self.form, self._domain = problem, form, problem.domain
        readings = form.lower.symbols[len(problem.symbols) :]
        at_rest = dict.fromkeys(readings, sympy.S.Zero)
        start = [part for data in form.initial or () for part in data.expressions]
        inside = [*form.lower.expressions, *(part for c in form.couplings for part in c.second.expressions[:3])]
        along = [part for term in form.conditions for part in (term.rest.expressions[0], *term.slopes.expressions)]
        self._inside = explicit_terms([*inside, *start], readings, at_rest)
        self._along = explicit_terms(along, readings, at_rest)

    @cached_property
    def longest_step(self) -> float:
        """The longest step between which straight lines show every term's course in time."""
        assert self.problem.time_axis is not None
        clock = self.problem.coordinates[self.problem.time_axis]
        times, points = self._times(2**FINEST + 1), self._points(2**_PLACES_IN_TIME)
        moving = [term for term in (*self._inside, *self._along) if clock.symbol in term.free_symbols]
        pieces = [pieces_to_show(self._values(term, points, times)) for term in moving]
        return (clock.upper - clock.lower) / 2 ** max(pieces, default=0)

    def shown(self, mesh: Any) -> Any:
        """Return a mesh of straight triangles cut where its polynomials do not show the terms."""
        for _ in range(_MOST_CUTS):
            marked = self._unshown(GalerkinSystem(self.problem, self.form, mesh))
            if not len(marked):
                break
            mesh = halved(self._domain, mesh, marked)
        return mesh

    def _unshown(self, system: GalerkinSystem) -> NDArray[np.intp]:
        """Return the triangles on which interpolation leaves out a large part of some term."""
        points, axes = self._points(2**_PLACES), list(self._domain.axes)
        triangle, local = CurvedTriangles(system.nodes).located(points[:, axes])
        points, local, triangle = points[triangle >= 0], local[triangle >= 0], triangle[triangle >= 0]
        weights = powers(local, DEGREE) @ monomials(system.basis).T  # (N, unknowns of a triangle)
        nodes = np.zeros((system.basis.N, points.shape[1]))
        nodes[:, axes] = system.basis.doflocs.T
        marked = np.zeros(len(system.nodes), dtype=bool)
        for term in self._inside:
            truth = self._values(term, points, self._times(_TIMES))  # (times, N)
            at_nodes = self._values(term, nodes, self._times(_TIMES))
            missed = np.einsum("nu,tun->tn", weights, at_nodes[:, system.basis.element_dofs[:, triangle]]) - truth
            squares = np.stack([np.bincount(triangle, row, len(marked)) for row in missed**2])  # (times, T)
            marked |= (np.sqrt(squares) > _SHOWN * np.linalg.norm(truth, axis=1)[:, None]).any(axis=0)
        return np.flatnonzero(marked)

    def _times(self, count: int) -> Array:
        if self.problem.time_axis is None:
            return np.zeros(1)
        clock = self.problem.coordinates[self.problem.time_axis]
        return np.linspace(clock.lower, clock.upper, count)

    def _points(self, count: int) -> Array:
        """Return points (count, d) of the domain; their times are not looked at."""
        return Place(self.problem).sobol(count, seed=0)

    def _values(self, term: sympy.Expr, points: Array, times: Array) -> Array:
        """Return a term's values (times, N) at points (N, d), zero where they are not finite."""
        columns = [column[None, :] for column in points.T]
        if self.problem.time_axis is not None:
            columns[self.problem.time_axis] = times[:, None]
        with np.errstate(all="ignore"):
            (values,) = Formula([term], self.problem.symbols)(numpy_functions(), columns)
        shape = (len(times), len(points))
        return np.nan_to_num(np.broadcast_to(np.asarray(values, dtype=float), shape), posinf=0.0, neginf=0.0)
