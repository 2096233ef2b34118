"""A process of its own for every run, forked from one that has imported what runs need."""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, BinaryIO, NoReturn

from pinnsolve.memory import keep_freed_memory

_SERVE = "import sys; from pinnsolve.comparison.isolation import serve; serve(*map(int, sys.argv[1:]))"


class Template:
    """A process that computes nothing itself, and forks for every call that it is given.

    Forks find imported what those before them had to import. They, and the template, end when this process does,
    however it ends. Ctrl-C does not reach them: it is for the process that hands out the calls.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._calls: BinaryIO
        self._answers: BinaryIO
        self._lock = threading.Lock()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what the function returns, in a new process; all of it must be picklable.

        Raises:
            ChildProcessError: the process died, or ended without a value; the text says how.
        """
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            try:
                pickle.dump((function, arguments), self._calls)
                self._calls.flush()
                is_value, answer = pickle.load(self._answers)
            except (EOFError, BrokenPipeError) as error:
                self.close()
                raise ChildProcessError("the process that it is forked from died") from error
        if not is_value:
            raise ChildProcessError(answer)
        return answer

    def close(self) -> None:
        """End the template, and the fork that is under way."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._calls.close()
            self._answers.close()
            self._process = None

    def _start(self) -> None:
        calls, answers = os.pipe(), os.pipe()
        theirs = calls[0], answers[1]
        places = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, *map(str, theirs)],
            pass_fds=theirs,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": places},
        )
        for descriptor in theirs:
            os.close(descriptor)
        self._calls, self._answers = os.fdopen(calls[1], "wb"), os.fdopen(answers[0], "rb")


def serve(calls: int, answers: int) -> None:
    """Fork for every call that comes in, and answer with what the fork returns, until no more can come.

    Args:
        calls: the descriptor that pairs of a function and its arguments are read from.
        answers: the descriptor that pairs (whether it is a value; the value, or how the fork ended) are written to.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    with os.fdopen(calls, "rb") as incoming, os.fdopen(answers, "wb") as outgoing:
        while True:
            try:
                function, arguments = pickle.load(incoming)
            except EOFError:
                return
            answer = _forked(calls, function, arguments)
            try:
                pickle.dump(answer, outgoing)
                outgoing.flush()
            except BrokenPipeError:  # the caller died meanwhile
                os._exit(0)


def _forked(calls: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    """Return whether a fork has returned a value, and the value or how it ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _child(calls, writing, function, arguments)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        content = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        return False, f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    value, imported = pickle.loads(content)
    for name in imported:
        importlib.import_module(name)
    return True, value


def _child(calls: int, writing: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> NoReturn:
    """Call the function and write its value with the names of our modules it has imported; never return."""
    code = 1
    try:
        threading.Thread(target=_end_with_caller, args=(calls,), daemon=True).start()
        known = set(sys.modules)
        value = function(*arguments)
        # modules of others may keep state that is set while a run is under way
        imported = sorted(name for name in set(sys.modules) - known if name.split(".")[0] == "pinnsolve")
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump((value, imported), pipe)
        code = 0
    finally:
        os._exit(code)


def _end_with_caller(calls: int) -> None:
    os.read(calls, 1)  # nothing comes while a fork is under way but the end
    os._exit(1)
