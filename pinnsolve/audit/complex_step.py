r"""The complex step: derivatives of a trial solution in NumPy, an oracle that shares no arithmetic with torch.

    order 1:    f_b(x)
    order 2:    ∂_a f_b(x) = Im f_b(x + i h e_a) / h + O(h²)                    h = 2^-100: exact to rounding
    order 1+n:  ∂_a^n f_b(x) = n!/(2π r^n) ∮ f_b(x + r e^{iθ} e_a) e^{-inθ} dθ   trapezoid rule

with the slope f_b by the forward mode of `NumpyAnsatz`. The trapezoid rule converges geometrically where f is
analytic within the radius r, and rounding grows as r^-n, so that every point takes the radius at
which two neighbouring ones agree best; how far they agree is the uncertainty.
Source: Squire, Trapp (1998), SIAM Review 40, 110-112; Fornberg (1981), ACM Trans. Math. Software 7, 512-526.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pinnsolve.audit.records import Array
from pinnsolve.networks.ansatz import Ansatz
from pinnsolve.networks.numpy_ansatz import NumpyAnsatz
from pinnsolve.problems import Partial

_STEP = 2.0**-100  # in units: nothing is subtracted, so that no step is too small
_NODES = 8  # on the upper half of the circle; the lower half is its mirror image
_RADII = tuple(2.0**-k for k in range(2, 13))  # in units
_AT_ONCE = 2**20  # complex numbers of the widest layer


@dataclass(frozen=True)
class Oracle:
    """The fields of a trial solution by their weights alone.

    Attributes:
        fields: in NumPy.
        units: the length that steps scale with, by coordinate.
        width: units of the widest layer.
    """

    fields: NumpyAnsatz
    units: tuple[float, ...]
    width: int

    @classmethod
    def of(cls, ansatz: nn.Module, units: Sequence[float]) -> Oracle | None:
        """Return the oracle of a trial solution; None if it has no form in NumPy."""
        if not isinstance(ansatz, Ansatz):
            return None
        try:
            return cls(NumpyAnsatz(ansatz), tuple(units), max(ansatz.network.widths))
        except NotImplementedError:
            return None

    def values(self, points: Tensor) -> dict[str, Tensor]:
        """Return the fields (...) at real points (..., d)."""
        found = self.fields(points.cpu().numpy())
        return {name: torch.from_numpy(np.ascontiguousarray(value.value.real)) for name, value in found.items()}

    def derivative(self, points: Array, partial: Partial) -> tuple[Array, Array] | None:
        """Return a derivative at points (N, d), and how uncertain it is; None if the order mixes too much."""
        axes = [axis for axis, order in enumerate(partial.orders) for _ in range(order)]
        slope = min(axes, key=partial.orders.__getitem__)
        axes.remove(slope)
        if len(set(axes)) > 1:
            return None
        if not axes:
            return self._slopes(points, partial.field, slope).real, np.zeros(len(points))
        if len(axes) == 1:
            step = _STEP * self.units[axes[0]]
            shifted = points + 1j * step * np.eye(points.shape[1])[axes[0]]
            return self._slopes(shifted, partial.field, slope).imag / step, np.zeros(len(points))
        return self._around(points, partial.field, slope, axes[0], len(axes))

    def _around(self, points: Array, field: str, slope: int, axis: int, order: int) -> tuple[Array, Array]:
        angles = (np.arange(_NODES) + 0.5) * (math.pi / _NODES)
        phases, direction = np.exp(1j * angles), np.eye(points.shape[1])[axis]
        found = []
        for radius in (relative * self.units[axis] for relative in _RADII):
            circle = points + radius * phases[:, None, None] * direction  # (nodes, N, d)
            values = self._slopes(circle.reshape(-1, points.shape[1]), field, slope).reshape(_NODES, -1)
            moments = (np.conj(phases**order)[:, None] * values).real.mean(0)
            found.append(math.factorial(order) / radius**order * moments)
        ladder = np.array(found)
        with np.errstate(invalid="ignore"):
            changes = np.nan_to_num(np.abs(np.diff(ladder, axis=0)), nan=np.inf)
        best = changes.argmin(0)
        return np.take_along_axis(ladder[1:], best[None], 0)[0], np.take_along_axis(changes, best[None], 0)[0]

    def _slopes(self, points: Array, field: str, axis: int) -> Array:
        """Return ∂_axis of a field at complex points (N, d), (N,)."""
        count = max(_AT_ONCE // self.width, 1)
        chunks = [points[first : first + count] for first in range(0, len(points), count)]
        slopes = [np.broadcast_to(self.fields(chunk, axis)[field].slope, len(chunk)) for chunk in chunks]
        return np.concatenate(slopes)
