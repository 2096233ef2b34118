"""The maker of jets in training: chosen, checked at start-up, and put together over windows of time."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import nan

import torch
from torch import Tensor, nn

from pinnsolve.derivatives import Differentiator, Jet, autograd, taylor
from pinnsolve.derivatives.coupled import CoupledDifferences, coupled_differences
from pinnsolve.derivatives.finite_differences import FiniteDifferences, finite_differences
from pinnsolve.derivatives.jet import Fields
from pinnsolve.evaluation import scattered_points
from pinnsolve.networks import Ansatz
from pinnsolve.networks.piecewise import PiecewiseAnsatz
from pinnsolve.problems import Partial, Problem
from pinnsolve.solving.settings import Settings

_TAYLOR_TOLERANCE = 1e-9  # relative; float64 roundoff of order 4 is about 1e-12, a wrong rule is of order 1


@dataclass(frozen=True)
class WindowedJets:
    """Jets of a piecewise ansatz, each window's by the maker it was trained with, so that no stencil crosses a joint.

    Attributes:
        makers: one per part of the ansatz.
    """

    makers: tuple[Differentiator, ...]

    def __call__(self, fields: Fields, points: Tensor, partials: Sequence[Partial]) -> Jet:
        """Return the jet at points (N, d); NaN where there is no solution."""
        assert isinstance(fields, PiecewiseAnsatz)
        index = fields.window(points)
        values = {partial: points.new_full(points.shape[:-1], nan) for partial in partials}
        for window, (part, maker) in enumerate(zip(fields.parts, self.makers, strict=True)):
            inside = index == window
            if bool(inside.any()):
                for partial, value in maker(part, points[inside], partials).items():
                    values[partial][inside] = value
        return Jet(points, values)


def steps_of(maker: Differentiator) -> tuple[float, ...]:
    """Return the finite-difference steps of a maker of jets, of the first window's where there are several."""
    first = maker.makers[0] if isinstance(maker, WindowedJets) else maker
    return first.steps if isinstance(first, FiniteDifferences | CoupledDifferences) else ()


def choose_differentiator(problem: Problem, settings: Settings, ansatz: Ansatz) -> tuple[Differentiator, bool, str]:
    """Return the maker of jets, whether layerwise Jacobians hold for it, and a warning if it was replaced."""
    if settings.derivatives == "autograd":
        return autograd, False, ""
    if settings.derivatives == "fd":
        return finite_differences(settings.fd.scheme, *_grid(problem, settings)), True, ""
    fault = taylor_fault(problem, ansatz)
    maker = autograd if fault else taylor
    if settings.derivatives == "coupled":
        maker = coupled_differences(*_grid(problem, settings), slopes=maker)
    return maker, not fault, fault


def _grid(problem: Problem, settings: Settings) -> tuple[list[float], list[float], list[float], list[bool]]:
    """Return steps, lower and upper ends, and periodicity of the coordinates."""
    lower, upper = problem.box
    steps = (0.5 * settings.fd.step * (upper - lower)).tolist()
    return steps, lower.tolist(), upper.tolist(), [coordinate.periodic for coordinate in problem.coordinates]


def taylor_fault(problem: Problem, ansatz: nn.Module) -> str:
    """Return how Taylor mode differs from nested autograd on a few points; empty if they agree."""
    sample = torch.as_tensor(scattered_points(problem, 16))
    copy = deepcopy(ansatz).to("cpu", torch.float64)
    with torch.no_grad():
        try:
            jet = taylor(copy, sample, problem.partials)
        except NotImplementedError as error:
            return f"derivatives are taken by nested autograd: {error}"
        oracle = autograd(copy, sample, problem.partials)
    for partial in problem.partials:
        scale = float(oracle[partial].abs().max().clamp(min=1e-30))
        difference = float((jet[partial] - oracle[partial]).abs().max()) / scale
        if not difference <= _TAYLOR_TOLERANCE:
            name = partial.name(problem.coordinate_names)
            return f"Taylor mode differs from nested autograd by {difference:.1e} in {name}; autograd is used instead"
    return ""
