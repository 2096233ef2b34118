r"""Richardson extrapolation: differences of several steps combined into one that knows its own error.

    D_h f = f^(d) + c_1 h^p_1 + c_2 h^p_2 + ...,    R_(k,m) = R_(k,m-1) + (R_(k,m-1) - R_(k-1,m-1)) / (2^p_m - 1)

with R_(k,0) = D of step h/2^k. Central differences of second order have p = 2, 4, 6, ...; one-sided ones, near an end,
p = 2, 3, 4, ... At every point the entry of the tableau is taken that differs least from the two it was made of (and
from what rounding leaves of it), and this difference is the estimated error.
Source: Ridders (1982), Adv. Eng. Softw. 4, 75-76; Brezinski, Redivo Zaglia (1991), Extrapolation Methods.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pinnsolve.derivatives.finite_differences import FiniteDifferences, rounded_down, short_step
from pinnsolve.derivatives.jet import Fields, Jet
from pinnsolve.derivatives.stencils import Stencil, family
from pinnsolve.errors import SettingsError
from pinnsolve.problems import Partial

LEVELS = 6
_FIRST_ORDER = 2  # of every stencil of the scheme, also of the one-sided ones
_SCHEME = "central2"


def richardson(
    steps: Sequence[float],
    lower: Sequence[float],
    upper: Sequence[float],
    periodic: Sequence[bool],
    levels: int = LEVELS,
    noise: float | None = None,
) -> Richardson:
    """Return the differentiator of extrapolated central differences with steps h, h/2, ..., h/2^(levels - 1).

    Args:
        steps: the largest step h > 0, one per coordinate, in its unit: a good part of the length on which the fields
            change, since the extrapolation gains its digits from large steps.
        lower, upper: the ends, one per coordinate, which no node passes.
        periodic: which coordinates are periodic.
        levels: how many steps, 2 at least.
        noise: relative error of the fields' values; the dtype's rounding if None.

    Raises:
        SettingsError: a step is not positive or (when called) too large for the domain, or there is one level only.
    """
    if levels < 2:
        raise SettingsError(f"Richardson extrapolation needs at least 2 steps, got {levels}")
    plain = FiniteDifferences(_SCHEME, tuple(map(short_step, steps)), tuple(lower), tuple(upper), tuple(periodic))
    return Richardson(plain, levels, noise)


@dataclass(frozen=True)
class Richardson:
    """The differentiator that `richardson` returns.

    Attributes:
        plain: the differences of the largest step, with the domain.
        levels: the number of steps.
        noise: relative error of the fields' values; the dtype's rounding if None.
    """

    plain: FiniteDifferences
    levels: int
    noise: float | None = None

    def __call__(self, fields: Fields, points: Tensor, partials: Sequence[Partial]) -> Jet:
        """Return the jet of the fields at points (N, d)."""
        return self.with_errors(fields, points, partials)[0]

    def with_errors(self, fields: Fields, points: Tensor, partials: Sequence[Partial]) -> tuple[Jet, Jet]:
        """Return the jet at points (N, d), and the estimated absolute error of each of its values; 0 for values."""
        found = {partial: self._extrapolated(fields, points, partial) for partial in partials}
        values = {partial: value for partial, (value, _) in found.items()}
        return Jet(points, values), Jet(points, {partial: error for partial, (_, error) in found.items()})

    def _extrapolated(self, fields: Fields, points: Tensor, partial: Partial) -> tuple[Tensor, Tensor]:
        """Return a derivative (N,) and its estimated error (N,)."""
        if not partial.order:
            value = torch.as_tensor(fields(points)[partial.field], dtype=points.dtype).expand(points.shape[:-1])
            return value, torch.zeros_like(value)
        sides = self._sides(points, partial)  # (axes, N)
        estimates, noises = [], []
        for level in range(self.levels):
            estimate, noise = self._differences(fields, points, partial, sides, 0.5**level)
            estimates.append(estimate)
            noises.append(noise)
        symmetric = (sides == 0).all(0)  # every odd power vanishes
        return _best_entry(estimates, noises, symmetric)

    def _sides(self, points: Tensor, partial: Partial) -> Tensor:
        """Return for each differentiated axis which stencil of its family every point takes at all steps, (A, N)."""
        return torch.stack([self._side(points[..., a], a, k) for a, k in enumerate(partial.orders) if k])

    def _side(self, x: Tensor, axis: int, order: int) -> Tensor:
        """Return the index (N,) of the first stencil whose nodes at the largest step stay in the domain."""
        stencils = family(_SCHEME, order).stencils
        if self.plain.periodic[axis]:
            return torch.zeros_like(x, dtype=torch.long)
        step, low, high = self.plain.steps[axis], self.plain.lower[axis], self.plain.upper[axis]
        least, most = -rounded_down(-low, x.dtype), rounded_down(high, x.dtype)
        fits = torch.stack([(x + s.offsets[0] * step >= least) & (x + s.offsets[-1] * step <= most) for s in stencils])
        if not bool(fits.any(0).all()):
            span = family(_SCHEME, order).span
            raise SettingsError(
                f"the step {step:g} is too large for Richardson extrapolation in [{low:g}, {high:g}]; "
                f"at most {(high - low) / span:g} fits everywhere"
            )
        return fits.int().argmax(0)

    def _differences(
        self, fields: Fields, points: Tensor, partial: Partial, sides: Tensor, factor: float
    ) -> tuple[Tensor, Tensor]:
        """Return D_h of the steps times a factor, and a bound of its rounding error, (N,) each."""
        axes = [axis for axis, order in enumerate(partial.orders) if order]
        nodes, weights = points[:, None, :], points.new_ones(len(points), 1)  # (N, S, d), (N, S)
        scale = 1.0
        for axis, side in zip(axes, sides, strict=True):
            step = self.plain.steps[axis] * factor
            offsets, own = (table[side] for table in _tables(partial.orders[axis], points))  # (N, K)
            nodes = nodes[:, :, None, :].repeat(1, 1, offsets.shape[-1], 1)
            nodes[..., axis] += (offsets * step)[:, None, :]
            nodes, weights = nodes.flatten(1, 2), (weights[:, :, None] * own[:, None, :]).flatten(1, 2)
            scale *= step ** partial.orders[axis]
        batch = nodes.movedim(1, 0)  # (S, N, d), as every maker of jets hands nodes to the fields
        values = (
            torch.as_tensor(fields(batch)[partial.field], dtype=points.dtype).expand(batch.shape[:-1]).movedim(0, 1)
        )
        unit = torch.finfo(points.dtype).eps if self.noise is None else self.noise
        noise = (weights.abs() * values.detach().abs()).sum(1) * unit
        return (weights * (values - values[:, :1])).sum(1) / scale, noise / scale


def _tables(order: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return offsets and weights (stencils, K) of the family, filled up with the point itself and zeros."""
    stencils = family(_SCHEME, order).stencils
    size = max(len(each.offsets) for each in stencils)

    def filled(rows: list[list[float]]) -> Tensor:
        return like.new_tensor([row + [0.0] * (size - len(row)) for row in rows])

    return filled([[float(j) for j in each.offsets] for each in stencils]), filled([_weights(s) for s in stencils])


def _weights(stencil: Stencil) -> list[float]:
    return [float(weight) for weight in stencil.weights]


def _best_entry(estimates: Sequence[Tensor], noises: Sequence[Tensor], symmetric: Tensor) -> tuple[Tensor, Tensor]:
    """Return the entry of the tableau with the least estimated error at each point, and that error.

    Args:
        estimates: D of the steps h, h/2, ..., (N,) each.
        noises: bounds of their rounding errors.
        symmetric: which points have an error in even powers alone, (N,).
    """
    best, least = estimates[0], torch.full_like(noises[0], math.inf)
    row, spread = [estimates[0]], [noises[0]]
    for estimate, noise in zip(estimates[1:], noises[1:], strict=True):
        new, own = [estimate], [noise]
        for m, (before, before_noise) in enumerate(zip(row, spread, strict=True)):
            gains = [1 / (2.0 ** (_FIRST_ORDER + each) - 1) for each in (2 * m, m)]
            gain = torch.where(symmetric, estimate.new_tensor(gains[0]), estimate.new_tensor(gains[1]))
            new.append(new[m] + gain * (new[m] - before))
            own.append(own[m] + gain * (own[m] + before_noise))
            difference = torch.maximum((new[-1] - new[m]).abs(), (new[-1] - before).abs()).detach()
            error = difference + own[-1]
            better = error < least
            best, least = torch.where(better, new[-1], best), torch.where(better, error, least)
        row, spread = new, own
    return best, least
