"""The look of all figures: sizes, colours that colour-blind readers can tell apart, labels, limits."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.style import context
from matplotlib.ticker import LogFormatterSciNotation, ScalarFormatter
from numpy.typing import NDArray

from pinnsolve.report.tables import plain

Array = NDArray[np.float64]
TEXT_WIDTH = 7.0  # inches: the width of a page's text, two columns of a journal
WIDTH = 4.7  # inches: reduced to one column of a journal, 8.5 cm, letters of 8.5 points are still 6 points high
RESOLUTION = 300  # dots per inch of the PNG files
SOLUTION_COLOR, REFERENCE_COLOR, ERROR_COLOR = "#0072B2", "#000000", "#D55E00"
OKABE_ITO = {  # Okabe, Ito (2008): colours that remain apart for colour-blind readers
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "green": "#009E73",
    "orange": "#E69F00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "black": "#000000",
}
# the same way of differentiating has the same colour and marker in every figure
SCHEMES: dict[str, tuple[str, str]] = {
    "forward": ("#D55E00", ">"),
    "backward": ("#E69F00", "<"),
    "one_sided": ("#CC79A7", "v"),
    "central2": ("#0072B2", "o"),
    "central4": ("#009E73", "s"),
    "central6": ("#56B4E9", "D"),
    "richardson": ("#000000", "^"),
    "coupled": ("#8C6D1F", "P"),
    "taylor": ("#333333", "p"),
    "autograd": ("#999999", "X"),
}
_SUPERSCRIPTS = str.maketrans("-−0123456789", "⁻⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_LEAST, _MOST = 1e-280, 1e280  # beyond these, axes would compute with 0 or infinity
_OTHER_SCHEME = ("#777777", "x")
_STYLE: dict[str, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "legend.fontsize": 8.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": True,
    "axes.formatter.limits": (-3, 4),
    "legend.frameon": False,
    "legend.columnspacing": 1.4,
    "legend.handlelength": 2.2,
    "image.cmap": "viridis",
    "figure.constrained_layout.use": True,
    "savefig.dpi": RESOLUTION,
    "savefig.facecolor": "white",
    "svg.hashsalt": "pinnsolve",
    "svg.fonttype": "path",
}
_GREEK = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "kappa", "lambda", "mu", "nu", "xi"),
    *("pi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega"),
)


@contextlib.contextmanager
def figure_style() -> Iterator[None]:
    """Draw in this project's style, whatever the user's own settings are, and leave them as they were."""
    with warnings.catch_warnings():
        # letters that the font does not have and panels too small for their labels must not stop a report
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        warnings.filterwarnings("ignore", message="constrained_layout not applied", category=UserWarning)
        with context(["default", _STYLE]):
            yield


class PlainPowers(LogFormatterSciNotation):
    """Writes the ticks of logarithmic axes as text, 10⁻³: mathematics takes most of the time of a figure to set."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        r"""Return the label of a tick, empty where there is none.

        >>> formatter = PlainPowers()
        >>> formatter.create_dummy_axis()
        >>> formatter(1e-3), formatter._plain(r"$\mathdefault{6\times10^{12}}$")
        ('10⁻³', '6×10¹²')
        """
        return self._plain(super().__call__(x, pos))

    def _plain(self, label: str) -> str:
        inner = label.replace(r"$\mathdefault{", "").removesuffix("}$").replace(r"\times", "×")
        return re.sub(r"\^\{(-?\d+)\}", lambda power: power[1].translate(_SUPERSCRIPTS), inner)


class PlainNumbers(ScalarFormatter):
    """Writes the ticks of linear axes as text, and the power of ten that they share as ×10⁻³."""

    def __init__(self) -> None:
        super().__init__(useMathText=False)

    def get_offset(self) -> str:
        """Return what the ticks are to be multiplied by, and what is to be added to them: 1e−6 as ×10⁻⁶."""
        offset = re.sub(
            r"e[+]?([-−]?\d+)", lambda power: f"×10{power[1].translate(_SUPERSCRIPTS)}", super().get_offset()
        )
        return offset.removeprefix("1") if offset.startswith("1×") else offset


def rendered(figure: Figure) -> dict[str, bytes]:
    """Return the figure as files, `png` and `svg`; each is drawn once, where `savefig` would draw it twice."""
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        if type(axis.get_major_formatter()) is LogFormatterSciNotation:
            axis.set_major_formatter(PlainPowers())
        if type(axis.get_major_formatter()) is ScalarFormatter:
            axis.set_major_formatter(PlainNumbers())
        if type(axis.get_minor_formatter()) is LogFormatterSciNotation:
            axis.set_minor_formatter(PlainPowers(minor_thresholds=(1, 0.4)))
    figure.set_dpi(RESOLUTION)
    png, svg = io.BytesIO(), io.BytesIO()
    FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
    figure.set_layout_engine("none")  # keeps the places found, which take a quarter of the time to find
    FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None})
    return {"png": png.getvalue(), "svg": svg.getvalue()}


def scheme_look(scheme: str) -> tuple[str, str]:
    """Return the colour and marker of a finite-difference scheme."""
    return SCHEMES.get(scheme, _OTHER_SCHEME)


def label(text: str) -> str:
    """Return text of the user as a label: no mathematics is read from it, and no control characters."""
    flat = plain(text)
    return (flat if len(flat) <= 40 else flat[:39] + "…").replace("\\", "\u2216").replace("$", r"\$")


def symbol(name: str) -> str:
    """Return a field, coordinate or derivative in mathematics: u_xx as u with subscript xx.

    >>> symbol("u_xx"), symbol("theta"), symbol("d(u, x1, x1)")
    ('$u_{xx}$', '$\\\\theta$', 'd(u, x1, x1)')
    """
    match = re.fullmatch(r"([A-Za-z]+)(\d*)(?:_([A-Za-z0-9]+))?", name)
    if not match or (len(match[1]) > 1 and match[1] not in _GREEK):
        return label(name)
    letter = f"\\{match[1]}" if match[1] in _GREEK else match[1]
    below = ",".join(part for part in (match[2], match[3]) if part)
    return f"${letter}_{{{below}}}$" if below else f"${letter}$"


def finite(values: Array) -> Array:
    """Return the values with NaN in place of what is not finite or too large for arithmetic on axes."""
    return np.where(np.abs(values) <= _MOST, values, np.nan)


def positive(values: Array) -> Array:
    """Return the values with NaN in place of what a logarithmic axis cannot show."""
    return np.where((values >= _LEAST) & (values <= _MOST), values, np.nan)


def absolute_error(values: Array, reference: Array) -> Array:
    """Return |values - reference|, NaN where either is not finite."""
    return np.abs(finite(values) - finite(reference))


def linear_limits(*arrays: Array) -> tuple[float, float]:
    """Return the least and greatest finite value, spread apart where they are (nearly) the same."""
    values = _known(finite, arrays)
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    size = max(abs(low), abs(high))
    if high - low < max(1e-9 * size, _LEAST):
        half = size / 10 if size > _LEAST else 0.5
        return (low + high) / 2 - half, (low + high) / 2 + half
    return low, high


def log_limits(*arrays: Array, decades: float = 16.0) -> tuple[float, float] | None:
    """Return limits around the positive values, at most so many decades; None if there are none."""
    values = _known(positive, arrays)
    if not values.size:
        return None
    high = float(values.max())
    low = max(float(values.min()), high * 10.0**-decades)
    return (low, high) if high > 1.01 * low else (low / 3, high * 3)


def curve_limits(values: Array) -> tuple[float, float] | None:
    """Return limits of a curve whose zeros are of no interest, as `log_limits` does; they cut dips off.

    A tenth of what one value in twenty is below, to the largest one.
    """
    known = _known(positive, [values])
    return log_limits(np.maximum(known, np.quantile(known, 0.05) / 10)) if known.size else None


def _known(kept: Callable[[Array], Array], arrays: Sequence[Array]) -> Array:
    values = np.concatenate([kept(np.asarray(array, np.float64)).ravel() for array in (*arrays, np.empty(0))])
    return values[~np.isnan(values)]


def log_axis(axes: Axes, limits: tuple[float, float] | None) -> None:
    """Make the vertical axis logarithmic with a little room, or say that there is nothing to show on it."""
    if limits is None:
        nothing(axes, "zero everywhere, or no number")
        return
    room = max((limits[1] / limits[0]) ** 0.06, 1.2)
    axes.set_yscale("log")
    axes.set_ylim(limits[0] / room, limits[1] * room)


def nothing(axes: Axes, reason: str) -> None:
    """Write into an empty panel why it is empty."""
    axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center", color="#555555")
    axes.set_xticks([])
    axes.set_yticks([])


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches; no window system and no global list of figures is involved."""
    return Figure(figsize=(width, height), layout="constrained")
