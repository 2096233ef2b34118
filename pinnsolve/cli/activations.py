"""`activations`: what the activations are like, and what they make of signals in an untrained network."""

from __future__ import annotations

import json as json_text
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinnsolve.cli.terminal import say, show_table
from pinnsolve.errors import InputError

if TYPE_CHECKING:
    from pinnsolve.networks import Activation
    from pinnsolve.networks.activation_properties import Properties
    from pinnsolve.networks.propagation import LayerSignal

_MOST_UNITS = 4096
_SYMBOLS = ("φ", "φ'", "φ''", "φ'''", "φ''''")


@dataclass(frozen=True)
class NetworkRequest:
    """Which untrained network to send signals through, as the user wrote it."""

    text: str
    inputs: int | None
    initialization: str
    seed: int

    @property
    def shape(self) -> tuple[int, int]:
        """Depth and width.

        Raises:
            InputError: the text is not DEPTHxWIDTH, or the network is too large to be looked at.
        """
        match = re.fullmatch(r"(\d{1,4})[x×](\d{1,4})", self.text)
        if not match or not (1 <= int(match[1]) <= _MOST_UNITS and 1 <= int(match[2]) <= _MOST_UNITS):
            raise InputError(
                f"a network is DEPTHxWIDTH with 1 to {_MOST_UNITS} each, e.g. 8x64; got {self.text[:40]!r}"
            )
        return int(match[1]), int(match[2])


def activations_command(names: str | None, alpha: float, figure: Path | None, json: bool) -> None:
    """Print the measured properties of activations, and draw them."""
    from pinnsolve.networks.activation_properties import measured_properties

    chosen = _chosen(names, alpha)
    measured = [measured_properties(phi) for phi in chosen]
    if json:
        say(json_text.dumps([_without_infinity(_record(found)) for found in measured], indent=1, allow_nan=False))
    else:
        _print_properties(measured)
    if figure is not None:
        from pinnsolve.report.activation_figure import save_activation_figure

        save_activation_figure(chosen, figure)
        say(f"figure: {figure}", stderr=json)


def propagation_command(
    request: NetworkRequest, names: str | None, alpha: float, figure: Path | None, json: bool
) -> None:
    """Print what an untrained network makes of signals, for tanh unless told otherwise."""
    from pinnsolve.networks.propagation import signal_propagation

    depth, width = request.shape
    found = {
        phi.name: signal_propagation(
            phi, depth, width, inputs=request.inputs, initialization=request.initialization, seed=request.seed
        )
        for phi in _chosen(names or "tanh", alpha)
    }
    if json:
        records = {name: [asdict(signal) for signal in signals] for name, signals in found.items()}
        say(json_text.dumps(records, indent=1, allow_nan=False))
    else:
        for name, signals in found.items():
            _print_signals(name, request, signals)
    if figure is not None:
        from pinnsolve.report.activation_figure import save_propagation_figure

        save_propagation_figure(found, figure)
        say(f"figure: {figure}", stderr=json)


def _chosen(names: str | None, alpha: float) -> list[Activation]:
    from pinnsolve.networks import activation, activation_names

    wanted = activation_names() if names is None else [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise InputError("--activation takes names separated by commas, got none")
    return [activation(name, alpha) for name in wanted]


def _record(found: Properties) -> dict[str, Any]:
    return {
        **asdict(found),
        "gain": found.gain,
        "slope_growth": found.slope_growth,
        "exact_residual_order": found.residual_order,
        "exact_gradient_order": found.gradient_order,
    }


def _without_infinity(value: Any) -> Any:
    """Return the record with None in place of infinity, for which JSON has no word."""
    if isinstance(value, Mapping):
        return {key: _without_infinity(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_infinity(item) for item in value]
    return None if isinstance(value, float) and math.isinf(value) else value


def _print_properties(measured: Sequence[Properties]) -> None:
    columns = ("name", "formula", "inverse", "class", "range", "Lipschitz", "monotone", "residual to", "gradient to")
    show_table(columns, [_shape_row(found) for found in measured])
    say("residual to, gradient to: highest order of a PDE whose residual, or loss gradient, is exact")
    say()
    jumps = [f"[{symbol}]" for symbol in _SYMBOLS]
    moments = ("E φ", "E φ²", "E φ'", "E φ'²", "gain", "slope growth")
    show_table(("under N(0, 1)", *moments, *jumps), [_moment_row(found) for found in measured])
    say("gain: of weights with variance gain²/fan-in that keeps E φ²; slope growth: of squared derivatives, per layer")
    say("[φ]: jump at 0, above minus below")


def _shape_row(found: Properties) -> tuple[str, ...]:
    low, high = found.range
    return (
        found.name,
        found.formula,
        found.inverse or "-",
        f"C{_order(found.smoothness, '∞')}",
        f"({low:.4g}, {high:.4g})",
        f"{found.lipschitz:.6g}",
        "yes" if found.monotone else "no",
        _order(found.residual_order),
        _order(found.gradient_order),
    )


def _moment_row(found: Properties) -> tuple[str, ...]:
    means = (found.moments.mean, found.moments.square, found.moments.slope, found.moments.square_slope)
    numbers = (*means, found.gain, found.slope_growth)
    return (found.name, *(f"{value + 0.0:.4f}" for value in numbers), *(f"{jump:.4g}" for jump in found.jumps))


def _order(value: float, infinite: str = "any") -> str:
    return infinite if math.isinf(value) else f"{value:.0f}"


def _print_signals(name: str, request: NetworkRequest, signals: Sequence[LayerSignal]) -> None:
    say(
        f"{name}, {request.text}, initialization {request.initialization}, seed {request.seed}; "
        "in brackets: infinite width"
    )
    columns = ("layer", "mean", "variance", "gain", "derivative gain", "dead units", "affine units", "straight")
    show_table(columns, [_signal_row(signal) for signal in signals])
    say("straight: share of units and points with φ'' = 0, where the network sees a straight line")


def _signal_row(signal: LayerSignal) -> tuple[str, ...]:
    wide = signal.wide
    limits = (
        ("", "", "")
        if wide is None
        else (f" ({wide.mean + 0.0:.3f})", f" ({wide.variance:.3f})", f" ({wide.derivative_gain:.3f})")
    )
    return (
        str(signal.layer),
        f"{signal.mean:.3f}{limits[0]}",
        f"{signal.variance:.3f}{limits[1]}",
        f"{signal.gain:.3f}",
        f"{signal.derivative_gain:.3f}{limits[2]}",
        *(f"{share:.1%}" for share in (signal.dead_units, signal.affine_units, signal.straight)),
    )
