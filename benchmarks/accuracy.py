"""Accuracy of `pinnsolve solve NAME` with nothing but a time limit, as a user runs it.

    python benchmarks/accuracy.py                        the table of default runs
    python benchmarks/accuracy.py --activations elu,tanh,gelu --only burgers,heat --name activations
    python benchmarks/accuracy.py --table engine --seeds 3 --name engine

Each run is the real command in its own process; results go to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from typing import Any

from machine import save

# table: problem, seconds, the relative L2 error that it must reach (None: none set)
TABLES = {
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


def run(problem: str, seconds: float, *options: str) -> dict[str, Any]:
    """Return the metrics of one solve; a fault is a record too."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pinnsolve", "solve", problem, "--time-limit", str(seconds), "--json"]
        done = subprocess.run(
            [*command, "--output", folder, *options], capture_output=True, text=True, check=False, timeout=seconds + 600
        )
    if done.returncode:
        return {"problem": problem, "status": "failed", "reason": done.stderr.strip()[-300:]}
    metrics: dict[str, Any] = json.loads(done.stdout)
    return metrics


def row(problem: str, seconds: float, target: float | None, activation: str, seed: int) -> dict[str, Any]:
    """Run one case and return its row."""
    metrics = run(problem, seconds, "--activation", activation, "--seed", str(seed))
    fields = metrics.get("fields", {})
    errors = [accuracy["relative_l2"] for accuracy in fields.values() if accuracy["relative_l2"] is not None]
    return {
        "problem": problem,
        "activation": activation,
        "seed": seed,
        "time_limit": seconds,
        "relative_l2": max(errors) if errors else None,
        "target": target,
        "reference_error": max((accuracy["reference_error"] or 0 for accuracy in fields.values()), default=None),
        **{
            key: metrics.get(key)
            for key in ("status", "reason", "seconds", "steps", "residual_evaluations", "parameters")
        },
    }


def main() -> None:
    """Run every case and save the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=sorted(TABLES), default="main")
    parser.add_argument("--only", default="")
    parser.add_argument("--activations", default="auto")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--name", default="accuracy")
    arguments = parser.parse_args()
    wanted = set(filter(None, arguments.only.split(",")))
    rows = []
    for problem, seconds, target in TABLES[arguments.table]:
        if wanted and problem not in wanted:
            continue
        for activation in arguments.activations.split(","):
            for seed in range(arguments.seeds):
                rows.append(row(problem, seconds, target if activation == "auto" else None, activation, seed))
                print(json.dumps(rows[-1]), flush=True)
    print(save(arguments.name, {"rows": rows}))


if __name__ == "__main__":
    main()
