"""References of periodic semilinear problems: Fourier series in space, ETDRK4 in time, both refined."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pinnsolve.problems import Problem
from pinnsolve.references.driving import Driving
from pinnsolve.references.etdrk4 import SpectralSystem, etdrk4
from pinnsolve.references.evolution import evolution_of
from pinnsolve.references.fourier_chart import INTERVALS, FourierChart
from pinnsolve.references.reference import ReferenceSolution, Values, check_points, relative_differences, unknown
from pinnsolve.references.refinement import Attempt
from pinnsolve.references.semilinear import SemilinearForm, semilinear

Array = NDArray[np.float64]
Spectrum = NDArray[np.complex128]

_STEPS = 4  # of each interval, more where there are more than _KEPT_WINDOWS
_MOST_MODES = 2048
_MOST_WINDOWS = 4096
_KEPT_WINDOWS = 512  # interpolation in time, of order 9, is then long below the error of ETDRK4


def applies(problem: Problem) -> bool:
    """Whether this is a semilinear evolution on a periodic interval."""
    if problem.reference.solver != "auto" or len(problem.coordinates) != 2:
        return False
    evolution = evolution_of(problem)
    if evolution is None or not problem.coordinates[evolution.space_axis].periodic:
        return False
    return not evolution.boundary and semilinear(evolution) is not None


def solve(problem: Problem, tolerance: float = 1e-10, budget: float = 60.0) -> ReferenceSolution:
    """Return the solution, with modes and steps doubled until neither changes it any more.

    The error is the change by the last doubling of the steps plus that by doubling the modes.
    """
    evolution = evolution_of(problem)
    form = None if evolution is None else semilinear(evolution)
    if form is None:
        raise ValueError(f"{problem.name} is not a periodic semilinear evolution")
    runs = _Runs(form, budget)
    modes, windows = _first_resolution(runs)
    while True:
        windows = _enough_windows(runs, modes, windows, tolerance)
        in_space = runs.difference((2 * modes, windows // 2), (modes, windows // 2))
        if max(in_space.values()) <= tolerance or modes >= _MOST_MODES or not runs.have_time_for(4):
            break
        modes *= 2
    in_time = runs.difference((modes, windows), (modes, windows // 2))
    errors = {name: in_time[name] + in_space[name] for name in in_time}
    chart = runs.chart(modes, windows) or runs.chart(modes, windows // 2)
    return ReferenceSolution("fourier", errors, runs.seconds, chart or unknown(problem))


def resolutions(problem: Problem, deadline: float) -> Iterator[Attempt]:
    """Yield solutions with modes and steps doubled together."""
    evolution = evolution_of(problem)
    form = None if evolution is None else semilinear(evolution)
    assert form is not None
    modes, windows = 8, 1
    while modes <= _MOST_MODES and time.process_time() < deadline:
        started = time.perf_counter()
        chart = march(form, modes, windows, deadline)
        yield Attempt(chart, time.perf_counter() - started)
        modes, windows = 2 * modes, 2 * windows


class _Runs:
    """The solutions of all resolutions tried so far."""

    def __init__(self, form: SemilinearForm, budget: float) -> None:
        self.form, self.budget = form, budget
        self.started, self._began = time.process_time(), time.perf_counter()
        self.points = check_points(form.evolution.problem)
        self.last_seconds = 0.0
        self._charts: dict[tuple[int, int], FourierChart | None] = {}
        self._values: dict[tuple[int, int], Values] = {}

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._began

    def have_time_for(self, runs: float) -> bool:
        """Whether so many runs like the last one fit into the budget, in processor time."""
        return time.process_time() - self.started + runs * self.last_seconds <= self.budget

    def chart(self, modes: int, windows: int) -> FourierChart | None:
        """Return the solution of a resolution, None where the run did not get through."""
        if (modes, windows) not in self._charts:
            begun = time.process_time()
            self._charts[modes, windows] = march(self.form, modes, windows, self.started + 2 * self.budget)
            self.last_seconds = time.process_time() - begun
        return self._charts[modes, windows]

    def difference(self, finer: tuple[int, int], coarser: tuple[int, int]) -> dict[str, float]:
        """Return the relative difference of two resolutions by field, infinite where one broke down."""
        for resolution in (finer, coarser):
            chart = self.chart(*resolution)
            if chart is None:
                return dict.fromkeys(self.form.evolution.problem.field_names, np.inf)
            if resolution not in self._values:
                self._values[resolution] = chart(self.points)
        return relative_differences(self._values[finer], self._values[coarser])


def _first_resolution(runs: _Runs) -> tuple[int, int]:
    """Return modes that resolve the solution after its first moments, and windows that get through."""
    driving, (start, end) = Driving(runs.form.evolution), runs.form.evolution.time
    pieces_in_time = (end - start) / driving.longest_step
    modes, windows = max(32, 2 * driving.pieces_in_space), max(8, int(pieces_in_time) // INTERVALS)
    modes = min(modes, _MOST_MODES)
    while runs.have_time_for(4):
        chart = runs.chart(modes, windows)
        if chart is None and windows < _MOST_WINDOWS:
            windows *= 2
        elif chart is not None and chart.tail(modes) > 1e-11 and modes < _MOST_MODES:
            modes *= 2
        else:
            break
    return modes, windows


def _enough_windows(runs: _Runs, modes: int, windows: int, tolerance: float) -> int:
    """Return the windows at which doubling them has stopped to matter, or as many as there is time for."""
    change = np.inf
    while True:
        windows *= 2
        last, change = change, max(runs.difference((modes, windows), (modes, windows // 2)).values())
        at_roundoff = 0.5 * last < change < 1e-9
        # the next run takes twice as long, and so does the one with twice the modes afterwards
        if change <= tolerance or at_roundoff or windows >= _MOST_WINDOWS or not runs.have_time_for(4):
            return windows


def _window_edges(spectral: SpectralSystem, state: Spectrum, count: int) -> Array:
    """Return the ends of the windows: equal ones, the first cut into doubling ones.

    So many that the first interval resolves the fastest decay that the initial values excite: rough
    initial values have a layer of time that polynomials on equal windows would miss.
    """
    start, end = spectral.evolution.time
    sizes = np.abs(state).max(axis=0)
    excited = sizes > 1e-13 * sizes.max()
    rate = float(np.abs(spectral.symbol[excited]).sum(axis=-1).max())
    width = (end - start) / count
    halvings = int(np.clip(np.ceil(np.log2(max(rate * width / INTERVALS, 1.0))), 0, 20))
    first = start + width * 2.0 ** np.arange(-halvings, 1)
    edges = np.concatenate([[start], first, start + width * np.arange(2, count + 1)])
    edges[-1] = end
    return edges


def march(form: SemilinearForm, modes: int, windows: int, deadline: float) -> FourierChart | None:
    """Return the solution of one resolution; None where it overflows or the deadline passes."""
    spectral = SpectralSystem(form, modes)
    state = spectral.initial()
    edges = _window_edges(spectral, state, min(windows, _KEPT_WINDOWS))
    steps = _STEPS * max(1, windows // _KEPT_WINDOWS)
    chosen = list(form.evolution.value_components.values())
    kept = []
    with np.errstate(all="ignore"):
        for states in _states(spectral, state, edges, steps):
            if not np.isfinite(states).all() or time.process_time() > deadline:
                return None
            kept.append(_without_tail(states[:, chosen]))
    coordinate = form.evolution.problem.coordinates[form.evolution.space_axis]
    return FourierChart(
        np.array([coordinate.lower, coordinate.upper]),
        edges,
        np.array([spectrum.shape[-1] for spectrum in kept]),
        np.concatenate([spectrum.ravel() for spectrum in kept]),
        form.evolution.time_axis,
        tuple(form.evolution.value_components),
    )


def _states(spectral: SpectralSystem, state: Spectrum, edges: Array, steps: int) -> Iterator[Spectrum]:
    """Yield the states (INTERVALS + 1, components, modes) of each window, with so many steps between them."""
    width, step = 0.0, None
    for start, end in pairwise(edges):
        if step is None or abs(end - start - width) > 1e-12 * width:
            width = end - start
            step = etdrk4(spectral, width / (INTERVALS * steps))
        states = [state]
        for i in range(INTERVALS * steps):
            state = step(start + i * width / (INTERVALS * steps), state)
            if (i + 1) % steps == 0:
                states.append(state)
        yield np.stack(states)


def _without_tail(states: Spectrum) -> Spectrum:
    """Return the spectra without the trailing modes that are below roundoff."""
    sizes = np.abs(states).max(axis=(0, 1))
    used = np.flatnonzero(sizes > 1e-17 * sizes.max())
    return states[..., : (used[-1] + 1 if len(used) else 1)]
