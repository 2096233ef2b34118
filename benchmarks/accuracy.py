"""Accuracy and speed of `pinnsolve solve NAME` with nothing but a time limit, beside DeepXDE's best recipe.

    python benchmarks/accuracy.py                              the main table, one seed
    python benchmarks/accuracy.py --table engine --seeds 3     three seeds of the harder problems
    python benchmarks/accuracy.py --table long
    python benchmarks/accuracy.py --all                        every problem of the folder, a minute each
    python benchmarks/accuracy.py --all --jobs 2 --threads 1   the same in half the time, on one core each
    python benchmarks/accuracy.py --activations elu,tanh,gelu --peer none --name activations
    python benchmarks/accuracy.py --continue                   goes on with an interrupted run
    python benchmarks/accuracy.py --only heat                  measures anew what is named, and keeps the other rows

Each run is the real command (or `peer.py`) in a process of its own, with the same threads and the same time
limit; runs of the two alternate, and which one is first changes from seed to seed. A row holds the error over
time, the seconds to 1e-2 ... 1e-8, the residuals evaluated at points, and the error at the end on the evaluation
grid. Seconds are seconds of training: both sides' imports, reference and evaluation are apart (`wall_seconds`
has everything). The peer's clock stands still while its error is measured, that of pinnsolve goes on.
benchmarks/results/<name>.json is written after every run.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from machine import BENCHMARKS, load, save
from peer_problems import PROBLEMS as PEER_PROBLEMS
from solver_runs import Case, row

# table: problem, seconds, the relative L2 error that it must reach (None: none set)
TABLES: dict[str, list[tuple[str, float, float | None]]] = {
    "main": [
        ("burgers", 60, 3e-4),
        ("heat", 30, 1e-6),
        ("poisson", 30, 1e-6),
        ("wave", 60, 1e-3),
        ("poisson_5d", 60, 1e-3),
        ("logistic", 10, 1e-7),
    ],
    "engine": [
        ("burgers", 60, 1e-6),
        ("burgers_smooth", 60, 1e-9),
        ("allen_cahn", 120, 1e-4),
        ("kdv", 120, 1e-4),
        ("wave", 60, 1e-11),
        ("heat", 30, 1e-13),
        ("poisson", 30, 1e-13),
        ("poisson_multiscale", 120, 1e-10),
        ("poisson_5d", 60, 1e-6),
        ("poisson_10d", 120, 1e-4),
        ("convection", 60, 1e-9),
    ],
    "long": [
        ("burgers", 600, 2e-8),
        ("allen_cahn", 600, 1e-5),
        ("kdv", 600, 1e-6),
        ("kuramoto_sivashinsky", 600, 1e-3),
    ],
}
PROBLEM_FILES = BENCHMARKS.parent / "problems"
EVERY, EVERY_SECONDS = "all", 60.0  # the table of all problems, and the limit of each
RESULT_NAMES = {"main": "accuracy"}  # of tables that are not saved under their own name


def cases(table: str, only: Sequence[str], activations: Sequence[str], seeds: Sequence[int], peer: str) -> list[Case]:
    """Return the runs of a table in their order: solvers alternate, and the first one changes from seed to seed."""
    found = []
    for problem, seconds, target in _rows(table):
        if only and problem not in only:
            continue
        for position, seed in enumerate(seeds):
            ours = [Case("pinnsolve", problem, seconds, seed, name, target) for name in activations]
            theirs = [Case("deepxde", problem, seconds, seed, "tanh")] if peer in _peers(problem) else []
            found += theirs + ours if position % 2 else ours + theirs
    return found


def _rows(table: str) -> list[tuple[str, float, float | None]]:
    if table == EVERY:
        return [(path.stem, EVERY_SECONDS, None) for path in sorted(PROBLEM_FILES.glob("*.toml"))]
    return TABLES[table]


def _peers(problem: str) -> Sequence[str]:
    return ("deepxde",) if problem in PEER_PROBLEMS else ()


def arguments_of(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=sorted([*TABLES, EVERY]), default="main")
    parser.add_argument("--all", dest="table", action="store_const", const=EVERY, help="the same as --table all")
    parser.add_argument("--only", default="", help="problems of the table, separated by commas; default all")
    parser.add_argument("--activations", default="auto", help="separated by commas")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, from 0")
    parser.add_argument("--seed", default="", help="these seeds, separated by commas")
    parser.add_argument("--peer", choices=["deepxde", "none"], default="deepxde")
    parser.add_argument("--threads", type=int, help="of every run; default: as many as torch takes")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; with --threads, so that they have cores")
    parser.add_argument("--time-limit", type=float, help="of every run, instead of the table's")
    parser.add_argument("--continue", dest="goes_on", action="store_true", help="skip the runs that are there already")
    parser.add_argument("--name", help="of the result; default: that of the table")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    """Run every case and save the table after each."""
    options = arguments_of(given)
    name = options.name or RESULT_NAMES.get(options.table, options.table)
    seeds = _list(options.seed, int) or list(range(options.seeds))
    wanted = cases(options.table, _list(options.only), _list(options.activations), seeds, options.peer)
    if options.time_limit is not None:
        wanted = [case.limited(options.time_limit) for case in wanted]
    rows = load(name).get("rows", []) if options.goes_on or options.only else []
    rows = [kept for kept in rows if (kept["status"] != "failed" if options.goes_on else Case.of(kept) not in wanted)]
    done = {Case.of(kept) for kept in rows}
    if options.threads:
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
    for found in _runs([case for case in wanted if case not in done], options.jobs):
        rows.append(found)
        print(json.dumps({key: value for key, value in rows[-1].items() if key != "curve"}), flush=True)
        threads = next((each["threads"] for each in reversed(rows) if each["threads"]), None)
        save(name, {"threads": threads, "rows": rows})


def _runs(wanted: Sequence[Case], jobs: int) -> Iterator[dict[str, Any]]:
    """Yield the row of every case in order, so many of them under way at a time."""
    if jobs == 1:  # an interruption starts no other run
        yield from map(row, wanted)
        return
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(row, wanted)


def _list(text: str, kind: type = str) -> list:
    return [kind(part) for part in text.split(",") if part]


if __name__ == "__main__":
    main()
