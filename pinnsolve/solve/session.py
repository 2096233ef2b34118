"""One solve, from a problem and settings to a solution, as a sequence of visible stages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pinnsolve.derivatives import Differentiator, autograd, taylor
from pinnsolve.errors import DivergenceError, ResourceError
from pinnsolve.evaluation import field_values, relative_l2, scattered_points
from pinnsolve.networks import (
    Ansatz,
    Constraints,
    InputFeatures,
    MultilayerPerceptron,
    activation,
    derive_constraints,
    output_scales,
)
from pinnsolve.networks.smoothness import smoothness_note
from pinnsolve.problems import Problem
from pinnsolve.references import ReferenceSolution, find_reference
from pinnsolve.solve.settings import Settings
from pinnsolve.training import Training, TrainingStep, build_objective, choose_optimizer

MONITOR_POINTS = 2**11
_TAYLOR_TOLERANCE = 1e-9  # relative; float64 roundoff of order 4 is about 1e-12, a wrong rule is of order 1


@dataclass(frozen=True)
class Progress:
    """One recorded step: what training did, when, and how far the solution is from the reference."""

    training: TrainingStep
    seconds: float
    error: float | None

    def row(self) -> dict[str, Any]:
        """Return the step as a row of history.csv."""
        step = self.training
        row: dict[str, Any] = {"step": step.step, "seconds": round(self.seconds, 4), "stage": step.stage}
        row |= {"loss": step.loss, "error": self.error}
        return row | step.terms | {"damping": step.damping, "points": step.points}


@dataclass
class Session:
    """A prepared solve: iterate over `train` to train, then make a `Solution` of it.

    Attributes:
        problem, settings: what is solved, and how.
        device, dtype: where, and in which precision.
        constraints: which conditions are built in.
        ansatz: the trial solution.
        differentiator: the maker of jets in training.
        training: optimizer, points, the step reached.
        reference: the truth, if there is one.
        warnings: sentences that the user must see.
        history: recorded steps.
        seconds: time spent in training.
        residual_evaluations: residuals evaluated at points so far.
        reason: why training ended.
    """

    problem: Problem
    settings: Settings
    device: torch.device
    dtype: torch.dtype
    constraints: Constraints
    ansatz: Ansatz
    differentiator: Differentiator
    training: Training
    reference: ReferenceSolution | None
    warnings: list[str]
    history: list[Progress] = field(default_factory=list)
    seconds: float = 0.0
    residual_evaluations: int = 0
    reason: str = ""

    def train(self) -> Iterator[Progress]:
        """Train until the steps or the time are used up or nothing improves; yield recorded steps.

        Raises:
            DivergenceError: the loss left the finite numbers; the ansatz is back at its last finite state.
        """
        started = time.monotonic() - self.seconds
        monitor, safeguard = _Monitor(self), _Safeguard(self.ansatz)
        steps = iter(self.training)
        while self.seconds < self.settings.time_limit:
            try:
                step = next(steps, None)
            except DivergenceError:
                safeguard.restore()
                self.reason = "divergence"
                raise
            if step is None:
                self.reason = "steps"
                return
            safeguard.advance()
            self.residual_evaluations += step.evaluations
            self.seconds = time.monotonic() - started
            if step.step % self.training.optimizer.record == 0 or step.step == 1:
                progress = Progress(step, self.seconds, monitor.error())
                self.history.append(progress)
                yield progress
            if step.stagnated:
                self.reason = "stagnation: no damping gives a better step"
                return
        self.reason = "time limit"

    @property
    def parameters(self) -> int:
        """The number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.ansatz.parameters())

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and plain values from which `restore` goes on, bit for bit."""
        tensors = {f"ansatz.{name}": value for name, value in self.ansatz.state_dict().items()}
        own, values = self.training.optimizer.state()
        tensors |= {f"optimizer.{name}": value for name, value in own.items()}
        tensors["generator"] = self.training.generator.get_state()
        tensors |= {f"collocation.{i}": points for i, points in enumerate(self.training.collocation)}
        samplers = [block.sampler.state() for block in self.training.objective.blocks]
        return tensors, {
            "optimizer": values,
            "samplers": samplers,
            "seconds": self.seconds,
            "residual_evaluations": self.residual_evaluations,
            "training": self.training.counters(),
        }

    def restore(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on where the session stood that these tensors and values were taken from."""
        moved = {name: tensor.to(self.device) for name, tensor in tensors.items() if name != "generator"}
        self.ansatz.load_state_dict(_below("ansatz.", moved))
        self.training.optimizer.restore(_below("optimizer.", moved), values["optimizer"])
        self.training.generator.set_state(tensors["generator"])
        points = _below("collocation.", moved)
        self.training.collocation = [points[str(index)] for index in range(len(points))]
        for block, state in zip(self.training.objective.blocks, values["samplers"], strict=True):
            block.sampler.restore(state)
        self.training.set_counters(step, values["training"])
        self.seconds, self.residual_evaluations = values["seconds"], values["residual_evaluations"]


def prepare(problem: Problem, settings: Settings, reference: ReferenceSolution | None = None) -> Session:
    """Return a session that is ready to train.

    Args:
        problem: what to solve.
        settings: how.
        reference: the truth; found from the problem if None.
    """
    device, dtype = _device(settings.device), getattr(torch, settings.precision)
    phi = activation(settings.network.activation, settings.network.alpha)
    warnings = [smoothness_note(problem, phi, allow_rough=settings.allow_rough)]
    generator = Generator().manual_seed(settings.seed)
    constraints = derive_constraints(problem, settings.constraints)
    ansatz = build_ansatz(problem, settings, constraints, generator).to(device)
    differentiator, layerwise, fault = _differentiator(problem, settings, ansatz)
    objective = build_objective(
        problem,
        ansatz,
        differentiator,
        constraints.soft,
        field_scales=dict(zip(problem.field_names, ansatz.scales, strict=True)),
        condition_weight=settings.training.balance,
        seed=settings.seed,
        dtype=dtype,
        device=device,
    )
    optimizer = choose_optimizer(objective, ansatz, settings.training, layerwise)
    return Session(
        problem=problem,
        settings=settings,
        device=device,
        dtype=dtype,
        constraints=constraints,
        ansatz=ansatz,
        differentiator=differentiator,
        training=Training(ansatz, objective, optimizer, settings.training, generator),
        reference=reference if reference is not None else find_reference(problem),
        warnings=[sentence for sentence in (*warnings, *constraints.notes, fault) if sentence],
    )


def build_ansatz(problem: Problem, settings: Settings, constraints: Constraints, generator: Generator) -> Ansatz:
    """Return the untrained trial solution, on the CPU."""
    dtype = getattr(torch, settings.precision)
    features = InputFeatures(problem, settings.network.fourier, dtype)
    network = MultilayerPerceptron(
        features.size,
        len(problem.fields),
        width=settings.network.width,
        depth=settings.network.depth,
        activation=activation(settings.network.activation, settings.network.alpha),
        initialization=settings.network.initialization,
        generator=generator,
        dtype=dtype,
    )
    return Ansatz(problem, constraints, features, network, output_scales(problem))


class _Monitor:
    """The error against the reference on a few fixed points."""

    def __init__(self, session: Session) -> None:
        self._ansatz: nn.Module = session.ansatz
        self._points = scattered_points(session.problem, MONITOR_POINTS)
        self._truth = session.reference(self._points) if session.reference is not None else {}

    def error(self) -> float | None:
        """Return the largest relative L2 error of a field; None without a reference."""
        if not self._truth:
            return None
        values = field_values(self._ansatz, self._points)
        return float(np.max([relative_l2(values[name], truth) for name, truth in self._truth.items()]))


class _Safeguard:
    """Keeps the last parameters whose loss was seen to be finite."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._seen = self._latest = parameters_to_vector(module.parameters()).detach().clone()

    def advance(self) -> None:
        """Note a step: its loss was that of the parameters before it, so those are known to be good."""
        self._seen, self._latest = self._latest, parameters_to_vector(self._module.parameters()).detach().clone()

    def restore(self) -> None:
        """Put the last good parameters back."""
        vector_to_parameters(self._seen, self._module.parameters())


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise ResourceError(f"device {name!r} is not there: {count} CUDA devices found; use --device cpu or auto")
    return device


def _differentiator(problem: Problem, settings: Settings, ansatz: Ansatz) -> tuple[Differentiator, bool, str]:
    """Return the maker of jets, whether layerwise Jacobians hold for it, and a warning if it was replaced."""
    if settings.derivatives == "autograd":
        return autograd, False, ""
    if settings.derivatives == "fd":
        return _finite_differences(problem, settings), True, ""
    fault = taylor_fault(problem, ansatz)
    return (autograd, False, fault) if fault else (taylor, True, "")


def _finite_differences(problem: Problem, settings: Settings) -> Differentiator:
    from pinnsolve.derivatives.finite_differences import finite_differences

    lower, upper = problem.box
    steps = (0.5 * settings.fd.step * (upper - lower)).tolist()
    periodic = [coordinate.periodic for coordinate in problem.coordinates]
    return finite_differences(settings.fd.scheme, steps, lower.tolist(), upper.tolist(), periodic)


def taylor_fault(problem: Problem, ansatz: nn.Module) -> str:
    """Return how Taylor mode differs from nested autograd on a few points; empty if they agree."""
    sample = torch.as_tensor(scattered_points(problem, 16))
    copy = deepcopy(ansatz).to("cpu", torch.float64)
    with torch.no_grad():
        try:
            jet = taylor(copy, sample, problem.partials)
        except NotImplementedError as error:
            return f"derivatives are taken by nested autograd: {error}"
        oracle = autograd(copy, sample, problem.partials)
    for partial in problem.partials:
        scale = float(oracle[partial].abs().max().clamp(min=1e-30))
        difference = float((jet[partial] - oracle[partial]).abs().max()) / scale
        if not difference <= _TAYLOR_TOLERANCE:
            name = partial.name(problem.coordinate_names)
            return f"Taylor mode differs from nested autograd by {difference:.1e} in {name}; autograd is used instead"
    return ""


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
