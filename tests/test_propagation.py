from __future__ import annotations

import itertools
import math

import pytest
import torch

from pinnsolve.errors import SettingsError
from pinnsolve.networks.activation_properties import derivatives, normal_mean
from pinnsolve.networks.activations import activation
from pinnsolve.networks.initialization import normal
from pinnsolve.networks.multilayer import MultilayerPerceptron
from pinnsolve.networks.propagation import signal_propagation


def _moment(name: str, power: int, variance: float = 1.0) -> float:
    return normal_mean(lambda z: derivatives(activation(name), math.sqrt(variance) * z, 0)[0] ** power)


def test_selu_with_lecun_weights_holds_mean_zero_and_variance_one():
    width, depth, seeds = 256, 8, 4
    signals = [
        signal_propagation(activation("selu"), depth, width, initialization="lecun", seed=seed, points=64)
        for seed in range(seeds)
    ]
    # one layer: the mean of φ² over `width` units has the variance Var(φ²)/width, and passes on the factor
    # λ = d E[φ(√q Z)²]/dq of an error in q; points share the weights, so that they are counted as one
    contraction = (_moment("selu", 2, 1.01) - _moment("selu", 2, 0.99)) / 0.02
    deviation = math.sqrt((_moment("selu", 4) - 1) / width / (1 - contraction**2) / seeds)
    drift = (_moment("selu", 1, 1.01) - _moment("selu", 1, 0.99)) / 0.02
    mean_deviation = math.sqrt(1 / width / seeds) + abs(drift) * deviation
    assert 0 < contraction < 1
    for layers in zip(*signals, strict=True):
        mean, variance = (sum(getattr(layer, name) for layer in layers) / seeds for name in ("mean", "variance"))
        assert abs(mean) <= 5 * mean_deviation
        assert abs(variance - 1) <= 5 * deviation
        assert layers[0].wide.mean == pytest.approx(0, abs=1e-14)
        assert layers[0].wide.variance == pytest.approx(1, abs=1e-14)
    last = signal_propagation(activation("elu"), depth, width, initialization="lecun", points=64)[-1]
    assert abs(last.variance - 1) > 5 * deviation  # which others do not


@pytest.mark.parametrize(("name", "initialization"), [("relu", "he"), ("tanh", "glorot"), ("gelu", "lecun")])
def test_wide_networks_follow_their_limit(name, initialization):
    width = 1024
    signals = signal_propagation(activation(name), 3, width, initialization=initialization, points=32)
    for layer in signals:
        # relative deviations of means of squares over `width` units, √((E φ⁴/(E φ²)² - 1)/width) per layer
        ratio = _moment(name, 4) / _moment(name, 2) ** 2
        spread = 5 * math.sqrt(layer.layer * ratio / width)
        assert layer.variance == pytest.approx(layer.wide.variance, rel=spread)
        assert layer.derivative_gain == pytest.approx(layer.wide.derivative_gain, rel=spread)


def test_he_weights_keep_the_square_of_relu_in_the_limit():
    for layer in signal_propagation(activation("relu"), 4, 8, initialization="he", points=2):
        assert layer.wide.variance + layer.wide.mean**2 == pytest.approx(1, rel=1e-14)
        assert layer.wide.derivative_gain == pytest.approx(1, rel=1e-14)


@pytest.mark.parametrize("name", ["tanh", "sine", "elu"])
def test_derivative_gains_are_those_of_autograd(name):
    width, depth, points = 6, 3, 5
    signals = signal_propagation(activation(name), depth, width, inputs=2, seed=3, points=points)
    generator = torch.Generator().manual_seed(3)
    network = MultilayerPerceptron(2, [width] * depth, 1, activation(name), torch.float64)
    network.initialized("auto", generator)
    x, direction = normal((points, 2), generator), normal((points, 2), generator)
    values, tangent = torch.autograd.functional.jvp(network.last_hidden, x, direction)
    gain = math.prod(layer.gain for layer in signals)
    derivative_gain = math.prod(layer.derivative_gain for layer in signals)
    assert gain == pytest.approx(float(values.square().mean().sqrt() / x.square().mean().sqrt()), rel=1e-13)
    ratio = tangent.square().mean().sqrt() / direction.square().mean().sqrt()
    assert derivative_gain == pytest.approx(float(ratio), rel=1e-13)
    assert signals[-1].variance == pytest.approx(float(values.var(correction=0)), rel=1e-13)
    assert all(layer.wide is None for layer in signals)  # two inputs are not many


def test_units_that_see_one_sign_are_dead_or_affine():
    (one,) = signal_propagation(activation("relu"), 1, 512, points=1)
    assert one.dead_units + one.affine_units == 1
    (two,) = signal_propagation(activation("relu"), 1, 512, points=2)
    # both of two nearly orthogonal inputs on one side: 1/4 of the units, ± five binomial deviations
    # and the arcsine law asin(ρ)/2π of a correlation ρ of at most 5/√512
    bound = 5 * math.sqrt(3 / 16 / 512) + math.asin(5 / math.sqrt(512)) / (2 * math.pi)
    assert two.dead_units == pytest.approx(0.25, abs=bound)
    assert two.affine_units == pytest.approx(0.25, abs=bound)
    assert two.straight == 1


def test_tanh_has_no_dead_units_and_elu_is_straight_on_one_side():
    signals = [signal_propagation(activation(name), 1, 128, points=64)[0] for name in ("tanh", "elu")]
    assert [signal.dead_units for signal in signals] == [0, 0]
    assert signals[0].straight < 0.01
    # z > 0 for half of all pairs, and never z < log 1e-3; units are symmetric, so pairs are nearly independent
    assert signals[1].straight == pytest.approx(0.5, abs=5 * math.sqrt(0.25 / 128))


def test_other_activations_are_refused_for_siren():
    with pytest.raises(SettingsError, match="siren is for the activation sine, got 'tanh'"):
        signal_propagation(activation("tanh"), 2, 8, initialization="siren")


def test_the_same_seed_gives_the_same_signals():
    first, again, other = (signal_propagation(activation("gelu"), 2, 8, seed=seed, points=8) for seed in (1, 1, 2))
    assert first == again
    assert all(a != b for a, b in itertools.zip_longest(first, other))
