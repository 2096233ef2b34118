"""What a comparison costs beside its runs: does it keep the cores busy, and what does a run need besides training?

    python benchmarks/batch_overhead.py                 24 runs of 10 s on two workers, about 4 minutes
    python benchmarks/batch_overhead.py --runs 4 --seconds 2

The same problem is solved from as many seeds, through the same cluster and with the same pages as by
`pinnsolve compare`. The total time, from the start of the cluster to the page of the comparison, is held against the
sum of the runs' own times shared by the workers (at most 1.15 times); the overhead of a run is what it takes of a
worker's time beside training and the measurements of its result (process, imports, pages; at most 6 s).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import machine

from pinnsolve.comparison import Batch, Grid, Workers, expand, local_client
from pinnsolve.report import build_comparison_report, build_report
from pinnsolve.runs import ComparisonFolder

SHARE, OVERHEAD = 1.15, 6.0  # the bounds


def timed(problem: str, count: int, seconds: float, workers: Workers, outputs: Path) -> dict[str, Any]:
    """Return the times of a comparison of so many runs of a problem, each with a time limit in seconds."""
    grid = Grid((problem,), {"time_limit": seconds}, {"seed": list(range(count))})
    began = time.monotonic()
    with ComparisonFolder.hold(outputs, "overhead") as folder:
        batch = Batch(folder, expand(grid), workers.threads)
        records = [record for _, record in batch.execute(lambda: local_client(workers), build_report)]
        batch.write_summary()
        build_comparison_report(folder)
    total = time.monotonic() - began
    return {"total": total, "workers": workers.count, **figures(records, total, workers.count)}


def figures(records: Sequence[dict[str, Any]], total: float, workers: int) -> dict[str, Any]:
    """Return what the times of the runs say, in seconds.

    >>> record = {"seconds": 10.0, "measured_seconds": 4.0, "wall_seconds": 17.0, "status": "finished"}
    >>> found = figures([record] * 4, total=38.0, workers=2)
    >>> round(found["share"], 3), found["overhead"], found["pages"]
    (1.118, 5.0, 3.0)
    """
    lost = [record["reason"] for record in records if record["status"] != "finished"]
    if lost:
        raise RuntimeError(f"{len(lost)} of {len(records)} runs have no result; the first one: {lost[0]}")
    walls = [record["wall_seconds"] for record in records]
    own = [record["seconds"] + record["measured_seconds"] for record in records]
    return {
        "runs": len(records),
        "share": total / (sum(walls) / workers),
        "overhead": workers * total / len(records) - statistics.mean(own),
        "training": statistics.median(record["seconds"] for record in records),
        "measurements": statistics.median(record["measured_seconds"] for record in records),
        "pages": statistics.median(wall - each for wall, each in zip(walls, own, strict=True)),
    }


def sentences(found: dict[str, Any]) -> list[str]:
    """Return the result in words, with the bounds."""
    return [
        f"{found['runs']} runs on {found['workers']} workers in {found['total']:.0f} s: {found['share']:.3f} of the "
        f"sum of run times / {found['workers']} (at most {SHARE})",
        f"overhead per run {found['overhead']:.1f} s (at most {OVERHEAD:g}), {found['pages']:.1f} s of it in the run's "
        f"own process; training {found['training']:.1f} s, evaluation and audit {found['measurements']:.1f} s",
    ]


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", default="heat")
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=10.0, help="time limit of each run")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes")
    parser.add_argument("--folder", type=Path, default=machine.RESULTS, help="of the result")
    options = parser.parse_args(given)
    with tempfile.TemporaryDirectory() as outputs:
        found = timed(options.problem, options.runs, options.seconds, Workers.of(options.jobs), Path(outputs))
    machine.save("batch", found, options.folder)
    print("\n".join(sentences(found)))


if __name__ == "__main__":
    main()
