"""The points at which `predict` evaluates a run: a grid over the domain, or the rows of a CSV file."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pinnsolve.errors import InputError

if TYPE_CHECKING:
    from pinnsolve.problems import Problem

MOST_POINTS = 5_000_000
_LONGEST_LINE = 2**20  # characters; a file without line ends may have no end either
_ROUNDING = 1e-9  # of an interval, by which points on its ends may lie beyond them

Points = NDArray[np.float64]


def grid_points(text: str, problem: Problem) -> Points:
    """Return the points (N, d) of a grid given as numbers of points, e.g. "101,51"; the last coordinate is fastest.

    Raises:
        InputError: there are not as many numbers as coordinates, or too many points.
    """
    names, parts = problem.coordinate_names, text.split(",")
    if len(parts) != len(names) or not all(part.strip().isdecimal() and int(part[:20]) > 0 for part in parts):
        raise InputError(f"--grid takes {len(names)} numbers of points, for {', '.join(names)}; got {text[:60]!r}")
    counts = [int(part[:20]) for part in parts]
    if math.prod(counts) > MOST_POINTS:
        raise InputError(f"--grid {text[:60]} has more than {MOST_POINTS} points")
    axes = [np.linspace(*ends) for ends in zip(*problem.box, counts, strict=True)]
    return np.column_stack([part.ravel() for part in np.meshgrid(*axes, indexing="ij")])


def file_points(path: Path, names: Sequence[str]) -> Points:
    """Return the points (N, d) of a CSV file with a column for each coordinate; other columns are not read.

    Raises:
        InputError: the file cannot be read, a column is missing or stands twice, a cell is no finite number, or there
            are no points or too many.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(_lines(file), skipinitialspace=True)
            columns = _columns(path, next(rows, []), names)
            points = [_point(path, rows.line_num, row, columns) for row in _counted(path, rows) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: the points cannot be read: {error}") from None
    if not points:
        raise InputError(f"{path}: there are no points below the names of the columns")
    return np.array(points)


def outside(points: Points, problem: Problem) -> NDArray[np.bool_]:
    """Return which points (N, d) lie outside of the domain; beyond the ends of a periodic coordinate none does."""
    lower, upper = problem.box
    margin = np.where([x.periodic for x in problem.coordinates], np.inf, _ROUNDING * (upper - lower))
    within = np.logical_and(points >= lower - margin, points <= upper + margin).all(axis=1)
    return np.logical_not(np.logical_and(within, problem.contains(points)))


def _lines(file: IO[str]) -> Iterator[str]:
    while line := file.readline(_LONGEST_LINE):
        yield line


def _counted(path: Path, rows: Iterator[list[str]]) -> Iterator[list[str]]:
    for count, row in enumerate(rows):
        if count == MOST_POINTS:
            raise InputError(f"{path}: there are more than {MOST_POINTS} points, the most that is read")
        yield row


def _columns(path: Path, header: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return where the coordinates stand in each row."""
    found = [name.strip() for name in header]
    for name in names:
        if found.count(name) != 1:
            fault = "stands twice" if name in found else "is missing"
            came = ",".join(header)[:60]
            needed = ", ".join(names)
            raise InputError(f"{path}: the column {name!r} {fault}; needed: {needed}; the first line is {came!r}")
    return [found.index(name) for name in names]


def _point(path: Path, line: int, row: Sequence[str], columns: Sequence[int]) -> list[float]:
    """Return the coordinates of one row."""
    if len(row) <= max(columns):
        raise InputError(f"{path}: line {line} has {len(row)} cells, {max(columns) + 1} are needed")
    try:
        point = [float(row[column]) for column in columns]
    except ValueError as error:
        raise InputError(f"{path}: line {line}: not a number: {str(error)[-60:]}") from None
    if not all(map(math.isfinite, point)):
        raise InputError(f"{path}: line {line}: a coordinate is not finite")
    return point
