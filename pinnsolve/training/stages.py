"""The stages of training that start from a small network: gradient steps, widening, both in turn.

*Train small, widen, solve.* Levenberg-Marquardt on a small network finds the features; the last hidden
layer is then widened by perturbed copies of its units, and the output layer solved by least squares.
Every choice (widths, which network is kept) is made by the residual on held-out points, never by the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pinnsolve.errors import DivergenceError
from pinnsolve.networks.multilayer import widened
from pinnsolve.training.features import FIRST_WIDTH, LAST_WIDTH, Stateless, solve_wide
from pinnsolve.training.loop import StepResult, Training
from pinnsolve.training.optimizers import Optimizer

GROWTH = 1e6  # a loss this many times the best one has diverged
BALANCE_EVERY = 10  # steps between two updates of balanced weights
PATIENCE = 30  # rejected Levenberg-Marquardt steps in a row that mean stagnation
UNTRAINED = 1e-3  # above this held-out objective features are not worth widening yet,
UNTRAINED_SHARE = 0.75  # and gradient steps may go on to this share of the budget
POINTS_PER_UNIT = 6  # fewer, and a wide layer fits its points and not the equation between them
SPREAD = (0.1, 0.4)  # noise of a copied unit, in standard deviations of its layer's weights
SOLVES = 3  # of one wide layer, each on fresh points that follow the last residual
HELPFUL_WIDTH = 1600  # narrower layers may gain nothing over the trained one, and wider ones much


@dataclass
class GradientStage:
    """Steps of an optimizer on the network as it is, on fresh points every so many steps.

    Attributes:
        make: makes the optimizer when the stage starts.
        until: share of the budget at which the stage ends.
        goal: held-out objective at which it ends.
    """

    make: Callable[[], Optimizer]
    until: float = 1.0
    goal: float = 0.0
    name: str = "gradient"
    _optimizer: Optimizer | None = None
    _least: float = float("inf")

    def steps(self, training: Training) -> Iterator[StepResult]:
        """Take steps until the share, the goal, or stagnation is reached."""
        optimizer = self._started()
        self.name = optimizer.name
        every = training.settings.resample or optimizer.resample
        rejected, held_out = 0, float("inf")  # of this network: a wide one may have left much less
        while rejected < PATIENCE and held_out > self.goal:
            if training.used >= (self.until if held_out < UNTRAINED else max(self.until, UNTRAINED_SHARE)):
                break
            if not training.collocation or training.step % every == 0:
                training.fresh_points(training.point_count)
            if training.step % BALANCE_EVERY == 0:
                training.balance()
            result = optimizer.step(training.collocation, training.step + 1)
            training.noted(result)
            self._check_growth(result.loss)
            rejected = 0 if result.accepted else rejected + 1
            yield result
            held_out = training.last_held_out

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the optimizer's state."""
        return self._started().state()

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on with an optimizer's state."""
        self._started().restore(tensors, values)

    def _check_growth(self, loss: float) -> None:
        self._least = min(self._least, max(loss, 1e-30))
        if loss > GROWTH * self._least:
            raise DivergenceError(f"the loss grew to {loss:.3g}, {GROWTH:.0e} times its best {self._least:.3g}")

    def _started(self) -> Optimizer:
        if self._optimizer is None:
            self._optimizer = self.make()
        return self._optimizer


@dataclass
class WideningStage(Stateless):
    """Perturbed copies of the last hidden layer's units, output layer by least squares; wider while that helps.

    Attributes:
        until: share of the budget at which the stage ends.
    """

    until: float = 1.0
    name: str = "widen"
    _first: int = FIRST_WIDTH
    _took: float = 0.0

    def steps(self, training: Training) -> Iterator[StepResult]:
        """Widen the trained network; yield after every solve; leave the trained network in place at the end."""
        small = training.trained
        width, before, took = self._first, training.held_out_value(), self._took
        while width <= LAST_WIDTH and training.used < self.until:
            started, reached = training.budget.elapsed, float("inf")
            wide = widened(small, width, SPREAD, training.generator)
            for solve in range(SOLVES):
                if took > training.budget.left:
                    break
                yield solve_wide(training, wide, POINTS_PER_UNIT * width, 1, None if solve else small)
                held_out = training.last_held_out
                if training.used >= self.until or (solve and held_out > 0.5 * reached):
                    break
                reached = min(reached, held_out)
                took = (training.budget.elapsed - started) / (solve + 1)
            # four times the work per solve from one width to the next, and half as much again for memory
            helps = reached < 0.5 * before
            if (
                training.converged(before, reached)
                or 6 * took > training.budget.left
                or not (helps or width < HELPFUL_WIDTH)
            ):
                break
            if helps:
                self._first, self._took = width, took  # in the next turn, narrower layers will not help more
            width, before, took = 2 * width, min(reached, before), 0.0
        training.ansatz.network = small


@dataclass
class CyclingStage:
    """Gradient steps and widening in turn: if widening does not finish the work, the features were not good enough.

    Attributes:
        gradient: trains the small network.
        widening: solves a wide one.
        share: of what is left of the budget, for the gradient steps of each turn.
        goal: held-out objective from which a widening is worth while at once; a thousandth of it in the next turn.
    """

    gradient: GradientStage
    widening: WideningStage
    share: float = 0.35
    goal: float = 1e-9
    name: str = "lm"
    _turn: int = 0
    _until: float | None = None

    def steps(self, training: Training) -> Iterator[StepResult]:
        """Alternate until the budget is used or the residual is rounding."""
        while not training.is_converged:
            if self._until is None:
                self._until = training.used + self.share * (1 - training.used)
            self.gradient.until, self.gradient.goal = self._until, self.goal * 1e-3**self._turn
            before = training.step
            for stage in (self.gradient, self.widening):
                for result in stage.steps(training):
                    self.name = stage.name
                    yield result
            if training.step == before:
                return
            self._turn, self._until = self._turn + 1, None

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the optimizer's state and the turn."""
        tensors, values = self.gradient.state()
        return tensors, {"turn": self._turn, "until": self._until, "optimizer": values}

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on with the gradient steps of this turn; a widening under way starts anew."""
        self._turn, self._until = values["turn"], values["until"]
        self.gradient.restore(tensors, values["optimizer"])
