"""What the runs of both solvers on one problem say, and the tables of the README."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]

LEVEL = "1e-3"
_LIFTED = "the lift of its boundary data is the solution; DeepXDE is given soft boundary values"
NOTES = {"poisson_5d": _LIFTED, "poisson_10d": _LIFTED}


@dataclass(frozen=True)
class Runs:
    """The runs of one solver with one activation on one problem, one per seed."""

    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        if not self.rows:
            raise ValueError("a table needs runs, got none")

    @property
    def errors(self) -> list[float]:
        """The errors at the end, ascending; infinite for a run without one."""
        return sorted(math.inf if row["relative_l2"] is None else row["relative_l2"] for row in self.rows)

    @property
    def error(self) -> float:
        """The median error at the end."""
        return statistics.median(self.errors)

    def seconds_to(self, level: str) -> float:
        """Return the median seconds to an error; infinite where half of the runs never reach it."""
        found = [row["seconds_to"][level] for row in self.rows]
        return statistics.median(math.inf if seconds is None else seconds for seconds in found)

    @property
    def median_row(self) -> Row:
        """The run whose error is the median, the better one of two."""
        return sorted(self.rows, key=lambda row: math.inf if row["relative_l2"] is None else row["relative_l2"])[
            (len(self.rows) - 1) // 2
        ]


@dataclass(frozen=True)
class Comparison:
    """One problem: our runs, and the peer's where there are any."""

    problem: str
    time_limit: float
    ours: Runs
    theirs: Runs | None

    def cells(self) -> list[str]:
        """Return the cells of the table's row."""
        note = "*" if self.problem in NOTES else ""
        ours, theirs = self.ours.seconds_to(LEVEL), self.theirs.seconds_to(LEVEL) if self.theirs else None
        return [
            self.problem + note,
            f"{self.time_limit:g} s",
            spread(self.ours),
            spread(self.theirs) if self.theirs else "",
            duration(ours, self.time_limit),
            duration(theirs, self.time_limit) if theirs is not None else "",
            ratio(ours, theirs, self.time_limit) if theirs is not None else "",
        ]


def comparisons(results: Iterable[Mapping[str, Any]]) -> list[Comparison]:
    """Return the comparisons of default runs in the order in which problems first occur.

    Results are read in their order; a run of the same solver, problem, time limit and seed counts once.

    Raises:
        ValueError: a row is not one of `accuracy.py`.
    """
    found: dict[tuple[str, float], dict[str, dict[int, Row]]] = {}
    for row in _rows(results):
        if row["solver"] == "deepxde" or row["activation"] == "auto":
            runs = found.setdefault((row["problem"], row["time_limit"]), {})
            runs.setdefault(row["solver"], {}).setdefault(row["seed"], row)
    return [
        Comparison(problem, limit, _runs(runs["pinnsolve"]), _runs(runs["deepxde"]) if "deepxde" in runs else None)
        for (problem, limit), runs in found.items()
        if "pinnsolve" in runs
    ]


def accuracy_table(found: Sequence[Comparison]) -> str:
    """Return the Markdown table of both solvers."""
    head = ["problem", "limit", "pinnsolve", "DeepXDE", f"to {LEVEL}", f"DeepXDE to {LEVEL}", "ratio"]
    names = {comparison.problem for comparison in found}
    notes = dict.fromkeys(f"\\* {text}" for problem, text in NOTES.items() if problem in names)
    return "\n\n".join([markdown(head, [comparison.cells() for comparison in found]), *notes])


def activation_table(results: Iterable[Mapping[str, Any]]) -> str:
    """Return the Markdown table of errors by activation; empty if no activation was asked for."""
    found: dict[tuple[str, float], dict[str, dict[int, Row]]] = {}
    for row in _rows(results):
        if row["solver"] == "pinnsolve" and row["activation"] != "auto":
            runs = found.setdefault((row["problem"], row["time_limit"]), {})
            runs.setdefault(row["activation"], {}).setdefault(row["seed"], row)
    names = list(dict.fromkeys(name for runs in found.values() for name in runs))
    if not names:
        return ""
    body = [
        [problem, f"{limit:g} s", *(spread(_runs(runs[name])) if name in runs else "" for name in names)]
        for (problem, limit), runs in found.items()
    ]
    return markdown(["problem", "limit", *names], body)


def folder_table(rows: Sequence[Row]) -> str:
    """Return the Markdown table of every problem of the folder: what one run each left."""
    head = ["problem", "relative L2 error", "own error of the reference", "seconds", "ended by"]
    body = [
        [
            row["problem"],
            "" if row["relative_l2"] is None else f"{row['relative_l2']:.1e}",
            "" if row["reference_error"] is None else f"{row['reference_error']:.0e}",
            "" if row["seconds"] is None else f"{row['seconds']:.3g}",
            (row["reason"] or "").split(":")[0],
        ]
        for row in rows
    ]
    return markdown(head, body)


def markdown(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(runs: Runs) -> str:
    """Return the median error, and the range where there are several runs: `1.2e-09 (8.1e-10 ... 3.0e-09)`."""
    errors = runs.errors
    if len(errors) == 1:
        return error_text(errors[0])
    return f"{error_text(runs.error)} ({error_text(errors[0])} … {error_text(errors[-1])})"


def error_text(error: float) -> str:
    """Return an error with two digits; "no result" for a run without one."""
    return f"{error:.1e}" if math.isfinite(error) else "no result"


def duration(seconds: float, limit: float) -> str:
    """Return seconds with two digits, or that they are more than the time limit."""
    return f"{_two_digits(seconds)} s" if math.isfinite(seconds) else f"> {limit:g} s"


def ratio(ours: float, theirs: float, limit: float) -> str:
    """Return how many times longer the peer takes; a bound where it does not arrive, nothing where we do not."""
    if not math.isfinite(ours):
        return "" if not math.isfinite(theirs) else f"< {_two_digits(theirs / limit)}"
    return _two_digits(theirs / ours) if math.isfinite(theirs) else f"> {_two_digits(limit / ours)}"


def _two_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _runs(by_seed: Mapping[int, Row]) -> Runs:
    return Runs(tuple(by_seed[seed] for seed in sorted(by_seed)))


def _rows(results: Iterable[Mapping[str, Any]]) -> Iterable[Row]:
    for result in results:
        for row in result.get("rows", ()):
            missing = {"solver", "seconds_to", "curve"} - set(row)
            if missing:
                raise ValueError(
                    f"a row of accuracy.py needs {', '.join(sorted(missing))}: measure {row.get('problem')} again"
                )
            yield row
