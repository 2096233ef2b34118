"""Adam and L-BFGS of torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pinnsolve.training.loop import StepResult
from pinnsolve.training.objective import Objective


class FirstOrder:
    """Adam or L-BFGS of torch on the same objective.

    Args:
        name: "adam" or "lbfgs".
        objective: the residuals.
        module: holds the parameters.
        learning_rate: of Adam.
    """

    def __init__(self, name: str, objective: Objective, module: nn.Module, learning_rate: float) -> None:
        self.name = name
        self._objective = objective
        self._parameters = list(module.parameters())
        self._optimizer = _TORCH_OPTIMIZERS[name](self._parameters, learning_rate)
        self.resample = 1 if name == "adam" else 50  # L-BFGS needs one function long enough to learn its curvature
        self._record = 10 if name == "adam" else 1  # a step of Adam is too cheap to write every one down
        self._known: Sequence[Tensor] = ()

    def step(self, points: Sequence[Tensor], number: int) -> StepResult:
        """Take one step of Adam, or up to 20 iterations of L-BFGS with a strong Wolfe line search."""
        if self.name == "lbfgs" and points is not self._known:
            self._optimizer.state.clear()  # curvature pairs of other points describe another function
            self._known = points
        first: dict[str, float] = {}
        evaluations = 0

        def closure() -> float:
            nonlocal evaluations
            self._optimizer.zero_grad()
            terms = self._objective.terms(points)
            loss = torch.stack(list(terms.values())).sum()
            loss.backward()
            evaluations += sum(len(place) for place in points)
            if not first:
                first.update({name: float(value.detach()) for name, value in terms.items()})
            return float(loss.detach())

        self._optimizer.step(closure)
        recorded = number == 1 or number % self._record == 0
        return StepResult(first, None, evaluations, recorded=recorded)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the optimizer's moments or curvature pairs."""
        tensors: dict[str, Tensor] = {}
        values: dict[str, Any] = {}
        for index, parameter in enumerate(self._parameters):
            for key, value in self._optimizer.state.get(parameter, {}).items():
                tensors.update(_flattened(f"{index}.{key}", value, values))
        return tensors, values

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on with the moments of another optimizer; L-BFGS starts its curvature afresh."""
        if self.name == "lbfgs":
            return
        for key, tensor in tensors.items():
            index, name = key.split(".", 1)
            self._optimizer.state[self._parameters[int(index)]][name] = tensor


def _flattened(key: str, value: Any, values: dict[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of one entry of an optimizer's state; plain numbers go to `values`."""
    if isinstance(value, Tensor):
        return {key: value}
    if isinstance(value, int | float):
        values[key] = value
    return {}


_TORCH_OPTIMIZERS: dict[str, Callable[[list[nn.Parameter], float], torch.optim.Optimizer]] = {
    "adam": lambda parameters, rate: torch.optim.Adam(parameters, lr=rate),
    "lbfgs": lambda parameters, _: torch.optim.LBFGS(
        parameters,
        max_iter=20,
        history_size=50,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    ),
}
