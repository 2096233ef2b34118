"""References on plane domains and time: finite elements in space, Radau IIA in time, steps by the stage polynomials."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, diags

from pinnsolve.problems import Problem
from pinnsolve.references.driving import STEPS_APART
from pinnsolve.references.finite_elements import BEST_RATIO, TOLERANCE, systems
from pinnsolve.references.galerkin import DEGREE, GalerkinSystem, monomials
from pinnsolve.references.plane_driving import PlaneDriving
from pinnsolve.references.radau import expected_sizes, radau, radau_step, stage_nodes, stage_tail
from pinnsolve.references.reference import ReferenceSolution
from pinnsolve.references.refinement import Attempt, refined
from pinnsolve.references.triangles import EvolvingChart
from pinnsolve.references.weak_form import weak_form
from pinnsolve.references.windows import interpolation_matrix

Array = NDArray[np.float64]
STAGES = 7
_ACCURACIES = (1e-5, 1e-6, 1e-7, 1e-8)  # in time, of the meshes from coarse to fine
_LITTLE = 1e-3  # of the largest field: one that starts from zero has no size of its own yet
_TINY = 1e-300
_SHORTEST = 1e-14  # step, of the time


def applies(problem: Problem) -> bool:
    """Whether the problem is first order in time, has a weak form, and scikit-fem is installed."""
    is_asked = problem.reference.solver == "auto" and problem.time_axis is not None
    return is_asked and weak_form(problem) is not None and find_spec("skfem") is not None


def solve(problem: Problem, budget: float = 60.0) -> ReferenceSolution:
    """Return the solution on the finest mesh, with an error by the differences of the last three."""
    attempts = resolutions(problem, time.process_time() + 2 * budget)
    return refined(problem, "evolving elements", attempts, TOLERANCE, budget, best_ratio=BEST_RATIO)


def resolutions(problem: Problem, deadline: float) -> Iterator[Attempt]:
    """Yield solutions with meshes and steps refined together, until a moment of `time.process_time`."""
    form = weak_form(problem)
    assert form is not None
    began, seconds = time.perf_counter(), 0.0
    try:
        for accuracy, (system, meshing) in zip(_ACCURACIES, systems(problem, form), strict=False):
            seconds, began = meshing, time.perf_counter()
            chart = march(system, accuracy, deadline)
            yield Attempt(chart, seconds + time.perf_counter() - began)
            if time.process_time() > deadline:
                return
            began = time.perf_counter()
    except (ValueError, ArithmeticError, np.linalg.LinAlgError, RuntimeError):
        yield Attempt(None, seconds + time.perf_counter() - began)


@dataclass(frozen=True)
class _Lines:
    """M u' = -r(u; v), and for the unknowns that are held to a value 0 = u - value."""

    system: GalerkinSystem

    @cached_property
    def _is_free(self) -> Array:
        free = np.ones(self.system.starts[-1])
        free[self.system.fixed] = 0.0
        return free

    @cached_property
    def mass(self) -> csc_matrix:
        """M with rows of zeros for the held unknowns."""
        return (diags(self._is_free) @ self.system.mass).tocsc()

    @cached_property
    def _constant(self) -> csc_matrix:
        """The derivative of the rates, where it does not change."""
        return self._derivative(np.zeros(self.system.starts[-1]), 0.0)

    def _derivative(self, u: Array, t: float) -> csc_matrix:
        rates = -diags(self._is_free) @ self.system.jacobian(u, t)
        return (rates + diags(1.0 - self._is_free)).tocsc()

    def jacobian(self, t: float, u: Array) -> csc_matrix:
        """Return the derivative of the rates by u."""
        return self._constant if self.system.form.is_constant else self._derivative(u, t)

    def rate(self, times: Array, states: Array) -> Array:
        """Return the rates (s, n) at times (s,) and states (s, n)."""
        return np.stack([self._rate(float(t), u) for t, u in zip(times, states, strict=True)])

    def _rate(self, t: float, u: Array) -> Array:
        if self.system.form.is_constant:
            rates = self._constant @ u - self._is_free * self.system.residual(np.zeros_like(u), t)
        else:
            rates = np.where(self._is_free > 0, -self.system.residual(u, t), u)
        rates[self.system.fixed] -= self.system.held(t)
        return rates


def march(system: GalerkinSystem, accuracy: float, deadline: float) -> EvolvingChart | None:
    """Return the solution on one mesh, None if it does not get through.

    Args:
        accuracy: size of the last coefficient of a step's stage polynomial, of the largest value.
        deadline: the moment of `time.process_time` at which to give up.
    """
    problem = system.problem
    assert problem.time_axis is not None
    clock = problem.coordinates[problem.time_axis]
    windows = list(_windows(system, (clock.lower, clock.upper), accuracy, deadline))
    if not windows or windows[-1].end < clock.upper:
        return None
    values = np.concatenate([windows[0].values[:1], *(window.values[1:] for window in windows)])
    return EvolvingChart(
        system.nodes,
        np.asarray(system.basis.element_dofs, dtype=np.intp),
        monomials(system.basis),
        values.reshape(len(values), len(problem.fields), -1).transpose(1, 0, 2),
        np.array([clock.lower, *(window.end for window in windows)]),
        problem.time_axis,
        DEGREE,
        problem.field_names,
    )


@dataclass(frozen=True)
class _Window:
    """One accepted step: values (stages + 1, n) from its start to its end."""

    start: float
    end: float
    values: Array

    def extended(self, times: Array) -> Array:
        """Return the stage polynomial at times."""
        position = (times - self.start) / (self.end - self.start)
        return interpolation_matrix(stage_nodes(STAGES), position) @ self.values


def _windows(
    system: GalerkinSystem, interval: tuple[float, float], accuracy: float, deadline: float
) -> Iterator[_Window]:
    """Yield the accepted steps."""
    lines, method = _Lines(system), radau(STAGES)
    now, end = interval
    state = system.initial(now)
    driving = PlaneDriving(system.problem, system.form)
    largest_step = min(accuracy ** (1 / STAGES) * (end - now), STEPS_APART * driving.longest_step)
    step, last = 0.1 * largest_step, None
    scale = _sizes(system, expected_sizes(method, lines, now, state, step))
    while now < end and time.process_time() < deadline:
        step = min(step, end - now) if end - now - step > 1e-3 * step else end - now
        times = now + step * method.nodes
        guess = np.repeat(state[None], STAGES, axis=0) if last is None else last.extended(times)
        solved = radau_step(method, lines, now, state, step, guess, 0.01 * accuracy * scale)
        values = np.concatenate([state[None], solved.stages])
        scale = np.maximum(scale, _sizes(system, values)) if solved.converged else scale
        decay = stage_tail(values, scale) / accuracy if solved.converged else np.inf
        if decay > 1.0:
            step *= max(0.2, 0.8 * decay ** (-1 / STAGES)) if np.isfinite(decay) else 0.25
            last = last if solved.converged else None
            if step < _SHORTEST * (end - interval[0]):
                return
            continue
        last = _Window(now, now + step if step < end - now else end, values)
        yield last
        now, state = last.end, values[-1]
        step = min(largest_step, step * min(3.0, 0.8 * max(decay, 1e-9) ** (-1 / STAGES)))


def _sizes(system: GalerkinSystem, values: Array) -> Array:
    """Return the largest of the values (…, n) of each unknown's field, or a share of the largest field's, (n,)."""
    largest = np.array([float(np.abs(part).max()) for part in np.split(values, system.starts[1:-1], axis=-1)])
    least = max(_LITTLE * float(largest.max()), _TINY)
    return np.repeat(np.maximum(largest, least), np.diff(system.starts))
