"""What training asks of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

from pinnsolve.networks.activations import Activation

if TYPE_CHECKING:
    from pinnsolve.networks.multilayer import MultilayerPerceptron


class Network(Protocol):
    """A torch module that maps features (..., inputs) to one number per field (..., outputs).

    It is made of trunks, perceptrons that share no parameter; what changes a network (random features,
    widening) is a function of one trunk. Every parameter belongs to an `nn.Linear` that a forward pass calls once.
    """

    @property
    def inputs(self) -> int:
        """The number of input features."""
        ...

    @property
    def widths(self) -> list[int]:
        """The units of each hidden layer, those of all trunks together."""
        ...

    @property
    def activation(self) -> Activation:
        """The activation φ."""
        ...

    @property
    def hidden(self) -> nn.Module:
        """All layers but those that `output` holds."""
        ...

    @property
    def output(self) -> nn.Module:
        """The linear layers that the outputs are affine in."""
        ...

    def __iter__(self) -> Iterator[MultilayerPerceptron]:
        """Yield the trunks, each for the outputs after those of the one before."""
        ...

    def with_trunks(self, change: Callable[[MultilayerPerceptron], MultilayerPerceptron]) -> Network:
        """Return a network of the changed trunks."""
        ...

    def description(self) -> dict[str, Any]:
        """Return the plain values from which `described` makes a network of this shape."""
        ...

    def described(self, description: Mapping[str, Any]) -> Network:
        """Return a zero network of the described shape, with this network's inputs, outputs, dtype and device."""
        ...

    def __call__(self, inputs: Any) -> Any:
        """Return outputs (..., outputs) for inputs (..., inputs), a tensor or a truncated Taylor series."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters, as `nn.Module` does."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the parameters by name, as `nn.Module` does."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Take over parameters by name, as `nn.Module` does."""
        ...
