"""Quasi-Newton, first-order and sketched optimizers, the evaluation they share, and the choice among them."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from shutil import which
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.fft
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.overrides import TorchFunctionMode

from pinnsolve.derivatives import taylor
from pinnsolve.derivatives.finite_differences import finite_differences
from pinnsolve.errors import ResourceError, SettingsError
from pinnsolve.problems import Problem
from pinnsolve.solving import prepare, resolve_settings
from pinnsolve.training import Objective, TrainingSettings, make_plan, plan, quasi_newton
from pinnsolve.training.first_order import FirstOrder, packed, unpacked
from pinnsolve.training.graphs import WARM_UPS, LossAndGradient, cuda_graph
from pinnsolve.training.jacobian import generic_jacobian
from pinnsolve.training.quasi_newton import Scaling, SelfScaledBroyden, ssbroyden, strong_wolfe, update
from pinnsolve.training.sketched import (
    NUMBERS_IN_MEMORY,
    SketchedGaussNewton,
    cosine_basis,
    count_sketch,
    random_signs,
    subspace_shapes,
)
from pinnsolve.training.workers import ALONE

from .conftest import BURGERS, DECAY

DOUBLE = torch.float64
EPS = torch.finfo(DOUBLE).eps
LIKE = torch.empty(0, dtype=DOUBLE)
SMALL = {"network.width": 8, "network.depth": 2, "training.points": 96, "network.activation": "tanh"}


def _session(problem: Problem, **options):
    return prepare(problem, resolve_settings(SMALL, {key.replace("__", "."): value for key, value in options.items()}))


def _trained(problem: Problem, **options) -> tuple[Objective, nn.Module]:
    """Return objective and ansatz of a small network."""
    session = _session(problem, **options)
    return session.training.objective, session.training.ansatz


def _points(objective: Objective, count: int = 96, seed: int = 0) -> list[Tensor]:
    return objective.draw(count, 0.5, torch.Generator().manual_seed(seed))


def _vector(module: nn.Module) -> Tensor:
    return parameters_to_vector(module.parameters()).detach().clone()


def _direct(objective: Objective, module: nn.Module, points: Sequence[Tensor]) -> tuple[float, Tensor]:
    """Return loss and gradient by the shortest way."""
    loss = torch.stack(list(objective.terms(points).values())).sum()
    return loss.item(), torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(module.parameters()))])


class _Function(nn.Module):
    """Stands for an objective: a function of one parameter vector that needs no points."""

    def __init__(self, function: Callable[[Tensor], Tensor], start: Sequence[float]) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.tensor(start, dtype=DOUBLE))
        self._function = function
        self.names, self.workers = ("f",), ALONE
        self.weighting = SimpleNamespace(multipliers=torch.ones(1, dtype=DOUBLE))

    def terms(self, points: Sequence[Tensor]) -> dict[str, Tensor]:
        return {"f": self._function(self.place)}

    def total_count(self, points: Tensor) -> int:
        return len(points)


def _definite(size: int, seed: int, condition: float = 100.0) -> Tensor:
    """Return a random symmetric matrix of eigenvalues from 1 to `condition`."""
    basis = torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)).Q
    return basis * torch.logspace(0, math.log10(condition), size, dtype=DOUBLE) @ basis.T


def _pair(size: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return H and a step and a change of the gradient, sᵀy > 0."""
    inverse = _definite(size, seed)
    step = torch.randn(size, generator=torch.Generator().manual_seed(seed + 100), dtype=DOUBLE)
    return inverse, step, _definite(size, seed + 50) @ step


# --- self-scaled Broyden ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scale", [1e-3, 1.0, 20.0])
def test_the_update_is_the_inverse_of_the_direct_formula_of_the_paper(seed, scale):
    """B⁺ = τ [B - Bs(Bs)ᵀ/(sᵀBs) + θ (sᵀBs) w wᵀ] + y yᵀ/(yᵀs) with w = y/(yᵀs) - Bs/(sᵀBs), in NumPy."""
    inverse, step, change = _pair(7, seed)
    inverse *= scale
    s, y, direct = step.numpy(), change.numpy(), np.linalg.inv(inverse.numpy())
    bs, ys = direct @ s, y @ s
    b, h = s @ bs / ys, y @ inverse.numpy() @ y / ys
    a = b * h - 1
    rho_minus = min(1.0, h * (1 - np.sqrt(a / (1 + a))))
    theta = max((rho_minus - 1) / a, min(1 / rho_minus, (1 - b) / b))
    rho, root = min(1.0, 1 / b), abs(1 + a * theta) ** (1 / (1 - 7))
    tau = rho * min(root, 1 / theta) if theta > 0 else min(rho * root, 1 + a * theta)
    w = y / ys - bs / (s @ bs)
    expected = tau * (direct - np.outer(bs, bs) / (s @ bs) + theta * (s @ bs) * np.outer(w, w)) + np.outer(y, y) / ys
    assert update(inverse, step, change, float(b))
    found = np.linalg.inv(inverse.numpy())
    # two inversions of matrices of condition 100 times that of the update, each eps · condition
    assert np.abs(found - expected).max() <= 1e5 * EPS * np.abs(expected).max()


def test_both_branches_of_the_scaling_occur_in_the_test_above():
    signs = set()
    for seed in range(6):
        for scale in (1e-3, 1.0, 20.0):
            inverse, step, change = _pair(7, seed)
            ys = change @ step
            b = float(step @ torch.linalg.solve(scale * inverse, step) / ys)
            scaling = ssbroyden(b, float(change @ (scale * inverse) @ change / ys), 7)
            signs.add(scaling.phi < 1)  # θ > 0 exactly where φ = (1 - θ)/(1 + aθ) < 1
    assert signs == {True, False}


@pytest.mark.parametrize("seed", range(4))
def test_the_secant_equation_holds_for_the_scaled_update(seed):
    """H y = s whatever τ and φ: the bracket annihilates y, and only it is scaled."""
    inverse, step, change = _pair(9, seed)
    b = float(step @ torch.linalg.solve(inverse, step) / (change @ step))
    assert update(inverse, step, change, b)
    size = (inverse.abs() @ change.abs()).max()
    assert (inverse @ change - step).abs().max() <= 100 * EPS * size
    assert torch.linalg.eigvalsh(inverse).min() > 0
    assert (inverse - inverse.T).abs().max() <= 10 * EPS * inverse.abs().max()


def test_where_h_maps_y_along_s_the_update_is_that_of_bfgs():
    inverse = torch.eye(3, dtype=DOUBLE)
    step = torch.tensor([1.0, 2.0, 0.0], dtype=DOUBLE)
    assert update(inverse, step, 4 * step, 0.25)  # y = 4 s: H y ∥ s, θ does not matter, τ = min(1, 1/b) = 1
    expected = torch.eye(3, dtype=DOUBLE) - 0.75 * torch.outer(step, step) / 5
    assert torch.allclose(inverse, expected, rtol=1e-14, atol=1e-15)


def test_a_matrix_that_is_not_definite_along_y_is_left_alone():
    inverse = -torch.eye(3, dtype=DOUBLE)
    ones = torch.ones(3, dtype=DOUBLE)
    assert not update(inverse, ones, ones, 1.0)
    assert torch.equal(inverse, -torch.eye(3, dtype=DOUBLE))


def _minimise(matrix: Tensor, inverse: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Take P quasi-Newton steps with exact line searches on ½ xᵀAx; return the last x and all pairs (s, y)."""
    place = torch.linspace(1, 2, len(matrix), dtype=DOUBLE)
    pairs = []
    for _ in range(len(matrix)):
        gradient = matrix @ place
        direction = -(inverse @ gradient)
        length = -(gradient @ direction) / (direction @ matrix @ direction)
        step = length * direction
        pairs.append((step, matrix @ step))
        update(inverse, *pairs[-1], float(-length * (step @ gradient) / (pairs[-1][1] @ step)))
        place = place + step
    return place, pairs


@pytest.mark.parametrize("size", [2, 5, 8])
def test_exact_line_searches_end_at_the_minimum_of_a_quadratic_in_as_many_steps_as_parameters(size):
    place, pairs = _minimise(_definite(size, size, 10.0), torch.eye(size, dtype=DOUBLE))
    assert place.norm() <= 1e-9  # conjugacy is lost by eps · 10 per step and direction
    for i, (step, _) in enumerate(pairs):
        for other, change in pairs[:i]:
            assert abs(step @ change) <= 1e-9 * other.norm() * change.norm()


@pytest.mark.parametrize("phi", [0.0, 0.4, 1.0])
def test_without_scaling_h_becomes_the_inverse_hessian_of_a_quadratic(monkeypatch, phi):
    monkeypatch.setattr(quasi_newton, "ssbroyden", lambda b, h, size: Scaling(1.0, phi))
    matrix, inverse = _definite(6, 1, 10.0), torch.eye(6, dtype=DOUBLE)
    _minimise(matrix, inverse)
    assert (inverse @ matrix - torch.eye(6, dtype=DOUBLE)).abs().max() <= 1e-7  # DFP magnifies eps · 10 most


def test_with_scaling_older_curvature_is_divided_by_every_later_tau(monkeypatch):
    """H = Σ_j s_j s_jᵀ/(y_jᵀs_j) Π_(k>j) 1/τ_k on a quadratic after P exact steps."""
    taus: list[float] = []

    def noted(b: float, h: float, size: int) -> Scaling:
        scaling = ssbroyden(b, h, size)
        taus.append(scaling.tau)
        return scaling

    monkeypatch.setattr(quasi_newton, "ssbroyden", noted)
    inverse = torch.eye(5, dtype=DOUBLE)
    _, pairs = _minimise(_definite(5, 3, 10.0), inverse)
    expected = sum(torch.outer(s, s) / (y @ s) / math.prod(taus[j + 1 :]) for j, (s, y) in enumerate(pairs))
    assert min(taus) < 0.99  # the scaling is at work
    assert (inverse - expected).abs().max() <= 1e-8 * expected.abs().max()


@pytest.mark.parametrize("factor", [1e-3, 0.3, 1.0, 40.0])
def test_a_step_found_satisfies_the_strong_wolfe_conditions(factor):
    """f(α) = (cα)⁴/4 - cα + sin(5cα)/20 with the scale c: its first minimum lies near 1/c."""
    tried: list[float] = []

    def along(length: float) -> tuple[float, float]:
        tried.append(length)
        x = factor * length
        return x**4 / 4 - x + math.sin(5 * x) / 20, factor * (x**3 - 1 + math.cos(5 * x) / 4)

    loss, slope = along(0.0)
    tried.clear()
    length = strong_wolfe(along, loss, slope)
    if factor == 1e-3:  # ten doublings of 1 end at 512, short of 1000 where the slope is flat enough
        assert length is not None or max(tried) == 2.0**10
    if length is not None:
        reached, end = along(length)
        assert reached <= loss + quasi_newton.SUFFICIENT_DECREASE * length * slope
        assert abs(end) <= quasi_newton.CURVATURE * abs(slope)
        assert tried[0] == 1.0
        assert tried[-2] == length  # before this test evaluated it again
    assert factor == 1e-3 or length is not None


@pytest.mark.parametrize(
    "along",
    [lambda length: (-length, -1.0), lambda length: (length, 1.0), lambda length: (math.nan, math.nan)],
    ids=["unbounded", "ascending", "not finite"],
)
def test_where_no_step_satisfies_the_conditions_none_is_found(along):
    assert strong_wolfe(along, 0.0, -1.0) is None


def test_a_step_into_infinity_is_drawn_back():
    """f(α) = α² - α up to α = 1/2, not finite beyond."""
    along = lambda x: (x * x - x, 2 * x - 1) if x <= 0.5 else (math.nan, math.nan)  # noqa: E731
    length = strong_wolfe(along, 0.0, -1.0)
    assert length is not None
    assert 0.05 <= length <= 0.5  # |2α - 1| <= 0.9


def test_every_accepted_step_of_self_scaled_broyden_satisfies_the_wolfe_conditions(problem_from):
    objective, ansatz = _trained(problem_from(BURGERS))
    optimizer, points = SelfScaledBroyden(objective, ansatz), _points(objective)
    for number in range(1, 25):
        loss, gradient = _direct(objective, ansatz, points)
        start = _vector(ansatz)
        result = optimizer.step(points, number)
        reached, end = _direct(objective, ansatz, points)
        step = _vector(ansatz) - start
        assert result.accepted
        assert result.loss == pytest.approx(loss, rel=1e-13)
        assert result.fitted == pytest.approx(reached, rel=1e-13)
        assert reached <= loss + 1e-4 * float(gradient @ step) + 1e-13 * loss
        assert abs(float(end @ step)) <= 0.9 * abs(float(gradient @ step)) * (1 + 1e-9)


def test_h_of_self_scaled_broyden_maps_the_last_change_of_the_gradient_to_the_last_step(problem_from):
    objective, ansatz = _trained(problem_from(BURGERS))
    optimizer, points = SelfScaledBroyden(objective, ansatz), _points(objective)
    for number in range(1, 8):
        before, start = _direct(objective, ansatz, points)[1], _vector(ansatz)
        optimizer.step(points, number)
        change, step = _direct(objective, ansatz, points)[1] - before, _vector(ansatz) - start
        inverse = optimizer.state()[0]["inverse"]
        assert (inverse @ change - step).abs().max() <= 1e-10 * (inverse.abs() @ change.abs()).max()


def test_self_scaled_broyden_meets_the_minimum_of_an_ill_conditioned_quadratic():
    matrix = _definite(10, 0, 1e4)
    function = _Function(lambda x: 0.5 * x @ matrix @ x, [1.0] * 10)
    optimizer, points = SelfScaledBroyden(function, function), [torch.zeros(3, 1, dtype=DOUBLE)]
    losses = [optimizer.step(points, number).loss for number in range(1, 60)]
    assert losses[-1] <= 1e-12 * losses[0]  # steepest descent needs 1e4 steps for each factor of e


def test_points_and_weights_that_change_are_evaluated_anew(problem_from):
    objective, ansatz = _trained(problem_from(BURGERS), constraints="soft")
    optimizer, points = SelfScaledBroyden(objective, ansatz), _points(objective)
    count = sum(len(place) for place in points)
    optimizer.step(points, 1)
    again = optimizer.step(points, 2)
    objective.weighting.multipliers.mul_(3.0)
    weighted = optimizer.step(points, 3)
    assert weighted.loss == pytest.approx(3 * again.fitted, rel=1e-12)
    other = optimizer.step(_points(objective, seed=1), 4)
    assert other.loss != weighted.fitted
    assert all(result.evaluations % count == 0 for result in (again, weighted, other))


def test_a_step_that_is_not_found_leaves_the_parameters_and_is_rejected():
    """The gradient has the wrong sign: the loss rises along every direction that it names."""
    function = _Function(lambda x: 2 * (x @ x).detach() - x @ x, [1.0, -2.0])
    optimizer, points = SelfScaledBroyden(function, function), [torch.zeros(1, 1, dtype=DOUBLE)]
    start = function.place.detach().clone()
    scales = []
    for number in range(1, 4):
        result = optimizer.step(points, number)
        assert not result.accepted
        assert result.loss == result.fitted == 5.0
        assert torch.equal(function.place, start)
        scales.append(optimizer.state()[1]["scale"])
    assert np.allclose(np.diff(np.log10(scales)), -2)


def test_a_matrix_that_leads_nowhere_is_dropped_for_the_gradient():
    matrix = _definite(4, 2, 10.0)
    function = _Function(lambda x: 0.5 * x @ matrix @ x, [1.0] * 4)
    optimizer, points = SelfScaledBroyden(function, function), [torch.zeros(1, 1, dtype=DOUBLE)]
    optimizer.restore({"inverse": -torch.eye(4, dtype=DOUBLE)}, {"scale": None})
    result = optimizer.step(points, 1)
    assert result.accepted
    assert result.fitted < result.loss
    assert torch.linalg.eigvalsh(optimizer.state()[0]["inverse"]).min() > 0


def test_after_a_search_that_failed_the_next_one_starts_from_where_the_parameters_were():
    """Along -H g every step tried ends far out, at losses that a wrong start would call a descent."""
    function = _Function(lambda x: 0.5 * x @ x, [1.0] * 4)
    optimizer, points = SelfScaledBroyden(function, function), [torch.zeros(1, 1, dtype=DOUBLE)]
    optimizer.restore({"inverse": 1e30 * torch.eye(4, dtype=DOUBLE)}, {"scale": 10.0})
    result = optimizer.step(points, 1)
    assert result.accepted
    assert result.loss == 2.0
    assert result.fitted < result.loss


def test_a_change_of_the_gradient_that_is_rounding_teaches_nothing():
    function = _Function(lambda x: x @ x, [1.0, 2.0])
    optimizer = SelfScaledBroyden(function, function)
    inverse = torch.eye(2, dtype=DOUBLE)
    optimizer.restore({"inverse": inverse}, {"scale": 1.0})
    optimizer._learn(torch.ones(2, dtype=DOUBLE), optimizer._here.gradient.clone(), 1.0)
    assert torch.equal(inverse, torch.eye(2, dtype=DOUBLE))
    optimizer._inverse = -inverse
    optimizer._learn(torch.ones(2, dtype=DOUBLE), optimizer._here.gradient - 1.0, 1.0)
    assert "inverse" not in optimizer.state()[0]  # it was not positive definite


# --- one evaluation for all -------------------------------------------------------------------------------------


class _Recorder:
    """Stands for CUDA graphs: repeats the function on the buffers, and counts."""

    def __init__(self) -> None:
        self.captures = self.replays = 0

    def __call__(self, function: Callable[[], Tensor]) -> Callable[[], Tensor]:
        self.captures += 1
        result = function()

        def replay() -> Tensor:
            self.replays += 1
            return result.copy_(function())

        return replay


@pytest.mark.parametrize("capture", [None, _Recorder()], ids=["eager", "captured"])
def test_terms_and_gradient_are_those_of_the_objective(problem_from, capture):
    objective, ansatz = _trained(problem_from(BURGERS), constraints="soft")
    evaluate = LossAndGradient(objective, list(ansatz.parameters()), capture=capture)
    for seed in range(3):
        points = _points(objective, seed=seed)
        loss, gradient = _direct(objective, ansatz, points)
        terms = evaluate(points)
        assert terms.sum().item() == pytest.approx(loss, rel=1e-14)
        assert list(evaluate.named(terms)) == list(objective.names)
        assert torch.allclose(evaluate.gradient, gradient, rtol=1e-13, atol=0)
        written = torch.cat([parameter.grad.flatten() for parameter in ansatz.parameters()])
        assert torch.equal(written, evaluate.gradient)


def test_a_graph_is_captured_once_per_shape(problem_from):
    objective, ansatz = _trained(problem_from(BURGERS))
    recorder = _Recorder()
    evaluate = LossAndGradient(objective, list(ansatz.parameters()), capture=recorder)
    for count in (64, 64, 64, 128, 128):
        evaluate(_points(objective, count, seed=count))
    assert (recorder.captures, recorder.replays) == (2, 5)
    assert evaluate.is_captured
    assert not LossAndGradient(objective, list(ansatz.parameters())).is_captured


def test_what_cannot_be_captured_is_evaluated_eagerly(problem_from):
    def refuse(function: Callable[[], Tensor]) -> Callable[[], Tensor]:
        raise RuntimeError("operation not permitted when stream is capturing")

    objective, ansatz = _trained(problem_from(BURGERS))
    evaluate, points = LossAndGradient(objective, list(ansatz.parameters()), capture=refuse), _points(objective)
    assert evaluate(points).sum().item() == pytest.approx(_direct(objective, ansatz, points)[0], rel=1e-14)
    assert not evaluate.is_captured


def test_parameters_move_in_place_so_that_a_graph_sees_them(problem_from):
    objective, ansatz = _trained(problem_from(BURGERS))
    evaluate = LossAndGradient(objective, list(ansatz.parameters()))
    places = [parameter.data_ptr() for parameter in ansatz.parameters()]
    position = evaluate.position()
    evaluate.move_to(position + 1)
    assert torch.equal(_vector(ansatz), position + 1)
    assert [parameter.data_ptr() for parameter in ansatz.parameters()] == places


def test_a_cuda_graph_is_warmed_up_on_a_stream_of_its_own_then_captured_and_replayed(monkeypatch):
    events: list[str] = []

    @contextmanager
    def inside(name: str):
        events.append(f"enter {name}")
        yield
        events.append(f"leave {name}")

    class Stream:
        def wait_stream(self, other: Stream) -> None:
            events.append("wait")

    graph = SimpleNamespace(replay=lambda: events.append("replay"))
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: inside("stream"))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda given: inside("graph" if given is graph else "other"))

    def function() -> Tensor:
        events.append("run")
        return LIKE

    replay = cuda_graph(function)
    before = ["wait", "enter stream", *["run"] * WARM_UPS, "leave stream", "wait", "enter graph", "run", "leave graph"]
    assert events == before
    assert replay() is LIKE
    assert events == [*before, "replay"]


@pytest.mark.parametrize("name", ["adam", "soap", "lbfgs", "ssbroyden"])
def test_captured_steps_are_the_eager_ones_bit_for_bit(problem_from, name):
    ends = []
    for capture in (None, _Recorder()):
        objective, ansatz = _trained(problem_from(BURGERS))
        optimizer = (
            SelfScaledBroyden(objective, ansatz, capture=capture)
            if name == "ssbroyden"
            else FirstOrder(name, objective, ansatz, None, capture=capture)
        )
        for number in range(1, 6):
            optimizer.step(_points(objective, seed=number), number)
        ends.append(_vector(ansatz))
    assert torch.equal(*ends)


@pytest.mark.skipif(which("c++") is None, reason="no C++ compiler")
def test_a_compiled_run_takes_the_steps_of_an_eager_one(problem_from):
    ends = []
    for compiled in (False, True):
        options = {"training__optimizer": "adam", "training__steps": 10, "training__compiled": compiled}
        session = _session(problem_from(BURGERS), time_limit=3600, **options)  # compilers may take minutes
        assert list(session.train())[-1].training.step == 10
        ends.append(_vector(session.training.ansatz))
    assert torch.allclose(*ends, rtol=1e-9, atol=1e-12)  # kernels sum in another order
    with pytest.raises(SettingsError, match="adam, lbfgs, soap, ssbroyden; this run takes lm"):
        _session(problem_from(BURGERS), training__compiled=True)


def test_replayed_steps_are_read_only_when_they_are_recorded(problem_from, monkeypatch):
    objective, ansatz = _trained(problem_from(BURGERS))
    reads = []
    named = LossAndGradient.named
    monkeypatch.setattr(LossAndGradient, "named", lambda self, terms: reads.append(1) or named(self, terms))
    optimizer, points = FirstOrder("adam", objective, ansatz, 1e-2, capture=_Recorder()), _points(objective)
    results = [optimizer.step(points, number) for number in range(1, 21)]
    assert [number for number, result in enumerate(results, 1) if result.recorded] == [1, 10, 20]
    assert len(reads) == 3
    assert results[5].terms == results[0].terms != results[9].terms
    eager = FirstOrder("adam", objective, ansatz, 1e-2)
    assert len({eager.step(points, number).loss for number in range(2, 6)}) == 4


# --- Adam, SOAP, L-BFGS -----------------------------------------------------------------------------------------


def test_nested_state_survives_json_bit_for_bit():
    state = {
        "state": {"0": {"step": torch.tensor(3.0), "GG": [[], torch.rand(2, 2)], "Q": None, "rate": 0.1}},
        "groups": [{"betas": [0.9, 1 / 3], "flag": True, "names": ["a"]}],
    }
    tensors: dict[str, Tensor] = {}
    again = unpacked(json.loads(json.dumps(packed(state, "optimizer", tensors))), tensors)
    assert set(tensors) == {"optimizer.state.0.step", "optimizer.state.0.GG.1"}
    assert again["groups"] == state["groups"]
    assert torch.equal(again["state"]["0"]["GG"][1], state["state"]["0"]["GG"][1])
    assert again["state"]["0"]["GG"][0] == []
    assert again["state"]["0"]["Q"] is None


@pytest.mark.parametrize(
    ("name", "steps", "factor"),
    [("adam", 200, 0.5), ("soap", 200, 1e-2), ("lbfgs", 5, 1e-2), ("ssbroyden", 40, 1e-4), ("sketched", 15, 1e-6)],
)
def test_every_optimizer_lowers_the_loss(problem_from, name, steps, factor):
    options = {"training__optimizer": name, "training__steps": steps, "training__learning_rate": 1e-2}
    losses = [progress.training.loss for progress in _session(problem_from(DECAY), **options).train()]
    assert losses[-1] <= factor * losses[0]


@pytest.mark.parametrize("constraints", ["auto", "soft"])
@pytest.mark.parametrize("name", ["adam", "soap", "lbfgs", "ssbroyden", "sketched"])
def test_a_run_resumed_from_tensors_and_json_goes_on_bit_for_bit(problem_from, name, constraints):
    """Stopped after 13 steps: between two draws of points, after two updates of balanced weights."""
    problem = problem_from(BURGERS + '[reference]\nsolver = "none"\n')
    steps = 24 if name != "lbfgs" else 22
    options = {"training__optimizer": name, "training__steps": steps, "constraints": constraints}
    options |= {"training__windows": 1, "training__resample": 5, "training__points": 48}
    straight = _session(problem, **options)
    list(straight.train())
    first = _session(problem, **options)
    for _ in first.training:
        if first.training.step == 13:
            break
    tensors, values = first.state()
    second = _session(problem, **options)
    saved = {key: tensor.clone() for key, tensor in tensors.items()}
    second.restore(first.training.step, saved, json.loads(json.dumps(values)))
    list(second.train())
    assert second.training.step == steps
    for key, tensor in straight.ansatz.state_dict().items():
        assert torch.equal(tensor, second.ansatz.state_dict()[key]), key


def test_lbfgs_drops_curvature_of_other_points_and_other_weights(problem_from):
    objective, ansatz = _trained(problem_from(BURGERS))
    optimizer, points = FirstOrder("lbfgs", objective, ansatz, None), _points(objective)

    def iterations() -> int:
        return optimizer.state()[1]["optimizer"]["state"]["0"]["n_iter"]

    optimizer.step(points, 1)
    optimizer.step(points, 2)
    assert iterations() == 40
    optimizer.step(_points(objective, seed=1), 3)
    assert iterations() == 20
    objective.weighting.multipliers.mul_(2.0)
    optimizer.step(_points(objective, seed=1), 4)
    assert iterations() == 20


def test_soap_has_no_weight_decay_and_rates_of_its_own(problem_from):
    objective, ansatz = _trained(problem_from(BURGERS))

    def group(name: str, rate: float | None) -> dict:
        return FirstOrder(name, objective, ansatz, rate).state()[1]["optimizer"]["param_groups"][0]

    assert group("soap", None)["weight_decay"] == 0.0
    assert (group("soap", None)["lr"], group("adam", None)["lr"], group("soap", 0.5)["lr"]) == (3e-3, 1e-3, 0.5)


def test_without_its_package_soap_is_a_missing_resource(problem_from, monkeypatch):
    objective, ansatz = _trained(problem_from(DECAY))
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(ResourceError, match=r"needs the package pytorch-optimizer .*pip install pytorch-optimizer"):
        FirstOrder("soap", objective, ansatz, None)
    with pytest.raises(ResourceError, match="needs the package pytorch-optimizer"):
        _session(problem_from(DECAY), training__optimizer="soap")


# --- sketches ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "count"), [(1, 1), (7, 7), (16, 5), (65, 13)])
def test_a_cosine_basis_has_the_columns_of_scipys_cosine_transform(generator, size, count):
    basis = cosine_basis(size, count, generator, LIKE).numpy()
    assert np.abs(basis.T @ basis - np.eye(count)).max() <= 10 * size * EPS
    columns = np.abs(scipy.fft.dct(np.eye(size), norm="ortho", axis=0))  # the same up to the signs of the rows
    nearest = [np.abs(columns - np.abs(column)).max(1).min() for column in basis.T]
    assert max(nearest) <= 10 * size * EPS


def test_signs_are_balanced_and_bases_differ_from_draw_to_draw(generator):
    signs = random_signs(10_000, generator, LIKE)
    assert set(signs.tolist()) == {-1.0, 1.0}
    assert abs(signs.mean().item()) <= 4 / 100  # four standard deviations of 1/√n
    assert not torch.equal(cosine_basis(9, 4, generator, LIKE), cosine_basis(9, 4, generator, LIKE))


@pytest.mark.parametrize(("count", "group"), [(12, 3), (13, 4), (5, 8)])
def test_a_count_sketch_preserves_inner_products_in_expectation(generator, count, group):
    """RᵀSᵀSR has the mean RᵀR and, entry by entry, the variance Σ (r_ia r_jb + r_ja r_ib)² over pairs in a bucket."""
    rows = torch.randn(count, 3, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
    draws = 4000
    mean = torch.zeros(3, 3, dtype=DOUBLE)
    for _ in range(draws):
        compressed = count_sketch(rows, group, generator)
        assert compressed.shape == (-(-count // group), 3)
        mean += compressed.T @ compressed / draws
    variance = torch.zeros(3, 3, dtype=DOUBLE)
    for i in range(count):
        for j in range(i + 1, count):
            if i // group == j // group:
                both = torch.outer(rows[i], rows[j])
                variance += (both + both.T).square()
    assert ((mean - rows.T @ rows).abs() <= 4.5 * (variance / draws).sqrt() + 1e-12).all()  # 9 entries: 6e-5


def test_without_groups_a_count_sketch_is_the_identity(generator):
    rows = torch.randn(4, 2, generator=generator, dtype=DOUBLE)
    assert torch.equal(count_sketch(rows, 1, generator), rows)


@pytest.mark.parametrize("columns", [1, 50, 400, 768, 2000, 13_000])
def test_subspaces_fit_their_layers_and_share_the_columns(columns):
    layers = [(64, 3), (64, 65), (64, 65), (64, 65), (1, 65)]
    shapes = subspace_shapes(layers, columns)
    assert all(1 <= a <= outer and 1 <= b <= inner for (a, b), (outer, inner) in zip(shapes, layers, strict=True))
    used = sum(a * b for a, b in shapes)
    assert used <= max(columns, 65 + 4 * 3)  # every layer has a column
    assert used >= min(0.8 * columns, 12_737)


def _difference_maker(problem: Problem):
    lower, upper = problem.box
    return finite_differences("central4", [0.01] * len(lower), lower.tolist(), upper.tolist(), [False] * len(lower))


@pytest.mark.parametrize("maker", ["taylor", "fd"])
def test_compressed_rows_are_the_jacobian_times_the_lifted_unit_vectors(problem_from, generator, maker):
    objective, ansatz = _trained(problem_from(BURGERS), derivatives=maker, constraints="soft")
    optimizer = SketchedGaussNewton(objective, ansatz, generator, columns=40)
    subspaces, points = optimizer._draw(), _points(objective, 24)
    columns = sum(subspace.columns for subspace in subspaces.values())
    size = len(_vector(ansatz))
    assert 20 <= columns < size
    basis = torch.stack([optimizer._lifted(subspaces, unit) for unit in torch.eye(columns, dtype=DOUBLE)], dim=1)
    assert (basis.T @ basis - torch.eye(columns, dtype=DOUBLE)).abs().max() <= 100 * EPS
    found = list(optimizer._rows(points, subspaces))
    assert [index for index, _, _ in found] == list(range(len(objective.names)))
    weighted = objective.residuals(points)
    for index, rows, values in found:
        dense = generic_jacobian(ansatz, lambda k=index: [objective.residuals(points)[k]])[1][0]  # (P, N)
        assert torch.allclose(values, weighted[index].detach(), rtol=1e-12, atol=1e-14)
        assert (rows - dense.T @ basis).abs().max() <= 1e-11 * dense.abs().max()


def test_with_square_sketches_a_step_is_that_of_dense_gauss_newton(problem_from, generator):
    objective, ansatz = _trained(problem_from(BURGERS), constraints="soft")
    optimizer = SketchedGaussNewton(objective, ansatz, generator, columns=10**6, rows_per_column=math.inf)
    points, start = _points(objective, 48), _vector(ansatz)
    damping = 100.0  # large enough for a first step to be accepted
    optimizer.restore({"generator": generator.get_state()}, {"damping": 2 * damping})
    parts = [
        generic_jacobian(ansatz, lambda k=k: [objective.residuals(points)[k]]) for k in range(len(objective.names))
    ]
    matrix = torch.cat([rows[0] for _, rows in parts], dim=1).numpy().T
    residual = torch.cat([values[0] for values, _ in parts]).numpy()
    stacked = np.vstack([matrix, math.sqrt(damping) * np.eye(len(start))])
    expected = np.linalg.lstsq(stacked, np.concatenate([residual, np.zeros(len(start))]), rcond=None)[0]
    result = optimizer.step(points, 1)
    assert result.accepted
    assert result.damping == damping
    found = (start - _vector(ansatz)).numpy()
    condition = (np.linalg.norm(matrix, 2) ** 2 + damping) / damping  # of the normal equations
    assert np.abs(found - expected).max() <= 10 * condition * EPS * np.abs(expected).max()


def test_sketched_steps_descend_and_note_what_they_reached(problem_from, generator):
    objective, ansatz = _trained(problem_from(BURGERS), network__width=24)
    optimizer, points = SketchedGaussNewton(objective, ansatz, generator, columns=60), _points(objective, 400)
    for number in range(1, 9):
        loss, _ = _direct(objective, ansatz, points)
        result = optimizer.step(points, number)
        assert result.loss == pytest.approx(loss, rel=1e-12)
        assert result.fitted == pytest.approx(_direct(objective, ansatz, points)[0], rel=1e-12)
        assert result.fitted < result.loss
        assert result.evaluations % 400 == 0


def test_a_rejected_sketched_step_leaves_the_parameters_and_raises_the_damping(problem_from, generator, monkeypatch):
    objective, ansatz = _trained(problem_from(BURGERS))
    optimizer, points = SketchedGaussNewton(objective, ansatz, generator, columns=40), _points(objective)
    monkeypatch.setattr(SketchedGaussNewton, "target_ratio", 1e9)  # no step can be this good
    start = _vector(ansatz)
    rejected = optimizer.step(points, 1)
    assert not rejected.accepted
    assert torch.equal(_vector(ansatz), start)
    assert rejected.evaluations == 13 * 96
    monkeypatch.undo()
    accepted = optimizer.step(points, 2)  # goes on from half of the λ that would have been tried next
    assert accepted.accepted
    assert accepted.damping == rejected.damping / 2
    assert torch.isfinite(_vector(ansatz)).all()


def test_no_row_of_all_parameters_is_ever_formed_for_many_points(problem_from, generator):
    """On 8,577 parameters and 4,000 points JᵀJ, J and any wide part of J are far above the largest tensor."""

    class Largest(TorchFunctionMode):
        seen = 0

        def __torch_function__(self, function, types, arguments=(), options=None):
            result = function(*arguments, **(options or {}))
            self.seen = max(self.seen, result.numel() if isinstance(result, Tensor) else 0)
            return result

    objective, ansatz = _trained(problem_from(BURGERS), network__width=64, network__depth=3)
    optimizer, points = SketchedGaussNewton(objective, ansatz, generator, columns=300), _points(objective, 4000)
    size = len(_vector(ansatz))
    assert size == 8577
    with Largest() as largest:
        assert optimizer.step(points, 1).accepted
    assert largest.seen <= NUMBERS_IN_MEMORY + 300**2  # the points at once times columns or hidden channels
    assert largest.seen <= size * 4000 / 20


def test_a_parameter_in_no_linear_layer_is_refused(problem_from, generator):
    objective, ansatz = _trained(problem_from(DECAY))
    ansatz.register_parameter("unknown", nn.Parameter(torch.zeros(3, dtype=DOUBLE)))
    with pytest.raises(SettingsError, match=r"needs all parameters in linear layers, 3 are in none"):
        SketchedGaussNewton(objective, ansatz, generator)


def test_layers_without_bias_have_subspaces_too(problem_from, generator):
    objective, ansatz = _trained(problem_from(DECAY))
    layer = ansatz.network.layers[1]
    layer.bias = None
    optimizer = SketchedGaussNewton(objective, ansatz, generator, columns=10**6, rows_per_column=math.inf)
    points, start = _points(objective, 32), _vector(ansatz)
    subspaces = optimizer._draw()
    assert subspaces[layer].right.shape == (8, 8)
    (_, rows, _), *_ = optimizer._rows(points, subspaces)
    dense = generic_jacobian(ansatz, lambda: [objective.residuals(points)[0]])[1][0]
    units = torch.eye(len(start), dtype=DOUBLE)
    basis = torch.stack([optimizer._lifted(subspaces, unit) for unit in units], dim=1)
    assert (rows - dense.T @ basis).abs().max() <= 1e-11 * dense.abs().max()


# --- the choice -------------------------------------------------------------------------------------------------


def _why(problem: Problem, width: int, depth: int, settings: TrainingSettings | None = None, **options) -> str:
    session = _session(problem, network__width=width, network__depth=depth)
    layerwise = options.pop("layerwise", True)
    keywords = {"feature_activations": ["tanh"], "double": True} | options
    training = session.training
    objective = replace(training.objective, layerwise=layerwise)
    stages, why = make_plan(problem, training.ansatz, objective, settings or TrainingSettings(), **keywords)
    assert stages[-1].name in why
    return why


@pytest.mark.parametrize(
    ("width", "depth", "options", "sentence"),
    [
        (20, 3, {}, "random features where few of them serve; if not, lm on 921 parameters and widening"),
        (
            64,
            4,
            {},
            r".* if not, sketched Gauss-Newton .* 12737 parameters are too many for lm, .* = 3e\+12 operations a",
        ),
        (64, 4, {"layerwise": False}, r"soap: 12737 .*; sketched steps need derivatives = taylor, fd or coupled"),
        (64, 4, {"double": False}, r"sketched Gauss-Newton steps alone, since least squares need float64: 12737"),
        (200, 4, {}, r"soap: 121401 .*; sketched steps are for at most 100000 parameters"),
        (20, 3, {"double": False}, "lm alone: least squares need float64"),
    ],
)
def test_auto_says_why_it_takes_which_optimizer(problem_from, width, depth, options, sentence):
    import re

    assert re.match(sentence, _why(problem_from(BURGERS), width, depth, **options))


def test_auto_takes_random_features_first_for_a_linear_problem_of_any_size(problem_from):
    why = _why(problem_from(DECAY), 64, 4)
    assert why.startswith("random features first (the problem is linear), then sketched Gauss-Newton")


def test_auto_takes_adam_where_the_package_of_soap_is_missing(problem_from, monkeypatch):
    monkeypatch.setattr(plan, "find_spec", lambda name: None)
    assert _why(problem_from(BURGERS), 64, 4, layerwise=False).startswith("adam: ")


def test_auto_goes_on_with_lm_to_more_parameters_on_a_gpu():
    assert plan._chosen(6_000, True, True, torch.device("cuda"))[0] == "lm"
    assert plan._chosen(6_000, True, True, torch.device("cpu"))[0] == "sketched"


@pytest.mark.parametrize(
    ("name", "width", "options", "message"),
    [
        ("ssbroyden", 100, {}, r"a matrix of 30701 × 30701 numbers, 7\.5 GB; at most 20000 parameters"),
        ("ssbroyden", 8, {"double": False}, "ssbroyden needs precision = float64"),
        ("sketched", 8, {"layerwise": False}, "sketched needs derivatives = taylor, fd or coupled, got autograd"),
        ("least-squares", 8, {"double": False}, "least-squares needs float64"),
    ],
)
def test_an_optimizer_that_cannot_work_is_refused(problem_from, name, width, options, message):
    with pytest.raises(SettingsError, match=message):
        _why(problem_from(BURGERS), width, 4, TrainingSettings(optimizer=name), **options)


@pytest.mark.parametrize("name", ["lm", "sketched", "ssbroyden", "soap", "adam", "lbfgs"])
def test_an_optimizer_that_was_asked_for_is_taken(problem_from, name):
    assert _why(problem_from(BURGERS), 8, 2, TrainingSettings(optimizer=name)) == f"{name}, as asked for"


def test_the_seed_reaches_the_sketches(problem_from):
    def first_loss(seed: int) -> list[float]:
        options = {"training__optimizer": "sketched", "training__steps": 3, "network__width": 40, "seed": 5}
        session = _session(problem_from(BURGERS), **options)
        training = session.training
        settings = TrainingSettings(optimizer="sketched")
        stages, _ = make_plan(
            problem_from(BURGERS),
            training.ansatz,
            training.objective,
            settings,
            feature_activations=["tanh"],
            double=True,
            seed=seed,
        )
        training.plan = stages
        return [step.loss for step in training]

    assert first_loss(0) == first_loss(0)
    assert first_loss(0)[0] == first_loss(1)[0]
    assert first_loss(0)[1:] != first_loss(1)[1:]


def test_the_evaluations_of_taylor_mode_and_of_the_optimizers_meet_in_one_objective(problem_from):
    """The gradient that optimizers see is the limit of difference quotients of the loss they report."""
    objective, ansatz = _trained(problem_from(BURGERS))
    assert objective.differentiator is taylor
    evaluate, points = LossAndGradient(objective, list(ansatz.parameters())), _points(objective)
    evaluate(points)
    gradient, start = evaluate.gradient.clone(), _vector(ansatz)
    direction = torch.randn(len(start), generator=torch.Generator().manual_seed(2), dtype=DOUBLE)
    h = 1e-5  # error h² L'''/6 + u L/h: about 1e-10 relative each
    values = []
    for shift in (h, -h):
        vector_to_parameters(start + shift * direction, ansatz.parameters())
        values.append(objective.step_loss(points).item())
    slope = (values[0] - values[1]) / (2 * h)
    assert slope == pytest.approx(float(gradient @ direction), rel=1e-7)
