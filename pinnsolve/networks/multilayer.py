"""The multilayer perceptron, the initialisations of its weights, and wide versions of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Generator, Tensor, nn

from pinnsolve.errors import SettingsError, unknown_name
from pinnsolve.networks.activations import Activation, activation

# Standard deviation of a weight from fan-in and fan-out.
INITIALIZATIONS: dict[str, Callable[[int, int], float]] = {
    "glorot": lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out)),  # Glorot, Bengio (2010)
    "he": lambda fan_in, _: math.sqrt(2 / fan_in),  # He, Zhang, Ren, Sun (2015)
    "lecun": lambda fan_in, _: math.sqrt(1 / fan_in),  # LeCun, Bottou, Orr, Müller (1998)
}


class MultilayerPerceptron(nn.Module):
    """The network z ↦ W_L φ(W_(L-1) ... φ(W_1 z + b_1) ...) + b_L, all zero until it is initialised.

    Args:
        inputs: number of input features.
        widths: units of each hidden layer, at least one layer.
        outputs: number of outputs.
        activation: φ.
        dtype: of the weights.
    """

    def __init__(
        self, inputs: int, widths: Sequence[int], outputs: int, activation: Activation, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.activation = activation
        self.hidden = nn.ModuleList(_zero_layer(a, b, dtype) for a, b in pairwise([inputs, *widths]))
        self.output = _zero_layer(widths[-1], outputs, dtype)

    def forward(self, inputs: Any) -> Any:
        """Return outputs (..., outputs) for inputs (..., inputs), a tensor or a truncated Taylor series."""
        return self.output(self.last_hidden(inputs))

    def last_hidden(self, inputs: Any) -> Any:
        """Return the last hidden layer's values (..., widths[-1])."""
        for layer in self.hidden:
            inputs = self.activation(layer(inputs))
        return inputs

    @property
    def layers(self) -> list[nn.Linear]:
        """The hidden layers, from the input on."""
        return [layer for layer in self.hidden if isinstance(layer, nn.Linear)]

    @property
    def inputs(self) -> int:
        """The number of input features."""
        return self.layers[0].in_features

    @property
    def widths(self) -> list[int]:
        """The units of each hidden layer."""
        return [layer.out_features for layer in self.layers]

    def reshaped(self, widths: Sequence[int], phi: Activation | None = None) -> MultilayerPerceptron:
        """Return a zero network with other hidden layers (and another activation), on the same device."""
        weight = self.output.weight
        network = MultilayerPerceptron(self.inputs, widths, len(weight), phi or self.activation, weight.dtype)
        return network.to(weight.device)

    def description(self) -> dict[str, Any]:
        """Return the plain values from which `described` makes a network of this shape."""
        return {"widths": self.widths, "activation": self.activation.name, "alpha": self.activation.alpha}

    def described(self, description: Mapping[str, Any]) -> MultilayerPerceptron:
        """Return a zero network of the described shape, with this network's inputs, outputs, dtype and device."""
        phi = activation(str(description["activation"]), float(description["alpha"]))
        return self.reshaped([int(width) for width in description["widths"]], phi)

    def initialized(self, initialization: str, generator: Generator) -> MultilayerPerceptron:
        """Draw normal weights of the standard deviation that the initialisation names; biases are 0; return self.

        Raises:
            SettingsError: the initialisation is unknown.
        """
        if initialization not in INITIALIZATIONS:
            raise SettingsError(unknown_name("initialization", initialization, INITIALIZATIONS))
        with torch.no_grad():
            for layer in [*self.layers, self.output]:
                fan_out, fan_in = layer.weight.shape
                noise = _normal((fan_out, fan_in), generator)
                layer.weight.copy_(noise * INITIALIZATIONS[initialization](fan_in, fan_out))
        return self


def random_features(
    network: MultilayerPerceptron, units: int, scales: Sequence[float], generator: Generator, phi: Activation
) -> MultilayerPerceptron:
    """Return a network of one hidden layer with random weights; its output layer is zero.

    Weights of input i are uniform in ±scales[i], biases uniform in ±max(scales).
    Source: Huang, Zhu, Siew (2006), Neurocomputing 70, 489-501 (extreme learning machine); for
    differential equations Dong, Li (2021), Comput. Methods Appl. Mech. Eng. 387, 114129.

    Args:
        network: gives inputs and outputs.
        units: width of the hidden layer.
        scales: one per input feature.
        generator: source of the weights, on the CPU.
        phi: the activation.
    """
    wide = network.reshaped([units], phi)
    bounds = torch.tensor(list(scales), dtype=torch.float64)
    with torch.no_grad():
        wide.layers[0].weight.copy_((2 * _uniform((units, wide.inputs), generator) - 1) * bounds)
        wide.layers[0].bias.copy_((2 * _uniform((units,), generator) - 1) * bounds.max())
    return wide


def widened(
    network: MultilayerPerceptron, units: int, spread: tuple[float, float], generator: Generator
) -> MultilayerPerceptron:
    """Return the same function with `units` more units in the last hidden layer.

    A new unit is a copy of one that is there, with Gaussian noise of a standard deviation drawn from
    spread[0] ... spread[1] times that of the layer's weights; its output weights are zero.
    """
    *widths, last = network.widths
    wide = network.reshaped([*widths, last + units])
    source = network.layers[-1]
    rows = torch.cat([source.weight, source.bias[:, None]], 1).detach().cpu().double()  # (last, in + 1)
    chosen = torch.randint(last, (units,), generator=generator)
    low, high = spread
    size = (low + (high - low) * _uniform((units, 1), generator)) * rows.std()
    copies = rows[chosen] + size * _normal((units, rows.shape[1]), generator)
    with torch.no_grad():
        for new, old in zip(wide.layers[:-1], network.layers[:-1], strict=True):
            new.load_state_dict(old.state_dict())
        wide.layers[-1].weight.copy_(torch.cat([rows[:, :-1], copies[:, :-1]]))
        wide.layers[-1].bias.copy_(torch.cat([rows[:, -1], copies[:, -1]]))
        wide.output.weight[:, :last] = network.output.weight
        wide.output.bias.copy_(network.output.bias)
    return wide


def _normal(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _uniform(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def _zero_layer(fan_in: int, fan_out: int, dtype: torch.dtype) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, fan_in, fan_out, dtype=dtype)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
