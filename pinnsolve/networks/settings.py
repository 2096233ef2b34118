"""Settings of the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

HARMONICS = 3  # of a periodic coordinate
MOST_HARMONICS = 100
SIREN_FREQUENCY = 4.0  # 30 is for images on [-1, 1]: of 1 ... 30, Poisson problems came out best with 2 and 4


def _checked_harmonics(value: Any) -> Any:
    counts = value.values() if isinstance(value, Mapping) else [value]
    if not all(type(count) is int and 1 <= count <= MOST_HARMONICS for count in counts):
        raise ValueError(f"harmonics are a whole number from 1 to {MOST_HARMONICS}, or such numbers by coordinate")
    return value


class NetworkSettings(BaseModel):
    """Which network stands in the ansatz.

    Attributes:
        kind: "mlp", the plain multilayer perceptron; "resnet", residual blocks of two layers; "gated", layers
            that mix two encodings of the inputs. The last hidden layer of each is plain.
        trunk: "shared", one network with an output per field; "separate", a network per field.
        width: units in each hidden layer.
        depth: hidden layers; a residual block counts as one.
        activation: a name of `pinnsolve activations`; "auto" is tanh for trained layers, and tanh or sine,
            whichever leaves the smaller held-out residual, for random ones.
        alpha: of elu and celu.
        initialization: "glorot", "he", "lecun", "siren"; "auto" is siren for the activation sine, else glorot.
        frequency: ω₀ of siren, the highest angular frequency of the first layer's sines per half interval.
        fourier: harmonics cos(kφ), sin(kφ) of periodic coordinates, k = 1 ... fourier: a number for all of
            them, or a table of numbers by name; those left out have 3.
        random_fourier: number of random Fourier features cos(b·x), sin(b·x) of the other coordinates.
        fourier_scale: standard deviation of the frequencies b, per half interval.
        singularities: give the network the functions in which solutions are smooth at corners, r^(π/ω) cos(πθ/ω) and
            sin(πθ/ω), around holes, and where initial and boundary data of a linear problem disagree.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["mlp", "resnet", "gated"] = "mlp"
    trunk: Literal["shared", "separate"] = "shared"
    width: Annotated[int, Field(ge=1, le=100_000)] = 20
    depth: Annotated[int, Field(ge=1, le=100)] = 3
    activation: str = "auto"
    alpha: Annotated[float, Field(gt=0)] = 1.0
    initialization: Literal["auto", "glorot", "he", "lecun", "siren"] = "auto"
    frequency: Annotated[float, Field(gt=0, le=1e4)] = SIREN_FREQUENCY
    fourier: Annotated[int | dict[str, int], BeforeValidator(_checked_harmonics)] = HARMONICS
    random_fourier: Annotated[int, Field(ge=0, le=10_000)] = 0
    fourier_scale: Annotated[float, Field(gt=0, le=1e4)] = 1.0
    singularities: bool = True

    @property
    def trained_activation(self) -> str:
        """The activation of trained layers."""
        return "tanh" if self.activation == "auto" else self.activation

    @property
    def feature_activations(self) -> list[str]:
        """The activations that random features may use."""
        return ["tanh", "sine"] if self.activation == "auto" else [self.activation]
