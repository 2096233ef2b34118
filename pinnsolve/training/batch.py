"""How many collocation points a gradient step takes: few while the network is far off, more as it gets accurate."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from typing import Any

NOISE = 2.0  # fresh over fitted loss: beyond, half of what a step gains is lost on the next points
MEMORY = 0.9  # of the logarithm of that ratio, from step to step
PATIENCE = 10  # steps between two changes


@dataclass
class BatchSize:
    """The number of points, doubled whenever sampling noise dominates.

    A step leaves the loss `fitted` on its own points, and the next one finds the loss `fresh` on others.
    Their ratio is near 1 when the points stand for the whole domain; when it is large, the step has
    fitted the points and not the equation between them, and more points gain more than more steps.

    Attributes:
        count: points now.
        largest: points at most.
    """

    count: int
    largest: int
    _noise: float = 0.0
    _since: int = 0
    _fitted: float | None = None

    def observe(self, fresh: float, fitted: float | None) -> None:
        """Note the loss of a step before and after it (None: not known), on points of its own."""
        if self._fitted and fresh > 0:
            self._noise = MEMORY * self._noise + (1 - MEMORY) * log(fresh / self._fitted)
            self._since += 1
        self._fitted = fitted
        if self._since >= PATIENCE and self.noise > NOISE and self.count < self.largest:
            self.count, self._since, self._noise = min(2 * self.count, self.largest), 0, 0.0

    @property
    def noise(self) -> float:
        """The ratio of fresh to fitted loss, a geometric mean over the last steps, corrected for its start."""
        return exp(self._noise / (1 - MEMORY**self._since)) if self._since else 1.0

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs."""
        return {"count": self.count, "noise": self._noise, "since": self._since, "fitted": self._fitted}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with the batch size of another run."""
        self.count, self._noise = int(state["count"]), float(state["noise"])
        self._since, self._fitted = int(state["since"]), state["fitted"]
