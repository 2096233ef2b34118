"""Loss and error against seconds and against steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pinnsolve.report.legends import legend_below
from pinnsolve.report.style import (
    ERROR_COLOR,
    SOLUTION_COLOR,
    WIDTH,
    Array,
    label,
    linear_limits,
    log_axis,
    log_limits,
    new_figure,
    positive,
)

_SHADES = ("#ffffff", "#eeeeee")
_CURVES = (("loss", "loss", SOLUTION_COLOR), ("error", "relative $L^2$ error", ERROR_COLOR))


class Curve(NamedTuple):
    """One column of the history and how it is drawn."""

    values: Array
    name: str
    color: str


def history_figure(history: Mapping[str, NDArray[Any]], reference_error: float | None = None) -> Figure:
    """Return loss and error on logarithmic axes, the stages of training shaded."""
    figure = new_figure(WIDTH, 2.7)
    row = figure.subplots(1, 2, sharey=True)
    curves = [
        Curve(history[key], *look) for key, *look in _CURVES if np.any(np.isfinite(history.get(key, np.empty(0))))
    ]
    for axes, key in zip(row, ("seconds", "step"), strict=True):
        _panel(axes, history[key], curves)
        _shade_stages(axes, history[key], history.get("stage"))
    limits = log_limits(*(curve.values for curve in curves), decades=40)
    log_axis(row[0], limits)
    if reference_error and limits and limits[0] / 10 < reference_error < limits[1]:
        for axes in row:
            axes.axhline(reference_error, color="#555555", linewidth=0.8, linestyle=":", label="error of the reference")
    row[0].set_xlabel("time / s")
    row[1].set_xlabel("step")
    row[1].xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    row[0].set_ylabel("loss, relative error")
    if curves:
        legend_below(figure, row[1].get_legend_handles_labels()[0])
    return figure


def _panel(axes: Axes, across: Array, curves: list[Curve]) -> None:
    marker = "o" if len(across) == 1 else ""
    for curve in curves:
        axes.plot(across, positive(curve.values), color=curve.color, marker=marker, label=curve.name)
    low, high = linear_limits(across)
    if np.any(np.isfinite(across)):
        axes.set_xlim(low, high)
    axes.grid(True)


def _shade_stages(axes: Axes, across: Array, stages: NDArray[Any] | None) -> None:
    """Shade every second stage, and name the stages that are wide enough for their names."""
    if stages is None or len(stages) < 2:
        return
    starts = [0, *(np.flatnonzero(stages[1:] != stages[:-1]) + 1)]
    # the first row of a stage is written when its first step is done: it began at the row before
    edges = [across[max(start - 1, 0)] for start in starts] + [across[-1]]
    low, high = axes.get_xlim()
    for index, start in enumerate(starts):
        left, right = edges[index], edges[index + 1]
        if not np.isfinite([left, right]).all():
            continue
        axes.axvspan(left, right, color=_SHADES[index % 2], zorder=0, linewidth=0)
        _name_stage(axes, label(str(stages[start])), (left + right) / 2, (right - left) / (high - low))


def _name_stage(axes: Axes, name: str, middle: float, width: float) -> None:
    """Write the stage's name above the panel, or upright inside it, or not at all, as its width (0 to 1) allows."""
    place: Any = {"transform": axes.get_xaxis_transform(), "ha": "center", "fontsize": 8.5}
    if width > 0.035 * len(name):
        axes.text(middle, 1.01, name, va="bottom", **place)
    elif width > 0.08:
        behind = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.8}
        axes.text(middle, 0.97, name, va="top", rotation=90, bbox=behind, zorder=3, **place)
