"""Records as text: strict JSON, TOML, and CSV that no spreadsheet takes for formulas."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import tomli_w

from pinnsolve.errors import RunFolderError
from pinnsolve.problems.schema import toml_table

Cell = str | float
TEXT_COLUMNS = frozenset({"stage", "term", "field", "scheme", "dtype", "verdict"})
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def json_bytes(record: Mapping[str, Any]) -> bytes:
    """Return the record as strict JSON; NaN and infinities become null, keys keep their order."""
    return (json.dumps(_without_nan(plain_values(record)), indent=1, allow_nan=False) + "\n").encode()


def read_json(content: bytes, file: str) -> dict[str, Any]:
    """Return the JSON object.

    Raises:
        RunFolderError: it is no JSON object, or has NaN or infinity in it.
    """
    try:
        record = json.loads(content.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise RunFolderError(f"{file}: not JSON ({str(error)[:120]})") from None
    if not isinstance(record, dict):
        raise RunFolderError(f"{file}: a JSON object is needed, got {type(record).__name__}")
    return record


def toml_bytes(record: Mapping[str, Any]) -> bytes:
    """Return the record as TOML; what is None is left out, since TOML has no word for it."""
    return tomli_w.dumps(_without_none(plain_values(record))).encode("utf-8", "backslashreplace")


def read_toml(content: bytes, file: str) -> dict[str, Any]:
    """Return the TOML table.

    Raises:
        RunFolderError: it is not TOML.
    """
    try:
        return toml_table(content)
    except (ValueError, RecursionError) as error:
        raise RunFolderError(f"{file}: not TOML ({str(error)[:120]})") from None


def csv_bytes(rows: Iterable[Sequence[Any]]) -> bytes:
    """Return the rows as CSV.

    Floats keep every digit, None is an empty cell, and text that a spreadsheet would run as a
    formula gets an apostrophe in front (which `read_csv` takes away again).
    """
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows([_cell(value) for value in row] for row in rows)
    return buffer.getvalue().encode("utf-8", "backslashreplace")


def read_csv(content: bytes, file: str) -> tuple[list[str], list[list[Cell]]]:
    """Return the column names and the rows; cells are floats (empty: NaN) but for the text columns.

    A last line without its line end was cut off while it was written, and is left out.

    Raises:
        RunFolderError: it is no CSV, a row has too few or too many cells, or a number is none.
    """
    complete = content[: content.rfind(b"\n") + 1]
    try:
        lines = list(csv.reader(io.StringIO(complete.decode("utf-8"), newline=""), strict=True))
        if not lines:
            raise ValueError("there is no header")
        names = [_unescaped(name) for name in lines[0]]
        return names, [_row(line, names, number) for number, line in enumerate(lines[1:], start=2)]
    except (ValueError, csv.Error) as error:
        raise RunFolderError(f"{file}: not a table ({str(error)[:120]})") from None


def plain_values(value: Any) -> Any:
    """Return the value built of dict, list, str, bool, int, float and None alone.

    Raises:
        TypeError: a value is none of these, and no NumPy value or path either.
    """
    if isinstance(value, Mapping):
        return {str(key): plain_values(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain_values(value.tolist())
    if isinstance(value, list | tuple):
        return [plain_values(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be saved as a record: {value!r:.80}")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_none(item) for item in value if item is not None]
    return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _cell(value: Any) -> str:
    value = plain_values(value)
    if value is None:
        return ""
    if isinstance(value, str):
        return "'" + value if value.startswith(_FORMULA) else value
    return repr(int(value)) if isinstance(value, bool | int) else repr(value)


def _unescaped(text: str) -> str:
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text


def _row(line: list[str], names: list[str], number: int) -> list[Cell]:
    if len(line) != len(names):
        raise ValueError(f"line {number} has {len(line)} cells, the header {len(names)}")
    return [
        _unescaped(cell) if name in TEXT_COLUMNS else (float(cell) if cell else math.nan)
        for name, cell in zip(names, line, strict=True)
    ]
