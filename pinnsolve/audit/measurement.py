"""One step of V-curves: finite differences of all derivatives by all schemes, from one evaluation of the fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pinnsolve.audit.baseline import Model, array
from pinnsolve.audit.kinks import kinked, recorded_signs
from pinnsolve.audit.records import Array
from pinnsolve.derivatives.finite_differences import NodeBatch
from pinnsolve.derivatives.stencils import family
from pinnsolve.problems import Partial

Target = tuple[str, Partial]  # a scheme, and the derivative that it is for


@dataclass(frozen=True)
class Measurement:
    """One derivative at N points by one scheme with one step.

    Attributes:
        step: relative to the coordinates' units.
        values: finite differences, (N,).
        leading: the coefficients A of the leading terms by coordinate, (N,) each.
        spread: √Σc² / h^d, (N,).
        kinked: where the stencil lies across a kink, (N,).
        free: where the stencil is that of points far from the ends, (N,).
    """

    step: float
    values: Array
    leading: dict[int, Array]
    spread: Array
    kinked: NDArray[np.bool_]
    free: NDArray[np.bool_]


def together(parts: Sequence[Measurement]) -> Measurement:
    """Return the measurement over the points of all parts."""
    first = parts[0]
    return Measurement(
        step=first.step,
        values=np.concatenate([part.values for part in parts]),
        leading={axis: np.concatenate([part.leading[axis] for part in parts]) for axis in first.leading},
        spread=np.concatenate([part.spread for part in parts]),
        kinked=np.concatenate([part.kinked for part in parts]),
        free=np.concatenate([part.free for part in parts]),
    )


@torch.no_grad()
def measured(model: Model, step: float, targets: Sequence[Target]) -> dict[Target, Measurement]:
    """Return the measurements of a model with this relative step; every node is evaluated once."""
    points, partials = model.sample.points.to(model.dtype), _by_scheme(targets)
    batches = {
        scheme: model.sample.differentiator(scheme, step).batch(points, list({partial.orders for partial in own}))
        for scheme, own in partials.items()
    }
    nodes, places = _shared(batches)
    with recorded_signs(model.fields) as signs:
        values = model.fields(nodes)
    result = {}
    for scheme, batch in batches.items():
        place = places[scheme]
        own_signs = [sign[place] for sign in signs]
        for partial in partials[scheme]:
            value = torch.as_tensor(values[partial.field], dtype=nodes.dtype).expand(nodes.shape[:-1])[place]
            result[scheme, partial] = _measurement(batch, partial, scheme, step, value, own_signs)
    return result


def _by_scheme(targets: Sequence[Target]) -> dict[str, list[Partial]]:
    partials: dict[str, list[Partial]] = {}
    for scheme, partial in targets:
        partials.setdefault(scheme, []).append(partial)
    return partials


def _shared(batches: Mapping[str, NodeBatch]) -> tuple[Tensor, dict[str, list[int]]]:
    """Return the nodes (S, N, d) of all batches, and the places in them of each one's own.

    Rows (N, d) that batches have in common are there once: but for points near the ends, most are.
    """
    known: dict[bytes, int] = {}
    rows: list[Tensor] = []
    places: dict[str, list[int]] = {}
    for scheme, batch in batches.items():
        for row, content in zip(batch.nodes, batch.nodes.cpu().numpy(), strict=True):
            place = known.setdefault(content.tobytes(), len(rows))
            if place == len(rows):
                rows.append(row)
            places.setdefault(scheme, []).append(place)
    return torch.stack(rows), places


def _measurement(
    batch: NodeBatch, partial: Partial, scheme: str, step: float, values: Tensor, signs: list[Tensor]
) -> Measurement:
    """Return the measurement from the values (S, N) and the signs of pre-activations at the nodes of its scheme."""
    alpha = partial.orders
    leading = {axis: array(batch.leading[axis, order]) for axis, order in enumerate(alpha) if order}
    return Measurement(
        step=step,
        values=array(batch.derivative(values, alpha)),
        leading=leading,
        spread=array(batch.spread(alpha)) / batch.scale(alpha),
        kinked=kinked(signs, batch.uses(alpha)).cpu().numpy() if signs else np.zeros(values.shape[1], bool),
        free=_free(leading, partial, scheme),
    )


def _free(leading: Mapping[int, Array], partial: Partial, scheme: str) -> NDArray[np.bool_]:
    """Return where the leading coefficients (N,) are those of the free stencils."""
    wanted = {axis: float(family(scheme, partial.orders[axis]).free.leading) for axis in leading}
    return np.logical_and.reduce([np.isclose(leading[axis], wanted[axis]) for axis in leading])
