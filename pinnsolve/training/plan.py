"""Which stages a run goes through."""

from __future__ import annotations

from collections.abc import Sequence

from pinnsolve.errors import SettingsError
from pinnsolve.networks import Ansatz
from pinnsolve.problems import Problem
from pinnsolve.training.first_order import FirstOrder
from pinnsolve.training.levenberg_marquardt import LevenbergMarquardt
from pinnsolve.training.loop import Stage
from pinnsolve.training.objective import Objective
from pinnsolve.training.optimizers import Optimizer
from pinnsolve.training.settings import TrainingSettings
from pinnsolve.training.stages import CyclingStage, GradientStage, RandomFeatureStage, WideningStage

LM_PARAMETERS = 4000  # above, a Cholesky factorisation of JᵀJ costs more than it gives
FEATURE_SHARE = 0.5  # of the budget, for random features before anything is trained


def make_plan(
    problem: Problem,
    ansatz: Ansatz,
    objective: Objective,
    settings: TrainingSettings,
    *,
    feature_activations: Sequence[str],
    layerwise: bool,
    double: bool,
) -> tuple[list[Stage], str]:
    """Return the stages that the settings name, and a sentence that says why.

    Args:
        problem: tells whether the residuals are linear.
        ansatz: what is trained.
        objective: the residuals.
        settings: name the optimizer; "auto" chooses.
        feature_activations: those that random features may use.
        layerwise: whether jets come from Taylor mode or finite differences.
        double: whether training runs in float64, without which least squares gain nothing.
    """
    linear = all(residual.is_linear for block in objective.blocks for residual in block.residuals)
    size = sum(parameter.numel() for parameter in ansatz.parameters())

    def gradient(name: str) -> GradientStage:
        return GradientStage(lambda: _optimizer(name, objective, ansatz, settings, layerwise), name=name)

    def features(until: float) -> RandomFeatureStage:
        return RandomFeatureStage(list(feature_activations), ansatz.features.groups, linear, until)

    name = settings.optimizer
    if name == "least-squares":
        if not (layerwise and double):
            raise SettingsError("optimizer least-squares needs float64 and derivatives = taylor or fd")
        return [features(1.0)], "random features and least squares, as asked for"
    if name != "auto":
        return [gradient(name)], f"{name}, as asked for"
    if size > LM_PARAMETERS:
        return [gradient("adam")], f"adam: {size} parameters are too many for second-order steps"
    if not (layerwise and double):
        return [gradient("lm")], "lm alone: least squares need float64 and layerwise Jacobians"
    cycle = CyclingStage(gradient("lm"), WideningStage())
    if linear:
        return [features(FEATURE_SHARE), cycle], "random features first (the problem is linear), then lm and widening"
    return [cycle], f"lm on {size} parameters, then widening of the last layer, in turn"


def _optimizer(
    name: str, objective: Objective, ansatz: Ansatz, settings: TrainingSettings, layerwise: bool
) -> Optimizer:
    if name == "lm":
        return LevenbergMarquardt(objective, ansatz, layerwise=layerwise)
    return FirstOrder(name, objective, ansatz, settings.learning_rate)
