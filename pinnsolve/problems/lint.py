"""What can be seen to be wrong with a problem before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import sympy
from numpy.typing import NDArray

from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.problems.geometry.domain import Part
from pinnsolve.problems.places import Place
from pinnsolve.problems.problem import Condition, Problem, Residual

TOLERANCE = 1e-8  # of the largest term: far above roundoff, far below a mistake


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (error) or may be (warning), and what to do about it."""

    level: Literal["error", "warning"]
    key: str
    message: str
    remedy: str


def lint(problem: Problem) -> list[Finding]:
    """Return everything found: the reference first, then the conditions, then names that are not used."""
    return [
        *reference_faults(problem),
        *_condition_counts(problem),
        *_bare_parts(problem),
        *_unused_constants(problem),
    ]


def reference_faults(problem: Problem) -> list[Finding]:
    """Return the equations and conditions that the exact solution does not satisfy, with the residual measured."""
    exact = problem.reference.exact
    checked = [(f"equations.{equation.name}", equation, None) for equation in problem.equations]
    checked += [(f"conditions: {c.name}", c.residual, c) for c in problem.conditions]  # type: ignore[misc]
    faults = []
    for key, residual, condition in checked:
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


def _condition_counts(problem: Problem) -> list[Finding]:
    """Compare the number of conditions along each coordinate with the order of its derivatives."""
    findings = []
    for axis, coordinate in enumerate(problem.coordinates):
        if coordinate.periodic or (problem.domain is not None and axis in problem.domain.axes):
            continue
        for field in problem.field_names:
            order = max((p.orders[axis] for p in problem.partials if p.field == field), default=0)
            given = _given(problem, axis, field)
            if given < order:
                findings.append(
                    Finding(
                        "error" if len(problem.fields) == 1 else "warning",
                        "conditions",
                        f"{field} has derivatives of order {order} in {coordinate.name}; there are {given} conditions",
                        f"add conditions at {coordinate.name} = {coordinate.interval[0]}"
                        + ("" if axis == problem.time_axis else f" or {coordinate.name} = {coordinate.interval[1]}"),
                    )
                )
    return findings


def _bare_parts(problem: Problem) -> list[Finding]:
    """Return the parts of a domain's boundary that no condition covers."""
    if problem.domain is None:
        return []
    given = [c for c in problem.conditions if isinstance(c.face, Part)]
    findings = []
    for part in problem.domain.parts():
        probe = Place(problem, Condition(part.where, part, problem.equations[0]))
        points = probe.sobol(2**8, seed=7)
        covered = [_covered(condition, points) for condition in given]
        share = 1 - float(np.any(covered, axis=0).mean()) if covered else 1.0
        if share > 0.02:  # less may be a corner between two restrictions
            level: Literal["error", "warning"] = "error" if len(problem.fields) == 1 else "warning"
            message = f"{share:.0%} of the boundary {part.where!r} has no condition"
            findings.append(Finding(level, "conditions", message, f'add a condition with where = "{part.where}"'))
    return findings


def _covered(condition: Condition, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return at which points (N, d) of a domain's boundary a condition holds."""
    assert isinstance(condition.face, Part)
    mask = condition.face.holds(points[:, condition.face.domain.axes])
    return np.logical_and.reduce([mask, *(restriction.holds(points) for restriction in condition.restrictions)])


def _given(problem: Problem, axis: int, field: str) -> int:
    """Return how many conditions a field has along an axis; restricted ones count once per face and order."""
    whole, parts = 0, set()
    for condition in problem.conditions:
        partials = [partial for partial in condition.residual.partials if partial.field == field]
        if condition.face.axis != axis or not partials:
            continue
        if condition.restrictions:
            parts.add(condition.face.side)
        else:
            whole += 1
    return whole + len(parts)


def _unused_constants(problem: Problem) -> list[Finding]:
    from pinnsolve.problems.schema import read_table
    from pinnsolve.problems.syntax import names_in, parse_equation, parse_region

    if not problem.constants:
        return []
    table = read_table(problem.text.encode(), problem.name)
    texts = [*table.equations.values(), *(condition.equation for condition in table.conditions)]
    texts += [str(value) for value in table.constants.values()]
    texts += [str(end) for ends in table.coordinates.values() for end in ends]
    texts += list((table.manufactured or {}).values()) + list((table.reference.exact or {}).values())
    places = [place for c in table.conditions for place in ([c.where] if isinstance(c.where, str) else c.where)]
    used = {name for text in texts for side in parse_equation(text) if side is not None for name in names_in(side)}
    used |= {name for text in (table.geometry or {}).values() for name in names_in(parse_region(text))}
    return [
        Finding("warning", f"constants.{name}", f"the constant {name!r} is used nowhere", "remove it, or use it")
        for name in problem.constants
        if name not in used and not any(name in place for place in places)
    ]
