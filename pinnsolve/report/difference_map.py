"""Where finite differences err: maps over the domain with the kinks of the activation, and distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from pinnsolve.report.derivative_panels import Panels
from pinnsolve.report.grid_maps import Aspect, proportions
from pinnsolve.report.style import OKABE_ITO, Array, log_limits, nothing, positive, symbol

Maps = Mapping[str, NDArray[Any]]
Box = Mapping[str, tuple[float, float]]
_ERROR, _KINKED, _STEP, _VALUE = "coarse_error_", "coarse_kinked_", "coarse_step_", "value_"
_CLEAN_LOOK, _KINKED_LOOK = OKABE_ITO["blue"], OKABE_ITO["vermilion"]
_KINK_COLOR = "#8a8a8a"
_DECADES = 6.0
_BINS = 41


def difference_map_figure(maps: Maps, box: Box, time: str | None) -> Figure | None:
    """Return one panel for each derivative: |D_FD f - D_AD f| at the points of the audit, over one or two coordinates.

    Args:
        maps: of audit.npz: points (N, d); coarse_error_NAME, coarse_kinked_NAME, value_NAME (N,) and coarse_step_NAME
            of every derivative; kinks on a regular grid.
        box: the interval of each coordinate, in the column order of the points.
        time: the coordinate on the horizontal axis, the first if None.

    Returns:
        None with more than two coordinates, or without errors.
    """
    terms = _terms(maps)
    if not terms or len(box) not in (1, 2):
        return None
    panels = Panels.of(terms, height=2.4 if len(box) == 2 else 1.9, legend_rows=1)
    names = list(box)
    across = names.index(time) if time in names else 0
    aspect = proportions(box.values()) if len(names) == 2 and time not in names else "auto"
    for term, axes in panels.by_term.items():
        if len(names) == 1:
            _profile(axes, maps, term, box[names[0]])
        else:
            _map(panels.figure, axes, maps, term, list(box.values()), across, aspect)
    _name_steps(panels, maps)
    up = "|FD − AD|, relative" if len(names) == 1 else symbol(names[1 - across])
    panels.label_axes(symbol(names[across]), up)
    panels.legend(_handles(maps, profile=len(names) == 1))
    return panels.figure


def distribution_figure(maps: Maps) -> Figure | None:
    """Return one panel for each derivative: how many points err by how much, clean and kinked ones apart; or None."""
    terms = _terms(maps)
    if not terms:
        return None
    panels = Panels.of(terms, height=1.7, legend_rows=1)
    for term, axes in panels.by_term.items():
        _histograms(axes, _relative(maps, term), maps[_KINKED + term].astype(bool))
    _name_steps(panels, maps)
    panels.label_axes("|FD − AD|, relative", "points")
    panels.legend(_split_handles(kinked=_has_kinked(maps)))
    return panels.figure


def _terms(maps: Maps) -> list[str]:
    return [name.removeprefix(_ERROR) for name in maps if name.startswith(_ERROR)]


def _has_kinked(maps: Maps) -> bool:
    """Return whether a stencil lies across a kink anywhere."""
    return any(np.any(maps[_KINKED + term]) for term in _terms(maps))


def _name_steps(panels: Panels, maps: Maps) -> None:
    for term, axes in panels.by_term.items():
        axes.set_title(f"{symbol(term)}, $h$ = {float(maps[_STEP + term]):.2g}")


def _relative(maps: Maps, term: str) -> Array:
    """Return |D_FD f - D_AD f| over the RMS of D_AD f, (N,); NaN where that is zero."""
    values = maps[_VALUE + term]
    scale = float(np.sqrt(np.mean(np.square(values[np.isfinite(values)])))) if np.isfinite(values).any() else 0.0
    return np.abs(maps[_ERROR + term]) / scale if scale > 0 else np.full(len(values), np.nan)


def _profile(axes: Axes, maps: Maps, term: str, interval: tuple[float, float]) -> None:
    errors, kinked = positive(_relative(maps, term)), maps[_KINKED + term].astype(bool)
    if not np.isfinite(errors).any():
        nothing(axes, "no error above zero")
        return
    axes.set_yscale("log")
    axes.set_xlim(*interval)
    if "kinks" in maps:
        nodes = np.linspace(*interval, len(maps["kinks"]))
        for place in (nodes + (nodes[1] - nodes[0]) / 2)[maps["kinks"].astype(bool)]:
            axes.axvline(place, color=_KINK_COLOR, linewidth=0.4, zorder=0)
    points = maps["points"][:, 0]
    for chosen, color, size in ((~kinked, _CLEAN_LOOK, 3.5), (kinked, _KINKED_LOOK, 3.5)):
        axes.plot(points[chosen], errors[chosen], ".", color=color, markersize=size, mew=0, rasterized=True)
    axes.grid(True)


def _map(
    figure: Figure,
    axes: Axes,
    maps: Maps,
    term: str,
    intervals: Sequence[tuple[float, float]],
    across: int,
    aspect: Aspect,
) -> None:
    errors = _relative(maps, term)
    limits = log_limits(errors, decades=_DECADES)
    if limits is None:
        nothing(axes, "no error above zero")
        return
    if "kinks" in maps:
        _draw_kinks(axes, maps["kinks"].astype(bool), intervals, across)
    points, order = maps["points"], np.argsort(np.nan_to_num(errors))  # the largest on top
    dots = axes.scatter(
        points[order, across],
        points[order, 1 - across],
        c=np.clip(errors[order], *limits),
        s=_dot_area(len(order)),
        norm=LogNorm(*limits),
        cmap="plasma_r",
        linewidths=0,
        zorder=2,
        rasterized=True,
    )
    axes.set_xlim(*intervals[across])
    axes.set_ylim(*intervals[1 - across])
    axes.set_aspect(aspect)
    bar = figure.colorbar(dots, ax=axes, location="bottom", pad=0.03, aspect=25)
    bar.outline.set_linewidth(0.4)
    bar.ax.xaxis.set_minor_formatter(NullFormatter())


def _dot_area(count: int) -> float:
    """Return the area of each of so many dots, in square points: few are drawn larger, to be seen at all."""
    return min(max(7000 / count, 7.0), 40.0)


def _draw_kinks(axes: Axes, kinks: NDArray[np.bool_], intervals: Sequence[tuple[float, float]], across: int) -> None:
    """Draw the cells that a kink passes, half a cell towards the next node."""
    upright = kinks.T if across == 0 else kinks
    first, second = (np.linspace(*intervals[axis], kinks.shape[axis]) for axis in (across, 1 - across))
    shown = np.where(upright, 1.0, np.nan)
    axes.pcolormesh(first, second, shown, cmap="Greys", vmin=0, vmax=2.2, shading="nearest", zorder=1, rasterized=True)


def _histograms(axes: Axes, errors: Array, kinked: NDArray[np.bool_]) -> None:
    limits = log_limits(errors)
    if limits is None:
        nothing(axes, "no error above zero")
        return
    bins = np.geomspace(*limits, min(_BINS, max(round(2 * len(errors) ** 0.5), 12))).tolist()
    shown = positive(errors) >= limits[0]
    axes.hist(errors[shown & ~kinked], bins=bins, color=_CLEAN_LOOK, alpha=0.85)
    if np.any(shown & kinked):
        axes.hist(errors[shown & kinked], bins=bins, color=_KINKED_LOOK, histtype="step", linewidth=1.4)
    axes.set_xscale("log")
    axes.grid(True)


def _split_handles(*, kinked: bool) -> list[Line2D]:
    name = "no kink within the stencil" if kinked else "points of the audit"
    clean = Line2D([], [], color=_CLEAN_LOOK, linewidth=6, label=name)
    return [clean, *([Line2D([], [], color=_KINKED_LOOK, linewidth=1.4, label="a kink within it")] if kinked else [])]


def _handles(maps: Maps, *, profile: bool) -> list[Line2D]:
    looks = (("no kink within the stencil", _CLEAN_LOOK), ("a kink within it", _KINKED_LOOK))
    told = looks if _has_kinked(maps) else (("points of the audit", _CLEAN_LOOK),)
    handles = [Line2D([], [], color=c, marker=".", markersize=8, linestyle="", label=n) for n, c in told]
    if not profile:
        handles = [Line2D([], [], color="#b63679", marker="o", linestyle="", label="|FD − AD|, relative")]
    if "kinks" in maps:
        width = 0.8 if profile else 2.0
        handles.append(Line2D([], [], color=_KINK_COLOR, linewidth=width, label="kinks of the activation"))
    return handles
