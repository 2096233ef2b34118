"""Windows of time: what is solved in each of them, and with which share of the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that `restore` needs once the window is finished."""
        tensors = {f"network.{name}": value for name, value in self.ansatz.network.state_dict().items()}
        return tensors | {f"collocation.{index}": points for index, points in enumerate(self.training.collocation)}

    def restore(self, network: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
        """Take over the network of this description, and the collocation points, of a finished window."""
        self.ansatz.network = self.ansatz.network.described(network)
        self.ansatz.network.load_state_dict(below("network.", tensors))
        points = below("collocation.", tensors)
        self.training.collocation = [points[str(index)] for index in range(len(points))]


@dataclass(frozen=True)
class March:
    """The windows of time that a problem is solved in, one after the other.

    Attributes:
        problem: on all of its time.
        count: the number of windows; with one window, the problem is solved as it is.

    Raises:
        SettingsError: the problem cannot be marched.
    """

    problem: Problem
    count: int

    def __post_init__(self) -> None:
        if self.count > 1:
            refuse_windows(self.problem)

    @cached_property
    def edges(self) -> list[sympy.Expr]:
        """The ends of the windows, exact."""
        return time_edges(self.problem, self.count)

    def problem_of(self, index: int, states: States | None) -> Problem:
        """Return what is solved in one window, from the end states of the window before."""
        if self.count == 1:
            return self.problem
        return problem_in_window(self.problem, (self.edges[index], self.edges[index + 1]), states)

    def window_of(self, points: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the index (N,) of the window that each point lies in; a joint belongs to the window it ends."""
        if self.count == 1:
            return np.zeros(len(points), dtype=np.intp)
        joints = [float(edge) for edge in self.edges[1:-1]]
        return np.searchsorted(joints, points[:, self.problem.time_axis], side="left")

    def joined(self, parts: Sequence[Ansatz]) -> Ansatz | PiecewiseAnsatz:
        """Return the solution that the windows so far make up."""
        if self.count == 1:
            return parts[0]
        assert self.problem.time_axis is not None
        return PiecewiseAnsatz(self.problem.time_axis, [float(edge) for edge in self.edges], parts)

    def budget(self, settings: Settings, index: int, seconds: float = 0.0, step: int = 0) -> Budget:
        """Return the budget of a window: an even share of what the windows before it left.

        Args:
            settings: time limit and steps of all windows together.
            index: of the window, from 0.
            seconds: used by the windows before.
            step: likewise.

        Raises:
            SettingsError: there are fewer steps than windows.
        """
        left, steps = self.count - index, settings.training.steps
        if steps is not None and steps < self.count > 1:
            raise SettingsError(f"training.steps = {steps} is too few for training.windows = {self.count}")
        share = max((settings.time_limit - seconds) / left, LEAST_SHARE * settings.time_limit / self.count)
        until = None if steps is None else step + -(-(steps - step) // left)
        return Budget(seconds + share, until, spent=seconds, origin=(seconds, step))
