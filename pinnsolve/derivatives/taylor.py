"""Jets by Taylor mode: every derivative in one forward pass, no nested graphs."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pinnsolve.derivatives.algebra import Algebra, algebra
from pinnsolve.derivatives.jet import Fields, Jet
from pinnsolve.derivatives.series import Series
from pinnsolve.problems import Partial


def taylor(fields: Fields, points: Tensor, partials: Sequence[Partial]) -> Jet:
    """Return the jet by one pass of truncated Taylor series through the fields.

    Args:
        fields: maps points (N, d) to values (N,) by field name, built of functions in `series.RULES`.
        points: (N, d).
        partials: what to evaluate, any order and mixture.
    """
    multi_indices = frozenset({partial.orders for partial in partials} or {(0,) * points.shape[-1]})
    carried = algebra(multi_indices)
    fields_as_series = fields(Series.coordinates(points, carried))
    values = {name: _channels(value, points, carried) for name, value in fields_as_series.items()}
    return Jet(points, {partial: values[partial.field][carried.channel(partial.orders)] for partial in partials})


def _channels(value: Series | Tensor | float, points: Tensor, carried: Algebra) -> Sequence[Tensor]:
    """Return all channels (N,) of a field's value, be it a series or a constant."""
    if isinstance(value, Series):
        return value.coefficients.expand(-1, *points.shape[:-1]).unbind(0)
    zero = points.new_zeros(points.shape[:-1])
    return [zero + value, *[zero] * (len(carried.indices) - 1)]
