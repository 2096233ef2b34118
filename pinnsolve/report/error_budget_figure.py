"""What a derivative's error is made of, and what accuracy costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from pinnsolve.report.derivative_panels import MOST_PANELS, Panels, Row, column
from pinnsolve.report.legends import legend_below
from pinnsolve.report.style import (
    OKABE_ITO,
    WIDTH,
    label,
    log_limits,
    new_figure,
    nothing,
    positive,
    scheme_look,
    symbol,
)

SCHEME = "central2"  # the stencil that users know
SOURCES = {  # of error: colour and marker
    "network": (OKABE_ITO["black"], "D"),
    "truncation": (OKABE_ITO["blue"], "o"),
    "rounding": (OKABE_ITO["orange"], "s"),
    "kinks": (OKABE_ITO["vermilion"], "^"),
}
_AUTOMATIC = ("taylor", "autograd")
_UNIT_ROUNDOFF = 2.0**-53
_MANY_TICKS = 30.0  # ratio of the ends of an axis from which ticks at 1, 2 and 5 of each decade would overlap


def error_budget_figure(rows: Sequence[Row]) -> Figure | None:
    """Return the relative errors of every derivative by source, at the best step, one panel for each precision.

    None where no row is a best one of central2.
    """
    best = [row for row in rows if row.get("best") == 1 and row["scheme"] == SCHEME]
    terms = list(dict.fromkeys(str(row["term"]) for row in best))[: 2 * MOST_PANELS]
    dtypes = list(dict.fromkeys(str(row["dtype"]) for row in best))
    if not best:
        return None
    figure = new_figure(WIDTH, 0.27 * len(terms) + 1.8)
    panels = figure.subplots(1, len(dtypes), squeeze=False, sharey=True)[0]
    for axes, dtype in zip(panels, dtypes, strict=True):
        axes.set_title(label(dtype))
        _budget(axes, {str(row["term"]): row for row in best if row["dtype"] == dtype}, terms)
    panels[0].set_yticks(range(len(terms)), [symbol(term) for term in terms])
    panels[0].set_ylim(len(terms) - 0.5, -0.5)
    handles = _source_handles(error_sources(row) for row in best)
    legend_below(figure, handles)
    figure.suptitle(f"{SCHEME} at its best step", fontsize="medium")
    return figure


def error_sources(row: Row) -> dict[str, float]:
    r"""Return the relative errors that one row is made of, NaN where one is not known.

    Kinks have what the points whose stencils lie across one contribute to the RMS: with the share k of such points,
    e² = (1 - k) e_clean² + e_kinks². Where clean points are few, what the law leaves unexplained is theirs.
    """
    total, clean, share = (float(column([row], key)[0]) for key in ("fd_vs_ad", "fd_vs_ad_clean", "kink_fraction"))
    network, truncation, rounding = (float(column([row], key)[0]) for key in ("ad_vs_exact", "truncation", "rounding"))
    explained = (1 - share) * clean**2 if np.isfinite(clean) else truncation**2 + rounding**2
    kinks = np.sqrt(max(total**2 - explained, 0.0)) if share > 0 and np.isfinite(explained) else np.nan
    return {"network": network, "truncation": truncation, "rounding": rounding, "kinks": float(kinks)}


def _budget(axes: Axes, rows: Mapping[str, Row], terms: Sequence[str]) -> None:
    sources = {term: error_sources(row) for term, row in rows.items()}
    totals = {term: float(column([row], "fd_vs_ad")[0]) for term, row in rows.items()}
    every = np.array([value for found in sources.values() for value in found.values()] + list(totals.values()))
    limits = log_limits(every, decades=20)
    axes.set_xlabel("relative RMS error")
    if limits is None:
        nothing(axes, "no error above zero")
        return
    low, high = min(limits[0] / 4, limits[1] / 30), limits[1] * 4  # two decades at least
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(True)
    for place, term in enumerate(terms):
        if term in sources:
            axes.plot([low, float(positive(np.array(totals[term])))], [place, place], color="#bbbbbb", linewidth=5)
            for name, value in sources[term].items():
                color, marker = SOURCES[name]
                axes.plot(positive(np.array(value)), place, marker, color=color, markersize=5, zorder=3)


def _source_handles(found: Iterable[Mapping[str, float]]) -> list[Line2D]:
    """Return the legend's entries of the sources that some derivative has."""
    present = {name for sources in found for name, value in sources.items() if value > 0}
    looks = [(name, *SOURCES[name]) for name in SOURCES if name in present]
    handles = [Line2D([], [], color=color, marker=marker, linestyle="", label=name) for name, color, marker in looks]
    return [*handles, Line2D([], [], color="#bbbbbb", linewidth=5, label="FD − AD, measured")]


def cost_figure(findings: Sequence[Row], costs: Sequence[Row]) -> Figure | None:
    """Return one panel for each derivative: relative error against time per point, of AD, Taylor mode and FD at best.

    In float64. The dash-dotted line is the network's own error: to be better than that gains nothing.

    Args:
        findings: of metrics.json.
        costs: of the audit in metrics.json: term, method, microseconds.
    """
    double = [row for row in findings if row.get("dtype") == "float64"]
    known = {str(row["term"]) for row in double}
    terms = [term for term in dict.fromkeys(str(cost["term"]) for cost in costs) if term in known]
    if not terms:
        return None
    panels = Panels.of(terms, height=1.9)
    for term, axes in panels.by_term.items():
        own = {str(row["scheme"]): row for row in double if row["term"] == term}
        _costs(axes, own, [cost for cost in costs if cost["term"] == term])
    panels.label_axes("µs per point", "relative error")
    methods = dict.fromkeys(str(cost["method"]) for cost in costs)
    handles = [_method_handle(method) for method in methods]
    if np.any(column(double, "ad_vs_exact") > 0):
        handles.append(Line2D([], [], color="black", linewidth=1.0, linestyle="-.", label="error of the network"))
    panels.legend(handles)
    return panels.figure


def _costs(axes: Axes, findings: Mapping[str, Row], costs: Sequence[Row]) -> None:
    automatic = float(np.nanmax([*column(findings.values(), "ad_error"), _UNIT_ROUNDOFF]))
    axes.set(xscale="log", yscale="log")
    for cost in costs:
        method = str(cost["method"])
        color, marker = scheme_look(method)
        error = automatic if method in _AUTOMATIC else column([findings.get(method, {})], "fd_vs_ad")[0]
        place = positive(column([cost], "microseconds")), positive(np.array([error]))
        axes.plot(*place, marker, color=color, markersize=6, zorder=4 if method == "taylor" else 3)
    network = positive(column(findings.values(), "ad_vs_exact"))
    if np.any(np.isfinite(network)):
        axes.axhline(float(np.nanmedian(network)), color="black", linewidth=1.0, linestyle="-.")
    axes.margins(0.15)
    axes.set_xlim(*_roomy(axes.get_xlim()))
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < _MANY_TICKS * low else (1.0,), numticks=7))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(True)


def _roomy(limits: tuple[float, float]) -> tuple[float, float]:
    """Return limits of at least a decade, so that small differences of time look small."""
    room = max((10 * limits[0] / limits[1]) ** 0.5, 1.0)
    return limits[0] / room, limits[1] * room


def _method_handle(method: str) -> Line2D:
    color, marker = scheme_look(method)
    name = {"taylor": "Taylor mode", "autograd": "nested autograd"}.get(method, method.replace("_", "-"))
    return Line2D([], [], color=color, marker=marker, linestyle="", markersize=6, label=label(name))
