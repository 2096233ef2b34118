"""Costs as powers of a size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PowerLaw:
    """The law cost = factor · size^exponent, fitted by least squares of logarithms.

    Attributes:
        exponent, factor: of the law.
        standard_error: of the exponent, √(Σ residual² / (n - 2) / Σ (log size - mean)²).
        worst_deviation: the largest |cost / law - 1| of a measured cost.
        range: the smallest and the largest size, between which the law was seen to hold.
    """

    exponent: float
    factor: float
    standard_error: float
    worst_deviation: float
    range: tuple[float, float]

    @classmethod
    def fitted(cls, sizes: Sequence[float], costs: Sequence[float]) -> PowerLaw:
        """Return the law of these costs.

        Raises:
            ValueError: there are fewer than three sizes, or a size or cost is not positive.
        """
        x, y = np.asarray(sizes, float), np.asarray(costs, float)
        if len(x) != len(y) or len(set(sizes)) < 3:
            raise ValueError(f"a power law needs costs of at least 3 sizes, got {len(y)} costs of sizes {list(sizes)}")
        if not (x > 0).all() or not (y > 0).all():
            raise ValueError(f"a power law needs positive sizes and costs, got {list(sizes)} and {list(costs)}")
        spread = np.log(x) - np.log(x).mean()
        exponent = float(spread @ np.log(y) / (spread @ spread))
        residual = np.log(y) - np.log(y).mean() - exponent * spread
        return cls(
            exponent=exponent,
            factor=float(np.exp(np.log(y).mean() - exponent * np.log(x).mean())),
            standard_error=float(np.sqrt(residual @ residual / (len(x) - 2) / (spread @ spread))),
            worst_deviation=float(np.max(np.abs(np.expm1(residual)))),
            range=(float(x.min()), float(x.max())),
        )
