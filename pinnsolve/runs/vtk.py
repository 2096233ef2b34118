"""Values on grids and points as VTK files of the legacy format, which ParaView, VisIt and meshio read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pinnsolve.errors import InputError

Values = Mapping[str, NDArray[np.float64]]
_VERTEX = 1  # VTK's number for a cell of one point


def grid_vtk(axes: Sequence[NDArray[np.float64]], values: Values, title: str) -> bytes:
    """Return a rectilinear grid as a binary legacy VTK file.

    Args:
        axes: the coordinates along up to three axes.
        values: each (n_1 · ... · n_d,), the last coordinate fastest; VTK wants the first one fastest.
        title: its first 255 characters stand in the file.

    Raises:
        InputError: there are more than three axes.
    """
    _refuse_dimensions(len(axes))
    shape = tuple(len(axis) for axis in axes)
    padded = [*axes, *([np.zeros(1)] * (3 - len(axes)))]
    sizes = " ".join(str(len(axis)) for axis in padded)
    parts = [_header(title), f"DATASET RECTILINEAR_GRID\nDIMENSIONS {sizes}\n".encode()]
    for name, axis in zip("XYZ", padded, strict=True):
        parts.append(f"{name}_COORDINATES {len(axis)} double\n".encode() + _big_endian(axis) + b"\n")
    ordered = {name: array.reshape(shape).transpose().ravel() for name, array in values.items()}
    return b"".join([*parts, _point_data(ordered, int(np.prod(shape)))])


def points_vtk(points: NDArray[np.float64], values: Values, title: str) -> bytes:
    """Return scattered points (N, d), d ≤ 3, each a cell of its own, as a binary legacy VTK file.

    Raises:
        InputError: there are more than three coordinates.
    """
    count, dimension = points.shape
    _refuse_dimensions(dimension)
    places = np.zeros((count, 3))
    places[:, :dimension] = points
    cells = np.column_stack([np.ones(count), np.arange(count)]).astype(">i4")
    parts = [
        _header(title),
        f"DATASET UNSTRUCTURED_GRID\nPOINTS {count} double\n".encode() + _big_endian(places) + b"\n",
        f"CELLS {count} {2 * count}\n".encode() + cells.tobytes() + b"\n",
        f"CELL_TYPES {count}\n".encode() + np.full(count, _VERTEX, ">i4").tobytes() + b"\n",
    ]
    return b"".join([*parts, _point_data(values, count)])


def _refuse_dimensions(count: int) -> None:
    if count > 3:
        raise InputError(f"VTK has three coordinates, the problem {count}; use --format npz")


def _header(title: str) -> bytes:
    line = re.sub(r"[^ -~]", "?", title)[:255]
    return f"# vtk DataFile Version 3.0\n{line}\nBINARY\n".encode()


def _point_data(values: Values, count: int) -> bytes:
    parts = [f"POINT_DATA {count}\nFIELD FieldData {len(values)}\n".encode()]
    for name, array in values.items():
        word = re.sub(r"[^\w(),.-]+", "_", name)  # a space would end the name
        parts.append(f"{word} 1 {count} double\n".encode() + _big_endian(array) + b"\n")
    return b"".join(parts)


def _big_endian(array: NDArray[np.float64]) -> bytes:
    return np.ascontiguousarray(array, dtype=">f8").tobytes()
