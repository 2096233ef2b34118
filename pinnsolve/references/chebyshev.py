"""References in one space dimension and time: Chebyshev elements in space, Radau IIA in time.

Elements are cut in half where the polynomials do not resolve the solution, steps are chosen by the decay
of the stage polynomial's coefficients; both follow the solution as it goes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pinnsolve.problems import Problem
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.references.driving import STEPS_APART, Driving
from pinnsolve.references.elements import Mesh
from pinnsolve.references.elements_chart import DEGREE, STAGES, ElementsChart
from pinnsolve.references.evolution import Evolution, evolution_of
from pinnsolve.references.radau import expected_sizes, radau, radau_step, stage_nodes, stage_tail
from pinnsolve.references.reference import ReferenceSolution
from pinnsolve.references.refinement import Attempt, largest, refined
from pinnsolve.references.semidiscrete import discretised, space_orders
from pinnsolve.references.windows import interpolation_matrix

Array = NDArray[np.float64]

_MOST_ELEMENTS = 400
_DEEPEST = 2.0**-20  # the narrowest element, as a part of the interval
_SHORTEST = 1e-18  # step, of the time: a kink diffuses across the closest nodes there, 1e-8 apart, within 1e-16
_ROUNDOFF = 1e-6  # of the largest component: what fourth derivatives on narrow elements make of zero
_LITTLE = 1e-3
_TINY = 1e-30
_ACCURACIES = (1e-6, 1e-8, 1e-10, 1e-12)
_COARSE = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


def applies(problem: Problem) -> bool:
    """Whether this is an evolution in one space dimension with as many conditions as derivatives."""
    if problem.reference.solver != "auto" or len(problem.coordinates) != 2:
        return False
    evolution = evolution_of(problem)
    if evolution is None:
        return False
    needed = sum(space_orders(evolution).values())
    periodic = problem.coordinates[evolution.space_axis].periodic
    return needed <= 2 * DEGREE and len(evolution.boundary) == (0 if periodic else needed)


def solve(
    problem: Problem, tolerance: float = 1e-10, budget: float = 60.0, accuracies: Sequence[float] = _ACCURACIES
) -> ReferenceSolution:
    """Return the solution, with meshes and steps refined until two runs agree."""
    evolution = evolution_of(problem)
    if evolution is None:
        raise ValueError(f"{problem.name} is not an evolution in one space dimension")
    deadline = time.process_time() + 1.2 * budget
    found = refined(problem, "chebyshev", _attempts(evolution, accuracies, deadline), tolerance, budget)
    if not math.isnan(largest(found.errors)):
        return found
    # data that disagree a little, by more than the second accuracy: what coarser ones tell is known all the same
    coarser, deadline = (*_COARSE[1:], *accuracies[:1]), time.process_time() + 0.5 * budget
    return refined(problem, "chebyshev", _attempts(evolution, coarser, deadline), tolerance, budget)


def resolutions(problem: Problem, deadline: float) -> Iterable[Attempt]:
    """Yield solutions of rising accuracy."""
    evolution = evolution_of(problem)
    assert evolution is not None
    return _attempts(evolution, _COARSE + _ACCURACIES, deadline)


def _attempts(evolution: Evolution, accuracies: Sequence[float], deadline: float) -> Iterable[Attempt]:
    spent, is_through, driving = np.inf, False, Driving(evolution)
    for accuracy in accuracies:
        began, started = time.process_time(), time.perf_counter()
        # an accuracy below roundoff shows in steps without end
        chart = march(evolution, accuracy, min(deadline, began + 1.0 + 10.0 * spent), driving)
        spent = time.process_time() - began
        yield Attempt(chart, time.perf_counter() - started)
        if is_through and chart is None:
            return
        is_through = is_through or chart is not None


def march(
    evolution: Evolution, accuracy: float, deadline: float, driving: Driving | None = None
) -> ElementsChart | None:
    """Return the solution with coefficients below the accuracy left out, None if it does not get through.

    Args:
        accuracy: size, relative to the component's largest value, of the last coefficient that a step
            and an element keep.
        deadline: the moment of `time.process_time` at which to give up.
        driving: of the evolution; found anew if it is not given.
    """
    windows = list(_windows(evolution, driving or Driving(evolution), accuracy, deadline))
    if not windows or windows[-1].end < evolution.time[1]:
        return None
    chosen = evolution.value_components
    return ElementsChart(
        np.array([evolution.time[0], *(window.end for window in windows)]),
        np.array([len(window.mesh.widths) for window in windows]),
        np.concatenate([window.mesh.edges for window in windows]),
        np.concatenate([window.values[:, list(chosen.values())].ravel() for window in windows]),
        evolution.time_axis,
        tuple(chosen),
    )


@dataclass(frozen=True)
class _Window:
    """One accepted step: values (stages + 1, components, K, degree + 1) from start to end."""

    start: float
    end: float
    mesh: Mesh
    values: Array

    def extended(self, times: Array) -> Array:
        """Return the stage polynomial at times, (n, components, K, degree + 1)."""
        position = (times - self.start) / (self.end - self.start)
        weights = interpolation_matrix(stage_nodes(len(self.values) - 1), position)
        return np.tensordot(weights, self.values, axes=1)

    def split(self, marked: NDArray[np.bool_]) -> _Window:
        """Return the same window on the split mesh."""
        return _Window(self.start, self.end, self.mesh.split(marked), self.mesh.split_values(self.values, marked))

    def join(self, first: NDArray[np.intp]) -> _Window:
        """Return the same window with elements e and e+1 made one, for each e of `first`."""
        pairs, wholes = self.mesh.joined(self.values)
        values = self.values.copy()
        values[..., first, :] = wholes[..., np.isin(pairs, first), :]
        return _Window(self.start, self.end, self.mesh.join(first), np.delete(values, first + 1, axis=-2))


def _windows(evolution: Evolution, driving: Driving, accuracy: float, deadline: float) -> Iterator[_Window]:
    """Yield the accepted steps."""
    method = radau(STAGES)
    shown = _showing_sources(evolution, driving, accuracy)
    mesh, state = _start(evolution, driving, shown, accuracy)
    system = discretised(evolution, mesh)
    now, end = evolution.time
    # both depend on the accuracy, lest two runs of a very smooth solution take the same steps
    largest_step = min(0.5 * accuracy ** (1 / STAGES) * (end - now), STEPS_APART * driving.longest_step)
    step, last = 0.1 * largest_step, None
    soon = expected_sizes(method, system, now, state.ravel(), step).reshape(state.shape)
    scale = _Scale.of_start(state, soon, evolution.known_sizes)
    while now < end and time.process_time() < deadline:
        step = min(step, end - now) if end - now - step > 1e-3 * step else end - now
        times = now + step * method.nodes
        guess = np.repeat(state[None], STAGES, axis=0) if last is None else last.extended(times)
        small = 0.01 * accuracy * np.broadcast_to(scale.sizes, state.shape).ravel()
        solved = radau_step(method, system, now, state.ravel(), step, guess.reshape(STAGES, -1), small)
        values = np.concatenate([state[None], solved.stages.reshape(STAGES, *state.shape)])
        scale = scale.grown(values) if solved.converged else scale
        decay = stage_tail(values, scale.sizes) / accuracy if solved.converged else np.inf
        if decay > 1.0:
            step *= max(0.2, 0.8 * decay ** (-1 / STAGES)) if np.isfinite(decay) else 0.25
            last = None if not solved.converged else last
            if step < _SHORTEST * (end - evolution.time[0]) or now + step == now:
                return
            continue
        marked = _unresolved(mesh, values[1:], scale.sizes, accuracy, evolution)
        if marked.any():
            state, last = mesh.split_values(state, marked), last and last.split(marked)
            mesh = mesh.split(marked)
            system = discretised(evolution, mesh)
            continue
        last = _Window(now, now + step if step < end - now else end, mesh, values)
        yield last
        now, state = last.end, values[-1]
        joined = _joinable(mesh, values, scale.sizes, accuracy)
        joined = joined[~np.isin(mesh.edges[joined + 1], shown.edges)]
        if len(joined) and _has_projection(evolution):
            last = last.join(joined)
            mesh, system = last.mesh, discretised(evolution, last.mesh)
            state = system.consistent(now, last.values[-1].ravel(), 1e-3 * accuracy).reshape(last.values[-1].shape)
        step = min(largest_step, step * min(2.0, 0.8 * max(decay, 1e-9) ** (-1 / STAGES)))


def _showing_sources(evolution: Evolution, driving: Driving, accuracy: float) -> Mesh:
    """Return a coarse mesh on which no source is missed; no two of its elements are ever joined."""
    coordinate = evolution.problem.coordinates[evolution.space_axis]
    # two accuracies shall differ in their mesh; high orders start coarse, rounding grows as width^-order
    elements = max(1, round(-0.5 * np.log10(accuracy)) + (1 if max(space_orders(evolution).values()) <= 2 else -2))
    mesh = Mesh(np.linspace(coordinate.lower, coordinate.upper, elements + 1), DEGREE)
    while (marked := _allowed(mesh, driving.unseen(mesh))).any():
        mesh = mesh.split(marked)
    return mesh


def _start(evolution: Evolution, driving: Driving, mesh: Mesh, accuracy: float) -> tuple[Mesh, Array]:
    """Return a mesh that resolves the initial values, made from one that shows the sources, and the state on it."""
    coordinate = evolution.problem.coordinates[evolution.space_axis]
    formula = Formula(evolution.initial, [coordinate.symbol])
    while True:
        with np.errstate(all="ignore"):
            found = formula(numpy_functions(), [mesh.nodes])
        sampled = np.stack([np.broadcast_to(value, mesh.nodes.shape) for value in found]).astype(float)
        system = discretised(evolution, mesh)
        state = sampled
        if _has_projection(evolution):
            state = system.consistent(evolution.time[0], sampled.ravel(), accuracy).reshape(sampled.shape)
        scale = _Scale.of_start(sampled, state, evolution.known_sizes)
        marked = _unresolved(mesh, state[None], scale.sizes, accuracy, evolution)
        marked |= _allowed(mesh, driving.unseen_start(mesh))
        if not marked.any():
            return mesh, state
        mesh = mesh.split(marked)


def _has_projection(evolution: Evolution) -> bool:
    """Whether what the equations evolve and the constraints together determine the state.

    Not for odd orders on a periodic interval: the polynomials that vanish at all Gauss points then
    satisfy continuity too. Such a mode is governed by the equations themselves.
    """
    periodic = evolution.problem.coordinates[evolution.space_axis].periodic
    return not periodic or all(order % 2 == 0 for order in space_orders(evolution).values())


@dataclass(frozen=True)
class _Scale:
    """The largest size so far of each component, (components, 1, 1), each in its own unit.

    A silent one starts from zero, no data tell its size, and it is roundoff as far as can be seen: it counts as a
    share of the largest.
    """

    sizes: Array
    silent: NDArray[np.bool_]

    @classmethod
    def of_start(cls, state: Array, soon: Array, known: Sequence[float]) -> _Scale:
        """Return the scale of initial values (components, K, degree + 1), of those soon after, and of the data."""
        told = _LITTLE * np.array(known)[:, None, None]
        sizes = np.maximum(np.maximum(_sizes(state), _sizes(soon)), told)
        silent = (_sizes(state) == 0) & (told == 0) & (sizes <= _ROUNDOFF * sizes.max())
        return cls(np.zeros_like(sizes), silent)._with(sizes)

    def grown(self, values: Array) -> _Scale:
        """Return the scale after values (…, components, K, degree + 1)."""
        return self._with(_sizes(values))

    def _with(self, sizes: Array) -> _Scale:
        seen = np.where(self.silent, np.maximum(sizes, _LITTLE * sizes.max()), sizes)
        return _Scale(np.maximum(np.maximum(self.sizes, seen), _TINY), self.silent)


def _sizes(values: Array) -> Array:
    """Return the largest size of each component, (components, 1, 1)."""
    sizes: Array = np.abs(values).max(axis=(-1, -2), keepdims=True)
    return sizes.max(axis=0) if sizes.ndim == 4 else sizes


def _unresolved(mesh: Mesh, values: Array, scale: Array, accuracy: float, evolution: Evolution) -> NDArray[np.bool_]:
    """Return which elements (K,) need to be cut, none where that is no longer allowed."""
    chosen = list(evolution.value_components.values())
    tails = (mesh.tails(values[:, chosen]) / scale[chosen, :, 0]).max(axis=(0, 1))
    return _allowed(mesh, tails > accuracy)


def _allowed(mesh: Mesh, marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which of the marked elements (K,) may be cut; none where there would be too many."""
    marked = marked & (mesh.widths > _DEEPEST * (mesh.edges[-1] - mesh.edges[0]))
    return marked & (len(mesh.widths) + marked.sum() <= _MOST_ELEMENTS)


def _joinable(mesh: Mesh, values: Array, scale: Array, accuracy: float) -> NDArray[np.intp]:
    """Return the first halves of the pairs whose whole resolves all components with room to spare."""
    first, wholes = mesh.joined(values)
    if not len(first):
        return first
    tails = (mesh.tails(wholes) / scale[..., 0]).max(axis=(0, 1))
    return first[tails < 0.01 * accuracy]
