"""The trial solution of a problem that was marched through windows of time: one ansatz per window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pinnsolve.networks.ansatz import Ansatz


class PiecewiseAnsatz(nn.Module):
    """The parts' values, each part in its own window (t_k, t_(k+1)], the first and the last also beyond.

    Args:
        axis: the column of time.
        edges: t_0 ... t_n, ascending.
        parts: those of the first windows; where later ones are missing, there is no solution, and values are NaN.
    """

    def __init__(self, axis: int, edges: Sequence[float], parts: Sequence[Ansatz]) -> None:
        super().__init__()
        self.axis, self.edges = axis, tuple(edges)
        self.parts = nn.ModuleList(parts)

    @property
    def windows(self) -> list[tuple[float, float]]:
        """The ends of each part's window."""
        return list(zip(self.edges, self.edges[1:], strict=False))[: len(self.parts)]

    def window(self, points: Any) -> Tensor:
        """Return the index (...) of the window in which each of the points (..., d) lies."""
        times = points[..., self.axis]
        values = times.coefficients[0] if hasattr(times, "compose") else times
        # in the precision of the points: rounding keeps the order of points and joints
        return torch.bucketize(values.contiguous(), values.new_tensor(self.edges[1:-1]))

    def forward(self, points: Any) -> dict[str, Any]:
        """Return the values (...) of every field at points (..., d), tensors or truncated Taylor series."""
        index = self.window(points)
        found = torch.unique(index).tolist()
        if len(found) <= 1:
            return self._part(found[0] if found else 0, points)
        chosen = [index == window for window in found]
        values = [self._part(window, points[mask]) for window, mask in zip(found, chosen, strict=True)]
        # where each point stands in the row of all windows' points
        place = torch.empty_like(index)
        place[torch.cat([mask.nonzero() for mask in chosen]).unbind(-1)] = torch.arange(
            index.numel(), device=index.device
        )
        return {name: torch.cat([value[name] for value in values], -1)[place] for name in values[0]}

    def _part(self, window: int, points: Any) -> dict[str, Any]:
        if window < len(self.parts):
            return self.parts[window](points)
        return {name: value * float("nan") for name, value in self.parts[-1](points).items()}


def parts_of(ansatz: nn.Module) -> list[Any]:
    """Return the trial solutions that this one consists of."""
    return list(ansatz.parts) if isinstance(ansatz, PiecewiseAnsatz) else [ansatz]
