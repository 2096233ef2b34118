"""The folder of a comparison, `outputs/comparisons/<name>/`: its runs, summary, figures and page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from pinnsolve.errors import RunFolderError
from pinnsolve.runs import records
from pinnsolve.runs.atomic import read_bounded, storage_fault, write_atomically
from pinnsolve.runs.folder import FIGURES, PAGE
from pinnsolve.runs.locks import FolderLock
from pinnsolve.runs.names import checked_name

COMPARISONS, RUNS = "comparisons", "runs"
SUMMARY, SUMMARY_TABLE, RUN_TABLE = "summary.json", "summary.csv", "runs.csv"
_MAX_SUMMARY = 256 * 2**20


class ComparisonFolder:
    """One comparison on disk; `hold` keeps it from other processes until `close`."""

    def __init__(self, path: Path, lock: FolderLock | None = None) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def hold(cls, outputs: Path, name: str) -> ComparisonFolder:
        """Make (or go on with) the folder of this name, and hold it.

        Raises:
            InputError: the name is no plain folder name, or another process holds the folder.
            ResourceError: the disk cannot be written.
        """
        path = Path(outputs) / COMPARISONS / checked_name("comparison", name)
        try:
            (path / RUNS).mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise storage_fault(error, path) from error
        return cls(path, FolderLock(path / ".lock"))

    @classmethod
    def open(cls, path: Path) -> ComparisonFolder:
        """Return a comparison that is there, to be read.

        Raises:
            RunFolderError: it has no summary.
        """
        folder = cls(Path(path))
        folder.summary()
        return folder

    @staticmethod
    def is_at(path: Path) -> bool:
        """Return whether a folder holds a comparison."""
        return (path / SUMMARY).is_file()

    @property
    def runs(self) -> Path:
        """Where the run folders are: runs/<problem>/<run>."""
        return self.path / RUNS

    def close(self) -> None:
        """Let other processes write in the folder again."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> ComparisonFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write_summary(
        self, summary: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], groups: Sequence[Mapping[str, Any]]
    ) -> None:
        """Save the summary, and as tables the runs and the groups (one row per problem and method)."""
        for file, rows in ((RUN_TABLE, runs), (SUMMARY_TABLE, groups)):
            columns = list(rows[0]) if rows else []
            table = [columns, *([row[column] for column in columns] for row in rows)]
            write_atomically(self.path / file, records.csv_bytes(table))
        write_atomically(self.path / SUMMARY, records.json_bytes(summary))

    def summary(self) -> dict[str, Any]:
        """Return the saved summary.

        Raises:
            RunFolderError: there is none, or it cannot be read.
        """
        path = self.path / SUMMARY
        summary = records.read_json(read_bounded(path, _MAX_SUMMARY), str(path))
        if summary.get("schema") != 1:
            raise RunFolderError(f"{path}: schema 1 is needed, got {str(summary.get('schema'))[:40]}")
        return summary

    def write_figure(self, file: str, content: bytes) -> Path:
        """Save one figure and return its path."""
        place = self.path / FIGURES
        try:
            place.mkdir(exist_ok=True)
        except OSError as error:
            raise storage_fault(error, place) from error
        write_atomically(place / file, content)
        return place / file

    def write_page(self, html: str) -> Path:
        """Save the page and return its path."""
        write_atomically(self.path / PAGE, html.encode("utf-8", "xmlcharrefreplace"))
        return self.path / PAGE
