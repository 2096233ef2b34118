"""The problems as DeepXDE is given them: geometry, equation, conditions, in DeepXDE's own words.

Conditions that have a closed form are built in by an output transform u = g(x) + D(x) y, D = 0 where they
hold; a periodic coordinate enters as cos kφ, sin kφ, k = 1, 2, 3. Only poisson_5d has a soft condition: a lift
of its boundary data would be the solution itself.

No module of DeepXDE is imported here: every definition gets it as its argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

HARMONICS = 3


@dataclass(frozen=True)
class PeerProblem:
    """A problem in DeepXDE's terms.

    Attributes:
        geometry: the domain, with time where there is one.
        residual: (x, u) ↦ the equation's residual (N, 1), x (N, d), u (N, 1).
        transform: (x, y) ↦ u with every condition built in; None where they are soft.
        features: x ↦ what the network sees (N, inputs); None for x itself.
        inputs: number of columns that the network sees.
        boundary: x ↦ the boundary values (N, 1) of a soft condition; None without one.
    """

    geometry: Any
    residual: Callable[[Tensor, Tensor], Tensor]
    transform: Callable[[Tensor, Tensor], Tensor] | None = None
    features: Callable[[Tensor], Tensor] | None = None
    inputs: int = 2
    boundary: Callable[[Tensor], Tensor] | None = None


def burgers(dde: ModuleType) -> PeerProblem:
    """Return u_t + u u_x = (0.01/π) u_xx on [-1, 1], u = -sin πx at t = 0, u = 0 at the ends."""
    return PeerProblem(
        _line_and_time(dde, -1, 1),
        _burgers_residual(dde, 0.01 / math.pi),
        lambda x, y: -torch.sin(math.pi * x[:, :1]) + x[:, 1:] * (1 - x[:, :1] ** 2) * y,
    )


def burgers_smooth(dde: ModuleType) -> PeerProblem:
    """Return u_t + u u_x = 0.01 u_xx on [-1, 1], periodic, u = -sin πx at t = 0."""
    return PeerProblem(
        _line_and_time(dde, -1, 1),
        _burgers_residual(dde, 0.01),
        lambda x, y: -torch.sin(math.pi * x[:, :1]) + x[:, 1:] * y,
        _periodic(math.pi),
        2 * HARMONICS + 1,
    )


def heat(dde: ModuleType) -> PeerProblem:
    """Return u_t = u_xx/4 on [0, 1], u = sin πx at t = 0, u = 0 at the ends."""

    def residual(x: Tensor, u: Tensor) -> Tensor:
        return dde.grad.jacobian(u, x, i=0, j=1) - dde.grad.hessian(u, x, i=0, j=0) / 4

    return PeerProblem(
        _line_and_time(dde, 0, 1),
        residual,
        lambda x, y: torch.sin(math.pi * x[:, :1]) + x[:, 1:] * _bubble(x[:, :1]) * y,
    )


def wave(dde: ModuleType) -> PeerProblem:
    """Return u_tt = 4 u_xx on [0, 1], u = sin πx + sin(4πx)/2 and u_t = 0 at t = 0, u = 0 at the ends."""

    def residual(x: Tensor, u: Tensor) -> Tensor:
        return dde.grad.hessian(u, x, i=1, j=1) - 4 * dde.grad.hessian(u, x, i=0, j=0)

    def transform(x: Tensor, y: Tensor) -> Tensor:
        start = torch.sin(math.pi * x[:, :1]) + torch.sin(4 * math.pi * x[:, :1]) / 2
        return start + x[:, 1:] ** 2 * _bubble(x[:, :1]) * y

    return PeerProblem(_line_and_time(dde, 0, 1), residual, transform)


def convection(dde: ModuleType) -> PeerProblem:
    """Return u_t + 50 u_x = 0 on [0, 2π], periodic, u = sin x at t = 0."""

    def residual(x: Tensor, u: Tensor) -> Tensor:
        return dde.grad.jacobian(u, x, i=0, j=1) + 50 * dde.grad.jacobian(u, x, i=0, j=0)

    return PeerProblem(
        _line_and_time(dde, 0, 2 * math.pi),
        residual,
        lambda x, y: torch.sin(x[:, :1]) + x[:, 1:] * y,
        _periodic(1.0),
        2 * HARMONICS + 1,
    )


def allen_cahn(dde: ModuleType) -> PeerProblem:
    """Return u_t = 1e-4 u_xx + 5u - 5u³ on [-1, 1], periodic, u = x² cos πx at t = 0.

    The slope of the initial value jumps at the seam and, built in, stays: no training goes below 4e-4.
    """

    def residual(x: Tensor, u: Tensor) -> Tensor:
        u_t, u_xx = dde.grad.jacobian(u, x, i=0, j=1), dde.grad.hessian(u, x, i=0, j=0)
        return u_t - 1e-4 * u_xx - 5 * u + 5 * u**3

    return PeerProblem(
        _line_and_time(dde, -1, 1),
        residual,
        lambda x, y: x[:, :1] ** 2 * torch.cos(math.pi * x[:, :1]) + x[:, 1:] * y,
        _periodic(math.pi),
        2 * HARMONICS + 1,
    )


def kdv(dde: ModuleType) -> PeerProblem:
    """Return u_t + u u_x + 0.022² u_xxx = 0 on [-1, 1], periodic, u = cos πx at t = 0."""

    def residual(x: Tensor, u: Tensor) -> Tensor:
        u_x, u_t = (dde.grad.jacobian(u, x, i=0, j=j) for j in (0, 1))
        u_xxx = dde.grad.jacobian(dde.grad.hessian(u, x, i=0, j=0), x, i=0, j=0)
        return u_t + u * u_x + 0.022**2 * u_xxx

    return PeerProblem(
        _line_and_time(dde, -1, 1),
        residual,
        lambda x, y: torch.cos(math.pi * x[:, :1]) + x[:, 1:] * y,
        _periodic(math.pi),
        2 * HARMONICS + 1,
    )


def poisson(dde: ModuleType) -> PeerProblem:
    """Return -Δu = 2π² sin πx sin πy on the unit square, u = 0 on its boundary."""
    return _square(dde, {1: 1.0})


def poisson_multiscale(dde: ModuleType) -> PeerProblem:
    """Return -Δu = f on the unit square, u = 0 on its boundary, for u = ¼ Σ sin wπx sin wπy, w = 4, 8, 12, 16."""
    return _square(dde, {4: 0.25, 8: 0.25, 12: 0.25, 16: 0.25})


def poisson_5d(dde: ModuleType) -> PeerProblem:
    """Return -Δu = π² Σ cos πx_i on the unit cube of five dimensions, u = Σ cos πx_i on its boundary."""

    def residual(x: Tensor, u: Tensor) -> Tensor:
        laplacian = sum(dde.grad.hessian(u, x, i=i, j=i) for i in range(5))
        return -laplacian - math.pi**2 * torch.cos(math.pi * x).sum(1, keepdim=True)

    def boundary(x: Tensor) -> Tensor:
        return torch.cos(math.pi * x).sum(1, keepdim=True)

    return PeerProblem(dde.geometry.Hypercube([0] * 5, [1] * 5), residual, inputs=5, boundary=boundary)


def logistic(dde: ModuleType) -> PeerProblem:
    """Return u_t = u (1 - u) on [0, 10], u = 0.1 at t = 0.

    Time enters as t/5 - 1: on t itself every run that was tried ended at u = 0, on t/5 - 1 one of two did.
    """

    def residual(t: Tensor, u: Tensor) -> Tensor:
        return dde.grad.jacobian(u, t, i=0, j=0) - u * (1 - u)

    interval = dde.geometry.TimeDomain(0, 10)
    return PeerProblem(interval, residual, lambda t, y: 0.1 + t * y, lambda t: t / 5 - 1, inputs=1)


PROBLEMS: dict[str, Callable[[ModuleType], PeerProblem]] = {
    definition.__name__: definition
    for definition in (
        *(burgers, burgers_smooth, heat, wave, convection, allen_cahn, kdv),
        *(poisson, poisson_multiscale, poisson_5d, logistic),
    )
}


def _line_and_time(dde: ModuleType, lower: float, upper: float) -> Any:
    return dde.geometry.GeometryXTime(dde.geometry.Interval(lower, upper), dde.geometry.TimeDomain(0, 1))


def _burgers_residual(dde: ModuleType, viscosity: float) -> Callable[[Tensor, Tensor], Tensor]:
    def residual(x: Tensor, u: Tensor) -> Tensor:
        u_x, u_t = (dde.grad.jacobian(u, x, i=0, j=j) for j in (0, 1))
        return u_t + u * u_x - viscosity * dde.grad.hessian(u, x, i=0, j=0)

    return residual


def _square(dde: ModuleType, amplitudes: dict[int, float]) -> PeerProblem:
    """Return -Δu = f on the unit square for u = Σ_w a_w sin wπx sin wπy."""

    def modes(x: Tensor) -> Sequence[tuple[float, Tensor]]:
        return [(w, a * torch.sin(w * math.pi * x).prod(1, keepdim=True)) for w, a in amplitudes.items()]

    def residual(x: Tensor, u: Tensor) -> Tensor:
        laplacian = dde.grad.hessian(u, x, i=0, j=0) + dde.grad.hessian(u, x, i=1, j=1)
        return -laplacian - sum(2 * (w * math.pi) ** 2 * mode for w, mode in modes(x))

    return PeerProblem(
        dde.geometry.Rectangle([0, 0], [1, 1]), residual, lambda x, y: _bubble(x).prod(1, keepdim=True) * y
    )


def _bubble(x: Tensor) -> Tensor:
    return x * (1 - x)


def _periodic(frequency: float) -> Callable[[Tensor], Tensor]:
    """Return x, t ↦ cos kφ, sin kφ for k = 1, 2, 3, φ = frequency · x, and t."""

    def features(x: Tensor) -> Tensor:
        phases = [k * frequency * x[:, :1] for k in range(1, HARMONICS + 1)]
        return torch.cat([*map(torch.cos, phases), *map(torch.sin, phases), x[:, 1:]], 1)

    return features
