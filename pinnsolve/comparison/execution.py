"""One run of a comparison, in a process of its own: solved into its folder, its failure a record like any other."""

from __future__ import annotations

import functools
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinnsolve.comparison.grid import Run
from pinnsolve.comparison.isolation import Template
from pinnsolve.errors import DivergenceError, PinnsolveError, RunFolderError

ALLOWED_FAILURES = 2  # processes that a run may lose before it is a failed one
FINISHED = ("finished", "diverged")  # what is not repeated when a comparison is started again
Report = Callable[[Any], Any]


@dataclass(frozen=True)
class Order:
    """A run as it is sent to a worker: plain values, nothing of this machine but the folder.

    Attributes:
        problem_text, problem_path: the problem file.
        problem: its name.
        settings: all of them, nested.
        runs: the folder of run folders, which the worker must be able to write.
        name: of the run's own folder in runs/<problem>/.
        command: that repeats the run.
        label: the run in words.
        threads: for matrix kernels; 0 for as many as the worker has been given.
    """

    problem_text: str
    problem_path: str
    problem: str
    settings: Mapping[str, Any]
    runs: str
    name: str
    command: str
    label: str
    threads: int = 1

    @classmethod
    def of(cls, run: Run, runs: Path, threads: int) -> Order:
        """Return the order of a run."""
        problem = run.problem
        return cls(
            problem_text=problem.text,
            problem_path=str(run.path),
            problem=problem.name,
            settings=run.settings.nested(),
            runs=str(runs.resolve()),
            name=run.name,
            command=run.command,
            label=run.label,
            threads=threads,
        )

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return Path(self.runs) / self.problem / self.name


def isolated(order: Order, report: Report | None = None) -> dict[str, Any]:
    """Execute a run in a process of its own, and again if it dies; dying too often is a record of status "failed"."""
    for _ in range(1 + ALLOWED_FAILURES):
        try:
            record: dict[str, Any] = _template().call(execute, order, report)
            return record
        except ChildProcessError as error:
            how = str(error)
    return failed(order, died(how))


def died(how: str) -> str:
    """Return the reason of a run whose processes have died."""
    return f"its process died {1 + ALLOWED_FAILURES} times, {how} (out of memory, or a crash in compiled code)"


@functools.cache
def _template() -> Template:
    return Template()


def execute(order: Order, report: Report | None = None) -> dict[str, Any]:
    """Solve a run into its folder and return its metrics; whatever goes wrong is a record with status "failed".

    Args:
        order: the run.
        report: called with the finished run folder, e.g. to draw its page.
    """
    import torch

    if order.threads:
        torch.set_num_threads(order.threads)
    began = time.monotonic()
    try:
        record = _solved(order, report)
    except PinnsolveError as error:
        record = failed(order, str(error))
    except Exception as error:  # a row with its reason, whatever it is
        record = failed(order, f"{type(error).__name__}: {str(error)[:500]}")
    return {**record, "wall_seconds": time.monotonic() - began, "worker": f"{socket.gethostname()}:{os.getpid()}"}


def failed(order: Order, reason: str) -> dict[str, Any]:
    """Return the metrics of a run that has no result, written to its folder if that can be."""
    record: dict[str, Any] = {
        "schema": 1,
        "status": "failed",
        "reason": reason,
        "problem": order.problem,
        "settings": dict(order.settings),
        "seconds": None,
        "steps": None,
        "parameters": None,
        "residual_evaluations": None,
        "fields": {},
        "residuals": {},
        "conditions": {},
        "derivatives": [],
        "unknowns": {},
        "classical": None,
        "environment": {},
        "command": order.command,
    }
    from pinnsolve.runs import RunFolder

    try:
        with RunFolder.create(Path(order.runs), order.problem, order.name, overwrite=True) as folder:
            folder.write_metrics(record)
    except PinnsolveError:
        return record  # the record itself tells what went wrong first
    return record


def saved_metrics(order: Order) -> dict[str, Any] | None:
    """Return the metrics of a run that has been finished before; None if it is to be run."""
    from pinnsolve.runs import RunFolder

    try:
        metrics = RunFolder.open(order.folder).metrics()
    except RunFolderError:
        return None
    return metrics if metrics.get("status") in FINISHED else None


def _solved(order: Order, report: Report | None) -> dict[str, Any]:
    from pinnsolve.problems.loading import parse_problem
    from pinnsolve.runs import RunFolder, recording, save_checkpoint
    from pinnsolve.solving import finish, prepare, resolve_settings

    problem = parse_problem(order.problem_text.encode(), Path(order.problem_path))
    settings = resolve_settings(order.settings)
    session = prepare(problem, settings)
    with RunFolder.create(Path(order.runs), order.problem, order.name, overwrite=True) as folder:
        recording.begin(folder, problem, settings, order.command)
        status = "finished"
        try:
            for progress in session.train():
                folder.append_history(progress.row())
        except DivergenceError:
            status = "diverged"
        if status == "finished":  # an optimizer that diverged has no finite state to go on from
            save_checkpoint(folder, session.training.step, *session.state())
        began = time.monotonic()
        metrics = recording.record(folder, finish(session, status), order.command)
        metrics |= {"measured_seconds": time.monotonic() - began}
        fault = _report_fault(report, folder)
        return metrics if not fault else {**metrics, "warnings": [*metrics["warnings"], fault]}


def _report_fault(report: Report | None, folder: Any) -> str:
    """Draw a run's page; return what went wrong: the numbers are worth more than their page."""
    try:
        if report is not None:
            report(folder)
    except Exception as error:
        return f"the page is not drawn: {type(error).__name__}: {str(error)[:300]}"
    return ""
