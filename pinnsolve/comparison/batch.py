"""A comparison carried out: what is finished is taken over, the rest executed, the summary written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinnsolve.comparison.cluster import executed
from pinnsolve.comparison.execution import Order, Report, saved_metrics
from pinnsolve.comparison.grid import Run
from pinnsolve.comparison.summary import Outcome, summarize
from pinnsolve.errors import RunFolderError
from pinnsolve.runs import ComparisonFolder, RunFolder

if TYPE_CHECKING:
    from distributed import Client

TARGET = 1e-3  # error to which seconds are counted, unless another is asked for


@dataclass
class Batch:
    """The runs of a comparison and what is known of them.

    Attributes:
        folder: where all of it is kept.
        runs: in the order of tables.
        threads: of each run.
        metrics: of the runs that have ended, by index.
    """

    folder: ComparisonFolder
    runs: Sequence[Run]
    threads: int = 1
    metrics: dict[int, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.orders = [Order.of(run, self.folder.runs, self.threads) for run in self.runs]
        for index, order in enumerate(self.orders):
            saved = saved_metrics(order)
            if saved is not None:
                self.metrics[index] = saved

    @property
    def open(self) -> list[int]:
        """The runs that are to be executed, the longest first, so that no worker waits long at the end."""
        left = [index for index in range(len(self.runs)) if index not in self.metrics]
        return sorted(left, key=lambda index: -self.runs[index].settings.time_limit)

    def execute(
        self, client: Callable[[], AbstractContextManager[Client]], report: Report | None = None
    ) -> Iterator[tuple[Run, Mapping[str, Any]]]:
        """Execute what is open; yield each run and its metrics as it ends.

        Args:
            client: makes the client of the workers, if there is anything to do.
            report: draws a run's page.
        """
        left = self.open
        if not left:
            return
        with client() as there:
            for place, record in executed(there, [self.orders[index] for index in left], report):
                index = left[place]
                self.metrics[index] = record
                yield self.runs[index], record

    def outcomes(self) -> list[Outcome]:
        """Return the outcome of every run that has ended, with its curves from its own folder."""
        ended = sorted(self.metrics)
        return [Outcome.of(self.runs[i], self.metrics[i], _history(self.orders[i].folder)) for i in ended]

    def summary(self, target: float = TARGET, command: str = "") -> dict[str, Any]:
        """Return the summary of the runs that have ended."""
        summary = summarize(self.folder.path.name, self.outcomes(), target, command)
        return summary | {"open": [self.runs[index].label for index in self.open]}

    def write_summary(self, target: float = TARGET, command: str = "") -> dict[str, Any]:
        """Write the summary of the runs that have ended, and return it."""
        summary = self.summary(target, command)
        self.folder.write_summary(summary, summary["runs"], [_group_row(group) for group in summary["groups"]])
        return summary


def default_name(runs: Sequence[Run]) -> str:
    """Return a name that says what is compared; the same grid has the same name, so that it is gone on with."""
    problems = list(dict.fromkeys(run.problem.name for run in runs))
    keys = list(dict.fromkeys(key.split(".")[-1] for run in runs for key in run.chosen if key != "seed"))
    keys += ["variant"] if any(run.variant for run in runs) else []
    shown = "-".join(problems) if len(problems) <= 3 else f"{problems[0]}-and-{len(problems) - 1}-more"
    return f"{shown}.{'-'.join(keys) or 'seeds'}"[:100].rstrip(". ")


def _history(folder: Path) -> Mapping[str, Any]:
    try:
        return RunFolder(folder).history()
    except RunFolderError:
        return {}


def _group_row(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return a group as a row of summary.csv."""
    error = group["error"] or dict.fromkeys(("median", "low", "high", "coverage"))
    row = {key: value for key, value in group.items() if key not in ("error", "curves", "seconds_to")}
    row |= {f"error_{key}": error[key] for key in ("median", "low", "high", "coverage")}
    return row | {f"seconds_to_{level}": value for level, value in group["seconds_to"].items()}
