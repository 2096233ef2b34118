"""What all figures of the derivative audit share: rows as columns, a panel for each derivative, how schemes look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pinnsolve.report.legends import legend_below
from pinnsolve.report.style import WIDTH, Array, label, new_figure, scheme_look, symbol

Row = Mapping[str, Any]
Dash = Literal["-", "--", ":"]
MOST_PANELS = 12  # of one figure
_DASHES: dict[str, Dash] = {"float64": "-", "float32": "--"}
_LEGEND_ROW = 0.2  # inches


@dataclass(frozen=True)
class Panels:
    """A figure with one panel per derivative, in rows of up to two.

    Attributes:
        figure: the figure.
        by_term: the panels by the derivative's name, the first 12 where there are more.
        across: how many panels a row has.
    """

    figure: Figure
    by_term: Mapping[str, Axes]
    across: int

    @classmethod
    def of(cls, terms: Iterable[str], height: float = 2.1, legend_rows: float = 2) -> Panels:
        """Return empty panels of this height, in inches, with room for a legend below them."""
        names = list(dict.fromkeys(terms))
        shown = names[:MOST_PANELS]
        across = min(len(shown), 2)
        down = -(-len(shown) // across)
        figure = new_figure(WIDTH, height * down + _LEGEND_ROW * (legend_rows + 1))
        grid = figure.subplots(down, across, squeeze=False)
        for axes, term in zip(grid.ravel(), shown, strict=False):
            axes.set_title(symbol(term))
        for axes in grid.ravel()[len(shown) :]:
            axes.remove()
        if len(names) > len(shown):
            figure.suptitle(f"the first {len(shown)} of {len(names)} derivatives", fontsize="small")
        by_term = dict(zip(shown, grid.ravel(), strict=False))
        return cls(figure, by_term, across)

    def label_axes(self, across: str, up: str) -> None:
        """Name the horizontal axis below each column, and the vertical one at the left."""
        panels = list(self.by_term.values())
        for first in range(self.across):  # the lowest panel that is there
            panels[max(range(first, len(panels), self.across))].set_xlabel(across)
        for axes in panels[:: self.across]:
            axes.set_ylabel(up)

    def legend(self, handles: Sequence[Line2D]) -> None:
        """Draw the legend below all panels."""
        legend_below(self.figure, handles)


def column(rows: Iterable[Row], key: str) -> Array:
    """Return one column of the rows, NaN where there is no number."""
    values = (row.get(key) for row in rows)
    return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)


def curves(rows: Sequence[Row], term: str) -> dict[tuple[str, str], list[Row]]:
    """Return the rows of one derivative by (scheme, dtype), with ascending steps."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["term"] == term:
            found.setdefault((str(row["scheme"]), str(row["dtype"])), []).append(row)
    return {key: sorted(curve, key=lambda row: float(row["step"])) for key, curve in found.items()}


def dash(dtype: str) -> Dash:
    """Return the line style of a precision."""
    return _DASHES.get(dtype, ":")


def scheme_handle(scheme: str) -> Line2D:
    """Return the legend's entry of a finite-difference scheme."""
    color, marker = scheme_look(scheme)
    return Line2D([], [], color=color, marker=marker, markersize=5, label=label(scheme.replace("_", "-")))


def scheme_handles(rows: Sequence[Row]) -> list[Line2D]:
    """Return the legend's entries of all schemes, and of the precisions."""
    handles = [scheme_handle(scheme) for scheme in dict.fromkeys(str(row["scheme"]) for row in rows)]
    for dtype in dict.fromkeys(str(row["dtype"]) for row in rows):
        handles.append(Line2D([], [], color="#555555", linestyle=dash(dtype), label=label(dtype)))
    return handles
