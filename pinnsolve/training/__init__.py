"""Training: collocation points, the least-squares objective, optimizers, the loop."""

from pinnsolve.training.loop import Training, TrainingStep, choose_optimizer
from pinnsolve.training.objective import Objective, build_objective
from pinnsolve.training.settings import TrainingSettings

__all__ = ["Objective", "Training", "TrainingSettings", "TrainingStep", "build_objective", "choose_optimizer"]
