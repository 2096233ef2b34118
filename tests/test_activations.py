from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate

from pinnsolve.errors import SettingsError
from pinnsolve.networks.activations import SELU_ALPHA, SELU_SCALE, activation, activation_names
from pinnsolve.networks.multilayer import INITIALIZATIONS, MultilayerPerceptron

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
def test_no_value_slope_or_derivative_overflows_at_large_arguments(name):
    z = torch.tensor([800.0, -800.0, 0.0], dtype=torch.float64, requires_grad=True)
    phi = activation(name)
    value = phi(z)
    (slope,) = torch.autograd.grad(value.sum(), z, create_graph=True)
    assert torch.isfinite(value).all()
    assert torch.isfinite(slope).all()
    for derivative in phi.derivatives(z.detach(), 6):
        assert torch.isfinite(derivative).all()


@pytest.mark.parametrize("name", activation_names())
def test_single_precision_stays_single_and_near_double(name):
    phi = activation(name)
    single, double = phi.derivatives(Z.float(), 4), phi.derivatives(Z.float().double(), 4)
    for order, (low, high) in enumerate(zip(single, double, strict=True)):
        assert low.dtype == torch.float32
        bound = 64 * 1.2e-7 * math.factorial(order + 1) * max(1.0, float(high.abs().max()))
        assert (low.double() - high).abs().max() <= bound, order


def test_where_alone_would_give_no_gradient_at_large_arguments():
    z = torch.tensor([800.0], dtype=torch.float64, requires_grad=True)
    (trapped,) = torch.autograd.grad(torch.where(z > 0, z, torch.expm1(z)).sum(), z)
    (slope,) = torch.autograd.grad(activation("elu")(z).sum(), z)
    assert torch.isnan(trapped).all()  # 0 · exp(800), the branch that was not taken
    assert slope.item() == 1


def test_the_larger_of_both_branches_is_no_elu():
    z = torch.tensor([0.5, 2.0], dtype=torch.float64)
    wrong = torch.maximum(z, torch.expm1(z))
    assert (wrong > activation("elu")(z)).all()
    assert torch.equal(activation("elu")(z), z)


@pytest.mark.parametrize(("alias", "name"), [("swish", "silu"), ("sin", "sine")])
def test_aliases_are_the_same_activation(alias, name):
    assert activation(alias).name == name


def test_elu_is_right_for_large_arguments_of_both_signs():
    z = torch.tensor([800.0, -800.0], dtype=torch.float64, requires_grad=True)
    value = activation("elu")(z)
    (slope,) = torch.autograd.grad(value.sum(), z)
    assert value.tolist() == [800.0, -1.0]
    assert slope.tolist() == [1.0, 0.0]
    for derivative in activation("elu").derivatives(z.detach(), 4):
        assert torch.isfinite(derivative).all()


@pytest.mark.parametrize(("name", "slope"), [("softplus", 1.0), ("mish", 1.0)])
def test_there_is_no_jump_at_torchs_threshold(name, slope):
    h = 2.0**-20
    low, high = activation(name)(torch.tensor([20 - h, 20 + h], dtype=torch.float64))
    # φ(20) is rounded to 2 units of 3.6e-15, which the difference quotient divides by 2h; φ' is 1 to exp(-20)·20
    assert float(high - low) / (2 * h) == pytest.approx(slope, abs=4 * 3.6e-15 / (2 * h) + 5e-8)
    torchs = torch.nn.functional.softplus(torch.tensor([20 - h, 20 + h], dtype=torch.float64))
    assert abs(float(torchs.diff()) / (2 * h) - 1) > 1e-3  # a jump of 2e-9


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
    with pytest.raises(SettingsError, match=r"alpha must be positive, .* got 0"):
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
