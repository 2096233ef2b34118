"""The solution, its reference and the error between them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import NDArray

from pinnsolve.report.style import (
    ERROR_COLOR,
    REFERENCE_COLOR,
    SOLUTION_COLOR,
    TEXT_WIDTH,
    Array,
    absolute_error,
    finite,
    linear_limits,
    log_axis,
    log_limits,
    new_figure,
    nothing,
    positive,
    symbol,
)

_TICKS = [1, 2, 5, 10]
_TWO_SIGNS = 0.05  # share of the smaller sign's values from which a map has a colour for each sign
_SLICES = (0.25, 0.5, 1.0)  # parts of the time interval at which profiles are drawn


@dataclass(frozen=True)
class Grid:
    """The evaluation grid of a run with up to two coordinates, or its points with more.

    Attributes:
        names: coordinates, in the column order of point arrays.
        axes: one array for each coordinate; empty with more than two.
        time: name of the time coordinate, if there is one.
    """

    names: tuple[str, ...]
    axes: tuple[Array, ...]
    time: str | None = None

    @classmethod
    def of(cls, solution: Mapping[str, NDArray[Any]], time: str | None) -> Grid:
        """Return the grid that the arrays of solution.npz are given on."""
        names = tuple(str(name) for name in solution["coordinates"])
        axes = tuple(solution[f"axis_{name}"] for name in names) if len(names) <= 2 else ()
        return cls(names, axes, time)

    @property
    def across(self) -> int:
        """The coordinate on the horizontal axis: time if there is one, else the first."""
        return self.names.index(self.time) if self.time in self.names else 0

    @property
    def up(self) -> int:
        """The coordinate on the vertical axis, with two coordinates."""
        return 1 - self.across

    def aspect(self) -> Literal["auto", "equal"]:
        """Equal units for two lengths of similar size, else whatever fills the panel."""
        spans = [float(np.ptp(axis)) for axis in self.axes]
        similar = min(spans) > 0 and 1 / 3 <= spans[0] / spans[1] <= 3
        return "equal" if self.time not in self.names and similar else "auto"

    def upright(self, values: Array) -> Array:
        """Return values of shape (n_0, n_1) as rows along the vertical axis, for `pcolormesh`."""
        return values.T if self.across == 0 else values


def solution_figure(field: str, values: Array, reference: Array | None, grid: Grid) -> Figure:
    """Return the figure of one field: maps, lines, or scatter for two, one, or more coordinates."""
    if len(grid.names) == 1:
        return _lines(field, values, reference, grid)
    if len(grid.names) == 2:
        return _maps(field, values, reference, grid)
    return _scatter(field, values, reference)


def draw_map(axes: Axes, grid: Grid, values: Array, norm: Normalize, colors: str) -> QuadMesh:
    """Draw values on the grid as a coloured map; what is not finite is grey."""
    mesh = axes.pcolormesh(
        grid.axes[grid.across],
        grid.axes[grid.up],
        np.ma.masked_invalid(grid.upright(finite(values))),
        norm=norm,
        cmap=colors,
        shading="nearest",
        rasterized=True,
    )
    axes.set_facecolor("#bbbbbb")
    axes.set_aspect(grid.aspect())
    axes.set_xlim(*_ends(grid.axes[grid.across]))
    axes.set_ylim(*_ends(grid.axes[grid.up]))
    axes.set_xlabel(symbol(grid.names[grid.across]))
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=_TICKS))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=_TICKS))
    return mesh


def color_bar(figure: Figure, mesh: QuadMesh, panels: Sequence[Axes]) -> None:
    """Draw the colour bar of one or more maps below them."""
    bar = figure.colorbar(mesh, ax=list(panels), location="bottom", pad=0.03, aspect=25 * len(panels))
    bar.outline.set_linewidth(0.4)
    if not isinstance(mesh.norm, LogNorm):
        bar.locator = MaxNLocator(3 + 3 * len(panels), steps=_TICKS)
        bar.update_ticks()
    bar.ax.xaxis.set_minor_formatter(NullFormatter())


def log_norm(values: Array, decades: float) -> LogNorm | None:
    """Return a logarithmic colour scale from two to so many decades long, up to the largest value."""
    limits = log_limits(values, decades=decades)
    return None if limits is None else LogNorm(min(limits[0], limits[1] / 100), limits[1], clip=True)


def _maps(field: str, values: Array, reference: Array | None, grid: Grid) -> Figure:
    panels = 1 if reference is None else 3
    time_slices = reference is not None and grid.time in grid.names
    figure = new_figure(TEXT_WIDTH if panels == 3 else 3.5, 4.9 if time_slices else 2.7)
    shape = np.array(figure.subplots(2 if time_slices else 1, panels, squeeze=False), dtype=object)
    low, high = linear_limits(values if reference is None else reference)
    two_signs = min(-low, high) > _TWO_SIGNS * max(-low, high)
    colors, limits = ("RdBu_r", _balanced(low, high)) if two_signs else ("viridis", (low, high))
    shown_maps = [("network", values)] if reference is None else [("network", values), ("reference", reference)]
    for axes, (title, shown) in zip(shape[0], shown_maps, strict=False):
        mesh = draw_map(axes, grid, shown, Normalize(*limits), colors)
        axes.set_title(f"{symbol(field)}, {title}")
    color_bar(figure, mesh, shape[0][:2])
    shape[0][0].set_ylabel(symbol(grid.names[grid.up]))
    if reference is not None:
        _error_map(figure, shape[0][2], field, absolute_error(values, reference), grid)
    for axes in shape[0][1:]:
        axes.tick_params(labelleft=False)
    if time_slices and reference is not None:
        _slices(shape[1], field, values, reference, grid)
    return figure


def _error_map(figure: Figure, axes: Axes, field: str, error: Array, grid: Grid) -> None:
    name = symbol(field).strip("$")
    norm = log_norm(error, decades=5)
    axes.set_title(f"error $|{name} - {name}^*|$" if symbol(field) != field else "absolute error")
    if norm is None:
        nothing(axes, "zero everywhere" if np.any(np.isfinite(error)) else "no reference value")
        return
    color_bar(figure, draw_map(axes, grid, np.maximum(error, norm.vmin or 0.0), norm, "magma"), [axes])


def _slices(row: Any, field: str, values: Array, reference: Array, grid: Grid) -> None:
    times = grid.axes[grid.across]
    chosen = np.unique([np.abs(times - times[0] - part * np.ptp(times)).argmin() for part in _SLICES])
    limits = linear_limits(reference)
    for axes, index in zip(row, chosen, strict=False):
        fixed = [np.take(finite(array), index, axis=grid.across) for array in (values, reference)]
        axes.plot(grid.axes[grid.up], fixed[1], color="#999999", linewidth=3.0, label="reference")
        axes.plot(grid.axes[grid.up], fixed[0], color=SOLUTION_COLOR, linewidth=1.2, label="network")
        axes.set_title(f"{symbol(grid.names[grid.across])} = {times[index]:.3g}")
        axes.set_xlabel(symbol(grid.names[grid.up]))
        room = 0.06 * (limits[1] - limits[0])
        axes.set_ylim(limits[0] - room, limits[1] + room)
        axes.grid(True)
    for axes in row[len(chosen) :]:
        axes.set_visible(False)
    row[0].set_ylabel(symbol(field))
    row[0].legend(loc="best")
    for axes in row[1:]:
        axes.tick_params(labelleft=False)


def _lines(field: str, values: Array, reference: Array | None, grid: Grid) -> Figure:
    across = grid.axes[0]
    figure = new_figure(TEXT_WIDTH if reference is not None else 3.5, 2.6)
    row = np.atleast_1d(np.array(figure.subplots(1, 1 if reference is None else 2), dtype=object))
    if reference is not None:
        row[0].plot(across, finite(reference), color="#999999", linewidth=3.0, label="reference")
    row[0].plot(across, finite(values), color=SOLUTION_COLOR, label="network")
    row[0].set_ylim(*_roomy(linear_limits(values, *([] if reference is None else [reference]))))
    row[0].set_ylabel(symbol(field))
    row[0].legend()
    if reference is not None:
        error = absolute_error(values, reference)
        row[1].plot(across, positive(error), color=ERROR_COLOR)
        row[1].set_ylabel("absolute error")
        log_axis(row[1], log_limits(error))
    for axes in row:
        axes.set_xlabel(symbol(grid.names[0]))
        axes.grid(True)
    return figure


def _scatter(field: str, values: Array, reference: Array | None) -> Figure:
    if reference is None:
        return _histogram_of_values(field, values)
    figure = new_figure(TEXT_WIDTH, 2.9)
    left, right = figure.subplots(1, 2)
    both = np.isfinite(finite(values)) & np.isfinite(finite(reference))
    limits = _roomy(linear_limits(values[both], reference[both]))
    left.plot(limits, limits, color=REFERENCE_COLOR, linewidth=0.8, linestyle="--", label="network = reference")
    left.plot(
        reference[both], values[both], ".", color=SOLUTION_COLOR, markersize=2.5, alpha=0.5, mew=0, rasterized=True
    )
    left.set(xlim=limits, ylim=limits, aspect="equal", xlabel=f"{symbol(field)}, reference")
    left.set_ylabel(f"{symbol(field)}, network")
    left.legend(loc="upper left")
    log_histogram(right, absolute_error(values, reference), "absolute error")
    return figure


def log_histogram(axes: Axes, sizes: Array, name: str) -> None:
    """Draw how many sizes there are in each bin of a logarithmic axis."""
    axes.set_xlabel(name)
    limits = log_limits(sizes)
    if limits is None:
        nothing(axes, "zero everywhere, or no number")
        return
    shown = sizes[positive(sizes) >= limits[0]]
    axes.hist(shown, bins=np.geomspace(*limits, 41).tolist(), color=ERROR_COLOR)
    axes.set_xscale("log")
    axes.set_ylabel("points")
    axes.grid(True)


def _histogram_of_values(field: str, values: Array) -> Figure:
    figure = new_figure(3.5, 2.6)
    axes = figure.subplots()
    axes.hist(values[np.isfinite(finite(values))], bins=40, range=linear_limits(values), color=SOLUTION_COLOR)
    axes.set(xlabel=f"{symbol(field)}, network", ylabel="points")
    return figure


def _balanced(low: float, high: float) -> tuple[float, float]:
    size = max(-low, high)
    return -size, size


def _roomy(limits: tuple[float, float]) -> tuple[float, float]:
    room = 0.06 * (limits[1] - limits[0])
    return (limits[0] - room, limits[1] + room) if math.isfinite(room) else limits


def _ends(axis: Array) -> tuple[float, float]:
    low, high = float(axis.min()), float(axis.max())
    return (low, high) if low < high else (low - 0.5, high + 0.5)
