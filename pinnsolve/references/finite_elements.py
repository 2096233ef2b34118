"""References on plane domains by finite elements: quartic on curved triangles, with Newton's method (scikit-fem).

Meshes are halved until two solutions agree. They are graded towards corners, where solutions behave as r^(π/α)
(Babuška, Guo 1986, Comput. Mech. 1, 21-41), and finer along round sides.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import bmat

from pinnsolve.problems import Problem
from pinnsolve.references.galerkin import DEGREE, GalerkinSystem
from pinnsolve.references.grading import first_mesh, graded, halved
from pinnsolve.references.plane_driving import PlaneDriving
from pinnsolve.references.reference import ReferenceSolution
from pinnsolve.references.refinement import Attempt, refined
from pinnsolve.references.triangles import TriangleChart
from pinnsolve.references.weak_form import WeakForm, weak_form

Array = NDArray[np.float64]

TOLERANCE = 3e-7
BEST_RATIO = 2.0**-3  # of the errors of two levels: quadratic edges leave round sides by O(h³)
LEVELS = 5
_NEWTON_STEPS = 40
_CONVERGED = 1e-12  # size of a Newton step, of the solution
_CONTRADICTION = 0.01  # what a solution leaves over of an equation, of its data


def applies(problem: Problem) -> bool:
    """Whether the problem is steady, has a weak form, and scikit-fem is installed."""
    is_asked = problem.reference.solver == "auto" and problem.time_axis is None
    return is_asked and weak_form(problem) is not None and find_spec("skfem") is not None


def solve(problem: Problem, budget: float = 60.0) -> ReferenceSolution:
    """Return the solution on the finest mesh, with an error by the differences of the last three."""
    return refined(problem, "finite elements", _attempts(problem), TOLERANCE, budget, best_ratio=BEST_RATIO)


def resolutions(problem: Problem, deadline: float) -> Iterator[Attempt]:
    """Yield solutions from coarse to fine until a moment of `time.process_time`, each timed with its mesh."""
    for attempt in _attempts(problem):
        yield attempt
        if time.process_time() > deadline:
            return


def _attempts(problem: Problem) -> Iterator[Attempt]:
    form = weak_form(problem)
    assert form is not None
    began = time.perf_counter()
    seconds = 0.0  # for the meshes so far: each is made of the one before
    try:
        for system, meshing in systems(problem, form):
            seconds, began = meshing, time.perf_counter()
            chart = solution(system)
            yield Attempt(chart, seconds + time.perf_counter() - began)
            began = time.perf_counter()
    except (ValueError, ArithmeticError, np.linalg.LinAlgError, RuntimeError):
        yield Attempt(None, seconds + time.perf_counter() - began)


def systems(problem: Problem, form: WeakForm) -> Iterator[tuple[GalerkinSystem, float]]:
    """Yield the problem on finer and finer meshes, with the seconds that each mesh took.

    Raises:
        ValueError: no mesh was found.
    """
    assert problem.domain is not None
    domain, conditions = problem.domain, [term.condition for term in form.conditions]
    began = time.perf_counter()
    mesh, corners = first_mesh(domain, conditions)
    mesh = PlaneDriving(problem, form).shown(mesh)
    seconds = time.perf_counter() - began
    for level in range(LEVELS):
        began = time.perf_counter()
        mesh = halved(domain, mesh) if level else mesh
        seconds += time.perf_counter() - began
        finest = graded(domain, conditions, mesh, corners)
        yield GalerkinSystem(problem, form, finest), seconds + time.perf_counter() - began


def solution(system: GalerkinSystem) -> TriangleChart:
    """Return the solution by Newton's method; one step for a linear problem.

    Raises:
        ArithmeticError: it does not converge, a part of the boundary has no condition, or conditions contradict
            the equations.
    """
    u = np.zeros(system.starts[-1])
    u[system.fixed] = system.held()
    for _ in range(_NEWTON_STEPS):
        step = _newton_step(system, u)
        u = u + step
        size = float(np.abs(step).max())
        if not np.isfinite(size):
            break
        if system.form.is_linear or size <= _CONVERGED * max(float(np.abs(u).max()), 1e-300):
            _check_consistency(system, u)
            return TriangleChart(system.nodes, system.coefficients(u), DEGREE, system.problem.field_names)
    raise ArithmeticError("Newton's method does not converge")


def _newton_step(system: GalerkinSystem, u: Array) -> Array:
    """Return the change of u to first order; the mean of a field that is known up to a constant stays zero."""
    from skfem import condense
    from skfem import solve as solve_linear

    means = system.means
    # λ ∫ v, added to the equation of a floating field, is what is left over of it
    matrix = (
        bmat([[system.jacobian(u), means], [means.T, None]], format="csr") if means.shape[1] else system.jacobian(u)
    )
    right = np.concatenate([-system.residual(u), -means.T @ u])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a singular matrix: the conditions do not determine the solution
        try:
            return np.asarray(solve_linear(*condense(matrix, right, D=system.fixed)))[: len(u)]
        except Warning as warning:
            raise ArithmeticError(str(warning)) from None


def _check_consistency(system: GalerkinSystem, u: Array) -> None:
    """Refuse a solution that leaves over some of an equation whose field is known up to a constant."""
    lifted = np.zeros(len(u))
    lifted[system.fixed] = u[system.fixed]
    for field in system.floating:
        left, load = (float(np.abs(system.parts(system.residual(each))[field]).sum()) for each in (u, lifted))
        if left > _CONTRADICTION * load:
            raise ArithmeticError("the conditions contradict the equations")
