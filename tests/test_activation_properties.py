from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, special, stats

from pinnsolve.networks.activation_properties import derivatives, measured_properties, normal_mean
from pinnsolve.networks.activations import SELU_ALPHA, SELU_SCALE, activation, activation_names
from pinnsolve.networks.inverses import inverse

INFINITE = math.inf
ROOT_PI = math.sqrt(math.pi)
CASES = [(name, 1.0) for name in activation_names()] + [("elu", 0.7), ("celu", 0.7)]


@pytest.mark.parametrize(("name", "alpha"), CASES)
def test_the_measured_class_is_the_one_that_lint_relies_on(name, alpha):
    phi = activation(name, alpha)
    found = measured_properties(phi)
    assert found.smoothness == phi.smoothness
    assert (found.residual_order, found.gradient_order) == (phi.exact_residual_order, phi.exact_gradient_order)


@pytest.mark.parametrize(("name", "alpha"), CASES)
def test_away_from_zero_every_derivative_is_the_integral_of_the_next(name, alpha):
    phi = activation(name, alpha)
    edges = np.concatenate([np.arange(-12, 0, 0.25), [-1e-300, 1e-300], np.arange(0.25, 12.1, 0.25)])
    nodes, weights = np.polynomial.legendre.leggauss(16)
    half = np.diff(edges)[:, None] / 2
    inside = edges[:-1, None] + half * (1 + nodes)
    ends, between = derivatives(phi, edges, 5), derivatives(phi, inside.ravel(), 5).reshape(6, *inside.shape)
    across_zero = np.flatnonzero(edges == -1e-300)[0]
    for order in range(5):
        gaps = np.diff(ends[order]) - (between[order + 1] * half * weights).sum(1)
        scale = np.abs(ends[order]).max() + np.abs(between[order + 1]).max()
        # Gauss of 16 nodes on pieces of 1/4, all singularities at least 1 away: rounding alone is left, times
        # the coefficients of the closed forms, which grow like the factorial
        bound = 64 * 1.1e-16 * math.factorial(order + 2) * max(1.0, scale)
        assert np.abs(np.delete(gaps, across_zero)).max() <= bound, order
        assert gaps[across_zero] == pytest.approx(measured_properties(phi).jumps[order], abs=1e-12)


@pytest.mark.parametrize(
    ("name", "jumps"),
    [
        ("relu", (0, 1, 0, 0, 0)),
        ("leaky_relu", (0, 0.99, 0, 0, 0)),
        ("selu", (0, SELU_SCALE * (1 - SELU_ALPHA), *[-SELU_SCALE * SELU_ALPHA] * 3)),
        ("elu", (0, 0, -1, -1, -1)),
        ("softsign", (0, 0, -4, 0, -48)),
        ("tanh", (0, 0, 0, 0, 0)),
    ],
)
def test_jumps_at_zero_are_those_of_the_formulas(name, jumps):
    assert measured_properties(activation(name)).jumps == pytest.approx(jumps, abs=1e-15)


@pytest.mark.parametrize(
    ("name", "alpha", "bounds"),
    [
        ("elu", 1.0, (-1, INFINITE)),
        ("elu", 2.5, (-2.5, INFINITE)),
        ("celu", 0.7, (-0.7, INFINITE)),
        ("selu", 1.0, (-SELU_SCALE * SELU_ALPHA, INFINITE)),
        ("relu", 1.0, (0, INFINITE)),
        ("leaky_relu", 1.0, (-INFINITE, INFINITE)),
        ("softplus", 1.0, (0, INFINITE)),
        ("sigmoid", 1.0, (0, 1)),
        ("tanh", 1.0, (-1, 1)),
        ("softsign", 1.0, (-1, 1)),
        ("sine", 1.0, (-1, 1)),
    ],
)
def test_ranges_are_those_of_the_formulas(name, alpha, bounds):
    assert measured_properties(activation(name, alpha)).range == pytest.approx(bounds, abs=1e-15)


@pytest.mark.parametrize(
    ("name", "function", "bracket"),
    [
        ("gelu", lambda z: z * stats.norm.cdf(z), (-2, -0.75, 0)),
        ("silu", lambda z: z * special.expit(z), (-3, -1.3, 0)),
        ("mish", lambda z: z * np.tanh(np.logaddexp(0, z)), (-3, -1.2, 0)),
    ],
)
def test_least_values_agree_with_a_minimiser(name, function, bracket):
    least = optimize.minimize_scalar(function, bracket=bracket, tol=1e-10).fun
    assert measured_properties(activation(name)).range == pytest.approx((least, INFINITE), abs=1e-14)


def test_steepest_slopes_are_those_of_the_formulas():
    slopes = {name: measured_properties(activation(name)).lipschitz for name in activation_names()}
    ones = ("celu", "elu", "leaky_relu", "relu", "sine", "softplus", "softsign", "tanh")
    assert [slopes[name] for name in ones] == pytest.approx([1.0] * len(ones), abs=1e-15)
    assert slopes["sigmoid"] == 0.25
    assert slopes["selu"] == SELU_SCALE * SELU_ALPHA
    root = math.sqrt(2)  # GELU'' = (2 - z²) times the density
    assert slopes["gelu"] == pytest.approx(stats.norm.cdf(root) + root * stats.norm.pdf(root), rel=1e-15)
    for name, bracket in (("silu", (1, 2.4, 4)), ("mish", (0.5, 1.5, 3))):
        (steepest,) = [_steepest(name, bracket)]
        assert slopes[name] == pytest.approx(steepest, rel=1e-14)
    assert measured_properties(activation("elu", 2.5)).lipschitz == 2.5


def _steepest(name: str, bracket: tuple[float, float, float]) -> float:
    """Return the largest slope that autograd gives."""

    def slope(at: float) -> float:
        z = torch.tensor(at, dtype=torch.float64, requires_grad=True)
        return -float(torch.autograd.grad(activation(name)(z), z)[0])

    return -optimize.minimize_scalar(slope, bracket=bracket, tol=1e-10).fun


def test_monotone_activations_are_told_from_others():
    falling = {name for name in activation_names() if not measured_properties(activation(name)).monotone}
    assert falling == {"gelu", "mish", "silu", "sine"}


@pytest.mark.parametrize(("name", "alpha"), CASES)
def test_an_inverse_is_given_where_the_activation_is_strictly_monotone(name, alpha):
    phi = activation(name, alpha)
    found = measured_properties(phi)
    if name in ("gelu", "mish", "relu", "silu", "sine"):
        assert found.inverse is None
        assert found.inverse_error is None
        return
    least_slope = derivatives(phi, np.linspace(-5, 5, 1001), 1)[1].min()
    assert found.inverse
    # an error of 2 units in φ, of size max |φ| on [-5, 5], becomes that divided by the least slope
    assert found.inverse_error <= 8 * 2.2e-16 * np.abs(derivatives(phi, np.array([-5.0, 5.0]), 0)).max() / least_slope
    value = 0.4 * (derivatives(phi, np.array([2.0]), 0)[0, 0]) + 0.6 * derivatives(phi, np.array([-2.0]), 0)[0, 0]
    root = optimize.brentq(lambda z: derivatives(phi, np.array([z]), 0)[0, 0] - value, -2, 2, xtol=1e-14)
    assert inverse(name, alpha).value(np.array([value]))[0] == pytest.approx(root, abs=1e-13)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("relu", (1 / math.sqrt(2 * math.pi), 1 / 2, 1 / 2, 1 / 2)),
        ("sine", (0, (1 - math.exp(-2)) / 2, math.exp(-0.5), (1 + math.exp(-2)) / 2)),
        ("gelu", (1 / (2 * ROOT_PI), None, 1 / 2, None)),
        ("sigmoid", (1 / 2, None, None, None)),
        ("softplus", (None, None, 1 / 2, None)),
        ("selu", (0, 1, None, None)),
    ],
)
def test_moments_that_have_a_formula_are_met(name, known):
    moments = measured_properties(activation(name)).moments
    measured = (moments.mean, moments.square, moments.slope, moments.square_slope)
    for value, expected in zip(measured, known, strict=True):
        assert expected is None or value == pytest.approx(expected, abs=1e-14)


def test_moments_that_are_quoted_everywhere_are_met():
    elu, tanh, selu = (measured_properties(activation(name)).moments for name in ("elu", "tanh", "selu"))
    assert [round(x, 4) for x in (elu.mean, elu.square, elu.slope, elu.square_slope)] == [
        0.1605,
        0.6449,
        0.7616,
        0.6681,
    ]
    assert round(tanh.square_slope, 4) == 0.4644
    assert round(selu.square_slope, 4) == 1.0716


@pytest.mark.parametrize("name", activation_names())
def test_moments_agree_with_adaptive_quadrature_of_torchs_own_function(name):
    z = torch.zeros((), dtype=torch.float64)
    phi = activation(name)
    moments = measured_properties(phi).moments

    def value(at: float) -> float:
        return float(phi(z + at)) * stats.norm._pdf(at)

    def square(at: float) -> float:
        return float(phi(z + at)) ** 2 * stats.norm._pdf(at)

    def moved(at: float) -> float:  # Stein: E[φ'] = E[Z φ]
        return float(phi(z + at)) * at * stats.norm._pdf(at)

    for function, expected in ((value, moments.mean), (square, moments.square), (moved, moments.slope)):
        sides = [integrate.quad(function, *ends, epsabs=1e-12, epsrel=1e-12)[0] for ends in ((-12, 0), (0, 12))]
        assert sum(sides) == pytest.approx(expected, abs=1e-11)
    assert moments.quadrature_error < 1e-14


def test_the_gain_keeps_the_size_of_values():
    gain = measured_properties(activation("tanh")).gain
    # z' = Σ w φ(z) with E[w²] = gain²/n has E[z'²] = gain² E[φ²]
    assert gain**2 * normal_mean(lambda z: np.tanh(z) ** 2) == pytest.approx(1, rel=1e-14)
    assert measured_properties(activation("relu")).gain == pytest.approx(math.sqrt(2), rel=1e-15)
    assert measured_properties(activation("selu")).slope_growth == pytest.approx(1.0716, abs=5e-5)
