"""The solution, its reference and the error between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from pinnsolve.report.grid_maps import Grid, color_bar, draw_map, ends, log_norm
from pinnsolve.report.legends import legend_below
from pinnsolve.report.style import (
    ERROR_COLOR,
    OKABE_ITO,
    REFERENCE_COLOR,
    SOLUTION_COLOR,
    WIDTH,
    Array,
    absolute_error,
    curve_limits,
    finite,
    label,
    linear_limits,
    log_axis,
    log_limits,
    new_figure,
    nothing,
    positive,
    symbol,
)

_TWO_SIGNS = 0.05  # share of the smaller sign's values from which a map has a colour for each sign
_TIMES, _CUTS = (0.25, 0.5, 1.0), (0.25, 0.5, 0.75)  # parts of an interval of time, of space, where profiles are drawn
_PROFILES: tuple[tuple[str, Literal["-", "--", ":"]], ...] = (
    (OKABE_ITO["blue"], "-"),
    (OKABE_ITO["vermilion"], "--"),
    (OKABE_ITO["black"], ":"),
)
_REFERENCE: Any = {"color": "#bbbbbb", "linewidth": 3.0, "label": "reference"}


@dataclass(frozen=True)
class Quantity:
    """A field as axes name it: its symbol, and the unit that its numbers are in."""

    field: str
    unit: str = ""

    @property
    def suffix(self) -> str:
        """What the unit adds to the name of an axis: " / mV", or nothing."""
        return f" / {label(self.unit)}" if self.unit else ""

    def named(self, text: str = "") -> str:
        """Return symbol and text with the unit: V, network / mV."""
        return f"{symbol(self.field)}{text}{self.suffix}"


def solution_figure(field: str, values: Array, reference: Array | None, grid: Grid, unit: str = "") -> Figure:
    """Return the figure of one field: maps, lines, or scatter for two, one, or more coordinates."""
    quantity = Quantity(field, unit)
    if len(grid.names) == 1:
        return _lines(quantity, values, reference, grid)
    if len(grid.names) == 2:
        return _maps(quantity, values, reference, grid)
    return _scatter(quantity, values, reference)


def _maps(quantity: Quantity, values: Array, reference: Array | None, grid: Grid) -> Figure:
    rows = 1 if reference is None else 2
    figure = new_figure(WIDTH, 2.3 * rows + 0.3)
    panels = np.array(figure.subplots(rows, 2, squeeze=False), dtype=object)
    low, high = linear_limits(values if reference is None else reference)
    two_signs = min(-low, high) > _TWO_SIGNS * max(-low, high)
    colors, limits = ("RdBu_r", _balanced(low, high)) if two_signs else ("viridis", (low, high))
    shown_maps = [("network", values)] if reference is None else [("network", values), ("reference", reference)]
    for axes, (title, shown) in zip(panels[0], shown_maps, strict=False):
        mesh = draw_map(axes, grid, shown, Normalize(*limits), colors)
        axes.set_title(quantity.named(f", {title}"))
    color_bar(figure, mesh, panels[0][: len(shown_maps)])
    if reference is not None:
        _error_map(figure, panels[1][0], quantity, absolute_error(values, reference), grid)
        panels[0][1].tick_params(labelleft=False)
    for axes in panels[:, 0]:
        axes.set_ylabel(symbol(grid.names[grid.up]))
    _profiles(figure, panels[-1][1], quantity, values, reference, grid)
    return figure


def _error_map(figure: Figure, axes: Axes, quantity: Quantity, error: Array, grid: Grid) -> None:
    norm = log_norm(error, decades=5)
    axes.set_title(f"absolute error{quantity.suffix}")
    if norm is None:
        nothing(axes, "zero everywhere" if np.any(np.isfinite(error)) else "no reference value")
        return
    color_bar(figure, draw_map(axes, grid, np.maximum(error, norm.vmin or 0.0), norm, "magma"), [axes])


def _profiles(
    figure: Figure, axes: Axes, quantity: Quantity, values: Array, reference: Array | None, grid: Grid
) -> None:
    """Draw the field along lines of constant time, or of one coordinate, over the other; the reference in grey."""
    fixed, parts = (grid.across, _TIMES) if grid.time in grid.names else (grid.up, _CUTS)
    nodes, along = grid.axes[fixed], grid.axes[1 - fixed]
    chosen = np.unique([np.abs(nodes - nodes[0] - part * np.ptp(nodes)).argmin() for part in parts])
    for index, (color, dashes) in zip(chosen, _PROFILES, strict=False):
        if reference is not None:
            axes.plot(along, finite(np.take(reference, index, axis=fixed)), **_REFERENCE)
        name = f"{symbol(grid.names[fixed])} = {nodes[index]:.3g}"
        line = finite(np.take(values, index, axis=fixed))
        axes.plot(along, line, color=color, linestyle=dashes, linewidth=1.2, zorder=3, label=name)
    lines = {line.get_label(): line for line in axes.lines}  # the reference once
    axes.set_title("profiles")
    axes.set_xlabel(symbol(grid.names[1 - fixed]))
    axes.set_ylabel(quantity.named())
    axes.set_xlim(*ends(along))
    axes.set_ylim(*_roomy(linear_limits(values if reference is None else reference)))
    axes.grid(True)
    legend_below(figure, list(lines.values()))


def _lines(quantity: Quantity, values: Array, reference: Array | None, grid: Grid) -> Figure:
    across = grid.axes[0]
    figure = new_figure(WIDTH, 2.2)
    row = np.atleast_1d(np.array(figure.subplots(1, 1 if reference is None else 2), dtype=object))
    if reference is not None:
        row[0].plot(across, finite(reference), **_REFERENCE)
    row[0].plot(across, finite(values), color=SOLUTION_COLOR, label="network")
    row[0].set_ylim(*_roomy(linear_limits(values, *([] if reference is None else [reference]))))
    row[0].set_ylabel(quantity.named())
    row[0].legend()
    if reference is not None:
        error = absolute_error(values, reference)
        row[1].plot(across, positive(error), color=ERROR_COLOR)
        row[1].set_ylabel(f"absolute error{quantity.suffix}")
        log_axis(row[1], curve_limits(error))
    for axes in row:
        axes.set_xlabel(symbol(grid.names[0]))
        axes.grid(True)
    return figure


def _scatter(quantity: Quantity, values: Array, reference: Array | None) -> Figure:
    if reference is None:
        return _histogram_of_values(quantity, values)
    figure = new_figure(WIDTH, 2.4)
    left, right = figure.subplots(1, 2)
    both = np.isfinite(finite(values)) & np.isfinite(finite(reference))
    limits = _roomy(linear_limits(values[both], reference[both]))
    left.plot(limits, limits, color=REFERENCE_COLOR, linewidth=0.8, linestyle="--", label="equal")
    left.plot(
        reference[both], values[both], ".", color=SOLUTION_COLOR, markersize=2.5, alpha=0.5, mew=0, rasterized=True
    )
    left.set(xlim=limits, ylim=limits, aspect="equal", xlabel=quantity.named(", reference"))
    left.set_ylabel(quantity.named(", network"))
    left.legend(loc="upper left")
    log_histogram(right, absolute_error(values, reference), f"absolute error{quantity.suffix}")
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


def _histogram_of_values(quantity: Quantity, values: Array) -> Figure:
    figure = new_figure(WIDTH, 2.2)
    axes = figure.subplots()
    axes.hist(values[np.isfinite(finite(values))], bins=40, range=linear_limits(values), color=SOLUTION_COLOR)
    axes.set(xlabel=quantity.named(", network"), ylabel="points")
    return figure


def _balanced(low: float, high: float) -> tuple[float, float]:
    size = max(-low, high)
    return -size, size


def _roomy(limits: tuple[float, float]) -> tuple[float, float]:
    room = 0.06 * (limits[1] - limits[0])
    return (limits[0] - room, limits[1] + room) if math.isfinite(room) else limits
