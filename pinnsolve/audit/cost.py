"""What a derivative costs: evaluations, time and memory per point, by automatic differentiation and by stencils."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pinnsolve.audit.baseline import Model
from pinnsolve.audit.records import Cost
from pinnsolve.derivatives.autograd import autograd
from pinnsolve.derivatives.jet import Differentiator
from pinnsolve.derivatives.taylor import taylor
from pinnsolve.problems import Partial

_POINTS = 256  # at most; fewer on wide networks, as the audit has them
_REPEATS = 3
_STEP = 2.0**-20  # relative; the cost does not depend on it


def costs(
    model: Model, partials: Mapping[Partial, str], schemes: Sequence[str], synchronize: Callable[[], None]
) -> Iterator[Cost]:
    """Yield the cost of every derivative (with its name) by every method.

    Args:
        model: in float64.
        partials: derivatives with their names.
        schemes: finite-difference schemes.
        synchronize: waits for the device.
    """
    points = model.sample.points[:_POINTS]
    methods: dict[str, Differentiator] = {"taylor": taylor, "autograd": autograd}
    methods |= {scheme: model.sample.differentiator(scheme, _STEP) for scheme in schemes}
    for partial, term in partials.items():
        for method, differentiator in methods.items():
            try:
                yield _cost(term, method, differentiator, model.fields64, points, partial, synchronize)
            except NotImplementedError:  # Taylor mode has no rule for a function of the trial solution
                continue


def _cost(
    term: str,
    method: str,
    differentiator: Differentiator,
    fields: nn.Module,
    points: Tensor,
    partial: Partial,
    synchronize: Callable[[], None],
) -> Cost:
    counted = _Counted(fields)

    def run() -> None:
        with nullcontext() if method == "autograd" else torch.no_grad():
            differentiator(counted, points, [partial])
        synchronize()

    with PeakMemory() as memory:
        run()
    evaluations = counted.evaluations / len(points)
    seconds = min(_seconds(run) for _ in range(_REPEATS))
    return Cost(term, method, evaluations, 1e6 * seconds / len(points), memory.peak / len(points))


def _seconds(run: Callable[[], None]) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start


class _Counted:
    """Fields that count the points they are evaluated at."""

    def __init__(self, fields: nn.Module) -> None:
        self.fields, self.evaluations = fields, 0

    def __call__(self, points: Any) -> Any:
        values = points if isinstance(points, Tensor) else points.coefficients[0]
        self.evaluations += values.shape[:-1].numel()
        return self.fields(points)


class _Counting:
    """What `PeakMemory` does with every operation.

    Apart from the mode itself: torch wraps the method of a mode's own class with its compiler, which takes seconds to
    import.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._live = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation and count what it makes."""
        known = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                if storage._cdata not in known | self._known:
                    self._known.add(storage._cdata)
                    self._live += storage.nbytes()
                    weakref.finalize(storage, self._released, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self._live)
        return result

    def _released(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._live -= size


class PeakMemory(_Counting, TorchDispatchMode):
    """Counts, while the block runs, the bytes of all tensors made in it that live at once.

    Attributes:
        peak: the most bytes at once.
    """
