"""Adam, SOAP and L-BFGS, as torch and pytorch-optimizer implement them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pinnsolve.errors import ResourceError
from pinnsolve.training.graphs import Capture, LossAndGradient
from pinnsolve.training.loop import StepResult
from pinnsolve.training.objective import Objective

RATES = {"adam": 1e-3, "soap": 3e-3}
RECORD = 10  # a step of Adam or SOAP is too cheap to write every one down


class FirstOrder:
    """Adam, SOAP or L-BFGS on the same objective.

    Args:
        name: "adam", "soap" or "lbfgs".
        objective: the residuals.
        module: holds the parameters.
        learning_rate: of Adam and SOAP; None for the one in `RATES`.
        capture: of `LossAndGradient`.

    Raises:
        ResourceError: the package that has SOAP is not installed.
    """

    def __init__(
        self,
        name: str,
        objective: Objective,
        module: nn.Module,
        learning_rate: float | None,
        *,
        capture: Capture | None = None,
    ) -> None:
        self.name = name
        self._objective = objective
        self._evaluate = LossAndGradient(objective, list(module.parameters()), capture=capture)
        self._optimizer = OPTIMIZERS[name](self._evaluate.parameters, learning_rate or RATES.get(name, 1.0))
        self.resample = 50 if name == "lbfgs" else 1  # L-BFGS needs one function long enough to learn its curvature
        self._record = 1 if name == "lbfgs" else RECORD
        self._terms: dict[str, float] = {}
        self._known: list[list[float]] = []

    def step(self, points: Sequence[Tensor], number: int) -> StepResult:
        """Take one step of Adam or SOAP, or up to 20 iterations of L-BFGS with a strong Wolfe line search."""
        if self.name == "lbfgs":
            self._forget_other_functions(points)
        first: list[Tensor] = []
        calls = 0

        def closure() -> Tensor:
            nonlocal calls
            terms = self._evaluate(points)
            calls += 1
            if not first:
                first.append(terms.clone())
            return terms.sum()

        self._optimizer.step(closure)  # type: ignore[arg-type]  # torch says float; its own optimizers take tensors
        recorded = number == 1 or number % self._record == 0
        if recorded or not (self._evaluate.is_captured and self._terms):  # where nothing is replayed, reading is free
            self._terms = self._evaluate.named(first[0])
        evaluations = calls * sum(self._objective.total_count(place) for place in points)
        return StepResult(self._terms, None, evaluations, recorded=recorded)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the optimizer's moments, eigenbases or curvature pairs."""
        tensors: dict[str, Tensor] = {}
        values = packed(self._optimizer.state_dict(), "optimizer", tensors)
        return tensors, {"optimizer": values, "function": self._known}

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on where another optimizer of the same name stood, bit for bit."""
        state = unpacked(values["optimizer"], tensors)
        state["state"] = {int(index): entry for index, entry in state["state"].items()}  # JSON has text keys only
        self._optimizer.load_state_dict(state)
        self._known = values["function"]

    def _forget_other_functions(self, points: Sequence[Tensor]) -> None:
        """Drop curvature pairs of other points or other weights: they describe another function."""
        # no two draws of points share the first ones, and JSON keeps them bit for bit
        now = [*(place[0].tolist() for place in points), self._objective.weighting.multipliers.tolist()]
        if now != self._known:
            self._optimizer.state.clear()
            self._known = now


def packed(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    """Return nested dicts and lists as JSON can hold them; their tensors go to `tensors`, named after their place.

    >>> found = {}
    >>> packed({"step": 3, "bases": [[], torch.eye(2)]}, "state", found)
    {'step': 3, 'bases': [[], {'tensor': 'state.bases.1'}]}
    >>> list(found)
    ['state.bases.1']
    """
    if isinstance(value, Tensor):
        tensors[place] = value
        return {"tensor": place}
    if isinstance(value, dict):
        return {str(key): packed(entry, f"{place}.{key}", tensors) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [packed(entry, f"{place}.{index}", tensors) for index, entry in enumerate(value)]
    return value


def unpacked(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return what was `packed`, keys as text and tuples as lists."""
    if isinstance(value, dict):
        if value.keys() == {"tensor"}:
            return tensors[value["tensor"]]
        return {key: unpacked(entry, tensors) for key, entry in value.items()}
    return [unpacked(entry, tensors) for entry in value] if isinstance(value, list) else value


def _soap(parameters: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """Return SOAP (Vyas et al. (2025), ICLR) without weight decay, which would pull the solution towards g."""
    return soap_class()(parameters, lr=rate, weight_decay=0.0)


def soap_class() -> Callable[..., torch.optim.Optimizer]:
    """Return the class of SOAP.

    Raises:
        ResourceError: its package is not installed.
    """
    try:
        from pytorch_optimizer import SOAP
    except ImportError as error:
        message = f"optimizer soap needs the package pytorch-optimizer ({error}); pip install pytorch-optimizer"
        raise ResourceError(message) from None
    return SOAP


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter], float], torch.optim.Optimizer]] = {
    "adam": lambda parameters, rate: torch.optim.Adam(parameters, lr=rate),
    "soap": _soap,
    "lbfgs": lambda parameters, _: torch.optim.LBFGS(
        parameters,
        max_iter=20,
        history_size=50,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    ),
}
