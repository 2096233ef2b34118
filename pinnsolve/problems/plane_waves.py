r"""How fast short plane waves grow, travel or decay, by the principal part of equations of first order in time.

For M u_t + Σ_(|α|=m) A_α ∂^α u + lower orders = 0 a wave exp(ik·x + μt) has det(μM + Σ A_α (ik)^α) = 0 to leading
order in k. Coefficients that depend on the place are frozen there.
Source: Kreiss, Lorenz (1989), Initial-Boundary Value Problems and the Navier-Stokes Equations, chapter 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import sympy
from numpy.typing import NDArray

from pinnsolve.problems.formulas import Formula, numpy_functions
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


@dataclass(frozen=True)
class PrincipalPart:
    """The M and A_α of equations that evolve, where they depend on the coordinates alone.

    Attributes:
        problem: it has a time, and its equations are of first order in it.
        coefficients: the entries of M and A_α by equation and the derivative that they multiply.
    """

    problem: Problem
    coefficients: Mapping[tuple[int, Partial], sympy.Expr]

    @classmethod
    def of(cls, problem: Problem) -> PrincipalPart | None:
        """Return the principal part of a problem that evolves, None if it depends on more than coordinates."""
        axis, order = problem.time_axis, principal_order(problem)
        assert axis is not None
        coefficients = {
            (row, partial): sympy.diff(equation.placed, placeholder)
            for row, equation in enumerate(problem.equations)
            for partial, placeholder in equation.placeholders.items()
            if partial.orders[axis] or partial.order == order
        }
        known = all(coefficient.free_symbols <= set(problem.symbols) for coefficient in coefficients.values())
        return cls(problem, coefficients) if known else None

    @property
    def is_constant(self) -> bool:
        """Whether no coefficient depends on the place."""
        return not any(coefficient.free_symbols for coefficient in self.coefficients.values())

    def rates(self, waves: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.complex128]:
        """Return the μ (K, n, number of fields) of wave vectors (n, dimensions of space) at K of the points (N, d).

        The others have a coefficient that is no finite number, or u_t cannot be solved for there.
        """
        axis, names = self.problem.time_axis, self.problem.field_names
        assert axis is not None
        with np.errstate(all="ignore"):
            formula = Formula(list(self.coefficients.values()), self.problem.symbols)
            values = formula(numpy_functions(), [column[:, None] for column in points.T])  # (N, 1), or a float
        mass = np.zeros((len(points), 1, len(names), len(names)))
        symbol = np.zeros((len(points), len(waves), len(names), len(names)), dtype=complex)
        for (row, partial), value in zip(self.coefficients, values, strict=True):
            column = names.index(partial.field)
            if partial.orders[axis]:
                mass[..., row, column] = value
            else:
                symbol[..., row, column] += value * _plane_waves(partial, axis, waves)
        known = np.isfinite(mass).all((1, 2, 3)) & np.isfinite(symbol).all((1, 2, 3))
        mass, symbol = mass[known], symbol[known]
        solvable = np.linalg.matrix_rank(mass[:, 0]) == len(names)
        return np.linalg.eigvals(-np.linalg.solve(mass[solvable], symbol[solvable])).astype(np.complex128)


def _plane_waves(partial: Partial, time_axis: int, waves: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return Π (i k_a)^α_a over the space coordinates, one for each wave vector."""
    space = [order for axis, order in enumerate(partial.orders) if axis != time_axis]
    found: NDArray[np.complex128] = np.prod((1j * waves) ** space, axis=1)
    return found
