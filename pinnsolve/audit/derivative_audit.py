r"""The audit of a trial solution's derivatives: are they what they claim to be, and how well could
finite differences do?

At fixed points, with the same weights, for every derivative that the equations read,

    e_net = D_exact u* - D_AD64 f,    e_FD(h) = D_FD,h f - D_AD64 f,    e_tot = D_FD,h f - D_exact u*,

as RMS over the points, relative to the RMS of D_AD64 f. D_AD64 is Taylor mode in float64, checked against
nested reverse mode. In float32 the weights are rounded first, so that e_FD holds the error of arithmetic alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from pinnsolve.audit.baseline import Model, baselines, higher_derivatives
from pinnsolve.audit.curve import VCurve, v_curves
from pinnsolve.audit.kinks import smoothness
from pinnsolve.audit.records import Array, DerivativeAudit, Finding, Row, known, rms
from pinnsolve.audit.sample import audit_samples
from pinnsolve.audit.verdict import VERDICTS, verdicts
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
        points: number of audit points, Sobol points of this seed in the domain.
        seed: of the points.
        schemes: finite-difference schemes to compare.
        dtypes: precisions to audit; baselines are float64 always.

    Raises:
        SettingsError: a dtype is not float64 or float32, a scheme is unknown, or there is no point.
    """
    _check(points, dtypes)
    samples = audit_samples(problem, ansatz, points, seed, _device(ansatz))
    partials = [partial for partial in problem.partials if partial.order]
    higher: dict[Partial, Array] = {}
    curves: list[VCurve] = []
    with _full_precision(_device(ansatz)):
        for dtype in dtypes if partials else ():
            models = [Model.rounded(part, sample, dtype) for part, sample in samples]
            if not all(model.sample.resolved(dtype) and model.computes_in_its_dtype() for model in models):
                continue  # a float32 column computed elsewhere or in float64 would be a lie
            known_values = baselines(models, partials, exact)
            higher = higher or higher_derivatives(models, partials, schemes)
            for scheme in schemes:
                curves += v_curves(models, scheme, known_values, higher)
    return _reported(curves, smoothness(ansatz), problem)


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


def _reported(curves: Sequence[VCurve], smooth: float, problem: Problem) -> DerivativeAudit:
    names = {curve.baseline.partial: curve.baseline.partial.name(problem.coordinate_names) for curve in curves}
    judged = list(zip(curves, verdicts(curves, smooth), strict=True))
    rows = tuple(row for curve in curves for row in _rows(curve, names[curve.baseline.partial]))
    summary = tuple(_finding(curve, names[curve.baseline.partial], verdict) for curve, verdict in judged)
    return DerivativeAudit(rows, summary, tuple(_sentence(name, summary) for name in names.values()))


def _rows(curve: VCurve, term: str) -> Iterator[Row]:
    partial, exact = curve.baseline.partial, curve.baseline.exact
    total = rms(curve.values - exact) if exact is not None else None
    network = float(rms(curve.baseline.values - exact)) if exact is not None else math.nan
    for index, step in enumerate(curve.steps):
        yield Row(
            term=term,
            field=partial.field,
            scheme=curve.scheme,
            dtype=curve.dtype,
            step=float(step),
            fd_vs_ad=curve.relative(curve.errors[index]),
            fd_vs_ad_max=curve.relative(abs(curve.differences[index]).max()),
            ad_vs_exact=curve.relative(network),
            fd_vs_exact=curve.relative(total[index]) if total is not None else None,
            predicted_error=curve.relative(curve.predictions[index]),
            kink_fraction=float(curve.kinked[index].mean()),
            best=index == curve.best,
        )


def _finding(curve: VCurve, term: str, verdict: str) -> Finding:
    best = list(_rows(curve, term))[curve.best]
    step, error = curve.predicted
    return Finding(
        term=term,
        scheme=curve.scheme,
        dtype=curve.dtype,
        step=best.step,
        fd_vs_ad=best.fd_vs_ad,
        ad_vs_exact=best.ad_vs_exact,
        fd_vs_exact=best.fd_vs_exact,
        observed_order=curve.observed_order,
        predicted_step=known(step) if step is not None else None,
        predicted_error=curve.relative(error) if error is not None else None,
        kink_fraction=best.kink_fraction,
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
