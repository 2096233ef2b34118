"""The cost of the two expensive steps of training against what this machine can do.

    python benchmarks/steps.py               about three minutes
    python benchmarks/steps.py --only lm

*lm*: a Levenberg-Marquardt step of Burgers' equation on 4,096 points and 921 parameters (3 × 20 tanh): its seconds,
the share of matrix products and of factorisations (torch.profiler, self time), and the rate of its matrix products
against one large float64 product in the same run. *least squares*: the output layer of K units solved on 6 points per
unit, whole, with its matrix, against LAPACK's QR alone on a random matrix of that size, by torch and by SciPy.

    flops of a product (m, k) (k, n): 2 m n k        of a triangular factor (m, n), m ≥ n: 2 n² (m - n/3)

Times are medians; what is compared alternates in one process.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import torch
from machine import load, save
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from pinnsolve.networks.multilayer import widened
from pinnsolve.problems.loading import parse_problem
from pinnsolve.solving import Session, prepare, resolve_settings
from pinnsolve.training.least_squares import solve_output_layer
from pinnsolve.training.levenberg_marquardt import LevenbergMarquardt
from pinnsolve.training.stages import POINTS_PER_UNIT, SPREAD

BURGERS = b"""
title = "Burgers"
[coordinates]
x = [-1, 1]
t = [0, 1]
[equations]
burgers = "u_t + u*u_x = 0.01/pi*u_xx"
[[conditions]]
where = "t = 0"
equation = "u = -sin(pi*x)"
[[conditions]]
where = ["x = -1", "x = 1"]
equation = "u = 0"
[reference]
solver = "none"
"""
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot")
FACTORISATIONS = ("cholesky", "qr", "geqrf", "triangular", "solve_ex", "lu_")


def session(text: bytes = BURGERS, width: int = 20) -> Session:
    """Return a session that is ready to train a problem without a reference with three layers of this width."""
    return prepare(parse_problem(text, Path("benchmark.toml")), resolve_settings({"network.width": width}))


def median_seconds(calls: Mapping[str, Callable[[], Any]], repetitions: int) -> dict[str, float]:
    """Return the median seconds of each call, calls alternating; the first of each warms up."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repetitions + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            found[name].append(time.perf_counter() - started)
    return {name: statistics.median(values[1:]) for name, values in found.items()}


def machine_product(size: int) -> tuple[Callable[[], Tensor], float]:
    """Return a large square product in float64 and its flops."""
    left, right = torch.rand(2, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return lambda: left @ right, 2.0 * size**3


def triangular_flops(rows: int, columns: int) -> float:
    """Return the flops of the triangular factor of a matrix (m, n), m ≥ n: 2 n² (m - n/3).

    Source: Golub, Van Loan (2013), Matrix Computations, 4th edition, section 5.2.2.
    """
    return 2.0 * columns**2 * (rows - columns / 3)


def lm_step(points: int, width: int, repetitions: int, product_size: int) -> dict[str, Any]:
    """Return the cost of a Levenberg-Marquardt step, and what of it are matrix products."""
    training = session(width=width).training
    optimizer = LevenbergMarquardt(training.objective, training.ansatz)
    places = cycle([training.objective.draw(points, 0.0, training.generator) for _ in range(8)])
    evaluations: list[int] = []

    def step() -> None:
        evaluations.append(optimizer.step(next(places), 1).evaluations)

    product, flops = machine_product(product_size)
    calls = {"step": step, "drawing": lambda: training.fresh_points(points), "product": product}
    seconds = median_seconds(calls, repetitions)
    shares = profiled(step, repetitions)
    machine = flops / seconds["product"]
    return {
        "points": points,
        "parameters": sum(parameter.numel() for parameter in training.ansatz.parameters()),
        "step_seconds": seconds["step"],
        "drawing_seconds": seconds["drawing"],
        "trials_per_step": statistics.mean(count / points - 1 for count in evaluations),
        "machine_product_gflops": machine / 1e9,
        "least_step_seconds": shares["product_flops"] / machine,
        "step_over_least": seconds["step"] * machine / shares["product_flops"],
        "product_rate_over_machine": shares["product_rate"] / machine,
        **shares,
    }


def profiled(call: Callable[[], Any], repetitions: int) -> dict[str, float]:
    """Return per call the shares of products and factorisations in its time, and flops and rate of the products."""
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as profiler:
        for _ in range(repetitions):
            call()
    seconds, flops = dict.fromkeys(("product", "factorisation", "other"), 0.0), 0.0
    for event in profiler.key_averages():
        kind = _kind(event.key)
        seconds[kind] += event.self_cpu_time_total / 1e6
        flops += event.flops if kind == "product" else 0
    total = sum(seconds.values())
    return {
        **{f"{kind}_share": value / total for kind, value in seconds.items()},
        "product_flops": flops / repetitions,
        "product_rate": flops / seconds["product"] if seconds["product"] else 0.0,
    }


def _kind(operation: str) -> str:
    name = operation.removeprefix("aten::")
    if name in PRODUCTS:
        return "product"
    return "factorisation" if any(part in name for part in FACTORISATIONS) else "other"


def least_squares(units: int, repetitions: int) -> dict[str, Any]:
    """Return the cost of one wide least-squares solve against LAPACK's QR of a matrix of that size."""
    training, generator = session().training, torch.Generator().manual_seed(0)
    wide = widened(training.trained, units, SPREAD, generator)
    wide.hidden.requires_grad_(False)
    training.ansatz.network = wide
    points = training.objective.draw(POINTS_PER_UNIT * units, 0.0, generator)
    rows, columns = len(points[0]), sum(parameter.numel() for parameter in wide.output.parameters()) + 1
    start = {name: value.clone() for name, value in wide.output.state_dict().items()}
    matrix = torch.rand(rows, columns, dtype=torch.float64, generator=generator)
    column_major = np.asfortranarray(matrix.numpy())

    def stage() -> None:
        wide.output.load_state_dict(start)
        solve_output_layer(training.objective, wide.output, points, iterations=1)

    calls = {
        "stage": stage,
        "torch": lambda: torch.linalg.qr(matrix, mode="r"),
        "scipy": lambda: scipy.linalg.qr(column_major, mode="r", check_finite=False),
    }
    seconds = median_seconds(calls, repetitions)
    flops = triangular_flops(rows, columns)
    return {
        "units": units,
        "rows": rows,
        "columns": columns,
        **{f"{name}_seconds": value for name, value in seconds.items()},
        **{f"{name}_gflops": flops / value / 1e9 for name, value in seconds.items()},
        "stage_rate_over_lapack": min(seconds["torch"], seconds["scipy"]) / seconds["stage"],
    }


def main(given: Sequence[str] | None = None) -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["lm", "least-squares"])
    parser.add_argument("--points", type=int, default=4096)
    parser.add_argument("--width", type=int, default=20)
    parser.add_argument("--product", type=int, default=3000, help="size of the machine's own matrix product")
    parser.add_argument("--units", default="1600,3200")
    parser.add_argument("--repetitions", type=int, default=20, help="of the step; a fifth of it for least squares")
    parser.add_argument("--name", default="steps")
    options = parser.parse_args(given)
    record: dict[str, Any] = load(options.name)
    if options.only != "least-squares":
        record["lm"] = lm_step(options.points, options.width, options.repetitions, options.product)
        print(record["lm"], flush=True)
        save(options.name, kept(record))
    if options.only != "lm":
        record["least_squares"] = []
        for units in map(int, options.units.split(",")):
            record["least_squares"].append(least_squares(units, max(options.repetitions // 5, 1)))
            print(record["least_squares"][-1], flush=True)
            save(options.name, kept(record))


def kept(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the measured parts of a record, without where they came from."""
    return {name: record[name] for name in ("lm", "least_squares") if name in record}


if __name__ == "__main__":
    main()
