"""The state at the end of a window of time, as expressions that the next window can start from."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import sympy
import torch
from numpy.typing import NDArray
from torch import Tensor

from pinnsolve.derivatives import Differentiator, autograd, taylor
from pinnsolve.networks import Ansatz, points_at_once
from pinnsolve.networks.resolution import separable_sums
from pinnsolve.networks.spectral import Basis
from pinnsolve.problems import Partial, Problem
from pinnsolve.problems.known_functions import known_function
from pinnsolve.problems.windows import States, time_order
from pinnsolve.solving.march import Window

CUT_OFF = 1e-6  # an end state whose series errs by more than this, relative to its size, is worth a warning


def end_states(window: Window, number: int) -> tuple[States, list[str]]:
    """Return every field (and its slope, where the equations are of second order in time) at a window's end.

    As expressions in the space coordinates: numbers for an ODE, else known functions that are evaluated as
    Fourier or Chebyshev series.

    Args:
        window: trained.
        number: of the window, for names.

    Returns:
        The states, and a sentence for each one that no series of bearable length resolves.
    """
    problem = window.problem
    partials = _partials(problem)
    axis = problem.time_axis
    assert axis is not None
    ansatz = deepcopy(window.ansatz).double()
    maker = autograd if window.differentiator is autograd else taylor

    def at_the_end(places: NDArray[np.float64]) -> NDArray[np.float64]:
        points = torch.as_tensor(np.insert(places, axis, problem.box[1][axis], axis=1))
        return np.concatenate([_values(ansatz, maker, part, partials) for part in points.split(points_at_once(ansatz))])

    space = [c for c in problem.coordinates if c.name != problem.time]
    if not space:
        numbers = at_the_end(np.empty((1, 0)))[0]
        return _by_field(partials, [sympy.Float(float(number)) for number in numbers]), []
    names = [partial.name(problem.coordinate_names) for partial in partials]
    series = separable_sums(at_the_end, [Basis.of(coordinate) for coordinate in space])
    symbols = [coordinate.symbol for coordinate in space]
    functions = [
        known_function(f"{name}_end_{number}", each, len(space))(*symbols)
        for name, each in zip(names, series, strict=True)
    ]
    notes = [
        f"the series of {name} at the end of window {number} errs by {each.error:.0e}: it is not smooth enough"
        for name, each in zip(names, series, strict=True)
        if not each.error <= CUT_OFF
    ]
    return _by_field(partials, functions), notes


def _partials(problem: Problem) -> list[Partial]:
    """Return what the next window starts from: u, ∂u/∂t, ... up to one less than the equations' order in time."""
    orders = [tuple(int(name == problem.time) for name in problem.coordinate_names)]
    return [
        Partial(field, tuple(order * each for each in orders[0]))
        for field in problem.field_names
        for order in range(time_order(problem, field))
    ]


def _values(ansatz: Ansatz, maker: Differentiator, points: Tensor, partials: Sequence[Partial]) -> NDArray[np.float64]:
    """Return the partial derivatives at points (N, d), (N, M)."""
    device = next(ansatz.parameters()).device
    with torch.no_grad():
        jet = maker(ansatz, points.to(device), partials)
    return torch.stack([jet[partial] for partial in partials], -1).cpu().numpy()


def _by_field(partials: Sequence[Partial], states: Sequence[sympy.Expr]) -> States:
    found: dict[str, list[sympy.Expr]] = {}
    for partial, state in zip(partials, states, strict=True):
        found.setdefault(partial.field, []).append(state)
    return found
