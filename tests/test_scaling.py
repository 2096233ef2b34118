"""Equations in one coordinate, scaled by the terms that they have in the solution."""

from __future__ import annotations

import pytest
import torch

from pinnsolve.solving import prepare, resolve_settings, solve
from pinnsolve.training.scaling import NEGLIGIBLE, RESCALED, rescaled, term_sizes

GROWTH = """
title = "growth"
[coordinates]
t = [0, 2]
[equations]
growth = "u_t = 3*u - 5*u^2"
[[conditions]]
where = "t = 0"
equation = "u = 0.5"
[reference]
solver = "none"
"""
ROBERTSON = """
title = "Robertson's reactions"
fields = ["a", "b", "c"]
[coordinates]
t = [0, 0.01]
[equations]
a = "a_t = -0.04*a + 1e4*b*c"
b = "b_t = 0.04*a - 1e4*b*c - 3e7*b^2"
c = "c_t = 3e7*b^2"
[[conditions]]
where = "t = 0"
equation = "a = 1"
[[conditions]]
where = "t = 0"
equation = "b = 0"
[[conditions]]
where = "t = 0"
equation = "c = 0"
[reference]
solver = "auto"
"""
LIMITS = {"time_limit": 600.0, "audit.enabled": False}


def _constant(problem):
    """Return the training of a problem whose network is zero: u = 1/2 everywhere."""
    training = prepare(problem, resolve_settings(LIMITS)).training
    for parameter in training.ansatz.network.output.parameters():
        torch.nn.init.zeros_(parameter)
    return training


def test_an_equation_is_as_large_as_its_largest_term(problem_from):
    training = _constant(problem_from(GROWTH))
    points = training.held_out[0]
    for half_length, size in [(1.0, 1.5), (0.25, 2.0)]:  # 3/2 against 5/4 and (1/2) / half_length
        sizes, found = term_sizes(training.objective, points, {}, half_length)
        assert sizes == pytest.approx([size], rel=1e-15)
        assert found == {"u": 0.5}
    sizes, found = term_sizes(training.objective, points, {"u": 6 / NEGLIGIBLE}, 2.0)
    assert sizes == pytest.approx([3.0], rel=1e-12)  # of a field that was much larger: 6 / 2
    assert found == {"u": 6 / NEGLIGIBLE}


@pytest.mark.parametrize(("ratio", "changed"), [(0.5 * RESCALED, False), (2 * RESCALED, True), (0.5 / RESCALED, True)])
def test_scales_that_were_far_off_are_told(problem_from, ratio, changed):
    training = _constant(problem_from(GROWTH))
    (factor,) = training.objective.blocks[0].factors
    objective, is_changed = rescaled(training.objective, [ratio / factor])
    assert is_changed == changed
    assert objective.blocks[0].factors == pytest.approx((factor / ratio,), rel=1e-14)
    assert objective.value(training.held_out) == pytest.approx(
        training.objective.value(training.held_out) / ratio**2, rel=1e-12
    )
    assert rescaled(training.objective, [0.0])[0].blocks[0].factors == (1.0,)


def test_fields_of_tiny_values_are_as_accurate_as_others(problem_from):
    solution = solve(problem_from(ROBERTSON), LIMITS)
    for accuracy in solution.fields.values():
        assert accuracy.relative_l2 < 1e-8  # residuals of 1e-10 of the largest term
    assert solution.fields["b"].max_error < 1e-8 * 4e-5  # b is at most 4e-5
