r"""Functions of one coordinate as Fourier or Chebyshev series, and of two as sums of products.

Both series read s(x) = Re Σ_(k<K) c_k z(x)^k with |z| = 1:

    Fourier:    z = exp(iφ), φ = 2π (x - lower)/length
    Chebyshev:  z = ξ + i√(1-ξ²) = exp(i arccos ξ), c_k real, so that Re z^k = T_k(ξ)

Derivatives are series of the same kind, with differentiated coefficients.
Source: Trefethen (2019), Approximation Theory and Approximation Practice, SIAM.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pinnsolve.problems import Coordinate

Reals = NDArray[np.float64]
Complexes = NDArray[np.complex128]
_AT_ONCE = 2**16  # complex numbers: 1 MB, what stays in the cache


@dataclass(frozen=True)
class Basis:
    """The powers z(x)^k on the interval [lower, lower + length] of one coordinate, periodic or not."""

    lower: float
    length: float
    periodic: bool

    @classmethod
    def of(cls, coordinate: Coordinate) -> Basis:
        """Return the basis on a coordinate's interval."""
        return cls(coordinate.lower, coordinate.length, coordinate.periodic)

    def nodes(self, count: int) -> Reals:
        """Return the points that `coefficients` wants samples at: evenly spaced, or Chebyshev points with both ends."""
        if self.periodic:
            return self.lower + self.length * np.arange(count) / count
        inner = 0.5 * (1 - np.cos(np.pi * np.arange(count - 1) / (count - 1)))
        return np.append(self.lower + self.length * inner, self.lower + self.length)

    def coefficients(self, samples: Reals) -> Complexes:
        """Return c (K, R) of R functions from samples (n, R) at the nodes: K = ⌈n/2⌉ waves, or K = n polynomials."""
        count = len(samples)
        if self.periodic:
            waves = np.fft.rfft(samples, axis=0)[: (count + 1) // 2] * (2 / count)
            waves[0] *= 0.5
            return waves
        descending = samples[::-1]  # ξ = cos θ falls where θ grows; mirrored, it is a cosine series on the circle
        cosines = np.fft.rfft(np.concatenate([descending, descending[-2:0:-1]]), axis=0).real / (count - 1)
        cosines[[0, -1]] *= 0.5
        return cosines.astype(np.complex128)

    def derivative(self, coefficients: Complexes) -> Complexes:
        """Return the coefficients (K, R) of the derivative."""
        if self.periodic:
            return (2j * math.pi / self.length) * np.arange(len(coefficients))[:, None] * coefficients
        slopes = chebyshev.chebder(coefficients.real) * (2 / self.length)
        return np.concatenate([slopes, np.zeros((len(coefficients) - len(slopes), slopes.shape[1]))]).astype(complex)

    def root(self, x: Tensor) -> Tensor:
        """Return z at x, complex; beyond the ends of a Chebyshev series' interval, z is that of the end."""
        if self.periodic:
            phase = (x - self.lower) * (2 * math.pi / self.length)
            return torch.polar(torch.ones_like(phase), phase)
        unit = ((x - self.lower) * (2 / self.length) - 1).clamp(-1, 1)
        return torch.complex(unit, ((1 - unit) * (1 + unit)).sqrt())

    def continued(self, coefficients: Complexes, x: Complexes) -> Complexes:
        r"""Return the series (..., R) at complex x (...), in NumPy: analytic, and the same as Re Σ c_k z^k at real x.

        Fourier:    Σ Re c_k cos kφ - Im c_k sin kφ, which keeps imaginary parts of φ far below rounding
        Chebyshev:  Σ c_k T_k(ξ) by Clenshaw's recurrence
        """
        if self.periodic:
            phases = (x - self.lower)[..., None] * (2 * math.pi / self.length) * np.arange(len(coefficients))
            waves = np.cos(phases) @ coefficients.real - np.sin(phases) @ coefficients.imag
            return np.asarray(waves, np.complex128)
        unit = (x - self.lower) * (2 / self.length) - 1
        columns: Any = chebyshev.chebval(unit, coefficients.real)  # (R, ...)
        values: Complexes = np.moveaxis(columns, 0, -1)
        return values


@dataclass(frozen=True, eq=False)
class Expansion:
    """R functions of one coordinate in one basis, and their derivatives.

    Attributes:
        basis: the powers of z.
        coefficients: c, (K, R).
    """

    basis: Basis
    coefficients: Complexes
    _derivatives: list[Complexes] = field(default_factory=list, repr=False)
    _tables: dict[Any, Tensor] = field(default_factory=dict, repr=False)

    def __call__(self, x: Any, order: int) -> Any:
        """Return the derivatives of this order, (..., R), at x, a tensor (...) or a truncated Taylor series (N,)."""
        if not hasattr(x, "compose"):
            return _Evaluation.apply(x, self, order)
        columns: Any = torch.cat([x[..., None]] * self.coefficients.shape[1], -1)

        def rows(z: Tensor, highest: int) -> list[Tensor]:  # (R, N): series keep their points innermost
            return [value.t() for value in self.values(z[0], order, order + highest)]

        return columns.compose(rows)

    def continued(self, x: Complexes, order: int) -> Complexes:
        """Return the derivatives of this order, (..., R), at complex x (...), in NumPy."""
        return self.basis.continued(self._differentiated(order), x)

    def values(self, x: Tensor, lowest: int, highest: int) -> list[Tensor]:
        """Return the derivatives of orders lowest ... highest, (..., R) each, without a graph back to x (...)."""
        count = len(self.coefficients)
        with torch.no_grad():
            roots = self.basis.root(x.reshape(-1))
            weights = self._weights(lowest, highest, roots)
            parts = roots.split(max(_AT_ONCE // count, 1))
            values = torch.cat([(weights @ _powers(part, count)).real for part in parts], -1)
        return list(values.reshape(highest - lowest + 1, -1, *x.shape).movedim(1, -1))

    def _weights(self, lowest: int, highest: int, like: Tensor) -> Tensor:
        """Return the coefficients of all functions and orders, ((highest - lowest + 1) R, K), where they are needed."""
        key = (lowest, highest, like.dtype, like.device)
        if key not in self._tables:  # kept, since a CUDA graph cannot copy from the host
            table = np.concatenate([self._differentiated(order) for order in range(lowest, highest + 1)], axis=1)
            self._tables[key] = torch.as_tensor(table.T.copy(), dtype=like.dtype, device=like.device)
        return self._tables[key]

    def _differentiated(self, order: int) -> Complexes:
        known = self._derivatives
        while len(known) <= order:
            known.append(self.basis.derivative(known[-1]) if known else self.coefficients)
        return known[order]


class _Evaluation(torch.autograd.Function):
    """The derivative of one order of an expansion; its own derivative is that of the next order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, expansion: Expansion, order: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.expansion, ctx.order = expansion, order
        return expansion.values(x, order, order)[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (x,), (gradient,) = ctx.saved_tensors, gradients
        return (gradient * _Evaluation.apply(x, ctx.expansion, ctx.order + 1)).sum(-1), None, None


@dataclass(frozen=True, eq=False)
class SeparableSum:
    """The function s(x, y, ...) = Σ_(r<R) f_r(x) g_r(y) ...: a profile for known functions.

    Attributes:
        factors: one expansion of R functions per coordinate.
        error: how far it was from the function it stands for, between the nodes, relative to the largest sample.
    """

    factors: tuple[Expansion, ...]
    error: float = 0.0

    def __call__(self, arguments: Sequence[Any], orders: tuple[int, ...]) -> Any:
        """Return ∂^orders s at the arguments; floats may stand beside arrays, tensors or Taylor series.

        Complex NumPy arrays take the analytic continuation; other ones are taken as real, tensors in their precision.
        """
        if any(isinstance(argument, np.ndarray) and np.iscomplexobj(argument) for argument in arguments):
            places = zip(self.factors, np.broadcast_arrays(*arguments), orders, strict=True)
            return reduce(lambda a, b: a * b, (factor.continued(x, order) for factor, x, order in places)).sum(-1)
        model = next((a for a in arguments if isinstance(a, Tensor) or hasattr(a, "compose")), None)
        if model is None:
            tensors = [torch.as_tensor(argument, dtype=torch.float64) for argument in arguments]
            return self._value(tensors, orders, tensors[0]).numpy()[()]
        like = getattr(model, "coefficients", model)
        return self._value([like.new_full((), a) if isinstance(a, float) else a for a in arguments], orders, like)

    def _value(self, arguments: Sequence[Any], orders: tuple[int, ...], like: Tensor) -> Any:
        places = zip(self.factors, arguments, orders, strict=True)
        terms = reduce(lambda a, b: a * b, (factor(argument, order) for factor, argument, order in places))
        if len(self.factors) == 1:
            return terms[..., 0]
        return functional.linear(terms, like.new_ones(1, terms.shape[-1]))[..., 0]


def _powers(z: Tensor, count: int) -> Tensor:
    """Return z^k (count, N), k = 0 ... count - 1: z^(m+j) = z^m z^j doubles how many there are."""
    result = z.new_ones(count, len(z))
    result[1:2] = z
    known = 2
    while known < count:
        more = min(known - 1, count - known)
        torch.mul(result[known - 1], result[1 : more + 1], out=result[known : known + more])
        known += more
    return result
