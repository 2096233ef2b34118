"""The objective and its gradient: evaluated eagerly on a CPU, captured once and replayed on CUDA.

A step of a small network is hundreds of kernels of microseconds each: launching them from Python takes longer
than running them. A CUDA graph launches all of them at once, on inputs that stay where they are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pinnsolve.training.objective import Objective

Capture = Callable[[Callable[[], Tensor]], Callable[[], Tensor]]
WARM_UPS = 3  # runs before a capture: libraries allocate and choose their kernels in the first ones


class LossAndGradient:
    """Evaluates the terms of the objective, and writes the gradient of their sum where the parameters keep theirs.

    The `grad` of every parameter is a view of one vector, `gradient` (P,); parameters may only change in place.

    Args:
        objective: the residuals.
        parameters: those that the gradient is taken of, all on one device.
        capture: turns a function of fixed buffers into one that repeats it on their present content;
            None for `cuda_graph` on CUDA and for no capture elsewhere.
    """

    def __init__(
        self, objective: Objective, parameters: Sequence[nn.Parameter], *, capture: Capture | None = None
    ) -> None:
        self._objective, self.parameters = objective, list(parameters)
        first = self.parameters[0]
        self.gradient = first.new_zeros(sum(parameter.numel() for parameter in self.parameters))
        self._capture = cuda_graph if capture is None and first.is_cuda else capture
        self._inputs: list[Tensor] = []
        self._replay: Callable[[], Tensor] | None = None
        for parameter, view in zip(self.parameters, self._views(self.gradient), strict=True):
            parameter.grad = view

    def __call__(self, points: Sequence[Tensor]) -> Tensor:
        """Return the terms of the objective (K,) at these points; the gradient of their sum is in `gradient`.

        What is returned is overwritten by the next call.
        """
        terms = self._repeated(points)
        workers = self._objective.workers
        workers.total(self.gradient)
        return workers.total(terms)

    def _repeated(self, points: Sequence[Tensor]) -> Tensor:
        """Return this process's terms, by the graph if there is one; its gradient is in `gradient`."""
        if self._capture is None:
            return self._evaluated(points)
        if [place.shape for place in points] != [buffer.shape for buffer in self._inputs]:
            self._inputs = [place.clone() for place in points]
            try:
                self._replay = self._capture(lambda: self._evaluated(self._inputs))
            except RuntimeError:  # a residual that waits for the host, as a test of values does, cannot be captured
                self._capture = None
                return self._evaluated(points)
        for buffer, place in zip(self._inputs, points, strict=True):
            buffer.copy_(place)
        assert self._replay is not None
        return self._replay()

    @property
    def is_captured(self) -> bool:
        """Whether evaluations are replayed, so that reading a number waits for all that was launched."""
        return self._capture is not None

    def named(self, terms: Tensor) -> dict[str, float]:
        """Return the terms by the residuals' names, as numbers."""
        return dict(zip(self._objective.names, terms.tolist(), strict=True))

    def position(self) -> Tensor:
        """Return a copy of the parameters (P,)."""
        return torch.cat([parameter.detach().flatten() for parameter in self.parameters])

    def move_to(self, position: Tensor) -> None:
        """Give the parameters these values (P,), in place."""
        with torch.no_grad():
            for parameter, values in zip(self.parameters, self._views(position), strict=True):
                parameter.copy_(values)

    def _evaluated(self, points: Sequence[Tensor]) -> Tensor:
        with torch.enable_grad():
            terms = torch.stack(list(self._objective.terms(points).values()))
            gradients = torch.autograd.grad(terms.sum(), self.parameters, materialize_grads=True)
        torch.cat([gradient.flatten() for gradient in gradients], out=self.gradient)
        return terms.detach()

    def _views(self, vector: Tensor) -> list[Tensor]:
        parts = vector.split([parameter.numel() for parameter in self.parameters])
        return [part.view_as(parameter) for part, parameter in zip(parts, self.parameters, strict=True)]


def cuda_graph(function: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Return a function that launches the kernels of this one as a CUDA graph and returns the same tensor each time."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = function()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay
