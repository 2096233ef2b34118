"""Functions of time as one polynomial on each of a row of windows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def barycentric_weights(nodes: Array) -> Array:
    """Return wⱼ = 1/∏_{k≠j}(zⱼ - z_k), scaled to max |w| = 1 (Berrut, Trefethen 2004, SIAM Review 46)."""
    differences = nodes[:, None] - nodes[None, :]
    np.fill_diagonal(differences, 1.0)
    logs = -np.log(np.abs(differences)).sum(axis=1)
    return np.prod(np.sign(differences), axis=1) * np.exp(logs - logs.max())


def interpolation_matrix(nodes: Array, at: Array) -> Array:
    """Return the matrix (len(at), len(nodes)) that takes values at nodes to the polynomial's values."""
    difference = at[:, None] - nodes[None, :]
    hit = difference == 0.0
    ratio = barycentric_weights(nodes) / np.where(hit, 1.0, difference)
    ratio = np.where(hit.any(axis=1, keepdims=True), hit.astype(float), ratio)
    return ratio / ratio.sum(axis=1, keepdims=True)


def locate(edges: Array, at: Array) -> tuple[NDArray[np.intp], Array]:
    """Return the interval of each value, and its position 0…1 inside; the ends extend outward."""
    index = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, len(edges) - 2)
    return index, (at - edges[index]) / (edges[index + 1] - edges[index])
