r"""Products and compositions of truncated series, channel by channel, with their adjoints written out.

A series is a tensor (C, N, ...) of channels at N points. In memory the points lie innermost: matrix products with
long rows are twice as fast on a CPU, and elementwise work on a channel is one contiguous sweep.

The adjoint of a composition is a product, δ(φ∘z) = (φ'∘z) δz, so that φ'∘z is all that has to be kept. Where φ obeys
a Riccati equation not even that: φ' = a + bφ + cφ² makes φ'∘z a polynomial of φ∘z, which the next layer keeps anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pinnsolve.derivatives.algebra import Algebra, Table, Term

Derivatives = Callable[[Tensor, int], list[Tensor]]  # (z, k) to [φ(z), ..., φ^(k)(z)]
Riccati = tuple[float, float, float]  # (a, b, c) of φ' = a + bφ + cφ², an attribute `riccati` of such derivatives
Channels = Mapping[int, Tensor]  # (..., N) each, by channel

_is_recorded: ContextVar[bool] = ContextVar("is_recorded", default=False)


@contextmanager
def recording() -> Iterator[None]:
    """Compute without writing into parts of tensors: compilers fuse values, and copy what is written in parts."""
    token = _is_recorded.set(True)
    try:
        yield
    finally:
        _is_recorded.reset(token)


class Result:
    """Coefficients (C, N, ...) to be computed channel by channel, each in its place in memory.

    Args:
        like: gives shape, dtype and device.
    """

    def __init__(self, like: Tensor) -> None:
        rows = like.movedim(1, -1)
        self._whole = None if _is_recorded.get() else rows.new_empty(rows.shape)
        self.places: Sequence[Tensor | None] = [None] * len(rows) if self._whole is None else self._whole.unbind(0)

    def coefficients(self, channels: Channels) -> Tensor:
        """Return all channels together; what was not computed in its place is copied there."""
        if self._whole is None:
            return torch.stack([channels[channel] for channel in range(len(channels))]).movedim(-1, 1)
        for channel, place in enumerate(self.places):
            if place is not None and channels[channel] is not place:
                place.copy_(channels[channel])
        return self._whole.movedim(-1, 1)


def channels_of(coefficients: Tensor) -> dict[int, Tensor]:
    """Return the channels (..., N) of coefficients (C, N, ...)."""
    return dict(enumerate(coefficients.movedim(1, -1).unbind(0)))


def contraction(terms: Sequence[Term], left: Channels, right: Channels, out: Tensor | None = None) -> Tensor:
    """Return Σ times · left[...] · right[...] over one term or more."""
    (times, a, b), *rest = terms
    total = torch.mul(left[a], right[b], out=out)
    if times != 1:
        total.mul_(times)
    for times, a, b in rest:
        total.addcmul_(left[a], right[b], value=times)
    return total


def _contracted(table: Table, left: Channels, right: Channels, like: Tensor) -> Tensor:
    result = Result(like)
    return result.coefficients(
        {channel: contraction(terms, left, right, result.places[channel]) for channel, terms in enumerate(table)}
    )


def _transposed(factor: Channels, gradient: Tensor, algebra: Algebra) -> Tensor:
    """Return the gradient with respect to x from the one with respect to factor · x."""
    return _contracted(algebra.adjoints, factor, channels_of(gradient), gradient)


class Product(torch.autograd.Function):
    """The product of two series."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, algebra: Algebra) -> Tensor:
        """Return the coefficients of a·b."""
        ctx.algebra = algebra
        ctx.save_for_backward(a, b)
        a, b = torch.broadcast_tensors(a, b)
        return _contracted(algebra.products, channels_of(a), channels_of(b), a)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Return the gradients with respect to a and b; torch sums over what was broadcast."""
        (gradient,) = gradients
        a, b = ctx.saved_tensors
        for_a, for_b, _ = ctx.needs_input_grad
        return (
            _transposed(channels_of(b), gradient, ctx.algebra) if for_a else None,
            _transposed(channels_of(a), gradient, ctx.algebra) if for_b else None,
            None,
        )


class Composition(torch.autograd.Function):
    """φ∘z; keeps φ'∘z, or φ∘z where φ obeys a Riccati equation."""

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, derivatives: Derivatives, algebra: Algebra) -> Tensor:
        """Return the coefficients of φ∘z."""
        z, result = channels_of(coefficients), Result(coefficients)
        h, slope = value_and_slope(z, derivatives, algebra, complete=ctx.needs_input_grad[0])
        extend(h, slope, z, algebra, range(1, len(z)), result.places)
        composed = result.coefficients(h)
        if ctx.needs_input_grad[0]:
            ctx.algebra, ctx.riccati = algebra, riccati_of(derivatives)
            ctx.save_for_backward(*(slope.values() if ctx.riccati is None else [composed]))
        return composed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient with respect to z."""
        (gradient,) = gradients
        if ctx.riccati is None:
            slope = dict(enumerate(ctx.saved_tensors))
        else:
            (composed,) = ctx.saved_tensors
            slope = RiccatiSlope(ctx.riccati, channels_of(composed), ctx.algebra)
        return _transposed(slope, gradient, ctx.algebra), None, None


def riccati_of(derivatives: Derivatives) -> Riccati | None:
    """Return (a, b, c) if these are derivatives of a φ with φ' = a + bφ + cφ²."""
    return getattr(derivatives, "riccati", None)


def value_and_slope(
    z: Channels, derivatives: Derivatives, algebra: Algebra, *, complete: bool = False
) -> tuple[dict[int, Tensor], Channels]:
    """Return {0: φ(z)} and φ'∘z: all channels of it, or those that φ∘z is computed from."""
    riccati = riccati_of(derivatives)
    if riccati is not None:
        h = dict(enumerate(derivatives(z[0], 0)))
        return h, RiccatiSlope(riccati, h, algebra)
    levels = algebra.levels if complete else algebra.levels[1:]
    value, *phi = derivatives(z[0], len(levels))
    slope: dict[int, Tensor] = {}
    for first, channels in reversed(list(zip(phi, levels, strict=True))):  # φ^(k)∘z from φ^(k+1)∘z
        below, slope = slope, {0: first}
        extend(slope, below, z, algebra, channels[1:])
    return {0: value}, slope


def extend(
    h: dict[int, Tensor],
    slope: Channels,
    z: Channels,
    algebra: Algebra,
    channels: Iterable[int],
    places: Sequence[Tensor | None] | None = None,
) -> None:
    """Add channels of h = φ∘z, lowest first; where z lacks one of the highest, its term φ'(z) ∂^α z is left out.

    Args:
        h: holds φ(z).
        slope: φ'∘z; it may be computed from h on the way.
        z: the inner series.
        algebra: the tables.
        channels: which ones to add.
        places: where to put them, by channel.
    """
    for channel in channels:
        terms = algebra.chains[channel] if channel in z else algebra.chains[channel][1:]
        if terms:
            h[channel] = contraction(terms, slope, z, places[channel] if places else None)


class RiccatiSlope(dict[int, Tensor]):
    """Channels of φ'∘z = a + b h + c h², each computed when it is first asked for.

        ∂^α φ'(z) = (b + 2c h) ∂^α h + c Σ_(0<β<α) C(α,β) ∂^β h ∂^(α-β) h

    Args:
        riccati: (a, b, c).
        h: φ∘z; may still grow: a channel of the slope needs the same one of h and those below it.
        algebra: the tables.
    """

    def __init__(self, riccati: Riccati, h: Channels, algebra: Algebra) -> None:
        a, b, self._c = riccati
        self._h, self._algebra = h, algebra
        linear = (h[0] * b).add_(a) if b else a
        super().__init__({0: torch.rsub(h[0] * h[0], linear, alpha=-self._c)})
        doubled = h[0] * (2 * self._c)
        self._line = doubled.add_(b) if b else doubled

    def __missing__(self, channel: int) -> Tensor:
        total = self._line * self._h[channel]
        for times, left, right in self._algebra.squares[channel]:
            total.addcmul_(self._h[left], self._h[right], value=self._c * times)
        if channel not in self._algebra.highest:  # these are read once
            self[channel] = total
        return total
