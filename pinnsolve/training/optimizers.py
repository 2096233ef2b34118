"""What every optimizer of the least-squares objective can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from pinnsolve.training.loop import StepResult


class Optimizer(Protocol):
    """Changes the network's parameters so that the objective falls."""

    name: str
    resample: int  # fresh points every so many steps suit it

    def step(self, points: Sequence[Tensor], number: int) -> StepResult:
        """Take step `number` on these points, one tensor (N, d) per block of the objective."""
        ...

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and plain values that `restore` needs."""
        ...

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on where another optimizer of the same kind stood."""
        ...
