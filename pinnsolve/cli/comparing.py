"""`compare`: a grid of problems, settings and seeds on many processes, its table, figures and page."""

from __future__ import annotations

import json as json_text
import math
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from pinnsolve.cli.signals import heeded
from pinnsolve.cli.terminal import number, say, show_table
from pinnsolve.errors import InputError, PinnsolveError, ResourceError, SettingsError, Stopped
from pinnsolve.problems.library import problem_path

if TYPE_CHECKING:
    from pinnsolve.comparison import Batch, Grid, Run, Workers

OVERHEAD = 6.0  # seconds of a run besides training: references, audit, figures


@dataclass(frozen=True)
class CompareRequest:
    """What the user asked to be compared."""

    problems: Sequence[str]
    options: Mapping[str, str | None]
    seeds: int | None
    axes: Sequence[str]
    assignments: Sequence[str]
    config: Path | None
    preset: str | None
    folder: Path | None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of problems that stand on the command line."""
        return tuple(name for text in self.problems for name in text.split(",") if name)

    def grid(self) -> Grid:
        """Return the grid: preset < file < --set < named options and --grid."""
        from pinnsolve.comparison import MOST_RUNS, Grid, axes_of, preset, read_grid
        from pinnsolve.solving.settings import SHORT_NAMES, parse_assignments

        named = {SHORT_NAMES.get(key, key): text for key, text in self.options.items()}
        fixed, axes = axes_of(named | dict(map(_axis, self.axes)))
        if self.seeds is not None:
            if not 1 <= self.seeds <= MOST_RUNS or "seed" in fixed or "seed" in axes:
                raise SettingsError(
                    f"--seeds takes a number of seeds, at most {MOST_RUNS}, and no --seed beside it; got {self.seeds}"
                )
            axes["seed"] = list(range(self.seeds))
        layers = [preset(self.preset)] if self.preset else []
        layers += [read_grid(self.config)] if self.config else []
        layers += [Grid(settings=parse_assignments(self.assignments)), Grid(self.names, fixed, axes)]
        found = Grid()
        for layer in layers:
            found = found.overridden(layer)
        return found


@dataclass(frozen=True)
class Place:
    """Where runs are executed: on workers of this machine, or those of a scheduler."""

    jobs: int | None = None
    scheduler: str | None = None

    def workers(self, runs: Sequence[Run]) -> Workers:
        """Return the workers of this machine for these runs."""
        from pinnsolve.comparison import Workers

        return Workers.of(self.jobs, _gpus(runs))

    def client(self, workers: Workers) -> AbstractContextManager[Any]:
        """Return the client of the workers."""
        from pinnsolve.comparison import local_client, remote_client

        return remote_client(self.scheduler) if self.scheduler else local_client(workers)


@dataclass(frozen=True)
class Output:
    """Where results go and what is printed."""

    outputs: Path
    name: str | None
    target: float | None
    json: bool
    quiet: bool
    dry_run: bool
    tracking: str | None = None

    def refuse_unusable(self) -> None:
        """Raise what can be known before a run: a name or a target that is none, a store without its extra."""
        from pinnsolve.runs.names import checked_name
        from pinnsolve.runs.tracking import refuse_untracked

        if self.name is not None:
            checked_name("comparison", self.name)
        if self.target is not None and not 0 < self.target < math.inf:
            raise InputError(f"--target takes a positive number, got {self.target:g}")
        if self.tracking is not None:
            refuse_untracked(self.tracking)


def compare_command(request: CompareRequest, place: Place, output: Output) -> None:
    """Run a comparison, or go on with it, and print what came of it."""
    for name in request.names:  # unknown ones are told before what takes seconds to import
        problem_path(name, request.folder)
    output.refuse_unusable()
    from pinnsolve.comparison import TARGET, Batch, default_name, expand
    from pinnsolve.runs import ComparisonFolder
    from pinnsolve.solving.preparation import chosen_device

    runs = expand(request.grid(), request.folder)
    if not place.scheduler:
        for device in {run.settings.device for run in runs}:
            chosen_device(device)  # or it is missing from this machine
    workers = place.workers(runs)
    if output.dry_run:
        _print_grid(runs, workers, output.json)
        return
    command = shlex.join(["pinnsolve", *sys.argv[1:]])
    name = output.name or (f"preset-{request.preset}" if request.preset else default_name(runs))
    with ComparisonFolder.hold(output.outputs, name) as folder:
        batch = Batch(folder, runs, 0 if place.scheduler else workers.threads)
        stopped = _executed(batch, place, workers, output)
        summary, page, fault = _written(batch, output.target or TARGET, command)
    _print_outcome(batch, summary, page, output)
    if fault is not None:
        raise fault
    if stopped is not None:
        done = f"{len(batch.metrics)} of {len(runs)} runs are kept in {folder.path}"
        raise Stopped(f"stopped; {done}; the same command goes on with the others", stopped)
    results = [record for record in batch.metrics.values() if record.get("status") != "failed"]
    if not results:
        raise PinnsolveError(f"no run has a result; the first one: {batch.metrics[0].get('reason')}")


@dataclass
class _Interrupt:
    """Turns SIGINT, SIGTERM and SIGHUP into the exception of Ctrl-C, and remembers which of them it was."""

    number: int | None = None
    _previous: dict[int, Any] = field(default_factory=dict)

    def __enter__(self) -> _Interrupt:
        for number_ in heeded():
            self._previous[number_] = signal.signal(number_, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number_, handler in self._previous.items():
            signal.signal(number_, handler)

    def _note(self, received: int, _: FrameType | None) -> None:
        self.number = received
        raise KeyboardInterrupt


def _executed(batch: Batch, place: Place, workers: Workers, output: Output) -> int | None:
    """Execute what is open, one line per run; return the signal that stopped it, None if none did."""
    from pinnsolve.report import build_report

    total, known = len(batch.runs), len(batch.metrics)
    if known and not output.quiet:
        say(f"{known} of {total} runs are finished already", stderr=True)
    began = time.monotonic()
    with _Interrupt() as interrupt:
        try:
            for run, metrics in batch.execute(lambda: place.client(workers), build_report):
                if not output.quiet:
                    say(_line(len(batch.metrics), total, run, metrics, time.monotonic() - began), stderr=True)
                if output.tracking is not None:
                    _track(output.tracking, run, metrics, batch)
        except KeyboardInterrupt:
            return interrupt.number or signal.SIGINT
    return None


def _track(uri: str, run: Run, metrics: Mapping[str, Any], batch: Batch) -> None:
    """Log a run; where the store fails, say so: the other runs are worth more than their records there."""
    from pinnsolve.runs.tracking import track

    folder = batch.folder.runs / run.problem.name / run.name
    try:
        track(uri, metrics, folder if metrics["status"] != "failed" else None)
    except ResourceError as error:
        say(f"warning: {error}", stderr=True)


def _line(done: int, total: int, run: Run, metrics: Mapping[str, Any], seconds: float) -> str:
    errors = [field["relative_l2"] for field in metrics["fields"].values() if field["relative_l2"] is not None]
    error = f", error {number(max(errors))}" if errors else ""
    reason = f" ({metrics['reason']})" if metrics["status"] == "failed" else ""
    spent = "" if metrics["seconds"] is None else f" after {metrics['seconds']:.1f} s"
    return f"[{done}/{total}, {seconds:.0f} s] {run.label}: {metrics['status']}{spent}{error}{reason}"


def _written(batch: Batch, target: float, command: str) -> tuple[dict[str, Any], Path | None, ResourceError | None]:
    """Write summary, figures and page; return the summary, the page, and what they could not be written for."""
    from pinnsolve.report import build_comparison_report

    try:
        return batch.write_summary(target, command), build_comparison_report(batch.folder), None
    except ResourceError as error:
        return batch.summary(target, command), None, error


def _print_grid(runs: Sequence[Run], workers: Workers, json: bool) -> None:
    from pinnsolve.comparison import estimated_seconds

    seconds = estimated_seconds(runs, workers.count, OVERHEAD)
    if json:
        rows = [{"problem": run.problem.name, "settings": dict(run.given), "command": run.command} for run in runs]
        say(json_text.dumps({"runs": rows, "workers": workers.count, "seconds_at_most": seconds}, indent=1))
        return
    rows_ = [(run.problem.name, run.method, run.settings.seed, f"{run.settings.time_limit:g} s") for run in runs]
    show_table(("problem", "method", "seed", "time limit"), rows_)
    where = f"{workers.count} workers, {workers.threads} threads each"
    say(f"{len(runs)} runs on {where}: at most {seconds / 60:.1f} minutes")


def _print_outcome(batch: Batch, summary: Mapping[str, Any], page: Path | None, output: Output) -> None:
    if output.json:
        runs = [batch.metrics[index] for index in sorted(batch.metrics)]
        from pinnsolve.runs.records import json_bytes

        say(json_bytes({"runs": runs, "summary": summary}).decode().rstrip())
        return
    if output.quiet:
        return
    from pinnsolve.report import comparison_tables

    for table in comparison_tables(summary):
        say(f"\n{table.title}")
        show_table(table.columns, table.rows)
        if table.note:
            say(table.note)
    if page is not None:
        say(f"\nreport: {page}")


def _axis(text: str) -> tuple[str, str]:
    key, sign, values = text.partition("=")
    if not sign or not key.strip():
        raise SettingsError(f"--grid takes key=a,b,c, got {text[:60]!r}")
    return key.strip(), values


def _gpus(runs: Sequence[Run]) -> range:
    """Return the numbers of the CUDA devices that these runs may use; none if they all ask for the CPU."""
    import torch

    wanted = any(run.settings.device != "cpu" for run in runs)
    return range(torch.cuda.device_count() if wanted and torch.cuda.is_available() else 0)
