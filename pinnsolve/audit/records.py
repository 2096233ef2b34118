"""What an audit says: one row per step, one finding per V-curve, one sentence per derivative."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One point of a V-curve: one derivative, scheme, dtype and step.

    Errors are relative: the RMS (`_max`: the maximum) over the audit's points, divided by the RMS of
    the derivative as float64 automatic differentiation gives it. None where there is no number to give.

    Attributes:
        term: the derivative's name, e.g. u_xx.
        field: the field's name.
        scheme: the finite-difference scheme.
        dtype: float64 or float32.
        step: h, in the unit of the coordinate; a mixed derivative gives that of its first coordinate.
        fd_vs_ad: finite differences against automatic differentiation.
        fd_vs_ad_max: the same in the maximum norm.
        ad_vs_exact: automatic differentiation of the network against the exact solution's derivative.
        fd_vs_exact: finite differences of the network against the exact solution's derivative.
        predicted_error: the law A h^p |f^(p+d)| + √Σc² σ / h^d, as fd_vs_ad.
        kink_fraction: the share of points whose stencil lies across a kink of the activation.
        best: the step with the least fd_vs_ad of its V-curve.
    """

    term: str
    field: str
    scheme: str
    dtype: str
    step: float
    fd_vs_ad: float | None
    fd_vs_ad_max: float | None
    ad_vs_exact: float | None
    fd_vs_exact: float | None
    predicted_error: float | None
    kink_fraction: float
    best: bool

    @property
    def record(self) -> dict[str, Any]:
        """The row by column name, in the order of derivatives.csv."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Finding:
    """A V-curve in short: its best step, as measured and as predicted, and the verdict.

    Attributes are those of `Row` at the best measured step, and:
        observed_order: slope of log error against log step; None without a valid window.
        predicted_step: the step, of those tried, where the law is least.
        predicted_error: the law at that step.
        verdict: see `verdict.VERDICTS`.
    """

    term: str
    scheme: str
    dtype: str
    step: float
    fd_vs_ad: float | None
    ad_vs_exact: float | None
    fd_vs_exact: float | None
    observed_order: float | None
    predicted_step: float | None
    predicted_error: float | None
    kink_fraction: float
    verdict: str

    @property
    def record(self) -> dict[str, Any]:
        """The finding by key, as in metrics.json."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class DerivativeAudit:
    """The audit of all derivatives of one trial solution."""

    rows: tuple[Row, ...]
    summary: tuple[Finding, ...]
    sentences: tuple[str, ...]


def known(value: float) -> float | None:
    """Return a finite number as it is, and None for NaN and infinity."""
    return float(value) if math.isfinite(value) else None


def rms(values: Array) -> Array:
    """Return the root mean square over the points, the last axis."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.sqrt(np.mean(np.square(values), axis=-1))
