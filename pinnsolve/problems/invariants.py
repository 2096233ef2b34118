"""`[invariants]` of a problem file: quantities that do not change in time."""

from __future__ import annotations

import ast

from pinnsolve.errors import ProblemError
from pinnsolve.problems.expressions import Scope
from pinnsolve.problems.problem import Invariant, Residual
from pinnsolve.problems.syntax import parse_expression

_REMEDY = 'write "integral(u)", of any expression in fields and derivatives'


def read_invariant(name: str, text: str, scope: Scope, time: str | None) -> Invariant:
    """Return the invariant that `integral(density)` describes, or, without space, a plain expression.

    Args:
        name: of the invariant.
        text: as the file writes it.
        scope: the problem's names.
        time: the name of the time coordinate.

    Raises:
        ProblemError: there is no time, no integral over space, or no field in it.
    """
    if time is None:
        raise ProblemError("an invariant is constant in time, and there is no time coordinate", remedy="remove it")
    tree = parse_expression(text)
    inner = text
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id == "integral":
        if len(tree.args) != 1:
            raise ProblemError(f"integral() takes 1 argument, got {len(tree.args)}", remedy=_REMEDY)
        inner = text.strip()[len("integral") :].strip()[1:-1]
    elif scope.space:
        raise ProblemError(f"{text!r} is no integral over {', '.join(scope.space)}", remedy=_REMEDY)
    density = Residual(name, scope.expression(inner), tuple(scope.coordinates.values()), tuple(scope.fields.values()))
    if not density.partials:
        raise ProblemError(f"no field stands in {text!r}", remedy=_REMEDY)
    return Invariant(name, text, density)
