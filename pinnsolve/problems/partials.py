"""Partial derivatives by name: which field, how often with respect to which coordinate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Partial:
    """The partial derivative ∂^|α| field / ∂x^α; α = orders, one entry per coordinate.

    >>> Partial("u", (2, 0)).order
    2
    """

    field: str
    orders: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.orders or min(self.orders) < 0:
            raise ValueError(f"a partial derivative needs orders >= 0, one per coordinate, got {self.orders}")

    @property
    def order(self) -> int:
        """The total order |α|; 0 is the field itself."""
        return sum(self.orders)

    def name(self, coordinates: Sequence[str]) -> str:
        """Return the name as problem files write it.

        >>> Partial("u", (2, 1)).name(["x", "t"])
        'u_xxt'
        >>> Partial("u", (0, 2)).name(["x1", "x2"])
        'd(u, x2, x2)'
        """
        repeated = [name for name, times in zip(coordinates, self.orders, strict=True) for _ in range(times)]
        if not repeated:
            return self.field
        if all(len(name) == 1 for name in coordinates):
            return f"{self.field}_{''.join(repeated)}"
        return f"d({', '.join([self.field, *repeated])})"
