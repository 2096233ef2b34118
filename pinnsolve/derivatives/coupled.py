r"""Coupled stencils: derivatives from values and slopes at a few nodes, the slopes by autodiff.

    D_h f(x) = h^-d Σ_j a_j f(x + jh) + h^(1-d) Σ_j b_j f'(x + jh),    Σ_j a_j j^k + Σ_j b_j k j^(k-1) = d! δ_kd

    u'  ≈ (3/2)(f₊ - f₋)/2h - (f'₊ + f'₋)/4            error -h⁴ f⁽⁵⁾/120
    u'' ≈ 2 (f₊ - 2f + f₋)/h² - (f'₊ - f'₋)/2h         error -h⁴ f⁽⁶⁾/360

A collocated central difference for u' does not see an oscillation of wavelength 2h; the slopes do. (Functions of period
h stay unseen in u''.) For u' the slope at the point itself is left out, or it would be all there is.
Source: Chiu, Wong, Ooi, Dao, Ong (2022), CAN-PINN, Comput. Methods Appl. Mech. Eng. 395, 114909.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import torch
from torch import Tensor

from pinnsolve.derivatives.finite_differences import FiniteDifferences, rounded_down, short_step
from pinnsolve.derivatives.jet import Differentiator, Fields, Jet
from pinnsolve.derivatives.taylor import taylor
from pinnsolve.errors import SettingsError
from pinnsolve.problems import Partial

ACCURACY = 4  # of u', u'', u''' away from the ends; higher ones and points near an end have at least this
ACROSS = "central4"  # the stencils along the other coordinates of a mixed derivative


@dataclass(frozen=True)
class CoupledStencil:
    """A stencil of values and slopes for one derivative along one coordinate.

    Attributes:
        offsets: the nodes j, the point itself first.
        values, slopes: a_j and b_j, exact.
        accuracy: p, the order of the error in h.
        leading: A, with its sign: D_h f = f^(d) + A h^p f^(p+d) + ...
    """

    offsets: tuple[int, ...]
    values: tuple[Fraction, ...]
    slopes: tuple[Fraction, ...]
    accuracy: int
    leading: Fraction


@cache
def coupled_stencil(first: int, last: int, derivative: int) -> CoupledStencil:
    """Return the stencil of highest order on the nodes first, ..., last, which hold 0.

    >>> print(*coupled_stencil(-1, 1, 2).values, *coupled_stencil(-1, 1, 2).slopes)
    -4 2 2 0 1/2 -1/2

    Raises:
        ValueError: the nodes do not hold the point itself, or are too few for the derivative.
    """
    if not first <= 0 <= last or derivative < 1 or derivative >= 2 * (last - first + 1) - (derivative == 1):
        raise ValueError(f"derivative {derivative} has no coupled stencil on the nodes {first} ... {last}")
    offsets = (0, *(j for j in range(first, last + 1) if j))
    sloped = [j for j in offsets if j or derivative > 1]
    size = len(offsets) + len(sloped)
    matrix = [[_moment(j, k) for j in offsets] + [_slope_moment(j, k) for j in sloped] for k in range(size)]
    weights = _solved(matrix, [Fraction(math.factorial(derivative) * (k == derivative)) for k in range(size)])
    values, slopes = weights[: len(offsets)], dict(zip(sloped, weights[len(offsets) :], strict=True))
    order = size
    while not (error := _error_moment(order, offsets, values, slopes)):
        order += 1  # symmetry makes further moments vanish
    padded = tuple(slopes.get(j, Fraction(0)) for j in offsets)
    return CoupledStencil(offsets, tuple(values), padded, order - derivative, error / math.factorial(order))


def _moment(j: int, k: int) -> Fraction:
    return Fraction(j**k)


def _slope_moment(j: int, k: int) -> Fraction:
    return Fraction(k * j ** (k - 1)) if k else Fraction(0)


def _error_moment(k: int, offsets: Sequence[int], values: Sequence[Fraction], slopes: dict[int, Fraction]) -> Fraction:
    own = sum((a * _moment(j, k) for j, a in zip(offsets, values, strict=True)), Fraction(0))
    return own + sum((b * _slope_moment(j, k) for j, b in slopes.items()), Fraction(0))


def _solved(matrix: list[list[Fraction]], right: list[Fraction]) -> list[Fraction]:
    """Return x with matrix · x = right, by Gauss-Jordan elimination in exact arithmetic."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for column in range(len(rows)):
        pivot = next(index for index in range(column, len(rows)) if rows[index][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [entry / rows[column][column] for entry in rows[column]]
        for index, row in enumerate(rows):
            if index != column and row[column]:
                rows[index] = [a - row[column] * b for a, b in zip(row, rows[column], strict=True)]
    return [row[-1] for row in rows]


@cache
def coupled_family(derivative: int) -> tuple[tuple[int, int], ...]:
    """Return the windows (first, last) of the nodes for a derivative, in the order of preference.

    The fewest nodes for which the error has the order `ACCURACY`, centred; then those for points near an end.
    """
    half, last = 1, 1
    while coupled_stencil(-half, half, derivative).accuracy < ACCURACY:
        half += 1
    while 2 * (last + 1) - (derivative == 1) < ACCURACY + derivative:
        last += 1
    left = [(-k, last - k) for k in reversed(range(half))]
    return ((-half, half), *left, *((-b, -a) for a, b in left))


def coupled_differences(
    steps: Sequence[float],
    lower: Sequence[float],
    upper: Sequence[float],
    periodic: Sequence[bool],
    slopes: Differentiator = taylor,
) -> Differentiator:
    """Return the differentiator of coupled stencils with these steps.

    Nodes never leave [lower, upper]. A mixed derivative has its coupled stencil along the coordinate that it
    differentiates most often, and ordinary ones of the same order along the others.

    Args:
        steps: h > 0, one per coordinate, in its unit.
        lower, upper: the ends, one per coordinate.
        periodic: which coordinates are periodic.
        slopes: makes the first derivatives at the nodes.

    Raises:
        SettingsError: a step is not positive or (when called) too large for the domain.
    """
    plain = FiniteDifferences(ACROSS, tuple(map(short_step, steps)), tuple(lower), tuple(upper), tuple(periodic))
    return CoupledDifferences(plain, slopes)


@dataclass(frozen=True)
class CoupledDifferences:
    """The differentiator that `coupled_differences` returns.

    Attributes:
        plain: ordinary differences with the steps and the domain.
        slopes: makes the first derivatives at the nodes.
    """

    plain: FiniteDifferences
    slopes: Differentiator

    @property
    def steps(self) -> tuple[float, ...]:
        """The steps h, one per coordinate."""
        return self.plain.steps

    def __call__(self, fields: Fields, points: Tensor, partials: Sequence[Partial]) -> Jet:
        """Return the jet of the fields at points (N, d) or (S, N, d)."""
        values: dict[Partial, Tensor] = {}
        groups: dict[tuple[int, tuple[tuple[int, int], ...]], list[Partial]] = {}
        for partial in partials:
            axis = max(range(len(partial.orders)), key=lambda a, orders=partial.orders: orders[a])  # type: ignore[misc]
            if partial.order == 0:
                value = torch.as_tensor(fields(points)[partial.field], dtype=points.dtype)
                values[partial] = value.expand(points.shape[:-1])
            elif partial.orders[axis] < partial.order:
                values[partial] = self._mixed(fields, points, partial, axis)
            else:
                groups.setdefault((axis, coupled_family(partial.order)), []).append(partial)
        for (axis, windows), group in groups.items():
            values |= self._along(axis, windows, fields, points, group)
        return Jet(points, {partial: values[partial] for partial in partials})

    def _mixed(self, fields: Fields, points: Tensor, partial: Partial, axis: int) -> Tensor:
        """Return a mixed derivative: ordinary differences of coupled ones."""
        along = tuple(times * (a == axis) for a, times in enumerate(partial.orders))
        across = tuple(times * (a != axis) for a, times in enumerate(partial.orders))
        inner, outer = Partial(partial.field, along), Partial(partial.field, across)
        windows = coupled_family(inner.order)

        def slopes(nodes: Tensor) -> dict[str, Tensor]:
            return {partial.field: self._along(axis, windows, fields, nodes, [inner])[inner]}

        return self.plain(slopes, points, [outer])[outer]

    def _along(
        self,
        axis: int,
        windows: tuple[tuple[int, int], ...],
        fields: Fields,
        points: Tensor,
        partials: Sequence[Partial],
    ) -> dict[Partial, Tensor]:
        """Return derivatives along one coordinate whose stencils have the same windows."""
        self._refuse_large_step(axis, windows)
        places = points.movedim(-2, 0)  # points first, (N, d) or (N, S, d): a Taylor series has them innermost
        choice = self._choice(places[..., axis], axis, windows)
        tables = {partial: _tables(windows, partial.order) for partial in partials}
        offsets = places.new_tensor(next(iter(tables.values()))[0])[choice]  # (N, K) or (N, S, K)
        step = self.plain.steps[axis]
        nodes = places[..., None, :].repeat_interleave(offsets.shape[-1], -2)
        nodes[..., axis] += offsets * step
        none = (0,) * points.shape[-1]
        slope = tuple(int(a == axis) for a in range(points.shape[-1]))
        asked = [Partial(name, orders) for name in {p.field: None for p in partials} for orders in (none, slope)]
        jet = self.slopes(fields, nodes.flatten(1, -2), asked)
        result = {}
        for partial, (_, a, b) in tables.items():
            f = jet[Partial(partial.field, none)].reshape(offsets.shape)
            df = jet[Partial(partial.field, slope)].reshape(offsets.shape)
            values = (places.new_tensor(a)[choice] * (f - f[..., :1])).sum(-1)
            slopes = (places.new_tensor(b)[choice] * df).sum(-1)
            result[partial] = ((values / step + slopes) / step ** (partial.order - 1)).movedim(0, -1)
        return result

    def _choice(self, x: Tensor, axis: int, windows: Sequence[tuple[int, int]]) -> Tensor:
        """Return the index of the first window that fits around each point, of the shape of x."""
        if self.plain.periodic[axis]:
            return torch.zeros_like(x, dtype=torch.long)
        step, low, high = self.plain.steps[axis], self.plain.lower[axis], self.plain.upper[axis]
        least, most = -rounded_down(-low, x.dtype), rounded_down(high, x.dtype)
        fits = torch.stack([(x + first * step >= least) & (x + last * step <= most) for first, last in windows])
        return fits.int().argmax(0)

    def _refuse_large_step(self, axis: int, windows: Sequence[tuple[int, int]]) -> None:
        step, low, high = self.plain.steps[axis], self.plain.lower[axis], self.plain.upper[axis]
        span = _span(windows)
        if not self.plain.periodic[axis] and high - low < span * step:
            raise SettingsError(
                f"the step {step:g} is too large for coupled stencils in [{low:g}, {high:g}]; "
                f"at most {(high - low) / span:g} fits everywhere"
            )


def _span(windows: Sequence[tuple[int, int]]) -> int:
    """Return the number of steps that an interval must hold so that a window fits around every point in it."""
    span = 1
    while not all(any(-a <= left and b <= span - 1 - left for a, b in windows) for left in range(span)):
        span += 1
    return span


@cache
def _tables(
    windows: tuple[tuple[int, int], ...], derivative: int
) -> tuple[list[list[float]], list[list[float]], list[list[float]]]:
    """Return offsets, weights of values and of slopes, one row per window, filled up with the point and zeros."""
    stencils = [coupled_stencil(first, last, derivative) for first, last in windows]
    size = max(len(each.offsets) for each in stencils)

    def filled(rows: Sequence[Sequence[int | Fraction]]) -> list[list[float]]:
        return [[float(entry) for entry in row] + [0.0] * (size - len(row)) for row in rows]

    return (
        filled([each.offsets for each in stencils]),
        filled([each.values for each in stencils]),
        filled([each.slopes for each in stencils]),
    )
