"""The space coordinates that a geometry brings along, read without symbolic mathematics."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

from pinnsolve.errors import ProblemError, unknown_name
from pinnsolve.problems.schema import ProblemTable
from pinnsolve.problems.syntax import parse_region

SPACE_NAMES = ("x", "y", "z")  # of coordinates that are left to the geometry

# kind of shape to its dimension, by the number of its arguments
DIMENSIONS: Mapping[str, Callable[[int], int]] = {
    "cuboid": lambda count: 3,
    "disk": lambda count: 2,
    "ellipse": lambda count: 2,
    "hypercube": lambda count: count // 2,
    "interval": lambda count: 1,
    "polygon": lambda count: 2,
    "rectangle": lambda count: 2,
    "sphere": lambda count: count - 1,
    "triangle": lambda count: 2,
}


def coordinate_names(table: ProblemTable) -> tuple[str, ...]:
    """Return the names of the coordinates in column order; x, y, z before time where the file leaves them out.

    Raises:
        ProblemError: the geometry names no shape, or has more than three coordinates.
    """
    given = tuple(table.coordinates)
    if table.geometry is None or set(given) - {table.time or "t"}:
        return given
    count = space_dimension(table.geometry)
    if count > len(SPACE_NAMES):
        raise ProblemError(f"{count} space coordinates have no names", key="coordinates", remedy="name them")
    return (*SPACE_NAMES[:count], *given)


def space_dimension(geometry: Mapping[str, str]) -> int:
    """Return the number of space coordinates, from the first shape that a geometry names.

    Raises:
        ProblemError: it names none.
    """
    for key, text in geometry.items():
        try:
            tree = parse_region(text)
        except ProblemError as error:
            raise error.located(key=f"geometry.{key}") from None
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id not in DIMENSIONS:
                    raise ProblemError(unknown_name("shape", node.func.id, DIMENSIONS), key=f"geometry.{key}")
                return DIMENSIONS[node.func.id](len(node.args))
    raise ProblemError(f"no shape is named; known: {', '.join(DIMENSIONS)}", key="geometry")
