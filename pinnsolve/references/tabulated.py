"""References that the problem file gives as a table of values on a tensor grid."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import NdBSpline, make_interp_spline

from pinnsolve.errors import ProblemError
from pinnsolve.problems import Problem
from pinnsolve.references.reference import Points, ReferenceSolution, Values

MAX_FILE_BYTES = 512 * 1024**2
MAX_VALUES = 50_000_000
_KEY = "reference.file"


def applies(problem: Problem) -> bool:
    """Whether the problem file names a file of values."""
    return problem.reference.file is not None


def solve(problem: Problem) -> ReferenceSolution:
    """Return the spline through the file's values.

    The file is an .npz archive with one ascending array per coordinate and arrays of fields on their tensor
    grid, all named as in the problem; fields without an array are absent. Their own error is what the problem
    file says, NaN where it says nothing.

    Raises:
        ProblemError: the file is none such; names the array.
    """
    path = problem.reference.file
    if path is None:
        raise ValueError(f"{problem.name} names no file of values")
    arrays = _read(path, problem.coordinate_names, problem.field_names)
    names = [name for name in problem.field_names if name in arrays]
    axes = [_axis(problem, index, arrays) for index in range(len(problem.coordinates))]
    shape = tuple(len(axis) for axis in axes)
    for name in names:
        if arrays[name].shape != shape:
            raise ProblemError(f"array {name!r} has the shape {arrays[name].shape}, the axes have {shape}", key=_KEY)
    splines = {name: _spline(axes, arrays[name]) for name in names}

    def evaluate(points: Points) -> Values:
        return {name: np.asarray(spline(points)) for name, spline in splines.items()}

    error = math.nan if problem.reference.error is None else problem.reference.error
    return ReferenceSolution("file", dict.fromkeys(names, error), 0.0, evaluate)


def _spline(axes: list[NDArray[np.float64]], values: NDArray[np.float64]) -> NdBSpline:
    """Return the tensor product of interpolating splines: cubic, of lower degree on fewer than four points."""
    knots, degrees = [], []
    for index, axis in enumerate(axes):
        spline = make_interp_spline(axis, values, k=min(3, len(axis) - 1), axis=index)
        values = np.moveaxis(spline.c, 0, index)
        knots.append(spline.t)
        degrees.append(spline.k)
    return NdBSpline(tuple(knots), values, tuple(degrees), extrapolate=True)


def _read(path: Path, axes: Sequence[str], fields: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return the named arrays as float64: all axes, and the fields that are there."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ProblemError(f"{path.name} has more than {MAX_FILE_BYTES} bytes", key=_KEY)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ProblemError(f"{path.name} is no .npz archive", key=_KEY)
            present = [name for name in fields if name in archive.files]
            names = [*axes, *(present or fields)]
            _check_sizes(path, names)
            missing = [name for name in names if name not in archive.files]
            if missing:
                known = ", ".join(sorted(archive.files)[:20]) or "none"
                raise ProblemError(f"{path.name} has no array {missing[0]!r}; it has: {known}", key=_KEY)
            return {name: _numbers(name, archive[name]) for name in names}
    except ProblemError:
        raise
    except Exception as error:  # a damaged archive fails in as many ways as it has bytes
        raise ProblemError(f"{path.name} cannot be read as .npz: {str(error)[:100]}", key=_KEY) from None


def _check_sizes(path: Path, names: Sequence[str]) -> None:
    """Refuse an archive whose arrays unpack to more than memory should hold."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.filename.removesuffix(".npy") in names and entry.file_size > 8 * MAX_VALUES:
                raise ProblemError(f"array {entry.filename!r} has {entry.file_size} bytes", key=_KEY)


def _numbers(name: str, array: NDArray) -> NDArray[np.float64]:
    if array.dtype.kind not in "fiu":
        raise ProblemError(f"array {name!r} has the type {array.dtype}, not real numbers", key=_KEY)
    numbers = array.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise ProblemError(
            f"array {name!r} holds {int((~np.isfinite(numbers)).sum())} values that are not finite", key=_KEY
        )
    return numbers


def _axis(problem: Problem, index: int, arrays: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return one coordinate's array: 1-D, ascending, reaching over the whole interval."""
    coordinate = problem.coordinates[index]
    axis = arrays[coordinate.name]
    if axis.ndim != 1 or len(axis) < 2 or not (np.diff(axis) > 0).all():
        raise ProblemError(f"array {coordinate.name!r} is no ascending axis, shape {axis.shape}", key=_KEY)
    slack = 1e-6 * coordinate.length
    upper = coordinate.upper - (2 * float(axis[-1] - axis[-2]) if coordinate.periodic else 0.0)
    if axis[0] > coordinate.lower + slack or axis[-1] < upper - slack:
        reach = f"[{axis[0]:g}, {axis[-1]:g}]"
        raise ProblemError(
            f"array {coordinate.name!r} covers {reach}, not [{coordinate.lower:g}, {coordinate.upper:g}]", key=_KEY
        )
    return axis
