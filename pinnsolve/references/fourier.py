r"""References of periodic semilinear problems: Fourier series in space, ETDRK4 in time.

    ∂ₜu = L u + N(u, x, t),      L linear with constant coefficients, diagonal (by blocks) in Fourier space.

Exponential time differencing of order four, Cox, Matthews (2002, J. Comput. Phys. 176, 430-455), with
c = h L and φ₀ = exp, φₙ₊₁(z) = (φₙ(z) - 1/n!)/z (their coefficients written as in Kassam, Trefethen 2005,
SIAM J. Sci. Comput. 26, 1214-1233):

    a = φ₀(c/2) u + h/2 φ₁(c/2) N(u)            b = φ₀(c/2) u + h/2 φ₁(c/2) N(a)
    d = φ₀(c/2) a + h/2 φ₁(c/2) (2 N(b) - N(u))
    u ← φ₀ u + h [(φ₁ - 3φ₂ + 4φ₃) N(u) + (2φ₂ - 4φ₃)(N(a) + N(b)) + (4φ₃ - φ₂) N(d)]
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import sympy
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.linalg import expm

from pinnsolve.problems import Partial, Problem
from pinnsolve.problems.expansion import written_out
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.references.evolution import Evolution, evolution_of
from pinnsolve.references.reference import (
    Points,
    ReferenceSolution,
    Values,
    check_points,
    relative_differences,
    unknown,
)
from pinnsolve.references.refinement import Attempt
from pinnsolve.references.windows import interpolation_matrix, locate

Array = NDArray[np.float64]
Spectrum = NDArray[np.complex128]

_INTERVALS = 8  # of a window, between the times that are kept
_STEPS = 4  # of each interval, more where there are more than _KEPT_WINDOWS
_MOST_MODES = 2048
_MOST_WINDOWS = 4096
_KEPT_WINDOWS = 512  # interpolation in time, of order 9, is then long below the error of ETDRK4
_OVERSAMPLING = 4
_NEIGHBOURS = 16  # of the interpolation on the oversampled grid


@dataclass(frozen=True)
class SemilinearForm:
    """The splitting of the rates: L as coefficients of space derivatives, N as what remains.

    Attributes:
        linear: field to (partial derivative, constant coefficient) of its last component's rate.
        remainder: field to the rest of the rate.
    """

    evolution: Evolution
    linear: dict[str, list[tuple[Partial, float]]]
    remainder: dict[str, sympy.Expr]

    def symbol(self, wavenumbers: Array) -> Spectrum:
        """Return L(k) = Σ coefficient (ik)^order, shape (modes, components, components)."""
        size = len(self.evolution.components)
        matrix = np.zeros((len(wavenumbers), size, size), dtype=complex)
        for index, component in enumerate(self.evolution.components):
            if index != self.evolution.last_component(component.field):
                matrix[:, index, index + 1] = 1.0
                continue
            for partial, coefficient in self.linear[component.field]:
                powers = (1j * wavenumbers) ** self.evolution.space_order(partial)
                matrix[:, index, self.evolution.component(partial)] += coefficient * powers
        return matrix


def semilinear(evolution: Evolution) -> SemilinearForm | None:
    """Return the splitting, None where N holds derivatives as high as those of L."""
    symbols = {evolution.symbol(partial): partial for partial in evolution.reads}
    at_rest = dict.fromkeys(symbols, sympy.S.Zero)
    linear: dict[str, list[tuple[Partial, float]]] = {}
    remainder = {}
    for field, rate in evolution.rates.items():
        linear[field], rest = [], rate
        for symbol, partial in symbols.items():
            slope = sympy.diff(rate, symbol).xreplace(at_rest)
            if slope != 0 and slope.is_number and slope.is_finite:
                linear[field].append((partial, float(slope)))
                rest = rest - slope * symbol
        remainder[field] = written_out(rest)
    highest = max((evolution.space_order(p) for terms in linear.values() for p, _ in terms), default=0)
    left = [p for s, p in symbols.items() if any(rest.has(s) for rest in remainder.values())]
    order = max((evolution.space_order(partial) for partial in left), default=0)
    return SemilinearForm(evolution, linear, remainder) if order <= 1 or order < highest else None


def applies(problem: Problem) -> bool:
    """Whether this is a semilinear evolution on a periodic interval."""
    if problem.reference.solver != "auto" or len(problem.coordinates) != 2:
        return False
    evolution = evolution_of(problem)
    if evolution is None or not problem.coordinates[evolution.space_axis].periodic:
        return False
    return not evolution.boundary and semilinear(evolution) is not None


@dataclass(frozen=True)
class FourierChart:
    """Fields as Fourier series in x whose coefficients are polynomials on windows of time.

    Attributes:
        interval: ends of the periodic coordinate, (2,).
        times: ends of the windows, (W + 1,).
        modes: the number of coefficients kept on each window, (W,).
        coefficients: c_k(t), k >= 0, at equidistant times of each window, all windows one after the
            other: (_INTERVALS + 1, fields, modes of the window), flattened.
        time_axis: the column of time.
        fields: the fields' names.
    """

    interval: Array
    times: Array
    modes: NDArray[np.int64]
    coefficients: Spectrum
    time_axis: int
    fields: tuple[str, ...]

    def __call__(self, points: Points) -> Values:
        """Return the fields (N,) at points (N, 2)."""
        result = np.empty((len(points), len(self.fields)))
        window, position = locate(self.times, points[:, self.time_axis])
        for index in np.unique(window):
            chosen = window == index
            result[chosen] = self._in_window(index, position[chosen], points[chosen, 1 - self.time_axis])
        return dict(zip(self.fields, result.T, strict=True))

    def _in_window(self, index: int, position: Array, x: Array) -> Array:
        grid = self._grid(index)  # (times, fields, M)
        in_time = interpolation_matrix(np.linspace(0, 1, _INTERVALS + 1), position)
        phase = (x - self.interval[0]) / (self.interval[1] - self.interval[0]) * grid.shape[-1]
        first = np.floor(phase).astype(int) - _NEIGHBOURS // 2 + 1
        in_space = interpolation_matrix(np.arange(_NEIGHBOURS, dtype=float), phase - first)
        neighbours = (first[:, None] + np.arange(_NEIGHBOURS)) % grid.shape[-1]  # (N, neighbours)
        result = np.zeros((len(x), len(self.fields)))
        for j in range(_INTERVALS + 1):  # one at a time: (N, neighbours) at once, not (N, times, neighbours)
            result += in_time[:, j, None] * np.einsum("fnq,nq->nf", grid[j][:, neighbours], in_space)
        return result

    def _grid(self, index: int) -> Array:
        """Return the window's values on the oversampled grid, (times, fields, M)."""
        offsets = np.concatenate([[0], np.cumsum(self.modes)]) * (_INTERVALS + 1) * len(self.fields)
        flat = self.coefficients[offsets[index] : offsets[index + 1]]
        spectrum = flat.reshape(_INTERVALS + 1, len(self.fields), -1)
        size = max(next_fast_len(2 * _OVERSAMPLING * spectrum.shape[-1], real=True), 2 * _NEIGHBOURS)
        return irfft(spectrum, size, axis=-1) * size

    def tail(self, modes: int) -> float:
        """Return the size of the last quarter of the modes after 2 % of the time, relative to the largest."""
        offsets = np.concatenate([[0], np.cumsum(self.modes)]) * (_INTERVALS + 1) * len(self.fields)
        late = np.flatnonzero(self.times[:-1] >= self.times[0] + 0.02 * (self.times[-1] - self.times[0]))
        tails = [0.0]
        for index in late:
            flat = np.abs(self.coefficients[offsets[index] : offsets[index + 1]])
            sizes = flat.reshape(-1, self.modes[index]).max(axis=0)
            tails.append(float(sizes[3 * modes // 4 :].max(initial=0.0) / max(sizes.max(), 1e-300)))
        return max(tails)

    def arrays(self) -> dict[str, NDArray]:
        """Return everything the chart consists of."""
        return {
            "interval": self.interval,
            "times": self.times,
            "modes": self.modes,
            "coefficients": self.coefficients,
            "time_axis": np.array(self.time_axis),
            "fields": np.array(self.fields),
        }


class _Spectral:
    """The problem with a number of modes k = 0 … n-1: initial coefficients, L and N."""

    def __init__(self, form: SemilinearForm, modes: int) -> None:
        self.form, self.modes = form, modes
        self.evolution = form.evolution
        coordinate = self.evolution.problem.coordinates[self.evolution.space_axis]
        self.lower, self.length = coordinate.lower, coordinate.length
        self.wavenumbers: Array = 2 * np.pi / self.length * np.arange(modes, dtype=np.float64)
        self.symbol = form.symbol(self.wavenumbers)
        self.size = next_fast_len(3 * modes, real=True)  # quadratic products are free of aliasing
        self.grid = self.lower + self.length * np.arange(self.size) / self.size
        used = {s for rest in form.remainder.values() for s in rest.free_symbols}
        self.reads = [partial for partial in self.evolution.reads if self.evolution.symbol(partial) in used]
        problem = self.evolution.problem
        names = [problem.symbols[self.evolution.space_axis], problem.symbols[self.evolution.time_axis]]
        self._formula = Formula(
            list(form.remainder.values()), [*names, *(self.evolution.symbol(partial) for partial in self.reads)]
        )
        self.is_linear = all(rest == 0 for rest in form.remainder.values())
        self._powers = [(1j * self.wavenumbers) ** self.evolution.space_order(p) for p in self.reads]

    def remainder(self, t: float, state: Spectrum) -> Spectrum:
        """Return N of a state (components, modes)."""
        spectra = [
            state[self.evolution.component(partial)] * power
            for partial, power in zip(self.reads, self._powers, strict=True)
        ]
        readings = [irfft(spectrum, self.size) * self.size for spectrum in spectra]
        values = self._formula(numpy_functions(), [self.grid, np.float64(t), *readings])
        result = np.zeros_like(state)
        for field, value in zip(self.form.remainder, values, strict=True):
            spectrum = rfft(np.broadcast_to(value, self.grid.shape))[: self.modes] / self.size
            result[self.evolution.last_component(field)] = spectrum
        return result

    def initial(self) -> Spectrum:
        """Return the Fourier coefficients of the initial values, (components, modes), by quadrature.

            c_k = 1/P ∫ u₀(x) exp(-2πi k (x - a)/P) dx

        Gauss-Legendre with 32 points on panels of at most eight wavelengths of the highest mode: exact
        to roundoff also where the periodic extension has a kink or jump at the ends, for which sampled
        values give coefficients wrong by as much as the series' tail.
        """
        panels = max(8, -(-self.modes // 8))
        nodes, weights = np.polynomial.legendre.leggauss(32)
        phase = ((np.arange(panels)[:, None] + 0.5 * (nodes + 1)) / panels).ravel()
        space = self.evolution.problem.symbols[self.evolution.space_axis]
        found = Formula(self.evolution.initial, [space])(numpy_functions(), [self.lower + self.length * phase])
        values = np.stack([np.broadcast_to(value, phase.shape) for value in found])
        weighted = (values * np.tile(weights, panels)) / (2 * panels)
        blocks = np.array_split(np.arange(self.modes), max(1, self.modes // 128))
        waves = (np.exp(-2j * np.pi * np.outer(phase, block)) for block in blocks)
        return np.concatenate([weighted @ wave for wave in waves], axis=1)


Step = Callable[[float, Spectrum], Spectrum]


def _etdrk4(spectral: _Spectral, h: float) -> Step:
    """Return the map of a state at t to the state at t + h."""
    whole, half = _phi(spectral.symbol, h), _phi(spectral.symbol, h / 2)
    first = h * (whole[1] - 3 * whole[2] + 4 * whole[3])
    middle = h * (2 * whole[2] - 4 * whole[3])
    last = h * (4 * whole[3] - whole[2])
    push = h / 2 * half[1]

    def step(t: float, u: Spectrum) -> Spectrum:
        if spectral.is_linear:
            return _times(whole[0], u)
        at_u = spectral.remainder(t, u)
        moved = _times(half[0], u)
        a = moved + _times(push, at_u)
        at_a = spectral.remainder(t + h / 2, a)
        at_b = spectral.remainder(t + h / 2, moved + _times(push, at_a))
        d = _times(half[0], a) + _times(push, 2 * at_b - at_u)
        at_d = spectral.remainder(t + h, d)
        return _times(whole[0], u) + _times(first, at_u) + _times(middle, at_a + at_b) + _times(last, at_d)

    return step


def _times(matrices: Spectrum, state: Spectrum) -> Spectrum:
    """Return the product by mode of matrices (components, components, modes) with a state."""
    return (matrices * state[None]).sum(axis=1)


def _phi(symbol: Spectrum, h: float) -> list[Spectrum]:
    """Return φ₀ … φ₃ of h L(k), each (components, components, modes).

    They are the first row of blocks of exp [[hL, I, 0, 0], [0, 0, I, 0], [0, 0, 0, I], [0, 0, 0, 0]]
    (Al-Mohy, Higham 2011, SIAM J. Sci. Comput. 33, 488-511, theorem 2.1), which does not cancel.
    """
    modes, size, _ = symbol.shape
    augmented = np.zeros((modes, 4 * size, 4 * size), dtype=complex)
    augmented[:, :size, :size] = h * symbol
    for block in range(3):
        rows = slice(block * size, (block + 1) * size)
        augmented[:, rows, (block + 1) * size : (block + 2) * size] = np.eye(size)
    whole = expm(augmented)[:, :size]
    return [np.ascontiguousarray(whole[:, :, i * size : (i + 1) * size].transpose(1, 2, 0)) for i in range(4)]


def solve(problem: Problem, tolerance: float = 1e-10, budget: float = 60.0) -> ReferenceSolution:
    """Return the solution, with modes and steps doubled until neither changes it any more.

    The error is the change by the last doubling of the steps plus that by doubling the modes.
    """
    evolution = evolution_of(problem)
    form = None if evolution is None else semilinear(evolution)
    if form is None:
        raise ValueError(f"{problem.name} is not a periodic semilinear evolution")
    runs = _Runs(form, time.perf_counter(), budget)
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
    while modes <= _MOST_MODES and time.perf_counter() < deadline:
        started = time.perf_counter()
        chart = march(form, modes, windows, deadline)
        yield Attempt(chart, time.perf_counter() - started)
        modes, windows = 2 * modes, 2 * windows


class _Runs:
    """The solutions of all resolutions tried so far."""

    def __init__(self, form: SemilinearForm, started: float, budget: float) -> None:
        self.form, self.started, self.budget = form, started, budget
        self.points = check_points(form.evolution.problem)
        self.last_seconds = 0.0
        self._charts: dict[tuple[int, int], FourierChart | None] = {}
        self._values: dict[tuple[int, int], Values] = {}

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.started

    def have_time_for(self, runs: float) -> bool:
        """Whether so many runs like the last one fit into the budget."""
        return self.seconds + runs * self.last_seconds <= self.budget

    def chart(self, modes: int, windows: int) -> FourierChart | None:
        """Return the solution of a resolution, None where the run did not get through."""
        if (modes, windows) not in self._charts:
            begun = time.perf_counter()
            self._charts[modes, windows] = march(self.form, modes, windows, self.started + 2 * self.budget)
            self.last_seconds = time.perf_counter() - begun
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
    modes, windows = 32, 8
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


def _window_edges(spectral: _Spectral, state: Spectrum, count: int) -> Array:
    """Return the ends of the windows: equal ones, the first cut into doubling ones.

    So many that the first interval resolves the fastest decay that the initial values excite: rough
    initial values have a layer of time that polynomials on equal windows would miss.
    """
    start, end = spectral.evolution.time
    sizes = np.abs(state).max(axis=0)
    excited = sizes > 1e-13 * sizes.max()
    rate = float(np.abs(spectral.symbol[excited]).sum(axis=-1).max())
    width = (end - start) / count
    halvings = int(np.clip(np.ceil(np.log2(max(rate * width / _INTERVALS, 1.0))), 0, 20))
    first = start + width * 2.0 ** np.arange(-halvings, 1)
    edges = np.concatenate([[start], first, start + width * np.arange(2, count + 1)])
    edges[-1] = end
    return edges


def march(form: SemilinearForm, modes: int, windows: int, deadline: float) -> FourierChart | None:
    """Return the solution of one resolution; None where it overflows or the deadline passes."""
    spectral = _Spectral(form, modes)
    state = spectral.initial()
    edges = _window_edges(spectral, state, min(windows, _KEPT_WINDOWS))
    steps = _STEPS * max(1, windows // _KEPT_WINDOWS)
    chosen = list(form.evolution.value_components.values())
    kept = []
    with np.errstate(all="ignore"):
        for states in _states(spectral, state, edges, steps):
            if not np.isfinite(states).all() or time.perf_counter() > deadline:
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


def _states(spectral: _Spectral, state: Spectrum, edges: Array, steps: int) -> Iterator[Spectrum]:
    """Yield the states (_INTERVALS + 1, components, modes) of each window, with so many steps between them."""
    width, step = 0.0, None
    for start, end in pairwise(edges):
        if step is None or abs(end - start - width) > 1e-12 * width:
            width = end - start
            step = _etdrk4(spectral, width / (_INTERVALS * steps))
        states = [state]
        for i in range(_INTERVALS * steps):
            state = step(start + i * width / (_INTERVALS * steps), state)
            if (i + 1) % steps == 0:
                states.append(state)
        yield np.stack(states)


def _without_tail(states: Spectrum) -> Spectrum:
    """Return the spectra without the trailing modes that are below roundoff."""
    sizes = np.abs(states).max(axis=(0, 1))
    used = np.flatnonzero(sizes > 1e-17 * sizes.max())
    return states[..., : (used[-1] + 1 if len(used) else 1)]
