"""The evaluation grid, and values on it as coloured maps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import NDArray

from pinnsolve.report.style import Array, finite, log_limits, symbol

Aspect = Literal["auto", "equal"]
_TICKS = [1, 2, 5, 10]


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

    def aspect(self) -> Aspect:
        """Equal units for two lengths of similar size, else whatever fills the panel."""
        return "auto" if self.time in self.names else proportions([ends(axis) for axis in self.axes])

    def upright(self, values: Array) -> Array:
        """Return values of shape (n_0, n_1) as rows along the vertical axis, for `pcolormesh`."""
        return values.T if self.across == 0 else values


def proportions(intervals: Iterable[tuple[float, float]]) -> Aspect:
    """Return "equal" for two intervals of which none is more than three times as long as the other."""
    first, second = (high - low for low, high in intervals)
    return "equal" if min(first, second) > 0 and 1 / 3 <= first / second <= 3 else "auto"


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
    axes.set_xlim(*ends(grid.axes[grid.across]))
    axes.set_ylim(*ends(grid.axes[grid.up]))
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


def ends(axis: Array) -> tuple[float, float]:
    """Return the first and last value of an axis, apart where there is a single one."""
    low, high = float(axis.min()), float(axis.max())
    return (low, high) if low < high else (low - 0.5, high + 0.5)
