r"""The audit of a trial solution's derivatives: are they what they claim to be, and how well could
finite differences do?

At fixed points, with the same weights, for every derivative that the equations read,

    e_net = D_exact u* - D_AD64 f,    e_FD(h) = D_FD,h f - D_AD64 f,    e_tot = D_FD,h f - D_exact u*,
    e_AD  = D_AD(dtype) f - D_AD64 f, e_ind = D_complex step f - D_AD64 f

as RMS over the points, relative to the RMS of D_AD64 f. D_AD64 is Taylor mode in float64, checked against nested
reverse mode and against the complex step in NumPy. In float32 the weights are rounded first, so that e_FD and e_AD hold
the error of arithmetic alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pinnsolve.audit.baseline import Baseline, Model, baselines, higher_derivatives
from pinnsolve.audit.cost import costs
from pinnsolve.audit.curve import VCurve, v_curves
from pinnsolve.audit.extrapolation import extrapolations
from pinnsolve.audit.kinks import smoothness
from pinnsolve.audit.loss_gradient import loss_gradient_audit
from pinnsolve.audit.maps import maps
from pinnsolve.audit.records import (
    Array,
    Cost,
    DerivativeAudit,
    Extrapolation,
    Finding,
    LossGradientAudit,
    ResidualAudit,
    Row,
    known,
    rms,
)
from pinnsolve.audit.residuals import residual_audits
from pinnsolve.audit.sample import audit_samples
from pinnsolve.audit.verdict import VERDICTS, gradient_sentence, rounding_sentence, verdicts
from pinnsolve.derivatives.jet import Differentiator
from pinnsolve.derivatives.stencils import SCHEMES
from pinnsolve.errors import SettingsError, unknown_name
from pinnsolve.problems import Partial, Problem

DTYPES = ("float64", "float32")


def audit(
    problem: Problem,
    ansatz: nn.Module,
    *,
    exact: Differentiator | None = None,
    trained: Problem | None = None,
    points: int = 1024,
    seed: int = 0,
    schemes: Sequence[str] = SCHEMES,
    dtypes: Sequence[str] = DTYPES,
) -> DerivativeAudit:
    """Return the audit of every partial derivative that an equation of the problem reads.

    Args:
        problem: the derivatives, the domain.
        ansatz: the trial solution, points (..., d) to values (...) by field; it is copied, not changed. The
            parts of a piecewise one are audited each in its own window.
        exact: the exact solution's jets, if they are known.
        trained: the formulation whose loss was trained, if it is another: its gradient is tested.
        points: number of audit points, Sobol points of this seed in the domain.
        seed: of the points.
        schemes: finite-difference schemes to compare.
        dtypes: precisions to audit; baselines are float64 always.

    Raises:
        SettingsError: a dtype is not float64 or float32, a scheme is unknown, or there is no point.
    """
    _check(points, dtypes)
    device = _device(ansatz)
    samples = audit_samples(problem, ansatz, points, seed, device)
    names = {partial: partial.name(problem.coordinate_names) for partial in problem.partials if partial.order}
    if not names:
        return DerivativeAudit((), (), ())
    partials = list(names)
    higher: dict[Partial, Array] = {}
    curves: list[VCurve] = []
    known_values: dict[str, dict[Partial, Baseline]] = {}
    with _full_precision(device):
        for dtype in dtypes:
            models = [Model.rounded(part, sample, dtype) for part, sample in samples]
            if not all(model.sample.resolved(dtype) and model.computes_in_its_dtype() for model in models):
                continue  # a float32 column computed elsewhere or in float64 would be a lie
            known_values[dtype] = baselines(models, partials, exact)
            higher = higher or higher_derivatives(models, partials, schemes)
            curves += v_curves(models, schemes, known_values[dtype], higher)
        doubles = [Model.rounded(part, sample, "float64") for part, sample in samples]
        double_values = known_values.get("float64") or baselines(doubles, partials, exact)
        beside = _Beside(
            costs=tuple(costs(doubles[0], names, schemes, _waiting(device))),
            extrapolations=tuple(extrapolations(doubles, double_values, higher, names)),
            residuals=tuple(residual_audits(problem, doubles, curves)),
            loss_gradient=loss_gradient_audit(trained or problem, doubles[0].fields64, doubles[0].sample, seed),
            maps=maps(problem, doubles, curves, names),
        )
    order = max(partial.order for partial in (trained or problem).partials)
    return _reported(curves, smoothness(ansatz), order, names, beside)


@dataclass(frozen=True)
class _Beside:
    """What an audit holds beside the V-curves."""

    costs: tuple[Cost, ...]
    extrapolations: tuple[Extrapolation, ...]
    residuals: tuple[ResidualAudit, ...]
    loss_gradient: LossGradientAudit | None
    maps: Mapping[str, NDArray[Any]]


def _waiting(device: torch.device) -> Callable[[], None]:
    """Return a function that waits for the device."""
    return torch.cuda.synchronize if device.type == "cuda" else (lambda: None)


def _check(points: int, dtypes: Sequence[str]) -> None:
    if points < 1:
        raise SettingsError(f"an audit needs at least 1 point, got {points}")
    for dtype in dtypes:
        if dtype not in DTYPES:
            raise SettingsError(unknown_name("precision", dtype, DTYPES))


def _device(ansatz: nn.Module) -> torch.device:
    tensors = [*ansatz.parameters(), *ansatz.buffers()]
    return tensors[0].device if tensors else torch.device("cpu")


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """Keep float32 products in float32 (no TF32) while the block runs."""
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _reported(
    curves: Sequence[VCurve], smooth: float, order: int, names: Mapping[Partial, str], beside: _Beside
) -> DerivativeAudit:
    """Return the audit in words and numbers; `order` is that of the equations whose loss was trained."""
    judged = list(zip(curves, verdicts(curves, smooth), strict=True))
    rows = [list(_rows(curve, names[curve.baseline.partial])) for curve in curves]
    summary = tuple(
        _finding(curve, own[curve.best], verdict) for (curve, verdict), own in zip(judged, rows, strict=True)
    )
    told = dict.fromkeys(finding.term for finding in summary)
    sentences = [_sentence(name, summary) for name in told]
    sentences.append(rounding_sentence(curves, names))
    sentences.append(gradient_sentence(beside.loss_gradient, smooth < order, order))
    return DerivativeAudit(tuple(chain.from_iterable(rows)), summary, tuple(filter(None, sentences)), **vars(beside))


def _rows(curve: VCurve, term: str) -> Iterator[Row]:
    partial, exact = curve.baseline.partial, curve.baseline.exact
    total = rms(curve.values - exact) if exact is not None else None
    network = float(rms(curve.baseline.values - exact)) if exact is not None else math.nan
    distances, rounding = np.abs(curve.differences), rms(curve.rounding)
    medians, quantiles = np.median(distances, axis=1), np.quantile(distances, 0.99, axis=1)
    largest, kinked = distances.max(1), curve.kinked.mean(1)
    truncation = np.full(len(curve.steps), np.nan) if curve.truncation is None else rms(curve.truncation)
    for index, step in enumerate(curve.steps):
        yield Row(
            term=term,
            field=partial.field,
            scheme=curve.scheme,
            dtype=curve.dtype,
            step=float(step),
            fd_vs_ad=curve.relative(curve.errors[index]),
            fd_vs_ad_max=curve.relative(largest[index]),
            fd_vs_ad_median=curve.relative(medians[index]),
            fd_vs_ad_p99=curve.relative(quantiles[index]),
            fd_vs_ad_clean=curve.relative(curve.clean_errors[index]),
            ad_vs_exact=curve.relative(network),
            fd_vs_exact=curve.relative(total[index]) if total is not None else None,
            truncation=curve.relative(truncation[index]),
            rounding=curve.relative(rounding[index]),
            predicted_error=curve.relative(curve.predictions[index]),
            leading_ratio=known(curve.ratios[index]),
            kink_fraction=float(kinked[index]),
            best=index == curve.best,
        )


def _finding(curve: VCurve, best: Row, verdict: str) -> Finding:
    """Return what is said of a curve, with the row of its best step."""
    step, error = curve.predicted
    order, baseline = curve.observed_order, curve.baseline
    return Finding(
        term=best.term,
        scheme=curve.scheme,
        dtype=curve.dtype,
        step=best.step,
        fd_vs_ad=best.fd_vs_ad,
        ad_vs_exact=best.ad_vs_exact,
        fd_vs_exact=best.fd_vs_exact,
        ad_error=curve.relative(baseline.automatic_error),
        independent_error=None if baseline.independent_error is None else curve.relative(baseline.independent_error),
        observed_order=known(order.rms) if order else None,
        order_low=known(order.interval[0]) if order else None,
        order_high=known(order.interval[1]) if order else None,
        order_l1=known(order.mean) if order else None,
        order_max=known(order.maximum) if order else None,
        plateau=curve.plateau,
        predicted_step=known(step) if step is not None else None,
        predicted_error=curve.relative(error) if error is not None else None,
        kink_fraction=best.kink_fraction,
        noise_ratio=known(baseline.noise_ratio),
        decision=known(best.fd_vs_ad / best.ad_vs_exact) if best.fd_vs_ad is not None and best.ad_vs_exact else None,
        evaluations=curve.evaluations,
        verdict=verdict,
    )


def _sentence(term: str, summary: Sequence[Finding]) -> str:
    """Return the finding on one derivative in words: the first precision, central2 where it was tried."""
    findings = [finding for finding in summary if finding.term == term]
    told = next((finding for finding in findings if finding.scheme == "central2"), findings[0])
    explanation = f"; {told.verdict}: {VERDICTS[told.verdict]}" if VERDICTS[told.verdict] else ""
    if told.fd_vs_ad is None:
        return f"{term}: no relative errors, AD is zero or not finite{explanation}"
    network = "" if told.ad_vs_exact is None else f"AD {told.ad_vs_exact:.1e} from exact, "
    step = f"h = {told.step:.1e}" if told.dtype == "float64" else f"h = {told.step:.1e} in {told.dtype}"
    return f"{term}: {network}{told.scheme} {told.fd_vs_ad:.1e} from AD at {step}{explanation}"
