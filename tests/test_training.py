from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pinnsolve.derivatives import autograd, taylor
from pinnsolve.derivatives.finite_differences import finite_differences
from pinnsolve.errors import DivergenceError, SettingsError
from pinnsolve.networks import (
    Ansatz,
    InputFeatures,
    MultilayerPerceptron,
    activation,
    derive_constraints,
    output_scales,
)
from pinnsolve.networks.multilayer import random_features, widened
from pinnsolve.problems import Problem
from pinnsolve.solving import solve
from pinnsolve.training import (
    Budget,
    Objective,
    Training,
    TrainingSettings,
    build_objective,
    features,
    make_plan,
    stages,
)
from pinnsolve.training.features import RandomFeatureStage
from pinnsolve.training.jacobian import generic_jacobian, gram, jacobian
from pinnsolve.training.least_squares import DAMPING, KINK_DAMPING, least_squares, output_damping
from pinnsolve.training.levenberg_marquardt import LevenbergMarquardt
from pinnsolve.training.objective import residual_scale
from pinnsolve.training.sampling import Sampler, SobolStream, residual_weighted
from pinnsolve.training.stages import WideningStage

from .conftest import BURGERS, DECAY

CPU = torch.device("cpu")


def _objective(problem: Problem, maker=taylor, mode: str = "auto", width: int = 6) -> tuple[Ansatz, Objective]:
    features = InputFeatures(problem, 2, torch.float64)
    network = MultilayerPerceptron(features.size, [width] * 2, len(problem.fields), activation("tanh"), torch.float64)
    network.initialized("glorot", torch.Generator().manual_seed(1))
    constraints = derive_constraints(problem, mode)
    ansatz = Ansatz(problem, constraints, features, network, output_scales(problem))
    scales = dict(zip(problem.field_names, ansatz.scales, strict=True))
    return ansatz, build_objective(
        problem,
        ansatz,
        maker,
        constraints.soft,
        TrainingSettings(balance=9.0, causal=0),
        field_scales=scales,
        layerwise=maker is not autograd,
        seed=0,
        dtype=torch.float64,
        device=CPU,
    )


def _training(problem: Problem, ansatz: Ansatz, objective: Objective, settings: TrainingSettings) -> Training:
    plan, _ = make_plan(problem, ansatz, objective, settings, feature_activations=["tanh"], double=True)
    held_out = [
        Sampler(problem, block.sampler.condition, 99, torch.float64, CPU).draw(64) for block in objective.blocks
    ]
    generator = torch.Generator().manual_seed(3)
    return Training(ansatz, objective, plan, settings, generator, Budget(600.0, settings.steps), held_out)


def _difference_maker(problem: Problem):
    lower, upper = problem.box
    return finite_differences("central4", [0.01] * len(lower), lower.tolist(), upper.tolist(), [False] * len(lower))


@pytest.mark.parametrize("name", ["taylor", "finite differences"])
def test_the_jacobian_of_one_backward_pass_is_that_of_one_pass_per_point(problem_from, name):
    problem = problem_from(BURGERS)
    ansatz, objective = _objective(problem, taylor if name == "taylor" else _difference_maker(problem))
    block = objective.blocks[0]
    points = block.sampler.draw(23)
    values, rows = jacobian(ansatz, lambda: objective.raw(block, points))
    oracle_values, oracle_rows = generic_jacobian(ansatz, lambda: objective.raw(block, points))
    assert torch.allclose(values[0], oracle_values[0], rtol=1e-13, atol=1e-14)
    assert rows[0].shape == (sum(p.numel() for p in ansatz.parameters()), 23)
    assert (rows[0] - oracle_rows[0]).abs().max() <= 1e-11 * oracle_rows[0].abs().max()


def test_the_jacobian_is_the_limit_of_difference_quotients(problem_from):
    ansatz, objective = _objective(problem_from(BURGERS))
    block = objective.blocks[0]
    points = block.sampler.draw(11)
    _, (rows,) = jacobian(ansatz, lambda: objective.raw(block, points))
    start = parameters_to_vector(ansatz.parameters()).detach()
    direction = torch.randn(len(start), generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def residual(step: float) -> torch.Tensor:
        vector_to_parameters(start + step * direction, ansatz.parameters())
        with torch.no_grad():
            return objective.raw(block, points)[0]

    h = 1e-5  # error h² r'''/6 + u r/h: about 1e-10 relative each
    slope = (residual(h) - residual(-h)) / (2 * h)
    assert (rows.t() @ direction - slope).abs().max() <= 1e-7 * slope.abs().max()


def test_gram_by_blocks_is_the_product():
    rows = torch.randn(300, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(gram(rows), rows @ rows.t(), rtol=1e-13, atol=1e-12)


def test_the_normal_equations_are_the_gradient_of_the_objective(problem_from):
    ansatz, objective = _objective(problem_from(BURGERS), mode="soft")
    points = objective.draw(40, 0.5, torch.Generator().manual_seed(0))
    loss = torch.stack(list(objective.terms(points).values())).sum()
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(ansatz.parameters()))])
    model, shares = LevenbergMarquardt(objective, ansatz)._linearised(points)
    assert float(shares.sum()) == pytest.approx(loss.item(), rel=1e-13)
    assert torch.allclose(2 * model.gradient, gradient, rtol=1e-10, atol=1e-12)


def test_levenberg_marquardt_solves_a_linear_problem_in_the_weights_like_least_squares(problem_from):
    """With one residual linear in its parameters, a step of vanishing λ is the least-squares solution."""
    ansatz, objective = _objective(problem_from(DECAY), width=5)
    for layer in ansatz.network.hidden:
        layer.requires_grad_(False)

    class Output(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.output = ansatz.network.output

    points = objective.draw(64, 0.0, torch.Generator())
    module = Output()
    optimizer = LevenbergMarquardt(objective, module)
    optimizer._damping = 1e-13
    rows = jacobian(module, lambda: objective.raw(objective.blocks[0], points[0]))[1][0]
    residual = objective.raw(objective.blocks[0], points[0])[0].detach()
    best = np.linalg.lstsq(rows.t().numpy(), residual.numpy(), rcond=None)[0]
    remaining = np.linalg.norm(residual.numpy() - rows.t().numpy() @ best)
    optimizer.step(points, 1)
    after = objective.raw(objective.blocks[0], points[0])[0].detach().norm().item()
    # normal equations see half the digits: the minimum is met to √roundoff of the start
    assert after <= remaining + 1e-6 * residual.norm().item()


@pytest.mark.parametrize(("optimizer", "steps", "factor"), [("lm", 15, 1e-6), ("adam", 200, 0.5), ("lbfgs", 5, 1e-2)])
def test_every_optimizer_lowers_the_loss(problem_from, optimizer, steps, factor):
    problem = problem_from(DECAY)
    ansatz, objective = _objective(problem)
    settings = TrainingSettings(optimizer=optimizer, steps=steps, points=64, learning_rate=1e-2)
    training = _training(problem, ansatz, objective, settings)
    losses = [step.loss for step in training]
    assert len(losses) == steps
    assert losses[-1] <= factor * losses[0]


@pytest.mark.parametrize("text", [BURGERS, DECAY], ids=["nonlinear", "linear"])
def test_the_same_seed_gives_the_same_history_bit_for_bit(problem_from, text):
    def history() -> list[tuple]:
        problem = problem_from(text)
        ansatz, objective = _objective(problem)
        training = _training(problem, ansatz, objective, TrainingSettings(steps=8, points=128))
        return [(step.stage, step.loss, step.held_out, step.damping) for step in training]

    assert history() == history()


def test_a_loss_that_is_not_finite_names_equation_and_point(problem_from):
    problem = problem_from(DECAY.replace("u_t = -u", "u_t = log(t - 0.5)"))
    ansatz, objective = _objective(problem)
    training = _training(problem, ansatz, objective, TrainingSettings(optimizer="lm", steps=3, points=16))
    with pytest.raises(DivergenceError, match=r"'decay' is nan at \(0\.[0-4]"):
        list(training)


def test_a_loss_that_explodes_is_noticed(problem_from):
    problem = problem_from(DECAY)
    ansatz, objective = _objective(problem)
    settings = TrainingSettings(optimizer="adam", steps=50, points=16, learning_rate=1e6)
    with pytest.raises(DivergenceError, match=r"the loss (grew|is)"):
        list(_training(problem, ansatz, objective, settings))


def test_stagnation_ends_training_and_is_named(problem_from, monkeypatch):
    monkeypatch.setattr(LevenbergMarquardt, "target_ratio", 1e9)  # no step can be this good
    problem = problem_from(DECAY)
    ansatz, objective = _objective(problem)
    training = _training(problem, ansatz, objective, TrainingSettings(optimizer="lm", steps=200, points=16))
    assert len(list(training)) == 30
    assert training.reason.startswith("stagnation: lm")


def test_points_lie_in_the_box_and_on_their_faces(problem_from):
    problem = problem_from(BURGERS)
    points = Sampler(problem, None, 0, torch.float64, CPU).draw(1000)
    assert points.min(0).values.tolist() == pytest.approx([-1, 0], abs=0.01)
    assert points.max(0).values.tolist() == pytest.approx([1, 1], abs=0.01)
    on_face = Sampler(problem, problem.conditions[2], 0, torch.float64, CPU).draw(100)
    assert (on_face[:, 0] == 1).all()
    assert on_face[:, 1].max() > 0.9


def test_restricted_points_satisfy_their_restriction(problem_from):
    problem = problem_from(BURGERS.replace('"x = 1"', '"x = 1 and t > 0.75"'))
    points = Sampler(problem, problem.conditions[2], 0, torch.float64, CPU).draw(100)
    assert len(points) == 100
    assert points[:, 1].min() > 0.75
    never = problem_from(BURGERS.replace('"x = 1"', '"x = 1 and t > 5"'))
    with pytest.raises(ValueError, match="almost nowhere"):
        Sampler(never, never.conditions[2], 0, torch.float64, CPU).draw(10)


def test_a_sobol_stream_goes_on_where_it_stood():
    straight, resumed = SobolStream(3, 5), SobolStream(3, 5)
    first = straight.draw(1500)
    rest = straight.draw(700)
    resumed.skip_to(len(first))
    assert np.array_equal(resumed.draw(700), rest)
    fresh = SobolStream(3, 5)
    fresh.skip_to(0)
    assert np.array_equal(fresh.draw(10), first[:10])


def test_half_of_the_points_follow_the_residual(problem_from):
    sampler = Sampler(problem_from(DECAY), None, 0, torch.float64, CPU)
    points = residual_weighted(
        sampler, 4000, 0.5, lambda p: (p[:, 0] > 0.75).double(), torch.Generator().manual_seed(0)
    )
    share = (points[:, 0] > 0.75).double().mean().item()
    # half lie there by weight, a quarter of the other half evenly: Sobol points miss that by far less than 1/√n
    assert share == pytest.approx(0.625, abs=0.002)


def test_points_gather_where_coordinates_end_unless_they_are_periodic(problem_from):
    periodic = """
    title = "Decay on a circle"
    periodic = ["x"]
    [coordinates]
    x = [0, 2]
    t = [0, 3]
    [equations]
    heat = "u_t = u_xx"
    [[conditions]]
    where = "t = 0"
    equation = "u = 1"
    """
    points = Sampler(problem_from(periodic), None, 0, torch.float64, CPU).draw(4096, ends=0.5)
    edge = 0.01
    near = [
        float(((column < edge * length) | (column > (1 - edge) * length)).double().mean())
        for column, length in ((points[:, 0], 2), (points[:, 1], 3))
    ]
    # the arcsine law has (2/π) asin √s of its mass below s, the uniform one s; Sobol points meet both to a few points
    assert near[0] == pytest.approx(2 * edge, abs=3e-3)
    assert near[1] == pytest.approx(0.5 * 2 * edge + 0.5 * 2 * (2 / np.pi) * np.arcsin(edge**0.5), abs=3e-3)


def test_points_that_gather_at_the_ends_keep_kinked_features_from_swinging_there():
    """ELU features on evenly spread points swing between the last of them and the boundary: an error of 6e-5 here."""
    solution = solve("poisson", activation="elu", optimizer="least-squares", steps=15)
    assert solution.fields["u"].relative_l2 < 1e-7


def test_residual_scales_make_units_pure_numbers(problem_from):
    """The same equation in other units (x in mm, u in kilounits, the equation times 7) has the same scaled residual."""
    plain = problem_from(BURGERS)
    scaled = problem_from(
        BURGERS.replace("x = [-1, 1]", "x = [-1000, 1000]")
        .replace("u_t + u*u_x = nu*u_xx", "7*(u_t + u*u_x) = 7*nu*u_xx")
        .replace("x = -1", "x = -1000")
        .replace('x = 1"', 'x = 1000"')
        .replace("0.01/pi", "10000/pi")
    )
    a = residual_scale(plain.equations[0], plain, {"u": 1.0})
    b = residual_scale(scaled.equations[0], scaled, {"u": 1000.0})
    assert b == pytest.approx(7000 * a, rel=1e-12)


def test_both_makers_train_alike(problem_from):
    """Taylor mode and nested autograd are the same function: the first steps agree to roundoff."""
    losses = []
    for maker in (taylor, autograd):
        problem = problem_from(DECAY)
        ansatz, objective = _objective(problem, maker)
        settings = TrainingSettings(optimizer="lm", steps=3, points=16)
        losses.append([step.loss for step in _training(problem, ansatz, objective, settings)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)  # roundoff grows with the conditioning of JᵀJ


def test_objective_in_chunks_is_the_objective(problem_from):
    _, objective = _objective(problem_from(BURGERS), mode="soft", width=3000)
    points = objective.draw(300, 0.5, torch.Generator().manual_seed(0))
    assert objective.chunk < 100
    with torch.no_grad():
        whole = {name: float(value) for name, value in objective.terms(points).items()}
    assert objective.term_values(points) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("sizes", [[50], [20, 20, 10], [7] * 8], ids=str)
def test_least_squares_by_chunks_is_lapacks(sizes):
    generator = torch.Generator().manual_seed(0)
    scales = np.logspace(-3, 3, 12)
    matrix = torch.randn(sum(sizes), 12, generator=generator, dtype=torch.float64) * torch.as_tensor(scales)
    right = torch.randn(sum(sizes), generator=generator, dtype=torch.float64)
    chunks = torch.cat([matrix, right[:, None]], 1).split(sizes)
    solution, remaining = least_squares(chunks)
    best = np.linalg.lstsq(matrix.numpy() / scales, right.numpy(), rcond=None)[0] / scales
    # Householder QR does not mind columns scaled over six decades, only the conditioning (below 100) of the rest
    assert solution.numpy() == pytest.approx(best, rel=1e-12)
    assert remaining == pytest.approx(np.linalg.norm(matrix.numpy() @ best - right.numpy()), rel=1e-12)


def test_least_squares_with_a_dead_column_and_too_few_rows():
    matrix = torch.tensor([[1.0, 0.0, 2.0, 3.0], [0.0, 0.0, 1.0, 1.0]], dtype=torch.float64)  # two rows, [A b]
    solution, _ = least_squares([matrix])
    assert torch.isfinite(solution).all()
    assert solution[1] == 0
    assert matrix[:, :3] @ solution == pytest.approx([3.0, 1.0], rel=1e-9)


def test_a_column_that_almost_vanishes_gets_no_huge_weight():
    """Damped by its own norm, 1e-30, its weight would be 1e29; by the median norm m, it is at most |b| / (μ m)."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(40, 6, generator=generator, dtype=torch.float64)  # [A b]
    matrix[:, 2] *= 1e-30
    solution, _ = least_squares([matrix], damping=1e-13)
    norms = torch.linalg.vector_norm(matrix, dim=0)
    assert abs(solution[2]) <= norms[-1] / (1e-13 * norms[:-1].median())
    # columns of other fields do not count: with fields of their own, both keep the scale that they have
    alone, _ = least_squares([matrix], damping=1e-13, fields=torch.tensor([0, 0, 1, 0, 0]))
    assert abs(alone[2]) > 1e25


def test_an_activation_that_turns_affine_solves_a_kink():
    """GELU is affine away from 0, so that many units vanish in u_xx; their rounding must not swamp u."""
    solution = solve("elu_home", activation="gelu", optimizer="least-squares", steps=11, seed=1)
    # 400 units of scale s resolve the jump of u_xx to about 1/s: with s = 64, an error of 1e-2 is a bound with room
    assert solution.fields["u"].relative_l2 < 1e-2


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_units_with_kinks_between_two_points_get_no_huge_weights(seed):
    """Two such units cancel in u_xx at every point; their weights are bounded by the damping alone.

    One scale of 400 units on a length of 4 has kinks 0.01 apart, and cannot do worse than leave the jump of u_xx, 1, on
    a few such lengths: a slope wrong by 0.05, and u by 0.05 of its maximum. Undamped it was wrong by 0.05 to 71.
    """
    solution = solve("elu_home", activation="elu", optimizer="least-squares", steps=1, seed=seed)
    assert solution.fields["u"].relative_l2 < 0.05


def test_units_with_a_kink_in_the_domain_are_damped():
    generator = torch.Generator().manual_seed(0)

    def damping(name, widths):
        network = MultilayerPerceptron(1, widths, 2, activation(name), torch.float64)
        with torch.no_grad():
            for layer in network.layers:
                torch.nn.init.normal_(layer.weight, generator=generator)
            network.layers[-1].bias.copy_(torch.linspace(-2, 2, widths[-1], dtype=torch.float64))
        return network, output_damping(network).tolist()

    network, found = damping("elu", [9])
    ends = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    low, high = network.layers[0](ends).sort(0).values  # arguments are affine: signs at the ends tell of a kink
    expected = [KINK_DAMPING if a * b <= 0 else DAMPING for a, b in zip(low, high, strict=True)]
    assert {KINK_DAMPING, DAMPING} == set(expected)
    assert found == [*expected, *expected, DAMPING, DAMPING]  # two outputs, then their biases
    assert damping("elu", [5, 4])[1] == [KINK_DAMPING] * 8 + [DAMPING] * 2
    assert damping("tanh", [4])[1] == [DAMPING] * 10


def test_qr_keeps_the_digits_that_normal_equations_lose():
    """A Läuchli matrix with ε = 1e-9: ε² is below roundoff, JᵀJ is singular, QR is exact."""
    eps = 1e-9
    matrix = torch.tensor([[1.0, 1.0, 2.0], [eps, 0.0, eps], [0.0, eps, eps]], dtype=torch.float64)
    solution, _ = least_squares([matrix], damping=0.0)
    assert solution.tolist() == pytest.approx([1.0, 1.0], rel=1e-6)


def test_widening_leaves_the_function_as_it_is(problem_from, generator):
    ansatz, _ = _objective(problem_from(BURGERS))
    points = torch.rand(50, 2, generator=generator, dtype=torch.float64)
    wide = widened(ansatz.network, 100, (0.1, 0.4), generator)
    assert wide.widths == [6, 106]
    assert torch.allclose(wide(points), ansatz.network(points), rtol=1e-14, atol=1e-15)
    noise = wide.layers[-1].weight[6:] - wide.layers[-1].weight[:6].mean(0)
    assert noise.std() > 0


def test_random_features_have_the_stated_ranges(problem_from, generator):
    ansatz, _ = _objective(problem_from(BURGERS))
    wide = random_features(ansatz.network, 5000, [2.0, 8.0], generator, activation("sine"))
    weight = wide.layers[0].weight.abs().max(0).values
    assert weight.tolist() == pytest.approx([2.0, 8.0], rel=0.01)
    assert wide.layers[0].bias.abs().max().item() == pytest.approx(8.0, rel=0.01)
    assert wide.activation.name == "sine"


def test_a_network_is_rebuilt_from_its_description(problem_from, generator):
    ansatz, _ = _objective(problem_from(BURGERS))
    wide = random_features(ansatz.network, 7, [1.0, 1.0], generator, activation("elu", 0.5))
    again = ansatz.network.described(wide.description())
    again.load_state_dict(wide.state_dict())
    points = torch.rand(5, 2, generator=generator, dtype=torch.float64)
    assert torch.equal(again(points), wide(points))


def test_random_features_solve_a_linear_problem_to_rounding(problem_from):
    problem = problem_from(DECAY)
    ansatz, objective = _objective(problem)
    training = _training(problem, ansatz, objective, TrainingSettings(optimizer="least-squares", steps=3))
    list(training)
    training.adopt_best()
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    with torch.no_grad():
        error = (ansatz(t[:, None])["u"] - torch.exp(-t)).abs().max().item()
    assert error < 1e-12  # least squares at roundoff, times a modest norm of the weights


@pytest.mark.parametrize(
    ("limit", "solves"),
    [
        (9.0, {400: 9}),  # 7 scales; 2 s are too few for a quarter more features: neighbours instead
        (10.0, {400: 7, 583: 1}),  # 400 * 2 (0.8 * 3 / 5)^(1 / log2(5)) features take 0.8 * 3 s
        (14.0, {400: 7, 800: 1}),
        (17.0, {400: 11, 786: 1}),  # neighbours are looked at as 4 + 5 of the 10 s left would do for a doubling
        (18.0, {400: 11, 800: 1}),
        (60.0, {400: 11, 800: 2, 1600: 1}),  # larger scales of 800 features, since there is time
    ],
)
def test_layers_are_as_wide_as_the_time_allows(monkeypatch, limit, solves):
    """A second per solve with 400 features, five times as much for twice as many."""

    class Clock:
        elapsed = 0.0
        last_held_out, goal, trained, best_network, ansatz = 1e-8, 0.0, None, None, SimpleNamespace(network=None)
        objective = SimpleNamespace(weighting=SimpleNamespace(state=dict))
        budget = property(lambda self: self)
        left = property(lambda self: limit - self.elapsed)
        used = property(lambda self: self.elapsed / limit)

        def converged(self, before, now):
            return False

    widths = []

    def solve_features(training, width, *_, **__):
        widths.append(width)
        training.elapsed += (width / 400) ** np.log2(5)

    monkeypatch.setattr(features, "solve_features", solve_features)
    clock = Clock()
    assert not any(RandomFeatureStage(["tanh"], [[0]], [], is_linear=True).steps(clock))
    assert {width: widths.count(width) for width in widths} == solves
    assert clock.elapsed <= limit


def test_no_other_features_are_tried_once_the_residual_is_rounding():
    """In five dimensions a lift that is the solution would be compared with fifty others."""
    assert solve("poisson_5d", {"audit.enabled": False}, steps=100).metrics()["steps"] == 1


@pytest.mark.parametrize(("seconds", "begun"), [(20.0, False), (5.0, True)])
def test_a_wide_layer_that_took_longer_than_is_left_is_not_begun(monkeypatch, seconds, begun):
    training = SimpleNamespace(
        trained=None,
        generator=None,
        used=0.9,
        budget=SimpleNamespace(elapsed=90.0, left=10.0),
        ansatz=SimpleNamespace(network=None),
        held_out_value=lambda: 1.0,
        converged=lambda *_: False,
    )
    monkeypatch.setattr(stages, "widened", lambda *_: None)
    monkeypatch.setattr(stages, "solve_wide", lambda *_: "a step")
    solves = WideningStage(_first=1600, _took=seconds).steps(training)
    assert next(solves, None) == ("a step" if begun else None)


@pytest.mark.usefixtures("no_probe")
def test_widening_gains_digits_over_the_trained_network(problem_from):
    """The nonlinear u' = -u²: a few steps of lm leave 1e-3, a widened layer solved by Gauss-Newton 1e-8."""
    problem = problem_from(DECAY.replace("u_t = -u", "u_t = -u**2"))
    ansatz, objective = _objective(problem)
    training = _training(problem, ansatz, objective, TrainingSettings(steps=30, points=256))
    steps = list(training)
    trained = min(step.held_out for step in steps if step.stage == "lm")
    solved = min(step.held_out for step in steps if step.stage == "widen")
    assert solved < 1e-6 * trained
    training.adopt_best()
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    with torch.no_grad():
        error = (ansatz(t[:, None])["u"] - 1 / (1 + t)).abs().max().item()
    assert error < 1e-8


def test_the_plan_says_why(problem_from):
    problem = problem_from(DECAY)
    ansatz, objective = _objective(problem)
    settings = TrainingSettings()

    def why(**options) -> str:
        defaults = {"feature_activations": ["tanh"], "double": True}
        return make_plan(problem, ansatz, objective, options.pop("settings", settings), **(defaults | options))[1]

    assert "the problem is linear" in why()
    assert "lm alone" in why(double=False)
    assert "as asked for" in why(settings=TrainingSettings(optimizer="adam"))
    with pytest.raises(SettingsError, match="needs float64"):
        why(settings=TrainingSettings(optimizer="least-squares"), double=False)
