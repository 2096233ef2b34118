"""Sizes, counts and shares that training rests on, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pinnsolve.networks import points_at_once
from pinnsolve.training.batch import BatchSize
from pinnsolve.training.jacobian import jacobian
from pinnsolve.training.levenberg_marquardt import LevenbergMarquardt
from pinnsolve.training.objective import residual_scale
from pinnsolve.training.sampling import CANDIDATES, Sampler, residual_weighted

from .conftest import BURGERS, DECAY
from .test_training import CPU, _objective

LINE = """
title = "t"
[coordinates]
x = [0, 10]
[equations]
e = "{}"
[[conditions]]
where = "x = 0"
equation = "u = 1"
"""


# --- sizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "expected"), [(1.0, 2.0), (3.0, 9.0)])
def test_a_residual_is_as_large_as_its_largest_term_over_half_lengths(problem_from, size, expected):
    problem = problem_from(BURGERS)  # U / (1/2) for u_t, U² / 1 for u u_x
    assert residual_scale(problem.equations[0], problem, {"u": size}) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("equation", "expected"),
    [
        ("u_x = x^2", 7.7**2),  # the last of the three places
        ("u_x = (10 - x)^2", 7.9**2),  # the first
        ("u = 1/(x - 5)", 1.0),  # singular in the midst, where it does not count
        ("u_xx = 0", 1 / 25),
        ("0.5*u = 0.25", 0.5),
    ],
)
def test_coefficients_count_where_they_are_finite(problem_from, equation, expected):
    problem = problem_from(LINE.format(equation))
    assert residual_scale(problem.equations[0], problem, {"u": 1.0}) == pytest.approx(expected, rel=1e-12)


def test_as_many_points_are_evaluated_at_once_as_keep_the_widest_layer_in_the_cache():
    assert points_at_once(nn.Sequential(nn.Linear(2, 100), nn.Linear(100, 1))) == 2**18 // 100
    assert points_at_once(nn.Linear(1, 2**14)) == 32
    assert points_at_once(nn.Identity()) == 2**18


# --- points ---------------------------------------------------------------------------------------------------------


def test_faces_get_an_eighth_of_the_points_and_sixteen_at_least(problem_from):
    _, objective = _objective(problem_from(BURGERS), mode="soft")
    for count, on_faces in ((400, 50), (64, 16)):
        points = objective.draw(count, 0.5, torch.Generator().manual_seed(0))
        assert [len(place) for place in points] == [count, *[on_faces] * 3]
    assert objective.total_count(points[0]) == 64
    assert [objective.places(index) for index in range(2)] == [slice(0, 1), slice(1, 2)]


def test_candidates_of_the_choice_are_eight_times_as_many_as_chosen(problem_from):
    seen = []

    def magnitude(points):
        seen.append(len(points))
        return torch.ones(len(points))

    sampler = Sampler(problem_from(DECAY), None, 0, torch.float64, CPU)
    assert len(residual_weighted(sampler, 100, 0.25, magnitude, torch.Generator().manual_seed(0))) == 100
    assert seen == [25 * CANDIDATES]


def test_where_the_residual_is_no_number_or_zero_points_are_spread_evenly(problem_from):
    for value in (math.nan, 0.0):
        sampler = Sampler(problem_from(DECAY), None, 0, torch.float64, CPU)
        even = Sampler(problem_from(DECAY), None, 0, torch.float64, CPU).draw(100)
        generator = torch.Generator().manual_seed(0)
        found = residual_weighted(sampler, 100, 0.5, lambda p, v=value: torch.full((len(p),), v), generator)
        assert torch.equal(found, even)


# --- steps ----------------------------------------------------------------------------------------------------------


def test_a_batch_waits_for_ten_ratios_before_it_doubles():
    batch = BatchSize(100, 150)
    for _ in range(10):  # the first loss has none before it to be compared with
        batch.observe(fresh=1.0, fitted=1 / 3)
        assert batch.count == 100
    assert batch.noise == pytest.approx(3, rel=1e-12)
    batch.observe(fresh=1.0, fitted=1 / 3)
    assert batch.count == 150  # at most
    assert batch.noise == 1.0
    batch.observe(fresh=1.0, fitted=None)
    assert batch.noise == pytest.approx(3, rel=1e-12)  # what was seen before is forgotten
    large = BatchSize(100, 1000)
    for _ in range(11):
        large.observe(fresh=1.0, fitted=1 / 3)
    assert large.count == 200
    quiet = BatchSize(100, 200)
    for _ in range(50):
        quiet.observe(fresh=1.0, fitted=1 / 1.9)
    assert quiet.count == 100
    assert BatchSize(1, 2).noise == 1.0


def test_the_noise_of_a_batch_is_remembered_for_about_ten_steps():
    batch = BatchSize(100, 200)
    for fresh in [1.0] * 21 + [math.e]:  # twenty ratios of one, then one of e, which counts for a tenth
        batch.observe(fresh, fitted=1.0)
    assert batch.noise == pytest.approx(math.exp(0.1 / (1 - 0.9**21)), rel=1e-12)


def test_losses_that_are_not_known_are_no_noise():
    for fresh, fitted in ((1.0, None), (0.0, 0.1)):
        batch = BatchSize(100, 200)
        for _ in range(30):
            batch.observe(fresh, fitted)
        assert (batch.count, batch.noise) == (100, 1.0)


def test_the_damping_is_the_smallest_of_a_ladder_for_which_the_loss_falls_by_a_quarter_of_the_prediction(problem_from):
    """Ratios of the real and of the predicted fall, from the Jacobian and the residuals alone."""
    ansatz, objective = _objective(problem_from(BURGERS))
    optimizer = LevenbergMarquardt(objective, ansatz)
    points = objective.draw(60, 0.5, torch.Generator().manual_seed(0))
    (block,), (place,) = objective.blocks, points
    before = None
    ratios = set()
    for number in range(1, 9):
        start = nn.utils.parameters_to_vector(ansatz.parameters()).detach().clone()
        (residual,), (transposed,) = jacobian(ansatz, lambda: objective.raw(block, place))
        scale = block.factors[0] / len(place) ** 0.5
        rows, values = scale * transposed.t().clone(), scale * residual.detach().clone()

        def ratio(damping, rows=rows, values=values, start=start, scale=scale):
            normal = rows.t() @ rows + damping * torch.eye(rows.shape[1], dtype=rows.dtype)
            step = torch.linalg.solve(normal, rows.t() @ values)
            nn.utils.vector_to_parameters(start - step, ansatz.parameters())
            with torch.no_grad():
                reached = (scale * objective.raw(block, place)[0]).square().sum()
            nn.utils.vector_to_parameters(start, ansatz.parameters())
            fall = values.square().sum()
            return float((fall - reached) / (fall - (values - rows @ step).square().sum()))

        mean_square = float(rows.square().sum()) / rows.shape[1]  # of the diagonal
        first = (mean_square if before is None else before) / 4
        result = optimizer.step(points, number)
        end = nn.utils.parameters_to_vector(ansatz.parameters()).detach().clone()
        tries = math.log2(result.damping / first)
        assert tries == pytest.approx(round(tries), abs=1e-9)
        assert ratio(result.damping) >= 0.25
        if tries > 0.5:
            assert ratio(result.damping / 2) < 0.25
        nn.utils.vector_to_parameters(end, ansatz.parameters())
        assert result.loss == pytest.approx(float(values.square().sum()), rel=1e-12)
        assert result.evaluations == 60 * (2 + round(tries))  # one for the Jacobian, one for each λ
        before = result.damping
        ratios.add(round(tries))
    assert len(ratios) > 1  # some first ones are accepted and some are not
