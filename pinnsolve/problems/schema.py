"""The shape of a problem file: keys, types, unknown keys refused with the nearest known one."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pinnsolve.errors import ProblemError

MAX_BYTES = 256 * 1024
Text = Annotated[str, Field(max_length=2000)]
Number = int | float | Text  # a number or a constant expression


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FieldTable(_Table):
    """`[fields.u]`: what is known of one field beforehand."""

    range: Literal["positive"] | list[Number] | None = None
    label: Text = ""
    unit: Text = ""


class ConditionTable(_Table):
    """`[[conditions]]`: an equation on a part of the boundary."""

    where: Text | list[Text]
    equation: Text
    name: Text = ""


class ReferenceTable(_Table):
    """`[reference]`: what the solution is compared with."""

    exact: dict[str, Text] | None = None
    solver: Literal["auto", "none"] | None = None
    file: Text | None = None
    error: Annotated[float, Field(ge=0)] | None = None


class ProblemTable(_Table):
    """A whole problem file."""

    title: Text
    source: Text = ""
    tags: list[Text] = []
    time: Text | None = None
    periodic: list[Text] = []
    fields: list[Text] | dict[str, FieldTable] = ["u"]
    coordinates: dict[str, list[Number]] = {}
    constants: dict[str, Number] = {}
    equations: dict[str, Text]
    conditions: list[ConditionTable] = []
    manufactured: dict[str, Text] | None = None
    reference: ReferenceTable = ReferenceTable()
    solve: dict[str, Any] = {}
    geometry: dict[str, Text] | None = None
    invariants: dict[str, Text] = {}
    # Tables of the format that this version reads but cannot yet solve.
    unknowns: dict[str, Any] | None = None
    data: list[dict[str, Any]] | None = None


_TABLES: dict[str, type[BaseModel]] = {"conditions": ConditionTable, "reference": ReferenceTable, "fields": FieldTable}
_LATER = ("unknowns", "data")
_TYPES = {"int", "float", "str", "bool"}  # which of several types a value was tried as: no part of the file


def read_content(path: Path) -> bytes:
    """Return what a file holds; of one that is too large, or has no end, one byte more than is read.

    Raises:
        ProblemError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ProblemError(f"the file cannot be read: {reason}", file=str(path)[:200]) from None


def read_table(content: bytes, file: str) -> ProblemTable:
    """Return the validated content of a problem file.

    Raises:
        ProblemError: not TOML, not UTF-8, too large, or a key or value that the format does not have.
    """
    if len(content) > MAX_BYTES:
        raise ProblemError(f"the file has more than {MAX_BYTES} bytes, the most that is read", file=file)
    if not content.strip():
        raise ProblemError("the file is empty", file=file, remedy="pinnsolve new NAME writes one to start from")
    try:
        table = ProblemTable.model_validate(tomllib.loads(content.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        raise ProblemError(f"byte {error.start} is not UTF-8", file=file, remedy="save the file as UTF-8") from None
    except ValidationError as error:
        raise _explained(error, file) from None
    except tomllib.TOMLDecodeError as error:
        raise ProblemError(f"not TOML: {error}", file=file) from None
    except RecursionError:
        raise ProblemError("arrays or tables stand too deep in each other", file=file) from None
    except ValueError as error:  # Python converts no integer of more than 4300 digits
        raise ProblemError(f"a number cannot be read: {str(error).partition(';')[0]}", file=file) from None
    for key in _LATER:
        if getattr(table, key) is not None:
            raise ProblemError("not yet supported by this version of pinnsolve", file=file, key=key)
    return table


def _explained(error: ValidationError, file: str) -> ProblemError:
    """Return one validation fault in the words of the problem file; a misspelt key explains a missing one."""
    faults = error.errors(include_url=False)
    fault = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
    path = [str(part) for part in fault["loc"]]
    key, message = fault_in_words(fault)
    if fault["type"] == "extra_forbidden":
        known = _TABLES.get(path[0], ProblemTable).model_fields if len(path) > 1 else ProblemTable.model_fields
        near = difflib.get_close_matches(path[-1], list(known), n=1)
        guess = f"did you mean {near[0]!r}? " if near else ""
        return ProblemError(f"unknown key {path[-1]!r}; {guess}known: {', '.join(known)}", key=key, file=file)
    if fault["type"] == "missing":
        return ProblemError("the key is missing", key=key, file=file)
    return ProblemError(message, key=key, file=file)


def fault_in_words(fault: Mapping[str, Any]) -> tuple[str, str]:
    """Return the key as the file has it, entries of lists counted from 1, and what was needed and what came.

    >>> fault_in_words({"loc": ("conditions", 0, "where", "constrained-str"), "msg": "Value error, no", "input": 3})
    ('conditions[1].where', "no, got '3'")
    """
    key = ""
    for part in fault["loc"]:
        if isinstance(part, int):
            key += f"[{part + 1}]"
        elif part not in _TYPES and not part.startswith(("function-", "constrained-", "list[", "dict[", "literal[")):
            key += f".{part}" if key else part
    needed = str(fault["msg"]).removeprefix("Value error, ")
    return key, f"{needed[:1].lower()}{needed[1:]}, got {str(fault['input'])[:60]!r}"
