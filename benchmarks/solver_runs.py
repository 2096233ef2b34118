"""One run of a solver in a process of its own, and the row that it leaves in a table."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from curves import ErrorCurve, curve_of_history
from machine import BENCHMARKS, commit

GRACE = 600.0  # seconds that a process may take beside its training: reference, evaluation, report
_MEASURED = ("status", "reason", "seconds", "steps", "residual_evaluations", "parameters")


@dataclass(frozen=True)
class Case:
    """What is run.

    Attributes:
        solver: "pinnsolve" or "deepxde".
        problem: its name.
        time_limit: seconds of training.
        seed: of weights and points.
        activation: "auto" leaves the choice to pinnsolve.
        target: the error that it must reach; no part of the identity of a case.
    """

    solver: str
    problem: str
    time_limit: float
    seed: int = 0
    activation: str = "auto"
    target: float | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            raise ValueError(f"unknown solver {self.solver!r}; known: {', '.join(SOLVERS)}")

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Case:
        """Return the case of a row."""
        return cls(**{each.name: row[each.name] for each in fields(cls)})

    def limited(self, seconds: float) -> Case:
        """Return the same case with another time limit, for which no target is set."""
        return replace(self, time_limit=seconds, target=None)


def row(case: Case) -> dict[str, Any]:
    """Run a case and return its row; a run that fails is a row too."""
    started = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as folder:
            measured = SOLVERS[case.solver](case, Path(folder))
    except subprocess.CalledProcessError as error:
        measured = _failure((error.stderr or "").strip()[-300:] or f"exit code {error.returncode}")
    except subprocess.TimeoutExpired as error:
        measured = _failure(f"not at an end after {error.timeout:.0f} s")
    except (OSError, ValueError, KeyError) as error:
        measured = _failure(f"no result: {error}")
    about = {"date": datetime.date.today().isoformat(), "commit": commit()}
    return {**asdict(case), **measured, "wall_seconds": round(time.perf_counter() - started, 2), **about}


def _run_pinnsolve(case: Case, folder: Path) -> dict[str, Any]:
    """Run `pinnsolve solve` as a user does, but for the audit; return what its run folder says."""
    command = ["-m", "pinnsolve", "solve", case.problem, "--time-limit", f"{case.time_limit:g}", "--quiet"]
    command += ["--set", "audit.enabled=false"]  # it comes after training and changes nothing of what is measured
    activation = [] if case.activation == "auto" else ["--activation", case.activation]
    _process(case, *command, "--seed", str(case.seed), *activation, "--output", str(folder), "--name", "run")
    run = folder / case.problem / "run"
    metrics = json.loads((run / "metrics.json").read_text())
    accuracies = metrics["fields"].values()
    errors = [accuracy["relative_l2"] for accuracy in accuracies]
    is_whole = bool(errors) and None not in errors  # windows of time that were not reached have no error
    curve = curve_of_history(run / "history.csv") if is_whole else ErrorCurve()
    return {
        "relative_l2": max(errors) if is_whole else None,
        "reference_error": max((accuracy["reference_error"] or 0.0 for accuracy in accuracies), default=None),
        **{key: metrics.get(key) for key in _MEASURED},
        "threads": metrics["environment"].get("threads"),
        **curve.record(),
    }


def _run_deepxde(case: Case, folder: Path) -> dict[str, Any]:
    """Run the peer; return what it wrote."""
    limit, result = f"{case.time_limit:g}", folder / "result.json"
    script = str(BENCHMARKS / "peer.py")
    _process(case, script, case.problem, "--time-limit", limit, "--seed", str(case.seed), "--output", str(result))
    measured: dict[str, Any] = json.loads(result.read_text())
    return measured


SOLVERS: dict[str, Callable[[Case, Path], dict[str, Any]]] = {"pinnsolve": _run_pinnsolve, "deepxde": _run_deepxde}


def _process(case: Case, *command: str) -> None:
    """Run a command of this Python under the conditions that all solvers share.

    Raises:
        CalledProcessError: it failed. Diverging (exit code 3) is a result.
        TimeoutExpired: it took far longer than its time limit.
    """
    # what the command line of pinnsolve sets for itself: threads that wait shall not spin
    environment = {"GOMP_SPINCOUNT": "1000"} | dict(os.environ)
    done = subprocess.run(
        [sys.executable, *command],
        cwd=BENCHMARKS.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=case.time_limit + GRACE,
    )
    if done.returncode not in (0, 3):
        raise subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)


def _failure(reason: str) -> dict[str, Any]:
    """Return the row of a run that left no result."""
    missing = dict.fromkeys(("relative_l2", "reference_error", *_MEASURED, "threads"))
    return {**missing, "status": "failed", "reason": reason, **ErrorCurve().record()}
