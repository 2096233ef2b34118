"""DeepXDE's best recipe on one problem, in a process of its own.

    python benchmarks/peer.py burgers --time-limit 60 --seed 0 --output result.json

float64 on PyTorch, conditions built in by an output transform where they have a closed form, 3 × 20 tanh,
Glorot normal, 4,096 Sobol points, Adam (1e-3) for 2,000 steps, then L-BFGS (ftol 0, gtol 0) to the time limit,
with a fresh memory whenever it stops by itself. The error against the reference of pinnsolve is measured about
every second, on the points where `pinnsolve solve` measures its own, with the clock stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from curves import ErrorCurve
from numpy.typing import NDArray
from peer_problems import PROBLEMS, PeerProblem

from pinnsolve.evaluation import evaluation_points, relative_l2, scattered_points
from pinnsolve.problems import Problem, load_problem
from pinnsolve.references import find_reference

MONITOR_POINTS = 2**11  # as in pinnsolve's own history
SAMPLE_SECONDS = 1.0
# of L-BFGS in one call, between two looks at the clock; each call evaluates the loss once more than it iterates
LEAST_ITERATIONS, MOST_ITERATIONS = 25, 1000
UNLIMITED = 10**9


@dataclass(frozen=True)
class Recipe:
    """How the peer trains.

    Attributes:
        points: collocation points, a fixed set.
        boundary_points, boundary_weight: of a soft condition.
        width, depth: hidden layers, tanh.
        adam_steps, learning_rate: before L-BFGS.
    """

    points: int = 4096
    boundary_points: int = 1024
    boundary_weight: float = 100.0
    width: int = 20
    depth: int = 3
    adam_steps: int = 2000
    learning_rate: float = 1e-3


@dataclass
class Clock:
    """Seconds of training: those that pass, without those spent in measuring."""

    limit: float
    _paused: float = 0.0
    _started: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._started - self._paused

    @property
    def is_over(self) -> bool:
        """Whether the time limit is reached."""
        return self.seconds >= self.limit

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the time inside the block."""
        began = time.perf_counter()
        yield
        self._paused += time.perf_counter() - began


@dataclass(frozen=True)
class Truth:
    """The reference on the points where errors are measured: a few while training goes on, the grid at its end."""

    monitor: tuple[NDArray[np.float64], NDArray[np.float64]]
    grid: tuple[NDArray[np.float64], NDArray[np.float64]]
    own_error: float

    @classmethod
    def of(cls, problem: Problem) -> Truth:
        """Return the values of a problem's reference."""
        reference, (name,) = find_reference(problem), problem.field_names
        if reference is None:
            raise ValueError(f"{problem.name} has no reference to measure the error against")
        places = scattered_points(problem, MONITOR_POINTS), evaluation_points(problem).points
        monitor, grid = ((points, reference(points)[name]) for points in places)
        return cls(monitor, grid, float(reference.errors[name]))


@dataclass
class Peer:
    """A DeepXDE model under training.

    Attributes:
        dde: DeepXDE.
        model: its model.
        weights: of the losses.
        evaluations: a list of one number, the residuals evaluated at points so far.
    """

    dde: ModuleType
    model: Any
    weights: list[float]
    evaluations: list[int]

    def train(self, recipe: Recipe, truth: Truth, limit: float) -> tuple[Clock, ErrorCurve]:
        """Train until the time limit, or until a fresh L-BFGS takes no step; return the clock and the errors."""
        self._compile("adam", lr=recipe.learning_rate)  # loads modules of torch: none of the clock's business
        clock, samples = Clock(limit), []

        def sample() -> None:
            with clock.paused():
                samples.append((clock.seconds, self.error(*truth.monitor), float(self.evaluations[0])))

        monitor = _monitor(self.dde, clock, sample)
        self._run(monitor, iterations=recipe.adam_steps, display_every=UNLIMITED)
        while not (clock.is_over or self.model.stop_training):
            before = self.model.train_state.iteration
            self._compile("L-BFGS")
            self._run(monitor)
            if self.model.train_state.iteration == before:
                break
        sample()
        return clock, ErrorCurve(*map(tuple, zip(*samples, strict=True)))

    def error(self, points: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
        """Return the relative L2 error of the model as it is."""
        with torch.no_grad():
            parts = [self.model.net(part)[:, 0].numpy() for part in torch.as_tensor(points).split(2**14)]
        return relative_l2(np.concatenate(parts), truth)

    def _compile(self, optimizer: str, **options: Any) -> None:
        self.model.compile(optimizer, loss_weights=self.weights, verbose=0, **options)

    def _run(self, monitor: Any, **options: Any) -> None:
        self.model.train(callbacks=[monitor], verbose=0, **options)


def deepxde() -> ModuleType:
    """Return DeepXDE, on PyTorch and in float64."""
    os.environ["DDE_BACKEND"] = "pytorch"
    dde = import_module("deepxde")
    dde.config.set_default_float("float64")
    dde.optimizers.set_LBFGS_options(ftol=0, gtol=0, maxiter=UNLIMITED)
    # the callbacks run between calls of the optimizer, by default once in 1,000 iterations
    options = dde.optimizers.config.LBFGS_options
    options["iter_per_step"], options["fun_per_step"] = LEAST_ITERATIONS, LEAST_ITERATIONS * 5 // 4
    return dde


def build(dde: ModuleType, definition: PeerProblem, recipe: Recipe, seed: int) -> Peer:
    """Return the untrained model of a problem."""
    dde.config.set_random_seed(seed)
    evaluations = [0]

    def counted(x: Any, u: Any) -> Any:
        evaluations[0] += len(x)
        return definition.residual(x, u)

    soft, points = [], {"num_domain": recipe.points, "train_distribution": "Sobol"}
    if definition.boundary is not None:
        given = definition.boundary
        soft = [
            dde.icbc.DirichletBC(
                definition.geometry,
                lambda x: given(torch.as_tensor(x)).numpy(),
                lambda _, on_boundary: on_boundary,
            )
        ]
        points["num_boundary"] = recipe.boundary_points
    is_timed = isinstance(definition.geometry, dde.geometry.GeometryXTime)
    data = (dde.data.TimePDE if is_timed else dde.data.PDE)(definition.geometry, counted, soft, **points)
    net = dde.nn.FNN([definition.inputs] + [recipe.width] * recipe.depth + [1], "tanh", "Glorot normal")
    if definition.features is not None:
        net.apply_feature_transform(definition.features)
    if definition.transform is not None:
        net.apply_output_transform(definition.transform)
    return Peer(dde, dde.Model(data, net), [1.0] + [recipe.boundary_weight] * len(soft), evaluations)


def solve(name: str, limit: float, seed: int, recipe: Recipe) -> dict[str, Any]:
    """Train the peer on a problem and return its row."""
    truth = Truth.of(load_problem(name))
    dde = deepxde()
    peer = build(dde, PROBLEMS[name](dde), recipe, seed)
    clock, curve = peer.train(recipe, truth, limit)
    seconds = clock.seconds
    error = peer.error(*truth.grid)
    return {
        "relative_l2": error,
        "reference_error": truth.own_error,
        "status": "finished" if math.isfinite(error) else "diverged",
        "reason": "time limit" if seconds >= limit else "stagnation: L-BFGS takes no step",
        "seconds": seconds,
        "steps": peer.model.train_state.iteration,
        "residual_evaluations": peer.evaluations[0],
        "parameters": sum(parameter.numel() for parameter in peer.model.net.parameters()),
        "threads": torch.get_num_threads(),
        **curve.record(),
    }


def _monitor(dde: ModuleType, clock: Clock, sample: Callable[[], None]) -> Any:
    """Return the callback that samples the error about every second and stops training when time is up."""

    class Monitor(dde.callbacks.Callback):  # type: ignore[name-defined]
        sampled = began = -1.0

        def on_batch_begin(self) -> None:
            self.began = clock.seconds

        def on_batch_end(self) -> None:
            self.resize_calls(clock.seconds - self.began)
            if clock.seconds - self.sampled >= SAMPLE_SECONDS:
                sample()
                self.sampled = clock.seconds
            if clock.is_over:
                self.model.stop_training = True

        def resize_calls(self, seconds: float) -> None:
            """Give the next call of L-BFGS as many iterations as take a second."""
            group = self.model.opt.param_groups[0]
            if "max_iter" in group:
                fitting = int(group["max_iter"] * SAMPLE_SECONDS / max(seconds, 1e-9))
                group["max_iter"] = min(max(fitting, LEAST_ITERATIONS), MOST_ITERATIONS)
                group["max_eval"] = group["max_iter"] * 5 // 4

    return Monitor()


def main() -> None:
    """Solve one problem and write its row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", choices=sorted(PROBLEMS))
    parser.add_argument("--time-limit", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--points", type=int, default=Recipe.points)
    parser.add_argument("--adam-steps", type=int, default=Recipe.adam_steps)
    parser.add_argument("--output", type=Path, help="where the result goes; stdout if not given")
    arguments = parser.parse_args()
    recipe = Recipe(points=arguments.points, adam_steps=arguments.adam_steps)
    result = solve(arguments.problem, arguments.time_limit, arguments.seed, recipe)
    text = json.dumps(result, indent=1)
    arguments.output.write_text(text) if arguments.output else print(text)


if __name__ == "__main__":
    main()
