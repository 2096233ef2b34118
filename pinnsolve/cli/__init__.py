"""The command line: a client of the library, and the only code that prints or exits."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from pinnsolve.cli.streams import make_streams_last
from pinnsolve.memory import keep_freed_memory

_MISSING = {
    errno.ENOSPC: "no space left on a disk",
    errno.EDQUOT: "no space left on a disk",
    errno.EMFILE: "too many open files (ulimit -n)",
    errno.ENFILE: "too many open files on this machine",
    errno.ENOMEM: "not enough memory",
    errno.EAGAIN: "too many processes (ulimit -u)",
}
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # as CUDA, and torch on CPUs, put it


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with the exit code: 0 to 6 as in `errors`, or 128 + signal."""
    # Threads of matrix kernels that wait by spinning slow each other down tenfold on a busy machine;
    # so they spin for microseconds only. Read once, when torch loads its OpenMP library.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    make_streams_last()
    keep_freed_memory()
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run the command line; return its exit code. The one exit door: every fault ends here."""
    debug = "--debug" in arguments
    try:
        return _dispatch([argument for argument in arguments if argument != "--debug"] or ["--help"])
    except BaseException as error:
        if debug:
            raise
        return _explained(error)


def _dispatch(arguments: list[str]) -> int:
    from pinnsolve.cli.app import app

    result = app(args=arguments, prog_name="pinnsolve", standalone_mode=False)
    sys.stdout.flush()
    if result == 130:  # what Typer makes of Ctrl-C
        raise KeyboardInterrupt
    return result if isinstance(result, int) else 0


def _explained(error: BaseException) -> int:
    """Print one message for a fault and return its exit code."""
    import typer

    from pinnsolve.cli.terminal import complain
    from pinnsolve.errors import PinnsolveError

    if isinstance(error, PinnsolveError):
        complain(str(error))
        return error.exit_code
    if isinstance(error, typer.Exit):
        return error.exit_code
    if hasattr(error, "format_message"):  # a usage error
        complain(f"{error.format_message()}; pinnsolve --help shows the usage")
        return 2
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        complain("interrupted")
        return 130
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY):
        detail = f" ({str(error)[:200]})" if str(error) else ""
        complain(f"not enough memory{detail}; try fewer --points or a smaller --width")
        return 4
    if isinstance(error, OSError) and error.errno in _MISSING:
        complain(f"{_MISSING[error.errno]}{f' for {error.filename}' if error.filename else ''}; free some")
        return 4
    complain(f"a fault of the program: {type(error).__name__}: {str(error)[:300]}; --debug shows where")
    return 1
