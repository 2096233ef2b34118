"""The shape of a problem file: keys, types, unknown keys refused with the nearest known one."""

from __future__ import annotations

import difflib
import tomllib
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


def read_table(content: bytes, file: str) -> ProblemTable:
    """Return the validated content of a problem file.

    Raises:
        ProblemError: not TOML, not UTF-8, too large, or a key or value that the format does not have.
    """
    if len(content) > MAX_BYTES:
        raise ProblemError(f"the file has {len(content)} bytes, at most {MAX_BYTES} are read", file=file)
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
    key = ".".join(part for part in path if not part.startswith(("function-", "list[", "dict[", "literal[")))
    if fault["type"] == "extra_forbidden":
        known = _TABLES.get(path[0], ProblemTable).model_fields if len(path) > 1 else ProblemTable.model_fields
        near = difflib.get_close_matches(path[-1], list(known), n=1)
        guess = f"did you mean {near[0]!r}? " if near else ""
        return ProblemError(f"unknown key {path[-1]!r}; {guess}known: {', '.join(known)}", key=key, file=file)
    if fault["type"] == "missing":
        return ProblemError("the key is missing", key=key, file=file)
    return ProblemError(f"{fault['msg'].lower()}, got {str(fault['input'])[:60]!r}", key=key, file=file)
