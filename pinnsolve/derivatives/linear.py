r"""Linear maps of truncated series, and hidden layers that are summed without being stored.

W z + b on coefficients (C, N, in): W acts on every channel, b on the value alone. Results have their points innermost
in memory, (C, out, N).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pinnsolve.derivatives.algebra import Algebra
from pinnsolve.derivatives.composition import Derivatives, extend, value_and_slope

_CACHED = 2**17  # numbers of one channel that stay in the cache together with the other channels

Layer = tuple[Tensor, Tensor | None]  # W (out, in) and b (out,)


class Linear(torch.autograd.Function):
    """W z + b."""

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return coefficients (C, N, out) from (C, N, in)."""
        ctx.save_for_backward(coefficients, weight)
        result = _mixed(weight, coefficients)
        if bias is not None:
            result[0].add_(bias)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients with respect to coefficients, W and b."""
        (gradient,) = gradients  # (C, N, out)
        coefficients, weight = ctx.saved_tensors
        for_inputs, for_weight, for_bias = ctx.needs_input_grad
        return (
            _mixed(weight.t(), gradient) if for_inputs else None,
            torch.bmm(_rows(gradient), _rows(coefficients).transpose(1, 2)).sum(0) if for_weight else None,
            gradient[0].flatten(0, -2).sum(0) if for_bias else None,
        )


def _rows(coefficients: Tensor) -> Tensor:
    """Return (C, width, N) from (C, N, width)."""
    return coefficients.flatten(1, -2).transpose(1, 2)


def _mixed(matrix: Tensor, coefficients: Tensor) -> Tensor:
    """Return matrix · z for every channel and point, (C, N, out)."""
    rows = _rows(coefficients)
    is_column = matrix.shape[1] == 1  # BLAS is slow on an inner length of 1
    result = matrix * rows if is_column else torch.bmm(matrix.expand(len(rows), -1, -1), rows)
    return result.transpose(1, 2).unflatten(1, coefficients.shape[1:-1])


def summed_layer(
    coefficients: Tensor,
    hidden: Layer,
    derivatives: Derivatives,
    output: Layer,
    algebra: Algebra,
) -> Tensor:
    r"""Return V φ(W h + b) + c, a few units at a time, so that the layer's values never leave the cache.

    The highest derivatives enter φ(z), z = W h + b, in the term φ'(z) ∂^α z alone. Its sum over the units is

        Σ_k V_k φ'(z_k) Σ_j W_kj ∂^α h_j = Σ_j G_j ∂^α h_j,    G = Wᵀ (V ∘ φ'(z)),

    and one matrix product, for G, takes the place of one for each of the ∂^α z.

    Args:
        coefficients: h, (C, N, in).
        hidden: W (K, in) and b.
        derivatives: of φ.
        output: V (out, K) and c.
        algebra: the tables.

    Returns:
        (C, N, out), not differentiable.
    """
    (weight, bias), (outer, constant) = hidden, output
    h = _rows(coefficients)
    highest = algebra.highest if len(outer) < len(algebra.highest) else frozenset()
    result = h.new_zeros(len(h), len(outer), h.shape[2])
    if constant is not None:
        result[0] += constant[:, None]
    count = max(_CACHED // h.shape[2], 16)
    for start in range(0, len(weight), count):
        units = slice(start, start + count)
        z = {channel: weight[units] @ rows for channel, rows in enumerate(h) if channel not in highest}
        if bias is not None:
            z[0] += bias[units, None]
        values, slope = value_and_slope(z, derivatives, algebra)
        extend(values, slope, z, algebra, range(1, len(h)))
        for channel, value in values.items():
            result[channel].addmm_(outer[:, units], value)
        for row, factors in enumerate(outer[:, units] if highest else ()):
            adjoint = weight[units].t() @ (slope[0] * factors[:, None])  # G, (in, N)
            for channel in highest:
                result[channel, row] += (adjoint * h[channel]).sum(0)
    return result.transpose(1, 2).unflatten(1, coefficients.shape[1:-1])
