"""One trunk for all fields, or one trunk per field."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Generator, nn

from pinnsolve.networks.activations import Activation, activation
from pinnsolve.networks.multilayer import MultilayerPerceptron
from pinnsolve.networks.network import Network
from pinnsolve.networks.settings import NetworkSettings


class SeparateTrunks(nn.Module):
    """Perceptrons on the same inputs that share no parameter, their outputs side by side.

    The value of one field depends on one trunk alone, also after random features, widening and least squares:
    `output` holds the trunks' output layers one after the other, not a layer that mixes them.

    Args:
        trunks: at least one, of the same inputs, widths, kind and activation.
    """

    def __init__(self, trunks: Sequence[MultilayerPerceptron]) -> None:
        super().__init__()
        self.trunks = nn.ModuleList(trunks)

    def forward(self, inputs: Any) -> Any:
        """Return outputs (..., outputs) for inputs (..., inputs), a tensor or a truncated Taylor series."""
        return torch.cat([trunk(inputs) for trunk in self], -1)

    def __iter__(self) -> Iterator[MultilayerPerceptron]:
        return (trunk for trunk in self.trunks if isinstance(trunk, MultilayerPerceptron))

    @property
    def inputs(self) -> int:
        """The number of input features."""
        return self._first.inputs

    @property
    def widths(self) -> list[int]:
        """The units of each hidden layer, those of all trunks together."""
        return [sum(units) for units in zip(*(trunk.widths for trunk in self), strict=True)]

    @property
    def activation(self) -> Activation:
        """The activation of every trunk."""
        return self._first.activation

    @property
    def hidden(self) -> nn.ModuleList:
        """The hidden layers of every trunk."""
        return nn.ModuleList(trunk.hidden for trunk in self)

    @property
    def output(self) -> nn.ModuleList:
        """The output layers of every trunk."""
        return nn.ModuleList(trunk.output for trunk in self)

    def with_trunks(self, change: Callable[[MultilayerPerceptron], MultilayerPerceptron]) -> SeparateTrunks:
        """Return a network of the changed trunks."""
        return SeparateTrunks([change(trunk) for trunk in self])

    def description(self) -> dict[str, Any]:
        """Return the plain values from which `described` makes a network of this shape."""
        return self._first.description()

    def described(self, description: Mapping[str, Any]) -> SeparateTrunks:
        """Return a zero network of the described shape, with this network's inputs, outputs, dtype and device."""
        return self.with_trunks(lambda trunk: trunk.described(description))

    @property
    def _first(self) -> MultilayerPerceptron:
        return next(iter(self))


Perceptron = Callable[[int], MultilayerPerceptron]  # number of outputs to a perceptron with weights drawn

TRUNKS: dict[str, Callable[[Perceptron, int], Network]] = {
    "shared": lambda perceptron, outputs: perceptron(outputs),
    "separate": lambda perceptron, outputs: SeparateTrunks([perceptron(1) for _ in range(outputs)]),
}


def build_network(
    settings: NetworkSettings, inputs: int, outputs: int, dtype: torch.dtype, generator: Generator
) -> Network:
    """Return the network that the settings name, its weights drawn, on the CPU.

    Raises:
        SettingsError: the settings do not fit together.
    """
    phi = activation(settings.trained_activation, settings.alpha)
    widths = [settings.width] * settings.depth

    def perceptron(count: int) -> MultilayerPerceptron:
        network = MultilayerPerceptron(inputs, widths, count, phi, dtype, settings.kind)
        return network.initialized(settings.initialization, generator, settings.frequency)

    return TRUNKS[settings.trunk](perceptron, outputs)
