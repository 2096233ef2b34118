r"""Truncated multivariate Taylor arithmetic.

A series holds the partial derivatives ∂^α z of a quantity z at N points, for all α of a set that is
closed downwards. Arithmetic follows the rules of Leibniz and Faà di Bruno,

    ∂^α (a b)  = Σ_(β≤α) C(α,β) ∂^β a ∂^(α-β) b,
    ∂^α φ(z)   = Σ_π φ^(|π|)(z) Π_(B∈π) ∂^B z,       π: partitions of the multiset α,

so that one forward pass through a network gives every derivative that an equation needs.
The adjoint of a composition is a product again: δ(φ∘z) = (φ'∘z)·δz.
Source: Griewank, Walther (2008), Evaluating Derivatives, chapter 13; Hardy (2006), Electron. J. Combin. 13, R1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import torch
from torch import Tensor

MultiIndex = tuple[int, ...]
Derivatives = Callable[[Tensor, int], list[Tensor]]  # (z, k) to [φ(z), ..., φ^(k)(z)]


@dataclass(frozen=True)
class _Term:
    """coefficient · φ^(order)(z) · Π z[channels] in a composition."""

    order: int
    coefficient: int
    channels: tuple[int, ...]


@dataclass(frozen=True)
class Algebra:
    """The multi-indices kept (zero first, then by order) and the tables of the two rules.

    Attributes:
        indices: the channels; channel c holds ∂^indices[c].
        products: per channel α, triples (C(α,β), channel of β, channel of α-β).
        compositions: per channel, the terms of Faà di Bruno's formula.
    """

    indices: tuple[MultiIndex, ...]
    products: tuple[tuple[tuple[int, int, int], ...], ...]
    compositions: tuple[tuple[_Term, ...], ...]

    @property
    def order(self) -> int:
        """The highest total order kept."""
        return max(sum(index) for index in self.indices)

    def channel(self, index: MultiIndex) -> int:
        """Return the channel that holds this derivative."""
        return self.indices.index(index)


@cache
def algebra(indices: frozenset[MultiIndex]) -> Algebra:
    """Return the algebra over the smallest downward closed set that holds these multi-indices."""
    closed = {below for index in indices for below in _below(index)}
    channels = tuple(sorted(closed, key=lambda index: (sum(index), tuple(-times for times in index))))
    position = {index: channel for channel, index in enumerate(channels)}
    products = tuple(
        tuple((_binomial(alpha, beta), position[beta], position[_minus(alpha, beta)]) for beta in _below(alpha))
        for alpha in channels
    )
    return Algebra(channels, products, tuple(_composition(alpha, position) for alpha in channels))


def _below(index: MultiIndex) -> Iterable[MultiIndex]:
    return product(*(range(times + 1) for times in index))


def _minus(alpha: MultiIndex, beta: MultiIndex) -> MultiIndex:
    return tuple(a - b for a, b in zip(alpha, beta, strict=True))


def _binomial(alpha: MultiIndex, beta: MultiIndex) -> int:
    return math.prod(math.comb(a, b) for a, b in zip(alpha, beta, strict=True))


def _composition(alpha: MultiIndex, position: dict[MultiIndex, int]) -> tuple[_Term, ...]:
    """Return Faà di Bruno's terms of one derivative, equal partitions counted together."""
    letters = [axis for axis, times in enumerate(alpha) for _ in range(times)]
    counts: dict[tuple[int, ...], int] = {}
    for partition in _partitions(letters):
        blocks = (tuple(block.count(axis) for axis in range(len(alpha))) for block in partition)
        key = tuple(sorted(position[block] for block in blocks))
        counts[key] = counts.get(key, 0) + 1
    return tuple(_Term(len(key), count, key) for key, count in sorted(counts.items()))


def _partitions(letters: Sequence[int]) -> Iterable[list[list[int]]]:
    """Yield every partition of a sequence of (distinguishable) letters into blocks."""
    if not letters:
        yield []
        return
    first, rest = letters[0], letters[1:]
    for partition in _partitions(rest):
        yield [[first], *partition]
        for index, block in enumerate(partition):
            yield [*partition[:index], [first, *block], *partition[index + 1 :]]


class Series:
    """A truncated Taylor series at N points: torch functions on it act by the rules above.

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
        coefficients = points.new_zeros(len(algebra.indices), points.shape[-1], *points.shape[:-1]).movedim(1, -1)
        coefficients[0] = points
        for channel, index in enumerate(algebra.indices):
            if sum(index) == 1:
                coefficients[channel, ..., index.index(1)] = 1.0
        return cls(coefficients, algebra)

    @property
    def shape(self) -> torch.Size:
        """The shape of the value."""
        return self.coefficients.shape[1:]

    def compose(self, derivatives: Derivatives) -> Series:
        """Return φ∘z from the derivatives of φ."""
        return Series(_Composition.apply(self.coefficients, derivatives, self.algebra), self.algebra)

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
        a, b = self.coefficients, other.coefficients
        channels = [
            sum((a[beta] * b[gamma] * times for times, beta, gamma in terms[1:]), a[terms[0][1]] * b[terms[0][2]])
            for terms in self.algebra.products
        ]
        return Series(torch.stack(channels), self.algebra)

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


class _Composition(torch.autograd.Function):
    """φ∘z on coefficients (C, ...), with the adjoint written out: a third of autograd's time and memory."""

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, derivatives: Derivatives, algebra: Algebra) -> Tensor:
        phi = derivatives(coefficients[0], algebra.order + ctx.needs_input_grad[0])
        ctx.algebra = algebra
        ctx.save_for_backward(coefficients, *phi)
        return _compose(coefficients, phi, algebra)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        coefficients, *phi = ctx.saved_tensors
        slope = _compose(coefficients, phi[1:], ctx.algebra)  # φ'∘z
        result = slope[0] * gradient  # γ = 0, all channels at once
        for channel, terms in enumerate(ctx.algebra.products):
            for times, beta, gamma in terms:
                if gamma:
                    result[beta].addcmul_(slope[gamma], gradient[channel], value=times)
        return result, None, None


def _compose(coefficients: Tensor, phi: Sequence[Tensor], algebra: Algebra) -> Tensor:
    result = torch.empty_like(coefficients)
    result[0] = phi[0]
    if len(result) > 1:
        torch.mul(phi[1], coefficients[1:], out=result[1:])  # the term φ'(z) ∂^α z of every channel α
    for channel, terms in enumerate(algebra.compositions):
        for term in terms:
            if term.order > 1:
                result[channel].addcmul_(phi[term.order], _monomial(coefficients, term))
    return result


def _monomial(coefficients: Tensor, term: _Term) -> Tensor:
    value = coefficients[term.channels[0]]
    for channel in term.channels[1:]:
        value = value * coefficients[channel]
    return value if term.coefficient == 1 else value * term.coefficient


def _power_derivatives(z: Tensor, exponent: float, order: int) -> list[Tensor]:
    """Return derivatives of z^p: p (p-1) ... (p-k+1) z^(p-k), zero once the factor vanishes."""
    result, factor = [], 1.0
    for k in range(order + 1):
        result.append(factor * z ** (exponent - k) if factor else torch.zeros_like(z))
        factor *= exponent - k
    return result


class _Linear(torch.autograd.Function):
    """W z + b on coefficients (C, N, in): W acts on every channel, b on the value alone.

    In memory the points lie innermost, (C, out, N): matrix products with long rows are twice as fast
    on a CPU, and elementwise work on a channel is one contiguous sweep.
    """

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(coefficients, weight)
        result = _mixed(weight, coefficients)
        if bias is not None:
            result[0] += bias
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (gradient,) = gradients  # (C, N, out)
        coefficients, weight = ctx.saved_tensors
        for_inputs, for_weight, for_bias = ctx.needs_input_grad
        return (
            _mixed(weight.t(), gradient) if for_inputs else None,
            _contracted(gradient, coefficients) if for_weight else None,
            gradient[0].flatten(0, -2).sum(0) if for_bias else None,
        )


def _mixed(matrix: Tensor, coefficients: Tensor) -> Tensor:
    """Return matrix · z for every channel and point, (C, N, out), points innermost in memory."""
    rows = coefficients.flatten(1, -2).transpose(-1, -2)  # (C, in, N)
    result = rows.new_empty(rows.shape[0], matrix.shape[0], rows.shape[2])
    for channel, row in enumerate(rows):
        if matrix.shape[1] == 1:
            torch.mul(matrix, row, out=result[channel])  # BLAS is slow on an inner length of 1
        else:
            torch.mm(matrix, row, out=result[channel])
    return result.transpose(-1, -2).unflatten(1, coefficients.shape[1:-1])


def _contracted(left: Tensor, right: Tensor) -> Tensor:
    """Return Σ_(c,n) left[c,n,i] right[c,n,j]."""
    left, right = left.flatten(1, -2), right.flatten(1, -2)
    result = left[0].t() @ right[0]
    for channel in range(1, left.shape[0]):
        result.addmm_(left[channel].t(), right[channel])
    return result


def _linear(inputs: Series, weight: Tensor, bias: Tensor | None = None) -> Series:
    return Series(_Linear.apply(inputs.coefficients, weight, bias), inputs.algebra)


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


def _tanh_derivatives(z: Tensor, order: int) -> list[Tensor]:
    """Return derivatives of y = tanh z by Leibniz' rule on y' = 1 - y²; nothing in it can overflow."""
    result = [torch.tanh(z)]
    for k in range(order):
        square = sum((math.comb(k, j) * result[j] * result[k - j] for j in range(k + 1)), torch.zeros_like(z))
        result.append(1 - square if k == 0 else -square)
    return result


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
    torch.tan: lambda z: torch.sin(z) / torch.cos(z),
    torch.exp: _elementary(_cycle(torch.exp)),
    torch.log: _elementary(_log_derivatives),
    torch.sqrt: lambda z: z**0.5,
    torch.sinh: _elementary(_cycle(torch.sinh, torch.cosh)),
    torch.cosh: _elementary(_cycle(torch.cosh, torch.sinh)),
    torch.tanh: _elementary(_tanh_derivatives),
    torch.sigmoid: lambda z: (z * 0.5).compose(_tanh_derivatives) * 0.5 + 0.5,
    torch.atan: _from_slope(torch.atan, lambda z: 1 / (z * z + 1)),
    torch.asin: _from_slope(torch.asin, lambda z: (1 - z * z) ** -0.5),
    torch.acos: _from_slope(torch.acos, lambda z: -((1 - z * z) ** -0.5)),
    torch.erf: _from_slope(torch.erf, lambda z: torch.exp(-z * z) * (2 / math.sqrt(math.pi))),
    torch.abs: _abs,
    torch.sign: _piecewise_constant(torch.sign),
}
