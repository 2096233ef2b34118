"""What the runs of a comparison say together: plain values, from which tables, figures and page are drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsolve.comparison.curves import LEVELS, ErrorCurve, band, error_curve
from pinnsolve.comparison.grid import SEED, Run
from pinnsolve.comparison.statistics import (
    average_ranks,
    friedman,
    median_interval,
    nemenyi_distance,
    performance_profile,
)

OVER = ("seconds", "evaluations")
Metrics = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """A run and what came of it.

    Attributes:
        run: the run.
        metrics: its record; of status "failed" if there is no result.
        curves: its error over seconds and over residual evaluations.
    """

    run: Run
    metrics: Metrics
    curves: Mapping[str, ErrorCurve]

    @classmethod
    def of(cls, run: Run, metrics: Metrics, history: Mapping[str, NDArray[Any]]) -> Outcome:
        """Return the outcome of a run with this history, empty for a run without one."""
        return cls(run, metrics, {over: error_curve(history, over) for over in OVER})

    @property
    def error(self) -> float:
        """The largest relative L2 error of a field; infinity for a run without a result, NaN without a reference."""
        if self.metrics.get("status") not in ("finished", "diverged"):
            return math.inf
        errors = [field.get("relative_l2") for field in self.metrics.get("fields", {}).values()]
        known = [float(error) for error in errors if error is not None]
        if not known:
            return math.nan
        return max(math.inf if math.isnan(error) else error for error in known)

    def row(self) -> dict[str, Any]:
        """Return the run as a row of runs.csv."""
        chosen = {key: value for key, value in self.run.chosen.items() if key != SEED}
        return {
            "problem": self.run.problem.name,
            "method": self.run.method,
            "seed": self.run.settings.seed,
            "activation": self.run.settings.network.trained_activation,
            "status": self.metrics.get("status"),
            "error": _plain(self.error),
            "seconds": self.metrics.get("seconds"),
            "steps": self.metrics.get("steps"),
            "residual_evaluations": self.metrics.get("residual_evaluations"),
            "reference_error": _worst(self.metrics, "reference_error"),
            **audit_columns(self.metrics),
            "reason": self.metrics.get("reason", ""),
            "settings": ", ".join(f"{key}={value}" for key, value in chosen.items()),
            "folder": f"runs/{self.run.problem.name}/{self.run.name}",
            "command": self.run.command,
        }


def audit_columns(metrics: Metrics) -> dict[str, Any]:
    """Return the worst derivative of the audit: its best finite difference in float64, the step, the verdict."""
    best: dict[str, Mapping[str, Any]] = {}
    for row in metrics.get("derivatives") or []:
        error = row.get("fd_vs_ad")
        if row.get("dtype") == "float64" and error is not None:
            term = str(row["term"])
            if term not in best or error < best[term]["fd_vs_ad"]:
                best[term] = row
    if not best:
        return {"fd_term": "", "fd_scheme": "", "fd_step": None, "fd_error": None, "ad_error": None, "fd_verdict": ""}
    term, row = max(best.items(), key=lambda item: float(item[1]["fd_vs_ad"]))
    return {
        "fd_term": term,
        "fd_scheme": row.get("scheme", ""),
        "fd_step": row.get("step"),
        "fd_error": row["fd_vs_ad"],
        "ad_error": row.get("ad_vs_exact"),
        "fd_verdict": row.get("verdict", ""),
    }


def summarize(name: str, outcomes: Sequence[Outcome], target: float, command: str = "") -> dict[str, Any]:
    """Return the statistics of a comparison.

    Args:
        name: of the comparison.
        outcomes: one per run.
        target: the error to which seconds are counted in the performance profile.
        command: that made it.
    """
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.run.problem.name, outcome.run.method), []).append(outcome)
    return {
        "schema": 1,
        "name": name,
        "command": command,
        "target": target,
        "problems": list(dict.fromkeys(problem for problem, _ in groups)),
        "methods": list(dict.fromkeys(method for _, method in groups)),
        "runs": [outcome.row() for outcome in outcomes],
        "groups": [_group(problem, method, members, target) for (problem, method), members in groups.items()],
        "ranks": _ranks(groups),
        "profiles": _profiles(outcomes, target),
    }


def _group(problem: str, method: str, members: Sequence[Outcome], target: float) -> dict[str, Any]:
    errors = [member.error for member in members]
    seconds = [_number(member.metrics.get("seconds")) for member in members]
    interval = None if all(map(math.isnan, errors)) else median_interval(errors)
    audits = [audit_columns(member.metrics) for member in members]
    middle = audits[int(np.argsort([_number(audit["fd_error"]) for audit in audits])[(len(audits) - 1) // 2])]
    return {
        "problem": problem,
        "method": method,
        "runs": len(members),
        "without_result": sum(member.metrics.get("status") not in ("finished", "diverged") for member in members),
        "diverged": sum(member.metrics.get("status") == "diverged" for member in members),
        "error": None if interval is None else {key: _plain(value) for key, value in asdict(interval).items()},
        "seconds": _plain(median_interval(seconds).median),
        "seconds_to_target": _plain(_median([member.curves["seconds"].first(target) for member in members])),
        "seconds_to": {
            f"{level:.0e}": _plain(_median([member.curves["seconds"].first(level) for member in members]))
            for level in LEVELS
        },
        "reference_error": max((_number(_worst(m.metrics, "reference_error"), 0.0) for m in members), default=None),
        **middle,
        "curves": {over: band([member.curves[over] for member in members]) for over in OVER},
    }


def _ranks(groups: Mapping[tuple[str, str], Sequence[Outcome]]) -> dict[str, Any] | None:
    """Return mean ranks over problems, or over the seeds of the only problem; None where there is nothing to rank."""
    problems = list(dict.fromkeys(problem for problem, _ in groups))
    methods = list(dict.fromkeys(method for _, method in groups))
    if len(methods) < 2:
        return None
    if len(problems) > 1:
        unit = "problems"
        rows = [[_median([m.error for m in groups.get((p, method), [])]) for method in methods] for p in problems]
    else:
        unit = "seeds"
        by_seed = [{m.run.settings.seed: m.error for m in groups[(problems[0], method)]} for method in methods]
        shared = sorted(set.intersection(*(set(errors) for errors in by_seed)))
        rows = [[errors[seed] for errors in by_seed] for seed in shared]
    scores = np.array([row for row in rows if not all(map(math.isnan, row))], dtype=np.float64)
    if not len(scores):
        return None
    test = friedman(scores)
    return {
        "over": unit,
        "blocks": len(scores),
        "methods": methods,
        "mean_ranks": average_ranks(scores).tolist(),
        "test": asdict(test),
        "critical_distance": nemenyi_distance(len(methods), len(scores)),
    }


def _profiles(outcomes: Sequence[Outcome], target: float) -> dict[str, Any] | None:
    """Return the performance profiles of seconds to the target error; a task is a problem and a seed."""
    methods = list(dict.fromkeys(outcome.run.method for outcome in outcomes))
    tasks = list(dict.fromkeys((outcome.run.problem.name, outcome.run.settings.seed) for outcome in outcomes))
    costs = np.full((len(tasks), len(methods)), math.inf)
    for outcome in outcomes:
        place = tasks.index((outcome.run.problem.name, outcome.run.settings.seed)), methods.index(outcome.run.method)
        costs[place] = max(outcome.curves["seconds"].first(target), 1e-3)  # history has milliseconds
    if len(methods) < 2 or not np.isfinite(costs).any():
        return None
    taus, shares = performance_profile(costs)
    return {"tasks": len(tasks), "methods": methods, "tau": taus.tolist(), "share": shares.T.tolist()}


def _median(values: Sequence[float]) -> float:
    if not values:
        return math.inf
    return math.nan if all(map(math.isnan, values)) else median_interval(values).median


def _worst(metrics: Metrics, key: str) -> float | None:
    found = [field.get(key) for field in (metrics.get("fields") or {}).values()]
    known = [float(value) for value in found if value is not None]
    return max(known) if known else None


def _number(value: Any, missing: float = math.inf) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else missing


def _plain(value: float | None) -> float | None:
    """Return the value for JSON, where there is no infinity: None."""
    return value if value is not None and math.isfinite(value) else None
