"""Fourier series in space whose coefficients are polynomials in time, evaluated anywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len

from pinnsolve.references.reference import Points, Values
from pinnsolve.references.windows import interpolation_matrix, locate

Array = NDArray[np.float64]
Spectrum = NDArray[np.complex128]

INTERVALS = 8  # of a window, between the times that are kept
_OVERSAMPLING = 4
_NEIGHBOURS = 16  # of the interpolation on the oversampled grid


@dataclass(frozen=True)
class FourierChart:
    """Fields as Fourier series in x whose coefficients are polynomials on windows of time.

    Attributes:
        interval: ends of the periodic coordinate, (2,).
        times: ends of the windows, (W + 1,).
        modes: the number of coefficients kept on each window, (W,).
        coefficients: c_k(t), k >= 0, at equidistant times of each window, all windows one after the
            other: (INTERVALS + 1, fields, modes of the window), flattened.
        time_axis: the column of time.
        fields: the fields' names.
    """

    interval: Array
    times: Array
    modes: NDArray[np.int64]
    coefficients: Spectrum
    time_axis: int
    fields: tuple[str, ...]

    def __call__(self, points: Points) -> Values:
        """Return the fields (N,) at points (N, 2)."""
        result = np.empty((len(points), len(self.fields)))
        window, position = locate(self.times, points[:, self.time_axis])
        for index in np.unique(window):
            chosen = window == index
            result[chosen] = self._in_window(index, position[chosen], points[chosen, 1 - self.time_axis])
        return dict(zip(self.fields, result.T, strict=True))

    def _in_window(self, index: int, position: Array, x: Array) -> Array:
        grid = self._grid(index)  # (times, fields, M)
        in_time = interpolation_matrix(np.linspace(0, 1, INTERVALS + 1), position)
        phase = (x - self.interval[0]) / (self.interval[1] - self.interval[0]) * grid.shape[-1]
        first = np.floor(phase).astype(int) - _NEIGHBOURS // 2 + 1
        in_space = interpolation_matrix(np.arange(_NEIGHBOURS, dtype=float), phase - first)
        neighbours = (first[:, None] + np.arange(_NEIGHBOURS)) % grid.shape[-1]  # (N, neighbours)
        result = np.zeros((len(x), len(self.fields)))
        for j in range(INTERVALS + 1):  # one at a time: (N, neighbours) at once, not (N, times, neighbours)
            result += in_time[:, j, None] * np.einsum("fnq,nq->nf", grid[j][:, neighbours], in_space)
        return result

    def _grid(self, index: int) -> Array:
        """Return the window's values on the oversampled grid, (times, fields, M)."""
        offsets = np.concatenate([[0], np.cumsum(self.modes)]) * (INTERVALS + 1) * len(self.fields)
        flat = self.coefficients[offsets[index] : offsets[index + 1]]
        spectrum = flat.reshape(INTERVALS + 1, len(self.fields), -1)
        size = max(next_fast_len(2 * _OVERSAMPLING * spectrum.shape[-1], real=True), 2 * _NEIGHBOURS)
        return irfft(spectrum, size, axis=-1) * size

    def tail(self, modes: int) -> float:
        """Return the size of the last quarter of the modes after 2 % of the time, relative to the largest."""
        offsets = np.concatenate([[0], np.cumsum(self.modes)]) * (INTERVALS + 1) * len(self.fields)
        late = np.flatnonzero(self.times[:-1] >= self.times[0] + 0.02 * (self.times[-1] - self.times[0]))
        tails = [0.0]
        for index in late:
            flat = np.abs(self.coefficients[offsets[index] : offsets[index + 1]])
            sizes = flat.reshape(-1, self.modes[index]).max(axis=0)
            tails.append(float(sizes[3 * modes // 4 :].max(initial=0.0) / max(sizes.max(), 1e-300)))
        return max(tails)

    def arrays(self) -> dict[str, NDArray]:
        """Return everything the chart consists of."""
        return {
            "interval": self.interval,
            "times": self.times,
            "modes": self.modes,
            "coefficients": self.coefficients,
            "time_axis": np.array(self.time_axis),
            "fields": np.array(self.fields),
        }
