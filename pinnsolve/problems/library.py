"""Where problem files are found, and the problems by name."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pinnsolve.errors import InputError, unknown_name

if TYPE_CHECKING:
    from pinnsolve.problems.problem import Problem

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


def problem_folders(folder: str | Path | None = None) -> list[Path]:
    """Return where problems are looked for: the folder given, or PINNSOLVE_PROBLEMS, or ./problems and the shipped one.

    Raises:
        InputError: a folder that was named does not exist.
    """
    named = folder or os.environ.get("PINNSOLVE_PROBLEMS")
    if named:
        if not Path(named).is_dir():
            raise InputError(f"there is no folder of problems {str(named)!r}")
        return [Path(named)]
    here = Path("problems")
    return [*([here] if any(here.glob("*.toml")) else []), shipped_problems()]


def shipped_problems() -> Path:
    """Return the folder of the problems that came with this package."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "library"  # in a wheel; in a checkout they stand beside the package
    return installed if installed.is_dir() else package.parent / "problems"


def problem_files(folder: str | Path | None = None) -> list[Path]:
    """Return every problem file of the first folder where problems are looked for, by name."""
    return sorted(problem_folders(folder)[0].glob("*.toml"))


def load_problem(name: str | Path, folder: str | Path | None = None) -> Problem:
    """Return the problem of this name, or of this path if it ends in `.toml`.

    Raises:
        InputError: the name is unknown; ProblemError: its file cannot be used.
    """
    path = problem_path(name, folder)
    from pinnsolve.problems.loading import load_problem_file  # takes a second; an unknown name is told before

    return load_problem_file(path)


def problem_path(name: str | Path, folder: str | Path | None = None) -> Path:
    """Return the file of the problem of this name, or the path itself if it ends in `.toml`.

    Raises:
        InputError: the name is unknown.
    """
    if str(name).endswith(".toml"):
        return Path(name)
    known = {path.stem: path for place in reversed(problem_folders(folder)) for path in sorted(place.glob("*.toml"))}
    if str(name) not in known:  # also whatever has path parts: names are those of files in this folder
        raise InputError(unknown_name("problem", str(name), known))
    return known[str(name)]
