"""Coupled stencils: weights against the published formulas, orders, ends, seams, and training with them."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

import pinnsolve
from pinnsolve.derivatives import autograd, taylor
from pinnsolve.derivatives.coupled import coupled_differences, coupled_family, coupled_stencil
from pinnsolve.derivatives.finite_differences import finite_differences
from pinnsolve.errors import SettingsError
from pinnsolve.problems import Partial, load_problem
from pinnsolve.solving import prepare, resolve_settings
from pinnsolve.training.jacobian import generic_jacobian, jacobian
from pinnsolve.training.sketched import LayerSubspace, _compressed, traced

ROUNDOFF = 2.0**-53


def along(step, lower=-4.0, upper=4.0, periodic=False, slopes=autograd):
    """Return coupled differences in one coordinate."""
    return coupled_differences([step], [lower], [upper], [periodic], slopes)


def derivative(differentiator, function, points, order):
    """Return the derivative of a function of one coordinate."""
    partial = Partial("u", (order,))
    with torch.no_grad():
        return differentiator(lambda nodes: {"u": function(nodes[..., 0])}, points, [partial])[partial]


def test_weights_and_leading_terms_are_the_published_ones():
    first, second = coupled_stencil(-1, 1, 1), coupled_stencil(-1, 1, 2)
    assert first.offsets == second.offsets == (0, -1, 1)
    assert first.values == (0, Fraction(-3, 4), Fraction(3, 4))
    assert first.slopes == (0, Fraction(-1, 4), Fraction(-1, 4))
    assert second.values == (-4, 2, 2)
    assert second.slopes == (0, Fraction(1, 2), Fraction(-1, 2))
    assert (first.accuracy, first.leading) == (4, Fraction(-1, 120))
    assert (second.accuracy, second.leading) == (4, Fraction(-1, 360))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_every_window_of_a_family_has_at_least_order_four_and_its_moments(order):
    for first, last in coupled_family(order):
        each = coupled_stencil(first, last, order)
        assert each.accuracy >= 4
        for k in range(order + each.accuracy + 1):
            sums = [a * j**k + (b * k * j ** (k - 1) if k else 0) for j, a, b in zip(*rows(each), strict=True)]
            wanted = (
                each.leading * math.factorial(k) if k == order + each.accuracy else math.factorial(k) * (k == order)
            )
            assert sum(sums) == wanted


def rows(stencil):
    return stencil.offsets, stencil.values, stencil.slopes


def test_nodes_that_are_too_few_or_leave_the_point_out_are_refused():
    with pytest.raises(ValueError, match="derivative 1 has no coupled stencil on the nodes 1"):
        coupled_stencil(1, 2, 1)
    with pytest.raises(ValueError, match="derivative 4 has no coupled stencil on the nodes 0"):
        coupled_stencil(0, 1, 4)


@pytest.mark.parametrize("function", [torch.sin, torch.exp])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_errors_fall_with_order_four_and_the_leading_coefficient(function, order):
    steps = [2.0**-k for k in range(1, 5)]
    points = torch.tensor([[0.3], [0.7]], dtype=torch.float64)
    exact = math.e ** points[:, 0] if function is torch.exp else torch.sin(points[:, 0] + order * math.pi / 2)
    higher = math.e ** points[:, 0] if function is torch.exp else torch.sin(points[:, 0] + (order + 4) * math.pi / 2)
    errors = [derivative(along(step), function, points, order) - exact for step in steps]
    observed, _ = np.polyfit(np.log(steps), np.log([float(error.abs().max()) for error in errors]), 1)
    assert observed == pytest.approx(4, abs=0.05)
    leading = float(coupled_stencil(-1, 1, order).leading)
    # the next term is smaller by h² = 2^-8 times a number near 1/10; rounding is below 30 u/h³ = 2e-11 of 1e-5/A
    assert errors[-1] / (leading * steps[-1] ** 4 * higher) == pytest.approx(torch.ones(2), abs=2e-3)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_exact_on_polynomials_also_at_the_ends_which_no_node_passes(order):
    step, points = 2.0**-4, torch.linspace(-1, 1, 65, dtype=torch.float64)[:, None]
    degree = order + 3

    def power(x):
        assert float(x.detach().abs().max()) <= 1
        return x**degree

    found = derivative(along(step, -1, 1), power, points, order)
    windows = [coupled_stencil(*window, order) for window in coupled_family(order)]
    # values and slopes err by degree² u of 1 at most
    size = max(float(sum(map(abs, w.values)) + sum(map(abs, w.slopes)) * step) for w in windows)
    bound = size * (degree**2 + 3) * ROUNDOFF / step**order
    assert (found - math.perm(degree, order) * points[:, 0] ** (degree - order)).abs().max() <= bound


def test_periodic_coordinates_have_no_ends():
    points = torch.tensor([[0.0], [6.28]], dtype=torch.float64)
    found = derivative(along(2.0**-6, 0, 2 * math.pi, periodic=True), torch.sin, points, 2)
    # centred everywhere: h⁴/360 times |sin| at most, and rounding 8 u/h²
    assert (found + torch.sin(points[:, 0])).abs().max() <= 2.0**-24 / 360 + 8 * ROUNDOFF * 2.0**12


def test_mixed_derivatives_and_values_agree_with_the_exact_ones_to_order_four():
    partials = [Partial("u", orders) for orders in ((0, 0), (1, 1), (2, 1), (1, 2), (1, 0))]
    points = torch.tensor([[0.2, 0.1], [0.6, 0.9], [1.0, 0.0]], dtype=torch.float64)

    def wave(nodes):
        return {"u": torch.sin(2 * nodes[..., 0] + nodes[..., 1])}

    def worst(step):
        jet = coupled_differences([step, step], [0, 0], [1, 1], [False, False])(wave, points, partials)
        phase = 2 * points[:, 0] + points[:, 1]
        exact = {p: 2 ** p.orders[0] * torch.sin(phase + p.order * math.pi / 2) for p in partials}
        return {p: float((jet[p] - exact[p]).abs().max()) for p in partials}

    coarse, fine = worst(2.0**-4), worst(2.0**-6)
    assert coarse[partials[0]] == 0
    for partial in partials[1:]:
        assert math.log2(coarse[partial] / fine[partial]) / 2 == pytest.approx(4, abs=0.4)  # ends: h⁵ terms too


def test_a_step_too_large_for_the_domain_is_refused():
    points = torch.tensor([[0.5]], dtype=torch.float64)
    with pytest.raises(SettingsError, match=r"the step 0\.5 is too large for coupled stencils in \[0, 1\]"):
        derivative(along(0.5, 0, 1), torch.sin, points, 2)
    assert torch.isfinite(derivative(along(0.25, 0, 1), torch.sin, points, 2)).all()


def test_an_oscillation_that_central_differences_do_not_see_is_seen():
    step = 2.0**-5
    points = torch.linspace(-1, 1, 7, dtype=torch.float64)[:, None]

    def oscillation(x):
        return torch.sin(math.pi * x / step)

    blind = derivative(finite_differences("central2", [step], [-4], [4], [False]), oscillation, points, 1)
    seeing = derivative(along(step), oscillation, points, 1)
    slope = math.pi / step * torch.cos(math.pi * points[:, 0] / step)
    assert blind.abs().max() <= 64 * ROUNDOFF * math.pi / step**2  # rounding of the argument πx/h
    # (f'₊ + f'₋)/4 = -f'/2, and the point's own slope does not count: half of the true one, with its sign
    assert seeing == pytest.approx(0.5 * slope, rel=1e-9)


def test_functions_of_the_period_h_have_no_second_derivative_by_coupled_stencils():
    step = 2.0**-5
    points = torch.linspace(-1, 1, 7, dtype=torch.float64)[:, None]
    found = derivative(along(step), lambda x: torch.sin(2 * math.pi * x / step), points, 2)
    # rounding of the argument, 2π 32 u, in the values over h² and in the slopes 2π/h over h
    assert found.abs().max() <= 64 * ROUNDOFF * (2 * math.pi / step) ** 2 * 2 * math.pi


TEXT = """
title = "Everything"
fields = ["u", "v"]
periodic = ["y"]
[coordinates]
x = [0, 1]
y = [0, 2]
[equations]
first = "u_x*v + u_xy + v_yy = sin(x)"
second = "u_xxx + v_x = u**2"
[[conditions]]
where = "x = 0"
equation = "u = sin(pi*y)"
"""


def session_with(problem, **options):
    return prepare(
        problem, resolve_settings({"derivatives": "coupled", "network.width": 6, "network.depth": 2, **options})
    )


@pytest.fixture
def linearised(problem_from):
    """Return the ansatz, and the residuals of two equations at a few points, by coupled stencils.

    The steps are wide, 1/16 and 1/8: gradients of third differences cancel to u/h³ of what they are summed from.
    """
    session = session_with(problem_from(TEXT), **{"training.optimizer": "adam", "fd.step": 0.125})
    objective = session.training.objective
    points = objective.blocks[0].sampler.draw(9)
    points[0, 0], points[1, 0] = 0.0, 1.0  # one-sided stencils
    return session.ansatz, lambda: objective.raw(objective.blocks[0], points)


def test_the_jacobian_of_one_backward_pass_is_that_of_one_pass_per_point(linearised):
    ansatz, residuals = linearised
    values, found = jacobian(ansatz, residuals)
    oracle_values, oracle = generic_jacobian(ansatz, residuals)
    for value, row, oracle_value, oracle_row in zip(values, found, oracle_values, oracle, strict=True):
        assert (value - oracle_value).abs().max() <= 1e-12 * oracle_value.abs().max()
        assert (row - oracle_row).abs().max() <= 1e-11 * oracle_row.abs().max()


def test_the_sketched_jacobian_is_the_jacobian_times_the_sketch(linearised):
    ansatz, residuals = linearised
    generator = torch.Generator().manual_seed(1)
    layers = [layer for layer in ansatz.modules() if isinstance(layer, torch.nn.Linear)]

    def random(rows, columns):
        return torch.randn(rows, columns, generator=generator, dtype=torch.float64)

    subspaces = {
        layer: LayerSubspace(random(layer.out_features, 2), random(layer.in_features + 1, 3)) for layer in layers
    }
    with torch.enable_grad(), traced(ansatz) as traces:
        values = residuals()
    for value, rows_ in zip(values, generic_jacobian(ansatz, residuals)[1], strict=True):
        found = _compressed(value, traces, subspaces)
        assert torch.allclose(
            found, sketched(rows_, layers, subspaces), rtol=1e-10, atol=1e-10 * float(found.abs().max())
        )


def sketched(transposed, layers, subspaces):
    """Return J Ω from the whole Jᵀ (P, N): for every layer ∂r/∂[W b] between its two bases."""
    parts, start = [], 0
    for layer in layers:
        size = layer.weight.numel()
        weight = transposed[start : start + size].view(*layer.weight.shape, -1)
        bias = transposed[start + size : start + size + layer.out_features]
        start += size + layer.out_features
        whole = torch.cat([weight, bias[:, None]], 1)  # (out, in + 1, N)
        space = subspaces[layer]
        parts.append(torch.einsum("oa,oin,ib->nab", space.left, whole, space.right).flatten(1))
    return torch.cat(parts, 1)


def test_jets_of_a_network_approach_those_of_taylor_mode_with_order_four(problem_from):
    def worst(step):
        session = session_with(
            problem_from(TEXT), **{"fd.step": step, "network.fourier": 1, "training.optimizer": "adam"}
        )
        points = session.training.objective.blocks[0].sampler.draw(16)
        partials = session.problem.partials
        with torch.no_grad():
            jet, oracle = (
                session.differentiator(session.ansatz, points, partials),
                taylor(session.ansatz, points, partials),
            )
        return {partial: float((jet[partial] - oracle[partial]).abs().max()) for partial in partials if partial.order}

    coarse, fine = worst(2.0**-7), worst(2.0**-8)
    for partial in coarse:
        if partial.order < 3:  # rounding of third differences, u/h³ = 1e-10, is as large as their error
            assert math.log2(coarse[partial] / fine[partial]) == pytest.approx(4, abs=0.2)


@pytest.mark.parametrize("derivatives", ["fd", "coupled"])
@pytest.mark.parametrize("optimizer", ["lm", "least-squares", "adam", "sketched"])
def test_every_optimizer_trains_with_differences_and_conditions_stay_built_in(derivatives, optimizer):
    small = {"network.width": 6, "network.depth": 2, "training.points": 64, "audit.enabled": False}
    settings = {**small, "training.optimizer": optimizer, "derivatives": derivatives}
    problem = load_problem("poisson_1d")
    solution = pinnsolve.solve(problem, settings=settings, steps=40 if optimizer == "adam" else 6, time_limit=1e3)
    first, last = solution.history[0].training.loss, solution.history[-1].training.loss
    assert last < first or optimizer == "least-squares"
    ends = solution([[-1.0], [1.0]])["u"]
    assert np.abs(ends).max() <= 4 * ROUNDOFF  # u = (1 - x²) N
    if optimizer == "least-squares":
        # fourth order at h = 0.01: h⁴ π⁴/90 relative
        assert solution.fields["u"].relative_l2 < 2e-8
