"""Equations and conditions on plane domains taken apart by the derivatives that they read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import sympy
from scipy.optimize import linear_sum_assignment

from pinnsolve.problems import Condition, Partial, Problem, Residual
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.problems.places import Place

FIRST = ((0, 0), (1, 0), (0, 1))
SECOND = ((2, 0), (1, 1), (0, 2))
_PLACES = 16  # of the domain at which couplings are compared
_NONE = 1e-300

Symbols = tuple[sympy.Symbol, ...]
Matrix = tuple[sympy.Expr, sympy.Expr, sympy.Expr]


@dataclass(frozen=True)
class Equation:
    """Σ_f a^f_ij ∂_ij u_f + rest = 0, or = -∂ₜu where there is time.

    Attributes:
        second: a_xx, a_xy (half of the coefficient of ∂_xy), a_yy of each field.
        rest: without second derivatives.
    """

    second: tuple[Matrix, ...]
    rest: sympy.Expr


class WeakSymbols:
    """The symbols under which derivatives stand in a problem's residuals.

    Attributes:
        x, y, time: the coordinates; no time in a steady problem.
        first, second: u, u_x, u_y and u_xx, u_xy, u_yy of each field.
        symbols: the coordinates, then u, u_x, u_y of one field after the other.
    """

    def __init__(self, problem: Problem) -> None:
        assert problem.domain is not None
        self.problem = problem
        self.x, self.y = problem.domain.symbols
        self.time = None if problem.time_axis is None else problem.symbols[problem.time_axis]
        self.first = [self._placeholders(name, FIRST) for name in problem.field_names]
        self.second = [self._placeholders(name, SECOND) for name in problem.field_names]
        self.rates = [self._placeholder(name, (0, 0), 1) for name in problem.field_names]
        self.readings: Symbols = tuple(symbol for of_field in self.first for symbol in of_field)
        self.symbols: Symbols = (*problem.symbols, *self.readings)

    def _placeholders(self, name: str, orders: Iterable[tuple[int, int]]) -> Symbols:
        return tuple(self._placeholder(name, order) for order in orders)

    def _placeholder(self, name: str, orders: tuple[int, int], in_time: int = 0) -> sympy.Symbol:
        """Return the symbol of a derivative in `Residual.placed`."""
        problem, every = self.problem, [0] * len(self.problem.coordinates)
        assert problem.domain is not None
        for axis, order in zip(problem.domain.axes, orders, strict=True):
            every[axis] = order
        if problem.time_axis is not None:
            every[problem.time_axis] = in_time
        return sympy.Symbol(Partial(name, tuple(every)).name(problem.coordinate_names), real=True)

    def reads_only(self, residual: Residual, symbols: Iterable[sympy.Symbol]) -> bool:
        """Whether a residual reads no other derivatives than these."""
        return {residual.placeholders[partial] for partial in residual.partials} <= set(symbols)

    def moves(self, expression: sympy.Expr) -> bool:
        """Whether an expression changes in time."""
        return self.time is not None and self.time in expression.free_symbols

    def equations(self) -> list[Equation] | None:
        """Return the equations, solved for ∂ₜ of each field where there is time; None where they have no such form."""
        known = {*self.readings, *self._highest, *(self.rates if self.time is not None else ())}
        if not all(self.reads_only(equation, known) for equation in self.problem.equations):
            return None
        wholes = [equation.placed for equation in self.problem.equations]
        solved = wholes if self.time is None else self._solved_for_rates(wholes)
        found = [self._equation(whole) for whole in solved or ()]
        equations = [equation for equation in found if equation is not None]
        return equations if len(equations) == len(wholes) else None

    @property
    def _highest(self) -> Symbols:
        return tuple(symbol for of_field in self.second for symbol in of_field)

    def _solved_for_rates(self, wholes: Sequence[sympy.Expr]) -> list[sympy.Expr] | None:
        matrix = sympy.Matrix([[sympy.diff(whole, rate) for rate in self.rates] for whole in wholes])
        if matrix.has(*self.readings, *self.rates, *self._highest) or sympy.simplify(matrix.det()) == 0:
            return None
        still = sympy.Matrix([whole.subs(dict.fromkeys(self.rates, 0)) for whole in wholes])
        return list(matrix.LUsolve(still))

    def _equation(self, whole: sympy.Expr) -> Equation | None:
        coefficients = [tuple(sympy.diff(whole, symbol) for symbol in of_field) for of_field in self.second]
        if any(each.has(*self.readings, *self._highest) for of_field in coefficients for each in of_field):
            return None
        second = tuple((axx, axy / 2, ayy) for axx, axy, ayy in coefficients)
        return Equation(second, whole.subs(dict.fromkeys(self._highest, 0)))

    def value(self, whole: sympy.Expr) -> tuple[int, sympy.Expr] | None:
        """Return the field and the v for which an expression is zero at u = v, if it is linear in u and in no other."""
        read = [k for k, (u, ux, uy) in enumerate(self.first) if whole.has(u, ux, uy)]
        if len(read) != 1:
            return None
        u = self.first[read[0]][0]
        factor = sympy.diff(whole, u)
        if factor == 0 or factor.has(*self.readings):
            return None
        return read[0], -whole.subs(u, 0) / factor

    def is_fixed_in_place(self, condition: Condition) -> bool:
        """Whether the part of the boundary on which a condition holds does not move."""
        return not any(self.moves(restriction.margin) for restriction in condition.restrictions)


def paired(equations: Sequence[Equation], names: WeakSymbols) -> list[int] | None:
    """Return for each field the equation that is tested with its functions, None where there is no such pairing.

    The one with its strongest a_xx + a_yy; of a field without second derivatives, one without them.
    """
    if names.time is not None:
        return list(range(len(equations)))
    columns = list(Place(names.problem).sobol(_PLACES, seed=0).T)
    formulas = [[Formula(each.second[f], names.problem.symbols) for each in equations] for f in range(len(equations))]
    strength = np.array([[_strength(formula, columns) for formula in row] for row in formulas])
    _, chosen = linear_sum_assignment(-np.log(np.maximum(strength, _NONE)))
    present = np.array([[each.second[f] != (0, 0, 0) for each in equations] for f in range(len(equations))])
    is_left_over = [not present[f].any() and not present[:, k].any() for f, k in enumerate(chosen)]
    paired_up = [strength[f, k] > 0 or left for (f, k), left in zip(enumerate(chosen), is_left_over, strict=True)]
    return [int(k) for k in chosen] if all(paired_up) else None


def _strength(formula: Formula, columns: Sequence[np.ndarray]) -> float:
    with np.errstate(all="ignore"):
        axx, _, ayy = formula(numpy_functions(), columns)
    size = float(np.mean(np.abs(axx) + np.abs(ayy)))
    return size if np.isfinite(size) else _NONE
