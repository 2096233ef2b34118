"""What drives an evolution from outside, and how finely it must be sampled not to be missed.

A solver that chooses its steps and elements by the solution it has so far passes by a pulse that begins between two of
them, and two runs that both pass it by agree. Terms that depend on time or space alone are known before any of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import sympy
from numpy.typing import NDArray

from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.references.elements import Mesh
from pinnsolve.references.evolution import Evolution

Array = NDArray[np.float64]

STEPS_APART = 4.0  # of the step that shows what drives a solution: Radau stages are at most a fifth of a step apart
FINEST = 12  # samples along a coordinate, as a power of two: what is narrower than their distance is not seen
_ACROSS = 33  # samples along the other one
_SEEN = 0.05  # what straight lines between steps leave out of a term at most, of its variation
_SHOWN = 0.1  # what the polynomials of a mesh leave out of a term at most, of its size
_CONSTANT = 1e-12  # variation, of the size, that is none


class Driving:
    """The terms of rates, boundary conditions and initial values that depend on coordinates alone.

    Of F(x, t, u, u_x, …): the terms of F and of its derivatives by u, u_x, … where these are zero, or at the start in
    a problem without space.
    """

    def __init__(self, evolution: Evolution) -> None:
        self.evolution, problem = evolution, evolution.problem
        self._clock = problem.symbols[evolution.time_axis]
        self._space = problem.symbols[evolution.space_axis] if len(problem.coordinates) == 2 else None
        readings = [evolution.symbol(partial) for partial in {*evolution.reads, *evolution.components}]
        given = {evolution.symbol(c): value for c, value in zip(evolution.components, evolution.initial, strict=True)}
        at_rest = given if self._space is None else dict.fromkeys(readings, sympy.S.Zero)
        self._sources = explicit_terms(evolution.rates.values(), readings, at_rest)

    @cached_property
    def pieces_in_space(self) -> int:
        """The number of equal pieces of space between which straight lines show sources and initial values."""
        times, places = np.linspace(*self.evolution.time, _ACROSS), self._places(2**FINEST + 1)
        terms = [*self._sources, *explicit_terms(self.evolution.initial, [], {})]
        pieces = [
            pieces_to_show(self._sampled(term, times, places).T) for term in terms if self._space in term.free_symbols
        ]
        return int(2 ** max(pieces, default=0))

    @cached_property
    def longest_step(self) -> float:
        """The longest step between which straight lines show every term's course in time."""
        start, end = self.evolution.time
        times = np.linspace(start, end, 2**FINEST + 1)
        pieces = [pieces_to_show(self._sampled(term, times, self._places(_ACROSS))) for term in self._in_time]
        return (end - start) / 2 ** max(pieces, default=0)

    def unseen(self, mesh: Mesh) -> NDArray[np.bool_]:
        """Return the elements (K,) whose polynomials do not show the sources."""
        return self._unseen(mesh, [term for term in self._sources if self._space in term.free_symbols])

    def unseen_start(self, mesh: Mesh) -> NDArray[np.bool_]:
        """Return the elements (K,) whose polynomials do not show the initial values."""
        return self._unseen(mesh, explicit_terms(self.evolution.initial, [], {}))

    @property
    def _in_time(self) -> list[sympy.Expr]:
        readings = [symbol for residual in self.evolution.constraints for symbol in residual.placeholders.values()]
        at_ends = [residual.placed for residual in self.evolution.constraints]
        terms = [*self._sources, *explicit_terms(at_ends, readings, dict.fromkeys(readings, sympy.S.Zero))]
        return [term for term in terms if self._clock in term.free_symbols]

    def _places(self, count: int) -> Array:
        if self._space is None:
            return np.zeros(1)
        coordinate = self.evolution.problem.coordinates[self.evolution.space_axis]
        return np.linspace(coordinate.lower, coordinate.upper, count)

    def _unseen(self, mesh: Mesh, terms: Iterable[sympy.Expr]) -> NDArray[np.bool_]:
        places, times = self._places(2**FINEST + 1), np.linspace(*self.evolution.time, _ACROSS)
        element, weights = mesh.interpolation(places)
        marked = np.zeros(len(mesh.widths), dtype=bool)
        for term in terms:
            truth = self._sampled(term, times, places)  # (times, places)
            at_nodes = self._sampled(term, times, mesh.nodes.ravel()).reshape(len(times), *mesh.nodes.shape)
            missed = np.einsum("tnp,np->tn", at_nodes[:, element], weights) - truth
            squares = np.stack([np.bincount(element, row, len(marked)) for row in missed**2])  # (times, K)
            marked |= (np.sqrt(squares) > _SHOWN * np.linalg.norm(truth, axis=1)[:, None]).any(axis=0)
        return marked

    def _sampled(self, term: sympy.Expr, times: Array, places: Array) -> Array:
        """Return a term's values (times, places), zero where they are not finite."""
        symbols = [self._clock] if self._space is None else [self._clock, self._space]
        grid = np.meshgrid(times, places, indexing="ij")
        with np.errstate(all="ignore"):
            (values,) = Formula([term], symbols)(numpy_functions(), grid[: len(symbols)])
        return np.nan_to_num(np.broadcast_to(np.asarray(values, dtype=float), grid[0].shape), posinf=0.0, neginf=0.0)


def explicit_terms(
    expressions: Iterable[sympy.Expr], readings: Sequence[sympy.Symbol], at: dict[sympy.Symbol, sympy.Expr]
) -> list[sympy.Expr]:
    """Return the terms of expressions and of their derivatives by readings, with these put in.

    Constants are left out, and what is infinite there.
    """
    whole = [part for each in expressions for part in (each, *(sympy.diff(each, reading) for reading in readings))]
    terms = {term for part in whole for term in sympy.Add.make_args(part.xreplace(at))}
    infinite = (sympy.zoo, sympy.nan, sympy.oo, -sympy.oo)
    return sorted((term for term in terms if term.free_symbols and not term.has(*infinite)), key=str)


def pieces_to_show(values: Array) -> int:
    """Return the least k for which straight lines over 2^k pieces of the first axis show the values."""
    varied = values - values.mean(axis=0)
    size = float(np.linalg.norm(varied))
    if size <= _CONSTANT * float(np.linalg.norm(values)):
        return 0
    for k in range(FINEST):
        stride = 2 ** (FINEST - k)
        share = (np.arange(stride) / stride)[None, :, None]
        ends = varied[::stride]
        lines = ends[:-1, None] * (1 - share) + ends[1:, None] * share
        if float(np.linalg.norm(lines.reshape(-1, values.shape[1]) - varied[:-1])) <= _SEEN * size:
            return k
    return FINEST
