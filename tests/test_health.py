"""Health of a solution: invariants, trivial solutions, what a classical solver takes."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pinnsolve.derivatives import exact
from pinnsolve.errors import ProblemError
from pinnsolve.evaluation import (
    Evaluation,
    FieldAccuracy,
    classical_cost,
    evaluate,
    evaluation_points,
    health_sentences,
    known_values,
    measure_invariants,
)
from pinnsolve.evaluation.health import shape_error, unsolved_sentences
from pinnsolve.problems import load_problem_file
from pinnsolve.problems.formulas import Formula, torch_functions
from pinnsolve.problems.loading import parse_problem
from pinnsolve.references import COMPUTED, find_reference
from pinnsolve.references.reference import check_points, relative_differences

LIBRARY = Path(__file__).parents[1] / "problems"

TRANSPORT = """
title = "transport"
periodic = ["x"]
[coordinates]
x = [0, 2]
t = [0, 1]
[equations]
transport = "u_t + u_x = 0"
[[conditions]]
where = "t = 0"
equation = "u = 1 + sin(pi*x)"
[reference]
exact = { u = "1 + sin(pi*(x - t))" }
[invariants]
mass = "integral(u)"
energy = "integral(u^2 + u_x^2)"
"""


class Closed(nn.Module):
    """A trial solution that is an expression of the coordinates."""

    def __init__(self, problem, **expressions):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        scope = {name: problem_expression(problem, text) for name, text in expressions.items()}
        self.expressions = scope
        self._names, self._formula = list(scope), Formula(list(scope.values()), problem.symbols)

    def forward(self, points):
        values = self._formula(torch_functions(), list(points.T))
        return {n: v + 0.0 * points[:, 0] for n, v in zip(self._names, values, strict=True)}


def problem_expression(problem, text):
    from pinnsolve.problems.expressions import Scope

    return Scope(coordinates={symbol.name: symbol for symbol in problem.symbols}).expression(text)


def drifts(problem, **expressions):
    trial = Closed(problem, **expressions)
    return measure_invariants(problem, trial, exact(trial.expressions, problem.symbols))


@pytest.fixture(autouse=True)
def any_module_may_be_evaluated(monkeypatch):
    monkeypatch.setattr("pinnsolve.evaluation.accuracy.points_at_once", lambda ansatz: 2**16)


def test_invariants_of_the_exact_solution_are_conserved_to_the_accuracy_of_the_quadrature(problem_from):
    problem = problem_from(TRANSPORT)
    found = drifts(problem, u="1 + sin(pi*(x - t))")
    assert found["mass"].start == pytest.approx(2.0, rel=1e-12)
    assert found["energy"].start == pytest.approx(2 + 1 + np.pi**2, rel=1e-9)
    for drift in found.values():
        assert drift.relative < 1e-12
        assert drift.quadrature_error < 1e-8


def test_a_drift_is_measured_and_told(problem_from):
    found = drifts(problem_from(TRANSPORT), u="(1 + sin(pi*(x - t)))*exp(-t/10)")
    assert found["mass"].largest == pytest.approx(2 * (1 - np.exp(-0.1)), rel=1e-9)
    # relative to the largest integral of |u|, at t = 0
    assert found["mass"].relative == pytest.approx(1 - np.exp(-0.1), rel=1e-9)
    assert found["mass"].sentence("mass").endswith("moves by 9.5e-02 of its size: it is not conserved.")


def test_sharp_fronts_are_integrated_by_more_panels(problem_from):
    text = TRANSPORT.replace("x = [0, 2]", "x = [-1, 1]").replace("periodic = ['x']", "")
    problem = problem_from(text.replace('"1 + sin(pi*(x - t))"', '"tanh(x)"').replace("[reference]\n", "[reference]\n"))
    found = drifts(problem, u="1 + tanh((x - t/4)/0.003)")
    # ∫ over [-1, 1] is 2 - t/2, but for tails of exp(-500)
    assert found["mass"].largest == pytest.approx(0.5, rel=1e-8)
    assert found["mass"].quadrature_error < 1e-8


def test_integrals_are_over_all_of_space():
    text = (LIBRARY / "heat_2d.toml").read_text() + '\n[invariants]\nheat = "integral(u)"\n'
    problem = parse_problem(text.encode(), Path("heat_2d.toml"))
    found = drifts(problem, u="x*y^2*(1 + t)")
    assert found["heat"].start == pytest.approx(1 / 6, rel=1e-12)
    assert found["heat"].largest == pytest.approx(1 / 6, rel=1e-12)


def test_an_invariant_of_an_ordinary_differential_equation_is_a_value():
    text = (LIBRARY / "sir.toml").read_text()
    text = text if "[invariants]" in text else text + '\n[invariants]\npeople = "S + I + R"\n'
    problem = parse_problem(text.encode(), Path("sir.toml"))
    found = drifts(problem, S="exp(-t)", I="1 - exp(-t)", R="t/60")
    assert found["people"].start == pytest.approx(1.0)
    assert found["people"].largest == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("u", "'u' is no integral over x"),
        ("integral(x)", "no field stands in"),
        ("integral(u, u)", "takes 1 argument, got 2"),
        ("integral(v)", "unknown name 'v'"),
    ],
)
def test_an_invariant_that_is_none_is_refused(problem_from, text, message):
    with pytest.raises(ProblemError, match=re.escape(message)):
        problem_from(TRANSPORT.replace("integral(u)", text))


def test_a_steady_problem_has_no_invariants():
    text = (LIBRARY / "poisson.toml").read_text() + '\n[invariants]\nmass = "integral(u)"\n'
    with pytest.raises(ProblemError, match="there is no time coordinate"):
        parse_problem(text.encode(), Path("poisson.toml"))


# -- trivial solutions ---------------------------------------------------------------------------------


def evaluation_of(problem, values, truth):
    points = evaluation_points(problem)
    shape = (len(points.points),)
    values = {"u": np.broadcast_to(values(points.points), shape)}
    truth = {} if truth is None else {"u": truth(points.points)}
    error = None if not truth else float(np.linalg.norm(values["u"] - truth["u"]) / np.linalg.norm(truth["u"]))
    return Evaluation(points, values, truth, {}, {"u": FieldAccuracy(relative_l2=error)}, {}, {})


def test_an_equation_that_is_not_solved_is_named_where_no_reference_tells(problem_from):
    problem = problem_from(TRANSPORT)
    # u_t + u_x of sin(pi*(x - 2*t)) is -pi*cos(...), half of u_t: the largest term
    for wave, found in [("sin(pi*(x - 2*t))", ["50%"]), ("sin(pi*(x - 1.05*t))", []), ("sin(pi*(x - t))", [])]:
        trial = Closed(problem, u=wave)
        evaluation = evaluate(problem, trial, exact(trial.expressions, problem.symbols), None)
        sentences = health_sentences(problem, evaluation, 1e-9, None)
        assert [re.search(r"residual of transport is (\d+%) of", text).group(1) for text in sentences] == found
        assert unsolved_sentences(replace(evaluation, fields={"u": FieldAccuracy(relative_l2=0.5)})) == []


def test_the_largest_term_is_that_of_the_equation_as_it_is_written(problem_from):
    problem = problem_from(TRANSPORT.replace("u_t + u_x = 0", "u_t + u_x = 3"))
    trial = Closed(problem, u="x + t/2")
    evaluation = evaluate(problem, trial, exact(trial.expressions, problem.symbols), None)
    assert evaluation.largest_terms == {"transport": 3.0}
    assert evaluation.residuals["transport"].rms == 1.5


def test_a_constant_in_place_of_a_wave_is_called_trivial(problem_from):
    problem = problem_from(TRANSPORT)

    def wave(points):
        return 1 + np.sin(np.pi * (points[:, 0] - points[:, 1]))

    trivial = health_sentences(problem, evaluation_of(problem, lambda p: np.ones(1), wave), None, None)
    assert len(trivial) == 1
    assert "training found a trivial solution" in trivial[0]
    assert health_sentences(problem, evaluation_of(problem, wave, wave), 1e-12, 1e-12) == []


def test_a_constant_without_a_reference_is_doubted(problem_from):
    problem = problem_from(TRANSPORT.split("[reference]")[0])
    found = health_sentences(problem, evaluation_of(problem, lambda p: np.zeros(1), None), None, None)
    assert ["may be a trivial solution" in sentence for sentence in found] == [True]
    assert health_sentences(problem, evaluation_of(problem, lambda p: p[:, 0], None), None, None) == []


def test_a_low_loss_with_a_wrong_answer_is_told(problem_from):
    problem = problem_from(TRANSPORT)
    wrong = evaluation_of(problem, lambda p: np.sin(p[:, 0]), lambda p: np.cos(p[:, 0]))
    assert any("do not trust this solution" in sentence for sentence in health_sentences(problem, wrong, 1e-8, 1e-8))
    assert health_sentences(problem, wrong, 1.0, 1.0) == []


def offset(amplitude):
    """1000 and a wave of this size."""
    return lambda points: 1000 + amplitude * np.sin(np.pi * (points[:, 0] - points[:, 1]))


def test_a_wrong_shape_on_a_large_mean_is_told(problem_from):
    problem = problem_from(TRANSPORT)
    wrong = evaluation_of(problem, offset(-1.0), offset(1.0))
    # twice the wave, whose mean square is 1/2: 2/√2 of 1000, and 200 % of what it varies by
    assert wrong.error == pytest.approx(math.sqrt(2) * 1e-3, rel=1e-2)
    assert shape_error(wrong, "u") == pytest.approx(2.0, rel=1e-2)
    (sentence,) = health_sentences(problem, wrong, 1e-8, 1e-8)
    assert re.search(
        r"error of u is small against its size \(1.4e-03\) but (199|200).\d% of what it varies by", sentence
    )
    assert health_sentences(problem, evaluation_of(problem, offset(1.01), offset(1.0)), 1e-8, 1e-8) == []


def test_a_constant_in_place_of_a_wave_on_a_large_mean_is_called_trivial(problem_from):
    problem = problem_from(TRANSPORT)
    sentences = health_sentences(problem, evaluation_of(problem, offset(0.0), offset(1.0)), None, None)
    assert ["training found a trivial solution" in sentence for sentence in sentences] == [True, False]
    assert "a large mean hides that the shape is wrong" in sentences[1]


def test_a_solution_that_varies_by_no_more_than_its_reference_errs_has_no_shape(problem_from):
    problem = problem_from(TRANSPORT)
    found = evaluation_of(problem, offset(0.0), offset(1e-3))  # varies by 7e-7 of its size
    for known, shapes in [(1e-6, False), (1e-7, True), (None, True), (math.nan, True)]:
        judged = replace(found, fields={"u": replace(found.fields["u"], reference_error=known)})
        assert (shape_error(judged, "u") is not None) == shapes
    assert shape_error(evaluation_of(problem, offset(1.0), offset(0.0)), "u") is None
    assert shape_error(evaluation_of(problem, offset(1.0), None), "u") is None


def test_points_outside_the_domain_do_not_count_for_the_shape(problem_from):
    problem = problem_from(TRANSPORT)
    found = evaluation_of(problem, offset(-1.0), offset(1.0))
    holes = np.arange(len(found.values["u"])) % 2 == 0
    values, truth = found.values["u"].copy(), found.reference["u"].copy()
    values[holes], truth[holes] = math.nan, math.nan
    assert shape_error(replace(found, values={"u": values}, reference={"u": truth}), "u") == pytest.approx(2, rel=0.05)


def test_a_residual_between_the_points_is_told(problem_from):
    problem = problem_from(TRANSPORT)
    right = evaluation_of(problem, lambda p: p[:, 0], lambda p: p[:, 0])
    assert "30 times as large" in health_sentences(problem, right, 1e-3, 0.9)[0]
    assert health_sentences(problem, right, 1e-3, 2e-3) == []
    assert health_sentences(problem, right, 0.5, 500.0) == []  # a run that diverged fits no points


# -- the classical way ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "solver"),
    [("poisson", "collocation"), ("heat", "chebyshev"), ("logistic", "solve_ivp"), ("convection", "chebyshev")],
)
def test_the_coarsest_classical_run_of_an_accuracy_is_found(name, solver):
    problem = load_problem_file(LIBRARY / f"{name}.toml")
    reference = find_reference(problem)
    costs = [classical_cost(problem, reference, error, budget=30.0) for error in (1e-2, 1e-6)]
    for cost, error in zip(costs, (1e-2, 1e-6), strict=True):
        assert cost.solver == solver
        assert cost.reached
        assert cost.relative_l2 <= error
        assert f"in {cost.seconds:.2g} s; this run took 58 s." in cost.sentence(58.0)
    assert costs[1].relative_l2 <= costs[0].relative_l2


def test_the_fourier_solver_is_timed_from_coarse_to_fine():
    problem = load_problem_file(LIBRARY / "convection.toml")
    (fourier,) = [solver for solver in COMPUTED if solver.name == "fourier"]
    points, truth = check_points(problem), find_reference(problem)(check_points(problem))
    runs = islice(fourier.resolutions(problem, math.inf), 2, 5)
    errors = [relative_differences(truth, run.chart(points))["u"] for run in runs]
    # coefficients are interpolated in time with order 9
    assert errors[1] / errors[0] < 2.0**-7
    assert errors[2] / errors[1] < 2.0**-7


def test_an_accuracy_that_is_out_of_reach_is_told():
    problem = load_problem_file(LIBRARY / "poisson.toml")
    cost = classical_cost(problem, find_reference(problem), 0.0, budget=0.5)
    assert not cost.reached
    assert "not to that of this run" in cost.sentence(58.0)


@pytest.mark.parametrize("name", ["poisson_5d", "poisson_10d"])
def test_many_dimensions_have_no_classical_solver(name):
    problem = load_problem_file(LIBRARY / f"{name}.toml")
    assert classical_cost(problem, find_reference(problem), 1e-3, budget=1.0) is None


def test_without_an_error_there_is_no_cost():
    problem = load_problem_file(LIBRARY / "poisson.toml")
    assert classical_cost(problem, None, 1e-3, budget=1.0) is None
    assert classical_cost(problem, find_reference(problem), float("nan"), budget=1.0) is None


def test_a_pressure_is_compared_up_to_a_constant():
    problem = load_problem_file(LIBRARY / "kovasznay.toml")
    floating = replace(problem, conditions=tuple(c for c in problem.conditions if "p =" not in c.name))
    assert floating.floating_fields == ("p",)
    reference = find_reference(floating)
    points = np.random.default_rng(0).uniform(-0.5, 1, size=(50, 2))
    shifted = {name: value + 3.0 for name, value in reference(points).items()}
    truth = known_values(floating, reference, points, shifted)
    np.testing.assert_allclose(truth["p"], shifted["p"], rtol=1e-13)
    np.testing.assert_allclose(truth["u"], shifted["u"] - 3.0, rtol=1e-13)
