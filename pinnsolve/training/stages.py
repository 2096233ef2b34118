"""The stages of training: gradient steps on a small network, random features, widening.

*Train small, widen, solve.* Levenberg-Marquardt on a small network finds the features; the last hidden
layer is then widened by perturbed copies of its units, and the output layer solved by least squares.
For a linear problem with a smooth solution the features can be random from the start. Every choice
(scales, widths, which network is kept) is made by the residual on held-out points, never by the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from pinnsolve.errors import DivergenceError
from pinnsolve.networks import Network, activation
from pinnsolve.networks.multilayer import random_features, widened
from pinnsolve.training.least_squares import solve_output_layer
from pinnsolve.training.loop import StepResult, Training
from pinnsolve.training.optimizers import Optimizer

GROWTH = 1e6  # a loss this many times the best one has diverged
BALANCE_EVERY = 10  # steps between two updates of balanced weights
PATIENCE = 30  # rejected Levenberg-Marquardt steps in a row that mean stagnation
FEATURE_POINTS_PER_UNIT = 4
UNTRAINED = 1e-3  # above this held-out objective features are not worth widening yet,
UNTRAINED_SHARE = 0.75  # and gradient steps may go on to this share of the budget
POINTS_PER_UNIT = 6  # fewer, and a wide layer fits its points and not the equation between them
SPREAD = (0.1, 0.4)  # noise of a copied unit, in standard deviations of its layer's weights
SOLVES = 3  # of one wide layer, each on fresh points that follow the last residual
FIRST_WIDTH, LAST_WIDTH = 400, 3200
HELPFUL_WIDTH = 1600  # narrower layers may gain nothing over the trained one, and wider ones much
SCALES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)  # of random features, per half length of the domain
SMALL_SCALES = (0.25, 0.5)  # of a coordinate along which the solution hardly turns
RESOLVED = 1e-4  # a held-out objective below this tells good scales from bad ones
NEIGHBOUR_WIDTH = 800  # up to this width scales are refined coordinate by coordinate


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


class _Stateless:
    """A stage that starts anew when a run is resumed in it: its work lies in the networks it leaves."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return nothing."""
        return {}, {}

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Start anew."""


@dataclass
class _Trial:
    """Random features that were tried: how they were drawn, and what they left on the held-out points."""

    activation: str
    scales: tuple[float, ...]
    held_out: float = float("inf")


@dataclass
class RandomFeatureStage(_Stateless):
    """Least squares on random features: scales, activation and number chosen by the held-out residual.

    Attributes:
        activations: those that may be used.
        groups: columns of the network's inputs that share a scale, one group per coordinate.
        sites: columns of which a unit reads those of one corner or hole, or none.
        is_linear: whether one solve is exact; else Gauss-Newton steps.
        until: share of the budget at which the stage ends.
    """

    activations: Sequence[str]
    groups: Sequence[Sequence[int]]
    sites: Sequence[Sequence[int]]
    is_linear: bool
    until: float = 1.0
    name: str = "features"
    _longest: float = 0.0
    _best: _Trial = field(default_factory=lambda: _Trial("tanh", ()))

    def steps(self, training: Training) -> Iterator[StepResult]:
        """Try widths from small to large; yield after every solve; leave the small network in place at the end."""
        width, before = FIRST_WIDTH, float("inf")
        while width <= LAST_WIDTH and training.used < self._limit:
            reached = float("inf")
            for trial in self._trials(width):
                yield self._solved(training, width, trial)
                self._judge(trial, training.last_held_out)
                reached = min(reached, trial.held_out)
                if training.used >= self._limit or training.budget.left < self._longest:
                    break
            if training.converged(before, reached):
                break
            width, before = 2 * width, reached
        training.ansatz.network = training.trained

    def _trials(self, width: int) -> Iterator[_Trial]:
        """Yield what to try at one width.

        First all scales, the same for every coordinate; while nothing resolves the solution, larger and smaller
        scales than the best as long as that helps, and, while solves are cheap, all scales for each coordinate
        by itself; once something resolves it, the best and its neighbours.
        """
        if width == FIRST_WIDTH:
            for name in self.activations:
                for scale in SCALES:
                    yield _Trial(name, self._scales(scale))
        elif self._best.held_out > RESOLVED:
            self._best = _Trial(self._best.activation, self._best.scales)  # wider layers are another comparison
            yield self._best
            yield from self._climb()
        else:
            yield _Trial(self._best.activation, self._best.scales)
        if width <= NEIGHBOUR_WIDTH and self._best.held_out > RESOLVED:
            yield from self._sweeps()
        if width <= NEIGHBOUR_WIDTH or 2 * width > LAST_WIDTH:
            yield from self._neighbours()

    @property
    def _limit(self) -> float:
        """The share of the budget to use: all of it once the features resolve the solution."""
        return 1.0 if self._best.held_out < RESOLVED else self.until

    def _scales(self, scale: float) -> tuple[float, ...]:
        """Return one scale for every coordinate; functions of corners and holes, of size 1 as they are, have 1."""
        return (scale,) * (len(self.groups) - 1) + (1.0 if self.sites else scale,)

    def _climb(self) -> Iterator[_Trial]:
        for factor in (2.0, 0.5):
            while True:
                trial = _Trial(self._best.activation, tuple(factor * scale for scale in self._best.scales))
                yield trial
                if trial is not self._best:
                    break

    def _sweeps(self) -> Iterator[_Trial]:
        """Yield the best trial with one coordinate's scale replaced by every other, one coordinate after another."""
        for axis in range(len(self.groups) if len(self.groups) > 1 else 0):
            for scale in (*SMALL_SCALES, *SCALES):
                start = self._best
                if scale != start.scales[axis]:
                    yield _Trial(start.activation, (*start.scales[:axis], scale, *start.scales[axis + 1 :]))

    def _neighbours(self) -> Iterator[_Trial]:
        """Yield the best trial with one coordinate's scale changed, following each change that helps.

        Without the functions of corners and holes, too: a smooth solution does not need them.
        """
        if self.sites and self._best.scales[-1]:
            yield _Trial(self._best.activation, (*self._best.scales[:-1], 0.0))
        for axis in range(len(self.groups)):
            for factor in (1.5, 1 / 1.5, 2.0, 0.5):
                start = self._best
                scales = list(start.scales)
                scales[axis] *= factor
                if scales[axis]:
                    yield _Trial(start.activation, tuple(scales))

    def _judge(self, trial: _Trial, held_out: float) -> None:
        trial.held_out = held_out
        if held_out < self._best.held_out:
            self._best = trial

    def _solved(self, training: Training, width: int, trial: _Trial) -> StepResult:
        small = training.trained
        scales = [0.0] * small.inputs
        for columns, scale in zip(self.groups, trial.scales, strict=True):
            for column in columns:
                scales[column] = scale
        phi = activation(trial.activation, small.activation.alpha)
        wide = random_features(small, width, scales, training.generator, phi, self.sites)
        started = training.budget.elapsed
        result = _solve(training, wide, FEATURE_POINTS_PER_UNIT * width, 1 if self.is_linear else 8)
        self._longest = max(self._longest, training.budget.elapsed - started)
        return result


@dataclass
class WideningStage(_Stateless):
    """Perturbed copies of the last hidden layer's units, output layer by least squares; wider while that helps.

    Attributes:
        until: share of the budget at which the stage ends.
    """

    until: float = 1.0
    name: str = "widen"
    _first: int = FIRST_WIDTH

    def steps(self, training: Training) -> Iterator[StepResult]:
        """Widen the trained network; yield after every solve; leave the trained network in place at the end."""
        small = training.trained
        width, before = self._first, training.held_out_value()
        while width <= LAST_WIDTH and training.used < self.until:
            started, reached, took = training.budget.elapsed, float("inf"), 0.0
            wide = widened(small, width, SPREAD, training.generator)
            for solve in range(SOLVES):
                if took > training.budget.left:
                    break
                yield _solve(training, wide, POINTS_PER_UNIT * width, 1, None if solve else small)
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
                self._first = width  # in the next turn, narrower layers will not help more than in this one
            width, before = 2 * width, min(reached, before)
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


def _solve(
    training: Training,
    wide: Network,
    rows: int,
    iterations: int,
    drawn_with: Network | None = None,
) -> StepResult:
    """Solve the output layer of a wide network on fresh points.

    Args:
        training: gives objective and points, and gets the network.
        wide: the network; its hidden layers stay as they are.
        rows: residuals, which are shared among the equations.
        iterations: Gauss-Newton steps.
        drawn_with: a network of the same values, to choose the points with at less cost.
    """
    count = max(rows // len(training.objective.blocks[0].residuals), 64)
    training.ansatz.network = drawn_with or wide
    points = training.fresh_points(count)
    training.ansatz.network = wide
    wide.hidden.requires_grad_(False)
    _, evaluations = solve_output_layer(training.objective, wide.output, points, iterations=iterations)
    return StepResult(training.objective.term_values(points), evaluations=evaluations)
