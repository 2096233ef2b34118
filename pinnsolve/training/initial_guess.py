"""A start of training at which residuals are numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pinnsolve.networks import Network
from pinnsolve.training.objective import Objective

SHARES = (1.0, 0.3, 0.1, 0.03, 0.0)  # of the network's first values that are kept
HUGE = 1e30  # an objective that no step can lower


def begin_finite(objective: Objective, network: Network, points: Sequence[Tensor]) -> None:
    """Move the start of training to where the objective is finite; do nothing if it is, or if that is not found.

    Terms such as exp(-1/T), log c or c^0.3 are no numbers where T and c pass zero, as the values of random weights do.
    The fields then begin at the constants that satisfy the soft conditions best, and a share of their first values.

    Args:
        objective: what is to be minimised.
        network: that of the objective's fields; its output layers change.
        points: one tensor (N, d) per block.
    """
    if objective.value(points) < HUGE:
        return
    layers = [trunk.output for trunk in network]
    first = [(layer.weight.detach().clone(), layer.bias.detach().clone()) for layer in layers]
    constants = _best_constants(objective, layers, points)
    for share in SHARES:
        _set(layers, [(share * weight, constant) for (weight, _), constant in zip(first, constants, strict=True)])
        if objective.value(points) < HUGE:
            return
    _set(layers, first)


def _best_constants(objective: Objective, layers: Sequence[nn.Linear], points: Sequence[Tensor]) -> list[Tensor]:
    """Return biases of the output layers that satisfy the soft conditions best, by least squares; zeros if none do."""
    widths = [layer.out_features for layer in layers]
    count, like = sum(widths), layers[0].weight

    def residuals(biases: Tensor) -> Tensor:
        parts = biases.split(widths)
        _set(layers, [(torch.zeros_like(layer.weight), part) for layer, part in zip(layers, parts, strict=True)])
        found = [
            factor * value / len(place) ** 0.5
            for block, place in zip(objective.blocks, points, strict=True)
            if not block.is_interior
            for value, factor in zip(objective.values(block, place), block.factors, strict=True)
        ]
        return torch.cat(found) if found else like.new_zeros(1)

    at_zero = residuals(like.new_zeros(count))
    slopes = torch.stack([residuals(unit) - at_zero for unit in torch.eye(count).to(like)], 1)
    if not (slopes.isfinite().all() and at_zero.isfinite().all()):
        return list(like.new_zeros(count).split(widths))
    return list((-torch.linalg.pinv(slopes) @ at_zero).split(widths))


def _set(layers: Sequence[nn.Linear], values: Sequence[tuple[Tensor, Tensor]]) -> None:
    with torch.no_grad():
        for layer, (weight, bias) in zip(layers, values, strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
