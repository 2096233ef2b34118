r"""Weights of residuals in training, on top of the objective's fixed factors: causal, balanced, importance-corrected.

The fixed factors make residuals pure numbers, and alone decide about networks (held-out objective) and
output layers (least squares). What stands here only steers gradient steps; all weights start at 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pinnsolve.training.sampling import CANDIDATES
from pinnsolve.training.workers import ALONE, Workers

BINS = 32  # of the time interval
MEMORY = 0.9  # of a balanced weight from one update to the next


class CausalWeights:
    r"""Weights by time: later residuals count less while earlier ones are large.

        w(t) = exp(-κ ∫_{t₀}^t ℓ ds / ∫_{t₀}^{t₁} ℓ ds),

    ℓ(s) the mean squared residual at time s, seen when points were drawn last. Normalised by the whole
    integral, κ acts at every level of accuracy; with an absolute tolerance it would have to be annealed.
    Source: Wang, Sankaran, Perdikaris (2024), Comput. Methods Appl. Mech. Eng. 421, 116813 (there ε = κ / ∫ℓ).

    Args:
        axis: the column of time.
        lower, upper: the time interval.
        sharpness: κ >= 0.
        like: gives dtype and device.
        workers: the processes whose residuals are seen together.
    """

    def __init__(
        self, axis: int, lower: float, upper: float, sharpness: float, like: Tensor, workers: Workers = ALONE
    ) -> None:
        self.axis, self.sharpness, self._workers = axis, sharpness, workers
        self._lower, self._inverse_bin = lower, BINS / (upper - lower)
        self._exponents = like.new_zeros(BINS + 1)  # κ ∫ℓ / ∫ℓ at the bins' edges

    def observe(self, points: Tensor, squares: Tensor) -> None:
        """Note squared residuals (N,) at points (N, d) that lie evenly."""
        place = ((points[:, self.axis] - self._lower) * self._inverse_bin).long().clamp(0, BINS - 1)
        both = torch.stack([squares.detach(), torch.ones_like(squares)])
        sums, counts = self._workers.total(squares.new_zeros(2, BINS).index_add_(1, place, both))
        total = (sums / counts.clamp(min=1)).cumsum(0)
        self._exponents[1:] = self.sharpness * torch.where(total[-1] > 0, total / total[-1], 0.0)

    def __call__(self, points: Tensor) -> Tensor:
        """Return the weights (N,) at points (N, d), piecewise exponential in time."""
        place = (points[:, self.axis] - self._lower) * self._inverse_bin
        left = place.long().clamp(0, BINS - 1)
        share = (place - left).clamp(0, 1)
        return torch.exp(-torch.lerp(self._exponents[left], self._exponents[left + 1], share))

    def state(self) -> list[float]:
        """Return what `restore` needs."""
        return [float(value) for value in self._exponents]

    def restore(self, state: Sequence[float]) -> None:
        """Go on with the weights of another run."""
        self._exponents.copy_(torch.as_tensor(list(state), dtype=torch.float64))


def importance_weights(magnitudes: Tensor, fraction: float, candidates: int = CANDIDATES) -> Tensor:
    r"""Return weights w = 1/q (N,) that make a mean over residual-weighted points one over the domain again.

    Of m candidates per chosen point, drawn without replacement in proportion to |r|, each is chosen with
    the probability 1 - exp(-c|r|), c such that one in m is; hence, f being the fraction chosen,

        q = (1 - f) + f m (1 - exp(-c|r|)),     E_q[w r²] = E[r²].

    The mean that fixes c is taken over the points that lie evenly, which come first.
    Source: Efraimidis, Spirakis (2006), Inf. Process. Lett. 97, 181-185 (exponential clocks).

    Args:
        magnitudes: |r| (N,) where and when the points were drawn, in the order of `residual_weighted`.
        fraction: f in [0, 1).
        candidates: m.
    """
    even = magnitudes[: max(len(magnitudes) - int(fraction * len(magnitudes)), 1)]
    unit = magnitudes / even.mean().clamp(min=torch.finfo(magnitudes.dtype).tiny)
    even = unit[: len(even)]
    lower, upper = torch.full_like(unit[0], -40.0), torch.full_like(unit[0], 40.0)  # of log c
    for _ in range(60):  # bisection without waiting for the device: 80 / 2⁶⁰ is rounding
        middle = 0.5 * (lower + upper)
        is_low = -torch.expm1(-middle.exp() * even).mean() < 1 / candidates
        lower, upper = torch.where(is_low, middle, lower), torch.where(is_low, upper, middle)
    chosen = -torch.expm1(-(0.5 * (lower + upper)).exp() * unit)
    return 1 / ((1 - fraction) + fraction * candidates * chosen)


class Weighting:
    """The weights of one training run.

    Args:
        fixed: the weight that each residual has already in the objective's factors.
        causal: weights by time of the equations; None for none.
        importance: share of residual-weighted points to correct for; 0 for no correction.
        like: gives dtype and device.
    """

    def __init__(self, fixed: Sequence[float], causal: CausalWeights | None, importance: float, like: Tensor) -> None:
        self.causal, self.importance = causal, importance
        self.fixed = tuple(fixed)
        self.multipliers = like.new_ones(len(self.fixed))  # changed in place, so that a captured step sees it
        self._updates = 0

    def point_factors(self, points: Tensor, magnitudes: Tensor | None = None) -> Tensor | float:
        """Return the square roots of the weights (N,) of the equations at points (N, d).

        Args:
            points: the collocation points.
            magnitudes: |r| (N,) at these points, if the points were drawn by it and shall be corrected for.
        """
        weights: Tensor | float = 1.0
        if self.causal is not None:
            weights = self.causal(points)
        if self.importance and magnitudes is not None:
            weights = weights * importance_weights(magnitudes.detach(), self.importance)
        return weights**0.5

    def balance(self, sizes: Sequence[float]) -> None:
        """Move the weights of all residuals towards equal sizes, the first equation's weight staying as it is.

        Args:
            sizes: of each residual's part in training without weights: its gradient's norm (Wang, Teng,
                Perdikaris (2021), SIAM J. Sci. Comput. 43, A3055) or the trace of its tangent kernel
                (Wang, Yu, Perdikaris (2022), J. Comput. Phys. 449, 110768).
        """
        pulls = [max(size, 1e-300) * weight for size, weight in zip(sizes, self.fixed, strict=True)]
        wanted = self.multipliers.new_tensor([pulls[0] / pull for pull in pulls])
        share = MEMORY if self._updates else 0.0
        self.multipliers.mul_(share).add_(wanted, alpha=1 - share)
        self._updates += 1

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs."""
        causal = [] if self.causal is None else self.causal.state()
        return {"multipliers": self.multipliers.tolist(), "updates": self._updates, "causal": causal}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with the weights of another run."""
        self.multipliers.copy_(torch.as_tensor(state["multipliers"], dtype=torch.float64))
        self._updates = int(state["updates"])
        if self.causal is not None:
            self.causal.restore(state["causal"])
