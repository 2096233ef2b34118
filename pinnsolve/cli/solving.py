"""`solve` and `resume`: the session driven step by step, saved as it goes, stopped by signals."""

from __future__ import annotations

import json as json_text
import math
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinnsolve.cli.signals import Signals, StepAbandoned
from pinnsolve.cli.terminal import number, progress_bar, say, show_table
from pinnsolve.errors import DivergenceError, InputError, RequirementError, ResourceError, Stopped
from pinnsolve.problems import load_problem

if TYPE_CHECKING:
    from pinnsolve.problems import Problem
    from pinnsolve.references import ReferenceSolution
    from pinnsolve.runs import RunFolder
    from pinnsolve.solving import Session, Settings, Solution

CHECKPOINT_SECONDS = 20.0  # from one checkpoint to the next; sooner at first, so that short runs outlive a kill
FIRST_CHECKPOINT_SECONDS = 5.0


@dataclass(frozen=True)
class SolveRequest:
    """What the user asked to be solved: the problem, and settings in their layers."""

    problem: str
    options: dict[str, Any]
    assignments: Sequence[str]
    config: Path | None
    folder: Path | None

    def resolved(self) -> tuple[Problem, Settings]:
        """Return the problem and its settings: defaults < problem < file < --set < options."""
        problem = load_problem(self.problem, self.folder)
        from pinnsolve.solving.settings import named_options, parse_assignments, problem_settings, read_settings_file

        file = read_settings_file(self.config) if self.config else {}
        options = named_options(self.options)
        return problem, problem_settings(problem, file, parse_assignments(self.assignments), options)


@dataclass
class Snapshots:
    """The state of training after the last whole step, from which a checkpoint can be written at any time."""

    session: Session
    step: int = 0
    state: tuple[dict[str, Any], dict[str, Any]] | None = None

    def take(self) -> None:
        """Copy the state as it is now."""
        tensors, values = self.session.state()
        state = {name: tensor.detach().clone() for name, tensor in tensors.items()}, values
        self.step, self.state = self.session.training.step, state


def solve_command(
    request: SolveRequest,
    *,
    output: Path,
    name: str | None,
    overwrite: bool,
    require_error: float | None,
    tracking: str | None,
    json: bool,
    quiet: bool,
) -> None:
    """Solve a problem into a run folder."""
    if require_error is not None and not 0 < require_error < math.inf:
        raise InputError(f"--require-error takes a positive number, got {require_error:g}")
    if tracking is not None:
        from pinnsolve.runs.tracking import refuse_untracked

        refuse_untracked(tracking)
    problem, settings = request.resolved()
    command = shlex.join(["pinnsolve", *sys.argv[1:]])
    _refuse_inconsistent(problem)
    from pinnsolve.runs import RunFolder, recording
    from pinnsolve.solving import prepare

    RunFolder.refuse_taken(output, problem.name, name, overwrite)
    session = prepare(problem, settings, partial(_announced_reference, quiet=quiet))
    if not session.leads:  # started by torchrun: the first process writes what all have trained
        _follow(session)
        return
    with RunFolder.create(output, problem.name, name, overwrite) as folder:
        recording.begin(folder, problem, settings, command)
        metrics = _driven(session, folder, command, quiet=quiet)
    _print_outcome(metrics, folder, json=json, quiet=quiet)
    if tracking is not None:
        from pinnsolve.runs.tracking import track

        track(tracking, folder.metrics(), folder.path)
    _require(metrics, require_error)


def resume_command(
    run: str, output: Path, *, steps: int | None, time_limit: float | None, json: bool, quiet: bool
) -> None:
    """Go on with a run."""
    from pinnsolve.runs import RunFolder, recording

    given = {"training.steps": steps, "time_limit": time_limit}
    changes = {key: value for key, value in given.items() if value is not None}
    with RunFolder.resume(recording.run_path(run, output)) as folder:
        session = recording.load_session(folder, changes)
        folder.rewind_history(session.training.step)
        command = str(folder.settings().get("problem", {}).get("command", ""))
        metrics = _driven(session, folder, command, quiet=quiet)
    _print_outcome(metrics, folder, json=json, quiet=quiet)


def _announced_reference(problem: Problem, *, quiet: bool) -> ReferenceSolution | None:
    """Return the reference of a problem; say so where it is being computed, which may take a minute."""
    from pinnsolve.references import applicable, find_reference, known_reference

    known = known_reference(problem)
    if known is not None or problem.reference.solver == "none":
        return known
    names = [solver.name for solver in applicable(problem)]
    if names and not quiet:
        say(f"reference: being computed by {' or '.join(names)} (kept if that takes long)", stderr=True)
    return find_reference(problem)


def _follow(session: Session) -> None:
    """Train along with the process that leads, and leave what comes of it to that one."""
    try:
        for _ in session.train():
            pass
    except (DivergenceError, RuntimeError):
        return  # the process that leads tells what happened, or was stopped


def _refuse_inconsistent(problem: Problem) -> None:
    """Raise an input error if data are no numbers, or if the exact solution is none: nothing could be measured."""
    from pinnsolve.errors import ProblemError
    from pinnsolve.problems.lint import faults

    found = faults(problem)
    if found:
        raise ProblemError(found[0].message, file=f"{problem.name}.toml", key=found[0].key, remedy=found[0].remedy)


def _driven(session: Session, folder: RunFolder, command: str, *, quiet: bool) -> dict[str, Any]:
    """Train, save, evaluate and record a session; return its metrics.

    Raises:
        Stopped: a signal came; everything up to the last step is saved.
        DivergenceError: the loss left the finite numbers; the last finite state is saved.
    """
    from pinnsolve.solving import finish

    for warning in session.warnings:
        complain_softly(warning, quiet)
    if not quiet:
        say(f"plan: {session.plan_reason}", stderr=True)
    fault: DivergenceError | None = None
    snapshots = Snapshots(session)
    snapshots.take()
    with Signals() as signals:
        try:
            _train(session, folder, signals, snapshots, quiet=quiet)
        except DivergenceError as error:
            fault = error
            snapshots.take()  # the network is back at its last finite state
        except StepAbandoned:
            session.training.reason = "signal"
        with signals.held():
            _save_checkpoint(snapshots, folder, quiet)
            if signals.received is not None:
                raise _interrupted(session, snapshots.step, folder, command, signals.received)
        try:
            solution = finish(session, "diverged" if fault else "finished")
            metrics = _recorded(solution, folder, command, quiet)
        except StepAbandoned:
            assert signals.received is not None
            with signals.held():
                raise _interrupted(session, snapshots.step, folder, command, signals.received) from None
        _draw(folder, signals, quiet)
    if fault:
        raise fault
    return metrics


def _recorded(solution: Solution, folder: RunFolder, command: str, quiet: bool) -> dict[str, Any]:
    """Write what was measured and return it; where it cannot be written, print it at least."""
    from pinnsolve.runs import recording
    from pinnsolve.runs.checkpoints import has_checkpoint

    try:
        return recording.record(folder, solution, command)
    except ResourceError as error:
        if not quiet:
            _print_summary(solution.metrics())
        again = f"; then: pinnsolve resume {shlex.quote(str(folder.path))}" if has_checkpoint(folder) else ""
        raise ResourceError(f"{error}{again}") from None


def _interrupted(session: Session, step: int, folder: RunFolder, command: str, signal_number: int) -> Stopped:
    """Record that a run can go on, and return the fault that says how."""
    _record_interruption(session, step, folder, command)
    return Stopped(
        f"stopped at step {step}; go on with: pinnsolve resume {shlex.quote(str(folder.path))}", signal_number
    )


def _draw(folder: RunFolder, signals: Signals, quiet: bool) -> None:
    """Build the report of a run that is recorded.

    Raises:
        Stopped: a signal came meanwhile; the result is saved all the same.
    """
    from pinnsolve.report import build_report

    try:
        with _warned("the report", quiet):
            build_report(folder)
    except StepAbandoned:
        assert signals.received is not None
        again = f"pinnsolve report {shlex.quote(str(folder.path))}"
        raise Stopped(
            f"the result is saved, its report is not drawn; draw it with: {again}", signals.received
        ) from None


def _train(session: Session, folder: RunFolder, signals: Signals, snapshots: Snapshots, *, quiet: bool) -> None:
    saved, pause, has_gaps = time.monotonic(), FIRST_CHECKPOINT_SECONDS, False
    with progress_bar(session.settings.time_limit, session.settings.training.steps, quiet=quiet) as show:
        for progress in session.train():
            snapshots.take()
            has_gaps = _append_history(folder, progress.row(), has_gaps, quiet)
            show(progress)
            if signals.received is not None:
                session.training.reason = "signal"
                return
            if time.monotonic() - saved > pause:
                _save_checkpoint(snapshots, folder, quiet)
                saved, pause = time.monotonic(), min(2 * pause, CHECKPOINT_SECONDS)
    snapshots.take()


def _append_history(folder: RunFolder, row: dict[str, Any], has_gaps: bool, quiet: bool) -> bool:
    """Add a row to the history; return whether any is missing: a full disk costs rows, and not what is trained."""
    try:
        folder.append_history(row)
    except ResourceError as error:
        if not folder.path.is_dir():  # there is no place for a result any more
            raise
        if not has_gaps:
            complain_softly(f"the history has gaps: {error}", quiet)
        return True
    return has_gaps


def _save_checkpoint(snapshots: Snapshots, folder: RunFolder, quiet: bool) -> None:
    from pinnsolve.runs import save_checkpoint

    assert snapshots.state is not None
    with _warned("the checkpoint", quiet):
        save_checkpoint(folder, snapshots.step, *snapshots.state)


def _record_interruption(session: Session, step: int, folder: RunFolder, command: str) -> None:
    """Write the metrics of a run that can go on; nothing is evaluated, since the user wants to leave."""
    folder.write_metrics(
        {
            "schema": 1,
            "status": "interrupted",
            "reason": session.reason,
            "problem": session.problem.name,
            "title": session.problem.title,
            "settings": session.settings.nested(),
            "seconds": session.seconds,
            "steps": step,
            "parameters": session.parameters,
            "residual_evaluations": session.residual_evaluations,
            "fields": {},
            "residuals": {},
            "derivatives": [],
            "unknowns": {},
            "classical": None,
            "environment": {},
            "command": command,
        }
    )


@contextmanager
def _warned(what: str, quiet: bool) -> Iterator[None]:
    """Turn a full disk into a warning: the result is worth more than what could not be written beside it."""
    try:
        yield
    except ResourceError as error:
        complain_softly(f"{what} is not saved: {error}", quiet)


def complain_softly(text: str, quiet: bool) -> None:
    """Print a warning on stderr."""
    if not quiet:
        say(f"warning: {text}", stderr=True)


def _print_outcome(metrics: dict[str, Any], folder: RunFolder, *, json: bool, quiet: bool) -> None:
    if json:
        say(json_text.dumps(folder.metrics(), indent=1))
    if quiet:
        return
    from pinnsolve.runs.folder import PAGE

    _print_summary(metrics)
    if folder.has(PAGE):  # not drawn if the disk was full
        say(f"report: {folder.path / PAGE}")


def _print_summary(metrics: dict[str, Any]) -> None:
    spent = f"{metrics['seconds']:.1f} s, {metrics['steps']} steps"
    say(f"{metrics['title']}: {metrics['status']} ({metrics['reason']}) after {spent}")
    show_table(("field", "relative L2", "max error", "reference", "its own error"), _accuracy_rows(metrics))
    show_table(("residual", "rms", "max"), _residual_rows(metrics))
    for sentence in metrics["summary"]:
        say(sentence)


def _accuracy_rows(metrics: dict[str, Any]) -> list[tuple[object, ...]]:
    return [
        (
            name,
            number(accuracy["relative_l2"]),
            number(accuracy["max_error"]),
            accuracy["reference"] or "-",
            number(accuracy["reference_error"], 0),
        )
        for name, accuracy in metrics["fields"].items()
    ]


def _residual_rows(metrics: dict[str, Any]) -> list[tuple[object, ...]]:
    trained = (metrics.get("formulation") or {}).get("residuals", {})
    rewritten = {f"{name} (first-order)": value for name, value in trained.items()}
    norms = {**metrics["residuals"], **rewritten, **metrics["conditions"]}
    return [(name, number(value["rms"]), number(value["max"])) for name, value in norms.items()]


def _require(metrics: dict[str, Any], bound: float | None) -> None:
    if bound is None:
        return
    errors = [accuracy["relative_l2"] for accuracy in metrics["fields"].values()]
    if not errors or any(error is None for error in errors):
        raise RequirementError(f"--require-error {bound:g}: there is no reference to measure the error against")
    if not max(errors) <= bound:
        raise RequirementError(f"--require-error {bound:g}: the relative L2 error is {max(errors):.3g}")
