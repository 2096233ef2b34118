"""Output to terminals: text from files is shown inert, progress goes to stderr."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from pinnsolve.solving import Progress

_LEAST_COLUMNS = 60  # of a table


def plain(text: object) -> str:
    """Return text without control and bidirectional characters, so that it cannot steer a terminal."""
    return "".join(c if c == "\n" or unicodedata.category(c)[0] != "C" else "?" for c in str(text))


def console(*, stderr: bool = False, least: int = 0) -> Console:
    """Return a rich console on stdout or stderr, at least so many columns wide; markup in text has no effect."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else 160  # a pipe or a log has no edge; tables shall not be folded for one
    made = Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=width)
    made.width = max(made.width, least)
    return made


def say(text: object = "", *, stderr: bool = False) -> None:
    """Print one line or paragraph."""
    stream = sys.stderr if stderr else sys.stdout
    encoding = stream.encoding or "ascii"
    stream.write(plain(text).encode(encoding, "replace").decode(encoding) + "\n")


def complain(text: object) -> None:
    """Print an error on stderr."""
    say(f"error: {text}", stderr=True)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, stderr: bool = False) -> None:
    """Print a table; every cell is plain text."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    # lines that a narrow terminal wraps can be read; a table folded to a letter per line cannot
    console(stderr=stderr, least=_LEAST_COLUMNS).print(table)


def number(value: float | None, digits: int = 2) -> str:
    """Return a number in short scientific form; a dash where there is none.

    >>> number(0.000123), number(None)
    ('1.23e-04', '-')
    """
    return "-" if value is None else f"{value:.{digits}e}"


@contextmanager
def progress_bar(time_limit: float, steps: int | None, *, quiet: bool) -> Iterator[Any]:
    """Yield a function that shows one recorded step: a bar on a terminal, a plain line now and then without."""
    if quiet:
        yield lambda progress: None
    elif sys.stderr.isatty():
        with _bar(time_limit, steps) as update:
            yield update
    else:
        yield _Lines(time_limit)


def _shown(progress: Progress) -> str:
    rate = progress.training.step / max(progress.seconds, 1e-9)
    error = f"  error {number(progress.error)}" if progress.error is not None else ""
    return f"loss {number(progress.training.loss)}{error}  {rate:.1f} steps/s"


@contextmanager
def _bar(time_limit: float, steps: int | None) -> Iterator[Any]:
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("step {task.fields[step]}"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("preparing", total=1.0, step=0)

        def update(progress: Progress) -> None:
            done = max(progress.seconds / time_limit, progress.training.step / steps if steps else 0.0)
            bar.update(task, completed=min(done, 1.0), description=_shown(progress), step=progress.training.step)

        yield update


class _Lines:
    """Plain progress lines, each twice as late as the one before, for logs and pipes."""

    def __init__(self, time_limit: float) -> None:
        self._limit, self._next = time_limit, 1.0

    def __call__(self, progress: Progress) -> None:
        if progress.seconds >= self._next:
            self._next = progress.seconds + max(progress.seconds, 1.0)
            left = max(self._limit - progress.seconds, 0.0)
            say(f"step {progress.training.step}  {_shown(progress)}  {left:.0f} s left", stderr=True)
