r"""Activation functions with closed-form derivatives of every order.

Each activation has two independent routes to its values: torch's own function, which autograd
differentiates, and closed forms of φ, φ', φ'', ... for Taylor mode.

Smoothness decides what may be trained: a residual of order k is exact if φ is C^(k-1), and the
gradient of its square is exact if φ is C^k, since it differentiates φ^(k) once more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pinnsolve.errors import SettingsError, unknown_name
from pinnsolve.networks.closed_forms import (
    SIGMOID,
    TANH,
    Derivatives,
    linear_exponential,
    linear_pieces,
    mish_derivatives,
    normal_derivatives,
    sine_derivatives,
    softplus_derivatives,
    softsign_derivatives,
    times_z,
)

SELU_SCALE = 1.0507009873554805  # Klambauer et al. (2017): mean 0 and variance 1 are a fixed point
SELU_ALPHA = 1.6732632423543772
MOST_ALPHA = 1e100  # whose square is a number
LEAK = 0.01  # the slope of leaky_relu left of zero
ALIASES = {"sin": "sine", "swish": "silu"}


@dataclass(frozen=True)
class Activation:
    """A scalar function φ applied to every pre-activation.

    Attributes:
        name: as in settings.
        formula: φ(z) in words.
        value: φ, differentiable by autograd.
        derivatives: (z, k) to [φ(z), φ'(z), ..., φ^(k)(z)] in closed form.
        smoothness: the largest m with φ in C^m; infinity for smooth functions.
        source: where it was published.
        alpha: the parameter of elu and celu.
    """

    name: str
    formula: str
    value: Callable[[Tensor], Tensor]
    derivatives: Derivatives
    smoothness: float
    source: str
    alpha: float = 1.0

    def __call__(self, z: Any) -> Any:
        """Return φ(z) for a tensor, or the composition φ∘z for a truncated Taylor series z."""
        return z.compose(self.derivatives) if hasattr(z, "compose") else self.value(z)

    @property
    def exact_residual_order(self) -> float:
        """The highest order of a PDE whose residual is exact: smoothness + 1."""
        return self.smoothness + 1

    @property
    def exact_gradient_order(self) -> float:
        """The highest order of a PDE whose loss gradient is exact."""
        return self.smoothness


def activation(name: str, alpha: float = 1.0) -> Activation:
    """Return the activation of this name or alias; `alpha` is read by elu and celu alone.

    Raises:
        SettingsError: the name is unknown or alpha is not positive.
    """
    name = ALIASES.get(name, name)
    if name not in _REGISTRY:
        raise SettingsError(unknown_name("activation", name, [*_REGISTRY, *ALIASES]))
    if not 0 < alpha <= MOST_ALPHA:
        raise SettingsError(f"alpha must be positive, and {MOST_ALPHA:g} at most, got {alpha}")
    return _REGISTRY[name](alpha)


def activation_names() -> list[str]:
    """Return the names of all activations."""
    return sorted(_REGISTRY)


def _elu(alpha: float) -> Activation:
    return Activation(
        name="elu",
        formula="z for z > 0, alpha (exp z - 1) else",
        value=lambda z: functional.elu(z, alpha),
        derivatives=lambda z, k: linear_exponential(z, k, 1.0, alpha, 1.0),
        smoothness=1 if alpha == 1 else 0,
        source="Clevert, Unterthiner, Hochreiter (2016), ICLR",
        alpha=alpha,
    )


def _celu(alpha: float) -> Activation:
    return Activation(
        name="celu",
        formula="z for z > 0, alpha (exp(z/alpha) - 1) else",
        value=lambda z: alpha * functional.elu(z / alpha),  # torch's celu rounds 1/alpha to float32
        derivatives=lambda z, k: linear_exponential(z, k, 1.0, alpha, 1 / alpha),
        smoothness=1,
        source="Barron (2017), arXiv 1704.07483",
        alpha=alpha,
    )


def _selu(_: float) -> Activation:
    height = SELU_SCALE * SELU_ALPHA
    return Activation(
        name="selu",
        formula="1.0507 z for z > 0, 1.7581 (exp z - 1) else",
        value=functional.selu,
        derivatives=lambda z, k: linear_exponential(z, k, SELU_SCALE, height, 1.0),
        smoothness=0,
        source="Klambauer, Unterthiner, Mayr, Hochreiter (2017), NeurIPS",
    )


def _relu(_: float) -> Activation:
    return Activation(
        name="relu",
        formula="max(z, 0)",
        value=functional.relu,
        derivatives=lambda z, k: linear_pieces(z, k, 0.0),
        smoothness=0,
        source="Nair, Hinton (2010), ICML",
    )


def _tanh(_: float) -> Activation:
    return Activation(
        name="tanh",
        formula="tanh z",
        value=torch.tanh,
        derivatives=TANH,
        smoothness=math.inf,
        source="LeCun, Bottou, Orr, Müller (1998), Efficient BackProp",
    )


def _leaky_relu(_: float) -> Activation:
    return Activation(
        name="leaky_relu",
        formula=f"z for z > 0, {LEAK} z else",
        value=lambda z: functional.leaky_relu(z, LEAK),
        derivatives=lambda z, k: linear_pieces(z, k, LEAK),
        smoothness=0,
        source="Maas, Hannun, Ng (2013), ICML",
    )


def _sigmoid(_: float) -> Activation:
    return Activation(
        name="sigmoid",
        formula="1 / (1 + exp(-z))",
        value=torch.sigmoid,
        derivatives=SIGMOID,
        smoothness=math.inf,
        source="Cybenko (1989), Math. Control Signals Systems 2",
    )


def _silu(_: float) -> Activation:
    return Activation(
        name="silu",
        formula="z / (1 + exp(-z))",
        value=functional.silu,
        derivatives=lambda z, k: times_z(z, SIGMOID(z, k)),
        smoothness=math.inf,
        source="Elfwing, Uchibe, Doya (2018), Neural Networks 107",
    )


def _mish(_: float) -> Activation:
    return Activation(
        name="mish",
        formula="z tanh(log(1 + exp z))",
        value=lambda z: z * torch.tanh(-functional.logsigmoid(-z)),  # torch's mish has softplus' jump at 20
        derivatives=mish_derivatives,
        smoothness=math.inf,
        source="Misra (2020), BMVC",
    )


def _softsign(_: float) -> Activation:
    return Activation(
        name="softsign",
        formula="z / (1 + |z|)",
        value=functional.softsign,
        derivatives=softsign_derivatives,
        smoothness=1,
        source="Turian, Bergstra, Bengio (2009), NAACL HLT",
    )


def _softplus(_: float) -> Activation:
    return Activation(
        name="softplus",
        formula="log(1 + exp z)",
        value=lambda z: -functional.logsigmoid(-z),  # torch's softplus jumps by 2e-9 at its threshold
        derivatives=softplus_derivatives,
        smoothness=math.inf,
        source="Dugas, Bengio, Bélisle, Nadeau, Garcia (2001), NeurIPS",
    )


def _gelu(_: float) -> Activation:
    return Activation(
        name="gelu",
        formula="z Φ(z), Φ the normal distribution function",
        value=functional.gelu,
        derivatives=lambda z, k: times_z(z, normal_derivatives(z, k)),
        smoothness=math.inf,
        source="Hendrycks, Gimpel (2016), arXiv 1606.08415",
    )


def _sine(_: float) -> Activation:
    return Activation(
        name="sine",
        formula="sin z",
        value=torch.sin,
        derivatives=sine_derivatives,
        smoothness=math.inf,
        source="Sitzmann, Martel, Bergman, Lindell, Wetzstein (2020), NeurIPS",
    )


_REGISTRY: dict[str, Callable[[float], Activation]] = {
    "celu": _celu,
    "elu": _elu,
    "gelu": _gelu,
    "leaky_relu": _leaky_relu,
    "mish": _mish,
    "relu": _relu,
    "selu": _selu,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "sine": _sine,
    "softplus": _softplus,
    "softsign": _softsign,
    "tanh": _tanh,
}
