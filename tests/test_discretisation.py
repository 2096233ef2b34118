"""What training with finite differences does not see, provoked and absent."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import pinnsolve
from pinnsolve.cli.inspecting import _show_discretisation
from pinnsolve.derivatives.coupled import coupled_differences
from pinnsolve.derivatives.finite_differences import finite_differences
from pinnsolve.evaluation import compare_residuals
from pinnsolve.problems import load_problem
from pinnsolve.report import discretisation_table

SLOPE = 'title = "t"\n[coordinates]\nx = [0, 1]\n[equations]\nslope = "u_x = 1"\n'
STEP = 2.0**-5


class Given(nn.Module):
    """A function of one coordinate as a trial solution."""

    def __init__(self, function):
        super().__init__()
        self._function = function
        self.unused = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, points):
        return {"u": self._function(points[..., 0])}


def compared(problem, function, maker=finite_differences, scheme=("central2",)):
    differences = maker(*scheme, [STEP], [0.0], [1.0], [False])
    return compare_residuals(problem, Given(function), differences, [STEP])


def test_an_oscillation_of_wavelength_2h_is_named_odd_even_decoupling(problem_from):
    """u = x + a sin(πx/h): central differences of second order give u_x = 1 wherever they are central."""
    size = 1e-3

    def oscillating(x):
        return x + size * torch.sin(math.pi * x / STEP)

    found = compared(problem_from(SLOPE), oscillating)
    assert found.differentiated["slope"].rms == pytest.approx(size * math.pi / STEP / math.sqrt(2), rel=0.05)
    assert found.roughness["slope"] == pytest.approx(2 - 2 * math.cos(math.pi / 4), rel=0.05)
    assert found.decoupled == ["slope"]
    (sentence,) = found.sentences
    assert "odd-even decoupling" in sentence
    assert f"{found.differentiated['slope'].rms:.1e} by autodiff" in sentence


def test_coupled_stencils_see_the_same_oscillation(problem_from):
    def oscillating(x):
        return x + 1e-3 * torch.sin(math.pi * x / STEP)

    found = compared(problem_from(SLOPE), oscillating, coupled_differences, ())
    assert found.hidden == {}
    assert found.sentences == []
    assert found.differenced["slope"].rms > 0.4 * found.differentiated["slope"].rms


def test_the_exact_solution_of_the_differenced_equation_is_named_truncation_error(problem_from):
    """u'(x) = cos(x) by central differences has the solution sin(x) h/sin(h)."""
    text = SLOPE.replace("u_x = 1", "u_x = cos(x)").replace("[0, 1]", "[0, 6]")
    differences = finite_differences("central2", [STEP], [-1.0], [7.0], [False])
    factor = STEP / math.sin(STEP)
    found = compare_residuals(problem_from(text), Given(lambda x: factor * torch.sin(x)), differences, [STEP])
    assert found.decoupled == []
    (sentence,) = found.sentences
    assert "truncation error is what remains" in sentence
    first, last = 4 * STEP, 6 - 4 * STEP  # where every stencil is central
    rms = math.sqrt(0.5 + (math.sin(2 * last) - math.sin(2 * first)) / (4 * (last - first)))  # of cos
    assert found.differentiated["slope"].rms == pytest.approx((factor - 1) * rms, rel=1e-2)
    assert found.differenced["slope"].rms <= 4 * 2.0**-53 / STEP


def test_adequate_differences_are_not_mentioned(problem_from):
    found = compared(problem_from(SLOPE), lambda x: 1.1 * x + 0 * x**2)
    assert found.sentences == []
    assert found.record["differenced"]["slope"]["rms"] == pytest.approx(0.1)


@pytest.fixture(scope="module")
def solved():
    """Return a function from a step to the solution of -u'' = π² sin πx by least squares on random features."""
    settings = {"fd.scheme": "central2", "audit.enabled": False, "network.activation": "tanh"}
    options = {"derivatives": "fd", "optimizer": "least-squares", "steps": 3, "time_limit": 1e3}
    problem = load_problem("poisson_1d")
    return lambda step: pinnsolve.solve(problem, settings={**settings, "fd.step": step}, **options)


def test_training_with_a_step_that_the_features_outrun_finds_the_null_space(solved):
    solution = solved(0.1)
    record = solution.metrics()["discretisation"]
    assert record["decoupled"] == ["poisson"]
    assert record["differentiated"]["poisson"]["rms"] > 1e3 * record["differenced"]["poisson"]["rms"]
    # what has the period h = 0.1 is left alone by (1, -2, 1): the wavelength found is h, 2 - 2 cos(2π/4)
    assert record["roughness"]["poisson"] == pytest.approx(2, rel=0.05)
    assert any("odd-even decoupling" in sentence for sentence in solution.sentences)


def test_training_with_a_finer_step_leaves_the_truncation_error(solved):
    solution = solved(0.025)
    record = solution.metrics()["discretisation"]
    assert solution.fields["u"].relative_l2 == pytest.approx((math.pi * 0.025) ** 2 / 12, rel=0.1)
    assert record["decoupled"] == []
    assert any("truncation error is what remains" in sentence for sentence in solution.sentences)
    ((name, *_, finding),) = discretisation_table(solution.metrics()).rows
    assert (name, finding) == ("poisson", "truncation error of the differences")


def test_the_audit_command_shows_what_the_differences_of_training_left(solved, capsys):
    _show_discretisation(solved(0.1).metrics())
    shown = capsys.readouterr().out
    assert "rms by the differences of training" in shown
    assert "odd-even decoupling" in shown
    _show_discretisation({})
    assert capsys.readouterr().out == ""


def test_a_solve_by_taylor_mode_has_nothing_to_compare():
    options = {"optimizer": "lm", "steps": 1, "time_limit": 1e3, "points": 16}
    solution = pinnsolve.solve("poisson_1d", settings={"audit.enabled": False}, **options)
    assert solution.discretisation is None
    assert solution.metrics()["discretisation"] is None
