"""Newton's method on random features: factorisations that serve several steps, nested iteration, the probe."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pinnsolve.networks import activation
from pinnsolve.networks.multilayer import random_features
from pinnsolve.solving import prepare, resolve_settings, solve
from pinnsolve.training import features
from pinnsolve.training.features import NEWTON_STEPS, PROBE_WIDTH, FeatureTrial, solve_features
from pinnsolve.training.frozen import FrozenObjective, derivatives
from pinnsolve.training.least_squares import Factorization, solve_output_layer

PENDULUM = """
title = "A pendulum between two angles, twice the number of fields"
fields = ["u", "p"]
[coordinates]
t = [0, 2]
[equations]
angle = "u_t = p"
momentum = "p_t = -sin(u) + u*p/5"
[[conditions]]
where = "t = 0"
equation = "u = 1"
[[conditions]]
where = "t = 2"
equation = "u = -1/2"
[reference]
solver = "none"
"""
ENDS = """
title = "A field between its values at two ends"
[coordinates]
x = [{lower}, 1]
[equations]
e = "{equation}"
[[conditions]]
where = "x = {lower}"
equation = "u = {left}"
[[conditions]]
where = "x = 1"
equation = "u = {right}"
[reference]
{reference}
"""


def _between(left, right, equation, lower=-1, reference='solver = "none"'):
    """Return the text of a problem on [lower, 1] with a value at either end."""
    return ENDS.format(left=left, right=right, equation=equation, lower=lower, reference=reference)


FRONT = _between("1", "-1", "1e-3*u_xx = u*u_x")  # of width 1e-3
STEEP = _between("0", "0", "u_xx = u + u^3 + exp(-400*(x - 0.3)^2)")  # 200 features resolve it, but not to rounding
LOGARITHM = _between(  # no number where u is negative
    "exp(3/4)", "exp(3/2)", "u_xx = u*log(u)", lower=0, reference='exact = {u = "exp((x + 1)^2/4 + 1/2)"}'
)


def _prepared(problem, width=40, scale=2.0):
    """Return a session's training with one layer of random features in its ansatz, and points of the objective."""
    training = prepare(problem, resolve_settings({"training.windows": 1})).training
    small = training.trained
    wide = random_features(small, width, [scale] * small.inputs, training.generator, activation("tanh"))
    training.ansatz.network = wide
    wide.hidden.requires_grad_(False)
    return training, wide, training.objective.draw(4 * width, 0.0, training.generator)


@pytest.fixture
def factorizations(monkeypatch):
    """The shapes of all matrices that are factorised."""
    shapes = []
    of = Factorization.of.__func__

    def counted(cls, matrix, *arguments):
        shapes.append(tuple(matrix.shape))
        return of(cls, matrix, *arguments)

    monkeypatch.setattr(Factorization, "of", classmethod(counted))
    return shapes


@pytest.fixture
def widths(monkeypatch):
    """The widths of all layers of random features that are drawn."""
    drawn = []
    draw = features.random_features

    def counted(small, width, *arguments):
        drawn.append(width)
        return draw(small, width, *arguments)

    monkeypatch.setattr(features, "random_features", counted)
    return drawn


def test_one_factorization_solves_for_many_right_hand_sides():
    generator = torch.Generator().manual_seed(0)
    scales = np.logspace(-3, 3, 12)
    matrix = torch.randn(30, 12, generator=generator, dtype=torch.float64) * torch.as_tensor(scales)
    factorization = Factorization.of(matrix, 0.0)
    for _ in range(3):
        right = torch.randn(30, generator=generator, dtype=torch.float64)
        solution, left = factorization.solve(right)
        best, remaining, *_ = np.linalg.lstsq(matrix.numpy() / scales, right.numpy(), rcond=None)
        # scaled columns have a condition number below 10; Householder QR does not mind their scales
        assert solution.numpy() == pytest.approx(best / scales, rel=1e-12)
        assert left == pytest.approx(float(remaining[0]), rel=1e-12)


def test_a_damped_factorization_minimises_the_damped_sum():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(30, 5, generator=generator, dtype=torch.float64)
    matrix[:, 3] = 0.0  # a dead unit: its damping is that of the median column
    right = torch.randn(30, generator=generator, dtype=torch.float64)
    solution, left = Factorization.of(matrix, 0.1).solve(right)
    norms = torch.linalg.vector_norm(matrix, dim=0)
    damped = torch.diag(0.1 * norms.clamp_min(float(norms.median())))
    normal = matrix.t() @ matrix + damped @ damped
    assert solution.numpy() == pytest.approx(torch.linalg.solve(normal, matrix.t() @ right).numpy(), rel=1e-12)
    whole = (matrix @ solution - right).square().sum() + (damped @ solution).square().sum()
    assert left == pytest.approx(float(whole), rel=1e-12)


def test_residuals_are_linearised_about_another_solution(problem_from):
    training, wide, points = _prepared(problem_from(PENDULUM))
    generator = torch.Generator().manual_seed(2)
    size = sum(parameter.numel() for parameter in wide.output.parameters())
    here, there = torch.randn(2, size, generator=generator, dtype=torch.float64)
    frozen = FrozenObjective.of(training.objective, wide.output, points)
    vector_to_parameters(there, wide.output.parameters())
    about = derivatives(training.objective, points)
    for block, jets in zip(frozen.blocks, about, strict=True):
        for partial, values in block.jets(there).items():
            assert (values - jets[partial]).abs().max() <= 1e-12 * values.abs().max()
    plain, moved = frozen.rows(there), frozen.rows(here, about)
    assert (moved[:, :-1] - plain[:, :-1]).abs().max() <= 1e-11 * plain[:, :-1].abs().max()
    model = plain[:, -1] + plain[:, :-1] @ (here - there)
    assert (moved[:, -1] - model).abs().max() <= 1e-11 * model.abs().max()
    assert frozen.value(here) == pytest.approx(float(frozen.rows(here)[:, -1].square().sum()), rel=1e-12)


def test_a_solution_nearby_saves_factorisations(problem_from, factorizations):
    """The equations are curved of order 1: about an error of 1e-5 they are 1e-10 off, below the floor."""
    training, wide, points = _prepared(problem_from(PENDULUM), width=10)
    objective, start = training.objective, parameters_to_vector(wide.output.parameters()).clone()
    loss, _ = solve_output_layer(objective, wide.output, points, iterations=NEWTON_STEPS)
    alone = len(factorizations)
    solution = parameters_to_vector(wide.output.parameters()).detach().clone()
    assert 1e-16 < loss < 1e-6 * frozen_value(objective, wide, points, start)
    assert alone >= 2
    vector_to_parameters(solution * (1 + 1e-5), wide.output.parameters())
    about = derivatives(objective, points)
    vector_to_parameters(start, wide.output.parameters())
    again, _ = solve_output_layer(objective, wide.output, points, iterations=NEWTON_STEPS, about=about)
    assert len(factorizations) == alone + 1
    # twice what a further factorisation would leave, by the rule that ends the iteration
    assert again <= 2 * loss


def frozen_value(objective, wide, points, weights):
    """Return the objective for these output weights, by the network itself."""
    vector_to_parameters(weights, wide.output.parameters())
    return objective.value(points)


def test_a_useless_neighbour_does_no_harm(problem_from):
    training, wide, points = _prepared(problem_from(PENDULUM))
    start = parameters_to_vector(wide.output.parameters()).clone()
    loss, _ = solve_output_layer(training.objective, wide.output, points, iterations=NEWTON_STEPS)
    vector_to_parameters(1e3 * torch.randn(start.shape, dtype=torch.float64), wide.output.parameters())
    about = derivatives(training.objective, points)
    vector_to_parameters(start, wide.output.parameters())
    again, _ = solve_output_layer(training.objective, wide.output, points, iterations=NEWTON_STEPS, about=about)
    assert again <= 10 * loss


def test_wide_layers_start_from_narrow_ones(problem_from, factorizations, widths):
    training, _, _ = _prepared(problem_from(PENDULUM))
    trial = FeatureTrial("tanh", (2.0,))
    solve_features(training, 400, trial, [[0]], NEWTON_STEPS)
    assert widths == [100, 200, 400]
    narrow, wide = ([shape[1] for shape in factorizations].count(2 * width + 2) for width in (100, 400))
    assert wide <= 2 <= narrow  # two fields and their biases
    widths.clear()
    solve_features(training, 400, trial, [[0]], NEWTON_STEPS, about=training.ansatz.network)
    assert widths == [400]
    widths.clear()
    solve_features(training, 400, trial, [[0]], 1)  # a linear problem needs no start
    assert widths == [400]


def test_few_features_tell_whether_they_serve_a_nonlinear_problem(problem_from, widths):
    settings = {"training.windows": 1, "audit.enabled": False, "training.steps": 40}
    served = solve(problem_from(LOGARITHM), settings)
    assert {row.training.stage for row in served.history} == {"features"}
    # the residual is rounding (ROUNDING ends the run), and so is the error but for the norm of the weights
    assert served.metrics()["fields"]["u"]["relative_l2"] < 1e-12
    widths.clear()
    unserved = solve(problem_from(FRONT), settings)
    assert {row.training.stage for row in unserved.history} >= {"features", "lm"}
    assert set(widths) == {PROBE_WIDTH // 2, PROBE_WIDTH}


def test_features_that_lead_out_of_the_domain_of_an_equation_are_passed_over(problem_from):
    """With soft conditions the first guess of all features is u = 0, where u log u is no number."""
    settings = {"training.windows": 1, "audit.enabled": False, "training.steps": 60, "constraints": "soft"}
    found = solve(problem_from(LOGARITHM), settings)
    assert "features" not in {row.training.stage for row in found.history}
    assert found.history[-1].training.held_out < 1e-3 * found.history[0].training.held_out


def test_features_that_gain_little_from_more_of_them_give_way(problem_from, widths, monkeypatch):
    monkeypatch.setattr(features, "PROBE_GAIN", 1e300)
    settings = {"training.windows": 1, "audit.enabled": False, "training.steps": 40, "time_limit": 600.0}
    found = solve(problem_from(STEEP), settings)
    assert {row.training.stage for row in found.history} >= {"features", "lm"}
    assert max(widths) == 2 * PROBE_WIDTH  # one doubling shows what they gain
