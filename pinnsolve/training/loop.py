"""The training loop: a generator of steps. Whoever calls it draws progress, saves, and stops it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from math import isfinite

import torch
from torch import Generator, Tensor, nn

from pinnsolve.errors import DivergenceError
from pinnsolve.training.objective import Objective
from pinnsolve.training.optimizers import FirstOrder, LevenbergMarquardt, Optimizer
from pinnsolve.training.settings import TrainingSettings

LM_PARAMETERS = 4000  # above, a Cholesky factorisation of JᵀJ costs more than it gives
GROWTH = 1e6  # a loss this many times the best one has diverged
PATIENCE = 30  # rejected Levenberg-Marquardt steps in a row that mean stagnation


@dataclass(frozen=True)
class TrainingStep:
    """One step of training, as it stands in the history.

    Attributes:
        step: its number, from 1.
        stage: the optimizer's name.
        loss: the objective on the step's points, before the step.
        terms: each residual's share of the loss.
        damping: λ of Levenberg-Marquardt, else None.
        points: interior collocation points.
        evaluations: residuals evaluated at points in this step.
        stagnated: whether the optimizer can find no better parameters.
    """

    step: int
    stage: str
    loss: float
    terms: dict[str, float]
    damping: float | None
    points: int
    evaluations: int
    stagnated: bool = False


@dataclass
class Training:
    """Everything that one training run holds: iterate over it to train.

    Attributes:
        module: the ansatz, whose parameters change.
        objective: what shall fall.
        optimizer: how it falls.
        settings: points, steps, resampling.
        generator: source of random choices, on the CPU.
        step: number of the last step taken.
        collocation: the points of the last step, one tensor per block.
    """

    module: nn.Module
    objective: Objective
    optimizer: Optimizer
    settings: TrainingSettings
    generator: Generator
    step: int = 0
    collocation: Sequence[Tensor] = ()
    _best: float = float("inf")
    _rejected: int = 0

    def __iter__(self) -> Iterator[TrainingStep]:
        """Train: yield after every step, without end unless `settings.steps` is reached.

        Raises:
            DivergenceError: the loss is not finite, or a million times the best one.
        """
        every = self.settings.resample or self.optimizer.resample
        for number in count(self.step + 1):
            if self.settings.steps is not None and number > self.settings.steps:
                return
            if not self.collocation or (number - 1) % every == 0:
                self.collocation = self.objective.draw(self.settings.points, self.settings.adaptive, self.generator)
            result = self.optimizer.step(self.collocation)
            self._check(result.loss, result.terms)
            self._rejected = 0 if result.accepted else self._rejected + 1
            self.step = number
            yield TrainingStep(
                step=number,
                stage=self.optimizer.name,
                loss=result.loss,
                terms=result.terms,
                damping=result.damping,
                points=len(self.collocation[0]),
                evaluations=result.evaluations,
                stagnated=self._rejected >= PATIENCE,
            )

    def counters(self) -> dict[str, float | int | None]:
        """Return the plain values that `set_counters` needs."""
        return {"best": self._best if isfinite(self._best) else None, "rejected": self._rejected}

    def set_counters(self, step: int, counters: dict[str, float | int | None]) -> None:
        """Go on after this step."""
        self.step = step
        self._best = float("inf") if counters["best"] is None else float(counters["best"])
        self._rejected = int(counters["rejected"] or 0)

    def _check(self, loss: float, terms: dict[str, float]) -> None:
        if isfinite(loss) and loss <= GROWTH * self._best:
            self._best = min(self._best, max(loss, 1e-30))
            return
        if isfinite(loss):
            raise DivergenceError(f"the loss grew to {loss:.3g}, {GROWTH:.0e} times its best {self._best:.3g}")
        raise DivergenceError(self._fault() or f"the loss is {loss}; terms: {terms}")

    def _fault(self) -> str:
        """Return which residual is not finite, and where; empty if none is."""
        for block, points in zip(self.objective.blocks, self.collocation, strict=True):
            with torch.no_grad():
                values = self.objective.raw(block, points)
            for residual, value in zip(block.residuals, values, strict=True):
                bad = torch.nonzero(~torch.isfinite(value))
                if len(bad):
                    place = ", ".join(f"{x:.6g}" for x in points[bad[0, 0]].tolist())
                    return f"the residual of {residual.name!r} is {float(value[bad[0, 0]])} at ({place})"
        return ""


def choose_optimizer(objective: Objective, module: nn.Module, settings: TrainingSettings, layerwise: bool) -> Optimizer:
    """Return the optimizer that the settings name; "auto" is lm up to `LM_PARAMETERS` parameters, else adam."""
    name = settings.optimizer
    if name == "auto":
        size = sum(parameter.numel() for parameter in module.parameters())
        name = "lm" if size <= LM_PARAMETERS else "adam"
    if name == "lm":
        return LevenbergMarquardt(objective, module, layerwise=layerwise)
    return FirstOrder(name, objective, module, settings.learning_rate)
