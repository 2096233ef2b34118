"""What watches training from outside: the error against the reference, and the last good network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pinnsolve.evaluation import field_values, relative_l2, scattered_points
from pinnsolve.networks import Ansatz, Network
from pinnsolve.references import ReferenceSolution
from pinnsolve.solving.march import March

MONITOR_POINTS = 2**11


class Monitor:
    """The error against the reference on a few fixed points of the windows begun so far.

    Args:
        march: the windows.
        reference: the truth, if there is one.
        parts: the solution in every window begun; the last of them changes.
    """

    def __init__(self, march: March, reference: ReferenceSolution | None, parts: Sequence[nn.Module]) -> None:
        points = scattered_points(march.problem, MONITOR_POINTS)
        window = march.window_of(points)
        self._open = march.problem.floating_fields if march.problem.time is None else ()
        self._truths: list[dict[str, NDArray[np.float64]]] = []
        if reference is not None and np.any(window < len(parts)):
            truth = reference(points)
            self._truths = [{name: values[window == k] for name, values in truth.items()} for k in range(len(parts))]
        self._part, self._points = parts[-1], points[window == len(parts) - 1]
        finished = enumerate(parts[:-1]) if self._truths else ()
        self._finished = [self._values(part, points[window == k]) for k, part in finished]

    def error(self) -> float | None:
        """Return the largest relative L2 error of a field; None without a reference, or before any point is reached."""
        if not self._truths:
            return None
        values = [*self._finished, self._values(self._part, self._points)]
        return float(np.max([self._error(name, _joined(values, name)) for name in self._truths[0]]))

    def _values(self, part: nn.Module, points: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Return the fields at points of one window, of which a short one may have none."""
        return field_values(part, points) if len(points) else {name: np.empty(0) for name in self._truths[0]}

    def _error(self, name: str, values: NDArray[np.float64]) -> float:
        truth = _joined(self._truths, name)
        return relative_l2(values, truth + np.mean(values - truth) if name in self._open else truth)


def _joined(parts: Sequence[dict[str, NDArray[np.float64]]], name: str) -> NDArray[np.float64]:
    return np.concatenate([part[name] for part in parts])


class Safeguard:
    """Keeps the last network whose loss was seen to be finite."""

    def __init__(self, ansatz: Ansatz) -> None:
        self._ansatz = ansatz
        self._seen = self._latest = self._snapshot()

    def advance(self) -> None:
        """Note a step: its loss was that of the parameters before it, so those are known to be good."""
        self._seen, self._latest = self._latest, self._snapshot()

    def restore(self) -> None:
        """Put the last good network and parameters back."""
        network, vector = self._seen
        self._ansatz.network = network
        vector_to_parameters(vector, network.parameters())

    def _snapshot(self) -> tuple[Network, Tensor]:
        network = self._ansatz.network
        return network, parameters_to_vector(network.parameters()).detach().clone()
