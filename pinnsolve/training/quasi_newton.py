"""Self-scaled Broyden: a quasi-Newton method with a dense approximation of the inverse Hessian."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pinnsolve.training.graphs import Capture, LossAndGradient
from pinnsolve.training.loop import StepResult
from pinnsolve.training.objective import Objective

SUFFICIENT_DECREASE, CURVATURE = 1e-4, 0.9  # c₁, c₂ of the strong Wolfe conditions for quasi-Newton directions
SHRINKING = 1e-2  # of the first step tried down the gradient after none was found: the search itself halves ten times


@dataclass(frozen=True)
class Scaling:
    """The free numbers of a self-scaled Broyden update: τ divides H, φ weighs BFGS (1) against DFP (0)."""

    tau: float
    phi: float


def ssbroyden(b: float, h: float, size: int) -> Scaling:
    r"""Return τ and φ of the self-scaled Broyden update.

        a = b h - 1,  ρ⁻ = min(1, h (1 - √(a/(1+a)))),  θ⁻ = (ρ⁻ - 1)/a,  θ⁺ = 1/ρ⁻
        θ = max(θ⁻, min(θ⁺, (1 - b)/b)),  σ = 1 + a θ,  φ = (1 - θ)/σ
        τ = min(1, 1/b) · min(σ^(1/(1-P)), 1/θ)        for θ > 0
        τ = min(min(1, 1/b) · σ^(1/(1-P)), σ)          for θ <= 0

    Args:
        b: sᵀBs/(yᵀs) > 0 with B = H⁻¹, step s and difference of gradients y.
        h: yᵀHy/(yᵀs) > 0; b h >= 1 by the Cauchy-Schwarz inequality.
        size: P.

    Source: Urbán, Stefanou, Pons (2025), J. Comput. Phys. 523, 113656, equations 13-23, after
    Al-Baali (1998), Comput. Optim. Appl. 9, 191-203.
    """
    a = max(b * h - 1, 0.0)
    if a < 1e-12:  # H y is parallel to s: every member of the family is the same update
        return Scaling(min(1.0, 1 / b), 1.0)
    rho = min(1.0, h * (1 - math.sqrt(a / (1 + a))))
    theta = max((rho - 1) / a, min(1 / rho, (1 - b) / b))
    sigma = 1 + a * theta
    scale, root = min(1.0, 1 / b), sigma ** (1 / (1 - size)) if size > 1 else 1.0
    tau = scale * min(root, 1 / theta) if theta > 0 else min(scale * root, sigma)
    return Scaling(tau, (1 - theta) / sigma)


def update(inverse: Tensor, step: Tensor, change: Tensor, b: float) -> bool:
    r"""Update H (P, P) in place so that H y = s; return whether H was positive definite along y, else leave it.

        H ← [H - Hy(Hy)ᵀ/(yᵀHy) + φ (yᵀHy) v vᵀ]/τ + s sᵀ/(yᵀs),  v = s/(yᵀs) - Hy/(yᵀHy)

    Args:
        inverse: H, symmetric and positive definite; it stays so up to rounding.
        step: s (P,).
        change: y (P,), the change of the gradient over the step, yᵀs > 0.
        b: sᵀBs/(yᵀs).
    """
    product = inverse @ change
    curvature, spread = torch.stack([change @ step, change @ product]).tolist()
    if not spread > 0:
        return False
    scaling = ssbroyden(b, spread / curvature, len(step))
    direction = step / curvature - product / spread
    left = torch.stack([product, direction, step], dim=1)
    weights = left.new_tensor([-1 / (scaling.tau * spread), scaling.phi * spread / scaling.tau, 1 / curvature])
    inverse.addmm_(left * weights, left.t(), beta=1 / scaling.tau)
    return True


def strong_wolfe(along: Callable[[float], tuple[float, float]], loss: float, slope: float) -> float | None:
    r"""Return a step α > 0 that satisfies the strong Wolfe conditions, or None if none is found.

        f(α) <= f(0) + c₁ α f'(0),   |f'(α)| <= c₂ |f'(0)|

    Args:
        along: α to f(α) and f'(α); α = 1 is tried first, and the α returned was tried last.
        loss: f(0).
        slope: f'(0) < 0.

    Source: Nocedal, Wright (2006), algorithms 3.5 and 3.6, as SciPy implements them.
    """
    from scipy.optimize import line_search

    known: dict[float, tuple[float, float]] = {}

    def at(place: np.ndarray) -> tuple[float, float]:
        step = float(place[0])
        if step not in known:
            value, derivative = along(step)
            known[step] = (value, derivative) if math.isfinite(value) else (math.inf, derivative)
        return known[step]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not to converge is a result here
        step, *_, end = line_search(
            lambda x: at(x)[0],
            lambda x: np.array([at(x)[1]]),
            np.zeros(1),
            np.ones(1),
            np.array([slope]),
            loss,
            c1=SUFFICIENT_DECREASE,
            c2=CURVATURE,
        )
    return None if step is None or end is None else float(step)


@dataclass(frozen=True)
class _Place:
    """The objective where the parameters are: its terms, and its gradient (P,)."""

    terms: dict[str, float]
    gradient: Tensor

    @property
    def loss(self) -> float:
        """The sum of the terms."""
        return sum(self.terms.values())


class SelfScaledBroyden:
    r"""Steps θ ← θ - α H g with a strong Wolfe line search for α and self-scaled Broyden updates of H.

    H starts as (sᵀy/yᵀy) I after a first step down the gradient. It is kept when the points change, since it
    describes the same function but for the noise of sampling: on Burgers (921 parameters, 8e6 residual
    evaluations) it ends near 1e-4 with fresh points every 100 steps, at 2e-2 if H starts anew with them. Where no step
    is found along -H g, H starts anew; where none is found down the gradient either, the parameters stay.
    Source: Urbán, Stefanou, Pons (2025), J. Comput. Phys. 523, 113656.

    Args:
        objective: the residuals.
        module: holds the parameters, P; H takes 8 P² bytes.
        capture: of `LossAndGradient`.
    """

    name = "ssbroyden"
    resample = 100

    def __init__(self, objective: Objective, module: nn.Module, *, capture: Capture | None = None) -> None:
        self._objective = objective
        self._evaluate = LossAndGradient(objective, list(module.parameters()), capture=capture)
        self._inverse: Tensor | None = None
        self._scale: float | None = None  # of a step down the gradient
        self._known: Sequence[Tensor] = ()
        self._weights = objective.weighting.multipliers.new_empty(0)
        self._here = _Place({}, self._evaluate.gradient)
        self._calls = 0

    def step(self, points: Sequence[Tensor], number: int) -> StepResult:
        """Take one step; if none is found, the parameters stay and the next search starts nearer."""
        self._calls = 0
        weights = self._objective.weighting.multipliers
        if points is not self._known or not torch.equal(weights, self._weights):
            self._here, self._known, self._weights = self._measured(points), points, weights.clone()
        start, here = self._evaluate.position(), self._here
        direction = self._direction(here.gradient)
        length = self._search(points, start, direction)
        if length is None and self._inverse is not None:
            self._inverse, self._here = None, here
            direction = self._direction(here.gradient)
            length = self._search(points, start, direction)
        if length is None:
            self._evaluate.move_to(start)
            self._here, self._scale = here, SHRINKING * self._gradient_scale(here.gradient)
        else:
            self._learn(length * direction, here.gradient, length)
        evaluations = self._calls * sum(self._objective.total_count(place) for place in points)
        return StepResult(here.terms, None, evaluations, accepted=length is not None, fitted=self._here.loss)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return H and the scale of steps down the gradient; loss and gradient are measured again."""
        return {} if self._inverse is None else {"inverse": self._inverse}, {"scale": self._scale}

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on with the H of another optimizer, bit for bit."""
        self._inverse, self._scale, self._known = tensors.get("inverse"), values["scale"], ()

    def _direction(self, gradient: Tensor) -> Tensor:
        if self._inverse is None:
            return -self._gradient_scale(gradient) * gradient
        return -(self._inverse @ gradient)

    def _gradient_scale(self, gradient: Tensor) -> float:
        return 1 / max(float(gradient.norm()), 1e-300) if self._scale is None else self._scale

    def _search(self, points: Sequence[Tensor], start: Tensor, direction: Tensor) -> float | None:
        """Return a step that satisfies the strong Wolfe conditions, and stay there; None if there is none."""
        here = self._here
        slope = float(here.gradient @ direction)

        def along(length: float) -> tuple[float, float]:
            self._evaluate.move_to(start + length * direction)
            self._here = self._measured(points)
            return self._here.loss, float(self._here.gradient @ direction)

        if not slope < 0:
            return None
        return strong_wolfe(along, here.loss, slope)

    def _measured(self, points: Sequence[Tensor]) -> _Place:
        self._calls += 1
        terms = self._evaluate.named(self._evaluate(points))
        return _Place(terms, self._evaluate.gradient.clone())

    def _learn(self, step: Tensor, gradient: Tensor, length: float) -> None:
        """Update H by the step just taken from where the gradient was this."""
        change = self._here.gradient - gradient
        curvature, squares, steepness, size = torch.stack(
            [change @ step, change @ change, -(gradient @ step), step @ step]
        ).tolist()
        if not curvature > torch.finfo(step.dtype).eps * (squares * size) ** 0.5:
            return  # only by rounding: the Wolfe conditions make yᵀs positive
        self._scale = curvature / squares
        b = length * steepness / curvature
        if self._inverse is None:
            self._inverse = torch.eye(len(step), dtype=step.dtype, device=step.device) * self._scale
            b = size / (self._scale * curvature)
        if not update(self._inverse, step, change, b):
            self._inverse = None
