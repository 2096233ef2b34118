"""Functions on a box as sums of products of one-dimensional basis functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from pinnsolve.problems import Coordinate
from pinnsolve.references.reference import Points, Values

Array = NDArray[np.float64]
_AT_ONCE = 4_000_000  # numbers of an intermediate array


class Basis(Protocol):
    """Basis functions φ₀ … φ_{size-1} of one coordinate."""

    @property
    def size(self) -> int:
        """The number of functions."""
        ...

    def matrix(self, places: Array, order: int) -> Array:
        """Return ∂^order φ_k at the places, (len(places), size)."""
        ...

    def nodes(self, count: int) -> Array:
        """Return interior places at which functions of the basis are sampled."""
        ...

    def weights(self, places: Array, order: int) -> Array:
        """Return what levels the size of ∂^order φ_k over the interval, at most 1."""
        ...


@dataclass(frozen=True)
class ChebyshevBasis:
    """T_k(ξ), k < size, ξ = (2x - lower - upper)/(upper - lower)."""

    lower: float
    upper: float
    size: int

    def matrix(self, places: Array, order: int) -> Array:
        """Return ∂^order T_k at the places; series of derivatives have positive coefficients and lose no digits."""
        local = (2 * np.asarray(places) - self.lower - self.upper) / (self.upper - self.lower)
        if order >= self.size:
            return np.zeros((len(local), self.size))
        series = chebyshev.chebder(np.eye(self.size), order) if order else np.eye(self.size)
        values = chebyshev.chebvander(local, len(series) - 1) @ series
        return np.asarray(values * (2 / (self.upper - self.lower)) ** order, dtype=np.float64)

    def nodes(self, count: int) -> Array:
        """Return the zeros of T_count, which lie inside the interval."""
        local = -np.cos(np.pi * (np.arange(count) + 0.5) / count)
        return self.lower + (self.upper - self.lower) * (local + 1) / 2

    def weights(self, places: Array, order: int) -> Array:
        """Return (1 - ξ²)^(order/4)."""
        local = (2 * np.asarray(places) - self.lower - self.upper) / (self.upper - self.lower)
        return np.asarray(np.maximum(1 - local**2, 0.0) ** (order / 4))


@dataclass(frozen=True)
class FourierBasis:
    """1, cos θ, sin θ, cos 2θ, sin 2θ, …, size of them, θ = 2π (x - lower)/(upper - lower)."""

    lower: float
    upper: float
    size: int

    def matrix(self, places: Array, order: int) -> Array:
        """Return ∂^order of the basis functions, cos and sin shifted by order quarter turns."""
        rate = 2 * np.pi / (self.upper - self.lower)
        wave = (np.arange(self.size) + 1) // 2
        is_sine = (np.arange(self.size) % 2 == 0) & (wave > 0)
        turns = np.outer(rate * (np.asarray(places) - self.lower), wave) + (order - is_sine) * np.pi / 2
        return np.cos(turns) * (rate * wave) ** order

    def nodes(self, count: int) -> Array:
        """Return equidistant places."""
        return self.lower + (self.upper - self.lower) * np.arange(count) / count

    def weights(self, places: Array, order: int) -> Array:
        """Return 1: trigonometric functions are of one size everywhere."""
        return np.ones(len(places))


def basis_of(coordinate: Coordinate, size: int) -> Basis:
    """Return trigonometric functions (an odd number of them) for a periodic coordinate, else polynomials."""
    if coordinate.periodic:
        return FourierBasis(coordinate.lower, coordinate.upper, size | 1)
    return ChebyshevBasis(coordinate.lower, coordinate.upper, size)


def product_matrix(factors: Sequence[Array]) -> Array:
    """Return the products of basis functions at N points, (N, n₁ n₂ …), from matrices (N, n_k)."""
    return reduce(lambda a, b: (a[:, :, None] * b[:, None, :]).reshape(len(a), -1), factors)


def contracted(coefficients: Array, factors: Sequence[Array]) -> Array:
    """Return Σ c_{jk…} A_{nj} B_{nk} … for coefficients (fields, n₁, n₂, …), shape (fields, N)."""
    result = np.tensordot(coefficients, factors[-1], axes=(-1, 1))  # (fields, n₁, …, N)
    for factor in reversed(factors[:-1]):
        result = np.einsum("...jn,nj->...n", result, factor)
    return result


@dataclass(frozen=True)
class BoxChart:
    """Fields as tensor-product series on a box.

    Attributes:
        lower, upper: the corners, (d,).
        periodic: which coordinates have a Fourier basis, (d,).
        coefficients: (fields, n₁, …, n_d).
        fields: the fields' names.
    """

    lower: Array
    upper: Array
    periodic: NDArray[np.bool_]
    coefficients: Array
    fields: tuple[str, ...]

    @property
    def bases(self) -> list[Basis]:
        """The basis of each coordinate."""
        given = zip(self.periodic, self.lower, self.upper, self.coefficients.shape[1:], strict=True)
        return [(FourierBasis if periodic else ChebyshevBasis)(*rest) for periodic, *rest in given]

    def __call__(self, points: Points) -> Values:
        """Return the fields (N,) at points (N, d)."""
        rest = int(np.prod(self.coefficients.shape[:-1]))
        parts = np.array_split(points, max(1, len(points) * rest // _AT_ONCE + 1))
        values = [self._values(part) for part in parts if len(part)]
        return dict(zip(self.fields, np.concatenate(values, axis=1), strict=True)) if values else {}

    def _values(self, points: Points) -> Array:
        return contracted(self.coefficients, [b.matrix(x, 0) for b, x in zip(self.bases, points.T, strict=True)])

    def tails(self) -> Array:
        """Return for each coordinate the largest of the last coefficients, relative to the field's largest, (d,)."""
        found = []
        for axis in range(1, self.coefficients.ndim):
            moved = np.abs(np.moveaxis(self.coefficients, axis, -1))
            scale = moved.max(axis=tuple(range(1, moved.ndim)))
            last = moved[..., -max(2, moved.shape[-1] // 8) :].max(axis=tuple(range(1, moved.ndim)))
            found.append(float(np.max(last / np.maximum(scale, 1e-300))))
        return np.array(found)

    def arrays(self) -> dict[str, NDArray]:
        """Return everything the chart consists of."""
        return {
            "lower": self.lower,
            "upper": self.upper,
            "periodic": self.periodic,
            "coefficients": self.coefficients,
            "fields": np.array(self.fields),
        }
