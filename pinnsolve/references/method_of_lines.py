"""References on boxes of two space coordinates and time: the method of lines, with SciPy's integrators."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from pinnsolve.problems import Problem
from pinnsolve.references.bases import BoxChart, ChebyshevBasis, basis_of
from pinnsolve.references.box_data import BoxData
from pinnsolve.references.evolution import evolution_of
from pinnsolve.references.lines import Lines, coefficients_from_values, ends_of, nodes_of
from pinnsolve.references.reference import ReferenceSolution
from pinnsolve.references.refinement import Attempt, refined

Array = NDArray[np.float64]
_FIRST_SIZE, _GROWTH = 12, 4 / 3  # nodes along an axis
_MOST = {"DOP853": 8000, "Radau": 1600}  # values that evolve; an implicit method factorises matrices of that size
_TOLERANCES = (1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11)  # of the integrator, from attempt to attempt
_MOMENTS = 97  # first number of moments that the solution is kept at; more from attempt to attempt
_EXPLICIT = 20_000  # evaluations after which an implicit method is faster
_ROUNDING = 1e-14


class _TooLong(Exception):
    """An integrator takes more evaluations, or more time, than it is given."""


def applies(problem: Problem) -> bool:
    """Whether this is an evolution in two space coordinates whose boundary conditions give the ends of grid lines."""
    if problem.reference.solver != "auto" or len(problem.coordinates) != 3:
        return False
    evolution = evolution_of(problem)
    return evolution is not None and ends_of(evolution) is not None


def solve(problem: Problem, tolerance: float = 1e-10, budget: float = 60.0) -> ReferenceSolution:
    """Return the solution, with grids and steps refined together until two of them agree."""
    attempts = resolutions(problem, time.process_time() + 1.2 * budget)
    return refined(problem, "method of lines", attempts, tolerance, budget)


def resolutions(problem: Problem, deadline: float) -> Iterator[Attempt]:
    """Yield solutions from coarse to fine, until a moment of `time.process_time`.

    The first grid sees sources, coefficients and initial values; an axis whose last coefficients are as small as the
    integrator's tolerance keeps its nodes.
    """
    evolution = evolution_of(problem)
    ends = None if evolution is None else ends_of(evolution)
    assert evolution is not None
    assert ends is not None
    space, data = evolution.space_axes, BoxData(problem)
    most = _MOST["DOP853"] // (len(evolution.components) * _FIRST_SIZE)
    sizes = np.array([data.first_size(axis, _FIRST_SIZE, most, _GROWTH) for axis in space])
    method = "DOP853"
    for index, tolerance in enumerate(_TOLERANCES):
        if len(evolution.components) * np.prod(sizes) > _MOST[method] or time.process_time() > deadline:
            return
        started = time.perf_counter()
        bases = [basis_of(problem.coordinates[axis], int(size)) for axis, size in zip(space, sizes, strict=True)]
        lines, moments = Lines(evolution, ends, bases), _MOMENTS + 32 * index
        chart = _integrated(lines, method, tolerance, moments, deadline)
        if chart is None and method == "DOP853":
            method = "Radau"
            chart = _integrated(lines, method, tolerance, moments, deadline)
        yield Attempt(chart, time.perf_counter() - started)
        grows = np.ones(2, bool) if chart is None else chart.tails()[space] > tolerance
        sizes = np.where(grows, np.ceil(_GROWTH * sizes), sizes).astype(int)


def _integrated(lines: Lines, method: str, tolerance: float, moments: int, deadline: float) -> BoxChart | None:
    """Return the solution by one of SciPy's methods, None where it does not get through."""
    evolution, size = lines.evolution, len(lines.start)
    left = _EXPLICIT if method == "DOP853" and size <= _MOST["Radau"] else np.inf

    def rate(now: float, state: Array) -> Array:
        nonlocal left
        left -= 1
        if left < 0 or time.process_time() > deadline:
            raise _TooLong
        return lines.rate(now, state)

    if size > _MOST[method]:
        return None
    clock = ChebyshevBasis(*evolution.time, moments)
    options: dict[str, Any] = {"rtol": tolerance, "atol": 0.1 * tolerance * lines.sizes}
    with np.errstate(all="ignore"):
        if method == "Radau" and lines.has_constant_ends:
            options["jac"] = lines.jacobian
        try:
            found = solve_ivp(rate, evolution.time, lines.start, method, nodes_of(clock), **options)
        except (_TooLong, ValueError, ArithmeticError, np.linalg.LinAlgError):
            return None
    if not found.success or not np.isfinite(found.y).all():
        return None
    values = np.stack([lines.values(now, state) for now, state in zip(found.t, found.y.T, strict=True)], axis=-1)
    return _chart(lines, clock, values)


def _chart(lines: Lines, clock: ChebyshevBasis, values: Array) -> BoxChart:
    """Return the series of the fields with values (components, n₁, n₂, moments)."""
    evolution, problem = lines.evolution, lines.evolution.problem
    coefficients = values[[evolution.value_components[name] for name in problem.field_names]]
    for axis, basis in enumerate((*lines.bases, clock), start=1):
        found = np.tensordot(coefficients_from_values(basis), coefficients, axes=(1, axis))
        coefficients = np.moveaxis(found, 0, axis)
    kept = np.flatnonzero(np.abs(coefficients).max(axis=(0, 1, 2)) > _ROUNDING * np.abs(coefficients).max())
    coefficients = coefficients[..., : kept[-1] + 1 if len(kept) else 1]
    order: Sequence[int] = [*evolution.space_axes, evolution.time_axis]
    coefficients = np.moveaxis(coefficients, [1, 2, 3], [1 + axis for axis in order])
    lower, upper = problem.box
    periodic = np.array([coordinate.periodic for coordinate in problem.coordinates])
    return BoxChart(lower, upper, periodic, np.ascontiguousarray(coefficients), problem.field_names)
