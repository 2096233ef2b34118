"""Piecewise polynomials in space and time, evaluated anywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pinnsolve.references.elements import Mesh
from pinnsolve.references.radau import stage_nodes
from pinnsolve.references.reference import Points, Values
from pinnsolve.references.windows import interpolation_matrix, locate

Array = NDArray[np.float64]

STAGES = 7
DEGREE = 16


@dataclass(frozen=True)
class ElementsChart:
    """Fields on time windows, each with space elements of its own, polynomials in both.

    Attributes:
        times: ends of the windows, (W + 1,).
        elements: the number of elements on each window, (W,).
        edges: ends of the elements, all windows one after the other.
        values: (stages + 1, fields, K, degree + 1) at the window's start and its Radau nodes, all windows
            one after the other, flattened.
        time_axis: the column of time.
        fields: the fields' names.
    """

    times: Array
    elements: NDArray[np.int64]
    edges: Array
    values: Array
    time_axis: int
    fields: tuple[str, ...]

    def __call__(self, points: Points) -> Values:
        """Return the fields (N,) at points (N, 2)."""
        result = np.empty((len(points), len(self.fields)))
        window, position = locate(self.times, points[:, self.time_axis])
        order = np.argsort(window, kind="stable")
        for chosen in np.split(order, np.flatnonzero(np.diff(window[order])) + 1):
            if len(chosen):
                result[chosen] = self._in_window(window[chosen[0]], position[chosen], points[chosen])
        return dict(zip(self.fields, result.T, strict=True))

    def _in_window(self, index: int, position: Array, points: Points) -> Array:
        mesh, values = self._window(index)
        in_time = interpolation_matrix(stage_nodes(STAGES), position)
        element, in_space = mesh.interpolation(points[:, 1 - self.time_axis])
        result = np.zeros((len(points), len(self.fields)))
        for j, at_node in enumerate(values):  # one at a time: (N, degree + 1) at once
            result += in_time[:, j, None] * np.einsum("fnp,np->nf", at_node[:, element], in_space)
        return result

    def _window(self, index: int) -> tuple[Mesh, Array]:
        before, count = int(self.elements[:index].sum()), int(self.elements[index])
        size = (STAGES + 1) * len(self.fields) * (DEGREE + 1)
        flat = self.values[before * size : (before + count) * size]
        mesh = Mesh(self.edges[before + index : before + index + count + 1], DEGREE)
        return mesh, flat.reshape(STAGES + 1, len(self.fields), count, DEGREE + 1)

    def arrays(self) -> dict[str, NDArray]:
        """Return everything the chart consists of."""
        return {
            "times": self.times,
            "elements": self.elements,
            "edges": self.edges,
            "values": self.values,
            "time_axis": np.array(self.time_axis),
            "fields": np.array(self.fields),
        }
