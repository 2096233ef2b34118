from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate

from pinnsolve.errors import SettingsError
from pinnsolve.networks.activations import SELU_ALPHA, SELU_SCALE, activation, activation_names
from pinnsolve.networks.multilayer import INITIALIZATIONS, MultilayerPerceptron
from pinnsolve.networks.smoothness import smoothness_note

Z = torch.linspace(-4, 4, 201, dtype=torch.float64) + 0.01234  # no point on a kink
ROUNDOFF = 2.3e-16


@pytest.mark.parametrize("name", activation_names())
@pytest.mark.parametrize("alpha", [1.0, 0.7])
def test_closed_forms_agree_with_autograd(name, alpha):
    phi = activation(name, alpha)
    z = Z.clone().requires_grad_()
    value, closed = phi(z), phi.derivatives(Z, 6)
    for order in range(7):
        scale = closed[order].abs().max().clamp(min=1)
        # each order multiplies the terms of a closed form, whose coefficients grow like the factorial
        bound = 64 * ROUNDOFF * math.factorial(order + 1)
        assert (value.detach() - closed[order]).abs().max() <= bound * scale, (name, order)
        if order < 6 and value.requires_grad:
            (value,) = torch.autograd.grad(value.sum(), z, create_graph=True, materialize_grads=True)


@pytest.mark.parametrize("name", activation_names())
def test_stated_properties_hold(name):
    phi = activation(name)
    z = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
    value, slope = phi.derivatives(z, 1)
    assert value.min() >= phi.range[0] - 1e-12
    assert value.max() <= phi.range[1] + 1e-12
    assert slope.abs().max() == pytest.approx(phi.lipschitz, abs=1e-6)  # the grid is 1e-3 fine: error φ'''·1e-6/8
    jumps = [float((above - below).abs()) for above, below in zip(*_sides(phi, 3), strict=True)]
    first = next((order for order, jump in enumerate(jumps) if jump > 1e-6), math.inf)
    assert first - 1 == phi.smoothness


def _sides(phi, order):
    """Return φ and its derivatives just above and just below 0."""
    h = torch.tensor([1e-9, -1e-9], dtype=torch.float64)
    derivatives = torch.stack(phi.derivatives(h, order))
    return derivatives[:, 0], derivatives[:, 1]


def test_elu_is_right_for_large_arguments_of_both_signs():
    z = torch.tensor([800.0, -800.0], dtype=torch.float64, requires_grad=True)
    value = activation("elu")(z)
    (slope,) = torch.autograd.grad(value.sum(), z)
    assert value.tolist() == [800.0, -1.0]
    assert slope.tolist() == [1.0, 0.0]
    for derivative in activation("elu").derivatives(z.detach(), 4):
        assert torch.isfinite(derivative).all()


def test_softplus_has_no_jump_at_torchs_threshold():
    z = torch.tensor([20 - 1e-6, 20 + 1e-6], dtype=torch.float64)
    low, high = activation("softplus")(z)
    assert float(high - low) == pytest.approx(2e-6, rel=1e-6)  # torch's own would be off by 2e-9


def test_selu_keeps_mean_zero_and_variance_one():
    density = lambda z: math.exp(-z * z / 2) / math.sqrt(2 * math.pi)  # noqa: E731
    phi = lambda z: SELU_SCALE * (z if z > 0 else SELU_ALPHA * math.expm1(z))  # noqa: E731
    mean = integrate.quad(lambda z: phi(z) * density(z), -12, 12, points=[0], epsabs=1e-13)[0]
    square = integrate.quad(lambda z: phi(z) ** 2 * density(z), -12, 12, points=[0], epsabs=1e-13)[0]
    assert mean == pytest.approx(0, abs=1e-12)
    assert square == pytest.approx(1, abs=1e-12)


def test_unknown_names_and_values_are_refused():
    with pytest.raises(SettingsError, match="did you mean 'tanh'"):
        activation("tahn")
    with pytest.raises(SettingsError, match="alpha must be positive, got 0"):
        activation("elu", 0.0)


def _network(initialization, generator, width=400, depth=1):
    return MultilayerPerceptron(width, [width] * depth, width, activation("tanh"), torch.float64).initialized(
        initialization, generator
    )


@pytest.mark.parametrize("name", sorted(INITIALIZATIONS))
def test_initial_weights_have_the_stated_variance(name, generator):
    weight = _network(name, generator).hidden[0].weight
    expected = {"glorot": 2 / 800, "he": 2 / 400, "lecun": 1 / 400}[name]
    # the variance of 160,000 normal numbers has a relative standard deviation of √(2/160,000) = 0.35 %
    assert float(weight.detach().var()) == pytest.approx(expected, rel=5 * math.sqrt(2 / 160_000))


def test_the_same_seed_gives_the_same_network():
    weights = [_network("glorot", torch.Generator().manual_seed(7), 8).output.weight for _ in range(2)]
    assert torch.equal(*weights)


def test_the_network_is_the_composition_of_its_layers(generator):
    network = _network("glorot", generator, width=5, depth=2)
    x = np.linspace(-1, 1, 15).reshape(3, 5)
    hidden = x
    for layer in network.hidden:
        hidden = np.tanh(hidden @ layer.weight.detach().numpy().T + layer.bias.detach().numpy())
    expected = hidden @ network.output.weight.detach().numpy().T + network.output.bias.detach().numpy()
    assert network(torch.as_tensor(x)).detach().numpy() == pytest.approx(expected, rel=1e-13, abs=1e-15)


def test_rough_activations_are_refused_and_kinked_ones_named(problem_from):
    from .conftest import BURGERS

    problem = problem_from(BURGERS)
    assert smoothness_note(problem, activation("tanh")) == ""
    assert "misses the part of the loss gradient" in smoothness_note(problem, activation("elu"))
    for rough in (activation("relu"), activation("selu"), activation("elu", 0.5)):
        with pytest.raises(SettingsError, match=f"{rough.name} is C0.*--allow-rough"):
            smoothness_note(problem, rough)
        assert smoothness_note(problem, rough, allow_rough=True)
