"""DeepXDE as the engine: the same problem to rounding, its optimizers train, and it leaves no trace."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from math import inf

import numpy as np
import pytest
import torch

from pinnsolve.derivatives import autograd
from pinnsolve.errors import DivergenceError, ResourceError, SettingsError
from pinnsolve.evaluation import scattered_points
from pinnsolve.networks import derive_constraints
from pinnsolve.problems.formulas import torch_functions
from pinnsolve.runs import RunFolder, recording
from pinnsolve.solving import finish, prepare, resolve_settings
from pinnsolve.solving.deepxde import build_model, contained
from pinnsolve.solving.deepxde.recipes import RECIPES
from pinnsolve.solving.preparation import build_ansatz
from tests.conftest import BURGERS

CPU = torch.device("cpu")
DECAY = """
title = "Decay"
[coordinates]
t = [0, 2]
[equations]
decay = "u_t = -u"
[[conditions]]
where = "t = 0"
equation = "u = 3"
[reference]
exact = { u = "3*exp(-t)" }
"""
# time first, a periodic coordinate, two fields (one positive), third order, a mixed derivative, unequal scales
SYSTEM = """
title = "A system"
periodic = ["y"]
[fields.u]
[fields.v]
range = "positive"
[coordinates]
t = [0, 2]
y = [1, 4]
[equations]
first = "u_t + u*u_y + 0.3*u_yyy = v_ty"
second = "v_t = v_yy - u"
[[conditions]]
where = "t = 0"
equation = "u = 5*sin(2*pi*y/3)"
[[conditions]]
where = "t = 0"
equation = "v = 2"
"""
# no condition can be built in: Robin, Neumann on a part of a face, a nonlinear one
PLATE = """
title = "A plate"
[coordinates]
x = [0, 1]
y = [0, 2]
[equations]
poisson = "laplacian(u) = x*y"
[[conditions]]
where = "x = 0"
equation = "dn(u) + 2*u = y"
[[conditions]]
where = "y = 2 and x < 0.5"
equation = "dn(u) = 1"
[[conditions]]
where = "x = 1"
equation = "u**2 = 1 + y"
"""


def built(problem, recipe="best", precision="float64", seed=0, **options):
    """Return the model of a problem and the ansatz that its weights were handed over to."""
    settings = resolve_settings(
        {"engine": "deepxde", "deepxde.recipe": recipe, "precision": precision, "network.width": 7, **options}
    )
    constraints = derive_constraints(problem, settings.constraint_mode)
    ansatz = build_ansatz(problem, settings, constraints, torch.Generator().manual_seed(1))
    peer = build_model(
        problem,
        ansatz,
        constraints.soft,
        RECIPES[recipe],
        initialization=settings.network.initialization,
        condition_weight=7.0,
        seed=seed,
    )
    peer.hand_over(ansatz.network)
    return peer, ansatz, constraints


def trained(problem, steps, **options):
    """Return a session that has trained."""
    values = {"engine": "deepxde", "training.steps": steps, "network.width": 8, "network.depth": 1, **options}
    session = prepare(problem, resolve_settings(values))
    return session, list(session.train())


# ---------------------------------------------------------------------------- the same problem, by another program


@pytest.mark.parametrize("recipe", ["best", "documented"])
@pytest.mark.parametrize("text", [BURGERS, SYSTEM, DECAY], ids=["burgers", "system", "decay"])
def test_deepxdes_network_is_the_function_of_the_ansatz(problem_from, text, recipe):
    problem = problem_from(text)
    peer, ansatz, _ = built(problem, recipe)
    points = torch.as_tensor(scattered_points(problem, 64))
    with torch.no_grad(), contained("float64", CPU):
        theirs = peer.model.net(points)
    ours = ansatz(points)
    for index, name in enumerate(problem.field_names):
        # rescaling the first layer moves sums of about ten terms by some units in the last place
        torch.testing.assert_close(theirs[:, index], ours[name].detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("recipe", ["best", "documented"])
@pytest.mark.parametrize("text", [BURGERS, SYSTEM, PLATE], ids=["burgers", "system", "plate"])
def test_residuals_on_deepxdes_derivatives_are_those_of_our_own(problem_from, text, recipe):
    problem = problem_from(text)
    peer, ansatz, _ = built(problem, recipe)
    points = torch.as_tensor(scattered_points(problem, 64))
    with contained("float64", CPU):
        inputs = points.clone().requires_grad_()
        theirs = peer.model.data.pde(inputs, peer.model.net(inputs))
    jet = autograd(ansatz, points, problem.partials)
    for equation, found in zip(problem.equations, theirs, strict=True):
        ours = equation(torch_functions(), jet.columns, jet).detach()
        torch.testing.assert_close(found[:, 0].detach(), ours, rtol=1e-10, atol=1e-10 * float(ours.abs().max()))


@pytest.mark.parametrize("text", [BURGERS, PLATE, DECAY], ids=["burgers", "plate", "decay"])
def test_losses_of_soft_conditions_are_their_weighted_mean_squares(problem_from, text):
    problem = problem_from(text)
    peer, ansatz, constraints = built(problem, "documented")
    assert len(constraints.soft) == len(problem.conditions)
    with contained("float64", CPU):
        peer.model.compile("adam", lr=1e-3, loss_weights=peer.weights, verbose=0)
        peer.model.train(iterations=0, verbose=0)
    losses = peer.model.train_state.loss_train[len(problem.equations) :]
    for condition, points, loss in zip(constraints.soft, peer.collocation[1:], losses, strict=True):
        face = condition.face
        assert torch.all((points[:, face.axis] - problem.box[face.side == "upper"][face.axis]).abs() < 1e-12)
        assert all(restriction.holds(points.numpy()).all() for restriction in condition.restrictions)
        jet = autograd(ansatz, points, condition.residual.partials)
        ours = condition.residual(torch_functions(), jet.columns, jet)
        assert loss == pytest.approx(7.0 * float(ours.detach().square().mean()), rel=1e-9)


def test_built_in_conditions_hold_in_deepxdes_network(problem_from):
    problem = problem_from(BURGERS)
    peer, _, constraints = built(problem, "best")
    assert constraints.soft == ()
    x = torch.linspace(-1, 1, 9, dtype=torch.float64)
    with torch.no_grad(), contained("float64", CPU):
        start = peer.model.net(torch.stack([x, torch.zeros_like(x)], 1))[:, 0]
    torch.testing.assert_close(start, -torch.sin(torch.pi * x), rtol=0, atol=1e-15)


def test_points_lie_in_the_domain_and_are_those_of_the_seed(problem_from):
    problem = problem_from(PLATE)
    first, again, other = (built(problem, "best", seed=seed)[0] for seed in (0, 0, 1))
    lower, upper = problem.box
    interior = first.collocation[0].numpy()
    assert ((interior >= lower) & (interior <= upper)).all()
    for name, value in first.model.net.state_dict().items():
        assert torch.equal(value, again.model.net.state_dict()[name])
    assert not torch.equal(first.linears[0].weight, other.linears[0].weight)


@pytest.mark.parametrize("name", ["elu", "gelu", "selu", "sigmoid", "silu", "sine", "tanh", "celu", "softplus"])
def test_every_activation_is_the_same_function_there(problem_from, name):
    problem = problem_from(DECAY)
    peer, ansatz, _ = built(problem, **{"network.activation": name})
    points = torch.linspace(0, 2, 50, dtype=torch.float64)[:, None]
    with torch.no_grad(), contained("float64", CPU):
        torch.testing.assert_close(peer.model.net(points)[:, 0], ansatz(points)["u"], rtol=1e-13, atol=1e-13)


# ---------------------------------------------------------------------------------------------------- it trains


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_each_optimizer_that_is_offered_changes_the_weights(problem_from, optimizer):
    problem = problem_from(DECAY)
    before, _ = trained(problem, 10, **{"training.optimizer": optimizer})
    after, history = trained(problem, 60, **{"training.optimizer": optimizer})
    assert {row.training.stage for row in history} == {optimizer}
    assert history[-1].training.loss < history[0].training.loss
    assert not torch.equal(before.ansatz.network.output.weight, after.ansatz.network.output.weight)


def test_deepxdes_own_name_l_bfgs_b_trains_nothing(problem_from):
    peer, _, _ = built(problem_from(DECAY))
    weight = peer.linears[0].weight.detach().clone()
    with contained("float64", CPU):
        peer.model.compile("L-BFGS-B", verbose=0)
        peer.model.train(verbose=0)
    assert peer.model.train_state.iteration == 0
    assert torch.equal(peer.linears[0].weight, weight)


def test_the_recipe_takes_adam_then_lbfgs_and_solves_an_ode(problem_from, monkeypatch):
    from dataclasses import replace

    monkeypatch.setitem(RECIPES, "best", replace(RECIPES["best"], points=64, adam_steps=50))
    session, history = trained(problem_from(DECAY), 400, time_limit=600)
    stages = [row.training.stage for row in history]
    assert sorted(set(stages)) == ["adam", "lbfgs"]
    assert stages == sorted(stages)
    assert max(row.training.step for row in history if row.training.stage == "adam") == 50
    assert history[-1].error < 1e-4
    assert session.training.step <= 400
    assert session.residual_evaluations == history[-1].evaluations > 400 * 64
    metrics = finish(session).metrics()
    assert metrics["settings"]["engine"] == "deepxde"
    assert metrics["derivatives"]


@pytest.mark.parametrize(("optimizer", "half"), [("adam", 20), ("lbfgs", 20)])
def test_a_resumed_run_ends_where_one_without_interruption_does(problem_from, optimizer, half, monkeypatch):
    monkeypatch.setattr("pinnsolve.solving.deepxde.stage.CALL_SECONDS", 0)  # the same calls, whatever their time
    problem = problem_from(DECAY)
    options = {"training.optimizer": optimizer}
    whole, _ = trained(problem, 2 * half, **options)
    first, _ = trained(problem, half, **options)
    tensors, values = first.state()
    kept = {name: tensor.clone() for name, tensor in tensors.items()}, values
    values_of_both = {
        "engine": "deepxde",
        "training.steps": 2 * half,
        "network.width": 8,
        "network.depth": 1,
        **options,
    }
    second = prepare(problem, resolve_settings(values_of_both))
    second.restore(half, *kept)
    for _ in second.train():
        pass
    assert second.training.step == whole.training.step == 2 * half
    for ours, theirs in zip(second.training.trained.parameters(), whole.training.trained.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_lbfgs_that_takes_no_step_even_with_a_fresh_memory_ends_training(problem_from, monkeypatch):
    text = DECAY.replace('"u_t = -u"', '"u_t = 0"').replace("u = 3", "u = 0").replace("3*exp(-t)", "0")
    problem = problem_from(text)
    monkeypatch.setattr("pinnsolve.solving.deepxde.model.INITIALIZATIONS", {"auto": "zeros"})
    session, history = trained(problem, 10**6, **{"training.optimizer": "lbfgs", "time_limit": 600})
    assert session.reason.startswith("stagnation: lbfgs")
    assert len(history) <= 2
    assert history[-1].training.loss == 0


def test_a_loss_that_is_no_number_is_divergence(problem_from):
    with pytest.raises(DivergenceError, match=r"the residual of 'decay' is nan|the loss is (nan|inf)"):
        trained(problem_from(DECAY), 200, **{"training.optimizer": "adam", "training.learning_rate": 1e200})


def test_loading_deepxde_is_not_counted_as_training(problem_from, monkeypatch):
    from pinnsolve.solving.deepxde import stage

    def slow(*arguments, **options):
        time.sleep(1.0)
        return build_model(*arguments, **options)

    monkeypatch.setattr(stage, "build_model", slow)
    began = time.monotonic()
    session, _ = trained(problem_from(DECAY), 1)
    # by the clock that the limit goes by: no assertion on how fast anything is
    assert session.seconds <= time.monotonic() - began - 1.0


def test_steps_and_points_are_those_of_the_settings(problem_from):
    session, history = trained(problem_from(BURGERS), 7, **{"training.points": 100})
    assert history[-1].training.step == 7
    assert len(session.collocation) == 100


def test_a_run_with_this_engine_has_a_folder_like_any_other(problem_from, tmp_path):
    problem = problem_from(DECAY)
    session, history = trained(problem, 12)
    with RunFolder.create(tmp_path, "decay", "peer") as folder:
        recording.begin(folder, problem, session.settings, "pinnsolve solve decay --engine deepxde")
        for progress in history:
            folder.append_history(progress.row())
        recording.record(folder, finish(session), "")
    assert folder.settings()["engine"] == "deepxde"
    assert folder.history()["step"][-1] == 12
    assert folder.metrics()["fields"]["u"]["relative_l2"] > 0


# --------------------------------------------------------------------------------------------- it leaves no trace

TRACELESS = """
import builtins, os, random, sys
import numpy, torch
import pinnsolve.solving.deepxde as engine
assert "deepxde" not in sys.modules
states = random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
from pinnsolve.problems.loading import parse_problem
from pathlib import Path
from pinnsolve.solving import prepare, resolve_settings
problem = parse_problem(sys.argv[1].encode(), Path("test.toml"))
session = prepare(problem, resolve_settings({"engine": "deepxde", "training.steps": 12, "training.points": 50}))
assert "deepxde" not in sys.modules
for _ in session.train():
    pass
assert sys.modules["deepxde"].backend.backend_name == "pytorch"
assert torch.get_default_dtype() == torch.float32 and torch.get_default_device().type == "cpu"
assert states == (random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
assert "DDE_BACKEND" not in os.environ
"""


def test_a_solve_leaves_no_trace_in_a_fresh_process(tmp_path):
    import os

    environment = {key: value for key, value in os.environ.items() if not key.startswith("DDE")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TRACELESS, BURGERS],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=environment | {"HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")
    assert not (tmp_path / ".deepxde").exists()


def test_what_deepxde_sets_is_as_before_after_the_block_and_after_a_fault_in_it():
    with contained("float64", CPU) as dde:
        before = dict(dde.optimizers.config.LBFGS_options)
    state = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002

    def fault():
        with contained("float64", CPU, seed=3) as dde:
            assert torch.get_default_dtype() == torch.float64
            dde.optimizers.set_LBFGS_options(maxcor=7)
            random.random(), np.random.random(), torch.rand(1)  # noqa: NPY002
            print("DeepXDE says something")
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        fault()
    assert torch.get_default_dtype() == torch.float32
    assert dict(dde.optimizers.config.LBFGS_options) == before
    assert dde.config.default_float() == "float32"
    assert dde.config.random_seed is None
    assert random.getstate() == state[0]
    assert np.array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), state[2])


def test_nothing_is_printed_on_stdout(capsys, problem_from):
    trained(problem_from(BURGERS), 12, **{"training.points": 50})
    assert capsys.readouterr().out == ""


def test_a_default_device_of_the_user_stays():
    torch.set_default_device("meta")
    try:
        with contained("float64", CPU):
            assert torch.empty(1).device == CPU
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_device(None)


def test_another_backend_is_refused(monkeypatch):
    with contained("float64", CPU) as dde:
        pass
    monkeypatch.setattr(dde.backend, "backend_name", "jax")
    with (
        pytest.raises(ResourceError, match="loaded with the backend 'jax'; 'pytorch' is needed"),
        contained("float64", CPU),
    ):
        pass


def test_a_missing_package_is_a_missing_resource(monkeypatch):
    monkeypatch.delitem(sys.modules, "deepxde", raising=False)

    def missing(name):
        raise ImportError("No module named 'deepxde'")

    monkeypatch.setattr("pinnsolve.solving.deepxde.containment.import_module", missing)
    with (
        pytest.raises(ResourceError, match=r"needs the package deepxde .*pip install deepxde"),
        contained("float64", CPU),
    ):
        pass


# ------------------------------------------------------------------------------------------- what it cannot do


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"training.optimizer": "lm"}, "no optimizer 'lm'; known: auto, adam, lbfgs"),
        ({"derivatives": "fd"}, "derivatives = fd needs engine = native"),
        ({"derivatives": "coupled"}, "derivatives = coupled needs engine = native"),
    ],
)
def test_settings_of_the_native_engine_are_refused(problem_from, options, reason):
    with pytest.raises(SettingsError, match=reason):
        prepare(problem_from(DECAY), resolve_settings({"engine": "deepxde", **options}))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"network.kind": "gated", "network.depth": 2}, "plain perceptrons only"),
        ({"network.trunk": "separate"}, "plain perceptrons only"),
        (
            {"network.initialization": "siren", "network.activation": "sine"},
            "no network.initialization 'siren'; known: auto, glorot, he, lecun",
        ),
    ],
)
def test_networks_that_deepxde_does_not_have_are_refused(problem_from, options, reason):
    with pytest.raises(SettingsError, match=reason):
        trained(problem_from(SYSTEM), 1, **options)


def test_a_condition_without_a_point_is_refused(problem_from):
    problem = problem_from(PLATE.replace("x < 0.5", "x < 0.004"))
    with pytest.raises(SettingsError, match="no point of the condition 'dn"):
        trained(problem, 1, **{"deepxde.recipe": "documented"})


def test_several_processes_are_refused(problem_from):
    from pinnsolve.solving.deepxde import deepxde_plan
    from pinnsolve.training.workers import Workers

    problem, settings = problem_from(DECAY), resolve_settings({"engine": "deepxde"})
    with pytest.raises(SettingsError, match="one process, got 2"):
        deepxde_plan(problem, None, None, settings, 0, Workers(count=2))


def test_windows_of_time_are_left_to_the_native_engine(problem_from):
    session = prepare(problem_from(BURGERS), resolve_settings({"engine": "deepxde", "training.windows": 4}))
    assert session.march.count == 1
    assert not session.headway.may_march
    assert session.training.plan[0].most < inf
