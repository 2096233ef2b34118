"""The folder of one run: what is in it, who may write it, and how it is read back."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsolve.errors import InputError, RunFolderError
from pinnsolve.runs import arrays, records
from pinnsolve.runs.atomic import (
    append_atomically,
    read_bounded,
    remove_temporaries,
    storage_fault,
    write_atomically,
)
from pinnsolve.runs.locks import FolderLock
from pinnsolve.runs.names import refuse_unwritable, run_place

SCHEMA = 1
SETTINGS, PROBLEM, METRICS = "settings.toml", "problem.toml", "metrics.json"
HISTORY, DERIVATIVES, SOLUTION, PAGE = "history.csv", "derivatives.csv", "solution.npz", "report.html"
AUDIT = "audit.npz"
CHECKPOINTS, FIGURES = "checkpoints", "figures"
_FILES = (METRICS, SETTINGS, PROBLEM, HISTORY, DERIVATIVES, AUDIT, SOLUTION, PAGE)
_OWNED = {CHECKPOINTS: ("step-*.json", "step-*.safetensors"), FIGURES: ("*.png", "*.svg")}
_MAX_TEXT = 64 * 2**20
_BELOW = ("*", "*/*", "runs/*/*")  # where runs may be, from a folder that holds none itself


class RunFolder:
    """One run on disk, `outputs/<problem>/<run>/`.

    Every file is replaced whole or not at all. `create` and `resume` hold the folder against other
    processes until `close`, or the end of a `with` block; `open` only reads (and draws the report anew).
    """

    def __init__(self, path: Path, lock: FolderLock | None = None) -> None:
        self.path = path
        self._lock = lock
        self._columns: list[str] | None = None  # of history.csv, once known

    @classmethod
    def create(
        cls, outputs: Path, problem_name: str, run_name: str | None = None, overwrite: bool = False
    ) -> RunFolder:
        """Make and hold the folder of a new run; its name is a time and a short hash if none is given.

        Raises:
            InputError: a name is no plain folder name, the folder holds a run (and `overwrite` is
                False), another process holds it, or `outputs` cannot be a folder.
            ResourceError: the disk cannot be written.
        """
        path = run_place(outputs, problem_name, run_name)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise storage_fault(error, path) from error
        folder = cls(path, FolderLock(path / ".lock"))
        try:
            folder._clear(overwrite)
        except BaseException:
            folder.close()
            raise
        return folder

    @classmethod
    def refuse_taken(cls, outputs: Path, problem_name: str, run_name: str | None, overwrite: bool) -> None:
        """Raise what `create` would raise for this name, before anything is computed for it; make nothing."""
        path = run_place(outputs, problem_name, run_name)
        refuse_unwritable(path)
        cls(path)._refuse_old(overwrite)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Return the folder of a run that has ended, to be read.

        Raises:
            RunFolderError: there is no run, it has not ended, or its metrics cannot be read.
        """
        folder = cls(_existing(path))
        if not folder.has(METRICS) and folder.has(SETTINGS):
            raise RunFolderError(f"{path}: the run has no {METRICS} yet; finish it with: pinnsolve resume {path}")
        folder.metrics()
        return folder

    @classmethod
    def resume(cls, path: Path) -> RunFolder:
        """Hold the folder of a run that shall go on; it needs no metrics, a killed run has none.

        Raises:
            RunFolderError: there is no run, or its settings or problem cannot be read.
            InputError: another process holds the folder.
        """
        folder = cls(_existing(path))
        folder.settings()
        folder.problem_text()
        folder._lock = FolderLock(folder.path / ".lock")
        remove_temporaries(folder.path)
        return folder

    def close(self) -> None:
        """Let other processes write in the folder again."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    def has(self, file: str) -> bool:
        """Return whether the folder has this file, e.g. `solution.npz`."""
        return (self.path / file).is_file()

    # ------------------------------------------------------------------------------------- writers

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Save the resolved settings; a setting that is None is left out."""
        write_atomically(self.path / SETTINGS, records.toml_bytes(settings))

    def write_problem(self, text: str) -> None:
        """Save a copy of the problem file."""
        write_atomically(self.path / PROBLEM, text.encode("utf-8", "backslashreplace"))

    def append_history(self, row: Mapping[str, Any]) -> None:
        """Add one row to the history; the first row's keys are the columns.

        Raises:
            RunFolderError: the row has other keys than the first one.
        """
        path = self.path / HISTORY
        if self._columns is None and self.has(HISTORY) and path.stat().st_size:  # a full disk leaves an empty file
            self._columns = records.read_csv(read_bounded(path, _MAX_TEXT), str(path))[0]
        header: list[Sequence[Any]] = [] if self._columns else [list(row)]
        columns = self._columns or list(row)
        if set(columns) != set(row):
            raise RunFolderError(
                f"{path}: has the columns {', '.join(columns)[:200]}, and not {', '.join(row)[:200]}; "
                "move it away to go on without it"
            )
        append_atomically(path, records.csv_bytes([*header, [row[column] for column in columns]]))
        self._columns = columns

    def rewind_history(self, step: int) -> None:
        """Drop the rows after this step: a run that resumes there writes them again."""
        if not self.has(HISTORY):
            return
        path = self.path / HISTORY
        try:
            names, rows = records.read_csv(read_bounded(path, _MAX_TEXT), str(path))
        except RunFolderError as error:
            raise RunFolderError(f"{error}; move it away to go on without it") from None
        if "step" not in names:
            raise RunFolderError(f"{path}: there is no column 'step', only {', '.join(names)[:80]}")
        position = names.index("step")
        kept = [[_integer_if_whole(cell) for cell in row] for row in rows if float(row[position]) <= step]
        write_atomically(path, records.csv_bytes([names, *kept]))

    def write_derivatives(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Save every row of the derivative audit; the first row's keys are the columns."""
        columns = list(rows[0]) if rows else ["term", "scheme", "dtype", "step"]
        table = [columns, *([row[column] for column in columns] for row in rows)]
        write_atomically(self.path / DERIVATIVES, records.csv_bytes(table))

    def write_audit_maps(self, maps: Mapping[str, NDArray[Any]]) -> None:
        """Save where finite differences err, and the kinks."""
        write_atomically(self.path / AUDIT, arrays.archive_bytes(maps))

    def write_solution(self, solution: Mapping[str, NDArray[Any]]) -> None:
        """Save coordinates, fields, references and residuals on the evaluation grid."""
        write_atomically(self.path / SOLUTION, arrays.archive_bytes(solution))

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Save the result, last of all; NaN and infinities become null, never 0."""
        write_atomically(self.path / METRICS, records.json_bytes({"schema": SCHEMA, **metrics}))

    def write_figure(self, file: str, content: bytes) -> Path:
        """Save one figure, e.g. `history.png`, and return its path."""
        path = self.subfolder(FIGURES) / file
        write_atomically(path, content)
        return path

    def write_page(self, html: str) -> Path:
        """Save the report and return its path."""
        write_atomically(self.path / PAGE, html.encode("utf-8", "xmlcharrefreplace"))
        return self.path / PAGE

    def subfolder(self, name: str) -> Path:
        """Return a folder inside this one, made if it is missing."""
        path = self.path / name
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise storage_fault(error, path) from error
        return path

    # ------------------------------------------------------------------------------------- readers
    # each raises RunFolderError when its file is missing or broken

    def settings(self) -> dict[str, Any]:
        """Return the resolved settings."""
        return records.read_toml(self._content(SETTINGS), str(self.path / SETTINGS))

    def settings_digest(self) -> str:
        """Return the SHA-256 of the saved settings, empty while there are none."""
        return hashlib.sha256(self._content(SETTINGS)).hexdigest() if self.has(SETTINGS) else ""

    def problem_text(self) -> str:
        """Return the copy of the problem file."""
        return self._content(PROBLEM).decode("utf-8", "replace")

    @property
    def has_metrics(self) -> bool:
        """Whether the run came to a result."""
        return (self.path / METRICS).is_file()

    def metrics(self) -> dict[str, Any]:
        """Return the result of the run."""
        path = self.path / METRICS
        metrics = records.read_json(self._content(METRICS), str(path))
        if metrics.get("schema") != SCHEMA:
            raise RunFolderError(f"{path}: schema {SCHEMA} is needed, got {str(metrics.get('schema'))[:40]}")
        return metrics

    def history(self) -> dict[str, NDArray[Any]]:
        """Return the columns of the history: `stage` as text, all others as float64."""
        names, rows = records.read_csv(self._content(HISTORY), str(self.path / HISTORY))
        columns = list(zip(*rows, strict=True)) or [()] * len(names)
        return {
            name: np.array(column, dtype=np.str_ if name in records.TEXT_COLUMNS else np.float64)
            for name, column in zip(names, columns, strict=True)
        }

    def derivatives(self) -> list[dict[str, records.Cell]]:
        """Return the rows of the derivative audit; numbers are floats, empty ones NaN."""
        names, rows = records.read_csv(self._content(DERIVATIVES), str(self.path / DERIVATIVES))
        return [dict(zip(names, row, strict=True)) for row in rows]

    def audit_maps(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the derivative audit; none for a run without."""
        path = self.path / AUDIT
        return arrays.read_archive(read_bounded(path, arrays.MAX_BYTES), str(path)) if path.is_file() else {}

    def solution(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the evaluation grid."""
        path = self.path / SOLUTION
        return arrays.read_archive(read_bounded(path, arrays.MAX_BYTES), str(path))

    def _content(self, file: str) -> bytes:
        return read_bounded(self.path / file, _MAX_TEXT)

    def _refuse_old(self, overwrite: bool) -> list[Path]:
        """Return the files of a run that is here; raise if there are any and they shall stay."""
        old = [self.path / file for file in _FILES]
        for folder, patterns in _OWNED.items():
            if not (self.path / folder).is_symlink():  # what it points to is not ours
                old += [file for pattern in patterns for file in (self.path / folder).glob(pattern)]
        old = [file for file in old if file.is_symlink() or file.exists()]
        if old and not overwrite:
            raise InputError(f"{self.path}: there is a run already; choose another --name, or give --overwrite")
        return old

    def _clear(self, overwrite: bool) -> None:
        old = self._refuse_old(overwrite)
        try:
            for file in old:
                file.unlink()
        except OSError as error:
            raise storage_fault(error, self.path) from error
        remove_temporaries(self.path)


def _existing(path: Path) -> Path:
    with contextlib.suppress(OSError, ValueError):
        if Path(path).is_dir():
            _refuse_without_run(Path(path))
            return Path(path)
    raise RunFolderError(f"{str(path)[:200]!r} is not a run folder; runs are in outputs/<problem>/<run>")


def _refuse_without_run(path: Path) -> None:
    """Raise for a folder of something else, such as a comparison; name some of the runs below it."""
    if any((path / file).is_file() for file in (METRICS, SETTINGS, PROBLEM)):
        return
    found = [file.parent for pattern in _BELOW for file in sorted(path.glob(f"{pattern}/{SETTINGS}"))[:3]]
    below = f"; runs below it: {', '.join(map(str, found))}" if found else "; runs are in outputs/<problem>/<run>"
    raise RunFolderError(f"{path}: there is no run in this folder{below}")


def _integer_if_whole(cell: records.Cell) -> records.Cell:
    return int(cell) if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53 else cell
