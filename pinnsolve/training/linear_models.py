r"""The linear model r(θ - δ) ≈ r - Jδ of weighted residuals, and its damped minimisers for several λ at once.

Normal equations hold JᵀJ (P, P), for P parameters and more rows than that. With fewer rows M than
parameters the kernel form is smaller: δ = Jᵀ (JJᵀ + λI)⁻¹ r = (JᵀJ + λI)⁻¹ Jᵀ r, and JJᵀ is (M, M).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pinnsolve.training.jacobian import gram
from pinnsolve.training.workers import ALONE, Workers

SINGLE_PRECISION = 1e-5  # of mean diag JᵀJ: rounding of a float32 product, 6e-8 of it, is far below such a λ


class LinearModel(Protocol):
    """The linearised residuals at the present parameters."""

    @property
    def scale(self) -> float:
        """The mean of diag JᵀJ, the natural unit of λ."""
        ...

    def steps(self, dampings: Tensor) -> tuple[Tensor, Tensor]:
        """Return steps δ (K, P) for λ (K,) and the reductions of the loss (K,) that the model predicts.

        The prediction is δᵀJᵀr + λδᵀδ, which is ‖r‖² - ‖r - Jδ‖²; it is NaN where JᵀJ + λI is not
        positive definite in floating point.
        """
        ...


@dataclass(frozen=True)
class NormalEquations:
    """JᵀJ (P, P) and Jᵀr (P,)."""

    normal: Tensor
    gradient: Tensor

    @property
    def scale(self) -> float:
        """The mean of diag JᵀJ."""
        return float(self.normal.diagonal().mean())

    def steps(self, dampings: Tensor) -> tuple[Tensor, Tensor]:
        """Return steps (K, P) and predicted reductions (K,)."""
        solutions, definite = _damped_solutions(self.normal, self.gradient, dampings)
        predicted = solutions @ self.gradient + dampings * solutions.square().sum(1)
        return solutions, torch.where(definite, predicted, torch.nan)


@dataclass(frozen=True)
class KernelForm:
    """Jᵀ (P, M) and r (M,), M < P."""

    transposed: Tensor
    residuals: Tensor

    @property
    def scale(self) -> float:
        """The mean of diag JᵀJ."""
        return float(self.transposed.square().sum() / len(self.transposed))

    def steps(self, dampings: Tensor) -> tuple[Tensor, Tensor]:
        """Return steps (K, P) and predicted reductions (K,)."""
        kernel = self.transposed.t() @ self.transposed
        multipliers, definite = _damped_solutions(kernel, self.residuals, dampings)  # (K, M)
        solutions = multipliers @ self.transposed.t()
        predicted = solutions @ (self.transposed @ self.residuals) + dampings * solutions.square().sum(1)
        return solutions, torch.where(definite, predicted, torch.nan)


def linear_model(
    chunks: Iterable[tuple[Tensor, Tensor]], rows: int, single: bool, workers: Workers = ALONE
) -> LinearModel:
    """Return the linear model of residuals whose Jacobian comes in chunks and is reduced at once.

    Args:
        chunks: pairs Jᵀ (P, m), r (m,) that make up all rows.
        rows: M, how many there are in all.
        workers: the processes that have rows; `rows` counts those of all of them.
        single: whether JᵀJ may be multiplied in float32, at half the time on most machines.
    """
    normal = gradient = None
    kept = []
    for transposed, residuals in chunks:
        size = len(transposed)
        if rows < size:
            kept.append((transposed, residuals))
            continue
        if normal is None or gradient is None:
            normal, gradient = transposed.new_zeros(size, size), transposed.new_zeros(size)
        normal += gram(transposed.float()).to(normal.dtype) if single else gram(transposed)
        gradient += transposed @ residuals
    if kept:
        own = torch.cat([transposed for transposed, _ in kept], dim=1).t()
        return KernelForm(workers.stacked(own).t(), workers.stacked(torch.cat([values for _, values in kept])))
    if normal is None or gradient is None:
        raise ValueError("a linear model needs rows")
    return NormalEquations(workers.total(normal), workers.total(gradient))


def _damped_solutions(matrix: Tensor, right: Tensor, dampings: Tensor) -> tuple[Tensor, Tensor]:
    """Return (A + λI)⁻¹ b (K, n) for every λ (K,) by Cholesky, and which of the matrices are definite (K,)."""
    shifted = matrix.expand(len(dampings), *matrix.shape).clone()
    shifted.diagonal(dim1=1, dim2=2).add_(dampings[:, None])
    factors, info = torch.linalg.cholesky_ex(shifted)
    solutions = torch.cholesky_solve(right.expand(len(dampings), -1)[..., None], factors)[..., 0]
    definite = (info == 0) & solutions.isfinite().all(1)
    return solutions.where(definite[:, None], 0.0), definite
