"""Stages of training in which DeepXDE's own optimizers train its own model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import torch
from torch import Tensor

from pinnsolve.errors import SettingsError
from pinnsolve.networks import Ansatz, Constraints
from pinnsolve.problems import Problem
from pinnsolve.solving.deepxde.containment import contained
from pinnsolve.solving.deepxde.model import PeerModel, build_model
from pinnsolve.solving.deepxde.recipes import RECIPES, Recipe
from pinnsolve.solving.settings import Settings
from pinnsolve.training import StepResult, Training
from pinnsolve.training.first_order import packed, unpacked
from pinnsolve.training.loop import below
from pinnsolve.training.workers import Workers

CALL_SECONDS = 0.5  # of one call of DeepXDE, between two looks at the clock
FEWEST, MOST = 10, 1000  # iterations of one call; each call evaluates the losses four times more
UNLIMITED = 10**9
# DeepXDE's names. Its "L-BFGS-B", which the documentation of other backends uses, trains no step at all on PyTorch.
OPTIMIZERS = {"adam": "adam", "lbfgs": "L-BFGS"}


@dataclass
class PeerStage:
    """Iterations of one of DeepXDE's optimizers.

    Attributes:
        name: "adam" or "lbfgs".
        model: makes the model, once for all stages, when the first of them starts.
        most: iterations of this stage at most.
        done: iterations so far.
    """

    name: str
    model: Callable[[], PeerModel]
    most: float = inf
    done: int = 0
    _rate: float = 0.0  # iterations per second
    _started: bool = False
    _pending: tuple[dict[str, Tensor], dict[str, Any]] = field(default_factory=lambda: ({}, {}))

    def steps(self, training: Training) -> Iterator[StepResult]:
        """Take iterations, some at a time, until there are enough or the optimizer takes no step any more."""
        with training.budget.paused():  # importing DeepXDE takes seconds
            peer = self._start()
        is_fresh = not self.done
        while self.done < self.most:
            asked = self._asked(training)
            before = peer.evaluations[0]
            made = self._advance(peer, asked)
            self.done += made
            network = training.trained
            peer.hand_over(network)  # type: ignore[arg-type]  # a perceptron: `build_model` has refused all others
            training.collocation = peer.collocation
            losses = peer.model.train_state.loss_train.tolist()
            terms = dict(zip(training.objective.names, losses, strict=True))
            yield StepResult(terms, evaluations=peer.evaluations[0] - before, iterations=made)
            if self.name == "lbfgs" and made < min(2, asked):
                if is_fresh or not peer.recipe.restarts:
                    return
                self._compile(peer)
                is_fresh = True
            else:
                is_fresh = False

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the weights of DeepXDE's network and its optimizer's state."""
        if not self._started:
            return self._pending
        peer = self.model()
        tensors = {f"net.{name}": value for name, value in peer.model.net.state_dict().items()}
        values = packed(peer.model.opt.state_dict(), "optimizer", tensors)
        return tensors, {"optimizer": values, "done": self.done}

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on where another stage of the same name stood; DeepXDE is not loaded before training goes on."""
        self._pending = tensors, values
        self.done = int(values.get("done", 0))

    def _start(self) -> PeerModel:
        peer = self.model()
        tensors, values = self._pending
        if tensors:
            peer.model.net.load_state_dict(below("net.", tensors))
        if not self._started:
            self._compile(peer)
            if values:
                state = unpacked(values["optimizer"], tensors)
                state["state"] = {int(index): entry for index, entry in state["state"].items()}
                peer.model.opt.load_state_dict(state)
        self._started, self._pending = True, ({}, {})
        return peer

    def _compile(self, peer: PeerModel) -> None:
        with _contained(peer) as dde:
            if self.name == "lbfgs":
                dde.optimizers.set_LBFGS_options(ftol=0, gtol=peer.recipe.gradient_tolerance, maxiter=UNLIMITED)
            options = {"lr": peer.recipe.learning_rate} if self.name == "adam" else {}
            peer.model.compile(OPTIMIZERS[self.name], loss_weights=peer.weights, verbose=0, **options)

    def _asked(self, training: Training) -> int:
        """Return how many iterations to ask for: half a second of them, and no more than are left."""
        count = min(max(int(CALL_SECONDS * self._rate), FEWEST), MOST)
        if self._rate:
            count = int(min(count, max(training.budget.left * self._rate, 1)))
        steps = training.budget.steps
        left = self.most - self.done if steps is None else min(self.most - self.done, steps - training.step)
        return int(min(count, left))

    def _advance(self, peer: PeerModel, count: int) -> int:
        """Let the optimizer take so many iterations; return how many it has taken."""
        began = time.perf_counter()
        before = _iterations(peer.model.opt)
        with _contained(peer) as dde:
            if self.name == "adam":
                peer.model.train(iterations=count, display_every=UNLIMITED, verbose=0)
                made = count
            else:
                peer.model.opt.param_groups[0].update(max_iter=count, max_eval=max(count * 5 // 4, 2))
                peer.model.train(callbacks=[_single_call(dde)], verbose=0)
                made = _iterations(peer.model.opt) - before
        self._rate = max(made, 1) / max(time.perf_counter() - began, 1e-9)
        return made


def deepxde_plan(
    problem: Problem, ansatz: Ansatz, constraints: Constraints, settings: Settings, seed: int, workers: Workers
) -> tuple[list[PeerStage], str]:
    """Return the stages of a recipe, and a sentence that says what they are.

    Raises:
        SettingsError: the optimizer is none of DeepXDE's, derivatives are not its own, or several processes train.
    """
    if workers.count > 1:
        raise SettingsError(f"engine deepxde trains in one process, got {workers.count}; start it without torchrun")
    chosen = settings.training
    if chosen.optimizer not in ("auto", *OPTIMIZERS):
        raise SettingsError(f"engine deepxde has no optimizer {chosen.optimizer!r}; known: auto, adam, lbfgs")
    if settings.derivatives in ("fd", "coupled"):
        kind = settings.derivatives
        raise SettingsError(
            f"engine deepxde differentiates by its own autograd; derivatives = {kind} needs engine = native"
        )
    recipe = chosen_recipe(settings)
    weight = recipe.condition_weight if isinstance(chosen.balance, str) else chosen.balance
    made: list[PeerModel] = []

    def model() -> PeerModel:
        if not made:
            made.append(
                build_model(
                    problem,
                    ansatz,
                    constraints.soft,
                    recipe,
                    initialization=settings.network.initialization,
                    condition_weight=weight,
                    seed=seed,
                )
            )
        return made[0]

    adam = PeerStage("adam", model, recipe.adam_steps if chosen.optimizer == "auto" else inf)
    lbfgs = PeerStage("lbfgs", model, inf if recipe.lbfgs_steps is None else recipe.lbfgs_steps)
    stages = {"auto": [adam, lbfgs], "adam": [adam], "lbfgs": [lbfgs]}[chosen.optimizer]
    names = " then ".join(stage.name for stage in stages)
    return stages, f"DeepXDE's {names} on {recipe.points} fixed points, recipe {settings.deepxde.recipe!r}"


def chosen_recipe(settings: Settings) -> Recipe:
    """Return the recipe with the points and the learning rate that the settings name."""
    recipe, training = RECIPES[settings.deepxde.recipe], settings.training
    recipe = replace(recipe, builds_in=settings.constraint_mode != "soft")
    return replace(
        recipe,
        points=training.points or recipe.points,
        learning_rate=training.learning_rate or recipe.learning_rate,
    )


def _contained(peer: PeerModel) -> Any:
    weight = peer.linears[0].weight
    return contained(str(weight.dtype).removeprefix("torch."), weight.device)


def _iterations(optimizer: torch.optim.Optimizer) -> int:
    """Return the iterations of L-BFGS since it was compiled; 0 for other optimizers."""
    counts = [int(entry["n_iter"]) for entry in optimizer.state.values() if "n_iter" in entry]
    return counts[0] if counts else 0


def _single_call(dde: Any) -> Any:
    """Return the callback that ends DeepXDE's loop over calls of L-BFGS after the first one."""

    class SingleCall(dde.callbacks.Callback):
        def on_batch_end(self) -> None:
            self.model.stop_training = True

    return SingleCall()
