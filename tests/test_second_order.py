"""Levenberg-Marquardt grown up: linear models, batches of λ, batch sizes, weights of residuals."""

from __future__ import annotations

import math

import pytest
import torch

from pinnsolve.training import weighting as weighting_module
from pinnsolve.training.balancing import pulls
from pinnsolve.training.batch import BatchSize
from pinnsolve.training.levenberg_marquardt import LevenbergMarquardt
from pinnsolve.training.linear_models import KernelForm, NormalEquations, linear_model
from pinnsolve.training.settings import TrainingSettings
from pinnsolve.training.weighting import CausalWeights, Weighting, importance_weights
from tests.conftest import BURGERS
from tests.test_training import _objective

LIKE = torch.empty((), dtype=torch.float64)


def _matrix(rows: int, columns: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    jacobian = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    return jacobian, torch.randn(rows, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("rows", "form"), [(40, NormalEquations), (9, KernelForm)])
def test_damped_steps_are_those_of_the_augmented_least_squares_problem(rows, form, generator):
    jacobian, residual = _matrix(rows, 12, generator)
    chunks = zip(jacobian.t().split(4, dim=1), residual.split(4), strict=True)
    model = linear_model(chunks, rows, single=False)
    assert isinstance(model, form)
    dampings = torch.tensor([1e-3, 0.1, 10.0], dtype=torch.float64)
    steps, predicted = model.steps(dampings)
    for damping, step, reduction in zip(dampings, steps, predicted, strict=True):
        augmented = torch.cat([jacobian, damping.sqrt() * torch.eye(12, dtype=torch.float64)])
        right = torch.cat([residual, torch.zeros(12, dtype=torch.float64)])
        expected = torch.linalg.lstsq(augmented, right[:, None]).solution[:, 0]
        # condition number of JᵀJ + λI is below 1e5 here: 11 digits are left of 16
        assert torch.allclose(step, expected, rtol=1e-10, atol=1e-11)
        fall = residual.square().sum() - (residual - jacobian @ step).square().sum()
        assert float(reduction) == pytest.approx(float(fall), rel=1e-10)
    assert model.scale == pytest.approx(float(jacobian.square().sum() / 12))


def test_the_two_forms_of_a_linear_model_agree(generator):
    jacobian, residual = _matrix(30, 12, generator)
    normal = NormalEquations(jacobian.t() @ jacobian, jacobian.t() @ residual)
    kernel = KernelForm(jacobian.t(), residual)
    dampings = torch.tensor([0.5], dtype=torch.float64)
    for one, other in zip(normal.steps(dampings), kernel.steps(dampings), strict=True):
        assert torch.allclose(one, other, rtol=1e-11, atol=1e-12)


def test_a_matrix_that_is_not_definite_predicts_nothing():
    model = NormalEquations(torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64)), torch.ones(2).double())
    steps, predicted = model.steps(torch.tensor([0.5, 2.0], dtype=torch.float64))
    assert math.isnan(float(predicted[0]))
    assert steps[0].tolist() == [0.0, 0.0]
    assert steps[1].tolist() == pytest.approx([1 / 3, 1.0])


def test_a_product_in_single_precision_is_rounded_as_such(generator):
    jacobian, residual = _matrix(500, 12, generator)
    single = linear_model([(jacobian.t().clone(), residual)], 500, single=True)
    double = linear_model([(jacobian.t().clone(), residual)], 500, single=False)
    difference = float((single.normal - double.normal).abs().max()) / double.scale
    assert 0 < difference < 500**0.5 * torch.finfo(torch.float32).eps
    assert torch.equal(single.gradient, double.gradient)


def test_a_linear_model_without_rows_is_refused():
    with pytest.raises(ValueError, match="needs rows"):
        linear_model([], 0, single=False)


@pytest.mark.parametrize("count", [150, 12])
def test_batches_of_dampings_choose_what_single_trials_choose(problem_from, count):
    problem = problem_from(BURGERS)
    found = []
    for probes in (1, 6):
        ansatz, objective = _objective(problem, mode="soft")
        optimizer = LevenbergMarquardt(objective, ansatz, probes=probes)
        points = objective.draw(count, 0.5, torch.Generator().manual_seed(0))
        results = [optimizer.step(points, number) for number in range(1, 6)]
        found.append([(result.damping, result.loss) for result in results])
        assert results[0].fitted < results[0].loss
    for one, other in zip(*found, strict=True):
        assert one == pytest.approx(other, rel=1e-6)


def test_the_loss_of_steps_is_the_same_in_chunks_and_with_a_graph(problem_from):
    _, objective = _objective(problem_from(BURGERS), mode="soft")
    objective.weighting.multipliers[2] = 7.0
    points = objective.draw(60, 0.5, torch.Generator().manual_seed(0))
    whole = sum(float(value.detach()) for value in objective.terms(points).values())
    assert float(objective.step_loss(points)) == pytest.approx(whole, rel=1e-13)
    plain = objective.term_values(points)
    weighted = {name: float(value.detach()) for name, value in objective.terms(points).items()}
    ratios = [weighted[name] / plain[name] for name in objective.names]
    assert ratios == pytest.approx([1.0, 1.0, 7.0, 1.0])


def test_the_batch_doubles_when_fresh_points_undo_what_fitted_ones_gained():
    batch = BatchSize(100, 400)
    for _ in range(30):
        batch.observe(fresh=1.0, fitted=0.9)
    assert batch.count == 100
    for _ in range(60):
        batch.observe(fresh=1.0, fitted=0.3)
    assert batch.count == 400
    assert batch.noise == pytest.approx(1 / 0.3, rel=0.02)
    other = BatchSize(100, 400)
    other.restore(batch.state())
    assert other == BatchSize(400, 400, batch._noise, batch._since, 0.3)


def test_causal_weights_fall_with_the_residual_that_lies_before():
    causal = CausalWeights(axis=1, lower=1.0, upper=3.0, sharpness=2.0, like=LIKE)
    times = torch.linspace(1, 3, 6401, dtype=torch.float64)[:-1]
    points = torch.stack([torch.zeros_like(times), times], 1)
    assert torch.equal(causal(points), torch.ones_like(times))
    causal.observe(points, (times - 1) / 2)  # ℓ(s) = s on the unit interval: ∫ℓ/∫ℓ = s²
    # within a bin of width h the exponent is linear instead of s²: at most κ h²/4 off
    expected = torch.exp(-2.0 * ((times - 1) / 2) ** 2)
    assert float((causal(points) / expected).log().abs().max()) < 2.0 / (4 * weighting_module.BINS**2) + 1e-3
    other = CausalWeights(axis=1, lower=1.0, upper=3.0, sharpness=2.0, like=LIKE)
    other.restore(causal.state())
    assert torch.equal(other(points), causal(points))


def test_causal_weights_do_not_depend_on_how_many_points_lie_at_a_time():
    causal = CausalWeights(axis=0, lower=0.0, upper=1.0, sharpness=2.0, like=LIKE)
    middles = (torch.arange(weighting_module.BINS, dtype=torch.float64) + 0.5) / weighting_module.BINS
    late = middles[weighting_module.BINS // 2 :]
    times = torch.cat([middles, late, late, torch.ones(1, dtype=torch.float64)])  # one point a bin, then three
    causal.observe(times[:, None], torch.full_like(times, 1e-6))
    ends = torch.linspace(0, 1, 77, dtype=torch.float64)
    # thirty-two sums of equal numbers
    assert (causal(ends[:, None]) - torch.exp(-2 * ends)).abs().max() <= 1e-14


def test_without_a_residual_causal_weights_are_flat():
    causal = CausalWeights(axis=0, lower=0.0, upper=1.0, sharpness=5.0, like=LIKE)
    points = torch.rand(50, 1, dtype=torch.float64)
    causal.observe(points, torch.zeros(50, dtype=torch.float64))
    assert torch.equal(causal(points), torch.ones(50, dtype=torch.float64))


def test_importance_weights_give_the_mean_over_the_domain(generator):
    x = torch.rand(900_000, generator=generator, dtype=torch.float64)
    even, pool = x[:100_000], x[100_000:]
    chosen = pool[torch.multinomial(pool**12, 100_000, generator=generator)]
    r = torch.cat([even, chosen]) ** 12
    estimate = float((importance_weights(r, 0.5) * r.square()).mean())
    # E r² = 1/25; no weight is above 2, so that 2·10⁵ points leave a standard error below 2 √(1/49) / √2·10⁵
    assert estimate == pytest.approx(1 / 25, abs=4 * 2 / 7 / math.sqrt(200_000))
    assert abs(float(r.square().mean()) - 1 / 25) > 0.05


def test_importance_weights_do_not_depend_on_the_unit_of_the_residual(generator):
    r = torch.rand(400, generator=generator, dtype=torch.float64)
    weights = importance_weights(r, 0.5)
    for factor in (2.0**-100, 2.0**100):
        assert torch.equal(importance_weights(factor * r, 0.5), weights)
    assert torch.isfinite(importance_weights(torch.zeros(8, dtype=torch.float64), 0.5)).all()


def test_points_are_weighed_by_their_time_and_by_how_they_were_drawn(generator):
    points, r = (torch.rand(40, 1, generator=generator, dtype=torch.float64) for _ in range(2))
    r = r[:, 0]
    weighting = Weighting([1.0], CausalWeights(0, 0.0, 1.0, 2.0, LIKE), 0.5, LIKE)
    weighting.causal.observe(points, points[:, 0])
    by_time = weighting.causal(points)
    assert by_time.min() < 0.5
    both = by_time * importance_weights(r, 0.5)
    assert torch.allclose(weighting.point_factors(points, r) ** 2, both, rtol=1e-14, atol=0)  # √ and its square
    assert torch.allclose(weighting.point_factors(points) ** 2, by_time, rtol=1e-14, atol=0)
    assert Weighting([1.0], None, 0.0, LIKE).point_factors(points, r) == 1.0
    other = Weighting([1.0], CausalWeights(0, 0.0, 1.0, 2.0, LIKE), 0.5, LIKE)
    other.restore(weighting.state())
    assert torch.equal(other.point_factors(points, r), weighting.point_factors(points, r))


def test_balanced_weights_make_all_pulls_equal(problem_from):
    for measure in ("ntk", "gradient-norm"):
        ansatz, objective = _objective(problem_from(BURGERS), mode="soft")
        points = objective.draw(64, 0.0, torch.Generator().manual_seed(0))
        sizes = pulls(objective, ansatz, points, measure)
        objective.weighting.balance(sizes)
        weights = [m * f for m, f in zip(objective.weighting.multipliers, objective.weighting.fixed, strict=True)]
        assert [float(w) * s for w, s in zip(weights, sizes, strict=True)] == pytest.approx([sizes[0]] * 4)


@pytest.mark.parametrize("measure", ["ntk", "gradient-norm"])
def test_pulls_are_those_of_nested_gradients(problem_from, measure):
    ansatz, objective = _objective(problem_from(BURGERS), mode="soft")
    points = objective.draw(20, 0.0, torch.Generator().manual_seed(0))
    parameters = list(ansatz.parameters())
    expected = []
    for index, (block, place) in enumerate(zip(objective.blocks, points, strict=True)):
        for value, factor in zip(objective.raw(block, place), objective.plain_factors(index), strict=True):
            scaled = value * factor
            if measure == "ntk":
                rows = [
                    torch.autograd.grad(entry, parameters, retain_graph=True, materialize_grads=True)
                    for entry in scaled
                ]
                expected.append(sum(float(g.square().sum()) for row in rows for g in row) / len(place))
            else:
                gradient = torch.autograd.grad(scaled.square().mean(), parameters, materialize_grads=True)
                expected.append(math.sqrt(sum(float(g.square().sum()) for g in gradient)))
    assert pulls(objective, ansatz, points, measure) == pytest.approx(expected, rel=1e-9)


def test_a_balanced_weight_forgets_slowly_and_comes_back_from_its_state():
    weighting = Weighting([1.0, 100.0], None, 0.0, LIKE)
    weighting.balance([1.0, 0.02])
    assert weighting.multipliers.tolist() == pytest.approx([1.0, 0.5])
    weighting.balance([1.0, 0.01])
    assert weighting.multipliers.tolist() == pytest.approx([1.0, 0.9 * 0.5 + 0.1 * 1.0])
    other = Weighting([1.0, 100.0], None, 0.0, LIKE)
    other.restore(weighting.state())
    assert torch.equal(other.multipliers, weighting.multipliers)


def test_settings_say_which_losses_are_corrected():
    assert TrainingSettings(optimizer="adam").corrected_share == 0.5
    assert TrainingSettings(optimizer="lm").corrected_share == 0.0
    assert TrainingSettings(optimizer="adam", importance=False).corrected_share == 0.0
    assert TrainingSettings(balance=3.0).balance_measure is None
    assert TrainingSettings(balance="gradient-norm").condition_weight == 100.0
