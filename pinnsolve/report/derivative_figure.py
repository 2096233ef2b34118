"""V-curves, the error of finite differences against the step, and what share of it the leading term explains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pinnsolve.report.derivative_panels import Panels, Row, column, curves, dash, scheme_handles
from pinnsolve.report.style import log_limits, nothing, positive, scheme_look

_TOP = 1e2  # relative errors above this are rounding noise; the panel ends there
_WIDTHS = {"forward": 3.2}  # its errors are those of the backward difference, which would hide it
_RATIOS = (-0.25, 2.25)  # of error to leading term, as far as they are shown
_PLATEAU = (0.9, 1.1)


def v_curves_figure(rows: Sequence[Row], findings: Sequence[Row] = ()) -> Figure:
    """Return one panel for each derivative: relative RMS error against the step h, both logarithmic.

    The left branch of each curve is rounding (ε/h^d), the right branch truncation (h^p).

    Args:
        rows: of derivatives.csv.
        findings: of metrics.json, for the error of automatic differentiation in each precision.
    """
    panels = Panels.of(str(row["term"]) for row in rows)
    for term, axes in panels.by_term.items():
        own = [row for row in findings if row.get("term") == term]
        _v_curves(axes, curves(rows, term), [row for row in rows if row["term"] == term], own)
    panels.label_axes("step $h$", "relative error of FD")
    panels.legend(_handles(rows, findings))
    return panels.figure


def _v_curves(
    axes: Axes, found: dict[tuple[str, str], list[Row]], rows: Sequence[Row], findings: Sequence[Row]
) -> None:
    limits = log_limits(np.minimum(column(rows, "fd_vs_ad"), _TOP), decades=18)
    if limits is None or not np.any(np.isfinite(positive(column(rows, "step")))):
        nothing(axes, "no error above zero")
        return
    axes.set(xscale="log", yscale="log")
    for (scheme, dtype), curve in found.items():
        _v_curve(axes, scheme, dtype, curve)
    network = _median([row for row in rows if row["dtype"] == "float64"], "ad_vs_exact")
    if network is not None:
        axes.axhline(network, color="black", linewidth=1.0, linestyle="-.")
        limits = min(limits[0], network), max(limits[1], network)
    for dtype in dict.fromkeys(str(row.get("dtype")) for row in findings):
        floor = _median([row for row in findings if row.get("dtype") == dtype], "ad_error")
        if floor is not None and floor > limits[0] / 30:
            axes.axhline(floor, color="#999999", linewidth=1.3, linestyle=dash(dtype), zorder=1)
            limits = min(limits[0], floor), limits[1]
    axes.set_ylim(limits[0] / 3, limits[1] * 3)
    shown = positive(column(rows, "step"))[column(rows, "fd_vs_ad") <= 3 * limits[1]]
    if np.any(np.isfinite(shown)):
        axes.set_xlim(float(np.nanmin(shown)) / 2, float(np.nanmax(shown)) * 2)
    axes.grid(True)


def _v_curve(axes: Axes, scheme: str, dtype: str, rows: Sequence[Row]) -> None:
    color, marker = scheme_look(scheme)
    steps, errors = positive(column(rows, "step")), positive(column(rows, "fd_vs_ad"))
    width = _WIDTHS.get(scheme, 1.6)
    axes.plot(steps, errors, color=color, linewidth=width, linestyle=dash(dtype), zorder=3 - width / 10)
    axes.plot(steps, positive(column(rows, "predicted_error")), color="black", linewidth=0.4, zorder=3)
    best = [index for index, row in enumerate(rows) if row.get("best") == 1]
    face = color if dtype == "float64" else "white"
    axes.plot(
        steps[best], errors[best], marker, color=color, markerfacecolor=face, markersize=5, linestyle="", zorder=4
    )


def _handles(rows: Sequence[Row], findings: Sequence[Row]) -> list[Line2D]:
    handles = scheme_handles(rows)
    if np.any(np.isfinite(column(rows, "predicted_error"))):
        handles.append(Line2D([], [], color="black", linewidth=0.4, label="predicted"))
    if np.any(column(findings, "ad_error") > 0):
        handles.append(Line2D([], [], color="#999999", linewidth=1.3, label="error of AD itself"))
    if np.any(np.isfinite(column(rows, "ad_vs_exact"))):
        handles.append(Line2D([], [], color="black", linewidth=1.0, linestyle="-.", label="error of the network"))
    return handles


def _median(rows: Sequence[Row], key: str) -> float | None:
    """Return the median of the positive numbers in a column, None if there are none."""
    values = positive(column(rows, key))
    return float(np.nanmedian(values)) if np.any(np.isfinite(values)) else None


def leading_ratio_figure(rows: Sequence[Row]) -> Figure:
    """Return one panel for each derivative: ρ = median(e_FD / leading term) against h, where truncation dominates.

    Within the grey band, 0.9 to 1.1, the leading term explains the error and its order may be read from a slope.
    """
    panels = Panels.of((str(row["term"]) for row in rows), height=1.7)
    for term, axes in panels.by_term.items():
        axes.axhspan(*_PLATEAU, color="#e4e4e4", zorder=0)
        axes.set(xscale="log", ylim=_RATIOS)
        drawn = [_ratio(axes, *key, curve) for key, curve in curves(rows, term).items()]
        if not any(drawn):
            nothing(axes, "rounding dominates at every step,\nor no leading term is known")
        axes.grid(True)
    panels.label_axes("step $h$", "$\\rho$ = error /\nleading term")
    band = Line2D([], [], color="#e4e4e4", linewidth=6, label="0.9 to 1.1")
    panels.legend([*scheme_handles(rows), band])
    return panels.figure


def _ratio(axes: Axes, scheme: str, dtype: str, rows: Sequence[Row]) -> bool:
    """Draw ρ of one curve; return whether there was anything to draw."""
    color, marker = scheme_look(scheme)
    steps, ratios = positive(column(rows, "step")), column(rows, "leading_ratio")
    told = (column(rows, "truncation") > column(rows, "rounding")) & (ratios > _RATIOS[0]) & (ratios < _RATIOS[1])
    steps, ratios = np.where(told, steps, np.nan), np.where(told, ratios, np.nan)
    face = color if dtype == "float64" else "white"
    width = _WIDTHS.get(scheme, 1.3)
    axes.plot(
        steps,
        ratios,
        color=color,
        linewidth=width,
        linestyle=dash(dtype),
        marker=marker,
        markersize=3,
        markerfacecolor=face,
        markevery=3,
        zorder=3 - width / 10,
    )
    return bool(np.any(np.isfinite(ratios) & np.isfinite(steps)))
