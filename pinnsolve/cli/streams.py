"""Standard streams that nobody may be reading: words that get lost are no reason to lose a run."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import IO, Any

from pinnsolve.errors import ResourceError

_UNREAD = {errno.EPIPE, errno.EIO, errno.EBADF}  # a closed pipe, a terminal that hung up, a closed descriptor


class LastingStream:
    """A standard stream that goes on as one to nowhere once it cannot be written.

    Raises:
        ResourceError: from `write` and `flush`, if what is lost are results (stdout) and the reader is still there.
    """

    def __init__(self, stream: IO[str], *, holds_results: bool) -> None:
        self._stream, self._holds_results = stream, holds_results

    def write(self, text: str) -> int:
        """Write the text."""
        return self._attempted(lambda: self._stream.write(text)) or len(text)

    def flush(self) -> None:
        """Hand on what has been written."""
        self._attempted(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _attempted(self, action: Callable[[], int | None]) -> int | None:
        try:
            return action()
        except OSError as error:
            # what stays in the buffer is flushed to nowhere, also when the interpreter ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            if self._holds_results and error.errno not in _UNREAD:
                raise ResourceError(f"the output cannot be written: {error.strerror}") from None
            return None


def make_streams_last() -> None:
    """Replace stdout and stderr by streams that survive their readers; open those that were closed from the start."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115  else the next file that is opened becomes stdin
    for name, holds_results in (("stdout", True), ("stderr", False)):
        stream = getattr(sys, name) or open(os.devnull, "w")  # noqa: SIM115
        setattr(sys, name, LastingStream(stream, holds_results=holds_results))
