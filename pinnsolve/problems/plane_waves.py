r"""How fast short plane waves grow, travel or decay, by the principal part of equations of first order in time.

For M u_t + Σ_(|α|=m) A_α ∂^α u + lower orders = 0 a wave exp(ik·x + μt) has det(μM + Σ A_α (ik)^α) = 0 to leading
order in k. Coefficients that depend on the place are frozen there.
Source: Kreiss, Lorenz (1989), Initial-Boundary Value Problems and the Navier-Stokes Equations, chapter 2.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import sympy
from numpy.typing import NDArray

from pinnsolve.problems.partials import Partial
from pinnsolve.problems.problem import Problem


def principal_order(problem: Problem) -> int:
    """Return the highest order of a derivative in space alone."""
    axis = problem.time_axis
    return max((partial.order for partial in problem.partials if axis is None or not partial.orders[axis]), default=0)


def evolves(problem: Problem) -> bool:
    """Return whether there is one equation per field, and time derivatives are of first order and not mixed."""
    axis = problem.time_axis
    if axis is None or len(problem.equations) != len(problem.fields):
        return False
    return not any(
        partial.orders[axis] > 1 or (partial.orders[axis] and partial.order > 1) for partial in problem.partials
    )


def directions(problem: Problem) -> NDArray[np.float64]:
    """Return wave vectors (n, dimensions of space): the axes and two oblique ones."""
    dimension = len(problem.coordinates) - 1
    oblique = np.random.default_rng(0).standard_normal((2, dimension))
    return np.concatenate([np.eye(dimension), oblique])


def rates(
    problem: Problem, wave: NDArray[np.float64], place: Mapping[sympy.Symbol, float] | None = None
) -> NDArray[np.complex128] | None:
    """Return the μ (number of fields,) of a wave vector.

    None if u_t cannot be solved for, or coefficients depend on the fields, or on coordinates and no place is given.
    """
    axis, order = problem.time_axis, principal_order(problem)
    assert axis is not None
    fields = {name: column for column, name in enumerate(problem.field_names)}
    mass, symbol = (np.zeros((len(fields), len(fields)), dtype=complex) for _ in range(2))
    for row, equation in enumerate(problem.equations):
        for partial, placeholder in equation.placeholders.items():
            in_time = partial.orders[axis] == 1
            if not in_time and partial.order != order:
                continue
            coefficient = sympy.diff(equation.placed, placeholder).subs(place or {})
            if coefficient.free_symbols or not (coefficient.is_finite and coefficient.is_real):
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
