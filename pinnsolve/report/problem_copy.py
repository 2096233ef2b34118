"""What the report reads from the run's copy of the problem file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pinnsolve.problems.schema import toml_table
from pinnsolve.runs import RunFolder


def problem_table(folder: RunFolder) -> dict[str, Any]:
    """Return the copy of the problem file, empty if it cannot be read: the report does without it."""
    if not folder.has("problem.toml"):
        return {}
    try:
        return toml_table(folder.problem_text().encode())
    except (RecursionError, ValueError):
        return {}


def units(problem: Mapping[str, Any]) -> dict[str, str]:
    """Return the unit of each field that has one.

    >>> units({"fields": {"V": {"unit": "mV"}, "w": {}}}), units({"fields": ["u"]})
    ({'V': 'mV'}, {})
    """
    fields = problem.get("fields")
    tables = fields if isinstance(fields, Mapping) else {}
    found = {name: table.get("unit") for name, table in tables.items() if isinstance(table, Mapping)}
    return {name: unit for name, unit in found.items() if isinstance(unit, str) and unit}
