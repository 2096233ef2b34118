"""How the cost of a jet and of a Levenberg-Marquardt step grows, and how much memory the largest problems take.

    python benchmarks/scaling.py                   about half an hour
    python benchmarks/scaling.py --only memory     about ten minutes

Costs are the least of several calls (what else the machine does only adds), exponents come from least squares of
logarithms, each with its standard error, the sizes between which it was fitted, the largest deviation of a
measured cost from the law, and the exponent that is expected when its term dominates:

    JᵀJ: N P²        Cholesky factorisation: P³/3        Taylor-mode jets: N P · channels

A whole step is a sum of these terms, so that its exponents lie between those of its parts. One more derivative
order costs a channel in the linear layers, and up to as many products as channels in the activations.

Memory is the peak resident set of a fresh process that does one thing: a step on 10⁶ points with 2,000
parameters (less than 4 GB), a wide least-squares solve with 10⁵ rows and 4,000 columns (less than 8 GB).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import memory
import torch
from jets import JetCase, call, pure_partials
from machine import load, save
from power_law import PowerLaw
from steps import BURGERS, session

from pinnsolve.training.jacobian import gram
from pinnsolve.training.levenberg_marquardt import LevenbergMarquardt


@dataclass(frozen=True)
class Scaling:
    """A cost against one size.

    Attributes:
        cost: what is called.
        against: what grows.
        expected: the least and the greatest exponent that the terms of the cost allow.
        sizes: those measured at full scale.
        made: from a size to (the size that the law is in, the call that costs).
    """

    cost: str
    against: str
    expected: tuple[float, float]
    sizes: tuple[int, ...]
    made: Callable[[int], tuple[float, Callable[[], Any]]]

    def row(self, sizes: Sequence[int], repetitions: int) -> dict[str, Any]:
        """Measure the cost of these sizes and return the law."""
        measured = []
        for size in sizes:
            value, called = self.made(size)
            measured.append((value, least_seconds(called, repetitions)))
        values, seconds = zip(*measured, strict=True)
        about = {"cost": self.cost, "against": self.against, "expected": self.expected}
        return {**about, **asdict(PowerLaw.fitted(values, seconds)), "sizes": values, "seconds": seconds}


def least_seconds(called: Callable[[], Any], repetitions: int) -> float:
    """Return the seconds of the fastest of several calls; the first warms up."""
    seconds = []
    for _ in range(repetitions + 1):
        started = time.perf_counter()
        called()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


def _jet(order: int, dimension: int, points: int, width: int) -> Callable[[], Any]:
    case = JetCase(pure_partials(order, dimension), points, width)
    network, places = case.drawn()
    return lambda: call("taylor", "forward", case, network, places)


def _parameters(width: int, inputs: int = 2) -> int:
    """Return the parameters of three hidden layers of this width and one output."""
    return (inputs + 1) * width + 2 * (width + 1) * width + width + 1


def _lm(text: bytes, points: int, width: int) -> Callable[[], Any]:
    training = session(text, width).training
    optimizer = LevenbergMarquardt(training.objective, training.ansatz)
    places = training.objective.draw(points, 0.0, training.generator)
    return lambda: optimizer.step(places, 1)


def problem_text(order: int, dimension: int) -> bytes:
    """Return the text of Σ_i ∂_i^k u = 1 in the unit cube without conditions."""
    names = [f"x{i}" for i in range(dimension)]
    terms = " + ".join(f"d(u, {', '.join([name] * order)})" for name in names)
    boxes = "\n".join(f"{name} = [0, 1]" for name in names)
    return f'title = "sum"\n[coordinates]\n{boxes}\n[equations]\nsum = "{terms} = 1"\n'.encode()


def _rows(parameters: int, points: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(parameters, points, dtype=torch.float64, generator=generator)


def _gram(parameters: int, points: int) -> Callable[[], Any]:
    rows = _rows(parameters, points)
    return lambda: gram(rows)


def _cholesky(size: int) -> Callable[[], Any]:
    rows = _rows(size, size)
    matrix = rows @ rows.t() + size * torch.eye(size, dtype=torch.float64)
    return lambda: torch.linalg.cholesky_ex(matrix)


POINTS = 4096  # where something else grows
_COUNTS, _WIDTHS = (4096, 8192, 16384, 32768, 65536), (24, 32, 48, 64, 96)
SCALINGS = (
    Scaling("jet", "points", (1, 1), _COUNTS, lambda n: (n, _jet(2, 2, n, 20))),
    Scaling("jet", "parameters", (0.5, 1), _WIDTHS, lambda w: (_parameters(w), _jet(2, 2, POINTS, w))),
    Scaling("jet", "channels, by dimension", (1, 1), (2, 3, 5, 7, 10), lambda d: (2 * d + 1, _jet(2, d, POINTS, 20))),
    Scaling("jet", "channels, by order", (1, 2), (1, 2, 3, 4, 6), lambda k: (k + 1, _jet(k, 1, 4 * POINTS, 20))),
    Scaling("gram", "points", (1, 1), _COUNTS, lambda n: (n, _gram(921, n))),
    Scaling("gram", "parameters", (2, 2), (500, 1000, 1500, 2000, 3000), lambda p: (p, _gram(p, POINTS))),
    Scaling("cholesky", "parameters", (3, 3), (1000, 1500, 2000, 3000, 4000), lambda p: (p, _cholesky(p))),
    Scaling("lm step", "points", (0, 1), _COUNTS, lambda n: (n, _lm(BURGERS, n, 20))),
    Scaling("lm step", "parameters", (1, 3), (12, 16, 20, 28, 40), lambda w: (_parameters(w), _lm(BURGERS, POINTS, w))),
    Scaling(
        "lm step",
        "channels, by dimension",
        (0, 1),
        (2, 3, 5, 7, 10),
        lambda d: (2 * d + 1, _lm(problem_text(2, d), POINTS, 20)),
    ),
    Scaling(
        "lm step", "channels, by order", (0, 2), (1, 2, 3, 4), lambda k: (k + 1, _lm(problem_text(k, 1), POINTS, 20))
    ),
)


def main(given: Sequence[str] | None = None) -> None:
    """Measure and save after each cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["time", "memory"])
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--lm", default="1000000,31", help="points and width of the step whose memory is measured")
    parser.add_argument("--least-squares", default="100000,4000", help="rows and columns of the solve")
    parser.add_argument("--name", default="scaling")
    options = parser.parse_args(given)
    before = load(options.name)
    record: dict[str, Any] = {kind: before[kind] for kind in ("time", "memory") if kind in before}
    if options.only != "memory":
        collect(record, "time", (each.row(each.sizes, options.repetitions) for each in SCALINGS), options.name)
    if options.only != "time":
        sizes = {"lm": options.lm, "least-squares": options.least_squares}
        rows = (memory.row(cost, [int(size) for size in text.split(",")]) for cost, text in sizes.items())
        collect(record, "memory", rows, options.name)


def collect(record: dict[str, Any], kind: str, rows: Iterable[dict[str, Any]], name: str) -> None:
    """Put rows into the record as they are measured, and save it after each."""
    record[kind] = []
    for row in rows:
        record[kind].append(row)
        print(row, flush=True)
        save(name, record)


if __name__ == "__main__":
    main()
