"""The first-order formulation: the same problem with derivatives as fields of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sympy
import torch
from typer.testing import CliRunner

import pinnsolve
from pinnsolve.cli.app import app
from pinnsolve.derivatives import autograd
from pinnsolve.evaluation import scattered_points
from pinnsolve.networks import activation, derive_constraints
from pinnsolve.networks.ansatz import output_scales
from pinnsolve.networks.smoothness import smoothness_note
from pinnsolve.problems import Partial, load_problem, problem_files
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.problems.formulation import auxiliary_partials, definitions, first_order, formulated
from pinnsolve.problems.known_functions import known_function
from pinnsolve.problems.lint import reference_faults
from pinnsolve.problems.windows import problem_in_window
from pinnsolve.runs import RunFolder, recording

HEAD = 'title = "t"\n[coordinates]\nx = [0, 1]\n'
BEAM = """
title = "Beam on an elastic bed"
[coordinates]
x = [0, 2]
t = [0, 1]
[equations]
beam = "u_tt + d((1 + x)*u_xx, x, x) + u = sin(x)"
[[conditions]]
where = "t = 0"
equation = "u = x**4"
[[conditions]]
where = "t = 0"
equation = "u_t = x"
[[conditions]]
where = "x = 0"
equation = "u = 0"
[[conditions]]
where = "x = 0"
equation = "dn(u) = 0"
[[conditions]]
where = "x = 2"
equation = "u_xx = t"
[[conditions]]
where = "x = 2"
equation = "u_xxx + 3*u = t**2"
"""
SYSTEM = """
title = "A system with mixed derivatives"
fields = ["u", "v"]
periodic = ["y"]
[coordinates]
x = [0, 1]
y = [0, 1]
t = [0, 1]
[equations]
first = "u_xt + u*v_yy + u_xxy**2 = laplacian(v)"
second = "v_t = biharmonic(u) + v_x*u_x"
[[conditions]]
where = "x = 0"
equation = "u_x + 2*u = sin(t)*v"
"""


def residual_at(residual, exact, symbols, points):
    """Return the residual (N,) of expressions for the fields, by SymPy's own differentiation."""
    expression = residual.expression.subs({field: exact[str(field.func)] for field in residual.fields}).doit()
    (value,) = Formula([expression], symbols)(numpy_functions(), list(points.T))
    return np.broadcast_to(value, len(points))


def wavy(problem):
    """Return smooth functions for the fields of a problem that solve nothing, and their derivatives as new fields."""
    symbols = problem.symbols
    exact = {}
    for index, field in enumerate(problem.field_names):
        phase = sum((k + 2) * x for k, x in enumerate(symbols)) / sympy.Integer(7 + index)
        exact[field] = sympy.sin(phase) * sympy.exp(phase / 3) + 2
    return exact


PROBLEMS = {path.stem: path for path in problem_files()}


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_has_a_formulation_of_order_one_with_the_same_residuals(name):
    check_equivalence(load_problem(name))


@pytest.mark.parametrize("text", [BEAM, SYSTEM], ids=["beam", "system"])
def test_mixtures_products_and_systems_keep_their_residuals(problem_from, text):
    check_equivalence(problem_from(text))


def check_equivalence(problem):
    posed = first_order(problem)
    assert posed.order == 1
    assert all(p.order <= 1 for condition in posed.conditions for p in condition.residual.partials)
    assert posed.fields[: len(problem.fields)] == problem.fields
    exact = wavy(problem)
    known = dict(exact)
    for field in posed.fields[len(problem.fields) :]:
        known[field.name] = exact[field.stands_for.field]
        for symbol, times in zip(problem.symbols, field.stands_for.orders, strict=True):
            known[field.name] = sympy.diff(known[field.name], symbol, times)
    points = scattered_points(problem, 16)
    rewritten = [c.residual for c in posed.conditions[: len(problem.conditions)]]
    pairs = zip(
        [*problem.equations, *(c.residual for c in problem.conditions)],
        [*posed.equations[: len(problem.equations)], *rewritten],
        strict=True,
    )
    for original, lowered in pairs:
        expected = residual_at(original, exact, problem.symbols, points)
        found = residual_at(lowered, known, problem.symbols, points)
        assert lowered.name == original.name
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10 * np.max(np.abs(expected)))
    for equation in definitions(posed).values():
        np.testing.assert_allclose(residual_at(equation, known, problem.symbols, points), 0, atol=1e-11)


@pytest.mark.parametrize("name", ["wave", "klein_gordon", "elu_home", "poisson_multiscale", "heat"])
def test_the_exact_solution_and_its_derivatives_satisfy_the_formulation_and_the_implied_data(name):
    posed = first_order(load_problem(name))
    assert set(posed.reference.exact) == set(posed.field_names)
    assert reference_faults(posed) == []


def test_a_formulation_takes_as_few_fields_as_the_chains_need(problem_from):
    def new(text):
        return [partial.orders for partial in auxiliary_partials(problem_from(text))]

    plane = HEAD + "t = [0, 1]\n[equations]\n"
    assert new(plane + 'a = "u_t = u_xx + u_xt"') == [(1, 0)]
    assert new(plane + 'a = "u_t = u_xxt"') == [(0, 1), (1, 1)]  # u_t stays the only derivative in time
    assert new(plane + 'a = "u_t = u_xxxx"') == [(1, 0), (2, 0), (3, 0)]
    assert new(plane + 'a = "u_t = u_x"') == []


def test_a_problem_of_order_one_is_left_as_it_is():
    problem = load_problem("convection")
    assert first_order(problem) is problem
    assert definitions(problem) == {}
    assert formulated(load_problem("heat"), "direct").field_names == ("u",)


def test_new_fields_keep_clear_of_other_names(problem_from):
    text = 'title = "t"\nfields = ["u", "Du_x1"]\n[coordinates]\nx1 = [0, 1]\n[equations]\na = "d(u, x1, x1) = Du_x1"'
    posed = first_order(problem_from(text))
    assert posed.field_names == ("u", "Du_x1", "DDu_x1")
    assert str(posed.equations[0].placed) == "-Du_x1 + d(DDu_x1, x1)"


def test_a_neumann_condition_becomes_a_value_that_is_built_in(problem_from):
    text = HEAD + '[equations]\na = "u_xx = 6*x"\n'
    text += '[[conditions]]\nwhere = "x = 0"\nequation = "u = 0"\n'
    text += '[[conditions]]\nwhere = "x = 1"\nequation = "2*dn(u) = 6"\n'
    problem = problem_from(text)
    assert [c.name for c in derive_constraints(problem).soft] == ["2*dn(u) = 6 at x = 1"]
    posed = first_order(problem)
    constraints = derive_constraints(posed)
    assert constraints.soft == ()
    assert constraints.fields["Du_x"].lift == 3


def test_values_on_a_face_give_derivatives_along_it_and_none_across_it():
    posed = first_order(load_problem("wave"))
    data = {condition.name: condition.residual.placed for condition in posed.conditions[4:]}
    x = sympy.Symbol("x", real=True)
    slope = sympy.Symbol("Du_x", real=True) - sympy.diff(sympy.sin(sympy.pi * x) + sympy.sin(4 * sympy.pi * x) / 2, x)
    assert sympy.expand(data["Du_x from u = sin(pi*x) + sin(4*pi*x)/2 at t = 0"] - slope) == 0
    assert sorted(data) == [
        "Du_t from u = 0 at x = 0",
        "Du_t from u = 0 at x = 1",
        "Du_x from u = sin(pi*x) + sin(4*pi*x)/2 at t = 0",
    ]


def test_data_with_a_jump_imply_nothing(problem_from):
    text = (
        HEAD
        + 't = [0, 1]\n[equations]\na = "u_t = u_xx"\n[[conditions]]\nwhere = "t = 0"\nequation = "u = step(x - 0.5)"'
    )
    assert len(first_order(problem_from(text)).conditions) == 1


class Cosine:
    """cos and its derivatives, as a known function."""

    def __call__(self, arguments, orders):
        return np.cos(arguments[0] + orders[0] * np.pi / 2)


def test_a_window_of_time_starts_from_the_new_fields_too():
    posed = first_order(load_problem("wave"))
    x = posed.symbols[0]
    profile = known_function("end", Cosine(), 1)
    window = (sympy.Rational(1, 2), sympy.Integer(1))
    later = problem_in_window(posed, window, {"u": [profile(x)], "Du_t": [sympy.Integer(0)]})
    given = {c.residual.partials[0].field: c.residual for c in later.conditions if c.face.axis == 1}
    assert set(given) == {"u", "Du_t", "Du_x"}
    (value,) = Formula([given["Du_x"].placed.subs(given["Du_x"].placeholders[Partial("Du_x", (0, 0))], 0)], [x])(
        numpy_functions(), [np.array([0.3])]
    )
    assert value == pytest.approx(np.sin(0.3), rel=1e-14)  # Du_x - (cos)' = 0


def test_new_fields_are_scaled_like_the_derivatives_they_are(problem_from):
    text = 'title = "t"\n[coordinates]\nx = [0, 0.02]\n[equations]\na = "u_xxx = 0"\n'
    text += (
        '[[conditions]]\nwhere = "x = 0"\nequation = "u = 5"\n[[conditions]]\nwhere = "x = 0"\nequation = "u_x = 700"\n'
    )
    posed = first_order(problem_from(text))
    assert posed.field_names == ("u", "Du_x", "Du_xx")
    assert output_scales(posed) == pytest.approx([5, 700, 5 / 0.01**2])


def test_elu_is_warned_of_on_order_two_and_the_first_order_formulation_is_the_remedy():
    problem = load_problem("burgers")
    assert "--formulation first-order" in smoothness_note(problem, activation("elu"))
    assert smoothness_note(first_order(problem), activation("elu")) == ""
    with pytest.raises(pinnsolve.errors.SettingsError, match="formulation first-order"):
        smoothness_note(problem, activation("relu"))
    assert "misses the part of the loss gradient" in smoothness_note(first_order(problem), activation("relu"))


def test_check_judges_the_formulation_that_is_asked_for():
    runner = CliRunner()
    direct = runner.invoke(app, ["check", "burgers", "--activation", "elu"])
    first = runner.invoke(app, ["check", "burgers", "--activation", "elu", "--formulation", "first-order"])
    assert "--formulation first-order" in direct.output
    assert "kinks" not in first.output


ELU = {"activation": "elu", "formulation": "first-order", "optimizer": "lm", "width": 8, "depth": 2, "points": 128}


def test_errors_are_those_of_the_original_fields_and_consistency_is_measured_beside_them():
    settings = {"audit.points": 16}
    solution = pinnsolve.solve("poisson_1d", settings=settings, **ELU, steps=40, time_limit=1e3)
    assert set(solution.fields) == set(solution([[0.5]])) == {"u"}
    assert solution.fields["u"].relative_l2 < 0.1
    assert solution.warnings == ()
    assert {finding.term for finding in solution.audit.summary} == {"u_xx"}

    points = torch.as_tensor(scattered_points(solution.problem, 2**12))
    with torch.no_grad():
        jet = autograd(solution.ansatz, points, [Partial("u", (1,)), Partial("Du_x", (0,))])
    difference = jet[Partial("u", (1,))] - jet[Partial("Du_x", (0,))]
    found = solution.metrics()["formulation"]["fields"]["Du_x"]
    assert found["derivative"] == "u_x"
    assert found["rms"] == pytest.approx(float(difference.square().mean().sqrt()), rel=1e-10)
    assert found["max"] == pytest.approx(float(difference.abs().max()), rel=1e-10)
    size = float(jet[Partial("Du_x", (0,))].square().mean().sqrt())
    assert found["relative"] == pytest.approx(found["rms"] / size, rel=1e-10)
    assert solution.formulation.sentence in solution.sentences


def test_the_loss_gradient_of_an_elu_network_is_exact_in_the_first_order_formulation_alone():
    """The derivative of a densely integrated loss along a random direction, by differences and by autodiff."""
    assert misspecification("first-order") < 1e-2
    assert misspecification("direct") > 0.3


def test_the_audit_tests_the_gradient_of_the_loss_that_was_trained():
    from pinnsolve.solving import prepare, resolve_settings
    from pinnsolve.solving.solution import audited

    found = {}
    for formulation in ("direct", "first-order"):
        options = {"network.activation": "elu", "formulation": formulation, "network.width": 3, "network.depth": 1}
        settings = resolve_settings({**options, "training.optimizer": "lm", "audit.points": 16})
        found[formulation] = audited(prepare(load_problem("poisson_1d"), settings))
    assert found["direct"].sentences[-1].startswith("loss gradient")
    assert found["first-order"].loss_gradient.misspecification < 1e-2 < found["direct"].loss_gradient.misspecification
    assert not [sentence for sentence in found["first-order"].sentences if sentence.startswith("loss gradient")]


def misspecification(formulation):
    """Return |FD - AD| of dL/ds along one direction, relative to FD, for L an integral over a fine grid."""
    from pinnsolve.solving import prepare, resolve_settings

    options = {"network.activation": "elu", "formulation": formulation, "network.width": 3, "network.depth": 1}
    session = prepare(load_problem("poisson_1d"), resolve_settings({**options, "training.optimizer": "lm"}))
    objective = session.training.objective
    grid = torch.linspace(-1, 1, 2**16 + 1, dtype=torch.float64)[:, None]
    parameters = torch.nn.utils.parameters_to_vector(session.ansatz.parameters()).detach()
    direction = torch.randn(len(parameters), generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def loss(by):
        torch.nn.utils.vector_to_parameters(parameters + by * direction, session.ansatz.parameters())
        return sum(objective.terms([grid]).values())

    slope = torch.autograd.grad(loss(0.0), list(session.ansatz.parameters()))
    automatic = float(torch.cat([part.flatten() for part in slope]) @ direction)
    step = 1e-3  # truncation 1e-6, noise of the grid 1e-5/1e-3
    differences = float(loss(step).detach() - loss(-step).detach()) / (2 * step)
    return abs(differences - automatic) / abs(differences)


def test_runs_are_resumed_predicted_and_audited_in_the_original_fields(tmp_path):
    runner = CliRunner()
    options = [
        "--activation",
        "elu",
        "--formulation",
        "first-order",
        "--optimizer",
        "lm",
        "--width",
        "6",
        "--depth",
        "1",
    ]
    arguments = ["wave", *options, "--points", "64", "--set", "training.windows=2", "--set", "audit.points=16"]
    done = runner.invoke(
        app, ["solve", *arguments, "--steps", "4", "--time-limit", "1e3", "-o", str(tmp_path), "--name", "a"]
    )
    assert done.exit_code == 0, done.output
    assert "wave (first-order)" in done.output
    folder = tmp_path / "wave" / "a"
    metrics = RunFolder.open(folder).metrics()
    assert set(metrics["fields"]) == {"u"}
    assert set(metrics["residuals"]) == {"wave"}
    assert set(metrics["formulation"]["residuals"]) == {"wave", "Du_t = u_t", "Du_x = u_x"}
    assert {row["term"] for row in metrics["derivatives"]} == {"u_xx", "u_tt"}
    session = recording.load_trained(RunFolder.open(folder))
    assert session.posed.field_names == ("u", "Du_t", "Du_x")
    predicted = runner.invoke(app, ["predict", str(folder), "--grid", "3,2", "--derivatives", "u_x"])
    assert predicted.output.splitlines()[0] == "x,t,u,u_x"
    longer = runner.invoke(app, ["resume", str(folder), "--steps", "6", "--time-limit", "2e3"])
    assert longer.exit_code == 0, longer.output
    assert Path(folder, "report.html").exists()
