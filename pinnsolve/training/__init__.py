"""Training: collocation points, the least-squares objective, optimizers, stages, the loop."""

from pinnsolve.training.loop import Budget, Stage, StepResult, Training, TrainingStep
from pinnsolve.training.objective import Objective, build_objective
from pinnsolve.training.plan import make_plan
from pinnsolve.training.settings import TrainingSettings

__all__ = [
    "Budget",
    "Objective",
    "Stage",
    "StepResult",
    "Training",
    "TrainingSettings",
    "TrainingStep",
    "build_objective",
    "make_plan",
]
