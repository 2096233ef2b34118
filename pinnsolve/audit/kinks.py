"""Kinks: where a stencil lies across a jump in a derivative of the activation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def smoothness(ansatz: nn.Module) -> float:
    """Return the largest m for which every activation is C^m; infinity for smooth ones and where there is none."""
    return min((_smoothness(module) for module in ansatz.modules()), default=math.inf)


def _smoothness(module: nn.Module) -> float:
    return float(getattr(getattr(module, "activation", None), "smoothness", math.inf))


@contextmanager
def recorded_signs(ansatz: nn.Module) -> Iterator[list[Tensor]]:
    """Collect, while the block runs, the signs of all pre-activations that a kink at 0 matters to.

    Yields:
        A list that grows by one tensor z > 0, (..., width), whenever the `activation` of a module is applied
        to z and has finite smoothness: z is a layer's value, or a sum of values in a residual network.
    """
    signs: list[Tensor] = []
    rough = [module for module in ansatz.modules() if _smoothness(module) < math.inf and "activation" in vars(module)]
    kept = [vars(module)["activation"] for module in rough]
    try:
        for module, activation in zip(rough, kept, strict=True):
            vars(module)["activation"] = _recording(activation, signs)
        yield signs
    finally:
        for module, activation in zip(rough, kept, strict=True):
            vars(module)["activation"] = activation


def _recording(activation: Callable[[Tensor], Tensor], signs: list[Tensor]) -> Callable[[Tensor], Tensor]:
    def apply(z: Tensor) -> Tensor:
        signs.append(z > 0)
        return activation(z)

    return apply


def kinked(signs: list[Tensor], used: Tensor) -> Tensor:
    """Return at which points (N,) a pre-activation changes its sign within the stencil.

    Args:
        signs: z > 0 at the nodes, (S, N, width) per layer.
        used: which nodes each point's stencil reads, (S, N).
    """
    result = torch.zeros_like(used[0])
    for positive in signs:
        some = (positive & used[..., None]).any(0)
        every = (positive | ~used[..., None]).all(0)
        result |= (some & ~every).any(-1)
    return result
