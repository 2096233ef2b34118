"""What can be seen to be wrong with a problem before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import sympy
from numpy.typing import NDArray

from pinnsolve.problems.finding import Finding, keyed_residuals
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.problems.lint_conditions import condition_findings
from pinnsolve.problems.lint_growth import growth_findings
from pinnsolve.problems.lint_poles import pole_findings
from pinnsolve.problems.lint_scales import scale_findings
from pinnsolve.problems.lint_values import value_findings
from pinnsolve.problems.places import Place
from pinnsolve.problems.problem import Condition, Problem, Residual

if TYPE_CHECKING:
    from pinnsolve.problems.schema import Number, ProblemTable

__all__ = ["TOLERANCE", "Finding", "faults", "lint", "reference_faults"]

TOLERANCE = 1e-8  # of the largest term: far above roundoff, far below a mistake


def lint(problem: Problem) -> list[Finding]:
    """Return everything found: values and reference first, then the conditions, names that are not used, and scales."""
    return [
        *faults(problem),
        *pole_findings(problem),
        *growth_findings(problem),
        *_equation_count(problem),
        *condition_findings(problem),
        *_unused_constants(problem),
        *_idle_coordinates(problem),
        *scale_findings(problem),
    ]


def faults(problem: Problem) -> list[Finding]:
    """Return what makes a solve pointless: values that are no numbers; if none, a reference that is no solution."""
    return value_findings(problem) or reference_faults(problem)


def reference_faults(problem: Problem) -> list[Finding]:
    """Return the equations and conditions that the exact solution does not satisfy, with the residual measured."""
    exact = problem.reference.exact
    faults = []
    for key, residual, condition in keyed_residuals(problem):
        if not {partial.field for partial in residual.partials} <= set(exact):
            continue
        size = _relative_residual(problem, residual, condition, exact)
        if not size <= TOLERANCE:
            faults.append(
                Finding(
                    "error",
                    key,
                    f"the exact solution leaves a residual of {size:.3g} of the largest term",
                    "check signs and factors of the equation and of reference.exact",
                )
            )
    return faults


def _relative_residual(
    problem: Problem, residual: Residual, condition: Condition | None, exact: Mapping[str, sympy.Expr]
) -> float:
    """Return max |residual| where it shall vanish, relative to the largest single term anywhere in the domain.

    Anywhere, since on a face with u = 0 the only term is roundoff itself.
    """
    substitutions = {symbol: exact[str(symbol.func)] for symbol in residual.fields if str(symbol.func) in exact}
    terms = [term.subs(substitutions).doit() for term in sympy.Add.make_args(residual.expression)]
    formula = Formula(terms, problem.symbols)
    total = float(np.max(np.abs(_values(formula, _points(problem, condition)).sum(axis=0))))
    largest = float(np.max(np.abs(_values(formula, _points(problem, None)))))
    return total / largest if largest > 0 else total


def _values(formula: Formula, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the value of every expression at every point, (K, N)."""
    with np.errstate(all="ignore"):
        found = formula(numpy_functions(), list(points.T))
    return np.array([np.broadcast_to(np.asarray(value, dtype=float), len(points)) for value in found])


def _points(problem: Problem, condition: Condition | None) -> NDArray[np.float64]:
    points = Place(problem, condition).sobol(2**8, seed=7)
    return points if len(points) else problem.box[0][None]


def _equation_count(problem: Problem) -> list[Finding]:
    """Compare the number of equations with that of the fields."""
    equations, fields = len(problem.equations), len(problem.fields)
    if equations == fields:
        return []
    counted = f"{equations} equation{'s'[: equations - 1]} for {fields} field{'s'[: fields - 1]}"
    if equations > fields:
        remedy = "nothing, if one follows from the others"
        return [Finding("warning", "equations", f"{counted}: they may contradict each other", remedy)]
    return [Finding("warning", "equations", f"{counted}: they have many solutions", "add equations, or remove fields")]


def _unused_constants(problem: Problem) -> list[Finding]:
    from pinnsolve.problems.schema import read_table
    from pinnsolve.problems.syntax import names_in, parse_equation, parse_region

    if not problem.constants:
        return []
    table = read_table(problem.text.encode(), problem.name)
    texts = [*table.equations.values(), *(condition.equation for condition in table.conditions)]
    texts += [str(value) for value in table.constants.values()]
    texts += [str(end) for ends in table.coordinates.values() for end in ends]
    texts += [*(table.manufactured or {}).values(), *(table.reference.exact or {}).values(), *table.invariants.values()]
    texts += [str(end) for ends in _ranges(table) for end in ends]
    places = [place for c in table.conditions for place in ([c.where] if isinstance(c.where, str) else c.where)]
    used = {name for text in texts for side in parse_equation(text) if side is not None for name in names_in(side)}
    used |= {name for text in (table.geometry or {}).values() for name in names_in(parse_region(text))}
    return [
        Finding("warning", f"constants.{name}", f"the constant {name!r} is used nowhere", "remove it, or use it")
        for name in problem.constants
        if name not in used and not any(name in place for place in places)
    ]


def _ranges(table: ProblemTable) -> list[list[Number]]:
    """Return the ends of the fields' ranges."""
    tables = table.fields.values() if isinstance(table.fields, dict) else []
    return [field.range for field in tables if isinstance(field.range, list)]


def _idle_coordinates(problem: Problem) -> list[Finding]:
    """Return the coordinates by which no equation differentiates."""
    return [
        Finding(
            "warning",
            f"coordinates.{coordinate.name}",
            f"no equation differentiates by {coordinate.name}: every {coordinate.name} is a problem of its own",
            "nothing, if this is meant; otherwise look for a missing term",
        )
        for axis, coordinate in enumerate(problem.coordinates)
        if problem.order_in(axis) == 0
    ]
