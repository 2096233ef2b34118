"""The peak resident set of one large computation, in a process that does nothing else.

    python benchmarks/memory.py lm 1000000 31                  a Levenberg-Marquardt step: points, width
    python benchmarks/memory.py least-squares 100000 4000      a wide least-squares solve: rows, columns

Prints one JSON object; `scaling.py` collects them. Points are drawn as training draws them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from machine import peak_memory, resident_memory
from steps import session

from pinnsolve.networks import activation
from pinnsolve.networks.multilayer import random_features
from pinnsolve.training.least_squares import solve_output_layer
from pinnsolve.training.levenberg_marquardt import LevenbergMarquardt


def lm(points: int, width: int) -> dict[str, float]:
    """Take one step on so many fresh points with three hidden layers of this width."""
    training = session(width=width).training
    optimizer = LevenbergMarquardt(training.objective, training.ansatz)
    before = resident_memory()
    optimizer.step(training.fresh_points(points), 1)
    parameters = sum(parameter.numel() for parameter in training.ansatz.parameters())
    return {"points": points, "parameters": parameters, "before_mb": before, "peak_mb": peak_memory()}


def least_squares(rows: int, columns: int) -> dict[str, float]:
    """Solve the output layer of a random layer, biases included among the columns."""
    training = session().training
    phi, generator = activation("tanh"), torch.Generator().manual_seed(0)
    wide = random_features(training.trained, columns - 1, [2.0] * training.trained.inputs, generator, phi)
    wide.hidden.requires_grad_(False)
    training.ansatz.network = wide
    before = resident_memory()
    points = training.fresh_points(rows)
    solve_output_layer(training.objective, wide.output, points, iterations=1)
    return {"rows": rows, "columns": columns, "before_mb": before, "peak_mb": peak_memory()}


COSTS: dict[str, tuple[Callable[[int, int], dict[str, float]], float]] = {
    "lm": (lm, 4000.0),  # with the megabytes that it must stay below
    "least-squares": (least_squares, 8000.0),
}


def row(cost: str, sizes: Sequence[int]) -> dict[str, Any]:
    """Measure one cost in a fresh process and return its row; a failure is a row too."""
    started, limit = time.perf_counter(), COSTS[cost][1]
    done = subprocess.run(
        [sys.executable, __file__, cost, *map(str, sizes)], capture_output=True, text=True, check=False
    )
    about = {"cost": cost, "limit_mb": limit, "seconds": round(time.perf_counter() - started, 2)}
    if done.returncode:
        return {**about, "within": False, "failed": done.stderr.strip()[-300:] or f"exit code {done.returncode}"}
    measured = json.loads(done.stdout)
    return {**about, **measured, "within": measured["peak_mb"] < limit}


def main(given: Sequence[str] | None = None) -> None:
    """Measure this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cost", choices=sorted(COSTS))
    parser.add_argument("sizes", type=int, nargs=2)
    options = parser.parse_args(given)
    print(json.dumps(COSTS[options.cost][0](*options.sizes)))


if __name__ == "__main__":
    main()
