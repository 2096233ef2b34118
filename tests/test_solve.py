from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import pinnsolve
from pinnsolve.derivatives import composition
from pinnsolve.errors import DivergenceError, ResourceError, SettingsError
from pinnsolve.problems import problem_files
from pinnsolve.problems.problem import Reference
from pinnsolve.solving import finish, prepare, resolve_settings, solve
from pinnsolve.solving.differentiation import taylor_fault
from pinnsolve.solving.settings import SHORT_NAMES, all_keys, named_options, parse_assignments, read_settings_file

from .conftest import BURGERS

QUICK = {
    "training.points": 128,
    "network.width": 8,
    "network.depth": 2,
    "audit.points": 64,
    "training.steps": 30,
    "training.optimizer": "lm",
}
LOGISTIC = """
title = "logistic"
[coordinates]
t = [0, 4]
[equations]
growth = "u_t = u*(1 - u)"
[[conditions]]
where = "t = 0"
equation = "u = 0.1"
[reference]
exact = { u = "1/(1 + 9*exp(-t))" }
"""


def test_a_solution_is_callable_and_differentiable(problem_from):
    solution = solve(problem_from(LOGISTIC), QUICK)
    t = np.linspace(0, 4, 33)
    truth = 1 / (1 + 9 * np.exp(-t))
    error = solution.fields["u"].max_error
    assert error < 1e-3
    assert np.abs(solution(t)["u"] - truth).max() <= error * 1.01
    slope = solution.derivatives(t[:, None], "u_t")
    assert slope == pytest.approx(truth * (1 - truth), abs=1e-2)
    h = 1e-4  # h²/6 u''' + roundoff/h, far below 1e-6
    differences = (solution(t[1:-1] + h)["u"] - solution(t[1:-1] - h)["u"]) / (2 * h)
    assert slope[1:-1] == pytest.approx(differences, abs=1e-6)


def test_the_measured_error_is_that_of_an_independent_evaluation(problem_from):
    solution = solve(problem_from(LOGISTIC), QUICK)
    t = np.linspace(0, 4, 2001)
    truth = 1 / (1 + 9 * np.exp(-t))
    values = solution(t)["u"]
    assert solution.fields["u"].relative_l2 == pytest.approx(
        np.linalg.norm(values - truth) / np.linalg.norm(truth), rel=1e-9
    )
    assert solution.fields["u"].max_error == pytest.approx(np.abs(values - truth).max(), rel=1e-9)


def test_metrics_keep_the_contract(problem_from):
    metrics = solve(problem_from(LOGISTIC), QUICK).metrics()
    assert metrics["schema"] == 1
    assert metrics["status"] == "finished"
    assert metrics["reason"] == "steps"
    assert metrics["settings"]["network"]["activation"] == "tanh"  # what "auto" came to
    assert metrics["settings"]["seed"] == 0
    assert metrics["steps"] == 30
    assert metrics["parameters"] == 2 * 8 + 8 * 9 + 9
    assert set(metrics["fields"]["u"]) == {"relative_l2", "max_error", "reference", "reference_error"}
    assert set(metrics["residuals"]["growth"]) == {"rms", "max"}
    keys = {
        "term",
        "scheme",
        "dtype",
        "step",
        "fd_vs_ad",
        "ad_vs_exact",
        "fd_vs_exact",
        "observed_order",
        "predicted_error",
        "kink_fraction",
        "verdict",
    }
    assert keys <= set(metrics["derivatives"][0])
    assert metrics["environment"]["device"] == "cpu"


def test_a_problem_without_reference_says_so(problem_from):
    text = LOGISTIC.split("[reference]")[0] + '[reference]\nsolver = "none"\n'
    solution = solve(problem_from(text), QUICK)
    assert solution.fields["u"].relative_l2 is None
    assert any("no reference to compare with; only" in sentence for sentence in solution.sentences)


def test_a_reference_that_was_sought_in_vain_is_explained(problem_from):
    """Four coordinates are more than classical solvers here take."""
    text = 'title = "Four"\n[coordinates]\n' + "".join(f"{name} = [0, 1]\n" for name in "xyzw")
    text += '[equations]\ne = "laplacian(u) = u^3 + 1"\n[[conditions]]\nwhere = "boundary"\nequation = "u = 0"\n'
    solution = solve(problem_from(text), QUICK)
    why = "no reference to compare with (classical solvers here take at most 3 coordinates, the problem has 4); only"
    assert any(why in sentence for sentence in solution.sentences)


def test_low_loss_with_a_wrong_answer_is_said_in_words(problem_from):
    """The reference is that of another initial value: the loss falls, the error cannot."""
    problem = problem_from(LOGISTIC.replace("1/(1 + 9*exp(-t))", "1/(1 + 3*exp(-t))"))
    solution = solve(problem, QUICK)
    assert any("low" in sentence and "wrong by" in sentence for sentence in solution.sentences)


def test_the_same_seed_gives_the_same_solution_and_another_seed_another(problem_from):
    def errors(seed: int) -> list:
        session = prepare(problem_from(LOGISTIC), resolve_settings(QUICK, {"training.steps": 6, "seed": seed}))
        return [(progress.training.loss, progress.error) for progress in session.train()]

    assert errors(0) == errors(0)
    assert errors(0) != errors(1)


@pytest.mark.parametrize("optimizer", ["lm", "adam", "auto"])
def test_a_resumed_session_goes_on_bit_for_bit(problem_from, optimizer):
    options = {"training.optimizer": optimizer, "training.steps": 12, "training.points": 1500}
    settings = resolve_settings(QUICK, options)
    problem = problem_from(BURGERS + '[reference]\nsolver = "none"\n')
    straight = prepare(problem, settings)
    list(straight.train())

    first = prepare(problem, settings)
    for _ in first.train():
        if first.training.step >= 3:
            break
    tensors, values = first.state()
    second = prepare(problem, settings)
    second.restore(first.training.step, {name: tensor.clone() for name, tensor in tensors.items()}, values)
    list(second.train())
    for name, tensor in straight.ansatz.state_dict().items():
        assert torch.equal(tensor, second.ansatz.state_dict()[name]), name


@pytest.mark.parametrize("stage", ["features", "widen"])
@pytest.mark.usefixtures("no_probe")
def test_a_session_stopped_in_a_wide_stage_goes_on_with_its_small_network(problem_from, stage):
    """The wide network is left behind: gradient steps on its thousands of units would not fit in memory."""
    equation = "-u" if stage == "features" else "u*(1 - u)"
    problem = problem_from(LOGISTIC.replace("u*(1 - u)", equation).split("[reference]")[0])
    settings = resolve_settings(QUICK, {"training.optimizer": "auto", "training.steps": 10, "training.windows": 1})
    first = prepare(problem, settings)
    for progress in first.train():
        if progress.training.stage == stage:
            break
    assert max(first.ansatz.network.widths) >= 400
    second = prepare(problem, settings)
    second.restore(first.training.step, *first.state())
    assert second.training.trained.widths == [8, 8]
    list(second.train())
    assert second.training.is_converged if stage == "features" else second.training.step == 10


def test_random_features_keep_the_alpha_of_the_settings(problem_from):
    problem = problem_from(LOGISTIC.replace("u*(1 - u)", "-u").split("[reference]")[0])
    options = {"training.optimizer": "least-squares", "training.steps": 1, "network.alpha": 0.5}
    session = prepare(problem, resolve_settings(QUICK, options, {"network.activation": "elu"}))
    list(session.train())
    assert session.ansatz.network.activation.alpha == 0.5


def test_divergence_keeps_the_last_finite_state(problem_from):
    options = {"training.optimizer": "adam", "training.learning_rate": 1e5, "training.steps": 500}
    session = prepare(problem_from(LOGISTIC), resolve_settings(QUICK, options))
    with pytest.raises(DivergenceError):
        list(session.train())
    assert all(torch.isfinite(parameter).all() for parameter in session.ansatz.parameters())
    metrics = finish(session, "diverged").metrics()
    assert metrics["status"] == "diverged"
    assert math.isfinite(metrics["fields"]["u"]["relative_l2"])


def test_taylor_mode_is_checked_at_start_up_and_replaced_if_it_is_wrong(problem_from, monkeypatch):
    problem = problem_from(BURGERS)
    session = prepare(problem, resolve_settings(QUICK))
    assert taylor_fault(problem, session.ansatz) == ""
    right = composition.contraction
    monkeypatch.setattr(composition, "contraction", lambda *arguments, **named: right(*arguments, **named).mul_(0.5))
    session = prepare(problem, resolve_settings(QUICK))
    assert any("differs from nested autograd" in warning for warning in session.warnings)
    assert session.differentiator.__name__ == "autograd"


@pytest.mark.parametrize("derivatives", ["taylor", "autograd", "fd"])
def test_every_maker_of_jets_trains(problem_from, derivatives):
    options = {"derivatives": derivatives, "training.steps": 12, "training.points": 24}
    assert solve(problem_from(LOGISTIC), QUICK | options).fields["u"].relative_l2 < 1e-2


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_both_precisions_train(problem_from, precision):
    assert solve(problem_from(LOGISTIC), QUICK | {"precision": precision}).fields["u"].relative_l2 < 1e-2


def test_soft_constraints_train(problem_from):
    assert solve(problem_from(LOGISTIC), QUICK | {"constraints": "soft"}).fields["u"].relative_l2 < 1e-2


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"steps": 1}, {"points": 1, "steps": 2}, {"width": 1, "depth": 1, "steps": 2}]
)
def test_the_smallest_runs_are_runs(problem_from, options):
    solution = solve(problem_from(LOGISTIC), QUICK, **options)
    assert solution.metrics()["status"] == "finished"


@pytest.mark.parametrize("path", problem_files(), ids=lambda path: path.stem)
def test_every_shipped_problem_trains(path):
    """Two steps of every problem: the ansatz, the residuals and the reference fit together."""
    problem = pinnsolve.load_problem(path)
    if "chaotic" in problem.tags:  # its reference takes a minute, and stands in a test of its own
        problem = replace(problem, reference=Reference())
    session = prepare(problem, resolve_settings(QUICK, {"training.steps": 2}))
    first, second = session.train()
    assert second.training.loss <= first.training.loss * 10
    assert session.reference is None or math.isfinite(second.error)


def test_layers_of_settings_win_in_their_order():
    settings = resolve_settings(
        {"network": {"width": 10}}, {"network.width": 20, "network.depth": 4}, {"network.width": 30}
    )
    assert (settings.network.width, settings.network.depth) == (30, 4)


@pytest.mark.parametrize(
    ("layer", "match"),
    [
        ({"network.widht": 3}, r"unknown setting 'network.widht'; did you mean 'network.width'\? known: network\.act"),
        ({"sede": 3}, r"unknown setting 'sede'; did you mean 'seed'\?$"),  # too many to be shown
        ({"qqq": 3}, r"unknown setting 'qqq'; known: allow_rough, .*, training\.windows$"),
        ({"tranining.steps": 3}, "did you mean 'training.steps'"),
        ({"network.width": -1}, "network.width: .*got '-1'"),
        ({"network.width": 10**9}, "network.width"),
        ({"time_limit": float("inf")}, "time_limit"),
        ({"time_limit": 0}, "time_limit"),
        ({"time_limit": 1e300}, "time_limit: input should be less than or equal to 1000000000"),
        ({"training.causal": -1}, r"setting training\.causal: input should be greater than or equal to 0, got '-1'"),
        ({"training.windows": 0}, "windows: windows are a whole number"),
        ({"training.learning_rate": float("nan")}, "learning_rate"),
        ({"seed": "x"}, "seed"),
        ({"device": "tpu"}, "device"),
        ({"network": 3}, "network"),
        ({"seed": 1, "seed.x": 3}, "'seed' is a value"),
    ],
)
def test_wrong_settings_are_refused_with_key_and_value(layer, match):
    with pytest.raises(SettingsError, match=match):
        resolve_settings(layer)


def test_options_have_short_names():
    assert named_options({"activation": "elu", "steps": None}) == {"network.activation": "elu"}
    with pytest.raises(SettingsError, match="did you mean 'activation'"):
        named_options({"activaton": "elu"})
    assert set(SHORT_NAMES.values()) <= set(all_keys())


def test_assignments_are_toml_values_or_words():
    assert parse_assignments(["a.b=1", "c=true", "d=tanh", "e=[1, 2]", 'f="x y"']) == {
        "a.b": 1,
        "c": True,
        "d": "tanh",
        "e": [1, 2],
        "f": "x y",
    }
    assert parse_assignments(["a=.5", "b=-1.e3", "c=1e", "d=.e"]) == {"a": 0.5, "b": -1000.0, "c": "1e", "d": ".e"}
    with pytest.raises(SettingsError, match="key=value"):
        parse_assignments(["nonsense"])


@pytest.mark.parametrize(("key", "value"), [("network.width", True), ("time_limit", "9"), ("seed", False)])
def test_text_and_truth_values_are_no_numbers(key, value):
    with pytest.raises(SettingsError, match=f"{key}: a number is needed, without quotes, got {value!r}"):
        resolve_settings({key: value})
    assert resolve_settings({"network": {"fourier": {"x": 5}}, "device": "cpu", "allow_rough": True}).allow_rough


def test_a_file_of_settings_is_read_whole_or_refused(tmp_path):
    path = tmp_path / "settings.toml"
    with pytest.raises(SettingsError, match=r"settings\.toml: the file cannot be read: No such file"):
        read_settings_file(path)
    path.write_text("seed = 3 #" + "x" * 262_000)
    assert read_settings_file(path) == {"seed": 3}
    path.write_text("seed = 3 #" + "x" * 262_134 + "\nseed = 4")
    with pytest.raises(SettingsError, match=r"settings\.toml: the file has more than 262144 bytes"):
        read_settings_file(path)


def test_a_missing_device_is_named(problem_from):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ResourceError, match="'cuda:3' is not there"):
        prepare(problem_from(LOGISTIC), resolve_settings({"device": "cuda:3"}))


def test_points_of_a_wrong_shape_are_refused(problem_from):
    solution = solve(problem_from(BURGERS + '[reference]\nsolver = "none"\n'), QUICK, steps=1)
    with pytest.raises(ValueError, match=r"\(N, 2\) with columns x, t; got \(3,\)"):
        solution([1, 2, 3])


def test_the_default_way_reaches_rounding_on_a_smooth_problem(problem_from):
    """Linear and smooth: random features; the reference is not looked at by training, so it may judge."""
    text = LOGISTIC.replace("u*(1 - u)", "-u").replace("1/(1 + 9*exp(-t))", "0.1*exp(-t)")
    solution = solve(problem_from(text), {"training.steps": 4, "audit.points": 64})
    assert solution.fields["u"].relative_l2 < 1e-12


def test_the_best_network_by_held_out_residual_is_kept(problem_from):
    session = prepare(problem_from(LOGISTIC), resolve_settings(QUICK, {"training.steps": 20}))
    held_out = [progress.training.held_out for progress in session.train()]
    assert session.training.held_out_value() == min(held_out)
