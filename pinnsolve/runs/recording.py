"""What of a solve goes into its run folder, and how it comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pinnsolve.errors import RunFolderError, SettingsError
from pinnsolve.problems import Problem
from pinnsolve.problems.loading import parse_problem
from pinnsolve.runs.checkpoints import load_newest
from pinnsolve.runs.folder import RunFolder
from pinnsolve.solving.settings import Settings, resolve_settings

if TYPE_CHECKING:
    from pinnsolve.audit import DerivativeAudit
    from pinnsolve.solving import Session, Solution


def begin(folder: RunFolder, problem: Problem, settings: Settings, command: str) -> None:
    """Write what a run is about, before it starts."""
    about = {"name": problem.name, "sha256": problem.digest, "command": command}
    folder.write_settings({**settings.nested(), "problem": about})
    folder.write_problem(problem.text)


def record(folder: RunFolder, solution: Solution, command: str) -> dict[str, Any]:
    """Write everything measured on a solution, metrics last; return the metrics."""
    if solution.audit is not None:
        record_audit(folder, solution.audit)
    folder.write_solution(solution_arrays(solution))
    metrics = {**solution.metrics(), "command": command}
    folder.write_metrics(metrics)
    return metrics


def record_audit(folder: RunFolder, audit: DerivativeAudit) -> None:
    """Write the V-curves and the arrays of an audit."""
    folder.write_derivatives([asdict(row) for row in audit.rows])
    folder.write_audit_maps(audit.maps)


def renew_audit(folder: RunFolder, audit: DerivativeAudit) -> dict[str, Any]:
    """Put an audit into a run's folder in place of the one that is there; return what metrics.json says of it."""
    record_audit(folder, audit)
    renewed = audit.metrics()
    if folder.has_metrics:  # an interrupted run has none
        folder.write_metrics({**folder.metrics(), **renewed})
    return renewed


def solution_arrays(solution: Solution) -> dict[str, NDArray[Any]]:
    """Return fields, reference, residuals on the evaluation points, as solution.npz holds them."""
    evaluation, problem = solution.evaluation, solution.problem
    shape = evaluation.points.shape
    arrays: dict[str, NDArray[Any]] = {"coordinates": np.array(problem.coordinate_names)}
    if evaluation.points.axes:
        axes = zip(problem.coordinate_names, evaluation.points.axes, strict=True)
        arrays |= {f"axis_{name}": axis for name, axis in axes}
    else:
        arrays["points"] = evaluation.points.points
    arrays |= {name: values.reshape(shape) for name, values in evaluation.values.items()}
    arrays |= {f"{name}_reference": values.reshape(shape) for name, values in evaluation.reference.items()}
    arrays |= {f"residual_{name}": values.reshape(shape) for name, values in evaluation.residual_maps.items()}
    return arrays | {"collocation": solution.collocation}


def saved_problem(folder: RunFolder) -> Problem:
    """Return the problem of a run, from the copy in its folder.

    Raises:
        RunFolderError: the copy is not the file that the run was started with.
    """
    about = folder.settings().get("problem", {})
    name = str(about.get("name", folder.path.parent.name))
    problem = parse_problem(folder.problem_text().encode(), folder.path / f"{name}.toml")
    if problem.digest != about.get("sha256"):
        raise RunFolderError(f"{folder.path}: problem.toml was changed after the run; solve it as a new run")
    return problem


def saved_settings(folder: RunFolder, changes: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings of a run, with another number of steps or time limit if `changes` says so.

    Raises:
        RunFolderError: the file does not hold settings.
        SettingsError: a change cannot be used.
    """
    saved = {key: value for key, value in folder.settings().items() if key != "problem"}
    try:
        settings = resolve_settings(saved)
    except SettingsError as error:
        raise RunFolderError(f"{folder.path}: settings.toml cannot be used: {error}") from None
    return resolve_settings(saved, changes) if changes else settings


def load_session(folder: RunFolder, changes: Mapping[str, Any] | None = None) -> Session:
    """Return the session of a run, at its newest valid checkpoint.

    Args:
        folder: the run.
        changes: `training.steps` and `time_limit` of the run that goes on; nothing else may change.

    Raises:
        RunFolderError: no checkpoint can be used, or it does not fit the settings.
    """
    from pinnsolve.solving import prepare

    newest = load_newest(folder)
    if newest.settings_digest != folder.settings_digest():
        raise RunFolderError(f"{folder.path}: settings.toml was changed after the run; solve it as a new run")
    session = prepare(saved_problem(folder), saved_settings(folder, changes))
    try:
        session.restore(newest.step, dict(newest.tensors), dict(newest.state))
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise RunFolderError(f"{folder.path}: the checkpoint does not fit the run's settings: {reason}") from None
    session.warnings.extend(newest.warnings)
    return session


def load_trained(folder: RunFolder) -> Session:
    """Return the session of a run with the network that the run reported."""
    session = load_session(folder)
    session.adopt_best()
    return session


def run_path(text: str, outputs: Path) -> Path:
    """Return the folder of a run that is given by path, or as problem/run below `outputs`."""
    direct = Path(text)
    return direct if direct.is_dir() or not (outputs / text).is_dir() else outputs / text
