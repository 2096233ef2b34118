"""V-curves: the error of finite differences against the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pinnsolve.report.style import (
    TEXT_WIDTH,
    Array,
    label,
    log_limits,
    new_figure,
    nothing,
    positive,
    scheme_look,
    symbol,
)

Row = Mapping[str, Any]
_TOP = 1e2  # relative errors above this are rounding noise; the panel ends there
_DASHES: dict[str, Literal["-", "--"]] = {"float64": "-", "float32": "--"}
_WIDTHS = {"forward": 3.2}  # its errors are those of the backward difference, which would hide it


def v_curves_figure(rows: Sequence[Row]) -> Figure:
    """Return one panel for each derivative: relative RMS error against the step h, both logarithmic.

    The left branch of each curve is rounding (ε/h^d), the right branch truncation (h^p).
    """
    terms = list(dict.fromkeys(str(row["term"]) for row in rows))
    across = min(len(terms), 3)
    down = -(-len(terms) // across)
    columns = 5 if across > 1 else 2  # of the legend
    figure = new_figure(TEXT_WIDTH if across > 1 else 4.5, 2.6 * down + 1.8 / columns + 0.4)
    panels = figure.subplots(down, across, squeeze=False)
    for axes, term in zip(panels.ravel(), terms, strict=False):
        _panel(axes, term, [row for row in rows if row["term"] == term])
    for axes in panels.ravel()[len(terms) :]:
        axes.set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel("relative error of FD")
    for column in range(across):  # the lowest panel that is there
        panels.ravel()[max(range(column, len(terms), across))].set_xlabel("step $h$")
    _legend(figure, rows, columns)
    return figure


def _panel(axes: Axes, term: str, rows: Sequence[Row]) -> None:
    axes.set_title(symbol(term))
    errors = _column(rows, "fd_vs_ad")
    limits = log_limits(np.minimum(errors, _TOP), decades=18)
    if limits is None or not np.any(np.isfinite(positive(_column(rows, "step")))):
        nothing(axes, "no error above zero")
        return
    axes.set(xscale="log", yscale="log")
    for scheme, dtype in dict.fromkeys((str(row["scheme"]), str(row["dtype"])) for row in rows):
        curve = [row for row in rows if row["scheme"] == scheme and row["dtype"] == dtype]
        _curve(axes, scheme, dtype, sorted(curve, key=lambda row: float(row["step"])))
    network = _column([row for row in rows if row["dtype"] == "float64"], "ad_vs_exact")
    network = network[np.isfinite(network) & (network > 0)]
    if network.size:
        axes.axhline(float(np.median(network)), color="black", linewidth=1.0, linestyle="-.")
        limits = min(limits[0], float(np.median(network))), max(limits[1], float(np.median(network)))
    axes.set_ylim(limits[0] / 3, limits[1] * 3)
    axes.grid(True)


def _curve(axes: Axes, scheme: str, dtype: str, rows: Sequence[Row]) -> None:
    color, marker = scheme_look(scheme)
    steps, errors = positive(_column(rows, "step")), positive(_column(rows, "fd_vs_ad"))
    width = _WIDTHS.get(scheme, 1.6)
    axes.plot(steps, errors, color=color, linewidth=width, linestyle=_DASHES.get(dtype, ":"), zorder=3 - width / 10)
    axes.plot(steps, positive(_column(rows, "predicted_error")), color="black", linewidth=0.4, zorder=3)
    best = [index for index, row in enumerate(rows) if row.get("best") == 1]
    face = color if dtype == "float64" else "white"
    axes.plot(
        steps[best], errors[best], marker, color=color, markerfacecolor=face, markersize=5, linestyle="", zorder=4
    )


def _legend(figure: Figure, rows: Sequence[Row], columns: int) -> None:
    schemes = list(dict.fromkeys(str(row["scheme"]) for row in rows))
    handles = [_handle(scheme, *scheme_look(scheme)) for scheme in schemes]
    for dtype in dict.fromkeys(str(row["dtype"]) for row in rows):
        handles.append(Line2D([], [], color="#555555", linestyle=_DASHES.get(dtype, ":"), label=dtype))
    if np.any(np.isfinite(_column(rows, "predicted_error"))):
        handles.append(Line2D([], [], color="black", linewidth=0.4, label="predicted"))
    if np.any(np.isfinite(_column(rows, "ad_vs_exact"))):
        name = "network's own error (AD − exact)"
        handles.append(Line2D([], [], color="black", linewidth=1.0, linestyle="-.", label=name))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=2.6)


def _handle(scheme: str, color: str, marker: str) -> Line2D:
    return Line2D([], [], color=color, marker=marker, markersize=5, label=label(scheme.replace("_", "-")))


def _column(rows: Sequence[Row], key: str) -> Array:
    return np.array([float(row.get(key, np.nan)) for row in rows], dtype=np.float64)
