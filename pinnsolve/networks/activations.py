r"""Activation functions with closed-form derivatives of every order, and what is known of them.

Each activation has two independent routes to its values: torch's own function, which autograd
differentiates, and closed forms of φ, φ', φ'', ... for Taylor mode.

Smoothness decides what may be trained: a residual of order k is exact if φ is C^(k-1), and the
gradient of its square is exact if φ is C^k, since it differentiates φ^(k) once more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pinnsolve.errors import SettingsError, unknown_name

SELU_SCALE = 1.0507009873554805  # Klambauer et al. (2017): mean 0 and variance 1 are a fixed point
SELU_ALPHA = 1.6732632423543772
Derivatives = Callable[[Tensor, int], list[Tensor]]


@dataclass(frozen=True)
class Activation:
    """A scalar function φ applied to every pre-activation.

    Attributes:
        name: as in settings.
        formula: φ(z) in words.
        value: φ, differentiable by autograd.
        derivatives: (z, k) to [φ(z), φ'(z), ..., φ^(k)(z)] in closed form.
        smoothness: the largest m with φ in C^m; infinity for smooth functions.
        lipschitz: sup |φ'|.
        range: (inf φ, sup φ).
        source: where it was published.
        alpha: the parameter of elu and celu.
    """

    name: str
    formula: str
    value: Callable[[Tensor], Tensor]
    derivatives: Derivatives
    smoothness: float
    lipschitz: float
    range: tuple[float, float]
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
    """Return the activation of this name; `alpha` is read by elu and celu alone.

    Raises:
        SettingsError: the name is unknown or alpha is not positive.
    """
    if name not in _REGISTRY:
        raise SettingsError(unknown_name("activation", name, _REGISTRY))
    if not 0 < alpha < math.inf:
        raise SettingsError(f"alpha must be positive, got {alpha}")
    return _REGISTRY[name](alpha)


def activation_names() -> list[str]:
    """Return the names of all activations."""
    return sorted(_REGISTRY)


def _piecewise_linear_exponential(z: Tensor, order: int, slope: float, height: float, rate: float) -> list[Tensor]:
    """Return derivatives of slope·z for z > 0 and height·(exp(rate·z) - 1) for z <= 0.

    The exponential sees only min(z, 0), so that neither branch can overflow.
    """
    positive = z > 0
    exponential = torch.exp(rate * z.clamp(max=0))
    zero = torch.zeros_like(z)
    result = [torch.where(positive, slope * z, height * torch.expm1(rate * z.clamp(max=0)))]
    for k in range(1, order + 1):
        right = zero + slope if k == 1 else zero
        result.append(torch.where(positive, right, height * rate**k * exponential))
    return result


def _elu(alpha: float) -> Activation:
    return Activation(
        name="elu",
        formula="z for z > 0, alpha (exp z - 1) else",
        value=lambda z: functional.elu(z, alpha),
        derivatives=lambda z, k: _piecewise_linear_exponential(z, k, 1.0, alpha, 1.0),
        smoothness=1 if alpha == 1 else 0,
        lipschitz=max(1.0, alpha),
        range=(-alpha, math.inf),
        source="Clevert, Unterthiner, Hochreiter (2016), ICLR",
        alpha=alpha,
    )


def _celu(alpha: float) -> Activation:
    return Activation(
        name="celu",
        formula="z for z > 0, alpha (exp(z/alpha) - 1) else",
        value=lambda z: alpha * functional.elu(z / alpha),  # torch's celu rounds 1/alpha to float32
        derivatives=lambda z, k: _piecewise_linear_exponential(z, k, 1.0, alpha, 1 / alpha),
        smoothness=1,
        lipschitz=1.0,
        range=(-alpha, math.inf),
        source="Barron (2017), arXiv 1704.07483",
        alpha=alpha,
    )


def _selu(_: float) -> Activation:
    height = SELU_SCALE * SELU_ALPHA
    return Activation(
        name="selu",
        formula="1.0507 z for z > 0, 1.7581 (exp z - 1) else",
        value=functional.selu,
        derivatives=lambda z, k: _piecewise_linear_exponential(z, k, SELU_SCALE, height, 1.0),
        smoothness=0,
        lipschitz=height,
        range=(-height, math.inf),
        source="Klambauer, Unterthiner, Mayr, Hochreiter (2017), NeurIPS",
    )


def _relu_derivatives(z: Tensor, order: int) -> list[Tensor]:
    slope = (z > 0).to(z.dtype)
    return [z.clamp(min=0), slope, *(torch.zeros_like(z) for _ in range(2, order + 1))][: order + 1]


def _relu(_: float) -> Activation:
    return Activation(
        name="relu",
        formula="max(z, 0)",
        value=functional.relu,
        derivatives=_relu_derivatives,
        smoothness=0,
        lipschitz=1.0,
        range=(0.0, math.inf),
        source="Nair, Hinton (2010), ICML",
    )


@cache
def _autonomous_polynomials(slope: tuple[float, ...], order: int) -> tuple[tuple[float, ...], ...]:
    """Return polynomials P_k with y^(k) = P_k(y) for y' = slope(y): P_0 = y, P_(k+1) = P_k' · slope."""
    polynomials = [np.polynomial.Polynomial([0.0, 1.0])]
    for _ in range(order):
        polynomials.append(polynomials[-1].deriv() * np.polynomial.Polynomial(slope))
    return tuple(tuple(polynomial.coef.tolist()) for polynomial in polynomials)


def _horner(coefficients: tuple[float, ...], y: Tensor) -> Tensor:
    result = torch.full_like(y, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = result.mul_(y) if coefficient == 0 else result.mul_(y).add_(coefficient)
    return result


@dataclass(frozen=True)
class RiccatiDerivatives:
    """The derivatives of a φ with φ' = a + bφ + cφ²: all of them are polynomials of φ, which Taylor mode makes use of.

    Attributes:
        value: φ.
        riccati: (a, b, c).
    """

    value: Callable[[Tensor], Tensor]
    riccati: tuple[float, float, float]

    def __call__(self, z: Tensor, order: int) -> list[Tensor]:
        """Return [φ(z), φ'(z), ..., φ^(order)(z)]."""
        y = self.value(z)
        return [y, *(_horner(polynomial, y) for polynomial in _autonomous_polynomials(self.riccati, order)[1:])]


def _tanh_value(z: Tensor) -> Tensor:
    """Return (e^2z - 1) / (e^2z + 1), right to three units in the last place, in half the time of torch.tanh."""
    minus_one = z.clamp(max=40).mul_(2).expm1_()  # e^80 rounds the quotient to 1 and does not overflow
    return minus_one.div_(minus_one + 2)


def _tanh(_: float) -> Activation:
    return Activation(
        name="tanh",
        formula="tanh z",
        value=torch.tanh,
        derivatives=RiccatiDerivatives(_tanh_value, (1.0, 0.0, -1.0)),
        smoothness=math.inf,
        lipschitz=1.0,
        range=(-1.0, 1.0),
        source="LeCun, Bottou, Orr, Müller (1998), Efficient BackProp",
    )


_SIGMOID_DERIVATIVES = RiccatiDerivatives(torch.sigmoid, (0.0, 1.0, -1.0))


def _sigmoid(_: float) -> Activation:
    return Activation(
        name="sigmoid",
        formula="1 / (1 + exp(-z))",
        value=torch.sigmoid,
        derivatives=_SIGMOID_DERIVATIVES,
        smoothness=math.inf,
        lipschitz=0.25,
        range=(0.0, 1.0),
        source="Cybenko (1989), Math. Control Signals Systems 2",
    )


def _times_z(z: Tensor, factor: list[Tensor]) -> list[Tensor]:
    """Return derivatives of z·g(z) from those of g: (z g)^(k) = z g^(k) + k g^(k-1)."""
    return [z * factor[0], *((z * factor[k]).add_(factor[k - 1], alpha=k) for k in range(1, len(factor)))]


def _silu(_: float) -> Activation:
    return Activation(
        name="silu",
        formula="z / (1 + exp(-z))",
        value=functional.silu,
        derivatives=lambda z, k: _times_z(z, _SIGMOID_DERIVATIVES(z, k)),
        smoothness=math.inf,
        lipschitz=1.0998393194777463,
        range=(-0.2784645427610738, math.inf),
        source="Elfwing, Uchibe, Doya (2018), Neural Networks 107",
    )


def _softplus(_: float) -> Activation:
    return Activation(
        name="softplus",
        formula="log(1 + exp z)",
        value=lambda z: -functional.logsigmoid(-z),  # torch's softplus jumps by 2e-9 at its threshold
        derivatives=lambda z, k: [-functional.logsigmoid(-z), *_SIGMOID_DERIVATIVES(z, max(k - 1, 0))][: k + 1],
        smoothness=math.inf,
        lipschitz=1.0,
        range=(0.0, math.inf),
        source="Dugas, Bengio, Bélisle, Nadeau, Garcia (2001), NeurIPS",
    )


def _normal_derivatives(z: Tensor, order: int) -> list[Tensor]:
    """Return derivatives of the normal distribution function: Φ' is the density, Φ^(k+1) = -z Φ^(k) - (k-1) Φ^(k-1)."""
    result = [torch.erfc(z * -math.sqrt(0.5)).mul_(0.5)]
    if order:
        result.append((z * z).mul_(-0.5).exp_().mul_(1 / math.sqrt(2 * math.pi)))
    for k in range(1, order):
        result.append((result[k] * z).neg_().sub_(result[k - 1], alpha=k - 1))
    return result


def _gelu(_: float) -> Activation:
    return Activation(
        name="gelu",
        formula="z Φ(z), Φ the normal distribution function",
        value=functional.gelu,
        derivatives=lambda z, k: _times_z(z, _normal_derivatives(z, k)),
        smoothness=math.inf,
        lipschitz=1.128904145,
        range=(-0.16997120747990369, math.inf),
        source="Hendrycks, Gimpel (2016), arXiv 1606.08415",
    )


def _sine_derivatives(z: Tensor, order: int) -> list[Tensor]:
    cycle = [torch.sin(z)]
    for k in range(1, min(order, 3) + 1):
        cycle.append(torch.cos(z) if k == 1 else -cycle[k - 2])
    return [cycle[k % 4] for k in range(order + 1)]


def _sine(_: float) -> Activation:
    return Activation(
        name="sine",
        formula="sin z",
        value=torch.sin,
        derivatives=_sine_derivatives,
        smoothness=math.inf,
        lipschitz=1.0,
        range=(-1.0, 1.0),
        source="Sitzmann, Martel, Bergman, Lindell, Wetzstein (2020), NeurIPS",
    )


_REGISTRY: dict[str, Callable[[float], Activation]] = {
    "celu": _celu,
    "elu": _elu,
    "gelu": _gelu,
    "relu": _relu,
    "selu": _selu,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "sine": _sine,
    "softplus": _softplus,
    "tanh": _tanh,
}
