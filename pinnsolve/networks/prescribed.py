"""What conditions prescribe for a field on faces and parts of the boundary, and values of such data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sympy
from scipy.stats import qmc

from pinnsolve.networks.forms import FaceData
from pinnsolve.problems import Condition, Face, Field, Problem
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.problems.places import Place


def prescribed(condition: Condition, field_: Field, problem: Problem) -> FaceData | None:
    """Return what a condition of the form c·u = f(x) or c·∂u/∂axis = f(x), c constant, prescribes for a field."""
    residual, axis = condition.residual, condition.face.axis
    if len(residual.partials) != 1:
        return None
    (partial,) = residual.partials
    along = partial.order == 0 or (partial.order == 1 and axis is not None and partial.orders[axis] == 1)
    if partial.field != field_.name or not along:
        return None
    placeholder = residual.placeholders[partial]
    factor = sympy.diff(residual.placed, placeholder)
    if factor.free_symbols or factor == 0:
        return None
    data = -residual.placed.subs(placeholder, 0) / factor
    if isinstance(condition.face, Face):
        data = data.subs(problem.symbols[condition.face.axis], condition.face.value)
    return FaceData(condition, partial.order, data)


def sampled(expressions: Sequence[sympy.Expr], problem: Problem) -> np.ndarray:
    """Return values (len(expressions), M) at Sobol points of the domain, and at the corners of a box."""
    lower, upper = problem.box
    if problem.domain is not None:
        return values_at(expressions, problem, Place(problem).sobol(2**9, seed=0))
    unit = qmc.Sobol(len(lower), scramble=False).random_base2(8)
    corners = (
        qmc.Sobol(len(lower), scramble=False).random_base2(8).round() if len(lower) > 1 else np.array([[0.0], [1.0]])
    )
    return values_at(expressions, problem, lower + (upper - lower) * np.concatenate([unit, corners]))


def values_at(expressions: Sequence[sympy.Expr], problem: Problem, points: np.ndarray) -> np.ndarray:
    """Return values (len(expressions), N) at points (N, d)."""
    with np.errstate(all="ignore"):
        values = Formula(expressions, problem.symbols)(numpy_functions(), list(points.T))
    return np.array([np.broadcast_to(np.asarray(value, dtype=float), len(points)) for value in values])
