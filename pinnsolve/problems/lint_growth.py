"""Problems whose short waves grow without bound: diffusion of the wrong sign, or from the wrong end of the time."""

from __future__ import annotations

import numpy as np

from pinnsolve.problems.conditions import Face
from pinnsolve.problems.finding import Finding
from pinnsolve.problems.places import Place
from pinnsolve.problems.plane_waves import PrincipalPart, directions, evolves, principal_order
from pinnsolve.problems.problem import Problem

_PLACES = 8
_GROWS = 1e-6  # of the largest rate: far above what rounding makes of eigenvalues that coincide


def growth_findings(problem: Problem) -> list[Finding]:
    """Return what is ill-posed in Hadamard's sense: waves of length 1/k grow as exp(c k^m t), for any k.

    A wrong sign in u_t = -u_xx does that, or a condition at the end of the time where it belongs at the start. The
    rates are those of the principal part, at several places if coefficients depend on them; if these depend on
    the fields, nothing is said.
    """
    sides = {c.face.side for c in problem.conditions if isinstance(c.face, Face) and c.face.axis == problem.time_axis}
    if len(sides) != 1 or not evolves(problem) or not principal_order(problem):
        return []
    (side,) = sides
    principal = PrincipalPart.of(problem)
    if principal is None:
        return []
    found = principal.rates(directions(problem), Place(problem).sobol(_PLACES, seed=7))
    largest = np.abs(found).max(initial=0.0)
    growth = (found.real if side == "lower" else -found.real).max(initial=0.0)
    if growth <= _GROWS * largest:
        return []
    time, end = problem.time, "start" if side == "lower" else "end"
    message = f"with a condition at the {end} of {time} alone, short waves grow without bound: the problem is ill-posed"
    remedy = "check the sign of the highest derivatives (u_t = +k*u_xx diffuses), and the end that the condition is at"
    return [Finding("warning", "equations", message, remedy)]


def growth_notes(problem: Problem) -> list[str]:
    """Return the same in words, for whoever solves the problem."""
    return [f"{finding.message}; {finding.remedy}" for finding in growth_findings(problem)]
