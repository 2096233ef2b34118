"""Time of derivatives: Taylor mode against nested reverse mode, forward and backward, side by side.

    python benchmarks/jets.py

The residual of Burgers' equation (u, u_x, u_t, u_xx) of a 3 × 20 tanh network and the gradient of its
mean square, alternating runs in one process; the ratio of medians is the result. Nested reverse mode
stands in two forms: `autograd`, which shares every intermediate derivative, and `separate`, as PINN
codes commonly write it, one call of torch.autograd.grad per derivative on separate coordinates.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from machine import save
from torch import Tensor, nn

from pinnsolve.derivatives import autograd, taylor
from pinnsolve.networks import MultilayerPerceptron, activation
from pinnsolve.problems import Partial

VALUE, IN_X, IN_T, IN_XX = (Partial("u", orders) for orders in ((0, 0), (1, 0), (0, 1), (2, 0)))


def shared(maker: Callable, network: nn.Module, points: Tensor) -> Tensor:
    """Return the residual from a maker of jets."""
    jet = maker(lambda x: {"u": network(x)[..., 0]}, points, [VALUE, IN_X, IN_T, IN_XX])
    return jet[IN_T] + jet[VALUE] * jet[IN_X] - 0.003 * jet[IN_XX]


def separate(network: nn.Module, points: Tensor) -> Tensor:
    """Return the residual by one reverse pass per derivative, coordinates apart."""
    x, t = (points[:, i : i + 1].clone().requires_grad_() for i in (0, 1))
    u = network(torch.cat([x, t], 1))
    one = torch.ones_like(u)
    u_x = torch.autograd.grad(u, x, one, create_graph=True)[0]
    u_t = torch.autograd.grad(u, t, one, create_graph=True)[0]
    u_xx = torch.autograd.grad(u_x, x, one, create_graph=True)[0]
    return u_t + u * u_x - 0.003 * u_xx


def measure(points: int, repetitions: int = 60) -> dict[str, float]:
    """Return the median milliseconds of each way, runs alternating."""
    generator = torch.Generator().manual_seed(0)
    network = MultilayerPerceptron(2, [20] * 3, 1, activation("tanh"), torch.float64)
    network.initialized("glorot", generator)
    x = torch.rand(points, 2, generator=generator, dtype=torch.float64)
    parameters = list(network.parameters())
    ways = {
        "taylor": lambda: shared(taylor, network, x),
        "autograd": lambda: shared(autograd, network, x),
        "separate": lambda: separate(network, x),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repetitions):
        for name, way in ways.items():
            started = time.perf_counter()
            torch.autograd.grad(way().square().mean(), parameters)
            times[name].append(1e3 * (time.perf_counter() - started))
    return {name: statistics.median(values[5:]) for name, values in times.items()}


def main() -> None:
    """Measure and save."""
    rows = []
    for points in (256, 1024, 4096, 16384):
        found = measure(points)
        rows.append(
            {
                "points": points,
                "milliseconds": found,
                "taylor/autograd": found["taylor"] / found["autograd"],
                "taylor/separate": found["taylor"] / found["separate"],
            }
        )
        print(rows[-1], flush=True)
    print(save("jets", {"rows": rows}))


if __name__ == "__main__":
    main()
