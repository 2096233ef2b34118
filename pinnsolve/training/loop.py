"""The training loop: a generator of steps. Whoever calls it draws progress, saves, and stops it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from math import ceil, inf, isfinite, log2
from typing import Any, Protocol

from torch import Generator, Tensor

from pinnsolve.errors import DivergenceError
from pinnsolve.networks import Ansatz, Network
from pinnsolve.training.balancing import pulls
from pinnsolve.training.batch import BatchSize
from pinnsolve.training.objective import Objective
from pinnsolve.training.settings import TrainingSettings
from pinnsolve.training.workers import ALONE, Workers

CONVERGED = "converged: the residual is rounding"  # why training ended
ROUNDING = 1e-26  # a held-out objective below this is rounding: residuals of 1e-13 of their scale
FEWEST, MOST = 8, 14  # 2^8 to 2^14 points of a gradient step, unless the settings fix them
ENOUGH = 11  # 2^11 to begin with, however many parameters there are
SMALL = 1e-18  # below this, an objective that wider layers lower no further has met its rounding


@dataclass(frozen=True)
class StepResult:
    """What one step of a stage did.

    Attributes:
        terms: each residual's share of the loss on the step's points: before a gradient step, after a solve.
        damping: λ of Levenberg-Marquardt, None elsewhere.
        evaluations: residuals evaluated at points, forward passes counted once.
        accepted: whether the parameters changed.
        recorded: whether the step shall stand in the history.
        fitted: the loss on the step's points after it, None if not known.
        iterations: steps that it counts for; more where an outside optimizer takes several at a time.
    """

    terms: dict[str, float]
    damping: float | None = None
    evaluations: int = 0
    accepted: bool = True
    recorded: bool = True
    fitted: float | None = None
    iterations: int = 1

    @property
    def loss(self) -> float:
        """The objective on the step's points."""
        return sum(self.terms.values())


@dataclass(frozen=True)
class TrainingStep:
    """One step of training, as it stands in the history.

    Attributes:
        step: its number, from 1.
        stage: the stage's name.
        loss: the objective on the step's points, before a gradient step or after a solve.
        held_out: the objective after the step on points that training never uses; None if not measured.
        terms: each residual's share of the loss.
        damping: λ of Levenberg-Marquardt, else None.
        points: interior collocation points.
        evaluations: residuals evaluated at points in this step.
        recorded: whether the step shall stand in the history.
    """

    step: int
    stage: str
    loss: float
    held_out: float | None
    terms: dict[str, float]
    damping: float | None
    points: int
    evaluations: int
    recorded: bool


class Stage(Protocol):
    """A part of training with its own way to change the network.

    A stage is an iterable of steps that ends when it can do no more or its share of the budget is used.
    """

    name: str

    def steps(self, training: Training) -> Iterator[StepResult]:
        """Change `training.ansatz` step by step."""
        ...

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and plain values that `restore` needs."""
        ...

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on where another stage of the same kind stood."""
        ...


@dataclass
class Budget:
    """Time and steps that training may use.

    Attributes:
        seconds: the time limit.
        steps: the largest number of steps; None for no limit.
        spent: seconds spent before this process, by a run that is resumed.
        workers: the first of them holds the clock.
        origin: seconds and steps that earlier windows of time have used: the budget is what lies beyond.
    """

    seconds: float
    steps: int | None
    spent: float = 0.0
    origin: tuple[float, int] = (0.0, 0)
    workers: Workers = ALONE
    _started: float = field(default_factory=time.monotonic)

    def start(self) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the time inside the block."""
        began = time.monotonic()
        yield
        self._started += time.monotonic() - began

    @property
    def elapsed(self) -> float:
        """Seconds of training so far, by the clock that all processes go by."""
        return self.workers.agreed(self.own_clock)

    @property
    def own_clock(self) -> float:
        """Seconds of training so far in this process."""
        return self.spent + time.monotonic() - self._started

    @property
    def left(self) -> float:
        """Seconds to plan with: no end to them if steps are counted, so that the plan does not depend on the clock."""
        return inf if self.steps is not None else max(self.seconds - self.elapsed, 0.0)

    def used(self, step: int) -> float:
        """Return the share of the budget that is used: of the steps if they are limited, else of the time."""
        seconds, first = self.origin
        if self.steps is not None:
            return (step - first) / (self.steps - first) if self.steps > first else 1.0
        return (self.elapsed - seconds) / (self.seconds - seconds)

    def is_exhausted(self, step: int) -> bool:
        """Return whether the steps or the time are used up."""
        return self.used(step) >= 1 or self.elapsed >= self.seconds


@dataclass
class Training:
    """Everything that one training run holds: iterate over it to train.

    Attributes:
        ansatz: its parameters, and its network as a whole, change.
        objective: what shall fall.
        plan: the stages, one after the other.
        settings: points, steps, resampling.
        generator: source of random choices, on the CPU.
        budget: time and steps.
        held_out: points that training never uses, one tensor per block.
        step: number of the last step taken.
        stage_index: the stage under way.
        collocation: the points of the last step, one tensor per block.
        reason: why training ended; empty while it goes on.
        is_converged: whether the residual has met its rounding.
        trained: the network that gradient steps train; others stand in the ansatz for a stage only.
        last_held_out: the objective on the held-out points after the last recorded step.
        goal: a held-out objective that is low enough; what the budget holds beyond it is left to others.
        is_paused: set by a stage after which the caller decides whether to go on (or to shorten the window).
    """

    ansatz: Ansatz
    objective: Objective
    plan: Sequence[Stage]
    settings: TrainingSettings
    generator: Generator
    budget: Budget
    held_out: Sequence[Tensor]
    step: int = 0
    stage_index: int = 0
    collocation: Sequence[Tensor] = ()
    reason: str = ""
    is_converged: bool = False
    last_held_out: float = inf
    goal: float = ROUNDING
    is_paused: bool = False
    _best: tuple[float, Network | None] = (inf, None)

    def __post_init__(self) -> None:
        self.trained: Network = self.ansatz.network
        self.batch = self._batch_size()

    def __iter__(self) -> Iterator[TrainingStep]:
        """Train: yield after every step, until the budget is used, every stage has ended, or one pauses training.

        Iterating again goes on with the stage after that one.

        Raises:
            DivergenceError: the loss is not finite, or grew beyond all use.
        """
        self.ansatz.network, self.is_paused = self.trained, False
        while self.stage_index < len(self.plan):
            stage = self.plan[self.stage_index]
            if self.budget.is_exhausted(self.step):
                break
            for result in stage.steps(self):
                self.step += result.iterations
                self._check(result)
                yield self._noted(stage, result)
                if self.budget.is_exhausted(self.step):
                    break
            else:
                self.stage_index += 1
                if self.is_paused:
                    return
                continue
            break
        self.reason = self.reason or self._why()

    @property
    def used(self) -> float:
        """The share of the budget that is used."""
        return self.budget.used(self.step)

    @property
    def point_count(self) -> int:
        """The interior collocation points of a gradient step."""
        return self.batch.count

    def balance(self) -> None:
        """Update balanced weights of soft conditions from the present points, if the settings ask for them."""
        measure = self.settings.balance_measure
        if measure is not None and len(self.objective.blocks) > 1:
            self.objective.weighting.balance(pulls(self.objective, self.ansatz, self.collocation, measure))

    def noted(self, result: StepResult) -> None:
        """Let the number of points, unless the settings fix it, follow what a step did."""
        if self.settings.points is None:
            self.batch.observe(result.loss, result.fitted)

    def fresh_points(self, count: int, ends: float | None = None) -> Sequence[Tensor]:
        """Draw and return new collocation points, a share of them chosen by the residual.

        Args:
            count: of the interior points.
            ends: if given, none is chosen by the residual, and this share gathers towards the ends of the coordinates.
        """
        share = self.settings.adaptive if ends is None else 0.0
        self.collocation = self.objective.draw(count, share, self.generator, ends or 0.0)
        return self.collocation

    def held_out_value(self) -> float:
        """Return the objective on the held-out points."""
        return self.objective.value(self.held_out)

    def converged(self, before: float, now: float) -> bool:
        """Note and return whether the held-out objective is down to rounding.

        Args:
            before: what a narrower layer left.
            now: what a wider one leaves; no more than a quarter less, if both are small, means rounding.
        """
        self.is_converged |= now <= self.goal or (now < SMALL and not now < 0.25 * before)
        return self.is_converged

    @property
    def best_held_out(self) -> float:
        """The least objective on the held-out points so far."""
        return self._best[0]

    @property
    def best_network(self) -> Network | None:
        """The network that leaves it; none before the first recorded step."""
        return self._best[1]

    def finish(self, held_out: float) -> None:
        """Take the network in the ansatz for the best, which leaves so much on the held-out points."""
        self._best = held_out, self.ansatz.network

    def adopt_best(self) -> None:
        """Put the network with the least held-out objective into the ansatz; training would go on with its own."""
        if self._best[1] is not None:
            self.ansatz.network = self._best[1]

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and plain values from which `restore` goes on."""
        tensors = {f"collocation.{i}": points for i, points in enumerate(self.collocation)}
        tensors["generator"] = self.generator.get_state()
        best = self._best[1]
        if best is not None:
            tensors |= {f"best.{name}": value for name, value in best.state_dict().items()}
        own, values = self.plan[min(self.stage_index, len(self.plan) - 1)].state()
        tensors |= {f"stage.{name}": value for name, value in own.items()}
        return tensors, {
            "stage": values,
            "stage_index": self.stage_index,
            "is_converged": self.is_converged,
            "best_held_out": self._best[0],
            "best_network": None if best is None else best.description(),
            "batch": self.batch.state(),
            "weighting": self.objective.weighting.state(),
            "samplers": [block.sampler.state() for block in self.objective.blocks],
            "spent": self.budget.own_clock,
        }

    def restore(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on after this step."""
        self.step, self.stage_index = step, int(values["stage_index"])
        self.is_converged = bool(values["is_converged"])
        self.generator.set_state(tensors["generator"].cpu())
        points = below("collocation.", tensors)
        self.collocation = [points[str(index)] for index in range(len(points))]
        self.batch.restore(values["batch"])
        self.objective.weighting.restore(values["weighting"])
        for block, state in zip(self.objective.blocks, values["samplers"], strict=True):
            block.sampler.restore(state)
        if values["best_network"] is not None:
            best = self.ansatz.network.described(values["best_network"])
            best.load_state_dict(below("best.", tensors))
            self._best = float(values["best_held_out"]), best
        self.plan[min(self.stage_index, len(self.plan) - 1)].restore(below("stage.", tensors), values["stage"])
        self.budget.spent = float(values["spent"])

    def _batch_size(self) -> BatchSize:
        """Return how many points to begin with: the settings', else enough rows to determine the parameters."""
        if self.settings.points is not None:
            return BatchSize(self.settings.points, self.settings.points)
        rows = sum(parameter.numel() for parameter in self.ansatz.parameters())
        wanted = rows / len(self.objective.blocks[0].residuals)
        return BatchSize(2 ** min(max(ceil(log2(wanted)), FEWEST), ENOUGH), 2**MOST)

    def _noted(self, stage: Stage, result: StepResult) -> TrainingStep:
        """Return the record of a step, and remember its network if it is the best so far."""
        held_out = self.held_out_value() if result.recorded else None
        self.last_held_out = self.last_held_out if held_out is None else held_out
        if held_out is not None and held_out < self._best[0]:
            self._best = held_out, deepcopy(self.ansatz.network)
        return TrainingStep(
            step=self.step,
            stage=stage.name,
            loss=result.loss,
            held_out=held_out,
            terms=result.terms,
            damping=result.damping,
            points=len(self.collocation[0]) if self.collocation else 0,
            evaluations=result.evaluations,
            recorded=result.recorded,
        )

    def _why(self) -> str:
        if self.budget.steps is not None and self.step >= self.budget.steps:
            return "steps"
        if self.budget.elapsed >= self.budget.seconds:
            return "time limit"
        if self.is_converged:
            return CONVERGED
        return f"stagnation: {self.plan[-1].name} lowers the residual no further"

    def _check(self, result: StepResult) -> None:
        if not isfinite(result.loss):
            raise DivergenceError(self._fault() or f"the loss is {result.loss}; terms: {result.terms}")

    def _fault(self) -> str:
        """Return which residual is not finite, and where; empty if none is."""
        for block, points in zip(self.objective.blocks, self.collocation, strict=True):
            for residual, value in zip(block.residuals, self.objective.values(block, points), strict=True):
                bad = (~value.isfinite()).nonzero()
                if len(bad):
                    place = ", ".join(f"{x:.6g}" for x in points[bad[0, 0]].tolist())
                    return f"the residual of {residual.name!r} is {float(value[bad[0, 0]])} at ({place})"
        return ""


def below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with the prefix, under the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
