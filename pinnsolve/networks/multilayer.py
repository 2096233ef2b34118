"""The multilayer perceptron and the initialisations of its weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Generator, Tensor, nn

from pinnsolve.errors import SettingsError, unknown_name
from pinnsolve.networks.activations import Activation

# Standard deviation of a weight from fan-in and fan-out.
INITIALIZATIONS: dict[str, Callable[[int, int], float]] = {
    "glorot": lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out)),  # Glorot, Bengio (2010)
    "he": lambda fan_in, _: math.sqrt(2 / fan_in),  # He, Zhang, Ren, Sun (2015)
    "lecun": lambda fan_in, _: math.sqrt(1 / fan_in),  # LeCun, Bottou, Orr, Müller (1998)
}


class MultilayerPerceptron(nn.Module):
    """The network z ↦ W_L φ(W_(L-1) ... φ(W_1 z + b_1) ...) + b_L.

    Args:
        inputs: number of input features.
        outputs: number of outputs.
        width: units in each hidden layer.
        depth: hidden layers.
        activation: φ.
        initialization: "glorot", "he" or "lecun"; biases start at 0.
        generator: source of the random weights, on the CPU.
        dtype: of the weights.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int,
        depth: int,
        activation: Activation,
        initialization: str,
        generator: Generator,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        if initialization not in INITIALIZATIONS:
            raise SettingsError(unknown_name("initialization", initialization, INITIALIZATIONS))
        self.activation = activation
        widths = [inputs, *[width] * depth]
        deviation = INITIALIZATIONS[initialization]
        self.hidden = nn.ModuleList(
            _linear(fan_in, fan_out, deviation(fan_in, fan_out), generator, dtype)
            for fan_in, fan_out in pairwise(widths)
        )
        self.output = _linear(width, outputs, deviation(width, outputs), generator, dtype)

    def forward(self, inputs: Any) -> Any:
        """Return outputs (..., outputs) for inputs (..., inputs), a tensor or a truncated Taylor series."""
        return self.output(self.features(inputs))

    def features(self, inputs: Any) -> Any:
        """Return the last hidden layer's values (..., width)."""
        for layer in self.hidden:
            inputs = self.activation(layer(inputs))
        return inputs


def _linear(fan_in: int, fan_out: int, deviation: float, generator: Generator, dtype: torch.dtype) -> nn.Linear:
    """Return a linear layer with normal weights of this standard deviation and zero biases."""
    layer = nn.utils.skip_init(nn.Linear, fan_in, fan_out, dtype=dtype)
    weight: Tensor = torch.randn(fan_out, fan_in, generator=generator, dtype=torch.float64) * deviation
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.zero_()
    return layer
