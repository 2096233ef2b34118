r"""The Jacobian of per-point residuals with respect to network parameters, from one backward pass.

A residual r_n at point n depends on the parameters of a linear layer z = W h + b through the channels
z_c of that layer at the same point (derivatives in Taylor mode, stencil nodes in finite differences).
The gradient of Σ_n r_n with respect to z is therefore already per point, and

    ∂r_n/∂W = Σ_c ∂r_n/∂z_(c,n) ⊗ h_(c,n),     ∂r_n/∂b = Σ_(c with bias) ∂r_n/∂z_(c,n).

Valid where every parameter belongs to an `nn.Linear` that is called in the forward pass only, hence
for Taylor mode and finite differences, not for nested reverse mode (see `generic_jacobian`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

# (module, residuals) to values (N,) and rows (P, N) of each residual
JacobianMaker = Callable[[nn.Module, Callable[[], Sequence[Tensor]]], tuple[list[Tensor], list[Tensor]]]


@dataclass(frozen=True)
class Trace:
    """One call of a linear layer: inputs and outputs as `by_channel` folds them, channels that carry the bias."""

    layer: nn.Linear
    inputs: Tensor
    outputs: Tensor
    bias_channels: int


@contextmanager
def traced(module: nn.Module) -> Iterator[list[Trace]]:
    """Record every call of a linear layer inside the block."""
    traces: list[Trace] = []

    def record(layer: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        assert isinstance(layer, nn.Linear)
        (inputs,) = arguments
        if isinstance(output, Tensor):
            channels = output if output.dim() == 3 else output[None]
            traces.append(Trace(layer, inputs.expand(*output.shape[:-1], -1), output, len(channels)))
        else:
            nodes = output.shape[1:-1].numel()  # a series of coupled stencils has several at each point
            traces.append(Trace(layer, inputs.coefficients, output.coefficients, nodes))

    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    handles = [layer.register_forward_hook(record) for layer in layers]
    try:
        yield traces
    finally:
        for handle in handles:
            handle.remove()


def jacobian(module: nn.Module, residuals: Callable[[], Sequence[Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    """Return residuals [(N,), ...] and their transposed Jacobians [(P, N), ...].

    Args:
        module: holds the parameters, all of them in `nn.Linear` layers; P in the order of `parameters()`.
        residuals: evaluates residual vectors that share their N points.
    """
    with torch.enable_grad(), traced(module) as traces:
        values = list(residuals())
    outputs = [trace.outputs for trace in traces]
    rows = []
    for value in values:
        gradients = torch.autograd.grad(value.sum(), outputs, retain_graph=True, materialize_grads=True)
        rows.append(_assembled(module, traces, gradients, len(value)))
    return [value.detach() for value in values], rows


def _assembled(module: nn.Module, traces: list[Trace], gradients: Sequence[Tensor], count: int) -> Tensor:
    """Return the transposed Jacobian (P, N) from the gradients with respect to the layers' outputs."""
    parameters = list(module.parameters())
    result = parameters[0].new_zeros(sum(p.numel() for p in parameters), count)
    starts: dict[Tensor, int] = {}
    position = 0
    for parameter in parameters:
        starts[parameter], position = position, position + parameter.numel()
    with torch.no_grad():
        for trace, gradient in zip(traces, gradients, strict=True):
            _add_layer(result, starts, trace, gradient)
    return result


def _add_layer(result: Tensor, starts: dict[Tensor, int], trace: Trace, gradient: Tensor) -> None:
    outer, inner = trace.layer.weight.shape
    left = by_channel(gradient).transpose(1, 2)  # (C, out, N)
    right = by_channel(trace.inputs.detach()).transpose(1, 2)  # (C, in, N)
    start = starts[trace.layer.weight]
    weight = result[start : start + outer * inner].view(outer, inner, -1)
    for channel in range(len(left)):
        weight.addcmul_(left[channel, :, None], right[channel, None])
    if trace.layer.bias is not None:
        start = starts[trace.layer.bias]
        result[start : start + outer] += left[: trace.bias_channels].sum(0)


def by_channel(values: Tensor) -> Tensor:
    """Return what a point's residual depends on, (C, N, width), from a layer's values.

    These are (N, width); (C, N, width), C nodes or Taylor coefficients; or (C, N, S, width), C coefficients at S
    nodes, which are C S channels, the values at all nodes first.
    """
    if values.dim() == 2:
        return values[None]
    return values.movedim(2, 1).flatten(0, 1) if values.dim() == 4 else values


def generic_jacobian(module: nn.Module, residuals: Callable[[], Sequence[Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the same as `jacobian` for any torch module and any maker of jets: one backward pass per point."""
    parameters = list(module.parameters())
    with torch.enable_grad():
        values = list(residuals())
    rows = []
    for value in values:
        columns = [
            torch.cat(
                [g.flatten() for g in torch.autograd.grad(entry, parameters, retain_graph=True, materialize_grads=True)]
            )
            for entry in value
        ]
        rows.append(torch.stack(columns, dim=1))
    return [value.detach() for value in values], rows


def gram(transposed: Tensor, blocks: int = 4) -> Tensor:
    """Return A = Jᵀ J (P, P) from the transposed Jacobian (P, N), its lower triangle block by block.

    With 4 block rows only 10 of 16 blocks are multiplied; the upper triangle is a mirror image.
    """
    size = len(transposed)
    if size < 64 * blocks:
        return transposed @ transposed.t()
    result = transposed.new_empty(size, size)
    ends = [size * block // blocks for block in range(blocks + 1)]
    for start, end in pairwise(ends):
        torch.mm(transposed[start:end], transposed[:end].t(), out=result[start:end, :end])
        result[:start, start:end] = result[start:end, :start].t()
    return result


def jacobian_maker(layerwise: bool) -> JacobianMaker:
    """Return `jacobian`, or `generic_jacobian` for jets that no single backward pass serves."""
    return jacobian if layerwise else generic_jacobian
