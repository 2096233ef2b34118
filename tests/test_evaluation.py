"""Accuracy and residual norms of trial solutions that are formulas, and the limits from which health is doubted."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pinnsolve.derivatives import exact
from pinnsolve.evaluation import Evaluation, FieldAccuracy, evaluate, evaluation_points, health_sentences
from pinnsolve.evaluation.accuracy import norms, relative_l2
from pinnsolve.evaluation.points import EvaluationPoints
from pinnsolve.references import find_reference

from .test_health import TRANSPORT, Closed, evaluation_of


@pytest.fixture(autouse=True)
def any_module_may_be_evaluated(monkeypatch):
    monkeypatch.setattr("pinnsolve.evaluation.accuracy.points_at_once", lambda ansatz: 1000)


# --- errors and norms -----------------------------------------------------------------------------------------------


def test_relative_errors_are_absolute_where_the_truth_is_zero():
    assert relative_l2(np.array([3.0, 8.0]), np.array([3.0, 4.0])) == pytest.approx(4 / 5, rel=1e-15)
    assert relative_l2(np.array([3.0, 4.0]), np.zeros(2)) == pytest.approx(5 / math.sqrt(2), rel=1e-15)


def test_norms_are_the_root_mean_square_and_the_greatest_size():
    found = norms(np.array([1.0, -7.0]))
    assert (found.rms, found.max) == (5.0, 7.0)


@pytest.mark.parametrize(
    ("errors", "worst"), [((1e-3, 1e-1), 1e-1), ((1e-3, None), 1e-3), ((1e3, math.nan), math.nan), ((None, None), None)]
)
def test_the_error_is_that_of_the_worst_field_and_nan_is_worse_than_any(errors, worst):
    fields = {name: FieldAccuracy(relative_l2=error) for name, error in zip("uv", errors, strict=True)}
    found = Evaluation(EvaluationPoints(np.zeros((1, 1))), {}, {}, {}, fields, {}, {}).error
    assert found == worst or (math.isnan(found) and math.isnan(worst))


def test_a_trial_solution_is_measured_against_the_reference_the_equation_and_the_conditions(problem_from):
    problem = problem_from(TRANSPORT)
    trial = Closed(problem, u="x*t")
    found = evaluate(problem, trial, exact(trial.expressions, problem.symbols), find_reference(problem))
    x, t = np.meshgrid(np.linspace(0, 2, 201), np.linspace(0, 1, 501), indexing="ij")
    truth = 1 + np.sin(np.pi * (x - t))
    assert found.points.shape == (201, 501)
    np.testing.assert_allclose(found.values["u"].reshape(201, 501), x * t, rtol=1e-14)
    np.testing.assert_allclose(found.residual_maps["transport"].reshape(201, 501), x + t, rtol=1e-14)
    accuracy = found.fields["u"]
    assert accuracy.relative_l2 == pytest.approx(np.linalg.norm(x * t - truth) / np.linalg.norm(truth), rel=1e-12)
    assert accuracy.max_error == pytest.approx(np.abs(x * t - truth).max(), rel=1e-12)
    assert (accuracy.reference, found.error) == ("exact", accuracy.relative_l2)
    # E[(x + t)²] = 4/3 + 1 + 1/3 by 2^14 points; the greatest, near a corner, by one of them within 1/50
    assert found.residuals["transport"].rms == pytest.approx(math.sqrt(8 / 3), rel=1e-3)
    assert found.residuals["transport"].max == pytest.approx(3, abs=0.06)
    (start,) = found.conditions.values()  # 0 = 1 + sin(πx)
    assert start.rms == pytest.approx(math.sqrt(1.5), rel=1e-3)
    assert start.max == pytest.approx(2, rel=1e-3)
    assert found.largest_terms == {"transport": pytest.approx(math.sqrt(4 / 3), rel=1e-3)}  # u_t = x


# --- points ---------------------------------------------------------------------------------------------------------


PLAIN = 'title = "t"\n[coordinates]\n{}\n[equations]\ne = "{} = 0"\n'


@pytest.mark.parametrize(
    ("coordinates", "equation", "shape"),
    [
        (["x = [0, 2]"], "u_x", (2001,)),
        (["x = [0, 2]", "t = [0, 1]"], "u_x", (201, 501)),
        (["t = [0, 1]", "x = [0, 2]"], "u_x", (501, 201)),
        (["x = [0, 2]", "y = [0, 1]"], "u_x", (321, 321)),
        (["x = [0, 2]", "y = [0, 1]", "t = [0, 1]"], "u_x", (2**17,)),
    ],
)
def test_accuracy_is_measured_on_grids_up_to_two_dimensions(problem_from, coordinates, equation, shape):
    problem = problem_from(PLAIN.format("\n".join(coordinates), equation))
    points = evaluation_points(problem)
    assert points.shape == shape
    assert points.points.shape == (math.prod(shape), len(coordinates))
    lower, upper = problem.box
    assert (points.points >= lower).all()
    assert (points.points <= upper).all()
    if len(shape) == 2:  # the last coordinate is the fastest
        assert points.points[1].tolist() == [0, points.axes[1][1]]


def test_points_of_a_grid_outside_the_domain_have_no_values():
    mask = np.array([True, False, True])
    points = EvaluationPoints(np.array([[1.0], [2.0], [3.0]]), (np.array([1.0, 2.0, 3.0]),), mask)
    assert points.inside.tolist() == [[1.0], [3.0]]
    spread = points.spread({"u": np.array([5.0, 7.0])})["u"]
    assert (spread[0], spread[2]) == (5.0, 7.0)
    assert np.isnan(spread[1])


# --- limits of health -----------------------------------------------------------------------------------------------


def _wave(points):
    return np.sin(np.pi * (points[:, 0] - points[:, 1]))


def _told(problem, values, truth, loss=None, held_out=None):
    return [
        text.split(":")[0] for text in health_sentences(problem, evaluation_of(problem, values, truth), loss, held_out)
    ]


def test_a_wrong_answer_is_one_that_errs_by_two_percent_at_a_tenth_of_that_as_loss(problem_from):
    problem = problem_from(TRANSPORT)
    for error, loss, told in ((0.019, 1e-9, 0), (0.021, 1e-9, 1), (0.5, 0.0026, 0), (0.5, 0.0024, 1)):
        found = _told(problem, lambda p, by=error: (1 + by) * _wave(p), _wave, loss)
        assert len(found) == told
        assert all("the answer is wrong by" in text for text in found)


def test_a_second_solution_is_told_from_a_wrong_one(problem_from):
    problem = problem_from(TRANSPORT)
    wrong = evaluation_of(problem, lambda p: -_wave(p), _wave)  # as of u_x^2 = f, whose solutions come in pairs
    for held_out, has_others in ((1e-21, True), (1e-19, False), (None, False)):
        (text,) = health_sentences(problem, wrong, 1e-22, held_out)
        assert ("more than one solution" in text) is has_others
        assert ("do not trust" in text) is not has_others


def test_a_solution_is_flat_below_a_twentieth_of_the_reference(problem_from):
    problem = problem_from(TRANSPORT)
    for share, told in ((0.051, 0), (0.049, 1)):
        found = _told(problem, lambda p, by=share: by * _wave(p), _wave)
        assert ["nearly constant" in text for text in found] == [True] * told


def test_without_a_reference_a_solution_is_flat_below_a_ten_thousandth_of_its_data(problem_from):
    problem = problem_from(TRANSPORT.split("[reference]")[0])  # data up to 2
    for spread, told in ((2.1e-4, 0), (1.9e-4, 1)):
        values = lambda p, by=spread: by * np.where(p[:, 0] > 1, 1.0, -1.0)  # noqa: E731 - of this deviation
        assert len(_told(problem, values, None)) == told


def test_points_are_fitted_where_the_residual_between_them_is_ten_times_as_large(problem_from):
    problem = problem_from(TRANSPORT)
    for loss, held_out, told in ((0.9 / 99, 0.9, 0), (0.9 / 101, 0.9, 1), (1e-9, 0.019**2, 0), (1e-9, 0.021**2, 1)):
        found = _told(problem, _wave, _wave, loss, held_out)
        assert ["Between the collocation points" in text for text in found] == [True] * told


def test_an_equation_is_unsolved_where_a_tenth_of_its_largest_term_is_left(problem_from):
    problem = problem_from(TRANSPORT)
    for speed, told in ((1.10, 0), (1.12, 1)):  # (c - 1)/c of u_t
        trial = Closed(problem, u=f"sin(pi*(x - {speed}*t))")
        evaluation = evaluate(problem, trial, exact(trial.expressions, problem.symbols), None)
        assert len(health_sentences(problem, evaluation, None, None)) == told
        assert health_sentences(problem, replace(evaluation, largest_terms={}), None, None) == []
