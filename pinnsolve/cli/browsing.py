"""`list`, `show`, `new`: problems looked at without solving them, and begun."""

from __future__ import annotations

import json as json_text
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinnsolve.cli.terminal import say, show_table
from pinnsolve.errors import InputError, ProblemError, ResourceError
from pinnsolve.problems import load_problem, problem_files, read_outline

if TYPE_CHECKING:
    from pinnsolve.problems import Problem
    from pinnsolve.problems.notation import Writer


def list_command(folder: Path | None, json: bool) -> None:
    """Print one line per problem; a file that cannot be read is a line too."""
    rows = [_summary(path) for path in problem_files(folder)]
    if json:
        say(json_text.dumps(rows, indent=1))
        return
    columns = ("name", "title", "coordinates", "order", "reference", "tags")
    show_table(columns, [[row[column] for column in columns] for row in rows])


def _summary(path: Path) -> dict[str, Any]:
    try:
        found = read_outline(path)
    except ProblemError as error:
        dashes = dict.fromkeys(("coordinates", "order", "reference"), "-")
        return {"name": path.stem, "title": str(error), **dashes, "tags": "broken"}
    return {**asdict(found), "coordinates": ", ".join(found.coordinates), "tags": ", ".join(found.tags)}


def reference_kind(problem: Problem) -> str:
    """Return in a word where a problem's reference comes from."""
    if problem.reference.file is not None:
        return "file"
    return "exact" if problem.reference.exact else problem.reference.solver


def show_command(name: str, folder: Path | None, latex: bool) -> None:
    """Print a problem as its file states it, with what was derived from it."""
    problem = load_problem(name, folder)
    from pinnsolve.problems.schema import toml_table  # beside Pydantic, which a list does without

    table = toml_table(problem.text.encode())
    writer = _writer(problem, latex)
    if latex:
        for line in [writer.equation(text) for text in table["equations"].values()] + _conditions(table, writer, latex):
            say(line)
        return
    say(f"{problem.title}\n{problem.source}" if problem.source else problem.title)
    for coordinate in problem.coordinates:
        note = " (periodic)" if coordinate.periodic else " (time)" if coordinate.name == problem.time else ""
        say(f"  {coordinate.name} in [{coordinate.interval[0]}, {coordinate.interval[1]}]{note}")
    _show_section("geometry", [f"{key} = {value}" for key, value in table.get("geometry", {}).items()])
    _show_section("constants", [f"{key} = {value}" for key, value in problem.constants.items()])
    _show_section("equations", [f"{key}: {writer.equation(value)}" for key, value in table["equations"].items()])
    _show_section("conditions", _conditions(table, writer, latex))
    invariants = [f"{key}: {writer.expression(value)}" for key, value in table.get("invariants", {}).items()]
    _show_section("invariants", invariants)
    given = table.get("manufactured") or table.get("reference", {}).get("exact", {})
    exact = [f"{field} = {writer.expression(text)}" for field, text in given.items()]
    _show_section("reference", exact or [reference_kind(problem)])
    _show_section("defaults", [f"{key} = {value}" for key, value in problem.defaults.items()])


def _writer(problem: Problem, latex: bool) -> Writer:
    from pinnsolve.problems.notation import Latex, Terminal, Writer

    names = problem.coordinate_names
    return Writer(Latex() if latex else Terminal(names), problem.field_names, names)


def _conditions(table: dict[str, Any], writer: Writer, latex: bool) -> list[str]:
    """Return the conditions as the file groups them, each with its places."""
    lines = []
    for condition in table.get("conditions", []):
        where = condition["where"]
        places = " and ".join([where] if isinstance(where, str) else where)
        joined = rf" \quad\text{{at }} \text{{{places}}}" if latex else f"  at {places}"
        lines.append(writer.equation(condition["equation"]) + joined)
    return lines


def new_command(name: str, folder: Path | None, source: str | None, like: str | None) -> None:
    """Write a problem file to start from; never over one that is there."""
    from pinnsolve.problems.library import NAME
    from pinnsolve.problems.starting import copied_text, starting_text
    from pinnsolve.runs.atomic import write_atomically

    if not NAME.fullmatch(name):
        raise InputError(f"{name!r} is not a name for a problem: letters, digits, _ and -")
    if source is not None and like is not None:
        raise InputError("--from and --like exclude each other")
    if source is not None:
        text = copied_text(name, load_problem(source, folder).text)
    else:
        text = starting_text(name, like or "1d-time")
    path = (folder or Path("problems")) / f"{name}.toml"
    if path.exists():
        raise InputError(f"{path} is there already; choose another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"{path} cannot be written: {error.strerror}") from None
    write_atomically(path, text.encode())
    say(f"wrote {path}; next: edit it, then `pinnsolve check {name}`")


def _show_section(title: str, lines: Sequence[str]) -> None:
    if lines:
        say(f"{title}:")
        for line in lines:
            say(f"  {line}")
