"""Settings of the network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class NetworkSettings(BaseModel):
    """Which network stands in the ansatz.

    Attributes:
        kind: the architecture; "mlp" is the multilayer perceptron.
        width: units in each hidden layer.
        depth: hidden layers.
        activation: a name of `pinnsolve activations`; "auto" is tanh for trained layers, and tanh or sine,
            whichever leaves the smaller held-out residual, for random ones.
        alpha: of elu and celu.
        initialization: "glorot", "he" or "lecun".
        fourier: harmonics cos(kφ), sin(kφ) of each periodic coordinate, k = 1 ... fourier.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["mlp"] = "mlp"
    width: Annotated[int, Field(ge=1, le=100_000)] = 20
    depth: Annotated[int, Field(ge=1, le=100)] = 3
    activation: str = "auto"
    alpha: Annotated[float, Field(gt=0)] = 1.0
    initialization: Literal["glorot", "he", "lecun"] = "glorot"
    fourier: Annotated[int, Field(ge=1, le=100)] = 3

    @property
    def trained_activation(self) -> str:
        """The activation of trained layers."""
        return "tanh" if self.activation == "auto" else self.activation

    @property
    def feature_activations(self) -> list[str]:
        """The activations that random features may use."""
        return ["tanh", "sine"] if self.activation == "auto" else [self.activation]
