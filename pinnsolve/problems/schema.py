"""The shape of a problem file: keys, types, unknown keys refused with the nearest known one."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pinnsolve.errors import ProblemError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16  # of tables and arrays in each other
_LONG_KEY = re.compile(rb"""(?:[\w"'-]{1,64}[ \t]*\.[ \t]*){100}""")  # the time to read one grows with its square
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
        table = ProblemTable.model_validate(toml_table(content))
    except UnicodeDecodeError as error:
        raise ProblemError(f"byte {error.start} is not UTF-8", file=file, remedy="save the file as UTF-8") from None
    except ValidationError as error:
        raise _explained(error, file) from None
    except tomllib.TOMLDecodeError as error:
        raise ProblemError(f"not TOML: {error}", file=file) from None
    except RecursionError:
        message = f"arrays or tables stand too deep in each other, more than {MAX_DEPTH}"
        raise ProblemError(message, file=file) from None
    except ValueError as error:  # Python converts no integer of more than 4300 digits
        raise ProblemError(f"a number cannot be read: {str(error).partition(';')[0]}", file=file) from None
    for key in _LATER:
        if getattr(table, key) is not None:
            raise ProblemError("not yet supported by this version of pinnsolve", file=file, key=key)
    return table


def toml_table(content: bytes) -> dict[str, Any]:
    """Return the table of a TOML file.

    Raises:
        ValueError: it is not UTF-8 (UnicodeDecodeError) or not TOML (TOMLDecodeError), or has a number too long.
        RecursionError: arrays or tables stand deeper in each other than `MAX_DEPTH`.
    """
    if _LONG_KEY.search(content):
        raise RecursionError(f"tables stand more than {MAX_DEPTH} deep in each other")
    table = tomllib.loads(content.decode("utf-8-sig"))
    level: list[Any] = [table]
    for _ in range(MAX_DEPTH):  # keys such as a.a.a make tables of any depth without recursion
        inner = [list(each.values()) if isinstance(each, dict) else each for each in level]
        level = [each for values in inner for each in values if isinstance(each, dict | list)]
    if level:
        raise RecursionError(f"arrays or tables stand more than {MAX_DEPTH} deep in each other")
    return table


def _explained(error: ValidationError, file: str) -> ProblemError:
    """Return one validation fault in the words of the problem file; a misspelt key explains a missing one.

    Where a value may be a list or a table, each is tried; the fault that lies deepest is of the one that was meant.
    """
    faults = error.errors(include_url=False)
    own = [fault for fault in faults if fault["loc"][0] == faults[0]["loc"][0]]
    deepest = max(own, key=lambda fault: len([part for part in fault["loc"] if not _is_type(part)]))
    fault = next((fault for fault in faults if fault["type"] == "extra_forbidden"), deepest)
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
        elif not _is_type(part):
            key += f".{part}" if key else part
    needed, came = str(fault["msg"]).removeprefix("Value error, "), str(fault["input"])
    known = re.findall("'([^']*)'", str(fault.get("ctx", {}).get("expected", "")))
    near = difflib.get_close_matches(came[:60], known, n=1)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    return key, f"{needed[:1].lower()}{needed[1:]}, got {came[:60]!r}{guess}"


def _is_type(part: int | str) -> bool:
    """Whether a part of a fault's place is no key, but which of several types the value was tried as."""
    kinds = ("function-", "constrained-", "list[", "dict[", "literal[")
    return isinstance(part, str) and (part in _TYPES or part.startswith(kinds))
