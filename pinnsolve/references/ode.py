"""References of ordinary differential equations, by SciPy's solve_ivp."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import sympy
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from pinnsolve.problems import Problem
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.references.driving import Driving
from pinnsolve.references.evolution import Evolution, evolution_of
from pinnsolve.references.reference import Points, ReferenceSolution, Values
from pinnsolve.references.refinement import Attempt, refined
from pinnsolve.references.windows import interpolation_matrix, locate

Array = NDArray[np.float64]

_NODES = 8  # DOP853's dense output has degree 7: these values hold all of it
_MOST_EVALUATIONS = 200_000  # where an explicit method needs more, the problem is stiff
_TOLERANCES = (1e-8, 1e-10, 1e-12, 3e-14)
_COARSE = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)


@dataclass(frozen=True)
class TimeChart:
    """Fields of time alone, a polynomial on each window.

    Attributes:
        edges: ends of the windows, (W + 1,).
        values: values at Chebyshev-Lobatto nodes, (W, nodes, fields).
        fields: the fields' names.
    """

    edges: Array
    values: Array
    fields: tuple[str, ...]

    def __call__(self, points: Points) -> Values:
        """Return the fields (N,) at points (N, 1)."""
        window, position = locate(self.edges, points[:, 0])
        weights = interpolation_matrix(_unit_nodes(self.values.shape[1]), position)  # (N, nodes)
        values = np.einsum("nj,njf->nf", weights, self.values[window])
        return dict(zip(self.fields, values.T, strict=True))

    def arrays(self) -> dict[str, NDArray]:
        """Return everything the chart consists of."""
        return {"edges": self.edges, "values": self.values, "fields": np.array(self.fields)}


def applies(problem: Problem) -> bool:
    """Whether this is an initial value problem in one coordinate."""
    return problem.reference.solver == "auto" and len(problem.coordinates) == 1 and evolution_of(problem) is not None


def solve(problem: Problem, tolerance: float = 1e-10, budget: float = 60.0) -> ReferenceSolution:
    """Return the trajectory, with tolerances tightened until two runs agree.

    DOP853; Radau with the exact Jacobian where that does not get through.
    """
    evolution = evolution_of(problem)
    if evolution is None:
        raise ValueError(f"{problem.name} is not an initial value problem in one coordinate")
    return refined(problem, "solve_ivp", _attempts(_System(evolution), _TOLERANCES), tolerance, budget)


def resolutions(problem: Problem, deadline: float) -> Iterator[Attempt]:
    """Yield trajectories of falling tolerance; a run is not begun after the deadline."""
    evolution = evolution_of(problem)
    assert evolution is not None
    system = _System(evolution)
    yield from takewhile(lambda _: time.process_time() < deadline, _attempts(system, _COARSE + _TOLERANCES))


def _attempts(system: _System, tolerances: Sequence[float]) -> Iterator[Attempt]:
    method = "DOP853"
    for tolerance in tolerances:
        started = time.perf_counter()
        chart = _integrate(system, method, tolerance)
        if chart is None and method == "DOP853":
            method = "Radau"
            chart = _integrate(system, method, tolerance)
        yield Attempt(chart, time.perf_counter() - started)


class _System:
    """y' = f(t, y) and ∂f/∂y of an evolution without space."""

    def __init__(self, evolution: Evolution) -> None:
        self.evolution = evolution
        symbols = [evolution.symbol(component) for component in evolution.components]
        rates = [self._rate(index) for index in range(len(symbols))]
        coordinate = evolution.problem.symbols[0]
        slopes = [sympy.diff(rate, symbol) for rate in rates for symbol in symbols]
        self._rates = Formula(rates, [coordinate, *symbols])
        self._slopes = Formula(slopes, [coordinate, *symbols])
        self.start = np.array(Formula(evolution.initial, [coordinate])(numpy_functions(), [evolution.time[0]]), float)
        self.evaluations, self.most_evaluations = 0, _MOST_EVALUATIONS
        self.longest_step = Driving(evolution).longest_step

    def _rate(self, index: int) -> sympy.Expr:
        field = self.evolution.components[index].field
        if index == self.evolution.last_component(field):
            return self.evolution.rates[field]
        return self.evolution.symbol(self.evolution.components[index + 1])

    def rate(self, t: float, y: Array) -> Array:
        """Return f(t, y)."""
        self.evaluations += 1
        if self.evaluations > self.most_evaluations:
            raise _TooStiff
        return self._evaluated(self._rates, t, y)

    def jacobian(self, t: float, y: Array) -> Array:
        """Return ∂f/∂y."""
        return self._evaluated(self._slopes, t, y).reshape(len(y), len(y))

    @staticmethod
    def _evaluated(formula: Formula, t: float, y: Array) -> Array:
        return np.array(formula(numpy_functions(), [np.float64(t), *y]), dtype=np.float64)


class _TooStiff(Exception):
    """The explicit method takes too many steps."""


def _integrate(system: _System, method: str, tolerance: float) -> TimeChart | None:
    """Return the trajectory of one run, None if the method does not get through."""
    system.evaluations, system.most_evaluations = 0, _MOST_EVALUATIONS * (1 if method == "DOP853" else 10)
    jacobian: dict[str, Callable[[float, Array], Array]] = {} if method == "DOP853" else {"jac": system.jacobian}
    scale = max(float(np.abs(system.start).max()), 1e-3)
    try:
        with np.errstate(all="ignore"):
            result = solve_ivp(
                system.rate,
                system.evolution.time,
                system.start,
                method=method,
                dense_output=True,
                max_step=system.longest_step,
                rtol=tolerance,
                atol=tolerance * scale * 1e-3,
                **jacobian,
            )
    except (_TooStiff, ValueError, np.linalg.LinAlgError):  # ValueError: the Jacobian is not finite
        return None
    return _chart(system, result) if result.success else None


def _chart(system: _System, result: object) -> TimeChart:
    edges = np.asarray(result.t)  # type: ignore[attr-defined]
    times = edges[:-1, None] + np.diff(edges)[:, None] * _unit_nodes(_NODES)  # (W, nodes)
    chosen = system.evolution.value_components
    pieces = [sol(t) for sol, t in zip(result.sol.interpolants, times, strict=True)]  # type: ignore[attr-defined]
    values = np.array(pieces)[:, list(chosen.values()), :]  # (W, fields, nodes)
    return TimeChart(edges, np.ascontiguousarray(values.transpose(0, 2, 1)), tuple(chosen))


def _unit_nodes(count: int) -> Array:
    """Return the Chebyshev-Lobatto nodes on [0, 1]."""
    return 0.5 - 0.5 * np.cos(np.pi * np.arange(count) / (count - 1))
