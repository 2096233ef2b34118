"""Signals as facts that a run looks at between steps."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STEP_PATIENCE = 1.0  # seconds that a step may still take after a signal


def heeded() -> list[signal.Signals]:
    """The stopping signals that this process heeds: what was ignored from the start, as by nohup, stays so."""
    return [number_ for number_ in STOPPING if signal.getsignal(number_) is not signal.SIG_IGN]


class StepAbandoned(BaseException):
    """A signal came, and the step under way takes too long to wait for."""


@dataclass
class Signals:
    """Remembers the first SIGINT, SIGTERM or SIGHUP, so that training can end at a step; a second SIGINT ends at once.

    What goes on for more than a second after the signal (wide least squares, the audit, figures) is
    abandoned: `StepAbandoned` is raised in it; nothing is that goes on while `held`.
    """

    received: int | None = None
    _holds: bool = False
    _previous: dict[int, Any] = field(default_factory=dict)

    def __enter__(self) -> Signals:
        handlers = {**dict.fromkeys(heeded(), self._note), signal.SIGALRM: self._abandon}
        for number_, handler in handlers.items():
            self._previous[number_] = signal.signal(number_, handler)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number_, handler in self._previous.items():
            signal.signal(number_, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Abandon nothing in this block, however late it ends: what is being saved is what can be gone on with."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._holds = True
        try:
            yield
        finally:
            self._holds = False
            if self.received is not None:
                signal.setitimer(signal.ITIMER_REAL, STEP_PATIENCE)

    def _note(self, number_: int, _: FrameType | None) -> None:
        if self.received is not None and number_ == signal.SIGINT:
            os._exit(128 + number_)
        self.received = number_
        if not self._holds:
            signal.setitimer(signal.ITIMER_REAL, STEP_PATIENCE)

    def _abandon(self, _: int, frame: FrameType | None) -> None:
        raise StepAbandoned
