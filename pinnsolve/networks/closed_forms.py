r"""Closed forms of [φ(z), φ'(z), ..., φ^(k)(z)] for every order k, elementwise on tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from numpy.polynomial import Polynomial
from torch import Tensor
from torch.nn import functional

Derivatives = Callable[[Tensor, int], list[Tensor]]


def linear_exponential(z: Tensor, order: int, slope: float, height: float, rate: float) -> list[Tensor]:
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


def linear_pieces(z: Tensor, order: int, slope: float) -> list[Tensor]:
    """Return derivatives of z for z > 0 and slope·z for z <= 0."""
    sides = torch.where(z > 0, torch.ones_like(z), slope)
    return [z * sides, sides, *(torch.zeros_like(z) for _ in range(2, order + 1))][: order + 1]


@cache
def _autonomous_polynomials(slope: tuple[float, ...], order: int) -> tuple[tuple[float, ...], ...]:
    """Return polynomials P_k with y^(k) = P_k(y) for y' = slope(y): P_0 = y, P_(k+1) = P_k' · slope."""
    polynomials = [Polynomial([0.0, 1.0])]
    for _ in range(order):
        polynomials.append(polynomials[-1].deriv() * Polynomial(slope))
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


TANH = RiccatiDerivatives(_tanh_value, (1.0, 0.0, -1.0))
SIGMOID = RiccatiDerivatives(torch.sigmoid, (0.0, 1.0, -1.0))


def times_z(z: Tensor, factor: list[Tensor]) -> list[Tensor]:
    """Return derivatives of z·g(z) from those of g: (z g)^(k) = z g^(k) + k g^(k-1)."""
    return [z * factor[0], *((z * factor[k]).add_(factor[k - 1], alpha=k) for k in range(1, len(factor)))]


def softplus_derivatives(z: Tensor, order: int) -> list[Tensor]:
    """Return derivatives of log(1 + exp z), whose slope is the sigmoid."""
    return [-functional.logsigmoid(-z), *SIGMOID(z, max(order - 1, 0))][: order + 1]


def normal_derivatives(z: Tensor, order: int) -> list[Tensor]:
    """Return derivatives of the normal distribution function: Φ' is the density, Φ^(k+1) = -z Φ^(k) - (k-1) Φ^(k-1)."""
    result = [torch.erfc(z * -math.sqrt(0.5)).mul_(0.5)]
    if order:
        result.append((z * z).mul_(-0.5).exp_().mul_(1 / math.sqrt(2 * math.pi)))
    for k in range(1, order):
        result.append((result[k] * z).neg_().sub_(result[k - 1], alpha=k - 1))
    return result


@cache
def _mish_polynomials(order: int) -> tuple[tuple[float, ...], ...]:
    r"""Return R_1, ..., R_order with T^(k) = -q(1-q) R_k(q) / (1+q²)^(k+1) for T = tanh(softplus z), q = sigmoid(-z).

    T = (1-q²) / (1+q²),   q' = -q(1-q);   so for T^(k) = P_k / (1+q²)^(k+1), P_0 = 1-q²,
    P_k+1 = R_k+1 · q',   R_k+1 = P_k' (1+q²) - 2(k+1) q P_k
    """
    denominator, slope = Polynomial([1.0, 0.0, 1.0]), Polynomial([0.0, -1.0, 1.0])
    numerator, factors = Polynomial([1.0, 0.0, -1.0]), []
    for k in range(order):
        factors.append(numerator.deriv() * denominator - 2 * (k + 1) * Polynomial([0.0, 1.0]) * numerator)
        numerator = factors[-1] * slope
    return tuple(tuple(factor.coef.tolist()) for factor in factors)


def mish_derivatives(z: Tensor, order: int) -> list[Tensor]:
    """Return derivatives of z·tanh(softplus z)."""
    right, left = torch.sigmoid(z), torch.sigmoid(-z)  # left = 1 - right, without cancellation
    denominator = 1 + left * left
    factor = [right * (1 + left) / denominator]
    below = -left * right / denominator
    for polynomial in _mish_polynomials(order):
        below = below / denominator
        factor.append(_horner(polynomial, left).mul_(below))
    return times_z(z, factor)


def softsign_derivatives(z: Tensor, order: int) -> list[Tensor]:
    """Return derivatives of z / (1 + |z|), their mean at 0: φ^(k) = k! (-sign z)^(k+1) / (1 + |z|)^(k+1)."""
    sign, reciprocal = torch.sign(z), 1 / (1 + z.abs())
    result, power = [z * reciprocal], reciprocal
    for k in range(1, order + 1):
        power = power * reciprocal * k
        result.append(power if k % 2 else -sign * power)
    return result


def sine_derivatives(z: Tensor, order: int) -> list[Tensor]:
    """Return sin, cos, -sin, -cos, ... of z."""
    cycle = [torch.sin(z)]
    for k in range(1, min(order, 3) + 1):
        cycle.append(torch.cos(z) if k == 1 else -cycle[k - 2])
    return [cycle[k % 4] for k in range(order + 1)]
