"""How long the windows of an adaptive march are: the step control of a method that advances in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from typing import Any

from pinnsolve.problems import Problem
from pinnsolve.solving.march import March, Window
from pinnsolve.solving.settings import Settings
from pinnsolve.training.plan import WindowFeatures
from pinnsolve.training.window_features import FeatureChoice, WindowFeatureStage

UNSOLVED = 1e-6  # a held-out objective above this solves nothing: a shorter window, whatever it costs
FIRST_LENGTHS = {0: Fraction(1)}  # by the number of space coordinates: features that solve all of time are the best
OTHER_LENGTH = Fraction(1, 8)
GOALS = {0: 1e-20}  # likewise: near rounding where that is cheap
OTHER_GOAL = 1e-14  # Kuramoto-Sivashinsky after 600 s: 1e-13 leaves 1.5e-3, 1e-14 4.8e-4, and 1e-16 no time to arrive
SCALE, WIDTH = 4.0, 80  # of the features in time alone, which need not be looked for
EASY = {0: 1.0}  # of the goal: what the first solve leaves where a window of twice the length is tried
OTHER_EASY = 1e-4
ROUNDED = 1e-12  # below this, an objective that half the length lowers by less than a factor of 10 is rounding
SHORTEST = Fraction(1, 2**40)
MOST_WINDOWS = 2_000
MOST_WAITING = 8  # windows before a longer one is tried again
RIGID = 3  # halvings that may gain less than a factor of 10 before space is what features do not resolve
SOLVING = 0.8  # share of a window's time for one solve; the rest is for preparing it and for looking at others
FEWEST = 100  # features
# share of the time limit before which a small residual is worth any halving, too: in time alone windows grow again
# after an initial layer or a jump, and no pace can be told from the shortest
STRICT = {0: 0.5}
REACH = 8.0  # times too slow: as much as fewer features may make up for, as far as it is known
LATE = 0.9  # share of the time limit after which all that is left of the time is the last window


@dataclass
class StepControl:
    """Decides, window by window, whether to halve it, and how long the next one is.

    Attributes:
        space: number of space coordinates.
        time_limit: seconds for everything.
        given: the features that every window is solved with; None to look for them.
        choice: those that the next window begins with; None to look for them.
        accepted: the held-out objective that the last finished window was left with; 0 if there is none.
        took: seconds that its solve took.
        before: that of the longer window which the present one is a half of; infinity if there is none.
        idle: halvings in a row without gain.
        longest: the longest window that was finished, as a share of the time.
        longest_width: the features that it took.
        wait: windows to finish before a longer one is tried.
        least_width: the fewest features that may serve; half as many did not.
        penalty: windows to wait after the next halving; it doubles each time that a longer window was tried in vain.
        magnitudes: the largest |u| of each field in the finished windows, in time alone.
    """

    space: int
    time_limit: float
    given: FeatureChoice | None = None
    choice: FeatureChoice | None = None
    accepted: float = 0.0
    took: float = 0.0
    before: float = float("inf")
    idle: int = 0
    longest: Fraction = Fraction(0)
    longest_width: int = 0
    least_width: int = FEWEST
    wait: int = 0
    penalty: int = 1
    magnitudes: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem, settings: Settings) -> StepControl:
        """Return the control of a march through this problem."""
        space = len(problem.coordinates) - 1
        name = settings.network.trained_activation
        groups = 2 if settings.network.random_fourier else 1  # random Fourier features have a scale of their own
        scales = (SCALE,) * groups
        given = None if space else FeatureChoice(name, scales, WIDTH, held_out=float("inf"))
        return cls(space, settings.time_limit, given, given)

    @property
    def goal(self) -> float:
        """A held-out objective that is low enough."""
        return GOALS.get(self.space, OTHER_GOAL)

    @property
    def first_length(self) -> Fraction:
        """The share of the time that the first window is planned to take."""
        return FIRST_LENGTHS.get(self.space, OTHER_LENGTH)

    def features(self, march: March, elapsed: float) -> WindowFeatures:
        """Return what the last window of a march begins with, so many seconds after the start."""
        pace = SOLVING * (self.time_limit - elapsed) * float(march.last_length / (1 - march.ends[-2]))
        choice = self.choice
        if choice is not None and self.given is None and self.took > pace:
            choice = replace(choice, width=min(choice.width, max(choice.width // 2, self.least_width)))
        return WindowFeatures(choice, self.space, pace, self.accepted, self.magnitudes)

    def asks(self, window: Window) -> bool:
        """Return whether features are all that was tried in a window, or their time was out too early."""
        training = window.training
        return training.is_paused or (training.stage_index == 0 and training.best_held_out > UNSOLVED)

    def halves(self, march: March, window: Window) -> bool:
        """Return whether the window is to be halved after its features; note what they left.

        A residual that solves nothing is worth any halving, unless three of them in a row gained nothing. A small one
        is worth it if there is time to go on at that pace, or early in time alone.
        """
        stage, left, budget = _features(window), window.training.best_held_out, window.training.budget
        gains = left < 0.1 * self.before
        self.idle = 0 if gains else self.idle + 1
        halves_to_come = 2 * (1 - march.ends[-2]) / march.last_length
        in_time = (
            left > UNSOLVED
            or budget.elapsed < STRICT.get(self.space, 0.0) * self.time_limit
            or stage.took * float(halves_to_come) < SOLVING * (self.time_limit - budget.elapsed)
        )
        possible = march.last_length > SHORTEST and march.count < MOST_WINDOWS and (self.idle < RIGID or not self.space)
        is_rounded = left < ROUNDED and not gains
        if stage.is_satisfied or is_rounded or self._is_late(window) or not (possible and in_time):
            return False
        self.before, width = left, self._width
        self.choice = self._stretched(window, Fraction(1, 2))
        was_cut = stage.choice is not None and stage.choice.width < width
        if was_cut and left > UNSOLVED and self.choice is not None:
            self.least_width = width  # fewer features were tried for the sake of time: the length is not to blame
            self.choice = replace(self.choice, width=max(self.choice.width, width))
        return True

    def is_hopeless(self, march: March, window: Window) -> bool:
        """Return whether a march whose last window is to be halved is too slow to reach the end in time.

        Windows are counted that are as long as the longest so far, with features as many as serve them.
        """
        to_come = (1 - march.ends[-2]) / (self.longest or march.last_length / 2)
        seconds = float(to_come) * (self.took or _features(window).took)
        reach = REACH if self._width // 2 >= self.least_width else 1.0
        return seconds > reach * (self.time_limit - window.training.budget.elapsed)

    def next_length(self, march: March, window: Window) -> Fraction:
        """Return the length of the next window; note what served this one."""
        if self._is_late(window):
            return Fraction(1)
        stage, length, left = _features(window), march.last_length, window.training.best_held_out
        if self.before < float("inf"):  # it was halved: its other half comes first
            self.wait, self.penalty = self.penalty, min(2 * self.penalty, MOST_WAITING if self.space else 1)
        elif stage.is_easy:
            self.wait -= 1
        width = 0 if stage.found is None else stage.found.width
        regains = length < self.longest and width >= self.longest_width
        grows = self.wait <= 0 and stage.is_easy and (left <= self._easy or regains)
        factor = 2 if grows else 1
        self.choice, self.accepted, self.took = self._stretched(window, Fraction(factor)), left, stage.took
        if length > self.longest:
            self.longest, self.longest_width = length, width
        self.before, self.idle = float("inf"), 0
        self.magnitudes = stage.magnitudes
        return factor * length

    def state(self) -> dict[str, Any]:
        """Return plain values that `restore` needs."""
        return asdict(self) | {"longest": str(self.longest)}

    def restore(self, values: Mapping[str, Any]) -> None:
        """Go on where another control stood."""
        choice = values["choice"]  # what is given follows from the settings
        self.choice = None if choice is None else FeatureChoice(**{**choice, "scales": tuple(choice["scales"])})
        self.accepted, self.took = values["accepted"], values["took"]
        self.before, self.idle = values["before"], values["idle"]
        self.longest, self.longest_width = Fraction(values["longest"]), values["longest_width"]
        self.least_width = values["least_width"]
        self.wait, self.penalty = values["wait"], values["penalty"]
        self.magnitudes = dict(values["magnitudes"])

    @property
    def _width(self) -> int:
        """The features that the window begins with if there is time; 0 if none are known yet."""
        return 0 if self.choice is None else self.choice.width

    @property
    def _easy(self) -> float:
        return EASY.get(self.space, OTHER_EASY) * self.goal

    def _is_late(self, window: Window) -> bool:
        return window.training.budget.elapsed > LATE * self.time_limit

    def _stretched(self, window: Window, factor: Fraction) -> FeatureChoice | None:
        """Return what serves the window, or the one before, or is the best so far, for one longer by a factor."""
        if self.given is not None:
            return self.given
        stage, axis = _features(window), window.problem.time_axis
        assert axis is not None
        group = window.ansatz.features.plain.index(axis)
        serves = stage.found is not None and (stage.found.is_known or stage.choice is None)
        best = stage.found if serves else stage.choice
        return None if best is None else best.stretched(group, float(factor))


def _features(window: Window) -> WindowFeatureStage:
    stage = window.training.plan[0]
    assert isinstance(stage, WindowFeatureStage)
    return stage
