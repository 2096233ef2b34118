"""How many modes a function has: series of it are refined until only rounding noise is left, and cut there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import qmc

from pinnsolve.networks.spectral import Basis, Expansion, Reals, SeparableSum

FEWEST, MOST = 64, {1: 4096, 2: 512}  # samples along a coordinate, the latter by the number of coordinates
MOST_MODES = 1024
MISSED = 1e4  # units of the tolerance by which a series may err between its nodes
_NOISE_STEP = 2.0**-30  # of an interval: fourth differences of what is smooth are far below rounding
_STENCIL = (1.0, -4.0, 6.0, -4.0, 1.0)

Sampled = Callable[[Reals], Reals]  # points (N, d) to the values of M functions, (N, M)


def separable_sums(function: Sampled, bases: Sequence[Basis]) -> list[SeparableSum]:
    """Return the series of M functions of one or two coordinates, as accurate as rounding noise in them allows.

    What `MOST` samples do not resolve is cut at `MOST_MODES`; the `error` of the result says what that costs.

    Args:
        function: evaluates all of them.
        bases: one per coordinate.
    """
    check = _places(bases)
    truth = function(check)
    tolerances = _noise(function, bases, check) / _scales(truth) + np.finfo(float).eps
    counts = [FEWEST] * len(bases)
    while True:
        grid = np.meshgrid(*(basis.nodes(count) for basis, count in zip(bases, counts, strict=True)), indexing="ij")
        samples = function(np.column_stack([part.ravel() for part in grid]))
        tables = [samples[:, m].reshape(counts) for m in range(samples.shape[1])]
        trials = [_Trial(*given, bases) for given in zip(tables, truth.T, tolerances, strict=True)]
        coarse = [any(axis in trial.coarse(check) for trial in trials) for axis in range(len(bases))]
        finer = [min(2 * count, MOST[len(bases)]) if c else count for c, count in zip(coarse, counts, strict=True)]
        if finer == counts:
            return [trial.sum_at(check) for trial in trials]
        counts = finer


def _places(bases: Sequence[Basis]) -> Reals:
    """Return points between the nodes, (64, d)."""
    unit = qmc.Sobol(len(bases), seed=0).random_base2(6)
    return np.array([b.lower for b in bases]) + np.array([b.length for b in bases]) * unit


def _scales(values: Reals) -> Reals:
    """Return the largest |value| of each function, 1 for one that is zero."""
    largest = np.max(np.abs(values), axis=0)
    return np.where(largest > 0, largest, 1.0)


def _noise(function: Sampled, bases: Sequence[Basis], places: Reals) -> Reals:
    """Return the standard deviation σ (M,) of rounding errors: Σ c_j f(x + jh) of a smooth f has variance σ² Σ c².

    Source: Moré, Wild (2011), SIAM J. Sci. Comput. 33, 1292-1314.
    """
    noise = np.zeros(1)
    for axis, basis in enumerate(bases):
        step = np.zeros(len(bases))
        step[axis] = basis.length * _NOISE_STEP
        difference = sum(c * function(places + j * step) for j, c in enumerate(_STENCIL))
        noise = np.maximum(noise, np.sqrt(np.mean(np.square(difference), axis=0) / np.square(_STENCIL).sum()))
    return noise


class _Trial:
    """The series through one function's samples on a grid.

    Args:
        table: samples, one axis per coordinate.
        truth: values at the places of comparison.
        tolerance: rounding noise, relative.
        bases: one per coordinate.
    """

    def __init__(self, table: Reals, truth: Reals, tolerance: float, bases: Sequence[Basis]) -> None:
        self._truth, self._tolerance, self._bases = truth, tolerance, bases
        self._coefficients = [
            basis.coefficients(factor) for basis, factor in zip(bases, _factors(table, tolerance), strict=True)
        ]
        # of the functions themselves: the factors share a singular value evenly
        sizes = [np.abs(c) * np.max(np.abs(c), axis=0) if len(bases) > 1 else np.abs(c) for c in self._coefficients]
        self._lengths = [chopped_length(size.max(axis=1), tolerance) for size in sizes]

    def coarse(self, places: Reals) -> set[int]:
        """Return the axes that want more samples; all of them if the series errs between the nodes."""
        pairs = zip(self._lengths, self._coefficients, strict=True)
        found = {axis for axis, (length, c) in enumerate(pairs) if length == len(c)}
        missed = not found and not self.sum_at(places).error <= MISSED * self._tolerance
        return set(range(len(self._bases))) if missed else found

    def sum_at(self, places: Reals) -> SeparableSum:
        """Return the series, cut where noise begins, with its error at the places."""
        cut = [c[: min(n, MOST_MODES)] for c, n in zip(self._coefficients, self._lengths, strict=True)]
        result = SeparableSum(tuple(Expansion(basis, c) for basis, c in zip(self._bases, cut, strict=True)))
        difference = np.abs(result(list(places.T), (0,) * len(self._bases)) - self._truth)
        return SeparableSum(result.factors, float(np.max(difference) / _scales(self._truth[:, None])[0]))


def _factors(table: Reals, tolerance: float) -> list[Reals]:
    """Return matrices (n, R) with table = left · rightᵀ up to the tolerance; the table itself if it has one axis."""
    if table.ndim == 1:
        return [table[:, None]]
    left, sizes, right = np.linalg.svd(table, full_matrices=False)
    rank = max(int(np.sum(sizes > tolerance * sizes[0])), 1)
    return [left[:, :rank] * np.sqrt(sizes[:rank]), right[:rank].T * np.sqrt(sizes[:rank])]


def chopped_length(sizes: Reals, tolerance: float) -> int:
    """Return how many coefficients of these sizes to keep; all of them if no plateau of noise is seen.

    A plateau is a stretch from j to 5j/4 + 5 over which the falling envelope of the sizes falls by less than
    the factor 3 (1 - log e_j / log tolerance); the cut is where it meets a line that rewards short series.
    Source: Aurentz, Trefethen (2017), ACM Trans. Math. Softw. 43, 33 (standardChop).
    """
    count = len(sizes)
    envelope = np.maximum.accumulate(sizes[::-1])[::-1]
    if envelope[0] == 0:
        return 1
    envelope = envelope / envelope[0]
    for start in range(2, count + 1):
        end = round(1.25 * start + 5)
        if end > count:
            return count
        first, last = envelope[start - 1], envelope[end - 1]
        if first == 0 or last / first > 3 * (1 - np.log(first) / np.log(tolerance)):
            return _cut(envelope, start - 1, end, tolerance)
    return count


def _cut(envelope: Reals, plateau: int, end: int, tolerance: float) -> int:
    """Return the length at which the envelope, tilted by a third of the tolerance's decades, is least."""
    if envelope[plateau - 1] == 0:
        return plateau
    floor = tolerance ** (7 / 6)
    above = int(np.sum(envelope >= floor))
    if above < end:
        end = above + 1
        envelope = np.append(envelope[:above], floor)
    tilted = np.log10(envelope[:end]) - np.log10(tolerance) / 3 * np.linspace(0, 1, end)
    return max(int(np.argmin(tilted)), 1)
