r"""How values and input derivatives pass through the layers of an untrained network.

    h_0 ~ N(0, 1),   z_l = W_l h_(l-1),   h_l = φ(z_l),   t_l = φ'(z_l) W_l t_(l-1)

measured in one network, beside what they tend to when the width grows: with W of variance s²/fan-in, z_l is
normal of variance q_l = s² E[h²], so that E[h_l^k] = E[φ(√q_l Z)^k] and E[t_l²] = s² E[φ'(√q_l Z)²] E[t_(l-1)²].
Source: Poole, Lahiri, Raghu, Sohl-Dickstein, Ganguli (2016), NeurIPS (s: σ_w; no biases).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Generator, Tensor

from pinnsolve.networks.activation_properties import derivatives, normal_mean
from pinnsolve.networks.activations import Activation
from pinnsolve.networks.initialization import INITIALIZATIONS, normal, resolved_initialization
from pinnsolve.networks.multilayer import MultilayerPerceptron

POINTS = 1024
FLAT = 1e-3  # of a slope or a curvature: below it a unit is constant, or straight


@dataclass(frozen=True)
class WideLimit:
    """What a layer tends to with growing width.

    Attributes:
        mean, variance: of the values.
        derivative_gain: √(E[t_l²] / E[t_(l-1)²]).
    """

    mean: float
    variance: float
    derivative_gain: float


@dataclass(frozen=True)
class LayerSignal:
    """One layer at initialisation, over all units and points.

    Attributes:
        layer: 1 for the first hidden layer.
        mean, variance: of the values h.
        gain: RMS of h over that of the layer before.
        derivative_gain: RMS of the derivative t along random directions of the input, over that of the layer before.
        dead_units: the share of units with |φ'| <= 1e-3 at every point.
        affine_units: the share of other units whose slopes φ' differ by at most 1e-3 between the points.
        straight: the share of pairs of unit and point with |φ''| <= 1e-3.
        wide: the limit of infinite width; None for siren, and where there are not as many inputs as units in a layer.
    """

    layer: int
    mean: float
    variance: float
    gain: float
    derivative_gain: float
    dead_units: float
    affine_units: float
    straight: float
    wide: WideLimit | None


def signal_propagation(
    phi: Activation,
    depth: int,
    width: int,
    *,
    inputs: int | None = None,
    initialization: str = "auto",
    seed: int = 0,
    points: int = POINTS,
) -> list[LayerSignal]:
    """Return the signal in each layer of an untrained perceptron whose inputs are standard normal.

    Args:
        phi: the activation.
        depth, width: hidden layers, and units in each of them.
        inputs: of the network; as many as units in a layer if None, the case that the wide limit is about.
        initialization: a setting of `network.initialization`.
        seed: of weights and inputs.
        points: number of random inputs.

    Raises:
        SettingsError: the initialisation is unknown, or not for this activation.
    """
    generator = Generator().manual_seed(seed)
    network = MultilayerPerceptron(inputs or width, [width] * depth, 1, phi, torch.float64)
    network.initialized(initialization, generator)
    values, tangents = (normal((points, network.inputs), generator) for _ in range(2))
    known = INITIALIZATIONS.get(resolved_initialization(initialization, phi)) if network.inputs == width else None
    limits = repeat(None) if known is None else _wide_limits(phi, width * known(width, width) ** 2)
    found = []
    with torch.no_grad():
        for index, layer in enumerate(network.layers):
            z = layer(values)  # (points, width)
            below, below_tangents = values, tangents
            values, slope, curvature = phi.derivatives(z, 2)
            tangents = slope * (below_tangents @ layer.weight.T)
            gains = _rms(values) / _rms(below), _rms(tangents) / _rms(below_tangents)
            found.append(_layer_signal(index + 1, values, gains, slope, curvature, next(limits)))
    return found


def _layer_signal(
    layer: int, values: Tensor, gains: tuple[float, float], slope: Tensor, curvature: Tensor, wide: WideLimit | None
) -> LayerSignal:
    dead = slope.abs().amax(0) <= FLAT
    affine = (slope.amax(0) - slope.amin(0) <= FLAT) & ~dead
    return LayerSignal(
        layer=layer,
        mean=float(values.mean()),
        variance=float(values.var(correction=0)),
        gain=gains[0],
        derivative_gain=gains[1],
        dead_units=float(dead.double().mean()),
        affine_units=float(affine.double().mean()),
        straight=float((curvature.abs() <= FLAT).double().mean()),
        wide=wide,
    )


def _wide_limits(phi: Activation, scale: float) -> Iterator[WideLimit]:
    """Yield the limit of layer after layer, with weights of variance scale / fan-in."""
    square = 1.0
    while True:
        deviation = math.sqrt(scale * square)
        mean, square, slope = _moments(phi, deviation)
        yield WideLimit(mean, square - mean**2, math.sqrt(scale * slope))


def _moments(phi: Activation, deviation: float) -> tuple[float, float, float]:
    """Return E[φ], E[φ²] and E[φ'²] at normal arguments of mean 0 and this standard deviation."""

    def mean(order: int, power: int) -> float:
        return normal_mean(lambda z: derivatives(phi, deviation * z, order)[order] ** power)

    return mean(0, 1), mean(0, 2), mean(1, 2)


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
