r"""Is the gradient of the loss right? A Taylor test at fixed points, and the misspecification index.

    L(θ) = Σ_e mean_n r_e(x_n; θ)²

At fixed points L(θ + h v) - L(θ) - h g·v falls as h² if g is the gradient of this sum. Where φ^(k) jumps and the
equations have order k, the sum is the wrong thing to differentiate: its points do not see the kinks that move between
them. The integral does, and its directional derivatives D differ from g·v by the missing term: the misspecification
index is rms(D - g·v)/rms(D) over a few random directions v.

Both are taken near the trained weights, not at them: at a minimum the gradient is the rounding of the loss.
Source: Farrell, Ham, Funke, Rognes (2013), SIAM J. Sci. Comput. 35, C369-C393, section 5 (Taylor test).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import qmc, theilslopes
from torch import Tensor, nn

from pinnsolve.audit.baseline import automatic_jet
from pinnsolve.audit.records import LossGradientAudit, known, rms
from pinnsolve.audit.sample import Sample
from pinnsolve.networks import points_at_once
from pinnsolve.problems import Problem
from pinnsolve.problems.formulas import torch_functions
from pinnsolve.problems.places import Place

_NEAR = 0.05  # how far from the trained weights, in standard deviations of each tensor
_STEPS = 2.0 ** np.arange(-18, -5)  # of the Taylor test, in the same unit
_READABLE = 100.0  # units of the loss's rounding above which a remainder is read
_DIFFERENCE = 1e-3  # the step of the central difference of the dense loss, in the same unit
_SAMPLES = 2**21  # points times units of the dense integral: each unit has kinks of its own to be hit
_MOST, _LEAST = 2**15, 2**10
_DIRECTIONS = 2

Loss = Callable[[nn.Module, Tensor], Tensor]


def loss_gradient_audit(problem: Problem, ansatz: nn.Module, sample: Sample, seed: int = 0) -> LossGradientAudit | None:
    """Return the tests of the loss gradient by Taylor mode; None for a trial solution without parameters.

    Args:
        problem: the equations.
        ansatz: the trial solution, in float64.
        sample: the points of the Taylor test, and the box of the dense integral.
        seed: of the direction v and of the perturbation.
    """
    parameters = [each for each in ansatz.parameters() if each.numel()]
    if not parameters or not problem.partials:
        return None
    generator = torch.Generator().manual_seed(seed)
    near = _near(ansatz, generator)
    directions = [_direction(near, generator) for _ in range(_DIRECTIONS)]
    loss = _loss(problem)
    units = max(sum(len(each) for each in parameters if each.ndim == 2), 1)  # rows of weight matrices
    count = int(2 ** math.floor(math.log2(min(max(_SAMPLES / units, _LEAST), _MOST))))
    dense = _dense_points(problem, sample, count, seed)
    return LossGradientAudit(
        taylor_order=_taylor_order(near, directions[0], sample.points, loss),
        misspecification=_misspecification(near, directions, dense.split(points_at_once(near)), loss),
        points=count,
    )


def _near(ansatz: nn.Module, generator: torch.Generator) -> nn.Module:
    """Return the trial solution with perturbed weights."""
    near = copy.deepcopy(ansatz).requires_grad_(True)
    with torch.no_grad():
        for parameter, noise in zip(near.parameters(), _direction(near, generator), strict=True):
            parameter.add_(noise, alpha=_NEAR)
    return near


def _direction(ansatz: nn.Module, generator: torch.Generator) -> list[Tensor]:
    """Return a random tensor for each parameter, with the standard deviation of its RMS."""
    sizes = [float(parameter.detach().square().mean().sqrt()) or 1.0 for parameter in ansatz.parameters()]
    return [
        (size * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)).to(parameter.device)
        for parameter, size in zip(ansatz.parameters(), sizes, strict=True)
    ]


def _loss(problem: Problem) -> Loss:
    def loss(ansatz: nn.Module, points: Tensor) -> Tensor:
        jet = automatic_jet(ansatz, points, problem.partials)
        residuals = [equation(torch_functions(), jet.columns, jet) for equation in problem.equations]
        return torch.stack([residual.square().mean() for residual in residuals]).sum()

    return loss


def _dense_points(problem: Problem, sample: Sample, count: int, seed: int) -> Tensor:
    """Return Sobol points (count, d) of the domain, or of the sample's part of the box."""
    if problem.domain is not None:
        points = Place(problem).sobol(count, seed)
    else:
        lower, upper = np.array(sample.lower), np.array(sample.upper)
        points = lower + (upper - lower) * qmc.Sobol(len(lower), scramble=True, seed=seed).random(count)
    return torch.as_tensor(points, device=sample.points.device)


Gradient = list[Tensor | None]  # a tensor per parameter, None where the loss does not depend on it


def _gradient(ansatz: nn.Module, points: Tensor, loss: Loss) -> tuple[float, Gradient]:
    value = loss(ansatz, points)
    return float(value.detach()), list(torch.autograd.grad(value, list(ansatz.parameters()), allow_unused=True))


def _slope(gradient: Gradient, direction: list[Tensor]) -> float:
    """Return g·v."""
    return sum(float((g * v).sum()) for g, v in zip(gradient, direction, strict=True) if g is not None)


@torch.no_grad()
def _moved(ansatz: nn.Module, direction: list[Tensor], step: float) -> nn.Module:
    moved = copy.deepcopy(ansatz).requires_grad_(False)
    for parameter, v in zip(moved.parameters(), direction, strict=True):
        parameter.add_(v, alpha=step)
    return moved


@torch.no_grad()
def _along(ansatz: nn.Module, direction: list[Tensor], step: float, points: Tensor, loss: Loss) -> float:
    return float(loss(_moved(ansatz, direction, step), points))


def _taylor_order(ansatz: nn.Module, direction: list[Tensor], points: Tensor, loss: Loss) -> float | None:
    value, gradient = _gradient(ansatz, points, loss)
    slope = _slope(gradient, direction)
    moved = np.array([_along(ansatz, direction, float(h), points, loss) for h in _STEPS])
    if not np.isfinite([value, slope, *moved]).all():  # sinh(u/0.03) overflows where a step moves u by 20
        return None
    remainders = np.abs(moved - value - _STEPS * slope)
    readable = remainders > _READABLE * np.finfo(float).eps * abs(value)
    if readable.sum() < 3:
        return None
    return known(float(theilslopes(np.log(remainders[readable]), np.log(_STEPS[readable]))[0]))


def _misspecification(
    ansatz: nn.Module, directions: list[list[Tensor]], chunks: tuple[Tensor, ...], loss: Loss
) -> float | None:
    automatic, differences = np.zeros(len(directions)), np.zeros(len(directions))
    count = sum(len(chunk) for chunk in chunks)
    for chunk in chunks:
        _, gradient = _gradient(ansatz, chunk, loss)
        share = len(chunk) / count
        for index, v in enumerate(directions):
            ends = [_along(ansatz, v, step, chunk, loss) for step in (_DIFFERENCE, -_DIFFERENCE)]
            automatic[index] += share * _slope(gradient, v)
            differences[index] += share * (ends[0] - ends[1]) / (2 * _DIFFERENCE)
    size = float(rms(differences))
    return known(float(rms(differences - automatic)) / size) if size else None
