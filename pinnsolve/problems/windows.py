"""A problem on a window of its time: the rest of the text stays, the initial data come from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import sympy
from scipy.stats import qmc

from pinnsolve.errors import SettingsError
from pinnsolve.problems.formulation import with_implied_data
from pinnsolve.problems.problem import Condition, Coordinate, Face, Field, Problem, Residual

States = Mapping[str, Sequence[sympy.Expr]]  # by field: value, slope in time, ... as expressions in the coordinates
MOST_SPACE = 2  # space coordinates that a state may depend on


def is_marchable(problem: Problem) -> bool:
    """Return whether a problem can be solved in windows of time."""
    return not _obstacle(problem)


def refuse_windows(problem: Problem) -> None:
    """Raise an error if a problem cannot be marched through windows of time.

    Raises:
        SettingsError: it is steady or periodic in time, something is given at its end, or it has more than two
            space coordinates.
    """
    obstacle = _obstacle(problem)
    if obstacle:
        raise SettingsError(f"training.windows: {problem.name!r} cannot be marched, {obstacle}; use training.windows=1")


def _obstacle(problem: Problem) -> str:
    if problem.time_axis is None:
        return "it has no time coordinate"
    if problem.domain is not None:
        return "an end state has a series on boxes only"
    if problem.coordinates[problem.time_axis].periodic:
        return f"{problem.time} is periodic"
    late = [c.name for c in problem.conditions if c.face.axis == problem.time_axis and c.face.side == "upper"]
    if late:
        return f"the condition {late[0]!r} stands at the end of time"
    if not any(time_order(problem, field) for field in problem.field_names):
        return f"no field is differentiated in {problem.time}"
    space = len(problem.coordinates) - 1
    if space > MOST_SPACE:
        return f"an end state in {space} space coordinates has no series ({MOST_SPACE} at most)"
    return ""


def time_order(problem: Problem, field: str) -> int:
    """Return the highest number of time derivatives of a field in the equations: how many data it starts from."""
    assert problem.time_axis is not None
    return max((p.orders[problem.time_axis] for p in problem.partials if p.field == field), default=0)


def time_edges(problem: Problem, shares: Sequence[Fraction]) -> list[sympy.Expr]:
    """Return the times at these shares of a problem's time, exact as its own ends."""
    assert problem.time_axis is not None
    start, end = problem.coordinates[problem.time_axis].interval
    return [start + (end - start) * sympy.Rational(share.numerator, share.denominator) for share in shares]


def problem_in_window(problem: Problem, window: tuple[sympy.Expr, sympy.Expr], states: States | None) -> Problem:
    """Return the problem on a window of its time, started from the states.

    Args:
        problem: on all of its time.
        window: the ends.
        states: of every field that is differentiated in time, at the window's start; None in the first window,
            which starts from the problem's own conditions.
    """
    axis = problem.time_axis
    assert axis is not None
    coordinates = list(problem.coordinates)
    coordinates[axis] = replace(coordinates[axis], interval=window)
    shorter = replace(problem, coordinates=tuple(coordinates))
    initial = [c for c in problem.conditions if c.face.axis == axis]
    if states is not None:
        start = Face(axis, "lower", window[0])
        initial = [
            _initial_condition(shorter, field, order, state, start)
            for field in problem.fields
            for order, state in enumerate(states.get(field.name, ()))
        ]
    lateral = [c for c in problem.conditions if c.face.axis != axis and _occurs(c, shorter.coordinates)]
    return with_implied_data(replace(shorter, conditions=(*initial, *lateral)))


def _initial_condition(problem: Problem, field: Field, order: int, state: sympy.Expr, start: Face) -> Condition:
    """Return the condition ∂^order u/∂t^order = state."""
    time = problem.symbols[start.axis]
    expression = sympy.diff(field.symbol, time, order) - state
    symbols = tuple(field.symbol for field in problem.fields)
    name = f"{field.name}{'_' if order else ''}{time.name * order} = end of the window before"
    where = f"{time.name} = {start.value}"
    return Condition(where, start, Residual(f"{name} at {where}", expression, problem.symbols, symbols))


def _occurs(condition: Condition, coordinates: Sequence[Coordinate]) -> bool:
    """Return whether the condition's restrictions hold anywhere on its face (with these intervals)."""
    if not condition.restrictions or not isinstance(condition.face, Face):
        return True
    unit = qmc.Sobol(len(coordinates), seed=0).random_base2(12)
    points = np.array([c.lower for c in coordinates]) + np.array([c.length for c in coordinates]) * unit
    face = condition.face
    points[:, face.axis] = coordinates[face.axis].lower if face.side == "lower" else coordinates[face.axis].upper
    return bool(condition.holds(points).any())
