"""Jets by nested reverse-mode automatic differentiation: slow, and right for any torch module."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pinnsolve.derivatives.jet import Fields, Jet
from pinnsolve.problems import Partial


def autograd(fields: Fields, points: Tensor, partials: Sequence[Partial]) -> Jet:
    """Return the jet by repeated reverse mode: ∂(Σ_n u_n)/∂x_n = ∂u/∂x at x_n, since u_n sees x_n alone.

    Args:
        fields: maps points (N, d) to values (N,) by field name, differentiable by torch.
        points: (N, d).
        partials: what to evaluate, any order.

    Returns:
        A jet whose values carry a graph if gradients are enabled, and none otherwise.
    """
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        inputs = points.detach().requires_grad_()
        known = {Partial(name, (0,) * points.shape[-1]): value for name, value in fields(inputs).items()}
        values = {partial: _derivative(partial, known, inputs) for partial in partials}
    return Jet(points, values if keep else {partial: value.detach() for partial, value in values.items()})


def _derivative(partial: Partial, known: dict[Partial, Tensor], inputs: Tensor) -> Tensor:
    """Return one partial derivative; every derivative on the way is kept in `known`."""
    if partial in known:
        return known[partial]
    axis = max(axis for axis, times in enumerate(partial.orders) if times)
    below = _derivative(_shifted(partial, axis, -1), known, inputs)
    if below.requires_grad:
        (slopes,) = torch.autograd.grad(below.sum(), inputs, create_graph=True, materialize_grads=True)
    else:
        slopes = torch.zeros_like(inputs)  # a constant: nothing left to differentiate
    for index in range(inputs.shape[-1]):
        known.setdefault(_shifted(_shifted(partial, axis, -1), index, +1), slopes[..., index])
    return known[partial]


def _shifted(partial: Partial, axis: int, by: int) -> Partial:
    orders = list(partial.orders)
    orders[axis] += by
    return Partial(partial.field, tuple(orders))
