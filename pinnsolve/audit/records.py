"""What an audit says: one row per step, one finding per V-curve, one sentence per derivative."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
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
        fd_vs_ad_median, fd_vs_ad_p99: the same, median and 99th percentile of the absolute differences.
        fd_vs_ad_clean: the same at the points whose stencil lies across no kink, if they are at least half.
        ad_vs_exact: automatic differentiation of the network against the exact solution's derivative.
        fd_vs_exact: finite differences of the network against the exact solution's derivative.
        truncation, rounding: the two terms of the law, A h^p |f^(p+d)| and √Σc² σ / h^d.
        predicted_error: their sum, as fd_vs_ad.
        leading_ratio: ρ, the median of e_FD / (A h^p f^(p+d)): 1 where the leading term alone explains the error.
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
    fd_vs_ad_median: float | None
    fd_vs_ad_p99: float | None
    fd_vs_ad_clean: float | None
    ad_vs_exact: float | None
    fd_vs_exact: float | None
    truncation: float | None
    rounding: float | None
    predicted_error: float | None
    leading_ratio: float | None
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
        ad_error: e_AD, automatic differentiation in this dtype against float64 (in float64: nested reverse mode
            against Taylor mode).
        independent_error: e_ind, the complex step in NumPy against automatic differentiation; None where the
            complex step cannot serve.
        observed_order: slope of log RMS error against log step, the L2 norm; None without a valid window.
        order_low, order_high: its 95 % interval.
        order_l1, order_max: the slopes in the L1 and in the maximum norm, which kinks make differ.
        plateau: the median of ρ where it is within 0.9 ... 1.1 over half a decade or more.
        predicted_step: the step, of those tried, where the law is least: the step to use.
        predicted_error: the law at that step.
        noise_ratio: ε_f / u, the measured rounding noise of the field in units of the dtype's roundoff.
        decision: R, fd_vs_ad at the best step over ad_vs_exact: below 0.1 finite differences are adequate, above 1
            they dominate the error.
        evaluations: of the field, for each derivative at a point far from the ends.
        verdict: see `verdict.VERDICTS`.
    """

    term: str
    scheme: str
    dtype: str
    step: float
    fd_vs_ad: float | None
    ad_vs_exact: float | None
    fd_vs_exact: float | None
    ad_error: float | None
    independent_error: float | None
    observed_order: float | None
    order_low: float | None
    order_high: float | None
    order_l1: float | None
    order_max: float | None
    plateau: float | None
    predicted_step: float | None
    predicted_error: float | None
    kink_fraction: float
    noise_ratio: float | None
    decision: float | None
    evaluations: int
    verdict: str

    @property
    def record(self) -> dict[str, Any]:
        """The finding by key, as in metrics.json."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Cost:
    """What one derivative costs by one method, in float64.

    Attributes:
        term: the derivative's name.
        method: taylor, autograd, or a finite-difference scheme.
        evaluations: of the field, per point.
        microseconds: per point.
        bytes: the most that is held at once, per point.
    """

    term: str
    method: str
    evaluations: float
    microseconds: float
    bytes: float


@dataclass(frozen=True)
class Extrapolation:
    """One derivative by Richardson extrapolation in float64, relative to the RMS of the derivative.

    Attributes:
        term: the derivative's name.
        step: the largest of its steps.
        fd_vs_ad: the RMS of its difference from automatic differentiation.
        estimated: the RMS of the error that it gives itself.
        covered: the share of points whose difference is within that.
    """

    term: str
    step: float
    fd_vs_ad: float | None
    estimated: float | None
    covered: float


@dataclass(frozen=True)
class ResidualAudit:
    """One equation's residual by automatic differentiation and by finite differences, RMS over the audit's points.

    Attributes:
        equation: its name.
        automatic, differences: the RMS of the residual, in the unit of the equation.
        gap: the RMS of their difference.
        scheme, step: of the finite differences; the step is relative to the coordinates' units.
    """

    equation: str
    automatic: float | None
    differences: float | None
    gap: float | None
    scheme: str
    step: float


@dataclass(frozen=True)
class LossGradientAudit:
    """Whether automatic differentiation gives the gradient of the loss.

    Attributes:
        taylor_order: the slope of log |L(θ + h v) - L(θ) - h g·v| against log h at fixed points, 2 for a right
            gradient; None without steps that rounding leaves readable.
        misspecification: rms(D - g·v)/rms(D) over random directions v, D the central difference of the densely
            integrated loss: about 0 if automatic differentiation sees all of the gradient, of order 1 if it
            misses the moving kinks.
        points: of the dense integral.
    """

    taylor_order: float | None
    misspecification: float | None
    points: int


@dataclass(frozen=True)
class DerivativeAudit:
    """The audit of all derivatives of one trial solution.

    Attributes:
        rows: the V-curves, step by step.
        summary: one finding per V-curve.
        sentences: one per derivative, then what is to say of the loss gradient.
        costs: of each derivative by each method.
        extrapolations: of each derivative, after Richardson.
        residuals: of each equation.
        loss_gradient: None if it was not tested.
        maps: arrays by name: the points, and for every derivative in float64 the error of central2 at its best step.
    """

    rows: tuple[Row, ...]
    summary: tuple[Finding, ...]
    sentences: tuple[str, ...]
    costs: tuple[Cost, ...] = field(default=(), compare=False)  # timings differ from run to run
    extrapolations: tuple[Extrapolation, ...] = ()
    residuals: tuple[ResidualAudit, ...] = ()
    loss_gradient: LossGradientAudit | None = None
    maps: Mapping[str, NDArray[Any]] = field(default_factory=dict, compare=False)

    def metrics(self) -> dict[str, Any]:
        """Return what metrics.json holds of the audit."""
        audit = {
            "costs": [dataclasses.asdict(cost) for cost in self.costs],
            "extrapolations": [dataclasses.asdict(each) for each in self.extrapolations],
            "residuals": [dataclasses.asdict(residual) for residual in self.residuals],
            "loss_gradient": dataclasses.asdict(self.loss_gradient) if self.loss_gradient is not None else None,
        }
        return {"derivatives": [finding.record for finding in self.summary], "audit": audit}


def known(value: float) -> float | None:
    """Return a finite number as it is, and None for NaN and infinity."""
    return float(value) if math.isfinite(value) else None


def rms(values: Array) -> Array:
    """Return the root mean square over the points, the last axis."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.sqrt(np.mean(np.square(values), axis=-1))
