r"""The first-order formulation: derivatives become fields of their own, so that no equation has an order above 1.

    u_t + u u_x = ν u_xx     becomes     u_t + u q = ν q_x,    q = u_x

for equations and conditions of any order, with as many new fields as the chain of each derivative needs. A
Neumann condition gives the value of q; data on a face give q there if they determine it (u = f on t = 0 makes
q = f_x). An activation needs one derivative less for every order, so that ELU may be trained.
Source: Cai, Lazarov, Manteuffel, McCormick (1994), SIAM J. Numer. Anal. 31, 1785-1799 (first-order least squares).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import sympy

from pinnsolve.problems.partials import Partial
from pinnsolve.problems.problem import Condition, Face, Field, Problem, Reference, Residual, differentiated, partial_of


def formulated(problem: Problem, formulation: str) -> Problem:
    """Return the problem as it is trained: as it is written ("direct") or with fields for derivatives."""
    return first_order(problem) if formulation == "first-order" else problem


def first_order(problem: Problem) -> Problem:
    """Return the problem in which no equation and no condition has an order above 1.

    The original fields come first. Each new field says in `stands_for` which derivative it is, and has an
    equation of its own, named like `Du_xx = Du_x_x`. A problem of order 1 is returned as it is.
    """
    new = {partial: _new_field(partial, problem) for partial in auxiliary_partials(problem)}
    if not new:
        return problem
    fields = (*problem.fields, *new.values())
    applied = tuple(field.symbol for field in fields)

    def rewritten(residual: Residual) -> Residual:
        return replace(residual, expression=_lowered(residual.expression, new, problem), fields=applied)

    posed = replace(
        problem,
        fields=fields,
        equations=(
            *(rewritten(equation) for equation in problem.equations),
            *(Residual(*_definition(partial, new, problem), problem.symbols, applied) for partial in new),
        ),
        conditions=tuple(replace(each, residual=rewritten(each.residual)) for each in problem.conditions),
        reference=Reference(exact=_exact(problem, new)),
    )
    return with_implied_data(posed)


def definitions(problem: Problem) -> dict[Field, Residual]:
    """Return the equation of each new field of a first-order formulation; nothing for a problem as it is written."""
    new = [field for field in problem.fields if field.stands_for is not None]
    return dict(zip(new, problem.equations[len(problem.equations) - len(new) :], strict=True))


def auxiliary_partials(problem: Problem) -> list[Partial]:
    """Return the derivatives that become fields, lower orders first: few of them, and each next to the one below.

    ∂^α u with |α| > 1 needs a field for some ∂^(α-e) u, which is a derivative in its turn.
    """
    residuals = [*problem.equations, *(condition.residual for condition in problem.conditions)]
    wanted = {partial for residual in residuals for partial in residual.partials if partial.order > 1}
    found: set[Partial] = set()
    for order in range(max((partial.order for partial in wanted), default=1), 1, -1):
        found |= _covering({partial for partial in wanted | found if partial.order == order}, problem.time_axis)
    return sorted(found, key=lambda partial: (partial.order, partial))


def _covering(partials: set[Partial], time_axis: int | None) -> set[Partial]:
    """Return a few derivatives of one order less from which a first derivative gives each of these."""
    chosen: set[Partial] = set()
    left = set(partials)
    while left:
        candidates = sorted({below for partial in left for below, _ in _below(partial)})
        covers = {each: {p for p in left if each in dict(_below(p))} for each in candidates}
        # time first: a field that is no derivative in time needs no initial value
        best = max(candidates, key=lambda c: (len(covers[c]), 0 if time_axis is None else c.orders[time_axis]))
        chosen.add(best)
        left -= covers[best]
    return chosen


def _below(partial: Partial) -> Iterator[tuple[Partial, int]]:
    """Yield every derivative of one order less, with the coordinate that is missing in it."""
    for axis, times in enumerate(partial.orders):
        if times:
            orders = tuple(order - (index == axis) for index, order in enumerate(partial.orders))
            yield Partial(partial.field, orders), axis


def _parent(partial: Partial, new: Mapping[Partial, object]) -> tuple[Partial, int]:
    """Return the derivative, itself a field, that a first derivative leads from to this one; and by which axis."""
    return next((below, axis) for below, axis in _below(partial) if below in new or below.order == 0)


def _new_field(partial: Partial, problem: Problem) -> Field:
    """Return a field named like Du_x for ∂u/∂x."""
    names = [name for name, times in zip(problem.coordinate_names, partial.orders, strict=True) for _ in range(times)]
    joint = "" if all(len(name) == 1 for name in problem.coordinate_names) else "_"
    name = f"D{partial.field}_{joint.join(names)}"
    while name in {*problem.field_names, *problem.coordinate_names, *problem.constants}:
        name = f"D{name}"
    return Field(sympy.Function(name, real=True)(*problem.symbols), stands_for=partial)


def _first_derivative(partial: Partial, new: Mapping[Partial, Field], problem: Problem) -> sympy.Expr:
    """Return ∂^α u as the first derivative of the field for the order below, or of u itself."""
    below, axis = _parent(partial, new)
    applied = {field.name: field.symbol for field in problem.fields}
    return sympy.Derivative(new[below].symbol if below in new else applied[below.field], problem.symbols[axis])


def _definition(partial: Partial, new: Mapping[Partial, Field], problem: Problem) -> tuple[str, sympy.Expr]:
    """Return name and expression of the equation field - derivative = 0."""
    derivative = _first_derivative(partial, new, problem)
    name = f"{new[partial].name} = {partial_of(derivative, problem.symbols).name(problem.coordinate_names)}"
    return name, new[partial].symbol - derivative


def _lowered(expression: sympy.Expr, new: Mapping[Partial, Field], problem: Problem) -> sympy.Expr:
    """Return the expression with fields in place of derivatives."""
    replacements = {}
    for node in expression.atoms(sympy.Derivative):
        partial = partial_of(node, problem.symbols)
        if partial in new:
            replacements[node] = new[partial].symbol
        elif partial.order > 1:
            replacements[node] = _first_derivative(partial, new, problem)
    return expression.xreplace(replacements)


def _exact(problem: Problem, new: Mapping[Partial, Field]) -> dict[str, sympy.Expr]:
    """Return the exact solution with the derivatives that the new fields stand for, as far as it is known."""
    known = dict(problem.reference.exact)
    derived = {
        field.name: differentiated(known[partial.field], partial, problem.symbols)
        for partial, field in new.items()
        if partial.field in known
    }
    return known | derived


def with_implied_data(problem: Problem) -> Problem:
    """Return the problem with the data of new fields that other data on the same face determine.

    Derivatives along a face follow from values on it: w = f gives ∂^β w = ∂^β f if β does not leave the face.
    """
    data = [(condition, *datum) for condition in problem.conditions if (datum := _datum(condition)) is not None]
    known = {(name, condition.face, condition.restrictions) for condition, name, _ in data}
    fields = {field.name: field for field in problem.fields}
    implied = []
    for field in problem.fields:
        for condition, name, value in data:
            place = (field.name, condition.face, condition.restrictions)
            missing = _missing(field, fields[name], len(problem.coordinates))
            axis = condition.face.axis
            if place in known or missing is None or axis is None or missing.orders[axis]:
                continue
            slope = differentiated(value, missing, problem.symbols)
            if not slope.has(sympy.DiracDelta, sympy.Derivative):  # the data have a jump or a kink there
                implied.append(_dirichlet(field, slope, condition))
                known.add(place)
    return replace(problem, conditions=(*problem.conditions, *implied))


def _missing(field: Field, source: Field, dimension: int) -> Partial | None:
    """Return the derivative that leads from one field to another that stands for it; None if none does."""
    if field.stands_for is None:
        return None
    start = source.stands_for or Partial(source.name, (0,) * dimension)
    orders = tuple(a - b for a, b in zip(field.stands_for.orders, start.orders, strict=True))
    return Partial(start.field, orders) if start.field == field.stands_for.field and min(orders) >= 0 else None


def _datum(condition: Condition) -> tuple[str, sympy.Expr] | None:
    """Return w and f of a condition that says c·w = f(x), c a constant; None if it says something else."""
    residual = condition.residual
    if len(residual.partials) != 1 or residual.partials[0].order or not isinstance(condition.face, Face):
        return None
    (partial,) = residual.partials
    placeholder = residual.placeholders[partial]
    factor = sympy.diff(residual.placed, placeholder)
    if factor.free_symbols or factor == 0:
        return None
    face = condition.face
    value = (-residual.placed.subs(placeholder, 0) / factor).subs(residual.coordinates[face.axis], face.value)
    return partial.field, value


def _dirichlet(field: Field, value: sympy.Expr, source: Condition) -> Condition:
    residual = source.residual
    name = f"{field.name} from {source.name}"
    return replace(source, residual=replace(residual, name=name, expression=field.symbol - value))
