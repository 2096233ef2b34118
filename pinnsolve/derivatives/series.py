r"""Truncated multivariate Taylor arithmetic.

A series holds the partial derivatives ∂^α z of a quantity z at N points, for all α of a set that is
closed downwards. Products, compositions and linear maps of series follow the rules of `algebra`, so that one
forward pass through a network gives every derivative that an equation needs.
Source: Griewank, Walther (2008), Evaluating Derivatives, chapter 13.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pinnsolve.derivatives.algebra import Algebra, algebra
from pinnsolve.derivatives.composition import Composition, Derivatives, Product, Riccati
from pinnsolve.derivatives.linear import Linear, summed_layer

_NARROW = 8  # a layer that is so many times narrower than the one before it sums that one without storing it


class Series:
    """A truncated Taylor series at N points: torch functions on it act by the rules of `algebra`.

    Args:
        coefficients: (C, ...) with channel 0 the value and channel c the derivative ∂^indices[c].
        algebra: the multi-indices kept.
    """

    def __init__(self, coefficients: Tensor, algebra: Algebra) -> None:
        self.coefficients = coefficients
        self.algebra = algebra

    @classmethod
    def coordinates(cls, points: Tensor, algebra: Algebra) -> Series:
        """Return the coordinates themselves, (C, N, d): values, unit slopes, zero beyond."""
        columns = list(points.unbind(-1))
        one, zero = torch.ones_like(columns[0]), torch.zeros_like(columns[0])
        slopes = [[one if sum(index) == 1 and times else zero for times in index] for index in algebra.indices[1:]]
        return cls(torch.stack([torch.stack(channel) for channel in [columns, *slopes]]).movedim(1, -1), algebra)

    @property
    def shape(self) -> torch.Size:
        """The shape of the value."""
        return self.coefficients.shape[1:]

    def compose(self, derivatives: Derivatives) -> Series:
        """Return φ∘z.

        Args:
            derivatives: (z, k) to [φ(z), ..., φ^(k)(z)], all (..., N), points innermost; if it has an
                attribute riccati = (a, b, c), then φ' = a + bφ + cφ² is relied upon, and it is asked for φ alone.
        """
        return Series(Composition.apply(self.coefficients, derivatives, self.algebra), self.algebra)

    def __getitem__(self, key: Any) -> Series:
        key = key if isinstance(key, tuple) else (key,)
        if key and key[0] is Ellipsis:
            return Series(self.coefficients[key], self.algebra)
        return Series(self.coefficients[(slice(None), *key)], self.algebra)

    def __neg__(self) -> Series:
        return Series(-self.coefficients, self.algebra)

    def __add__(self, other: Any) -> Series:
        if isinstance(other, Series):
            return Series(self.coefficients + other.coefficients, self.algebra)
        value = self.coefficients[:1] + other  # a constant has no derivatives
        rest = self.coefficients[1:].expand(-1, *value.shape[1:])
        return Series(torch.cat([value, rest]), self.algebra)

    def __sub__(self, other: Any) -> Series:
        return self + (-other)

    def __rsub__(self, other: Any) -> Series:
        return -self + other

    def __mul__(self, other: Any) -> Series:
        if not isinstance(other, Series):
            return Series(self.coefficients * other, self.algebra)
        return Series(Product.apply(self.coefficients, other.coefficients, self.algebra), self.algebra)

    __radd__ = __add__
    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Series:
        return self * (other**-1 if isinstance(other, Series) else 1 / other)

    def __rtruediv__(self, other: Any) -> Series:
        return self**-1 * other

    def __pow__(self, exponent: float) -> Series:
        return self.compose(lambda z, k: _power_derivatives(z, exponent, k))

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Give torch's own functions their meaning for series."""
        rule = RULES.get(function)
        if rule is None:
            name = getattr(function, "__name__", str(function))
            raise NotImplementedError(f"torch.{name} has no rule for truncated Taylor series; use derivatives=autograd")
        return rule(*args, **(kwargs or {}))


class _Affine(Series):
    """W h + b where nothing is differentiated; evaluated when it is asked for."""

    def __init__(self, inputs: Series, weight: Tensor, bias: Tensor | None) -> None:
        self.inputs, self.layer, self.algebra = inputs, (weight, bias), inputs.algebra

    @cached_property
    def coefficients(self) -> Tensor:  # type: ignore[override]
        """W h + b."""
        return Linear.apply(self.inputs.coefficients, *self.layer)

    def compose(self, derivatives: Derivatives) -> Series:
        """Return φ(W h + b), evaluated when it is asked for."""
        return _Hidden(self, derivatives)


class _Hidden(Series):
    """φ(W h + b) where nothing is differentiated; evaluated when it is asked for: `summed` does not ask for it."""

    def __init__(self, affine: _Affine, derivatives: Derivatives) -> None:
        self.affine, self.derivatives, self.algebra = affine, derivatives, affine.algebra

    @cached_property
    def coefficients(self) -> Tensor:  # type: ignore[override]
        """φ(W h + b)."""
        return Series.compose(self.affine, self.derivatives).coefficients

    def summed(self, weight: Tensor, bias: Tensor | None) -> Series:
        """Return V φ(W h + b) + c."""
        h, layer = self.affine.inputs.coefficients, self.affine.layer
        return Series(summed_layer(h, layer, self.derivatives, (weight, bias), self.algebra), self.algebra)


def _power_derivatives(z: Tensor, exponent: float, order: int) -> list[Tensor]:
    """Return derivatives of z^p: p (p-1) ... (p-k+1) z^(p-k), zero once the factor vanishes."""
    result, factor = [], 1.0
    for k in range(order + 1):
        result.append(factor * z ** (exponent - k) if factor else torch.zeros_like(z))
        factor *= exponent - k
    return result


def _linear(inputs: Series, weight: Tensor, bias: Tensor | None = None) -> Series:
    if torch.is_grad_enabled() and _requires_gradient(inputs.coefficients, weight, bias):
        return Series(Linear.apply(inputs.coefficients, weight, bias), inputs.algebra)
    if isinstance(inputs, _Hidden) and _NARROW * weight.shape[0] <= weight.shape[1]:
        return inputs.summed(weight, bias)
    return _Affine(inputs, weight, bias)


def _requires_gradient(*tensors: Tensor | None) -> bool:
    return any(tensor is not None and tensor.requires_grad for tensor in tensors)


def _joined(function: Callable[..., Tensor]) -> Callable[..., Series]:
    """Return torch.cat or torch.stack along the last dimension, for series and plain tensors alike."""

    def rule(parts: Sequence[Series], dim: int = -1) -> Series:
        if dim != -1:
            raise NotImplementedError("series are joined along the last dimension only")
        return Series(function([part.coefficients for part in parts], dim=-1), parts[0].algebra)

    return rule


def _elementary(derivatives: Derivatives) -> Callable[[Series], Series]:
    return lambda series: series.compose(derivatives)


def _cycle(*functions: Callable[[Tensor], Tensor]) -> Derivatives:
    return lambda z, order: [functions[k % len(functions)](z) for k in range(order + 1)]


def _log_derivatives(z: Tensor, order: int) -> list[Tensor]:
    return [torch.log(z), *_power_derivatives(z, -1.0, max(order - 1, 0))][: order + 1]


@dataclass(frozen=True)
class _RiccatiFunction:
    """f with f' = a + bf + cf²; nobody asks for its derivatives."""

    value: Callable[[Tensor], Tensor]
    riccati: Riccati

    def __call__(self, z: Tensor, order: int) -> list[Tensor]:
        """Return [f(z)]."""
        return [self.value(z)]


def _from_slope(value: Callable[[Tensor], Tensor], slope: Callable[[Any], Any]) -> Callable[[Series], Series]:
    """Return f∘z for an f known by its slope: f'(z) as a series in one variable gives all derivatives of f."""

    def derivatives(z: Tensor, order: int) -> list[Tensor]:
        if order == 0:
            return [value(z)]
        line = Series.coordinates(z[..., None], algebra(frozenset({(order - 1,)})))[..., 0]
        return [value(z), *slope(line).coefficients]

    return _elementary(derivatives)


def _piecewise_constant(function: Callable[[Tensor], Tensor]) -> Callable[[Series], Series]:
    return _elementary(lambda z, order: [function(z), *(torch.zeros_like(z) for _ in range(order))])


def _abs(series: Series) -> Series:
    return Series(series.coefficients * torch.sign(series.coefficients[0]), series.algebra)


RULES: dict[Any, Callable[..., Any]] = {
    torch.nn.functional.linear: _linear,
    torch.cat: _joined(torch.cat),
    torch.stack: _joined(torch.stack),
    torch.add: lambda a, b: a + b,
    torch.mul: lambda a, b: a * b,
    torch.Tensor.add: lambda a, b: b + a,
    torch.Tensor.mul: lambda a, b: b * a,
    torch.Tensor.sub: lambda a, b: a - b if isinstance(a, Series) else -b + a,
    torch.Tensor.__rsub__: lambda a, b: b - a if isinstance(b, Series) else -a + b,
    torch.sin: _elementary(_cycle(torch.sin, torch.cos, lambda z: -torch.sin(z), lambda z: -torch.cos(z))),
    torch.cos: _elementary(_cycle(torch.cos, lambda z: -torch.sin(z), lambda z: -torch.cos(z), torch.sin)),
    torch.tan: _elementary(_RiccatiFunction(torch.tan, (1.0, 0.0, 1.0))),
    torch.exp: _elementary(_cycle(torch.exp)),
    torch.log: _elementary(_log_derivatives),
    torch.sqrt: lambda z: z**0.5,
    torch.sinh: _elementary(_cycle(torch.sinh, torch.cosh)),
    torch.cosh: _elementary(_cycle(torch.cosh, torch.sinh)),
    torch.tanh: _elementary(_RiccatiFunction(torch.tanh, (1.0, 0.0, -1.0))),
    torch.sigmoid: _elementary(_RiccatiFunction(torch.sigmoid, (0.0, 1.0, -1.0))),
    torch.atan: _from_slope(torch.atan, lambda z: 1 / (z * z + 1)),
    torch.asin: _from_slope(torch.asin, lambda z: (1 - z * z) ** -0.5),
    torch.acos: _from_slope(torch.acos, lambda z: -((1 - z * z) ** -0.5)),
    torch.erf: _from_slope(torch.erf, lambda z: torch.exp(-z * z) * (2 / math.sqrt(math.pi))),
    torch.abs: _abs,
    torch.sign: _piecewise_constant(torch.sign),
}
