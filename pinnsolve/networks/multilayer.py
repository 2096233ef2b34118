"""The multilayer perceptron, plain, residual or gated, and wide versions of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from pinnsolve.networks.activations import Activation, activation
from pinnsolve.networks.initialization import (
    INITIALIZATIONS,
    draw_normal,
    draw_siren,
    normal,
    resolved_initialization,
    uniform,
)
from pinnsolve.networks.network import Network
from pinnsolve.networks.settings import SIREN_FREQUENCY
from pinnsolve.networks.wiring import wiring


class MultilayerPerceptron(nn.Module):
    """The network z ↦ W φ(V h(z) + c) + b, all zero until it is initialised; its kind says how h is wired.

    Args:
        inputs: number of input features.
        widths: units of each hidden layer (of both layers of a residual block), at least one layer.
        outputs: number of outputs.
        activation: φ.
        dtype: of the weights.
        kind: a name of `WIRINGS`.

    Raises:
        SettingsError: the kind is unknown, or not for these widths.
    """

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int],
        outputs: int,
        activation: Activation,
        dtype: torch.dtype,
        kind: str = "mlp",
    ) -> None:
        super().__init__()
        self.kind, self.inputs, self.widths, self.activation = kind, inputs, list(widths), activation
        self.hidden = nn.ModuleList(_zero_layer(a, b, dtype) for a, b in wiring(kind).shapes(inputs, widths))
        self.output = _zero_layer(widths[-1], outputs, dtype)

    def forward(self, inputs: Any) -> Any:
        """Return outputs (..., outputs) for inputs (..., inputs), a tensor or a truncated Taylor series."""
        return self.output(self.last_hidden(inputs))

    def last_hidden(self, inputs: Any) -> Any:
        """Return the last hidden layer's values (..., widths[-1])."""
        return wiring(self.kind).values(self.layers, self.activation, inputs)

    @property
    def layers(self) -> list[nn.Linear]:
        """The linear layers before the output layer, in the order of their wiring."""
        return [layer for layer in self.hidden if isinstance(layer, nn.Linear)]

    def __iter__(self) -> Iterator[MultilayerPerceptron]:
        yield self

    def with_trunks(self, change: Callable[[MultilayerPerceptron], MultilayerPerceptron]) -> MultilayerPerceptron:
        """Return this one trunk, changed."""
        return change(self)

    def reshaped(
        self, widths: Sequence[int], phi: Activation | None = None, kind: str | None = None
    ) -> MultilayerPerceptron:
        """Return a zero network with other hidden layers (another activation, another kind), on the same device."""
        weight = self.output.weight
        network = MultilayerPerceptron(
            self.inputs, widths, len(weight), phi or self.activation, weight.dtype, kind or self.kind
        )
        return network.to(weight.device)

    def description(self) -> dict[str, Any]:
        """Return the plain values from which `described` makes a network of this shape."""
        phi = self.activation
        return {"kind": self.kind, "widths": self.widths, "activation": phi.name, "alpha": phi.alpha}

    def described(self, description: Mapping[str, Any]) -> MultilayerPerceptron:
        """Return a zero network of the described shape, with this network's inputs, outputs, dtype and device."""
        phi = activation(str(description["activation"]), float(description["alpha"]))
        return self.reshaped([int(width) for width in description["widths"]], phi, str(description["kind"]))

    def initialized(
        self, initialization: str, generator: Generator, frequency: float = SIREN_FREQUENCY
    ) -> MultilayerPerceptron:
        """Draw the weights of a zero network; return it.

        Args:
            initialization: a name of `INITIALIZATIONS`, "siren" or "auto".
            generator: source of the weights, on the CPU.
            frequency: of "siren".

        Raises:
            SettingsError: the initialisation is unknown, or not for this activation.
        """
        name, layers = resolved_initialization(initialization, self.activation), [*self.layers, self.output]
        if name == "siren":
            draw_siren(layers, wiring(self.kind).readers, frequency, generator)
        else:
            draw_normal(layers, INITIALIZATIONS[name], generator)
        return self


def random_features(
    network: Network,
    units: int,
    scales: Sequence[float],
    generator: Generator,
    phi: Activation,
    sites: Sequence[Sequence[int]] = (),
) -> Network:
    """Return a network of one hidden layer with random weights, a layer per trunk; its output layer is zero.

    Weights of input i are uniform in ±scales[i], biases uniform in ±max(scales). The inputs of a site, a corner or
    a hole, are read by some units alone: half of all units read no site, the others one each.
    Source: Huang, Zhu, Siew (2006), Neurocomputing 70, 489-501 (extreme learning machine); for
    differential equations Dong, Li (2021), Comput. Methods Appl. Mech. Eng. 387, 114129.

    Args:
        network: gives inputs, outputs and trunks.
        units: width of each trunk's hidden layer.
        scales: one per input feature.
        generator: source of the weights, on the CPU.
        phi: the activation.
        sites: the inputs of each.
    """
    bounds = torch.tensor(list(scales), dtype=torch.float64)

    def drawn(trunk: MultilayerPerceptron) -> MultilayerPerceptron:
        wide = trunk.reshaped([units], phi, "mlp")
        with torch.no_grad():
            reach = bounds * _readings(units, wide.inputs, sites)
            wide.layers[0].weight.copy_((2 * uniform((units, wide.inputs), generator) - 1) * reach)
            wide.layers[0].bias.copy_((2 * uniform((units,), generator) - 1) * reach.amax(1))
        return wide

    return network.with_trunks(drawn)


def _readings(units: int, inputs: int, sites: Sequence[Sequence[int]]) -> Tensor:
    """Return which inputs each unit reads, (units, inputs), 1 or 0."""
    reads = torch.ones(units, inputs, dtype=torch.float64)
    for number, columns in enumerate(sites):
        reads[:, columns] = 0.0
        reads[1 + 2 * number :: 2 * len(sites), columns] = 1.0
    return reads


def widened(network: Network, units: int, spread: tuple[float, float], generator: Generator) -> Network:
    """Return the same function with `units` more units in the last hidden layer of each trunk.

    A new unit is a copy of one that is there, with Gaussian noise of a standard deviation drawn from
    spread[0] ... spread[1] times that of the layer's weights; its output weights are zero.
    """
    return network.with_trunks(lambda trunk: _widened(trunk, units, spread, generator))


def _widened(
    trunk: MultilayerPerceptron, units: int, spread: tuple[float, float], generator: Generator
) -> MultilayerPerceptron:
    *widths, last = trunk.widths
    wide = trunk.reshaped([*widths, last + units])
    source = trunk.layers[-1]
    rows = torch.cat([source.weight, source.bias[:, None]], 1).detach().cpu().double()  # (last, in + 1)
    chosen = torch.randint(last, (units,), generator=generator)
    low, high = spread
    size = (low + (high - low) * uniform((units, 1), generator)) * rows.std()
    copies = rows[chosen] + size * normal((units, rows.shape[1]), generator)
    with torch.no_grad():
        for new, old in zip(wide.layers[:-1], trunk.layers[:-1], strict=True):
            new.load_state_dict(old.state_dict())
        wide.layers[-1].weight.copy_(torch.cat([rows[:, :-1], copies[:, :-1]]))
        wide.layers[-1].bias.copy_(torch.cat([rows[:, -1], copies[:, -1]]))
        wide.output.weight[:, :last] = trunk.output.weight
        wide.output.bias.copy_(trunk.output.bias)
    return wide


def _zero_layer(fan_in: int, fan_out: int, dtype: torch.dtype) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, fan_in, fan_out, dtype=dtype)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
