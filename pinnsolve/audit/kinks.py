"""Kinks: where a stencil lies across a jump in a derivative of the activation."""

from __future__ import annotations

import math
from collections.abc import Iterator
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
        A list that grows by one tensor z > 0, (..., width), per such layer and evaluation. The layers are
        the linear ones, but for `output`, of every module whose `activation` has finite smoothness.
    """
    signs: list[Tensor] = []
    handles = [layer.register_forward_hook(lambda _layer, _in, z: signs.append(z > 0)) for layer in _layers(ansatz)]
    try:
        yield signs
    finally:
        for handle in handles:
            handle.remove()


def _layers(ansatz: nn.Module) -> list[nn.Linear]:
    rough = [module for module in ansatz.modules() if _smoothness(module) < math.inf]
    found = {
        layer: None
        for module in rough
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and name.rpartition(".")[2] != "output"
    }
    return list(found)


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
