"""Where the equations are not met, and where the last step looked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pinnsolve.report.grid_maps import Grid, color_bar, draw_map, log_norm
from pinnsolve.report.solution_figure import log_histogram
from pinnsolve.report.style import (
    ERROR_COLOR,
    WIDTH,
    Array,
    curve_limits,
    label,
    log_axis,
    new_figure,
    nothing,
    positive,
    symbol,
)

_MOST_POINTS, _MOST_TICKS = 1500, 150  # more of them would hide the map, would be a bar
_DECADES = 6.0
_SHOWN = 0.999  # share of the points that the colours tell apart: a singular corner would leave the rest one colour


def residual_figure(residuals: Mapping[str, Array], grid: Grid, collocation: Array | None) -> Figure:
    """Return |residual| of each equation, with the collocation points (M, d) of the last step."""
    across = min(len(residuals), 2)
    rows = -(-len(residuals) // across)
    figure = new_figure(WIDTH, (2.9 if len(grid.names) == 2 else 2.2) * rows)
    panels = figure.subplots(rows, across, squeeze=False).ravel()
    points = _thinned(collocation, _MOST_TICKS if len(grid.names) == 1 else _MOST_POINTS)
    for axes, (name, residual) in zip(panels, residuals.items(), strict=False):
        axes.set_title(f"|residual| of {label(name)}")
        _panel(figure, axes, np.abs(residual), grid, points)
    for axes in panels[len(residuals) :]:
        axes.set_visible(False)
    return figure


def _panel(figure: Figure, axes: Axes, size: Array, grid: Grid, points: Array | None) -> None:
    if len(grid.names) == 1:
        _line(axes, size, grid, points)
    elif len(grid.names) == 2:
        _map(figure, axes, size, grid, points)
    else:
        log_histogram(axes, size, "|residual|")


def _map(figure: Figure, axes: Axes, size: Array, grid: Grid, points: Array | None) -> None:
    known = size[np.isfinite(size)]
    norm = log_norm(np.minimum(size, np.quantile(known, _SHOWN)) if known.size else size, _DECADES)
    axes.set_ylabel(symbol(grid.names[grid.up]))
    if norm is None:
        nothing(axes, "zero everywhere" if np.any(np.isfinite(size)) else "no number anywhere")
        return
    color_bar(figure, draw_map(axes, grid, np.maximum(size, norm.vmin or 0.0), norm, "magma"), [axes])
    if points is not None:
        columns = points[:, grid.across], points[:, grid.up]
        axes.plot(*columns, "o", color="white", markersize=1.7, mec="black", mew=0.25, rasterized=True)


def _line(axes: Axes, size: Array, grid: Grid, points: Array | None) -> None:
    axes.plot(grid.axes[0], positive(size), color=ERROR_COLOR)
    axes.set_xlabel(symbol(grid.names[0]))
    axes.set_ylabel("|residual|")
    log_axis(axes, curve_limits(size))
    axes.grid(True)
    if points is not None:
        height = np.full(len(points), 0.02)
        axes.plot(points[:, 0], height, "|", color="#555555", markersize=5, transform=axes.get_xaxis_transform())


def _thinned(points: Array | None, most: int) -> Array | None:
    """Return at most so many of the points, drawn without regard to their order.

    Every second point of a low-discrepancy sequence lies in one half of the domain.
    """
    if points is None or points.ndim != 2 or not len(points):
        return None
    return np.random.default_rng(0).permutation(points)[:most]
