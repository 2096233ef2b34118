"""Activations with their derivatives, and signals in untrained networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pinnsolve.networks import Activation
from pinnsolve.networks.activation_properties import derivatives, measured_properties
from pinnsolve.networks.propagation import LayerSignal
from pinnsolve.report.figure_files import save_figure
from pinnsolve.report.legends import legend_below
from pinnsolve.report.style import OKABE_ITO, WIDTH, label, new_figure

_Dash = Literal["-", "--", "-.", ":"]
_ORDERS: tuple[tuple[str, str, _Dash], ...] = (
    (r"$\varphi$", OKABE_ITO["black"], "-"),
    (r"$\varphi'$", OKABE_ITO["blue"], "--"),
    (r"$\varphi''$", OKABE_ITO["vermilion"], "-."),
    (r"$\varphi'''$", OKABE_ITO["green"], ":"),
)
_REACH, _HEIGHT = 4.0, 2.2  # of the panels: beyond, φ is a line and its derivatives vanish
_MARKERS = "osD^v<>Pp*hX"


def save_activation_figure(chosen: Sequence[Activation], path: Path) -> None:
    """Write the figure of φ, φ', φ'', φ''' of each activation; errors as `save_figure`."""
    save_figure(lambda: activation_figure(chosen), path)


def save_propagation_figure(signals: Mapping[str, Sequence[LayerSignal]], path: Path) -> None:
    """Write the figure of signals by layer, one curve per activation; errors as `save_figure`."""
    save_figure(lambda: propagation_figure(signals), path)


def activation_figure(chosen: Sequence[Activation]) -> Figure:
    """Return one panel per activation with φ, φ', φ'', φ'''; arrows are Dirac impulses, where the order below jumps."""
    across = min(len(chosen), 3)
    down = -(-len(chosen) // across)
    figure = new_figure(WIDTH, 1.55 * down + 0.5)
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, phi in zip(panels, chosen, strict=False):
        _panel(axes, phi)
    for axes in panels[len(chosen) :]:
        axes.set_visible(False)
    for axes in panels[max(len(chosen) - across, 0) : len(chosen)]:
        axes.set_xlabel("$z$")
        axes.tick_params(labelbottom=True)
    handles = [Line2D([], [], color=color, linestyle=dash, label=symbol) for symbol, color, dash in _ORDERS]
    handles.append(Line2D([], [], color="#555555", marker=r"$\uparrow$", linestyle="", markersize=8, label="impulse"))
    legend_below(figure, handles)
    return figure


def _panel(axes: Axes, phi: Activation) -> None:
    found = measured_properties(phi)
    smoothness = r"\infty" if np.isinf(found.smoothness) else f"{found.smoothness:.0f}"
    axes.set_title(f"{label(phi.name)}, $C^{{{smoothness}}}$")
    z = np.concatenate([np.linspace(-_REACH, 0, 201)[:-1], [-1e-300, np.nan, 1e-300], np.linspace(0, _REACH, 201)[1:]])
    values = derivatives(phi, np.nan_to_num(z), len(_ORDERS) - 1)
    for order, (_, color, dash) in enumerate(_ORDERS):
        curve = np.where(np.isnan(z) & (found.jumps[order] != 0), np.nan, values[order])
        axes.plot(np.nan_to_num(z), curve, color=color, linestyle=dash, linewidth=1.2, zorder=4 - order)
        if found.jumps[order]:
            ends = derivatives(phi, np.array([-1e-300, 1e-300]), order)[order]
            axes.plot([0, 0], ends, "o", color=color, markerfacecolor="white", markersize=3, zorder=5)
        if order and found.jumps[order - 1]:
            _impulse(axes, found.jumps[order - 1], color)
    axes.set_xlim(-_REACH, _REACH)
    axes.set_ylim(-_HEIGHT, _HEIGHT)
    axes.set_yticks([-2, -1, 0, 1, 2])
    axes.grid(True)


def _impulse(axes: Axes, size: float, color: str) -> None:
    """Draw an impulse as an arrow from 0 as high as it is large, as far as it fits into the panel."""
    tip = float(np.clip(size, -_HEIGHT, _HEIGHT))
    arrow = {"arrowstyle": "-|>", "color": color, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 7}
    axes.annotate("", xy=(0, tip), xytext=(0, 0), arrowprops=arrow, zorder=6)


def propagation_figure(signals: Mapping[str, Sequence[LayerSignal]]) -> Figure:
    """Return variance of the values and size of input derivatives by layer; dotted: infinite width."""
    figure = new_figure(WIDTH, 2.8)
    left, right = figure.subplots(1, 2)
    left.set_ylabel("variance of the values")
    right.set_ylabel("RMS derivative by the input")
    for index, (name, layers) in enumerate(signals.items()):
        look = list(OKABE_ITO.values())[index % len(OKABE_ITO)], _MARKERS[index % len(_MARKERS)]
        wide = [layer.wide for layer in layers if layer.wide is not None]
        _signal(left, [layer.variance for layer in layers], [limit.variance for limit in wide], look, name)
        gains, limits = [layer.derivative_gain for layer in layers], [limit.derivative_gain for limit in wide]
        _signal(right, list(np.cumprod(gains)), list(np.cumprod(limits)), look, name)
    for axes in (left, right):
        axes.set(xlabel="layer", yscale="log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(True)
    legend_below(figure, left.get_legend_handles_labels()[0])
    return figure


def _signal(axes: Axes, measured: Sequence[float], limit: Sequence[float], look: tuple[str, str], name: str) -> None:
    color, marker = look
    layers = np.arange(len(measured) + 1)  # 0: the inputs, of variance 1
    axes.plot(layers, [1.0, *measured], color=color, marker=marker, markersize=4, label=label(name))
    if limit:
        axes.plot(layers, [1.0, *limit], linestyle=":", color=color)
