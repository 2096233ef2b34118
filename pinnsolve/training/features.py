"""Random features: one hidden layer of random weights, its output layer by least squares.

For a linear problem with a smooth solution the features can be random from the start; for a nonlinear one, too, if
Newton's method on few of them finds the solution, which takes a second to see. Scales, activation and number are
chosen by the residual on held-out points, never by the reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite, log2
from typing import Any

from torch import Tensor

from pinnsolve.networks import Network, activation
from pinnsolve.networks.multilayer import random_features
from pinnsolve.training.frozen import derivatives, is_affine
from pinnsolve.training.least_squares import output_damping, solve_output_layer
from pinnsolve.training.loop import Budget, StepResult, Training

FEATURE_POINTS_PER_UNIT = 4
ENDS = 0.5  # share of their points that gather towards the ends: random features swing beyond the last of them
FIRST_WIDTH, LAST_WIDTH = 400, 3200
PROBE_WIDTH = 200  # that tells whether random features serve a nonlinear problem: they leave less than RESOLVED
PROBE_GAIN = 30.0  # of each doubling after that: a solution that features resolve gains more, by far
PROBE_SCALES = (1.0, 2.0, 4.0, 8.0, 16.0)  # larger ones take more features
SCALES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)  # of random features, per half length of the domain
SMALL_SCALES = (0.25, 0.5)  # of a coordinate along which the solution hardly turns
RESOLVED = 1e-4  # a held-out objective below this tells good scales from bad ones
_PLANE = 3  # groups of inputs: two coordinates, and the functions of corners and holes
NEIGHBOURS = (1.5, 1 / 1.5, 2.0, 0.5)  # times a coordinate's scale
NEIGHBOUR_WIDTH = 800  # up to this width scales are refined coordinate by coordinate
LEAST_GROWTH = 1.25  # a layer hardly wider than the last gains next to nothing
PLANNED = 0.8  # of the time that is left, for the solve of the next layer
GROWTH = 5.0  # of the time of a solve with twice the features: 8 for the factorisation, less for the rest
COARSEST = 100  # features that a nonlinear problem is solved with from nothing
NEWTON_STEPS = 8  # of Gauss-Newton on the output layer, for nonlinear problems


class Stateless:
    """A stage that starts anew when a run is resumed in it: its work lies in the networks it leaves."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return nothing."""
        return {}, {}

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Start anew."""


@dataclass
class FeatureTrial:
    """Random features that were tried: how they were drawn, and what they left on the held-out points."""

    activation: str
    scales: tuple[float, ...]
    held_out: float = float("inf")


@dataclass
class RandomFeatureStage(Stateless):
    """Least squares on random features: scales, activation and number chosen by the held-out residual.

    Attributes:
        activations: those that may be used.
        groups: columns of the network's inputs that share a scale, one group per coordinate.
        sites: columns of which a unit reads those of one corner or hole, or none.
        is_linear: whether one solve is exact; else Gauss-Newton steps.
        until: share of the budget at which the stage ends if nothing resolves the solution.
        persists: whether wider layers are tried although a narrow one does not resolve the solution, or gains little
            over a narrower one; else the stage begins with fewer features and is over in a second.
    """

    activations: Sequence[str]
    groups: Sequence[Sequence[int]]
    sites: Sequence[Sequence[int]]
    is_linear: bool
    until: float = 1.0
    persists: bool = True
    name: str = "features"
    _longest: float = 0.0
    _before: float = float("inf")
    _best: FeatureTrial = field(default_factory=lambda: FeatureTrial("tanh", ()))

    def steps(self, training: Training) -> Iterator[StepResult]:
        """Try widths from small to large; yield after every solve; leave the small network in place at the end."""
        weighting = training.objective.weighting.state()
        width, self._before = self._first_width, float("inf")
        while width <= LAST_WIDTH and training.used < self._limit:
            reached, self._longest = float("inf"), 0.0
            for trial in self._trials(width, training.budget):
                started = training.budget.elapsed
                result = solve_features(
                    training,
                    width,
                    trial,
                    self.groups,
                    1 if self.is_linear else NEWTON_STEPS,
                    sites=self.sites,
                    about=training.best_network if self._is_resolved else None,
                )
                self._longest = max(self._longest, training.budget.elapsed - started)
                if not (self.is_linear or isfinite(result.loss)):
                    continue  # Newton's method has left the equations' domain
                yield result
                self._judge(trial, training.last_held_out)
                reached = min(reached, trial.held_out)
                if training.used >= self._limit or training.budget.left < self._longest or reached <= training.goal:
                    break
            growth = self._growth(training.budget.left)
            if training.converged(self._before, reached) or growth < LEAST_GROWTH or not self._serves(reached):
                break
            width, self._before = int(growth * width), reached
        if not self.persists:
            training.objective.weighting.restore(weighting)  # the residuals seen were not those of gradient steps
        training.ansatz.network = training.trained

    def _trials(self, width: int, budget: Budget) -> Iterator[FeatureTrial]:
        """Yield what to try at one width.

        First all scales, the same for every coordinate, of one activation after the other; a stage that does not
        persist ends with the first if that resolves nothing. While nothing resolves the solution, larger and smaller
        scales than the best as long as that helps, and, while solves are cheap, those of each coordinate by itself:
        outwards from the best, then all of them. Once something resolves it, the best, larger scales as long as that
        helps, and neighbours, if they leave the time for a wider layer or none will follow.
        """
        if width == self._first_width:
            for name in self.activations:
                for scale in SCALES if self.persists else PROBE_SCALES:
                    yield FeatureTrial(name, self._scales(scale))
                if not (self.persists or self._is_resolved):
                    return
        elif not self._is_resolved:
            self._best = FeatureTrial(self._best.activation, self._best.scales)  # wider layers are another comparison
            yield self._best
            yield from self._climb(2.0, 0.5)
        else:
            yield FeatureTrial(self._best.activation, self._best.scales)
            yield from self._climb(1.5)  # more features serve larger scales
        if not self._best.scales:
            return  # nothing that was tried left a number
        # few units read each corner or hole of a plane domain: while they resolve nothing, more of them help most
        hasty = bool(self.sites) and len(self.groups) == _PLANE and not self._is_resolved
        if self.persists and width <= NEIGHBOUR_WIDTH and not self._is_resolved and not hasty:
            yield from self._outwards()
            if not self._is_resolved:
                yield from self._sweeps()
        if not self._serves(self._best.held_out):
            return
        if (self._is_cheap(width, budget.left) and not hasty) or self._is_last(width, budget.left):
            yield from self._neighbours()

    def _is_cheap(self, width: int, left: float) -> bool:
        """Whether a look at neighbouring scales leaves time for a layer of twice the width."""
        return width <= NEIGHBOUR_WIDTH and (len(NEIGHBOURS) * len(self.groups) + GROWTH) * self._longest <= left

    def _is_last(self, width: int, left: float) -> bool:
        """Whether no wider layer will follow."""
        return 2 * width > LAST_WIDTH or self._growth(left) < LEAST_GROWTH

    @property
    def _limit(self) -> float:
        """The share of the budget to use: all of it once the features resolve the solution."""
        return 1.0 if self._is_resolved else self.until

    def _serves(self, reached: float) -> bool:
        """Whether to go on with random features, of which a width leaves so much on the held-out points."""
        return self.persists or (self._is_resolved and reached < self._before / PROBE_GAIN)

    @property
    def _is_resolved(self) -> bool:
        return self._best.held_out < RESOLVED

    @property
    def _first_width(self) -> int:
        return FIRST_WIDTH if self.persists else PROBE_WIDTH

    def _scales(self, scale: float) -> tuple[float, ...]:
        """Return one scale for every coordinate; functions of corners and holes, of size 1 as they are, have 1."""
        return (scale,) * (len(self.groups) - 1) + (1.0 if self.sites else scale,)

    def _climb(self, *factors: float) -> Iterator[FeatureTrial]:
        """Yield the best trial with all its scales multiplied by each factor, as long as that helps."""
        for factor in factors:
            yield from self._follow((factor,) * len(self.groups))

    def _follow(self, factors: Sequence[float]) -> Iterator[FeatureTrial]:
        """Yield the best trial with its scales multiplied by these factors, again and again as long as that helps."""
        while True:
            scales = tuple(factor * scale for factor, scale in zip(factors, self._best.scales, strict=True))
            trial = FeatureTrial(self._best.activation, scales)
            yield trial
            if trial is not self._best:
                return

    def _growth(self, left: float) -> float:
        """Return how many times wider the next layer can be, at most twice, for one solve in the seconds left."""
        return min(2.0 * (PLANNED * left / (GROWTH * self._longest)) ** (1 / log2(GROWTH)), 2.0)

    def _outwards(self) -> Iterator[FeatureTrial]:
        """Yield the best trial with one coordinate's scale doubled or halved, as long as that helps."""
        count = len(self.groups)
        for axis in range(count if count > 1 else 0):
            for factor in (2.0, 0.5) if self._best.scales[axis] else ():
                yield from self._follow([factor if other == axis else 1.0 for other in range(count)])

    def _sweeps(self) -> Iterator[FeatureTrial]:
        """Yield the best trial with one coordinate's scale replaced by every other, one coordinate after another."""
        for axis in range(len(self.groups) if len(self.groups) > 1 else 0):
            for scale in (*SMALL_SCALES, *SCALES):
                start = self._best
                if scale != start.scales[axis]:
                    yield FeatureTrial(start.activation, (*start.scales[:axis], scale, *start.scales[axis + 1 :]))

    def _neighbours(self) -> Iterator[FeatureTrial]:
        """Yield the best trial with one coordinate's scale changed, following each change that helps.

        Without the functions of corners and holes, too: a smooth solution does not need them.
        """
        if self.sites and self._best.scales[-1]:
            yield FeatureTrial(self._best.activation, (*self._best.scales[:-1], 0.0))
        for axis in range(len(self.groups)):
            for factor in NEIGHBOURS:
                start = self._best
                scales = list(start.scales)
                scales[axis] *= factor
                if scales[axis]:
                    yield FeatureTrial(start.activation, tuple(scales))

    def _judge(self, trial: FeatureTrial, held_out: float) -> None:
        trial.held_out = held_out
        if held_out < self._best.held_out:
            self._best = trial


def solve_features(
    training: Training,
    width: int,
    trial: FeatureTrial,
    groups: Sequence[Sequence[int]],
    iterations: int,
    *,
    sites: Sequence[Sequence[int]] = (),
    about: Network | None = None,
) -> StepResult:
    """Put random features into the ansatz and solve their output layer on fresh points.

    The points follow no residual: that of random features swings from point to point and tells nothing.

    A nonlinear problem is linearised about a solution that is nearly right, if there is one, else about that of half
    the features, found in the same way from a quarter of them, and so on (nested iteration): Newton's method then
    needs one factorisation, where from nothing it needs four or more.

    Args:
        training: gives objective, points and the small network, and gets the wide one.
        width: number of features.
        trial: their activation and scales.
        groups: columns of the network's inputs that share a scale.
        iterations: Gauss-Newton steps.
        sites: columns of which a unit reads those of one corner or hole, or none.
        about: a network that is nearly right.
    """
    evaluations = 0
    if iterations > 1 and about is None and width >= 2 * COARSEST and is_affine(training.objective):
        coarse = solve_features(training, width // 2, trial, groups, iterations, sites=sites)
        evaluations, about = coarse.evaluations, training.ansatz.network if isfinite(coarse.loss) else None
    small = training.trained
    scales = [0.0] * small.inputs
    for columns, scale in zip(groups, trial.scales, strict=True):
        for column in columns:
            scales[column] = scale
    phi = activation(trial.activation, small.activation.alpha)
    wide = random_features(small, width, scales, training.generator, phi, sites)
    result = solve_wide(training, wide, FEATURE_POINTS_PER_UNIT * width, iterations, ends=ENDS, about=about)
    return replace(result, evaluations=result.evaluations + evaluations)


def solve_wide(
    training: Training,
    wide: Network,
    rows: int,
    iterations: int,
    drawn_with: Network | None = None,
    ends: float | None = None,
    about: Network | None = None,
) -> StepResult:
    """Solve the output layer of a wide network on fresh points.

    Args:
        training: gives objective and points, and gets the network.
        wide: the network; its hidden layers stay as they are.
        rows: residuals, which are shared among the equations.
        iterations: Gauss-Newton steps.
        drawn_with: a network of the same values, to choose the points with at less cost.
        ends: if given, no points are chosen by the residual, and this share gathers towards the coordinates' ends.
        about: a network that a nonlinear problem is linearised about first.
    """
    count = max(rows // len(training.objective.blocks[0].residuals), 64)
    training.ansatz.network = drawn_with or about or wide
    points = training.fresh_points(count, ends)
    centre = None if about is None else derivatives(training.objective, points)
    training.ansatz.network = wide
    wide.hidden.requires_grad_(False)
    _, evaluations = solve_output_layer(
        training.objective, wide.output, points, iterations=iterations, damping=output_damping(wide), about=centre
    )
    return StepResult(training.objective.term_values(points), evaluations=evaluations)
