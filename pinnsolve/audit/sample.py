"""Where and with which steps derivatives are audited: numbers short enough that no node is rounded."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import qmc
from torch import Tensor, nn

from pinnsolve.derivatives.finite_differences import FiniteDifferences
from pinnsolve.derivatives.stencils import family
from pinnsolve.networks.piecewise import PiecewiseAnsatz
from pinnsolve.problems import Problem
from pinnsolve.problems.geometry import Domain
from pinnsolve.problems.places import Place

MOST_PARTS = 8  # of a march that are audited: each takes as long as a whole solution
_POINT_BITS = 12  # points are multiples of unit/2^12
_SMALLEST = {"float64": -38, "float32": -24}  # exponents of the least step: 10 and 6 decades below the largest
_MANTISSAS = ((0.125, 1), (0.1875, 3), (0.375, 3), (0.75, 3))  # each with its multiple of its last bit
_NOISE = {"float64": -30, "float32": -14}  # of the step at which rounding noise is measured


@dataclass(frozen=True)
class Sample:
    """Fixed points in the domain, and steps for every coordinate that scale with its length.

    A step is r times the coordinate's unit, a power of two near its length; r is a power of two
    times 1 or 1.5. Points are multiples of unit/2^12. Every node x + j h is then exact in both precisions.

    Attributes:
        points: (N, d), float64.
        lower, upper, units: one entry per coordinate.
        periodic: which coordinates are periodic.
        reach: the largest relative step times span of a stencil, by coordinate, in a domain that is no box.
    """

    points: Tensor
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    units: tuple[float, ...]
    periodic: tuple[bool, ...]
    reach: tuple[float, ...] = ()

    def steps(self, dtype: str) -> list[float]:
        """Return the relative steps r in ascending order, 4.4 per decade.

        None is below 2^-38 (float64) or 2^-24 (float32), or finer than what the dtype resolves at the far end of the
        domain.
        """
        least, bit = 2.0 ** _SMALLEST[dtype], self._resolution(dtype)
        ladder = ((mantissa * 8.0**i, last) for i in range(-16, 1) for mantissa, last in _MANTISSAS)
        return [r for r, last in ladder if r >= least and r / last >= bit]

    def resolved(self, dtype: str) -> bool:
        """Return whether the dtype holds the points exactly: not if the domain is narrow and far from zero."""
        return self._resolution(dtype) <= 2.0**-_POINT_BITS

    def noise_step(self, dtype: str) -> float:
        """Return the relative step at which fourth differences of a smooth field are rounding noise."""
        return max(2.0 ** _NOISE[dtype], 64 * self._resolution(dtype))

    def fits(self, scheme: str, orders: tuple[int, ...], step: float) -> bool:
        """Return whether the stencil of ∂^orders with relative step r fits everywhere in the domain."""
        spans = [family(scheme, order).span if order else 0 for order in orders]
        if any(span * step > reach for span, reach in zip(spans, self.reach, strict=False)):
            return False
        boxes = zip(spans, self.units, self.lower, self.upper, strict=True)
        return all(span * step * unit <= high - low for span, unit, low, high in boxes)

    def within(self, axis: int, ends: tuple[float, float], chosen: Tensor) -> Sample:
        """Return the chosen points, with a part of one coordinate's interval for their stencils."""
        lower, upper = list(self.lower), list(self.upper)
        lower[axis], upper[axis] = ends
        return replace(self, points=self.points[chosen], lower=tuple(lower), upper=tuple(upper))

    def differentiator(self, scheme: str, step: float) -> FiniteDifferences:
        """Return the finite differences of this scheme and relative step."""
        steps = tuple(step * unit for unit in self.units)
        return FiniteDifferences(scheme, steps, self.lower, self.upper, self.periodic)

    def step_along(self, orders: tuple[int, ...], step: float) -> float:
        """Return the step in the unit of the first coordinate that ∂^orders differentiates."""
        return step * self.units[next(a for a, order in enumerate(orders) if order)]

    def _resolution(self, dtype: str) -> float:
        """Return the spacing of numbers at the far ends of the domain, in units, the largest of all coordinates."""
        spacings = []
        for low, high, unit, wraps in zip(self.lower, self.upper, self.units, self.periodic, strict=True):
            largest = max(abs(low), abs(high)) * (2 if wraps else 1)  # nodes may pass a periodic end
            below = math.frexp(np.nextafter(largest, 0))[1]  # largest < 2^below, or equal to it
            spacings.append(2.0 ** (below - 1) * torch.finfo(getattr(torch, dtype)).eps / unit)
        return max(spacings)


def audit_samples(
    problem: Problem, ansatz: nn.Module, count: int, seed: int, device: torch.device
) -> list[tuple[nn.Module, Sample]]:
    """Return what to audit, and where: the trial solution in the box of the problem, or each of its parts.

    A part stands in its own window of time, so that no stencil crosses the joint of two windows; the parts
    share about `count` points and their units. Of many parts at most `MOST_PARTS` are audited, spread over the time; a
    part in whose window no point lies is left out.
    """
    if not isinstance(ansatz, PiecewiseAnsatz):
        return [(ansatz, audit_sample(problem, count, seed, device))]
    lower, upper = problem.box
    room, chosen = upper - lower, _spread_over_time(ansatz)
    lengths = [high - low for low, high in (ansatz.windows[k] for k in chosen)]
    share = min(sum(lengths) / room[ansatz.axis], 1.0)
    room[ansatz.axis] = min(lengths)
    sample = audit_sample(problem, round(count / share), seed, device, room)
    index = ansatz.window(sample.points)
    samples = [(ansatz.parts[k], sample.within(ansatz.axis, ansatz.windows[k], index == k)) for k in chosen]
    return [(part, each) for part, each in samples if len(each.points)]


def _spread_over_time(ansatz: PiecewiseAnsatz) -> list[int]:
    """Return which parts to audit: all of a few, else those at evenly spaced times, which favour long windows."""
    windows = ansatz.windows
    if len(windows) <= MOST_PARTS:
        return list(range(len(windows)))
    start, end = windows[0][0], windows[-1][1]
    times = start + (end - start) * (np.arange(MOST_PARTS) + 0.5) / MOST_PARTS
    ends = np.array([high for _, high in windows])
    return np.unique(np.searchsorted(ends, times)).tolist()


def audit_sample(
    problem: Problem, count: int, seed: int, device: torch.device, room: NDArray[np.float64] | None = None
) -> Sample:
    """Return seeded Sobol points in the domain of a problem, moved to the nearest short binary fraction.

    Args:
        problem: gives the domain.
        count: of the points.
        seed: of the points.
        device: of the points.
        room: the lengths, by coordinate, that stencils have to fit into; those of the box if None.
    """
    lower, upper = problem.box
    unit = 2.0 ** np.round(np.log2(upper - lower if room is None else room))
    quantum = unit / 2**_POINT_BITS
    free = Place(problem).sobol(2 ** max((1 if problem.domain is None else 4) * count - 1, 0).bit_length(), seed)
    short = quantum * np.clip(np.round(free / quantum), np.ceil(lower / quantum), np.floor(upper / quantum))
    reach: tuple[float, ...] = ()
    if problem.domain is not None:
        short, reach = _clear_of_boundary(problem.domain, short, unit)
    short = short[:count]
    return Sample(
        points=torch.as_tensor(short, dtype=torch.float64, device=device),
        lower=tuple(lower.tolist()),
        upper=tuple(upper.tolist()),
        units=tuple(unit.tolist()),
        periodic=tuple(coordinate.periodic for coordinate in problem.coordinates),
        reach=reach,
    )


def _clear_of_boundary(
    domain: Domain, points: NDArray[np.float64], unit: NDArray[Any]
) -> tuple[NDArray[np.float64], tuple[float, ...]]:
    """Return the points whose stencils stay in the domain, and how far these reach, in units.

    The reach is the largest power of two for which half of the points have a box of twice that width around them
    that lies in the domain, as far as 5 × 5 (× 5) points of the box show it.
    """
    axes = list(domain.axes)
    if len(axes) <= 3:
        offsets = np.stack(np.meshgrid(*[np.linspace(-1, 1, 5)] * len(axes)), axis=-1).reshape(-1, len(axes))
    else:
        offsets = 2 * qmc.Sobol(len(axes), seed=0).random_base2(9).round() - 1  # corners of the box
    clear = np.zeros(len(points), dtype=bool)
    for exponent in range(2, _POINT_BITS):
        reach = 2.0**-exponent
        clear = np.ones(len(points), dtype=bool)
        for offset in offsets:
            clear &= domain.region.depth(points[:, axes] + reach * unit[axes] * offset) > 0
        if 2 * clear.sum() >= len(points):
            break
    limits = [reach if axis in axes else math.inf for axis in range(len(unit))]
    return points[clear], tuple(limits)
