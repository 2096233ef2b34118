"""The jet: values of fields and of their partial derivatives at points, wherever they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from pinnsolve.problems import Partial

Fields = Callable[[Any], Mapping[str, Any]]  # points (..., d) to values (...) by field name


class Jet(Mapping[Partial, Tensor]):
    """Partial derivatives of fields at N points: a read-only mapping from `Partial` to a tensor (N,).

    Args:
        points: (N, d).
        values: one tensor (N,) per partial derivative.
    """

    def __init__(self, points: Tensor, values: Mapping[Partial, Tensor]) -> None:
        for partial, value in values.items():
            if value.shape != points.shape[:-1]:
                raise ValueError(f"{partial} has shape {tuple(value.shape)}, wanted {tuple(points.shape[:-1])}")
        self.points = points
        self._values = dict(values)

    @property
    def columns(self) -> tuple[Tensor, ...]:
        """The coordinates of the points, one tensor (N,) each."""
        return self.points.unbind(-1)

    def __getitem__(self, partial: Partial) -> Tensor:
        return self._values[partial]

    def __iter__(self) -> Iterator[Partial]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Differentiator(Protocol):
    """Evaluates fields and their partial derivatives at points of shape (N, d)."""

    def __call__(self, fields: Fields, points: Tensor, partials: Sequence[Partial]) -> Jet:
        """Return the jet of the fields at the points."""
        ...
