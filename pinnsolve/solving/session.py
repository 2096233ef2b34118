"""One solve, from a problem and settings to a solution, as a sequence of visible stages."""

from __future__ import annotations

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
from pinnsolve.solving.settings import Settings
from pinnsolve.training import Budget, Training, TrainingStep, build_objective, make_plan
from pinnsolve.training.loop import below
from pinnsolve.training.sampling import Sampler

MONITOR_POINTS = 2**11
HELD_OUT_POINTS = 2**12
HELD_OUT_SEED = 500_009  # apart from the seeds of training points
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
        return row | step.terms | {"damping": step.damping, "points": step.points, "held_out": step.held_out}


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
        plan_reason: why these stages of training were chosen.
        history: recorded steps.
        seconds: time spent in training.
        residual_evaluations: residuals evaluated at points so far.
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
    plan_reason: str = ""
    history: list[Progress] = field(default_factory=list)
    seconds: float = 0.0
    residual_evaluations: int = 0

    def train(self) -> Iterator[Progress]:
        """Train until the steps or the time are used up or nothing improves; yield recorded steps.

        Raises:
            DivergenceError: the loss left the finite numbers; the ansatz is back at its last finite state.
        """
        monitor, safeguard = _Monitor(self), _Safeguard(self.ansatz)
        self.training.budget.start()
        try:
            for step in self.training:
                safeguard.advance()
                self.residual_evaluations += step.evaluations
                self.seconds = self.training.budget.elapsed
                if step.recorded:
                    progress = Progress(step, self.seconds, monitor.error())
                    self.history.append(progress)
                    yield progress
        except DivergenceError:
            safeguard.restore()
            self.training.reason = "divergence"
            raise
        self.training.adopt_best()

    @property
    def reason(self) -> str:
        """Why training ended; empty while it goes on."""
        return self.training.reason

    @property
    def parameters(self) -> int:
        """The number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.ansatz.parameters())

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and plain values from which `restore` goes on, bit for bit."""
        network = self.training.trained
        tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
        own, values = self.training.state()
        tensors |= {f"training.{name}": value for name, value in own.items()}
        return tensors, {
            "network": network.description(),
            "training": values,
            "residual_evaluations": self.residual_evaluations,
        }

    def restore(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on where the session stood that these tensors and values were taken from."""
        moved = {name: tensor.to(self.device) for name, tensor in tensors.items()}
        network = self.ansatz.network.described(values["network"])
        network.load_state_dict(below("network.", moved))
        self.ansatz.network = self.training.trained = network
        self.training.restore(step, below("training.", moved), values["training"])
        self.seconds = self.training.budget.spent
        self.residual_evaluations = int(values["residual_evaluations"])


def prepare(problem: Problem, settings: Settings, reference: ReferenceSolution | None = None) -> Session:
    """Return a session that is ready to train.

    Args:
        problem: what to solve.
        settings: how.
        reference: the truth; found from the problem if None.
    """
    device, dtype = _device(settings.device), getattr(torch, settings.precision)
    phi = activation(settings.network.trained_activation, settings.network.alpha)
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
    plan, why = make_plan(
        problem,
        ansatz,
        objective,
        settings.training,
        feature_activations=settings.network.feature_activations,
        layerwise=layerwise,
        double=dtype == torch.float64,
    )
    return Session(
        problem=problem,
        settings=settings,
        device=device,
        dtype=dtype,
        constraints=constraints,
        ansatz=ansatz,
        differentiator=differentiator,
        training=Training(
            ansatz=ansatz,
            objective=objective,
            plan=plan,
            settings=settings.training,
            generator=generator,
            budget=Budget(settings.time_limit, settings.training.steps),
            held_out=_held_out_points(problem, constraints, settings, dtype, device),
        ),
        reference=reference if reference is not None else find_reference(problem),
        warnings=[sentence for sentence in (*warnings, *constraints.notes, fault) if sentence],
        plan_reason=why,
    )


def _held_out_points(
    problem: Problem, constraints: Constraints, settings: Settings, dtype: torch.dtype, device: torch.device
) -> list[Tensor]:
    """Return points, one tensor per block of the objective, that no training step draws."""
    places = [None, *constraints.soft]
    samplers = [
        Sampler(problem, place, settings.seed + HELD_OUT_SEED + index, dtype, device)
        for index, place in enumerate(places)
    ]
    return [sampler.draw(HELD_OUT_POINTS if index == 0 else 512) for index, sampler in enumerate(samplers)]


def build_ansatz(problem: Problem, settings: Settings, constraints: Constraints, generator: Generator) -> Ansatz:
    """Return the untrained trial solution, on the CPU."""
    dtype = getattr(torch, settings.precision)
    features = InputFeatures(problem, settings.network.fourier, dtype)
    network = MultilayerPerceptron(
        features.size,
        [settings.network.width] * settings.network.depth,
        len(problem.fields),
        activation(settings.network.trained_activation, settings.network.alpha),
        dtype,
    ).initialized(settings.network.initialization, generator)
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
    """Keeps the last network whose loss was seen to be finite."""

    def __init__(self, ansatz: Ansatz) -> None:
        self._ansatz = ansatz
        self._seen = self._latest = self._snapshot()

    def advance(self) -> None:
        """Note a step: its loss was that of the parameters before it, so those are known to be good."""
        self._seen, self._latest = self._latest, self._snapshot()

    def restore(self) -> None:
        """Put the last good network and parameters back."""
        network, vector = self._seen
        self._ansatz.network = network
        vector_to_parameters(vector, network.parameters())

    def _snapshot(self) -> tuple[MultilayerPerceptron, Tensor]:
        network = self._ansatz.network
        return network, parameters_to_vector(network.parameters()).detach().clone()


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
