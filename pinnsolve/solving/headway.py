"""Whether all of time at once makes headway in training, or windows of time are tried instead."""

from __future__ import annotations

from dataclasses import dataclass

from pinnsolve.problems import Problem
from pinnsolve.problems.dispersion import is_dispersive
from pinnsolve.problems.windows import is_marchable
from pinnsolve.solving.settings import Settings
from pinnsolve.training import Training

EARLY, PILOT = 0.1, 0.25  # shares of the budget between which training must make headway
PILOT_STEPS = 60  # before which nothing can be said of training, however short the time limit
HEADWAY = 30.0  # least factor by which the held-out objective falls between them
UNSOLVED = 1e-6  # a held-out objective above this solves nothing
RESOLVED = 1e-9  # below this, what was learnt of dispersive waves can be widened to all digits
LATEST = 0.6  # share of the whole budget after which it is too late to start anew
FIRST_MARCH, FINEST_MARCH = 8, 16  # windows
LEAST_STEPS = 3  # per window


@dataclass
class Headway:
    """Watches the held-out objective of one run.

    Chaos and long times keep a network that spans all of time from the solution: its loss stagnates, or is
    low for a wrong answer. Training that works lowers the held-out objective a hundredfold or more between
    a tenth and a quarter of the budget, or has it low by then. For dispersive waves low is lower: on Korteweg-de Vries
    an objective of 7e-8 came with an error of 1e-2, and in equal time eight windows left errors 6 to 100 times
    smaller (15 times on a nonlinear Schrödinger equation).

    Attributes:
        may_march: whether windows are an alternative at all: asked to be chosen automatically, for a
            nonlinear problem that can be marched.
        seconds, steps: the budget of the run; no limit of steps if None.
        is_dispersive: whether nothing damps an early error, so that a small objective is not yet a small error.
        early: the held-out objective when a tenth of the budget was spent; None before the first step.
    """

    may_march: bool
    seconds: float
    steps: int | None
    is_dispersive: bool = False
    early: float | None = None

    @classmethod
    def of(cls, problem: Problem, settings: Settings) -> Headway:
        """Return the watch over a run with these settings."""
        training = settings.training
        automatic = settings.engine == "native" and training.windows == "auto" and training.optimizer == "auto"
        may_march = automatic and not problem.is_linear and is_marchable(problem)
        return cls(may_march, settings.time_limit, training.steps, may_march and is_dispersive(problem))

    def is_missing(self, training: Training) -> bool:
        """Return whether training on all of time at once is to be given up; to be asked after every step."""
        if not self.may_march:
            return False
        if training.used < EARLY or self.early is None:
            self.early = training.best_held_out
        if self.steps is None and training.step < PILOT_STEPS:
            return False
        low = RESOLVED if self.is_dispersive else UNSOLVED
        return training.used >= PILOT and training.best_held_out > max(low, self.early / HEADWAY)

    def next_march(self, count: int, begun: int, training: Training) -> int | None:
        """Return how many windows to march through, from the start; None if all goes well or it is too late.

        Args:
            count: windows of the present march, 1 for all of time.
            begun: how many of them were begun.
            training: in the last of these.
        """
        if not self.may_march or begun > 1 or self._spent(training) > LATEST:
            return None
        # a first window that its share of the budget did not solve must be shorter
        wanted = FIRST_MARCH if count == 1 else 2 * count
        fails = self.is_missing(training) if count == 1 else training.best_held_out > UNSOLVED
        return wanted if fails and wanted <= FINEST_MARCH and self._allows(wanted, training) else None

    def _allows(self, count: int, training: Training) -> bool:
        """Return whether the steps that are left are enough for so many windows."""
        return self.steps is None or self.steps - training.step >= LEAST_STEPS * count

    def _spent(self, training: Training) -> float:
        if self.steps is not None:
            return training.step / max(self.steps, 1)
        return training.budget.elapsed / self.seconds
