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

from pinnsolve.training.graphs import LossAndGradient
from pinnsolve.training.loop import StepResult
from pinnsolve.training.objective import Objective

SUFFICIENT_DECREASE, CURVATURE = 1e-4, 0.9  # c₁, c₂ of the strong Wolfe conditions for quasi-Newton directions


@dataclass(frozen=True)
class Scaling:
    """The free numbers of one update of the self-scaled Broyden family: τ scales H, φ weighs BFGS (1) against DFP (0)."""

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


def updated(inverse: Tensor, step: Tensor, change: Tensor, b: float) -> None:
    r"""Update H (P, P) in place so that H y = s.

        H ← [H - Hy(Hy)ᵀ/(yᵀHy) + φ (yᵀHy) v vᵀ]/τ + s sᵀ/(yᵀs),  v = s/(yᵀs) - Hy/(yᵀHy)

    Args:
        inverse: H, symmetric and positive definite; it stays so.
        step: s (P,).
        change: y (P,), the change of the gradient over the step, yᵀs > 0.
        b: sᵀBs/(yᵀs).
    """
    product = inverse @ change
    curvature, spread = torch.stack([change @ step, change @ product]).tolist()
    scaling = ssbroyden(b, spread / curvature, len(step))
    direction = step / curvature - product / spread
    left = torch.stack([product, direction, step], dim=1)
    weights = left.new_tensor([-1 / (scaling.tau * spread), scaling.phi * spread / scaling.tau, 1 / curvature])
    inverse.addmm_(left * weights, left.t(), beta=1 / scaling.tau)


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


def signature(points: Sequence[Tensor]) -> list[list[float]]:
    """Return the first point of every block, by which an optimizer tells whether its curvature is of these points.

    No two draws of collocation points share them, and they survive a checkpoint bit for bit.
    """
    return [place[0].tolist() for place in points]
