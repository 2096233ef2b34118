"""Random features in a window of time: what a march of adaptive windows takes for its steps.

In a window short enough the solution is smooth in time, and Gauss-Newton on the output layer of random features
solves a nonlinear problem from nothing, to nearly all digits, in seconds. Longer windows need more features, and
the work grows as their cube: from some number on a shorter window is the better answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite

from pinnsolve.training.features import (
    GROWTH,
    RESOLVED,
    SCALES,
    SMALL_SCALES,
    FeatureTrial,
    Stateless,
    solve_features,
)
from pinnsolve.training.least_squares import solve_output_layer
from pinnsolve.training.loop import StepResult, Training
from pinnsolve.training.scaling import rescaled, term_sizes

NEWTON_STEPS = 16  # of Gauss-Newton, at most: it ends where a step gains less than a factor of 2
WORTH = 30.0  # the gain from twice the features without which a shorter window is the better answer
UNRESOLVED_WORTH = 10.0  # likewise while nothing is resolved: convergence has only begun
WORSE = 30.0  # a window may be left so much worse than the one before without more being tried
ROUNDS = 2  # of scaling the equations anew and solving again


@dataclass(frozen=True)
class FeatureChoice:
    """The features that served a window best.

    Attributes:
        activation: of the features.
        scales: of their weights, one per group of inputs.
        width: how many there were.
        held_out: the objective that they left on the held-out points.
    """

    activation: str
    scales: tuple[float, ...]
    width: int
    held_out: float

    def stretched(self, group: int, factor: float) -> FeatureChoice:
        """Return the choice for a window that is longer by this factor; features keep their rate per unit of time."""
        stretched = max(factor * self.scales[group], min(SMALL_SCALES))
        scales = tuple(stretched if index == group else scale for index, scale in enumerate(self.scales))
        return replace(self, scales=scales)

    @property
    def is_known(self) -> bool:
        """Whether the features resolved anything, so that their scales mean something."""
        return self.held_out < RESOLVED


@dataclass
class WindowFeatureStage(Stateless):
    """Gauss-Newton on random features, wider while that helps; training pauses after it.

    What served the window before is tried first, once. More is tried if it leaves this one much worse.

    Attributes:
        activations: those that may be used.
        groups: columns of the network's inputs that share a scale, one group per coordinate.
        widths: the fewest and the most features that are tried; if they are the same, so are the scales.
        pace: seconds that a solve may take if the windows to come are to be solved in time, too.
        choice: what served the window before; None to look for it.
        accepted: the held-out objective that was left there; 0 if there is none.
        earlier: the largest |u| of each field in the windows before.
        magnitudes: the same with this window.
        found: what serves this one best so far.
        took: seconds that its solve took.
    """

    activations: Sequence[str]
    groups: Sequence[Sequence[int]]
    widths: tuple[int, int]
    pace: float = float("inf")
    choice: FeatureChoice | None = None
    accepted: float = 0.0
    earlier: Mapping[str, float] = field(default_factory=dict)
    magnitudes: dict[str, float] = field(default_factory=dict)
    found: FeatureChoice | None = None
    took: float = 0.0
    name: str = "features"
    _tried: int = 0
    _goal: float = 0.0

    def steps(self, training: Training) -> Iterator[StepResult]:
        """Solve layer after layer; yield after every solve; leave the small network in place at the end."""
        self._goal = training.goal
        for trial in self._trials():
            started = training.budget.elapsed
            known = training.best_network if self._held_out < RESOLVED else None
            result = solve_features(training, trial.width, trial.features, self.groups, NEWTON_STEPS, about=known)
            if not isfinite(result.loss):
                continue  # the solution grows beyond all bounds in so long a window, or in Newton's first steps
            yield self._scaled(training, result) if len(self.groups) == 1 else result
            self._judge(trial, training.last_held_out, training.budget.elapsed - started)
            if self.is_satisfied or training.used >= 1:
                break
        training.ansatz.network = training.trained
        training.converged(float("inf"), self._held_out)
        training.is_paused = True

    def _scaled(self, training: Training, result: StepResult) -> StepResult:
        """Divide the equations by their terms' sizes in the solution; solve again if that changes much.

        Their sizes by the fields' initial values may be far off: a reaction's 3e7 b² is 0.04, where b stays near 4e-5.
        """
        points = training.held_out[0]
        half_length = 1 / float(training.ansatz.features.inverse_half_length[0])
        evaluations = result.evaluations
        for _ in range(ROUNDS):
            sizes, self.magnitudes = term_sizes(training.objective, points, self.earlier, half_length)
            training.objective, again = rescaled(training.objective, sizes)
            if not again:
                break
            output = training.ansatz.network.output
            _, taken = solve_output_layer(training.objective, output, training.collocation, iterations=NEWTON_STEPS)
            evaluations += taken
        return replace(result, terms=training.objective.term_values(training.collocation), evaluations=evaluations)

    @property
    def is_satisfied(self) -> bool:
        """Whether the window is solved, or nearly as well as the one before while there is no time for more."""
        has_time = GROWTH * self.took <= self.pace
        return self._held_out <= (self._goal if has_time else max(self._goal, WORSE * self.accepted))

    @property
    def is_easy(self) -> bool:
        """Whether the first solve was enough, with what served the window before."""
        return self.choice is not None and self.found is not None and self._tried == 1

    @property
    def _held_out(self) -> float:
        return float("inf") if self.found is None else self.found.held_out

    def _trials(self) -> Iterator[_Trial]:
        """Yield the choice or else all scales, then the best of them with more features, then its neighbours.

        A choice that resolved nothing in the window before was the best in a longer one: it comes before the others.
        """
        trusted = self.choice is not None and self.choice.is_known
        if self.choice is not None:
            yield _Trial(self.choice.width, FeatureTrial(self.choice.activation, self.choice.scales))
        if trusted and not self._is_resolved:
            return  # what served the window before solves nothing in this one: it is too long
        looked = self._may_look and not (trusted or self._is_resolved)
        if looked:
            yield from self._all_scales()
        if self.found is None:
            return
        width, before = self.found.width, float("inf")
        while 2 * width <= self.widths[1] and GROWTH * self.took <= self.pace and self._gains(before):
            width, before = 2 * width, self._held_out
            yield _Trial(width, FeatureTrial(self.found.activation, self.found.scales))
        if self._may_look and not looked and self.took <= self.pace:
            yield from self._neighbours(width)

    @property
    def _may_look(self) -> bool:
        """Whether other features are worth a trial: where they are given, half the window does what other scales do."""
        return self.widths[0] < self.widths[1]

    @property
    def _is_resolved(self) -> bool:
        return self.found is not None and self.found.is_known

    def _gains(self, before: float) -> bool:
        """Return whether twice the features helped enough for as many again to be tried."""
        return self._held_out < before / (WORTH if self._is_resolved else UNRESOLVED_WORTH)

    def _all_scales(self) -> Iterator[_Trial]:
        width = self.widths[0]
        for name in self.activations:
            for scale in SCALES:
                yield _Trial(width, FeatureTrial(name, (scale,) * len(self.groups)))
        yield from self._neighbours(width)

    def _neighbours(self, width: int) -> Iterator[_Trial]:
        """Yield the best so far with the scale of one group after the other changed; nothing if there is none."""
        for axis in range(len(self.groups) if self.found is not None else 0):
            for factor in (2.0, 0.5):
                assert self.found is not None
                scales = list(self.found.scales)
                scales[axis] *= factor
                yield _Trial(width, FeatureTrial(self.found.activation, tuple(scales)))

    def _judge(self, trial: _Trial, held_out: float, seconds: float) -> None:
        self._tried += 1
        if held_out < self._held_out:
            self.took = seconds
            self.found = FeatureChoice(trial.features.activation, trial.features.scales, trial.width, held_out)


@dataclass(frozen=True)
class _Trial:
    """So many random features, drawn in one way."""

    width: int
    features: FeatureTrial
