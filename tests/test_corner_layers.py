"""Layers from the corners of space and time at which initial and boundary data disagree."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy
from scipy.special import erfc

from pinnsolve.networks import derive_constraints, singularities
from pinnsolve.networks.corner_layers import corner_layers
from pinnsolve.networks.prescribed import values_at
from pinnsolve.solving import finish, prepare, resolve_settings

ROD = """
title = "A rod of length 2, from t = 1 on"
tags = ["discontinuous"]
[coordinates]
x = [-1, 1]
t = [1, 3]
[equations]
heat = "2*u_t = (3 + x)*u_xx"
[[conditions]]
where = "t = 1"
equation = "u = 1 + x"
[[conditions]]
where = "x = -1"
equation = "u = 5*t"
[[conditions]]
where = "x = 1"
equation = "u_x + 2*u = 6"
[reference]
solver = "none"
"""
QUENCHED = """
title = "A rod that is quenched at both ends"
tags = ["discontinuous"]
[coordinates]
x = [0, 1]
t = [0, 0.5]
[equations]
heat = "u_t = u_xx"
[[conditions]]
where = "t = 0"
equation = "u = 1"
[[conditions]]
where = "boundary"
equation = "u = 0"
[reference]
solver = "none"
"""


def _layers(problem):
    return corner_layers(problem, problem.fields[0])


def test_layers_tell_where_data_disagree_and_by_how_much(problem_from):
    value, slope = _layers(problem_from(ROD))
    assert (value.order, value.height) == (0, 5.0)  # 5 t = 5 against 1 + x = 0
    assert (slope.order, slope.height) == (1, -(6 - 2 * 2 - 1))  # u_x = 6 - 2 u = 2 against 1: inward it is less
    assert value.longest == pytest.approx(math.sqrt(4 * 1.0 * 2))  # κ = (3 + x)/2 at x = -1
    assert slope.longest == pytest.approx(math.sqrt(4 * 2.0 * 2))


@pytest.mark.parametrize("index", [0, 1])
def test_layers_solve_the_heat_equation_and_begin_as_nothing(problem_from, index):
    problem = problem_from(ROD)
    x, t = problem.symbols
    layer, end, kappa = _layers(problem)[index], (-1.0, 1.0)[index], (1.0, 2.0)[index]
    u = layer.expression
    points = np.array([[-0.9, 1.3], [-0.2, 1.05], [0.4, 2.0], [0.95, 2.9]])
    rate, curvature, size = values_at(
        [sympy.diff(u, t), kappa * sympy.diff(u, x, 2), sympy.diff(u, t)], problem, points
    )
    np.testing.assert_allclose(rate, curvature, rtol=1e-9, atol=1e-12 * np.max(np.abs(size)))
    later = np.array([[end, 1.2], [end, 2.5]])
    given = values_at([u if layer.order == 0 else sympy.diff(u, x)], problem, later)[0]
    inward = 1 if end < 0 else -1
    np.testing.assert_allclose(given, layer.height * inward**layer.order, rtol=1e-12)
    start = np.column_stack([np.linspace(-0.99, 0.99, 9), np.ones(9)])
    np.testing.assert_allclose(values_at([u], problem, start)[0], 0, atol=1e-10)


def test_the_layer_of_a_jump_is_that_of_a_half_line(problem_from):
    layer = _layers(problem_from(ROD))[0]
    points = np.array([[-0.5, 1.5], [0.3, 2.0]])
    expected = 5 * erfc((points[:, 0] + 1) / np.sqrt(4 * (points[:, 1] - 1)))
    np.testing.assert_allclose(values_at([layer.expression], problem_from(ROD), points)[0], expected, rtol=1e-9)


def test_data_that_disagree_are_built_in(problem_from):
    problem = problem_from(QUENCHED)
    constraints = derive_constraints(problem)
    assert (constraints.soft, constraints.notes) == ((), ())
    lift = constraints.fields["u"].lift
    times = np.linspace(0.01, 0.5, 7)
    for end in (0.0, 1.0):
        sides = values_at([lift], problem, np.column_stack([np.full(7, end), times]))[0]
        np.testing.assert_allclose(sides, 0, atol=1e-13)
    inside = np.column_stack([np.linspace(0.01, 0.99, 9), np.zeros(9)])
    np.testing.assert_allclose(values_at([lift], problem, inside)[0], 1, atol=1e-13)
    assert len(singularities(problem)) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"u = 0"', '"u = 1"'),  # they agree
        ('"u = 0"', '"u = 1 + 1e-5*t - 1e-6"'),  # nearly
        ("u_t = u_xx", "u_t = (1 + u^2)*u_xx"),  # the diffusivity is not known there
        ("u_t = u_xx", "u_t = -u_x"),
        ("u_t = u_xx", "u_t = -u_xx"),
        ("[coordinates]", '[fields.u]\nrange = "positive"\n[coordinates]'),
        ("[coordinates]\nx = [0, 1]", '[geometry]\ndomain = "disk(0, 0, 1)"\n[coordinates]'),
    ],
)
def test_there_is_no_layer_where_none_is_known(problem_from, old, new):
    text = QUENCHED.replace(old, new)
    assert text != QUENCHED
    problem = problem_from(text.replace("u_xx", "laplacian(u)") if "disk" in text else text)
    assert _layers(problem) == []


def test_a_system_has_the_layers_of_each_field(problem_from):
    text = QUENCHED.replace("tags", 'fields = ["u", "v"]\ntags').replace(
        "[[conditions]]", 'other = "v_t = 0.5*v_xx - u"\n[[conditions]]', 1
    )
    for where, value in (("t = 0", "2"), ("x = 0", "2"), ("x = 1", "5")):
        text = text.replace("[reference]", f'[[conditions]]\nwhere = "{where}"\nequation = "v = {value}"\n[reference]')
    problem = problem_from(text)
    assert [layer.height for layer in _layers(problem)] == [-1.0, -1.0]
    assert [layer.height for layer in corner_layers(problem, problem.fields[1])] == [3.0]


def test_a_quenched_rod_is_solved(problem_from):
    settings = {"training.steps": 12, "training.optimizer": "least-squares", "time_limit": 600, "audit.enabled": False}
    session = prepare(problem_from(QUENCHED), resolve_settings(settings))
    for _ in session.train():
        pass
    x, t = np.meshgrid(np.linspace(0, 1, 21), np.linspace(0.002, 0.5, 20))
    points = np.column_stack([x.ravel(), t.ravel()])
    k = np.arange(1, 400, 2)[:, None]  # the series' tail at t = 0.002 is exp(-0.002 (400π)²)
    exact = (4 / (np.pi * k) * np.sin(k * np.pi * points[:, 0]) * np.exp(-((k * np.pi) ** 2) * points[:, 1])).sum(0)
    error = finish(session)(points)["u"] - exact
    assert np.max(np.abs(error)) < 1e-3  # 0.8 with the initial values as a weighted residual
