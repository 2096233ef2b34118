"""Richardson extrapolation against the exact derivative, scipy.differentiate and findiff."""

from __future__ import annotations

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.differentiate import derivative as scipy_derivative

from pinnsolve.derivatives import taylor
from pinnsolve.derivatives.richardson import richardson
from pinnsolve.derivatives.stencils import family
from pinnsolve.errors import SettingsError
from pinnsolve.networks.activations import activation
from pinnsolve.networks.multilayer import MultilayerPerceptron
from pinnsolve.problems import Partial

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    findiff = pytest.importorskip("findiff")

ROUNDOFF = 2.0**-53
CASES = {
    "sin": (torch.sin, np.sin, lambda x, d: np.sin(x + d * np.pi / 2)),
    "exp": (torch.exp, np.exp, lambda x, d: np.exp(x)),
    "tanh": (torch.tanh, np.tanh, lambda x, d: {1: 1 - np.tanh(x) ** 2, 2: 2 * np.tanh(x) ** 3 - 2 * np.tanh(x)}[d]),
}
POINTS = np.linspace(-1, 1, 21)


def extrapolated(function, order, step=0.25, ends=(-4.0, 4.0), points=POINTS, **options):
    """Return the derivative and its estimated error at points of one coordinate, as arrays."""
    partial = Partial("u", (order,))
    periodic = options.pop("periodic", False)
    maker = richardson([step], [ends[0]], [ends[1]], [periodic], **options)
    places = torch.as_tensor(points)[:, None]
    values, errors = maker.with_errors(lambda nodes: {"u": function(nodes[..., 0])}, places, [partial])
    return values[partial].numpy(), errors[partial].numpy()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("order", [1, 2])
def test_the_estimated_error_covers_the_true_one_and_both_are_small(name, order):
    function, _, exact = CASES[name]
    values, errors = extrapolated(function, order)
    true = np.abs(values - exact(POINTS, order))
    assert (true <= errors).all()
    # rounding of the smallest steps is not amplified: u/h^d at h = 1/4 ... 1/16, times tens
    assert errors.max() <= 1e-10 if order == 1 else errors.max() <= 1e-8


@pytest.mark.parametrize("name", CASES)
def test_it_agrees_with_scipy_within_both_estimates(name):
    function, array_function, _ = CASES[name]
    values, errors = extrapolated(function, 1)
    oracle = scipy_derivative(array_function, POINTS, initial_step=0.25)
    assert oracle.success.all()
    # scipy's own estimate is a difference too; rounding 10 u/h of its last step comes on top
    assert (np.abs(values - oracle.df) <= errors + oracle.error + 1e-13).all()
    assert np.abs(values - oracle.df).max() < 1e-10


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("accuracy", [2, 4, 6])
def test_the_stencils_below_it_are_those_of_findiff(order, accuracy):
    oracle = findiff.coefficients(deriv=order, acc=accuracy)["center"]
    weights = {int(j): w for j, w in zip(oracle["offsets"], oracle["coefficients"], strict=True) if abs(w) > 1e-12}
    free = family(f"central{accuracy}", order).free
    assert tuple(sorted(weights)) == free.offsets
    for offset, weight in zip(free.offsets, free.weights, strict=True):
        assert weights[offset] == pytest.approx(float(weight), rel=1e-10)


def test_two_levels_are_the_stencil_of_the_next_order_on_a_grid_as_findiff_applies_it():
    """(4 D_(h/2) - D_h)/3 of central differences has the nodes ±h/2, ±h and is central4 of the step h/2."""
    grid = np.linspace(-2, 2, 65)
    step = float(grid[1] - grid[0])
    values, _ = extrapolated(torch.sin, 1, step=2 * step, levels=2, points=grid[8:-8])
    oracle = findiff.Diff(0, step, acc=4)(np.sin(grid))[8:-8]
    # rounding of both, weighted sums of values below 1 over h, and the weights that findiff solves for numerically
    assert np.abs(values - oracle).max() <= 40 * ROUNDOFF / step
    weights = dict(zip(family("central4", 1).free.offsets, family("central4", 1).free.weights, strict=True))
    assert weights[1] == Fraction(4, 3) * Fraction(1, 2)


@pytest.mark.parametrize("order", [1, 2])
def test_every_level_adds_two_orders_to_central_differences(order):
    for levels, expected in ((2, 4), (3, 6)):
        steps = [2.0**-k for k in range(4)]
        found = [extrapolated(torch.sin, order, step, points=np.array([0.4]), levels=levels)[0] for step in steps]
        exact = np.sin(0.4 + order * np.pi / 2)
        errors = np.abs(np.array(found)[:, 0] - exact)
        slopes = np.diff(np.log2(errors))
        assert slopes[-1] == pytest.approx(-expected, abs=0.05)


def test_ends_are_not_passed_and_their_errors_are_covered_too():
    points = np.array([0.0, 0.01, 0.5, 0.99, 1.0])

    def guarded(x):
        assert float(x.min()) >= 0
        assert float(x.max()) <= 1
        return torch.exp(x)

    for order in (1, 2):
        values, errors = extrapolated(guarded, order, step=0.125, ends=(0.0, 1.0), points=points)
        true = np.abs(values - np.exp(points))
        assert (true <= errors).all()
        assert errors.max() < 1e-5


def test_noise_of_known_size_is_part_of_the_estimate():
    generator = np.random.default_rng(0)

    def noisy(x):
        return torch.sin(x) * (1 + 1e-6 * torch.as_tensor(generator.uniform(-1, 1, x.shape)))

    values, errors = extrapolated(noisy, 1, noise=1e-6)
    true = np.abs(values - np.cos(POINTS))
    assert (true <= errors).all()
    assert 1e-6 < np.median(errors) < 1e-4  # 1e-6/h at h = 1/4 and below


def test_mixed_derivatives_of_a_network_agree_with_taylor_mode():
    generator = torch.Generator().manual_seed(5)
    network = MultilayerPerceptron(2, [8, 8], 1, activation("tanh"), torch.float64).initialized("glorot", generator)
    partials = [Partial("u", orders) for orders in ((0, 0), (1, 0), (0, 2), (1, 1), (2, 1))]
    points = torch.rand(12, 2, generator=generator, dtype=torch.float64)

    def fields(nodes):
        return {"u": network(nodes)[..., 0]}

    maker = richardson([0.25, 0.125], [0, 0], [1, 1], [False, True])
    with torch.no_grad():
        values, errors = maker.with_errors(fields, points, partials)
        oracle = taylor(fields, points, partials)
        assert set(maker(fields, points, partials)) == set(partials)
    for partial in partials:
        assert ((values[partial] - oracle[partial]).abs() <= errors[partial] + 4 * ROUNDOFF).all()
        assert float(errors[partial].max()) < 1e-4


def test_one_level_and_a_step_too_large_are_refused():
    with pytest.raises(SettingsError, match="needs at least 2 steps, got 1"):
        richardson([0.1], [0], [1], [False], levels=1)
    with pytest.raises(SettingsError, match=r"the step 0\.75 is too large for Richardson extrapolation in \[0, 1\]"):
        extrapolated(torch.sin, 1, step=0.75, ends=(0.0, 1.0), points=np.array([0.5]))


def test_periodic_coordinates_wrap():
    points = np.array([0.0, 2 * math.pi])
    values, errors = extrapolated(torch.sin, 1, ends=(0.0, 2 * math.pi), points=points, periodic=True)
    assert (np.abs(values - 1) <= errors).all()
    assert errors.max() < 1e-10
