"""Jets by Taylor mode: every derivative in one forward pass, no nested graphs."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pinnsolve.derivatives.jet import Fields, Jet
from pinnsolve.derivatives.series import Series, algebra
from pinnsolve.problems import Partial


def taylor(fields: Fields, points: Tensor, partials: Sequence[Partial]) -> Jet:
    """Return the jet by one pass of truncated Taylor series through the fields.

    Args:
        fields: maps points (N, d) to values (N,) by field name, built of functions in `series.RULES`.
        points: (N, d).
        partials: what to evaluate, any order and mixture.
    """
    multi_indices = frozenset({partial.orders for partial in partials} or {(0,) * points.shape[-1]})
    values = fields(Series.coordinates(points, algebra(multi_indices)))
    return Jet(points, {partial: _channel(values[partial.field], partial, points) for partial in partials})


def _channel(value: Series | Tensor | float, partial: Partial, points: Tensor) -> Tensor:
    if isinstance(value, Series):
        return value.coefficients[value.algebra.channel(partial.orders)].expand(points.shape[:-1])
    return points.new_zeros(points.shape[:-1]) + (value if partial.order == 0 else 0.0)
