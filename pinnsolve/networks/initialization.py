"""Initial weights of a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn

from pinnsolve.errors import SettingsError, unknown_name
from pinnsolve.networks.activations import Activation

# Standard deviation of a normal weight from fan-in and fan-out.
INITIALIZATIONS: dict[str, Callable[[int, int], float]] = {
    "glorot": lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out)),  # Glorot, Bengio (2010)
    "he": lambda fan_in, _: math.sqrt(2 / fan_in),  # He, Zhang, Ren, Sun (2015)
    "lecun": lambda fan_in, _: math.sqrt(1 / fan_in),  # LeCun, Bottou, Orr, Müller (1998)
}


def resolved_initialization(name: str, phi: Activation) -> str:
    """Return the initialisation that is meant: "auto" is "siren" for the sine activation, else "glorot".

    Raises:
        SettingsError: the name is unknown, or "siren" is asked for with another activation.
    """
    if name == "auto":
        return "siren" if phi.name == "sine" else "glorot"
    if name not in (*INITIALIZATIONS, "siren"):
        raise SettingsError(unknown_name("initialization", name, [*INITIALIZATIONS, "auto", "siren"]))
    if name == "siren" and phi.name != "sine":
        raise SettingsError(f"initialization siren is for the activation sine, got {phi.name!r}; use auto")
    return name


def draw_normal(layers: Sequence[nn.Linear], deviation: Callable[[int, int], float], generator: Generator) -> None:
    """Draw normal weights of the standard deviation that fan-in and fan-out give; biases stay."""
    with torch.no_grad():
        for layer in layers:
            fan_out, fan_in = layer.weight.shape
            layer.weight.copy_(normal((fan_out, fan_in), generator) * deviation(fan_in, fan_out))


def draw_siren(layers: Sequence[nn.Linear], readers: int, frequency: float, generator: Generator) -> None:
    r"""Draw the weights of a sine network, with the frequency ω folded into them, so that φ = sin itself.

        layers that see the inputs:   W ~ U(±ω/n),      b ~ U(±π)
        other hidden layers:          W ~ U(±√(6/n))    (±√(6/n)/ω, times ω)
        output layer:                 W ~ U(±√(6/n)/ω)

    A sine of a uniform phase has variance 1/2 whatever ω, and √(6/n) gives the next sum of n of them the
    variance 1. The authors' code draws b from U(±ω/√n), which is any phase too for their ω = 30.
    Source: Sitzmann, Martel, Bergman, Lindell, Wetzstein (2020), NeurIPS, section 3.2 (n: fan-in, ω: ω₀).

    Args:
        layers: in the order of evaluation, the output layer last; their biases are 0.
        readers: how many of them, the first ones, see the inputs.
        frequency: ω.
        generator: source of the weights, on the CPU.
    """
    with torch.no_grad():
        for index, layer in enumerate(layers):
            fan_out, fan_in = layer.weight.shape
            bound = frequency / fan_in if index < readers else math.sqrt(6 / fan_in)
            if index == len(layers) - 1:
                bound /= frequency
            layer.weight.copy_(bound * (2 * uniform((fan_out, fan_in), generator) - 1))
            if index < readers:
                layer.bias.copy_(math.pi * (2 * uniform((fan_out,), generator) - 1))


def normal(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Return standard normal numbers in float64."""
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def uniform(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Return numbers uniform in [0, 1) in float64."""
    return torch.rand(shape, generator=generator, dtype=torch.float64)
