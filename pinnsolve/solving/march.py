"""Windows of time: what is solved in each of them, and with which share of the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray
from torch import Tensor

from pinnsolve.derivatives import Differentiator
from pinnsolve.errors import SettingsError
from pinnsolve.networks import Ansatz, Constraints
from pinnsolve.networks.piecewise import PiecewiseAnsatz
from pinnsolve.problems import Problem
from pinnsolve.problems.windows import States, problem_in_window, refuse_windows, time_edges
from pinnsolve.solving.settings import Settings
from pinnsolve.training import Budget, Training
from pinnsolve.training.loop import below

STUMP = Fraction(3, 2)  # windows that the rest of the time must be longer than, or the next one takes all of it
SEARCH = 2  # shares of the time that an adaptive window may use, to look for features that serve the next ones, too
LEAST_TURN = 0.05  # of the time limit, for an adaptive window however short: a solve does not know how short it is
LEAST_SHARE = 0.2  # of an even share of the time limit: what a window gets however long the ones before took


@dataclass
class Window:
    """A part of the time, or all of it, prepared for training.

    Attributes:
        problem: what is solved in it.
        constraints: which of its conditions are built in.
        ansatz: the trial solution.
        differentiator: the maker of jets in training.
        training: optimizer, points, the step reached.
        plan_reason: why these stages of training were chosen.
        notes: sentences that the user must see.
    """

    problem: Problem
    constraints: Constraints
    ansatz: Ansatz
    differentiator: Differentiator
    training: Training
    plan_reason: str
    notes: list[str]

    @property
    def collocation(self) -> NDArray[np.float64]:
        """The interior points of the last step, (N, d)."""
        points: Sequence[Tensor] = self.training.collocation
        return points[0].double().cpu().numpy() if points else np.empty((0, len(self.problem.coordinates)))

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and plain values from which `restore` goes on, bit for bit."""
        network = self.training.trained
        tensors, values = self.training.state()
        named = {f"training.{name}": value for name, value in tensors.items()}
        named |= {f"network.{name}": value for name, value in network.state_dict().items()}
        return named, {"network": network.description(), "training": values}

    def restore(self, step: int, tensors: dict[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on after this step, where another window stood."""
        network = self.ansatz.network.described(values["network"])
        network.load_state_dict(below("network.", tensors))
        self.ansatz.network = self.training.trained = network
        self.training.restore(step, below("training.", tensors), values["training"])

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that `restore_finished` needs."""
        tensors = {f"network.{name}": value for name, value in self.ansatz.network.state_dict().items()}
        return tensors | {f"collocation.{index}": points for index, points in enumerate(self.training.collocation)}

    def restore_finished(self, network: Mapping[str, Any], tensors: dict[str, Tensor], held_out: float) -> None:
        """Take over the network of this description, and the collocation points, of a finished window.

        Args:
            network: its description.
            tensors: of `tensors`.
            held_out: the objective that it leaves on the held-out points.
        """
        self.ansatz.network = self.ansatz.network.described(network)
        self.ansatz.network.load_state_dict(below("network.", tensors))
        self.training.finish(held_out)
        points = below("collocation.", tensors)
        self.training.collocation = [points[str(index)] for index in range(len(points))]


@dataclass(frozen=True)
class March:
    """The windows of time that a problem is solved in, one after the other.

    Attributes:
        problem: on all of its time.
        ends: of the windows, as shares of the time, from 0 on. With one window that is all of it, the problem is
            solved as it is.
        is_adaptive: whether windows are added, halved and doubled as it goes; else they are known from the start.

    Raises:
        SettingsError: the problem cannot be marched.
    """

    problem: Problem
    ends: tuple[Fraction, ...] = (Fraction(0), Fraction(1))
    is_adaptive: bool = False

    def __post_init__(self) -> None:
        if self.is_adaptive or not self.is_whole:
            refuse_windows(self.problem)

    @classmethod
    def equal(cls, problem: Problem, count: int) -> March:
        """Return a march of equal windows."""
        return cls(problem, tuple(Fraction(index, count) for index in range(count + 1)))

    @classmethod
    def adaptive(cls, problem: Problem, first: Fraction) -> March:
        """Return a march of adaptive windows, of which the first is planned to take this share of the time."""
        return cls(problem, (Fraction(0), first), is_adaptive=True)

    def extended(self, length: Fraction) -> March:
        """Return the march with one more window, of at most this length and never leaving a stump behind it."""
        start = self.ends[-1]
        end = start + length if start + STUMP * length < 1 else Fraction(1)
        return replace(self, ends=(*self.ends, end))

    def shortened(self) -> March:
        """Return the march with its last window halved."""
        start, end = self.ends[-2:]
        return replace(self, ends=(*self.ends[:-1], (start + end) / 2))

    @property
    def count(self) -> int:
        """The number of windows that are planned so far."""
        return len(self.ends) - 1

    @property
    def last_length(self) -> Fraction:
        """The length of the last window, as a share of the time."""
        return self.ends[-1] - self.ends[-2]

    @property
    def is_whole(self) -> bool:
        """Whether all of time is one window."""
        return self.ends == (0, 1)

    @property
    def reaches_the_end(self) -> bool:
        """Whether the windows planned so far cover all of the time."""
        return self.ends[-1] == 1

    @cached_property
    def edges(self) -> list[sympy.Expr]:
        """The ends of the windows, exact, in the unit of time; that of the problem stands last."""
        return time_edges(self.problem, self.ends if self.reaches_the_end else (*self.ends, Fraction(1)))

    def problem_of(self, index: int, states: States | None) -> Problem:
        """Return what is solved in one window, from the end states of the window before."""
        if self.is_whole:
            return self.problem
        return problem_in_window(self.problem, (self.edges[index], self.edges[index + 1]), states)

    def window_of(self, points: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the index (N,) of the window that each point lies in; a joint belongs to the window it ends."""
        if self.is_whole:
            return np.zeros(len(points), dtype=np.intp)
        joints = [float(edge) for edge in self.edges[1:-1]]
        return np.searchsorted(joints, points[:, self.problem.time_axis], side="left")

    def joined(self, parts: Sequence[Ansatz]) -> Ansatz | PiecewiseAnsatz:
        """Return the solution that the windows so far make up."""
        if self.is_whole:
            return parts[0]
        assert self.problem.time_axis is not None
        return PiecewiseAnsatz(self.problem.time_axis, [float(edge) for edge in self.edges], parts)

    def budget(self, settings: Settings, index: int, seconds: float = 0.0, step: int = 0) -> Budget:
        """Return the budget of a window: of what the windows before it left, its share of the time that they left.

        Args:
            settings: time limit and steps of all windows together.
            index: of the window, from 0.
            seconds: used by the windows before.
            step: likewise.

        Raises:
            SettingsError: there are fewer steps than windows.
        """
        length, steps = self.ends[index + 1] - self.ends[index], settings.training.steps
        share = length / (1 - self.ends[index])
        if steps is not None and steps < self.count > 1 and not self.is_adaptive:
            raise SettingsError(f"training.steps = {steps} is too few for training.windows = {self.count}")
        least = LEAST_SHARE * float(length)
        if self.is_adaptive:
            share, least = min(SEARCH * share, Fraction(1)), max(least, LEAST_TURN)
        seconds_left = max((settings.time_limit - seconds) * float(share), least * settings.time_limit)
        until = None if steps is None else step + ceil((steps - step) * share)
        return Budget(seconds + seconds_left, until, spent=seconds, origin=(seconds, step))
