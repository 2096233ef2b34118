"""Figures that stand alone, in a file that the user names."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from pinnsolve.errors import InputError
from pinnsolve.report.style import figure_style
from pinnsolve.runs.atomic import write_atomically

_METADATA = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def save_figure(draw: Callable[[], Figure], path: Path) -> None:
    """Draw in the style of all figures and write the file; the ending says what kind it is.

    Raises:
        InputError: the ending is not .png, .svg or .pdf.
        ResourceError: the file cannot be written.
    """
    kind = path.suffix.lower()
    if kind not in _METADATA:
        raise InputError(f"a figure is a file .pdf, .png or .svg, got {str(path)[:80]!r}")
    buffer = io.BytesIO()
    with figure_style():
        draw().savefig(buffer, format=kind[1:], metadata=_METADATA[kind])
    write_atomically(path, buffer.getvalue())
