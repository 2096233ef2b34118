from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from pinnsolve.derivatives import autograd, taylor
from pinnsolve.networks import (
    Ansatz,
    InputFeatures,
    MultilayerPerceptron,
    activation,
    derive_constraints,
    output_scales,
)
from pinnsolve.networks.numpy_ansatz import NumpyAnsatz
from pinnsolve.problems import Partial, Problem, load_problem, problem_files
from pinnsolve.problems.formulas import torch_functions
from pinnsolve.training.sampling import Sampler

from .conftest import BURGERS, DECAY

BOX = """
title = "a box"
{top}
[coordinates]
x = [0, 2]
t = [1, 3]
[equations]
wave = "u_tt = 4*u_xx"
"""


def _with(conditions: list[tuple[str, str]], top: str = "", base: str = BOX) -> str:
    tables = "".join(f'[[conditions]]\nwhere = "{where}"\nequation = "{equation}"\n' for where, equation in conditions)
    return base.format(top=top) + tables


def _ansatz(problem: Problem, generator: torch.Generator, mode: str = "auto", harmonics: int = 2) -> Ansatz:
    features = InputFeatures(problem, harmonics, torch.float64)
    network = MultilayerPerceptron(features.size, [8] * 2, len(problem.fields), activation("tanh"), torch.float64)
    network.initialized("glorot", generator)
    return Ansatz(problem, derive_constraints(problem, mode), features, network, output_scales(problem))


def _condition_residuals(problem: Problem, ansatz: Ansatz, names: set[str] | None = None) -> dict[str, float]:
    """Return the greatest residual of each condition, by autograd on points of its face."""
    found = {}
    for condition in problem.conditions:
        if names is not None and condition.name not in names:
            continue
        points = Sampler(problem, condition, 0, torch.float64, torch.device("cpu")).draw(64)
        jet = autograd(ansatz, points, condition.residual.partials)
        found[condition.name] = condition.residual(torch_functions(), jet.columns, jet).abs().max().item()
    return found


@pytest.mark.parametrize(
    "conditions",
    [
        [("t = 1", "u = sin(pi*x)"), ("t = 1", "u_t = x*(2 - x)"), ("boundary", "u = 0")],
        [("t = 1", "u = x + 1"), ("x = 0", "u = t"), ("x = 2", "u = 2*t + 1")],
        [("t = 1", "3*u = 6"), ("x = 0", "u = t + 1"), ("x = 0", "u_x = 0")],
        [("x = 0", "u = cos(t)"), ("x = 2", "u = t**2")],
        [("t = 3", "u = x**2"), ("x = 2", "dn(u) = 0"), ("x = 2", "u = 4")],
    ],
    ids=["initial velocity", "moving ends", "clamped end", "steady ends", "final value"],
)
def test_built_in_conditions_hold_for_any_weights(problem_from, generator, conditions):
    problem = problem_from(_with(conditions))
    constraints = derive_constraints(problem)
    hard = {condition.name for condition in problem.conditions} - {condition.name for condition in constraints.soft}
    assert hard, constraints.notes
    ansatz = _ansatz(problem, generator)
    for name, residual in _condition_residuals(problem, ansatz, hard).items():
        assert residual <= 1e-13 * 100, name  # values of order 10, a few dozen operations


def test_the_distance_vanishes_nowhere_else(problem_from):
    from pinnsolve.problems.formulas import Formula, numpy_functions

    problem = problem_from(_with([("t = 1", "u = 0"), ("t = 1", "u_t = 0"), ("boundary", "u = 0")]))
    constraint = derive_constraints(problem).fields["u"]
    x, t = np.meshgrid(np.linspace(0, 2, 41)[1:-1], np.linspace(1, 3, 41)[1:])
    (values,) = Formula([constraint.distance], problem.symbols)(numpy_functions(), [x, t])
    assert values.min() > 0
    assert values.max() == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(
    ("conditions", "top", "reason"),
    [
        ([("t = 1", "u = 1"), ("boundary", "u = 0")], "", "differ by 1"),
        ([("t = 1", "u = x**2*cos(pi*x/2)")], 'periodic = ["x"]', "derivative of order 1 jumps|value jumps"),
        ([("t = 1", "u = abs(x - 1)")], "", "not smooth"),
        ([("t = 1", "u = sqrt(x)")], "", "not finite"),
    ],
    ids=["corner", "seam", "kink", "infinite slope"],
)
def test_what_cannot_be_built_in_stays_soft_and_says_why(problem_from, conditions, top, reason):
    constraints = derive_constraints(problem_from(_with(conditions, top)))
    assert len(constraints.soft) == 1
    assert len(constraints.notes) == 1
    assert re.search(reason, constraints.notes[0]), constraints.notes


def test_robin_and_neumann_stay_soft(problem_from):
    problem = problem_from(_with([("t = 1", "u = 0"), ("x = 0", "u_x = 0"), ("x = 2", "dn(u) + u = 1")]))
    assert len(derive_constraints(problem).soft) == 2


def test_soft_mode_builds_nothing_in(problem_from):
    problem = problem_from(BURGERS)
    constraints = derive_constraints(problem, "soft")
    assert len(constraints.soft) == 3
    assert constraints.fields["u"].lift == 0
    assert constraints.fields["u"].distance == 1


def test_allen_cahns_initial_value_is_not_built_in():
    """Its slope jumps by 4 across the seam: built in, the error would stop at 4e-4 whatever the loss says."""
    constraints = derive_constraints(load_problem("allen_cahn", problem_files()[0].parent))
    assert any("derivative of order 1" in note for note in constraints.notes)


def test_periodic_coordinates_are_periodic_to_every_order(problem_from, generator):
    problem = problem_from(_with([("t = 1", "u = sin(pi*x)")], 'periodic = ["x"]'))
    ansatz = _ansatz(problem, generator)
    times = torch.linspace(1, 3, 9, dtype=torch.float64)
    partials = [Partial("u", (k, 0)) for k in range(5)]
    left, right = (
        taylor(ansatz, torch.stack([torch.full_like(times, end), times], -1), partials) for end in (0.0, 2.0)
    )
    for partial in partials:
        # sin(2π) is 2.4e-16, and each derivative multiplies by up to 2·harmonics
        assert torch.allclose(left[partial], right[partial], rtol=0, atol=1e-11 * 10**partial.order)


@pytest.mark.parametrize(("bounds", "initial"), [('"positive"', "0.1"), ("[0, 2]", "0.5"), ("[-1, 1]", "0.25*cos(t)")])
def test_a_field_with_a_range_stays_in_it(problem_from, generator, bounds, initial):
    text = f"""
title = "bounded"
[fields.u]
range = {bounds}
[coordinates]
t = [0, 1]
[equations]
growth = "u_t = u*(1 - u)"
[[conditions]]
where = "t = 0"
equation = "u = {initial}"
"""
    problem = problem_from(text)
    ansatz = _ansatz(problem, generator)
    with torch.no_grad():
        for parameter in ansatz.parameters():
            parameter.mul_(50)
        values = ansatz(torch.linspace(0, 1, 1001, dtype=torch.float64)[:, None])["u"]
    lower, upper = problem.fields[0].bounds
    assert values.min() >= lower
    assert values.max() <= upper
    (residual,) = _condition_residuals(problem, ansatz).values()
    assert residual <= 1e-14


@pytest.mark.parametrize("bounds", [(-math.inf, math.inf), (-1.0, math.inf), (-math.inf, 2.0), (-1.0, 2.0)])
def test_a_range_of_one_end_or_two_is_kept_and_meets_the_data_in_torch_and_in_numpy(problem_from, generator, bounds):
    problem = problem_from(DECAY.replace("u = 1", "u = 0.5"))
    problem = replace(problem, fields=(replace(problem.fields[0], bounds=bounds),))
    ansatz = _ansatz(problem, generator)
    points = torch.linspace(0, 1, 33, dtype=torch.float64)[:, None]
    partials = [Partial("u", (order,)) for order in (0, 1)]
    jet, dual = autograd(ansatz, points, partials), NumpyAnsatz(ansatz)(points.numpy())["u"]
    value, slope = (jet[partial].detach().numpy() for partial in partials)
    assert value[0] == pytest.approx(0.5, rel=1e-14)  # log and exp of numbers of size one
    # both ways round a few dozen operations on numbers of size one
    np.testing.assert_allclose(dual.value.real, value, rtol=1e-13)
    np.testing.assert_allclose(dual.slope.real, slope, rtol=1e-12, atol=1e-13)
    with torch.no_grad():
        for parameter in ansatz.parameters():
            parameter.mul_(50)
        for sign in (1, -1):  # the output's weights: far up, then far down
            ansatz.network.output.weight.mul_(sign)
            values = ansatz(points)["u"]
            assert bounds[0] <= values.min() <= values.max() <= bounds[1]


def test_a_value_at_the_end_of_the_range_stays_soft(problem_from):
    text = BURGERS.replace("[constants]", '[fields.u]\nrange = "positive"\n[constants]')
    assert any("end of the range" in note for note in derive_constraints(problem_from(text)).notes)


def test_transfinite_interpolation_uses_the_boundary_alone():
    """poisson_5d's boundary data are a sum of functions of one coordinate, which the boolean sum reproduces.

    Its lift therefore solves the problem: the benchmark is decided by the boundary, not by the network.
    """
    problem = load_problem("poisson_5d", problem_files()[0].parent)
    lift = derive_constraints(problem).fields["u"].lift
    import sympy

    assert sympy.simplify(lift - problem.reference.exact["u"]) == 0


def test_output_scale_is_the_size_of_the_data(problem_from):
    problem = problem_from(_with([("t = 1", "u = 300*sin(pi*x)"), ("boundary", "u = 0")]))
    assert output_scales(problem) == pytest.approx([300.0], rel=1e-3)  # sampled at 256 points
    assert output_scales(problem_from(_with([("boundary", "u = 0")]))) == [1.0]


def test_inputs_are_scaled_to_the_box(problem_from):
    problem = problem_from(_with([("boundary", "u = 0")]))
    features = InputFeatures(problem, 1, torch.float64)
    corners = torch.tensor([[0.0, 1.0], [2.0, 3.0], [1.0, 2.0]], dtype=torch.float64)
    assert features(corners).tolist() == [[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]]


def test_a_slope_is_not_built_in_where_its_value_is_not(problem_from):
    problem = problem_from(
        """
title = "a kink that moves"
[coordinates]
x = [-1, 1]
t = [0, 1]
[equations]
wave = "u_tt = u_xx"
[[conditions]]
where = "t = 0"
equation = "u = abs(x)"
[[conditions]]
where = "t = 0"
equation = "u_t = 0"
[[conditions]]
where = "boundary"
equation = "u = 1"
"""
    )
    constraints = derive_constraints(problem)
    assert [condition.name.split(" at ")[0] for condition in constraints.soft] == ["u = abs(x)", "u_t = 0"]
    assert any("the value on this face is not built in either" in note for note in constraints.notes)
