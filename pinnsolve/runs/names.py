"""Names of run folders, and whether a folder can be made at their place."""

from __future__ import annotations

import errno
import os
import re
import secrets
import time
from pathlib import Path

from pinnsolve.errors import InputError
from pinnsolve.runs.atomic import storage_fault

_NAME = re.compile(r"\w[\w .,+=@-]{0,99}")


def run_place(outputs: Path, problem_name: str, run_name: str | None = None) -> Path:
    """Return the place of a run, `outputs/<problem>/<run>`; its name is a time and a short hash if none is given.

    Raises:
        InputError: a name is no plain folder name.
    """
    name = default_name() if run_name is None else run_name
    return Path(outputs) / checked_name("problem", problem_name) / checked_name("run", name)


def checked_name(kind: str, name: str) -> str:
    """Return a name that can be that of a folder.

    Raises:
        InputError: it cannot.
    """
    if not _NAME.fullmatch(name) or len(name.encode()) > 200 or name.endswith((".", " ")):
        shown = name if len(name) <= 60 else name[:57] + "..."
        raise InputError(
            f"{shown!r} cannot be the name of a {kind}; use up to 100 letters, digits, spaces and . , + = @ _ -, "
            "beginning with a letter or digit"
        )
    return name


def default_name() -> str:
    """Return a name that no other run has: a time and a short hash."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def refuse_unwritable(path: Path) -> None:
    """Raise what making this folder would raise, without making it.

    Raises:
        InputError: the path cannot be a folder.
        ResourceError: the folder that it would be made in cannot be written.
    """
    try:
        there = next(place for place in (path, *path.parents) if place.exists())
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except (OSError, ValueError) as error:
        raise storage_fault(error, path) from error
