"""Problems whose short waves grow without bound: diffusion of the wrong sign, or from the wrong end of the time."""

from __future__ import annotations

import numpy as np

from pinnsolve.problems.conditions import Face
from pinnsolve.problems.finding import Finding
from pinnsolve.problems.places import Place
from pinnsolve.problems.plane_waves import directions, evolves, principal_order, rates
from pinnsolve.problems.problem import Problem

_PLACES = 8
_GROWS = 1e-6  # of the largest rate: far above what rounding makes of eigenvalues that coincide


def growth_findings(problem: Problem) -> list[Finding]:
    """Return what is ill-posed in Hadamard's sense: waves of length 1/k grow as exp(c k^m t), for any k.

    A wrong sign in u_t = -u_xx does that, or a condition at the end of the time where it belongs at the start. The
    rates are those of the principal part, at several places if coefficients depend on them; where these depend on
    the fields, nothing is said.
    """
    sides = {c.face.side for c in problem.conditions if isinstance(c.face, Face) and c.face.axis == problem.time_axis}
    if len(sides) != 1 or not evolves(problem) or not principal_order(problem):
        return []
    (side,) = sides
    symbols = [coordinate.symbol for coordinate in problem.coordinates]
    places = [
        dict(zip(symbols, map(float, point), strict=True)) for point in Place(problem, None).sobol(_PLACES, seed=7)
    ]
    found = [rates(problem, direction, place) for place in places for direction in directions(problem)]
    known = [each for each in found if each is not None]
    largest = max((np.abs(each).max() for each in known), default=0.0)
    growth = max((float((each.real if side == "lower" else -each.real).max()) for each in known), default=0.0)
    if growth <= _GROWS * largest:
        return []
    time, end = problem.time, "start" if side == "lower" else "end"
    message = f"with a condition at the {end} of {time} alone, short waves grow without bound: the problem is ill-posed"
    remedy = "check the sign of the highest derivatives (u_t = +k*u_xx diffuses), and the end that the condition is at"
    return [Finding("warning", "equations", message, remedy)]


def growth_notes(problem: Problem) -> list[str]:
    """Return the same in words, for whoever solves the problem."""
    return [f"{finding.message}; {finding.remedy}" for finding in growth_findings(problem)]
