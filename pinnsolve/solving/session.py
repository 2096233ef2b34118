"""One solve, from a problem and settings to a solution, as a sequence of visible stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pinnsolve.derivatives import Differentiator
from pinnsolve.errors import DivergenceError
from pinnsolve.networks import Ansatz, activation
from pinnsolve.networks.piecewise import PiecewiseAnsatz
from pinnsolve.networks.smoothness import smoothness_note
from pinnsolve.problems import Problem
from pinnsolve.problems.formulation import formulated
from pinnsolve.problems.lint_growth import growth_notes
from pinnsolve.problems.lint_poles import pole_notes
from pinnsolve.problems.windows import States
from pinnsolve.references import ReferenceSolution, find_reference
from pinnsolve.solving.differentiation import WindowedJets
from pinnsolve.solving.end_states import end_states
from pinnsolve.solving.headway import Headway, adapts_from_the_start
from pinnsolve.solving.march import March, Window
from pinnsolve.solving.preparation import chosen_device, prepare_window
from pinnsolve.solving.progress import Progress
from pinnsolve.solving.settings import Settings
from pinnsolve.solving.step_control import UNSOLVED, StepControl
from pinnsolve.solving.watch import Monitor, Safeguard
from pinnsolve.training import Budget, Training
from pinnsolve.training.loop import CONVERGED, below

MARCH_GOAL = 1e-13  # held-out objective at which a window leaves the rest of its time to later ones
UNSOLVED_REASON = "stagnation: shorter windows of time are not solved either"
WINDOW = "window"  # begins what is said of one of them
WINDOW_SEED = 1_000_003  # from one window of time to the next


@dataclass
class Session:
    """A prepared solve: iterate over `train` to train, then make a `Solution` of it.

    Attributes:
        problem, settings: what is solved, and how.
        posed: the problem as it is trained, in the formulation that the settings name.
        device, dtype: where, and in which precision.
        march: the windows of time; one window for a problem that is solved as it is.
        windows: those begun; the last one is being trained.
        headway: tells whether windows are to be tried.
        control: tells how long they are, if they are adaptive.
        whole: all of time as one window, set aside when it made no headway; None if it was not.
        start: the state that the last window starts from; None in the first one.
        reference: the truth, if there is one.
        warnings: sentences that the user must see.
        history: recorded steps.
        seconds: time spent in training.
        residual_evaluations: residuals evaluated at points so far.
    """

    problem: Problem
    posed: Problem
    settings: Settings
    device: torch.device
    dtype: torch.dtype
    march: March
    windows: list[Window]
    headway: Headway
    control: StepControl
    reference: ReferenceSolution | None
    warnings: list[str]
    history: list[Progress] = field(default_factory=list)
    seconds: float = 0.0
    residual_evaluations: int = 0
    whole: Window | None = None
    start: States | None = None

    def train(self) -> Iterator[Progress]:
        """Train until the steps or the time are used up or nothing improves; yield recorded steps.

        Raises:
            DivergenceError: the loss left the finite numbers; the ansatz is back at its last finite state.
        """
        self.training.budget.start()
        yield from self._train_window()
        while self._goes_on():
            yield from self._train_window()
        self._keep_the_better()
        self.warnings += self._unsolved()

    @property
    def training(self) -> Training:
        """Training in the window under way; steps and seconds are counted from the first window on."""
        return self.windows[-1].training

    @property
    def ansatz(self) -> Ansatz | PiecewiseAnsatz:
        """The trial solution, of all windows so far."""
        return self.march.joined([window.ansatz for window in self.windows])

    @property
    def differentiator(self) -> Differentiator:
        """The maker of jets of the trial solution."""
        makers = tuple(window.differentiator for window in self.windows)
        return makers[0] if self.march.is_whole else WindowedJets(makers)

    @property
    def plan_reason(self) -> str:
        """Why the stages of training were chosen."""
        reason = self.windows[-1].plan_reason
        return reason if self.march.is_whole else f"{self.march.count} windows of time; {reason}"

    @property
    def gap(self) -> str:
        """What is said of the time that no window has reached; empty if there is none."""
        begun, count = len(self.windows), self.march.count
        if begun == count and self.march.reaches_the_end:
            return ""
        end = f"{self.problem.time} = {float(self.march.edges[begun]):g}"
        reached = f"{begun} windows" if self.march.is_adaptive else f"{begun} of {count} windows"
        return f"There is no solution beyond {end}: training reached {reached}. Values there are NaN."

    @property
    def leads(self) -> bool:
        """Whether this process, of all that train together, writes and prints."""
        return self.training.objective.workers.leads

    @property
    def reason(self) -> str:
        """Why training ended; empty while it goes on."""
        reason = self.training.reason
        return UNSOLVED_REASON if reason == CONVERGED and self._unsolved() else reason

    @property
    def parameters(self) -> int:
        """The number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.ansatz.parameters())

    @property
    def collocation(self) -> NDArray[np.float64]:
        """The interior points of the last step in each window, (N, d)."""
        return np.concatenate([window.collocation for window in self.windows])

    def adopt_best(self) -> None:
        """Put the network with the least held-out objective into the ansatz of the window under way."""
        self.training.adopt_best()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and plain values from which `restore` goes on, bit for bit."""
        tensors, under_way = self.windows[-1].state()
        finished = []
        for index, (window, later) in enumerate(zip(self.windows, self.windows[1:], strict=False)):
            tensors |= {f"windows.{index}.{name}": value for name, value in window.tensors().items()}
            about = {"network": window.ansatz.network.description(), "held_out": window.training.best_held_out}
            finished.append(about | {"end": later.training.budget.origin})
        whole = None
        if self.whole is not None:
            own, whole = self.whole.state()
            tensors |= {f"whole.{name}": value for name, value in own.items()}
        return tensors, {
            **under_way,
            "headway": self.headway.state(),
            "ends": [str(end) for end in self.march.ends],
            "is_adaptive": self.march.is_adaptive,
            "control": self.control.state(),
            "march_origin": self.windows[0].training.budget.origin,
            "whole": whole,
            "windows": finished,
            "residual_evaluations": self.residual_evaluations,
        }

    def restore(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on where the session stood that these tensors and values were taken from."""
        moved = {name: tensor.to(self.device) for name, tensor in tensors.items()}
        self.headway.restore(values["headway"])
        if values["whole"] is not None:
            self.whole = self.windows[0]
            self.whole.restore(step, below("whole.", moved), values["whole"])
            self.whole.training.adopt_best()
        self.control.restore(values["control"])
        march = March(self.posed, tuple(Fraction(end) for end in values["ends"]), bool(values["is_adaptive"]))
        if (march.ends, march.is_adaptive) != (self.march.ends, self.march.is_adaptive):
            self.march = march
            self._replace_window(tuple(values["march_origin"]), None)
        for index, finished in enumerate(values["windows"]):
            tensors_of_it = below(f"windows.{index}.", moved)
            self.windows[-1].restore_finished(finished["network"], tensors_of_it, float(finished["held_out"]))
            self._begin_window(tuple(finished["end"]))
        self.windows[-1].restore(step, moved, values)
        self.seconds = self.training.budget.spent
        self.residual_evaluations = int(values["residual_evaluations"])

    def _goes_on(self) -> bool:
        """Prepare what is to be trained next; return whether there is anything."""
        training, now = self.training, (self.training.budget.elapsed, self.training.step)
        if self.headway.is_given_up(self.march, training):
            self._begin_march(now)
        elif self.march.is_adaptive and self.control.asks(self.windows[-1]):
            return self._after_features(now)
        elif len(self.windows) < self.march.count or not self.march.reaches_the_end:
            self._begin_window()
        else:
            return False
        return True

    def _after_features(self, now: tuple[float, int]) -> bool:
        """Halve the window, go on to the next one, or to the next stage of this one, as its features ask for."""
        training, window = self.training, self.windows[-1]
        if self.control.halves(self.march, window):
            if self.whole is not None and self.control.is_hopeless(self.march, window):
                self._return_to(self.whole, now)
            else:
                self._halve(now)
        elif training.is_paused and training.best_held_out > UNSOLVED:
            pass  # training goes on with its next stage
        elif self.march.reaches_the_end:
            training.reason = training.reason or _why_features_end(training)
            return False
        else:
            self._begin_window()
        return True

    def _train_window(self) -> Iterator[Progress]:
        window = self.windows[-1]
        number = self._window_number
        equations = tuple(equation.name for equation in self.posed.equations)
        monitor = Monitor(self.march, self.reference, [each.ansatz for each in self.windows])
        safeguard = Safeguard(window.ansatz)
        try:
            for step in window.training:
                safeguard.advance()
                self.residual_evaluations += step.evaluations
                self.seconds = window.training.budget.elapsed
                if step.recorded:
                    progress = Progress(
                        step, self.seconds, monitor.error(), number, equations, self.residual_evaluations
                    )
                    self.history.append(progress)
                    yield progress
                if self.headway.is_given_up(self.march, window.training):
                    break
        except DivergenceError:
            safeguard.restore()
            window.training.reason = "divergence"
            raise
        window.training.adopt_best()

    @property
    def _window_number(self) -> int | None:
        """The number of the window under way, 0 for all of time before a march; None where there is none to come."""
        if self.march.is_adaptive or not self.march.is_whole:
            return len(self.windows)
        return 0 if self.headway.may_march else None

    def _begin_march(self, origin: tuple[float, int]) -> None:
        """Start anew, in adaptive windows of time, after so many seconds and steps."""
        self.whole = self.windows[0]
        self.march = March.adaptive(self.posed, self.control.first_length)
        self._replace_window(origin, None)

    def _return_to(self, whole: Window, now: tuple[float, int]) -> None:
        """Go on with all of time at once, from where that was left, after so many seconds and steps."""
        reached = f"{self.problem.time} = {float(self.march.edges[len(self.windows) - 1]):.4g}"
        self._drop_windows(
            whole,
            f"windows of time were tried up to {reached}: too short to reach the end in time, so all of it at once",
        )
        seconds, whole.training.step = now
        whole.training.budget = replace(whole.training.budget, spent=seconds)
        whole.training.budget.start()
        self.headway.is_decided = True

    def _drop_windows(self, whole: Window, why: str) -> None:
        """Put all of time at once into the place of the windows, and of what was said of them."""
        self.warnings = [*(text for text in self.warnings if not text.startswith(WINDOW)), why]
        self.windows, self.march, self.whole, self.start = [whole], March(self.posed), None, None

    def _halve(self, origin: tuple[float, int]) -> None:
        """Start the window under way anew, with half its length."""
        self.march = self.march.shortened()
        self._replace_window(origin, self.start)

    def _replace_window(self, origin: tuple[float, int], start: States | None) -> None:
        """Prepare the last window of the march anew.

        Args:
            origin: seconds and steps used so far.
            start: the state that it starts from; None in the first window.
        """
        *finished, replaced = self.windows
        budget = self.march.budget(self.settings, len(finished), *origin)
        window = self._prepared(len(finished), start, budget)
        if finished:
            window.training.trained.load_state_dict(replaced.training.trained.state_dict())
        self._admit(window, origin[1])
        budget.start()
        self.windows = [*finished, window]

    def _admit(self, window: Window, step: int) -> None:
        """Count a window's steps from here, and say what is enough for it."""
        window.training.step = step
        if self.march.is_adaptive:
            window.training.goal = self.control.goal
        elif len(self.windows) + 1 < self.march.count:
            window.training.goal = MARCH_GOAL  # the time that is left helps the windows to come more

    def _prepared(self, index: int, states: States | None, budget: Budget) -> Window:
        """Return a window that is ready to train, from its initial state."""
        problem, seed = self.march.problem_of(index, states), self.settings.seed + WINDOW_SEED * index
        features = self.control.features(self.march, budget.elapsed) if self.march.is_adaptive else None
        return prepare_window(problem, self.settings, seed, budget, features)

    def _keep_the_better(self) -> None:
        """Return to all of time at once if that leaves the smaller residual at most points after all.

        A march that goes astray late has a large mean, and is right up to there.
        """
        if self.whole is None:
            return
        objective, points = self.whole.training.objective, self.whole.training.held_out
        marched = replace(objective, fields=self.ansatz, differentiator=self.differentiator)
        if objective.typical_residual(points) < marched.typical_residual(points):
            self.whole.training.step, self.whole.training.reason = self.training.step, self.training.reason
            why = f"{self.march.count} windows of time were tried and left a larger residual than all of it at once"
            self._drop_windows(self.whole, why)

    def _unsolved(self) -> list[str]:
        """Return what is to be said of adaptive windows that are not solved: nothing after the first can be trusted."""
        bad = [k for k, window in enumerate(self.windows) if window.training.best_held_out > UNSOLVED]
        if not (self.march.is_adaptive and bad):
            return []
        start = f"{self.problem.time} = {float(self.march.edges[bad[0]]):.6g}"
        return [
            f"The solution cannot be trusted from {start} on: {len(bad)} of {len(self.windows)} windows of time are "
            "not solved; a singularity, a jump, chaos, or too little time (--time-limit)"
        ]

    def _begin_window(self, origin: tuple[float, int] | None = None) -> None:
        """Prepare the next window, from the end of the one before and its network.

        Args:
            origin: seconds and steps used when its training began, of a session that is restored.
        """
        index, before = len(self.windows), self.windows[-1]
        if index == self.march.count:
            self.march = self.march.extended(self.control.next_length(self.march, before))
        self.start, notes = end_states(before, index)
        window = self._prepared(index, self.start, before.training.budget)
        # features of a solution serve its continuation: ten times less error than fresh weights on kdv
        window.training.trained.load_state_dict(before.training.trained.state_dict())
        seconds, step = origin or (before.training.budget.elapsed, before.training.step)
        budget = self.march.budget(self.settings, index, seconds, step)  # shared out now: preparation took time
        window.training.budget = replace(budget, workers=before.training.budget.workers)
        self._admit(window, step)
        self.windows.append(window)
        self.warnings += [f"{WINDOW} {index + 1}: {note}" for note in [*notes, *window.notes]]


def _why_features_end(training: Training) -> str:
    if training.is_converged:
        return CONVERGED
    return "stagnation: more features lower the residual no further"


def _first_march(problem: Problem, settings: Settings, control: StepControl) -> March:
    """Return the windows to begin with: as many as were asked for, adaptive ones, or all of time.

    Raises:
        SettingsError: adaptive windows are asked for with an engine, optimizer or precision that has no features.
    """
    if adapts_from_the_start(problem, settings):
        return March.adaptive(problem, control.first_length)
    return March.equal(problem, settings.window_count)


def prepare(
    problem: Problem, settings: Settings, find: Callable[[Problem], ReferenceSolution | None] = find_reference
) -> Session:
    """Return a session that is ready to train.

    Args:
        problem: what to solve.
        settings: how.
        find: gives the truth; called last, since it may take a minute that a wrong setting shall not cost.
    """
    phi = activation(settings.network.trained_activation, settings.network.alpha)
    posed = formulated(problem, settings.formulation)
    warning = smoothness_note(posed, phi, allow_rough=settings.allow_rough)
    control = StepControl.of(posed, settings)
    march = _first_march(posed, settings, control)
    features = control.features(march, 0.0) if march.is_adaptive else None
    first = prepare_window(march.problem_of(0, None), settings, settings.seed, march.budget(settings, 0), features)
    first.training.goal = control.goal if march.is_adaptive else first.training.goal
    return Session(
        problem=problem,
        posed=posed,
        settings=settings,
        device=chosen_device(settings.device),
        dtype=getattr(torch, settings.precision),
        march=march,
        windows=[first],
        headway=Headway.of(posed, settings),
        control=control,
        reference=find(problem),
        warnings=[note for note in (warning, *first.notes, *pole_notes(problem), *growth_notes(problem)) if note],
    )
