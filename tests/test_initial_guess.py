"""Where training starts: at numbers, whatever the equations contain."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from pinnsolve.solving import solve
from pinnsolve.solving.session import prepare
from pinnsolve.solving.settings import resolve_settings
from pinnsolve.training.initial_guess import begin_finite

REACTOR = """
title = "Tubular reactor with dispersion"
source = "Danckwerts (1953), Chem. Eng. Sci. 2, 1-13"
tags = ["nonlinear"]
fields = ["c", "T"]

[coordinates]
z = [0, 1]

[equations]
mass = "c_zz/20 - c_z - 0.4*c*exp(15*(1 - 1/T)) = 0"
heat = "T_zz/20 - T_z + 0.12*c*exp(15*(1 - 1/T)) = 0"

[[conditions]]
where = "z = 0"
equation = "c - c_z/20 = 1"
[[conditions]]
where = "z = 0"
equation = "T - T_z/20 = 1"
[[conditions]]
where = "z = 1"
equation = "c_z = 0"
[[conditions]]
where = "z = 1"
equation = "T_z = 0"
"""


def test_fields_that_may_not_pass_zero_begin_at_what_the_conditions_say(problem_from):
    """Both Robin conditions say that the constants are 1; random weights alone pass zero, where 1/T is no number."""
    session = prepare(problem_from(REACTOR), resolve_settings({}))
    z = torch.linspace(0, 1, 101, dtype=torch.float64)[:, None]
    with torch.no_grad():
        fields = session.ansatz(z)
    assert np.isfinite(session.training.held_out_value())
    for name in ("c", "T"):
        assert abs(float(fields[name].mean()) - 1) < 0.5, name
        assert float(fields[name].min()) > 0.2, name


def test_a_start_that_is_finite_stays_as_it_is(problem_from):
    session = prepare(problem_from(REACTOR.replace("1/T", "0*T")), resolve_settings({}))
    output = session.ansatz.network.output
    before = parameters_to_vector(output.parameters()).detach().clone()
    begin_finite(session.training.objective, session.ansatz.network, session.training.held_out)
    assert torch.equal(parameters_to_vector(output.parameters()), before)
    assert before.abs().min() < before.abs().max()


def test_a_start_that_cannot_be_finite_stays_as_it_is(problem_from):
    """The logarithm of -1 - c^2 is no number for any c: training names the fault, as before."""
    session = prepare(problem_from(REACTOR.replace("exp(15*(1 - 1/T))", "log(-1 - c^2)")), resolve_settings({}))
    output = session.ansatz.network.output
    assert float(parameters_to_vector(output.parameters()).detach().abs().max()) > 0.01
    assert not np.isfinite(session.training.held_out_value())


def test_a_problem_whose_random_start_is_no_number_is_solved(problem_from):
    solution = solve(problem_from(REACTOR), optimizer="lm", width=10, steps=100, seed=1)
    # heat and mass add up to a linear problem whose solution is constant: T + 0.3 c = 1.3
    z = np.linspace(0, 1, 101)[:, None]
    fields = solution(z)
    assert fields["T"] + 0.3 * fields["c"] == pytest.approx(np.full(101, 1.3), abs=1e-3)
    assert fields["c"][0] > fields["c"][-1]
