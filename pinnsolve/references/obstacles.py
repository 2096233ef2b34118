"""Why a problem has no computed reference, and what can be done about it."""

from __future__ import annotations

from importlib.util import find_spec

from pinnsolve.problems import Problem
from pinnsolve.references.search import applicable
from pinnsolve.references.weak_form import weak_form

REMEDY = 'give [reference] exact = {...}, or file = "NAME.npz" with values on a grid; or say solver = "none"'


def obstacle(problem: Problem) -> tuple[str, str]:
    """Return what a classical solver needs that this problem does not have, and a remedy.

    For a problem that asks for a reference (`solver = "auto"`) and for which `find_reference` returned None.
    """
    solvers = [solver.name for solver in applicable(problem)]
    if solvers:
        return f"{' and '.join(solvers)} came to no solution", REMEDY
    return _domain_obstacle(problem) if problem.domain is not None else (_box_obstacle(problem), REMEDY)


def _box_obstacle(problem: Problem) -> str:
    count = len(problem.coordinates)
    if count > 3:
        return f"classical solvers here take at most 3 coordinates, the problem has {count}"
    return "the conditions do not determine one solution, or are too many for its order"


def _domain_obstacle(problem: Problem) -> tuple[str, str]:
    assert problem.domain is not None
    space = len(problem.domain.axes)
    if space != 2:
        return f"finite elements here are for plane domains, this one has {space} dimensions and needs a mesher", REMEDY
    if weak_form(problem) is not None and find_spec("skfem") is None:
        return "finite elements need scikit-fem", "pip install pinnsolve[fem]"
    return (
        "finite elements here take an equation for each field, of first order in time and linear in its second "
        "derivatives, with a value, a flux or a Robin condition for each field on the boundary",
        REMEDY,
    )
