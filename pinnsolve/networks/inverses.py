"""Inverse functions of the activations that have one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pinnsolve.networks.activations import LEAK, SELU_ALPHA, SELU_SCALE

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Inverse:
    """The function φ⁻¹ of an activation φ.

    Attributes:
        formula: φ⁻¹(y) in words.
        value: φ⁻¹ elementwise, on the range of φ.
    """

    formula: str
    value: Callable[[Array], Array]


def inverse(name: str, alpha: float = 1.0) -> Inverse | None:
    """Return the inverse of the activation of this name, None where there is none; `alpha` as for the activation."""
    return _INVERSES[name](alpha) if name in _INVERSES else None


def _two_pieces(slope: float, left: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return y/slope for y > 0 and left(y) else."""
    return lambda y: np.where(y > 0, y / slope, left(np.minimum(y, 0.0)))


_INVERSES: dict[str, Callable[[float], Inverse]] = {
    "celu": lambda a: Inverse(
        "y for y > 0, alpha log(1 + y/alpha) else", _two_pieces(1.0, lambda y: a * np.log1p(y / a))
    ),
    "elu": lambda a: Inverse("y for y > 0, log(1 + y/alpha) else", _two_pieces(1.0, lambda y: np.log1p(y / a))),
    "leaky_relu": lambda _: Inverse(f"y for y > 0, {1 / LEAK:g} y else", _two_pieces(1.0, lambda y: y / LEAK)),
    "selu": lambda _: Inverse(
        f"y/{SELU_SCALE:.4f} for y > 0, log(1 + y/{SELU_SCALE * SELU_ALPHA:.4f}) else",
        _two_pieces(SELU_SCALE, lambda y: np.log1p(y / (SELU_SCALE * SELU_ALPHA))),
    ),
    "sigmoid": lambda _: Inverse("log(y / (1 - y))", lambda y: np.log(y) - np.log1p(-y)),
    "softplus": lambda _: Inverse("log(exp y - 1)", lambda y: y + np.log(-np.expm1(-y))),
    "softsign": lambda _: Inverse("y / (1 - |y|)", lambda y: y / (1 - np.abs(y))),
    "tanh": lambda _: Inverse("log((1 + y) / (1 - y)) / 2", np.arctanh),
}
