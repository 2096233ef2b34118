"""Whether all of time at once makes headway in training, or windows of time are tried instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from pinnsolve.errors import SettingsError
from pinnsolve.networks import activation
from pinnsolve.problems import Problem
from pinnsolve.problems.dispersion import is_dispersive
from pinnsolve.problems.windows import is_marchable
from pinnsolve.solving.march import March
from pinnsolve.solving.settings import Settings
from pinnsolve.training import Training

PILOT = 0.25  # share of the budget after which training must make headway
EARLIER = 0.4  # of what is used: headway is what was gained since then
LONGEST_PILOT = 60.0  # seconds: however much time there is, so much tells whether training makes headway
PILOT_STEPS = 60  # before which nothing can be said of training, however short the time limit
HEADWAY = 30.0  # least factor by which the held-out objective falls between them
LOW = 1e-5  # a held-out objective that widening brings down: fast training on burgers is there after 9 s, and lingers
RESOLVED = 1e-9  # below this, what was learnt of dispersive waves can be widened to all digits
MARCH_STEPS = 40  # a march takes at least, to look for features and to go on with them
LATEST = 0.6  # share of the whole budget after which it is too late to start anew
NOTED = 0.9  # of the objective that was noted last: smaller falls are not noted


@dataclass
class Headway:
    """Watches the held-out objective of one run.

    Chaos and long times keep a network that spans all of time from the solution: its loss stagnates, or is
    low for a wrong answer. Training that works has the held-out objective low, or lowers it thirtyfold in the last
    three fifths of what it has used so far; that is asked from a quarter of the budget on. For dispersive waves low is
    lower at first: on Korteweg-de Vries an objective of 7e-8 came with an error of 1e-2, and in equal time eight
    windows left errors 6 to 100 times smaller (15 times on a nonlinear Schrödinger equation).

    Attributes:
        may_march: whether windows are an alternative at all: asked to be chosen automatically, for a
            nonlinear problem that can be marched.
        seconds, steps: the budget of the run; no limit of steps if None.
        is_dispersive: whether nothing damps an early error, so that a small objective is not yet a small error.
        noted: the share of the budget that was used, and the held-out objective, whenever that had fallen.
        is_under_way: whether headway was made when it was first asked for.
        is_decided: whether windows were tried in vain, so that all of time at once is not given up again.
    """

    may_march: bool
    seconds: float
    steps: int | None
    is_dispersive: bool = False
    noted: list[tuple[float, float]] = field(default_factory=list)
    is_under_way: bool = False
    is_decided: bool = False

    @classmethod
    def of(cls, problem: Problem, settings: Settings) -> Headway:
        """Return the watch over a run with these settings."""
        training = settings.training
        may_march = _is_automatic(settings) and not problem.is_linear and is_marchable(problem)
        return cls(may_march, settings.time_limit, training.steps, may_march and is_dispersive(problem))

    def is_missing(self, training: Training) -> bool:
        """Return whether training on all of time at once is to be given up; to be asked after every step."""
        if not self.may_march or self.is_decided:
            return False
        used, left = training.used, training.best_held_out
        if not self.noted or left < NOTED * self.noted[-1][1]:
            self.noted.append((used, left))
        pilot = PILOT if self.steps is not None else min(PILOT, LONGEST_PILOT / self.seconds)
        if used < pilot or (self.steps is None and training.step < PILOT_STEPS):
            return False
        low = RESOLVED if self.is_dispersive and not self.is_under_way else LOW
        missing = left > max(low, self._noted_at(EARLIER * used) / HEADWAY)
        self.is_under_way |= not missing
        return missing

    def is_given_up(self, march: March, training: Training) -> bool:
        """Return whether all of time at once is to be given up for windows: it makes no headway, and there is time."""
        in_question = self.may_march and march.is_whole and not march.is_adaptive
        enough = self.steps is None or self.steps - training.step >= MARCH_STEPS
        return in_question and enough and self._spent(training) <= LATEST and self.is_missing(training)

    def state(self) -> dict[str, Any]:
        """Return plain values that `restore` needs."""
        return {"noted": self.noted, "is_under_way": self.is_under_way, "is_decided": self.is_decided}

    def restore(self, values: Mapping[str, Any]) -> None:
        """Go on where another watch stood."""
        self.noted = [(float(used), float(left)) for used, left in values["noted"]]
        self.is_under_way, self.is_decided = bool(values["is_under_way"]), bool(values["is_decided"])

    def _noted_at(self, used: float) -> float:
        """Return the objective when so much was used; the first that was noted, if that was later."""
        return min((left for when, left in self.noted if when <= used), default=self.noted[0][1])

    def _spent(self, training: Training) -> float:
        if self.steps is not None:
            return training.step / max(self.steps, 1)
        return training.budget.elapsed / self.seconds


def adapts_from_the_start(problem: Problem, settings: Settings) -> bool:
    """Return whether windows are adaptive from the start.

    That is so where they are asked for, and for nonlinear systems of ordinary differential equations: smooth random
    features in one coordinate are cheap, and in windows as long as they resolve they leave rounding.

    Raises:
        SettingsError: they are asked for with an engine, an optimizer, a precision or derivatives without features.
    """
    exact = settings.precision == "float64" and settings.derivatives != "autograd"
    if settings.training.windows == "adaptive":
        if settings.engine != "native" or settings.training.optimizer != "auto" or not exact:
            raise SettingsError(
                "training.windows = adaptive needs engine = native, optimizer = auto, precision = float64 and "
                "derivatives = taylor, fd or coupled"
            )
        return True
    phi = activation(settings.network.trained_activation, settings.network.alpha)
    is_served = len(problem.coordinates) == 1 and phi.smoothness == inf  # kinks would have to be outrun
    return _is_automatic(settings) and exact and is_served and not problem.is_linear and is_marchable(problem)


def _is_automatic(settings: Settings) -> bool:
    training = settings.training
    return settings.engine == "native" and training.windows == "auto" and training.optimizer == "auto"
