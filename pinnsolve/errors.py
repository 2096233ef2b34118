"""What can go wrong, and the exit code each fault leaves with.

PinnsolveError                     1   a fault of the program
├── InputError                     2   usage, problem file, settings
│   ├── ProblemError               2   a problem file (names file, key, value, remedy)
│   └── SettingsError              2   a setting
├── DivergenceError                3   training left the finite numbers
├── ResourceError                  4   device, memory, disk
├── RunFolderError                 5   a checkpoint or run folder cannot be used
├── RequirementError               6   --require-error or check not met
└── Stopped              128 + signal  a signal; the checkpoint is saved
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MANY = 20  # names that a line still shows


class PinnsolveError(Exception):
    """Root of every fault that a user sees as one message and an exit code."""

    exit_code = 1


class InputError(PinnsolveError):
    """The input cannot be used as it is."""

    exit_code = 2


class SettingsError(InputError):
    """A setting is unknown or has a value that cannot be used."""


class ProblemError(InputError):
    """A problem file cannot be used; says where, what came, and what to do.

    Args:
        message: what is wrong, with the value that came.
        key: the key of the problem file, e.g. `equations.burgers`.
        file: the file's name or path.
        remedy: one line that tells the user what to write instead.
    """

    def __init__(self, message: str, *, key: str = "", file: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.message, self.key, self.file, self.remedy = message, key, file, remedy

    def located(self, *, key: str = "", file: str = "") -> ProblemError:
        """Return the same error with the location filled in where it is missing."""
        return type(self)(self.message, key=self.key or key, file=self.file or file, remedy=self.remedy)

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.file, self.key) if part)
        text = f"{where}: {self.message}" if where else self.message
        return f"{text} ({self.remedy})" if self.remedy else text


class DivergenceError(PinnsolveError):
    """Training left the finite numbers, or the loss grew past all use."""

    exit_code = 3


class ResourceError(PinnsolveError):
    """A device, memory or disk space is missing."""

    exit_code = 4


class RunFolderError(PinnsolveError):
    """A checkpoint or run folder cannot be used."""

    exit_code = 5


class RequirementError(PinnsolveError):
    """A gate that the user asked for (`--require-error`, `check`) is not met."""

    exit_code = 6


class Stopped(PinnsolveError):
    """A signal ended the run; 128 + signal number is the exit code."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message for a name that is not known: the nearest match, and all known ones unless they are many.

    A name may be near to the last part of a dotted one.

    >>> unknown_name("activation", "tahn", ["elu", "tanh"])
    "unknown activation 'tahn'; did you mean 'tanh'? known: elu, tanh"
    >>> unknown_name("setting", "widht", ["network.width", "seed"])
    "unknown setting 'widht'; did you mean 'network.width'? known: network.width, seed"
    """
    names = sorted(known)
    last = {whole.rpartition(".")[2]: whole for whole in names}
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    near = near or [last[part] for part in difflib.get_close_matches(name, last, n=1, cutoff=0.6)]
    guess = f"did you mean {near[0]!r}? " if near else ""
    shown = name if len(name) <= 60 else name[:57] + "..."
    if near and len(names) > _MANY:
        return f"unknown {kind} {shown!r}; did you mean {near[0]!r}?"
    return f"unknown {kind} {shown!r}; {guess}known: {', '.join(names) or 'none'}"
