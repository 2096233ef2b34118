"""Legends below a figure, as wide as the figure."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure

_LETTER, _HANDLE = 0.068, 0.52  # inches, at 8.5 points: a letter; a line and the space around it


def legend_below(figure: Figure, handles: Sequence[Artist]) -> None:
    """Draw the legend below all panels, with as many entries beside each other as the figure is wide."""
    columns = legend_columns([str(handle.get_label()) for handle in handles], figure.get_figwidth())
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def legend_columns(names: Sequence[str], width: float) -> int:
    """Return how many columns of these names fit into a width in inches, filled one after the other.

    >>> legend_columns(["loss", "error"], 4.7), legend_columns(["a very long name of a method, indeed"] * 2, 4.7)
    (2, 1)
    """
    needed = [_LETTER * len(re.sub(r"[$\\{}_]", "", name)) + _HANDLE for name in names]
    for columns in range(len(names), 1, -1):
        rows, longer = divmod(len(names), columns)
        ends = np.cumsum([rows + (column < longer) for column in range(columns)])
        starts = [0, *ends[:-1]]
        if sum(max(needed[start:end]) for start, end in zip(starts, ends, strict=True)) <= width:
            return columns
    return 1
