"""What a list of problems shows, read from a file's text without symbolic mathematics."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from pinnsolve.problems.schema import ProblemTable, read_content, read_table
from pinnsolve.problems.space import coordinate_names
from pinnsolve.problems.syntax import parse_equation


@dataclass(frozen=True)
class Outline:
    """One line about a problem.

    Attributes:
        name: of the file, without `.toml`.
        title: as the file states it.
        coordinates: names in column order.
        order: the highest order of a derivative in the equations.
        reference: "exact", "file", "auto" or "none".
        tags: as the file states them.
    """

    name: str
    title: str
    coordinates: tuple[str, ...]
    order: int
    reference: str
    tags: tuple[str, ...]


def read_outline(path: Path) -> Outline:
    """Return the outline of a problem file.

    Raises:
        ProblemError: the file cannot be read, or an equation is no equation.
    """
    table = read_table(read_content(path), path.name)
    order = max((_equation_order(text, table) for text in table.equations.values()), default=0)
    coordinates = coordinate_names(table)
    return Outline(path.stem, table.title, coordinates, order, _reference(table), tuple(table.tags))


def _reference(table: ProblemTable) -> str:
    if table.reference.file is not None:
        return "file"
    if table.manufactured is not None or table.reference.exact is not None:
        return "exact"
    return table.reference.solver or "auto"


def _equation_order(text: str, table: ProblemTable) -> int:
    return max(_order(side, table) for side in parse_equation(text) if side is not None)


def _order(node: ast.expr, table: ProblemTable) -> int:
    """Return the highest number of derivatives that a syntax tree takes of anything."""
    match node:
        case ast.Name(id=name):
            field, _, suffix = name.rpartition("_")
            return len(suffix) if field in table.fields and set(suffix) <= set(coordinate_names(table)) else 0
        case ast.Call(func=ast.Name(id="d"), args=[operand, *variables]):
            return _order(operand, table) + len(variables)
        case ast.Call(func=ast.Name(id=name), args=arguments):
            added = {"laplacian": 2, "biharmonic": 4}.get(name, 0)
            return added + max((_order(argument, table) for argument in arguments), default=0)
        case ast.BinOp(left=left, right=right):
            return max(_order(left, table), _order(right, table))
        case ast.UnaryOp(operand=operand):
            return _order(operand, table)
    return 0
