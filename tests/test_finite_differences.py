"""Finite differences: weights, orders and leading terms against theory, jets against Taylor mode."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from pinnsolve.derivatives.finite_differences import FiniteDifferences, finite_differences, short_step
from pinnsolve.derivatives.stencils import SCHEMES, Stencil, best_step, family, predicted_error, stencil
from pinnsolve.derivatives.taylor import taylor
from pinnsolve.errors import SettingsError
from pinnsolve.networks.activations import activation
from pinnsolve.networks.multilayer import MultilayerPerceptron
from pinnsolve.problems import Partial

ROUNDOFF = 2.0**-53
ACCURACY = {"forward": 1, "backward": 1, "one_sided": 2, "central2": 2, "central4": 4, "central6": 6}
EVERY = list(product(SCHEMES, (1, 2, 3, 4)))


def along(steps, scheme="central2", lower=-4.0, upper=4.0, periodic=False) -> FiniteDifferences:
    """Return finite differences in one coordinate."""
    return finite_differences(scheme, [steps], [lower], [upper], [periodic])


def derivative(differentiator, function, points, order):
    """Return the derivative of a function of one coordinate."""
    partial = Partial("u", (order,))
    return differentiator(lambda nodes: {"u": function(nodes[..., 0])}, points, [partial])[partial]


# --- stencils ---------------------------------------------------------------------------------------------------

TABLE = [  # scheme, derivative, leading coefficient A, S = Σ|c|
    ("forward", 1, Fraction(1, 2), Fraction(2)),
    ("backward", 1, Fraction(-1, 2), Fraction(2)),
    ("one_sided", 1, Fraction(-1, 3), Fraction(4)),
    ("central2", 1, Fraction(1, 6), Fraction(1)),
    ("central4", 1, Fraction(-1, 30), Fraction(3, 2)),
    ("central6", 1, Fraction(1, 140), Fraction(11, 6)),
    ("central2", 2, Fraction(1, 12), Fraction(4)),
    ("central4", 2, Fraction(-1, 90), Fraction(16, 3)),
    ("central6", 2, Fraction(1, 560), Fraction(272, 45)),
]


@pytest.mark.parametrize(("scheme", "order", "leading", "amplification"), TABLE)
def test_leading_terms_and_amplifications_are_the_published_ones(scheme, order, leading, amplification):
    free = family(scheme, order).free
    assert (free.leading, free.amplification) == (leading, amplification)


def test_published_weights():
    assert family("central4", 2).free.weights == tuple(Fraction(n, 12) for n in (-1, 16, -30, 16, -1))
    assert family("one_sided", 1).free.weights == (Fraction(-3, 2), Fraction(2), Fraction(-1, 2))
    assert family("central6", 1).free.offsets == (-3, -2, -1, 1, 2, 3)  # the centre does not count


@pytest.mark.parametrize(("scheme", "order"), EVERY)
def test_every_stencil_of_a_family_has_the_order_of_its_scheme(scheme, order):
    for each in family(scheme, order).stencils:
        assert each.accuracy == ACCURACY[scheme]
        moments = [
            sum(c * j**k for j, c in zip(each.offsets, each.weights, strict=True)) for k in range(order + each.accuracy)
        ]
        assert moments == [math.factorial(order) * (k == order) for k in range(order + each.accuracy)]


@pytest.mark.parametrize(("scheme", "order"), EVERY)
def test_the_span_leaves_room_for_every_point_and_one_step_less_does_not(scheme, order):
    candidates = family(scheme, order)

    def everywhere(length):
        return all(
            any(start + s.offsets[0] >= 0 and start + s.offsets[-1] <= length for s in candidates.stencils)
            for start in np.linspace(0, length, 97)
        )

    assert everywhere(candidates.span)
    assert not everywhere(candidates.span - 1 - 1 / 64)


PREDICTIONS = [  # scheme, derivative, float32 h* and E*, float64 h* and E*, for |f| = |f^(k)| = 1
    ("forward", 1, 4.9e-4, 4.9e-4, 2.1e-8, 2.1e-8),
    ("one_sided", 1, 7.1e-3, 5.0e-5, 8.7e-6, 7.6e-11),
    ("central2", 1, 5.6e-3, 1.6e-5, 6.9e-6, 2.4e-11),
    ("central4", 1, 5.8e-2, 1.9e-6, 1.0e-3, 2.0e-13),
    ("central2", 2, 4.1e-2, 2.8e-4, 2.7e-4, 1.2e-8),
    ("central4", 2, 0.16, 2e-5, 5.5e-3, 3e-11),
    ("central6", 2, 0.30, 5e-6, 2.4e-2, 1.5e-12),
]


@pytest.mark.parametrize(("scheme", "order", "h32", "e32", "h64", "e64"), PREDICTIONS)
def test_best_steps_and_errors_are_those_of_the_law(scheme, order, h32, e32, h64, e64):
    free = family(scheme, order).free
    predicted = [f(noise, 1.0) for noise in (2.0**-24, ROUNDOFF) for f in (free.best_step, free.best_error)]
    assert predicted == pytest.approx([h32, e32, h64, e64], rel=0.1, abs=0)  # 5e-6 in the table is 4.5 to 5.5


@pytest.mark.parametrize(("accuracy", "order"), [(1, 1), (2, 1), (2, 2), (6, 4)])
def test_the_best_step_is_where_the_law_is_least(accuracy, order):
    step = best_step(3.0, 1e-9, accuracy, order)
    least = predicted_error(step, 3.0, 1e-9, accuracy, order)
    assert least == pytest.approx(3.0 * step**accuracy * (1 + accuracy / order))
    assert all(predicted_error(step * f, 3.0, 1e-9, accuracy, order) > least for f in (0.9, 1.1))
    assert best_step(0.0, 1e-9, accuracy, order) == math.inf


def test_too_few_offsets_are_refused():
    with pytest.raises(ValueError, match="derivative 2 needs at least 3 different offsets"):
        stencil((0, 1), 2)
    with pytest.raises(ValueError, match=r"got \(0, 0, 1\)"):
        stencil((0, 0, 1), 1)


# --- derivatives of known functions -----------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "order"), EVERY)
def test_exact_on_polynomials_below_the_order_also_at_the_ends(scheme, order):
    degree = order + ACCURACY[scheme] - 1
    step, points = 2.0**-4, torch.linspace(-1, 1, 65, dtype=torch.float64)[:, None]
    result = derivative(along(step, scheme, -1, 1), lambda x: x**degree, points, order)
    factor = math.perm(degree, order)
    # values err by at most degree·u of max|x^degree| = 1 in the powers and by 2 u in the weighted differences
    worst = max(float(s.amplification) for s in family(scheme, order).stencils)
    error = abs(result - factor * points[:, 0] ** (degree - order)).max()
    assert error <= worst * (degree + 3) * ROUNDOFF / step**order + 4 * ROUNDOFF * factor


@pytest.mark.parametrize("function", [torch.sin, torch.exp])
@pytest.mark.parametrize(("scheme", "order"), EVERY)
def test_errors_fall_with_the_order_and_the_coefficient_of_the_scheme(function, scheme, order):
    accuracy, free = ACCURACY[scheme], family(scheme, order).free
    # from 16 h* of the law down to where the next term of the expansion is below 3 percent
    points = torch.linspace(0.3, 1.2, 50, dtype=torch.float64)[:, None]
    smallest = 3 * free.best_step(3 * ROUNDOFF, 1.0)
    steps = smallest * 2.0 ** np.linspace(0, 1, 6)

    def higher(k):
        return points[:, 0].exp() if function is torch.exp else torch.sin(points[:, 0] + k * math.pi / 2)

    errors = [derivative(along(h, scheme), function, points, order) - higher(order) for h in steps]
    used = [along(h, scheme).steps[0] for h in steps]
    slope, _ = np.polyfit(np.log(used), np.log([float(e.square().mean().sqrt()) for e in errors]), 1)
    assert slope == pytest.approx(accuracy, abs=0.05)
    leading = float(free.leading) * used[0] ** accuracy * higher(order + accuracy)
    # two quantities of size h^p: the next term is O(h) of it, and rounding is 3^-(p+d) at most
    assert float((errors[0] / leading).median()) == pytest.approx(
        1.0, abs=3 * smallest + 2 * 3.0 ** -(accuracy + order)
    )


def test_mixed_derivatives_have_the_leading_term_of_both_coordinates():
    points = torch.rand(64, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x, y = points.T
    h, partial = 2.0**-6, Partial("u", (1, 1))
    differentiator = finite_differences("central2", [h, h], [-1, -1], [2, 2], [False, False])
    jet = differentiator(lambda z: {"u": torch.sin(z[..., 0]) * torch.exp(2 * z[..., 1])}, points, [partial])
    error = jet[partial] - 2 * torch.cos(x) * torch.exp(2 * y)
    # h²/6 (f_xxxy + f_xyyy)
    leading = h**2 / 6 * (-2 * torch.cos(x) + 8 * torch.cos(x)) * torch.exp(2 * y)
    torch.testing.assert_close(error, leading, rtol=4 * h**2, atol=0)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_mixed_derivatives_converge_at_corners_too(scheme):
    corners = torch.tensor(list(product((0.0, 1.0), (0.0, 1.0))), dtype=torch.float64)
    partial = Partial("u", (2, 1))
    errors, steps = [], (2.0**-3 if scheme == "central6" else 2.0**-5) / np.array([1, 2])  # above rounding
    for h in steps:
        differentiator = finite_differences(scheme, [h, h], [0, 0], [1, 1], [False, False])
        jet = differentiator(lambda z: {"u": torch.exp(z[..., 0] + z[..., 1])}, corners, [partial])
        errors.append(float((jet[partial] / corners.sum(1).exp() - 1).abs().max()))
    slope = np.log2(errors[0] / errors[1])
    assert slope == pytest.approx(ACCURACY[scheme], abs=0.5)  # two large steps: the nearest order


def test_no_partials_are_an_empty_jet():
    assert len(along(0.1)(lambda nodes: {}, torch.zeros(3, 1, dtype=torch.float64), [])) == 0


def test_constants_have_derivatives_exactly_zero():
    points = torch.rand(10, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for scheme in SCHEMES:
        assert not derivative(along(0.01, scheme), lambda x: 0 * x + 0.1, points, 2).any()
        assert not derivative(along(0.01, scheme), lambda x: 0.1, points, 1).any()  # a number for a field


# --- one kink -----------------------------------------------------------------------------------------------------

KINKS = torch.linspace(-0.99, 0.99, 67, dtype=torch.float64)[:, None]  # δ/h


@pytest.mark.parametrize(("order", "law"), [(1, lambda s, h: s**2 / (4 * h)), (2, lambda s, h: s**2 / (2 * h**2))])
def test_a_jump_of_the_second_derivative_costs_what_theory_says(order, law):
    h = 2.0**-10
    values = derivative(along(h), lambda x: 0.5 * x.clamp(min=0) ** 2, h * KINKS, order)
    x = h * KINKS[:, 0]
    error = values - (x.clamp(min=0) if order == 1 else (x > 0).double())
    expected = law(h - x.abs(), h) * (1 if order == 1 else -torch.sign(x))  # J = 1
    torch.testing.assert_close(error[x != 0], expected[x != 0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("order", "law"), [(1, lambda s, h: s**2 / (4 * h)), (2, lambda s, h: s**2 / (2 * h**2))])
def test_one_elu_unit_reproduces_the_kink_error(order, law):
    h, elu = 2.0**-12, activation("elu")
    x = h * KINKS[:, 0][KINKS[:, 0] > 0]  # on the linear side the kink is the only error
    values = derivative(along(h), elu.value, x[:, None], order)
    reach = h - x
    error = abs(values - (1.0 if order == 1 else 0.0))
    # J = 1; the exponential adds a term reach/3 relative to it; rounding is 1e-16/h^order
    assert ((error / law(reach, h) - 1).abs() <= reach / 3 + 1e-16 / (h**order * law(reach, h))).all()


# --- placement --------------------------------------------------------------------------------------------------


def test_ends_that_float32_rounds_outwards_are_not_passed():
    x = torch.linspace(0.1, 0.6, 4097).clamp(max=0.6)[:-1, None]  # fl(0.6) > 0.6 and fl(0.1) > 0.1
    nodes = along(2.0**-9, "central4", 0.1, 0.6).batch(x, [(2,)]).nodes.double()
    assert 0.1 <= float(nodes.min()) < float(nodes.max()) <= 0.6


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_node_leaves_the_domain_and_fields_are_called_once(scheme):
    lower, upper = [0.1, -0.3], [0.7, 1.1]
    free = torch.rand(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    low, high = torch.tensor(lower, dtype=torch.float64), torch.tensor(upper, dtype=torch.float64)
    edges = torch.tensor(list(product((0.1, 0.7), (-0.3, 1.1))), dtype=torch.float64)
    points = torch.cat([low + (high - low) * free, edges])
    calls = []

    def fields(nodes):
        calls.append(nodes)
        assert ((nodes >= low) & (nodes <= high)).all()
        return {"u": nodes[..., 0] ** 2 * nodes[..., 1]}

    partials = [Partial("u", orders) for orders in ((0, 0), (1, 0), (0, 2), (1, 1))]
    jet = finite_differences(scheme, [0.05, 0.12], lower, upper, [False, False])(fields, points, partials)
    assert len(calls) == 1
    assert calls[0].shape[1:] == points.shape
    assert torch.equal(jet[partials[0]], points[:, 0] ** 2 * points[:, 1])


def test_interior_points_cost_no_more_nodes_than_the_stencils_have():
    points = torch.full((5, 2), 0.5, dtype=torch.float64)
    differentiator = finite_differences("central2", [0.01, 0.01], [0, 0], [1, 1], [False, False])
    orders = [(0, 0), (1, 0), (2, 0), (0, 1)]
    assert differentiator.batch(points, orders).nodes.shape == (5, 5, 2)  # x ± h, t ± h and the point
    assert differentiator.batch(points, [(1, 1)]).nodes.shape == (4, 5, 2)
    assert differentiator.batch(points, [(1, 0)]).nodes.shape == (2, 5, 2)


def test_periodic_coordinates_keep_the_free_stencil_at_the_ends():
    points = torch.tensor([[0.0], [2 * math.pi]], dtype=torch.float64)
    h = 2.0**-6
    values = derivative(along(h, "central2", 0, 2 * math.pi, periodic=True), torch.sin, points, 1)
    # (sin h - sin(-h)) / 2h; the values err by u, and 2π itself by 2u
    assert values.tolist() == pytest.approx([math.sin(h) / h] * 2, abs=8 * ROUNDOFF / h)


def test_steps_become_short_and_nodes_exact():
    step = short_step(0.001)
    assert step == pytest.approx(0.001, rel=2.0**-8)
    x = torch.rand(1000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 0.4 + 0.55
    nodes = along(0.001, "central6").batch(x, [(2,)]).nodes[..., 0]
    for k in range(nodes.shape[0]):
        moved = [
            (Fraction(a) - Fraction(b)) / Fraction(step)
            for a, b in zip(nodes[k].tolist(), x[:, 0].tolist(), strict=True)
        ]
        assert all(shift.denominator == 1 for shift in moved)


def test_bad_settings_are_refused_with_their_values():
    with pytest.raises(SettingsError, match="unknown finite-difference scheme 'centrl2'; did you mean 'central2'"):
        along(0.1, "centrl2")
    with pytest.raises(SettingsError, match=r"must be positive, got -0\.1"):
        along(-0.1)
    with pytest.raises(SettingsError, match=r"one entry per coordinate, got \[1, 2\]"):
        finite_differences("central2", [0.1, 0.1], [0], [1], [False])
    with pytest.raises(SettingsError, match=r"step 0\.5 is too large for central2 stencils in \[0, 1\]; at most 0\.25"):
        derivative(along(0.5, lower=0, upper=1), torch.sin, torch.tensor([[0.1]], dtype=torch.float64), 2)


# --- networks ----------------------------------------------------------------------------------------------------


def network(name="tanh"):
    """Return a small network of two coordinates as a field u."""
    generator = torch.Generator().manual_seed(4)
    perceptron = MultilayerPerceptron(2, [12] * 2, 1, activation(name), torch.float64).initialized("glorot", generator)
    return perceptron, lambda points: {"u": perceptron(points)[..., 0]}


PARTIALS = [Partial("u", orders) for orders in ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1))]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_jets_of_a_network_agree_with_taylor_mode_within_the_predicted_error(scheme):
    _, fields = network()
    points = torch.rand(100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    h, accuracy = 2.0**-9, ACCURACY[scheme]
    differentiator = finite_differences(scheme, [h, h], [0, 0], [1, 1], [False, False])
    higher = {
        (partial, axis): Partial("u", tuple(n + accuracy * (a == axis) for a, n in enumerate(partial.orders)))
        for partial in PARTIALS
        for axis, order in enumerate(partial.orders)
        if order
    }
    truth = taylor(fields, points, [*PARTIALS, *higher.values()])
    jet = differentiator(fields, points, PARTIALS)
    with torch.no_grad():
        batch = differentiator.batch(points, [partial.orders for partial in PARTIALS])
        for partial in PARTIALS:
            bound = 64 * ROUNDOFF * batch.spread(partial.orders) / batch.scale(partial.orders)  # |u| < 4, ε_f < 16 u
            for (of, axis), term in higher.items():
                if of == partial:
                    size = (batch.leading[axis, partial.orders[axis]] * truth[term]).abs() * h**accuracy
                    bound = bound + 1.5 * size + 0.1 * size.max()  # the next terms of the expansion
            assert ((jet[partial] - truth[partial]).abs() <= bound).all(), partial


def test_parameters_get_the_gradient_of_the_differences():
    perceptron, fields = network()
    points = torch.rand(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    fd = finite_differences("central6", [2.0**-6] * 2, [0, 0], [1, 1], [False, False])
    gradients = []
    for maker in (fd, taylor):
        loss = maker(fields, points, PARTIALS)[Partial("u", (2, 0))].square().mean()
        gradients.append(
            torch.cat(
                [
                    g.flatten()
                    for g in torch.autograd.grad(loss, list(perceptron.parameters()), allow_unused=True)
                    if g is not None
                ]
            )
        )
    assert isinstance(perceptron, nn.Module)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-6, atol=1e-6 * float(gradients[1].abs().max()))


def test_float32_points_give_float32_jets():
    points = torch.rand(50, 1, generator=torch.Generator().manual_seed(7))
    values = derivative(along(2.0**-7), torch.sin, points, 1)
    assert values.dtype == torch.float32
    # h²/6 + S u / h with u of float32
    torch.testing.assert_close(values, torch.cos(points[:, 0]), rtol=0, atol=2.0**-14 / 6 + 2 * 2.0**-24 * 2**7)


def test_a_stencil_is_a_frozen_record():
    with pytest.raises(AttributeError):
        family("central2", 1).free.accuracy = 3
    assert isinstance(family("central2", 1).free, Stencil)
