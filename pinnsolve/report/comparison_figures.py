"""The figures of a comparison, drawn from its summary: errors, curves with bands, profiles, ranks, audit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter
from numpy.typing import NDArray

from pinnsolve.report.legends import legend_below, legend_columns
from pinnsolve.report.style import WIDTH, Array, label, log_limits, new_figure, nothing, positive

Summary = Mapping[str, Any]
# Okabe and Ito (2008); with more methods than colours, markers and dashes tell them apart: 7 and 8 are coprime
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
_AXES = {"seconds": "time / s", "evaluations": "residual evaluations"}
_ACROSS = 2  # panels in a row
_DECADES = 20.0
_FAILED = 10.0  # relative errors above say no more than that nothing is solved yet


def comparison_figures(summary: Summary) -> Iterator[tuple[str, Figure]]:
    """Yield every figure that the summary has numbers for, by name, in the order of the page."""
    groups = list(summary.get("groups") or [])
    if any(group["error"] and group["error"]["median"] is not None for group in groups):
        yield "errors", errors_figure(summary)
    for over in ("seconds", "evaluations"):
        if any(len(group["curves"][over]["moments"]) > 1 for group in groups):
            yield f"error_over_{over}", curves_figure(summary, over)
    if summary.get("profiles"):
        yield "profiles", profiles_figure(summary)
    if summary.get("ranks"):
        yield "ranks", ranks_figure(summary)
    if any(group["fd_error"] and group["error"] and group["error"]["median"] for group in groups):
        yield "audit", audit_figure(summary)


def errors_figure(summary: Summary) -> Figure:
    """Return the median error of each method on each problem, with its interval, on a logarithmic axis."""
    problems, methods = summary["problems"], summary["methods"]
    figure = new_figure(WIDTH, 0.9 + len(problems) * (0.16 * len(methods) + 0.16))
    axes = figure.subplots()
    for group in summary["groups"]:
        error = group["error"]
        if error is None or error["median"] is None:
            continue
        row = problems.index(group["problem"]) + _offset(methods.index(group["method"]), len(methods))
        color, marker, _ = _look(methods.index(group["method"]))
        high = error["high"] if error["high"] is not None else error["median"]
        axes.plot([max(error["low"], 1e-18), high], [row, row], color=color, linewidth=1.1)
        axes.plot([max(error["median"], 1e-18)], [row], marker=marker, color=color, markersize=4.5, linestyle="")
        if error["high"] is None:
            axes.annotate("▸", (high, row), color=color, va="center", fontsize=7)
    axes.set(xscale="log", xlabel="relative $L^2$ error: median and interval over seeds")
    axes.set_yticks(range(len(problems)), [label(problem) for problem in problems])
    axes.set_ylim(len(problems) - 0.5, -0.5)
    for row in range(1, len(problems)):
        axes.axhline(row - 0.5, color="#dddddd", linewidth=0.6)
    axes.grid(True, axis="x")
    _legend(figure, methods)
    return figure


def curves_figure(summary: Summary, over: str) -> Figure:
    """Return one panel per problem: median error over seconds or evaluations, the band from least to greatest."""
    problems, methods = summary["problems"], summary["methods"]
    across = min(len(problems), _ACROSS)
    down = -(-len(problems) // across)
    figure = new_figure(WIDTH, 1.9 * down + 0.2 * -(-len(methods) // legend_columns(methods, WIDTH)) + 0.3)
    panels = figure.subplots(down, across, squeeze=False)
    for axes, problem in zip(panels.ravel(), problems, strict=False):
        groups = [group for group in summary["groups"] if group["problem"] == problem]
        _curve_panel(axes, problem, groups, methods, over)
    for axes in panels.ravel()[len(problems) :]:
        axes.set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel("relative $L^2$ error")
    for column in range(across):
        panels.ravel()[max(range(column, len(problems), across))].set_xlabel(_AXES[over])
    _legend(figure, methods)
    return figure


def profiles_figure(summary: Summary) -> Figure:
    """Return Dolan-Moré profiles: the share of tasks that a method solves within τ times the least time."""
    profiles = summary["profiles"]
    figure = new_figure(WIDTH, 3.0)
    axes = figure.subplots()
    taus = np.array(profiles["tau"])
    end = max(float(taus[-1]) * 1.3, 2.0)
    for index, shares in enumerate(profiles["share"]):
        color, _, dashes = _look(index)
        axes.step([*taus, end], [*shares, shares[-1]], where="post", color=color, linestyle=dashes, linewidth=1.6)
    axes.set(xscale="log", xlim=(1, end), ylim=(-0.02, 1.02))
    axes.xaxis.set_major_formatter(LogFormatter())  # ratios as plain numbers
    axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
    axes.set_xlabel(f"τ: time to an error of {summary['target']:.0e}, relative to the fastest")
    axes.set_ylabel("share of tasks solved")
    axes.grid(True)
    _legend(figure, profiles["methods"])
    return figure


def ranks_figure(summary: Summary) -> Figure:
    """Return mean ranks with the distance from which two of them differ (Nemenyi, 5 %)."""
    ranks = summary["ranks"]
    order = np.argsort(ranks["mean_ranks"], kind="stable")
    figure = new_figure(WIDTH, 0.9 + 0.24 * len(order))
    axes = figure.subplots()
    half = ranks["critical_distance"] / 2
    for row, index in enumerate(order):
        color, marker, _ = _look(int(index))
        rank = ranks["mean_ranks"][index]
        axes.plot([rank - half, rank + half], [row, row], color=color, linewidth=2.2, alpha=0.45, solid_capstyle="butt")
        axes.plot([rank], [row], marker=marker, color=color, linestyle="", markersize=5)
    axes.set_yticks(range(len(order)), [label(ranks["methods"][index]) for index in order])
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.set_xlabel(f"mean rank over {ranks['blocks']} {ranks['over']}")
    axes.grid(True, axis="x")
    return figure


def audit_figure(summary: Summary) -> Figure:
    """Return the best finite difference of the worst derivative against the solution's own error."""
    methods = summary["methods"]
    figure = new_figure(WIDTH, 3.2)
    axes = figure.subplots()
    for group in summary["groups"]:
        error = group["error"]
        if error is None or not error["median"] or not group["fd_error"]:
            continue
        color, marker, _ = _look(methods.index(group["method"]))
        axes.plot([error["median"]], [group["fd_error"]], marker=marker, color=color, linestyle="", markersize=5)
    axes.set(xscale="log", yscale="log", xlabel="relative $L^2$ error", ylabel="FD − AD at the best step")
    axes.grid(True)
    _legend(figure, methods)
    return figure


def _curve_panel(
    axes: Axes, problem: str, groups: Sequence[Mapping[str, Any]], methods: Sequence[str], over: str
) -> None:
    axes.set_title(label(problem))
    found = [_column(group["curves"][over], key) for group in groups for key in ("median", "low", "high")]
    limits = log_limits(*found, decades=_DECADES) if found else None
    if limits is None:
        nothing(axes, "no error known")
        return
    if limits[0] < 1 < _FAILED < limits[1]:
        limits = limits[0], _FAILED
    for group in groups:
        color, marker, dashes = _look(methods.index(group["method"]))
        curve = group["curves"][over]
        moments, median, low, high = (positive(_column(curve, key)) for key in ("moments", "median", "low", "high"))
        top = np.where(_without_error(high) & np.isfinite(low), limits[1] * 10, high)
        axes.fill_between(moments, low, top, step="post", color=color, alpha=0.18, linewidth=0)
        axes.step(moments, median, where="post", color=color, linestyle=dashes)
        axes.plot(moments[-1:], median[-1:], marker=marker, color=color, markersize=3.5)
    axes.set(xscale="log", yscale="log")
    axes.set_ylim(limits[0] / 2, limits[1] * 2)
    axes.grid(True)


def _without_error(high: Array) -> NDArray[np.bool_]:
    """Return where a seed has no error, other than before the first one of each seed."""
    missing = ~np.isfinite(high)
    if missing.all():
        return missing
    return missing & (np.arange(len(high)) > np.argmin(missing))


def _legend(figure: Figure, methods: Sequence[str]) -> None:
    handles = []
    for index, method in enumerate(methods):
        color, marker, dashes = _look(index)
        handles.append(
            Line2D([], [], color=color, marker=marker, linestyle=dashes, markersize=4.5, label=label(method))
        )
    legend_below(figure, handles)


def _look(index: int) -> tuple[str, str, Any]:
    """Return the colour, marker and dashes of a method by its place in the list."""
    count = len(_COLORS)
    return _COLORS[index % count], _MARKERS[index % len(_MARKERS)], _DASHES[(index // count) % len(_DASHES)]


def _offset(index: int, count: int) -> float:
    return 0.0 if count == 1 else 0.7 * (index / (count - 1) - 0.5)


def _column(curve: Mapping[str, Any], key: str) -> Array:
    return np.array([np.nan if value is None else float(value) for value in curve[key]], dtype=np.float64)
