r"""Whether waves of a problem disperse: short ones travel at speeds of their own, and nothing damps them.

For M u_t + Σ_(|α|=m) A_α ∂^α u + lower orders = 0 a wave exp(ik·x + μt) has det(μM + Σ A_α (ik)^α) = 0 to leading
order. All μ imaginary, as for Korteweg-de Vries and Schrödinger: an error made early stays to the end, and solutions
are found window by window of time. Re μ < 0, as for a viscous term: errors die out.
Source: Whitham (1974), Linear and Nonlinear Waves, chapter 11.
"""

from __future__ import annotations

import numpy as np
import sympy
from numpy.typing import NDArray

from pinnsolve.problems.partials import Partial
from pinnsolve.problems.problem import Problem

_IMAGINARY = 1e-9  # of the largest rate


def is_dispersive(problem: Problem) -> bool:
    """Return whether all fields evolve in first order of time, with a dispersive principal part of order 2 or more.

    False also where the principal part has coefficients that are not constant.
    """
    axis = problem.time_axis
    orders = _space_orders(problem)
    if axis is None or max(orders, default=0) < 2 or len(problem.equations) != len(problem.fields):
        return False
    if any(partial.orders[axis] > 1 or (partial.orders[axis] and partial.order > 1) for partial in problem.partials):
        return False
    rates = [_rates(problem, direction, max(orders)) for direction in _directions(len(problem.coordinates) - 1)]
    return all(each is not None and _is_imaginary(each) for each in rates)


def _space_orders(problem: Problem) -> list[int]:
    axis = problem.time_axis
    return [partial.order for partial in problem.partials if axis is None or not partial.orders[axis]]


def _directions(dimension: int) -> NDArray[np.float64]:
    """Return wave vectors (n, dimension): the axes and two oblique ones."""
    oblique = np.random.default_rng(0).standard_normal((2, dimension))
    return np.concatenate([np.eye(dimension), oblique])


def _rates(problem: Problem, wave: NDArray[np.float64], order: int) -> NDArray[np.complex128] | None:
    """Return the μ of one wave vector; None if coefficients vary or u_t cannot be solved for."""
    axis = problem.time_axis
    assert axis is not None
    fields = {name: column for column, name in enumerate(problem.field_names)}
    mass, symbol = (np.zeros((len(fields), len(fields)), dtype=complex) for _ in range(2))
    for row, equation in enumerate(problem.equations):
        for partial, placeholder in equation.placeholders.items():
            in_time = partial.orders[axis] == 1
            if not in_time and partial.order != order:
                continue
            coefficient = sympy.diff(equation.placed, placeholder)
            if coefficient.free_symbols:
                return None
            if in_time:
                mass[row, fields[partial.field]] += float(coefficient)
            else:
                symbol[row, fields[partial.field]] += float(coefficient) * _plane_wave(partial, axis, wave)
    if np.linalg.matrix_rank(mass) < len(fields):
        return None
    return np.linalg.eigvals(-np.linalg.solve(mass, symbol)).astype(np.complex128)


def _plane_wave(partial: Partial, time_axis: int, wave: NDArray[np.float64]) -> complex:
    """Return Π (i k_a)^α_a over the space coordinates."""
    space = [order for axis, order in enumerate(partial.orders) if axis != time_axis]
    return complex(np.prod([(1j * k) ** order for k, order in zip(wave, space, strict=True)]))


def _is_imaginary(rates: NDArray[np.complex128]) -> bool:
    sizes = np.abs(rates)
    return bool(sizes.min() > 0 and np.abs(rates.real).max() <= _IMAGINARY * sizes.max())
