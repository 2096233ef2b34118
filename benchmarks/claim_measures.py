"""What the founding claim is about, measured on one trained network: errors of finite differences, and of gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pinnsolve.derivatives import Differentiator, autograd, exact
from pinnsolve.derivatives.finite_differences import finite_differences
from pinnsolve.evaluation import scattered_points
from pinnsolve.problems import Partial, Problem
from pinnsolve.solving import Session

SCHEMES = ("forward", "central2")
STEPS = tuple(float(step) for step in np.logspace(-9, -1, 33))  # 1e-3 and 1e-2 are among them
NAMED = (1e-2, 1e-3)
POINTS = 2**11
DENSE = 2**15  # points of the integrated loss: its own error is far below the part of a gradient that is missed
DIRECTIONS = 4
AWAY = 0.3  # standard deviation; weights of a 20 × 20 layer have 0.22


@dataclass(frozen=True)
class DifferenceErrors:
    """Errors of one finite difference over the step, rms relative to that of the derivative.

    Attributes:
        term: the derivative along the first coordinate, "u_x" or "u_xx".
        scheme: the stencil.
        steps: h, in the unit of the coordinate.
        network: D_h u - ∂u of the network.
        solution: D_h u* - ∂u* of the exact solution at the same points; empty where it is not known.
        autodiff: ∂u - ∂u*, the network's own error; None likewise.
    """

    term: str
    scheme: str
    steps: list[float]
    network: list[float]
    solution: list[float]
    autodiff: float | None

    def record(self) -> dict[str, Any]:
        """Return the errors with those at the named steps and the least one."""
        best = int(np.nanargmin(self.network))
        named = {f"at_{step:g}": self.network[nearest(self.steps, step)] for step in NAMED}
        known = {f"solution_at_{s:g}": self.solution[nearest(self.steps, s)] for s in NAMED if self.solution}
        return asdict(self) | named | known | {"best": self.network[best], "best_step": self.steps[best]}


def nearest(steps: list[float], step: float) -> int:
    """Return the index of the step nearest to one."""
    return int(np.argmin(np.abs(np.log(np.array(steps) / step))))


def difference_errors(session: Session) -> list[DifferenceErrors]:
    """Return the errors of forward and central differences for u_x and u_xx of a trained network."""
    problem = session.problem
    points = torch.as_tensor(scattered_points(problem, POINTS))
    network = session.ansatz.double()
    known = exact(problem.reference.exact, problem.symbols) if problem.reference.exact else None
    found = []
    for order in (1, 2):
        partial = Partial(problem.field_names[0], (order, *[0] * (len(problem.coordinates) - 1)))
        truth = None if known is None else _values(known, network, points, partial)
        slopes = _values(autograd, network, points, partial)
        own = None if truth is None else _relative(slopes, truth)
        for scheme in SCHEMES:
            term = partial.name(problem.coordinate_names)
            errors = _over_steps(problem, scheme, network, points, partial, slopes)
            solution = [] if truth is None else _over_steps(problem, scheme, _Exact(problem), points, partial, truth)
            found.append(DifferenceErrors(term, scheme, list(STEPS), errors, solution, own))
    return found


class _Exact(nn.Module):
    """The exact solution as a trial solution."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self._maker = exact(problem.reference.exact, problem.symbols)
        self._none = (0,) * len(problem.coordinates)
        self._name = problem.field_names[0]

    def forward(self, nodes: Tensor) -> Mapping[str, Tensor]:
        flat = nodes.reshape(-1, nodes.shape[-1])
        partial = Partial(self._name, self._none)
        return {self._name: self._maker(self, flat, [partial])[partial].reshape(nodes.shape[:-1])}


def _over_steps(
    problem: Problem, scheme: str, fields: nn.Module, points: Tensor, partial: Partial, truth: Tensor
) -> list[float]:
    lower, upper = problem.box
    periodic = [coordinate.periodic for coordinate in problem.coordinates]
    errors = []
    for step in STEPS:
        steps = [step, *(0.01 * (upper - lower)[1:])]  # along the other coordinates nothing is differentiated
        maker = finite_differences(scheme, steps, lower.tolist(), upper.tolist(), periodic)
        errors.append(_relative(_values(maker, fields, points, partial), truth))
    return errors


def _values(maker: Differentiator, fields: nn.Module, points: Tensor, partial: Partial) -> Tensor:
    with torch.no_grad():
        return maker(fields, points, [partial])[partial]


def _relative(values: Tensor, truth: Tensor) -> float:
    return float((values - truth).square().mean().sqrt() / truth.square().mean().sqrt())


def missed_gradient(session: Session, seed: int = 0) -> float:
    r"""Return how much of the loss gradient autodiff misses, as a share of what it should be.

    rms over random directions v of |(L(θ + sv) - L(θ - sv))/2s - v·∇L| relative to the rms of the former, for the
    loss of the equations integrated densely. About 0 for smooth activations and of order 1 where kinks of the
    residual move with the parameters. Measured where every parameter is away from its initial value: biases start
    at zero, which puts all kinks of the first layer into one place.

    Args:
        session: not yet trained.
        seed: of the place and the directions.
    """
    objective, ansatz = session.training.objective, session.ansatz
    points = [block.sampler.draw(DENSE if block.is_interior else 64) for block in objective.blocks]
    initial = parameters_to_vector(ansatz.parameters()).detach()
    generator = torch.Generator().manual_seed(seed)
    start = initial + AWAY * torch.randn(len(initial), generator=generator, dtype=initial.dtype)

    def loss(at: Tensor) -> Tensor:
        vector_to_parameters(at, ansatz.parameters())
        return torch.stack(list(objective.terms(points).values())).sum()

    slopes = torch.autograd.grad(loss(start), list(ansatz.parameters()), materialize_grads=True)
    gradient = torch.cat([slope.flatten() for slope in slopes])
    differences, automatic = [], []
    for _ in range(DIRECTIONS):
        direction = torch.randn(len(start), generator=generator, dtype=start.dtype)
        by = 1e-3 * direction
        with torch.no_grad():
            differences.append(float(loss(start + by) - loss(start - by)) / 2e-3)
        automatic.append(float(gradient @ direction))
    vector_to_parameters(initial, ansatz.parameters())
    true, found = np.array(differences), np.array(automatic)
    return float(np.sqrt(np.mean((true - found) ** 2) / np.mean(true**2)))
