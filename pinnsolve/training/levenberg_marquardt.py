"""Levenberg-Marquardt: damped Gauss-Newton steps on all parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pinnsolve.training.jacobian import generic_jacobian, gram, jacobian
from pinnsolve.training.loop import StepResult
from pinnsolve.training.objective import Objective


class LevenbergMarquardt:
    r"""Damped Gauss-Newton steps: (JᵀJ + λI) δ = Jᵀr, θ ← θ - δ, by Cholesky factorisation.

    λ is the smallest of λ₀/4, λ₀/2, λ₀, 2λ₀, ... (λ₀ the last one) for which the loss falls by at least a
    quarter of what the linear model predicts, δᵀ(Jᵀr) + λ δᵀδ. The λ of the lowest loss would be larger:
    it is greedy, and several times worse in the end.
    Source: Marquardt (1963), J. Soc. Indust. Appl. Math. 11, 431-441; Nocedal, Wright (2006), chapter 10.

    Args:
        objective: the residuals.
        module: holds the parameters.
        layerwise: whether jets come from Taylor mode or finite differences, so that J takes one backward pass.
        chunk: points whose Jacobian is held at once.
    """

    name = "lm"
    resample = 1
    target_ratio = 0.25
    trials = 12

    def __init__(self, objective: Objective, module: nn.Module, *, layerwise: bool = True, chunk: int = 4096) -> None:
        self._objective, self._module = objective, module
        self._jacobian = jacobian if layerwise else generic_jacobian
        self._chunk = chunk
        self._damping: float | None = None

    def step(self, points: Sequence[Tensor], number: int) -> StepResult:
        """Take one damped step; if no λ is accepted the parameters stay and λ starts larger next time."""
        normal, gradient, terms = self._normal_equations(points)
        evaluations = sum(len(place) for place in points)
        loss = sum(terms.values())
        start = parameters_to_vector(self._module.parameters()).detach()
        scale = float(normal.diagonal().mean())
        if self._damping is None:
            self._damping = scale
        damping = self._damping / 4
        for _ in range(self.trials):
            step = _damped_solution(normal, gradient, damping)
            if step is not None:
                predicted = float(gradient @ step + damping * (step @ step))
                vector_to_parameters(start - step, self._module.parameters())
                actual = loss - self._loss(points)
                evaluations += sum(len(place) for place in points)
                if predicted > 0 and actual >= self.target_ratio * predicted:
                    self._damping = damping
                    return StepResult(terms, damping, evaluations)
            damping = max(2 * damping, 1e-15 * scale)
        vector_to_parameters(start, self._module.parameters())
        self._damping = damping
        return StepResult(terms, damping, evaluations, accepted=False)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return λ."""
        return {}, {"damping": self._damping}

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on with the λ of another optimizer."""
        self._damping = values["damping"]

    def _normal_equations(self, points: Sequence[Tensor]) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Return JᵀJ (P, P), Jᵀr (P,) and the terms of the loss, J built and reduced chunk by chunk."""
        size = sum(parameter.numel() for parameter in self._module.parameters())
        reference = next(self._module.parameters())
        normal, gradient = reference.new_zeros(size, size), reference.new_zeros(size)
        terms: dict[str, float] = {}
        for block, place in zip(self._objective.blocks, points, strict=True):
            sums = [0.0] * len(block.residuals)
            for part in place.split(self._chunk):
                values, rows = self._jacobian(self._module, lambda b=block, p=part: self._objective.raw(b, p))  # type: ignore[misc]
                for index, (value, row) in enumerate(zip(values, rows, strict=True)):
                    factor = block.factors[index] / len(place) ** 0.5
                    row.mul_(factor)
                    normal += gram(row)
                    gradient += row @ (value * factor)
                    sums[index] += float((value * factor).square().sum())
            terms.update({residual.name: total for residual, total in zip(block.residuals, sums, strict=True)})
        return normal, gradient, terms

    def _loss(self, points: Sequence[Tensor]) -> float:
        with torch.no_grad():
            return float(sum(residual.square().sum() for residual in self._objective.residuals(points)))


def _damped_solution(normal: Tensor, gradient: Tensor, damping: float) -> Tensor | None:
    """Return the solution of (A + λI) δ = g, or None where the matrix is not positive definite."""
    shifted = normal.clone()
    shifted.diagonal().add_(damping)
    factor, info = torch.linalg.cholesky_ex(shifted)
    if int(info) != 0:
        return None
    step = torch.cholesky_solve(gradient[:, None], factor)[:, 0]
    return step if bool(torch.isfinite(step).all()) else None
