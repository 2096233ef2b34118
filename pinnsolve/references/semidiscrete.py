"""An evolution on a mesh of elements: rates at collocation points, continuity, boundary conditions."""

from __future__ import annotations

from collections.abc import Sequence

from pinnsolve.problems import Partial
from pinnsolve.references.collocation import (
    BoundaryRow,
    CollocationSystem,
    ContinuityRows,
    EquationRows,
    Expression,
    Reading,
    Rows,
)
from pinnsolve.references.elements import Mesh
from pinnsolve.references.evolution import Evolution


def space_orders(evolution: Evolution) -> dict[str, int]:
    """Return the highest space derivative of each field in the rates."""
    return {
        field: max((evolution.space_order(p) for p in evolution.reads if p.field == field), default=0)
        for field in evolution.rates
    }


def discretised(evolution: Evolution, mesh: Mesh) -> CollocationSystem:
    """Return the evolution on a mesh: rates at collocation points, continuity, boundary conditions."""
    problem, orders = evolution.problem, space_orders(evolution)
    space, clock = problem.symbols[evolution.space_axis], problem.symbols[evolution.time_axis]
    dynamic = []
    static: list[Rows] = []
    for index, component in enumerate(evolution.components):
        last = index == evolution.last_component(component.field)
        rate = evolution.rates[component.field] if last else evolution.symbol(evolution.components[index + 1])
        read = [*evolution.reads, *evolution.components]
        expression = Expression(rate, space, clock, _readings(evolution, read))
        conditions = orders[component.field] if last else 0
        dynamic.append((EquationRows(mesh, expression, conditions), index))
        if last and conditions:
            periodic = problem.coordinates[evolution.space_axis].periodic
            static.append(ContinuityRows(mesh, index, conditions, periodic))
    for condition, residual in zip(evolution.boundary, evolution.constraints, strict=True):
        expression = Expression(residual.placed, space, clock, _readings(evolution, residual.partials))
        static.append(BoundaryRow(mesh, expression, condition.face.side == "upper"))
    return CollocationSystem(mesh, len(evolution.components), dynamic, static)


def _readings(evolution: Evolution, partials: Sequence[Partial]) -> list[Reading]:
    unique = sorted(set(partials))
    return [Reading(evolution.symbol(p), evolution.component(p), evolution.space_order(p)) for p in unique]
