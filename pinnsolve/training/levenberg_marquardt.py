"""Levenberg-Marquardt: damped Gauss-Newton steps on all parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pinnsolve.training.jacobian import jacobian_maker
from pinnsolve.training.linear_models import SINGLE_PRECISION, LinearModel, linear_model
from pinnsolve.training.loop import StepResult
from pinnsolve.training.objective import Objective

NUMBERS_IN_MEMORY = 2**22  # of the Jacobian that are held at once: 32 MB


class LevenbergMarquardt:
    r"""Damped Gauss-Newton steps: (JᵀJ + λI) δ = Jᵀr, θ ← θ - δ, by Cholesky factorisation.

    λ is the smallest of λ₀/4, λ₀/2, λ₀, 2λ₀, ... (λ₀ the last one) for which the loss falls by at least a
    quarter of what the linear model predicts. The λ of the lowest loss would be larger: it is greedy, and
    several times worse in the end. If none is accepted, the parameters stay and λ starts larger next time.
    Source: Marquardt (1963), J. Soc. Indust. Appl. Math. 11, 431-441; Nocedal, Wright (2006), chapter 10.

    Args:
        objective: the residuals.
        module: holds the parameters.
        probes: λ that are tried in one batch; None for 1 on a CPU, where the next λ is factorised only if it
            is needed, and 6 on a GPU, where waiting for an answer costs more than a factorisation.
    """

    name = "lm"
    resample = 1
    target_ratio = 0.25
    trials = 12

    def __init__(self, objective: Objective, module: nn.Module, *, probes: int | None = None) -> None:
        self._objective, self._module = objective, module
        self._jacobian = jacobian_maker(objective.layerwise)
        self._probes = probes or (6 if next(module.parameters()).is_cuda else 1)
        self._damping: float | None = None
        self._scale = 1.0

    def step(self, points: Sequence[Tensor], number: int) -> StepResult:
        """Take one damped step."""
        model, shares = self._linearised(points)
        terms = dict(zip(self._objective.names, shares.tolist(), strict=True))
        loss, self._scale = sum(terms.values()), model.scale
        damping = (self._scale if self._damping is None else self._damping) / 4
        start = parameters_to_vector(self._module.parameters()).detach()
        count = sum(self._objective.total_count(place) for place in points)
        for trial in range(0, self.trials, self._probes):
            dampings = max(damping, 1e-15 * self._scale) * 2.0 ** torch.arange(self._probes, dtype=torch.float64)
            steps, predicted = model.steps(dampings.to(start))
            reached = self._losses(start - steps, points)
            gain = (loss - reached) / predicted
            good = ((gain >= self.target_ratio) & (predicted > 0)).tolist()
            evaluations = count * (1 + trial + self._probes)
            if any(good):
                chosen = good.index(True)
                vector_to_parameters(start - steps[chosen], self._module.parameters())
                self._damping = float(dampings[chosen])
                return StepResult(terms, self._damping, evaluations, fitted=float(reached[chosen]))
            damping = 2 * float(dampings[-1])
        vector_to_parameters(start, self._module.parameters())
        self._damping = damping
        return StepResult(terms, damping, evaluations, accepted=False)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return λ and its unit."""
        return {}, {"damping": self._damping, "scale": self._scale}

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on with the λ of another optimizer."""
        self._damping, self._scale = values["damping"], values["scale"]

    def _linearised(self, points: Sequence[Tensor]) -> tuple[LinearModel, Tensor]:
        """Return the linear model and each residual's share of the loss (K,)."""
        objective, workers = self._objective, self._objective.workers
        pairs = zip(objective.blocks, points, strict=True)
        rows = sum(objective.total_count(place) * len(block.residuals) for block, place in pairs)
        single = self._damping is None or self._damping > SINGLE_PRECISION * self._scale
        shares = points[0].new_zeros(len(objective.names))
        single = single and points[0].dtype == torch.float64
        return linear_model(self._chunks(points, shares), rows, single, workers), workers.total(shares)

    def _chunks(self, points: Sequence[Tensor], shares: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the weighted Jacobian Jᵀ (P, m) and residuals (m,), and add up the shares of the loss."""
        size = sum(parameter.numel() for parameter in self._module.parameters())
        for index, (block, place) in enumerate(zip(self._objective.blocks, points, strict=True)):
            for part in place.split(max(NUMBERS_IN_MEMORY // size, 64)):
                values, columns = self._jacobian(self._module, lambda b=block, p=part: self._objective.raw(b, p))  # type: ignore[misc]
                factors = self._objective.step_factors(index, part, self._objective.total_count(place))
                own = shares[self._objective.places(index)]
                for share, value, column, factor in zip(own, values, columns, factors, strict=True):
                    weighted = value * factor
                    share += weighted.square().sum()  # a view: adds to `shares`
                    yield column.mul_(factor), weighted

    def _losses(self, candidates: Tensor, points: Sequence[Tensor]) -> Tensor:
        """Return the loss (K,) for every row of parameters (K, P); nothing waits for the device."""
        losses = []
        for candidate in candidates:
            vector_to_parameters(candidate, self._module.parameters())
            losses.append(self._objective.step_loss(points))
        return torch.stack(losses)
