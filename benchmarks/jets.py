"""Time and memory of derivatives: Taylor mode, nested reverse mode, finite differences, side by side.

    python benchmarks/jets.py                                                        about an hour
    python benchmarks/jets.py --orders 2 --dimensions 2 --points 1000,10000         a part of it

The network is 3 × 20 tanh in float64. A row is a set of derivatives and a number of points: the jet of Burgers'
equation (u, u_x, u_t, u_xx), or u and its pure derivatives ∂_i^k u of every coordinate, k = 1 ... 4. *forward*
evaluates them alone, *gradient* also the gradient of the mean square of their sum with respect to the weights,
as a training step does. Nested reverse mode stands in two forms: `autograd` shares every intermediate derivative,
and `separate` is how PINN codes commonly write it, one call of torch.autograd.grad per derivative on
separate coordinates. `differences` are central differences of fourth order.

Times are medians of calls that alternate between the ways in one process; only their ratios mean anything elsewhere.
Memory is the growth of the peak resident set during one call, in a fresh process for each number: what the
kernel handed out, not what torch says it asked for. A way that would take more than 20 s or 6 GB, judged by its own
cost at the last number of points at which it was called, is skipped, and the row says so.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from machine import peak_memory, resident_memory, save
from torch import Tensor

from pinnsolve.derivatives import Differentiator, autograd, taylor
from pinnsolve.derivatives.finite_differences import finite_differences
from pinnsolve.networks import MultilayerPerceptron, activation
from pinnsolve.problems import Partial

MOST_SECONDS, MOST_MEGABYTES = 20.0, 6000.0
ROUNDS = 3, 60  # fewest and most repetitions
STEP = 0.01  # of finite differences in [-1, 1], as pinnsolve's default
BURGERS = tuple(Partial("u", orders) for orders in ((0, 0), (1, 0), (0, 1), (2, 0)))


@dataclass(frozen=True)
class JetCase:
    """What is differentiated: derivatives of one field, none of them mixed, at how many points; and layers' width."""

    partials: tuple[Partial, ...]
    points: int
    width: int = 20

    @property
    def dimension(self) -> int:
        """The number of coordinates."""
        return len(self.partials[0].orders)

    @property
    def order(self) -> int:
        """The highest order."""
        return max(partial.order for partial in self.partials)

    def drawn(self) -> tuple[MultilayerPerceptron, Tensor]:
        """Return the network and points (N, d) in [-1, 1], the same for every way."""
        generator = torch.Generator().manual_seed(0)
        network = MultilayerPerceptron(self.dimension, [self.width] * 3, 1, activation("tanh"), torch.float64)
        points = 2 * torch.rand(self.points, self.dimension, generator=generator, dtype=torch.float64) - 1
        return network.initialized("glorot", generator), points


def pure_partials(order: int, dimension: int) -> tuple[Partial, ...]:
    """Return the field and its pure derivatives of one order."""
    rows = [tuple(order * (i == axis) for i in range(dimension)) for axis in range(dimension)]
    return tuple(Partial("u", orders) for orders in ((0,) * dimension, *rows))


Way = Callable[[JetCase, MultilayerPerceptron, Tensor], list[Tensor]]


def _jets(maker: Differentiator, case: JetCase, network: MultilayerPerceptron, points: Tensor) -> list[Tensor]:
    jet = maker(lambda x: {"u": network(x)[..., 0]}, points, case.partials)
    return [jet[partial] for partial in case.partials]


def _differences(case: JetCase, network: MultilayerPerceptron, points: Tensor) -> list[Tensor]:
    d = case.dimension
    return _jets(finite_differences("central4", [STEP] * d, [-1.0] * d, [1.0] * d, [False] * d), case, network, points)


def _separate(case: JetCase, network: MultilayerPerceptron, points: Tensor) -> list[Tensor]:
    trains = torch.is_grad_enabled()
    with torch.enable_grad():
        columns = [points[:, i : i + 1].clone().requires_grad_() for i in range(case.dimension)]
        u = network(torch.cat(columns, 1))
        found = {(0,) * case.dimension: u}
        for axis, column in enumerate(columns):
            highest, derivative = max(partial.orders[axis] for partial in case.partials), u
            for k in range(1, highest + 1):
                (derivative,) = torch.autograd.grad(
                    derivative, column, torch.ones_like(u), create_graph=trains or k < highest, retain_graph=True
                )
                found[tuple(k * (i == axis) for i in range(case.dimension))] = derivative
    values = [found[partial.orders][:, 0] for partial in case.partials]
    return values if trains else [value.detach() for value in values]


WAYS: dict[str, Way] = {
    "taylor": lambda *given: _jets(taylor, *given),
    "autograd": lambda *given: _jets(autograd, *given),
    "separate": _separate,
    "differences": _differences,
}
MODES = ("forward", "gradient")


def call(name: str, mode: str, case: JetCase, network: MultilayerPerceptron, points: Tensor) -> list[Tensor]:
    """Return the derivatives (forward), or the gradient of the mean square of their sum (gradient)."""
    if mode == "forward":
        with torch.no_grad():
            return WAYS[name](case, network, points)
    values = WAYS[name](case, network, points)
    return list(torch.autograd.grad(torch.stack(values).sum(0).square().mean(), list(network.parameters())))


def times(case: JetCase, names: Sequence[str], mode: str, seconds: float) -> dict[str, float]:
    """Return the median seconds of a call of each way, calls alternating for about so many seconds in all."""
    network, points = case.drawn()
    found: dict[str, list[float]] = {name: [] for name in names}
    began, rounds = time.perf_counter(), 0
    while rounds <= ROUNDS[0] or (rounds <= ROUNDS[1] and time.perf_counter() - began < seconds):
        for name in names:
            started = time.perf_counter()
            call(name, mode, case, network, points)
            found[name].append(time.perf_counter() - started)
        rounds += 1
    return {name: statistics.median(values[1:]) for name, values in found.items()}  # the first call warms up


def memory(case: JetCase, name: str, mode: str) -> float:
    """Return by how many megabytes the peak resident set grows in one call, in a fresh process."""
    context = multiprocessing.get_context("forkserver")
    # fresh processes are copies of one that has loaded these and computed nothing
    context.set_forkserver_preload(["pinnsolve.networks", "pinnsolve.derivatives.finite_differences"])
    with context.Pool(1, maxtasksperchild=1) as pool:
        return pool.apply(_growth, (case, name, mode))


def _growth(case: JetCase, name: str, mode: str) -> float:
    few = JetCase(case.partials, 8)
    call(name, mode, few, *few.drawn())  # loads what is loaded once
    network, points = case.drawn()
    before = resident_memory()
    call(name, mode, case, network, points)
    return max(peak_memory() - before, 0.0)


@dataclass(frozen=True)
class Cost:
    """What the most expensive call of a way took on so many points."""

    points: int
    seconds: float
    megabytes: float

    def excess(self, points: int) -> str:
        """Return why a call on more points is not made, cost being proportional to points; empty if it is."""
        factor = points / self.points
        if factor * self.megabytes > MOST_MEGABYTES:
            return f"needs about {factor * self.megabytes / 1000:.0f} GB"
        if factor * self.seconds > MOST_SECONDS:
            return f"needs about {factor * self.seconds:.0f} s"
        return ""


def measured(case: JetCase, names: Sequence[str], seconds: float) -> dict[str, dict[str, float]]:
    """Return milliseconds and megabytes of each way and mode, and the time as a multiple of Taylor mode's."""
    ways: dict[str, dict[str, float]] = {name: {} for name in names}
    for mode in MODES:
        for name, value in times(case, names, mode, seconds).items() if names else ():
            ways[name][f"{mode}_ms"] = 1e3 * value
            ways[name][f"{mode}_mb"] = memory(case, name, mode)
    for name in names if "taylor" in names else ():
        for mode in MODES:
            ways[name][f"{mode}/taylor"] = ways[name][f"{mode}_ms"] / ways["taylor"][f"{mode}_ms"]
    return ways


def series(
    label: str, partials: tuple[Partial, ...], counts: Sequence[int], seconds: float
) -> Iterator[dict[str, Any]]:
    """Yield the rows of one set of derivatives from few points to many."""
    known: dict[str, Cost] = {}
    for points in sorted(counts):
        case = JetCase(partials, points)
        skipped = {name: cost.excess(points) for name, cost in known.items() if cost.excess(points)}
        ways: Mapping[str, Any] = measured(case, [name for name in WAYS if name not in skipped], seconds)
        known |= {name: _cost(points, way) for name, way in ways.items()}
        about = {"derivatives": label, "order": case.order, "dimension": case.dimension, "points": points}
        yield {**about, **ways, **{name: {"skipped": reason} for name, reason in skipped.items()}}


def _cost(points: int, way: Mapping[str, float]) -> Cost:
    greatest = {unit: max(way[f"{mode}_{unit}"] for mode in MODES) for unit in ("ms", "mb")}
    return Cost(points, greatest["ms"] / 1e3, greatest["mb"])


def main(given: Sequence[str] | None = None) -> None:
    """Measure every case and save after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", default="1,2,3,4")
    parser.add_argument("--dimensions", default="1,2,5,10")
    parser.add_argument("--points", default="1000,10000,100000,1000000")
    parser.add_argument("--seconds", type=float, default=4.0, help="for which calls are repeated, per row and mode")
    parser.add_argument("--name", default="jets")
    options = parser.parse_args(given)
    orders, dimensions, counts = (
        [int(number) for number in text.split(",")] for text in (options.orders, options.dimensions, options.points)
    )
    pure = [("pure", pure_partials(order, dimension)) for order in orders for dimension in dimensions]
    rows: list[dict[str, Any]] = []
    for label, partials in [("burgers", BURGERS), *pure]:
        for row in series(label, partials, counts, options.seconds):
            rows.append(row)
            print(row, flush=True)
            save(options.name, {"rows": rows})


if __name__ == "__main__":
    main()
