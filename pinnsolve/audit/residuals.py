"""Residuals of the equations by automatic differentiation and by finite differences, at the same points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from pinnsolve.audit.baseline import Model, array, automatic_jet
from pinnsolve.audit.curve import VCurve
from pinnsolve.audit.records import Array, ResidualAudit, known, rms
from pinnsolve.derivatives.jet import Differentiator
from pinnsolve.problems import Problem, Residual
from pinnsolve.problems.formulas import torch_functions


def residual_audits(problem: Problem, models: Sequence[Model], curves: Sequence[VCurve]) -> Iterator[ResidualAudit]:
    """Yield the comparison of every equation, with the scheme and step that serve its worst derivative best.

    One jet has one step, so that it is chosen for the derivative that finite differences take worst: among
    the float64 V-curves the scheme and step with the least largest relative error.
    """
    for equation in problem.equations:
        wanted = {partial for partial in equation.partials if partial.order}
        fitting = [c for c in curves if c.dtype == "float64" and c.baseline.partial in wanted]
        chosen = _scheme_and_step(fitting)
        if chosen is None:
            continue
        scheme, step = chosen
        automatic = np.concatenate([_residual(equation, model, automatic_jet) for model in models])
        makers = [model.sample.differentiator(scheme, step) for model in models]
        stencils = np.concatenate(
            [_residual(equation, model, maker) for model, maker in zip(models, makers, strict=True)]
        )
        sizes = [known(float(rms(values))) for values in (automatic, stencils, stencils - automatic)]
        yield ResidualAudit(equation.name, sizes[0], sizes[1], sizes[2], scheme, step)


def _scheme_and_step(curves: Sequence[VCurve]) -> tuple[str, float] | None:
    """Return the scheme and the relative step with the least largest error relative to each derivative."""
    worst: dict[tuple[str, float], list[float]] = {}
    for curve in curves:
        for step, error in zip(curve.relative_steps, curve.errors, strict=True):
            size = curve.baseline.scale
            worst.setdefault((curve.scheme, step), []).append(
                float(error / size) if np.isfinite(size) else float(error)
            )
    partials = {curve.baseline.partial for curve in curves}
    complete = {key: max(errors) for key, errors in worst.items() if len(errors) == len(partials)}
    finite = {key: error for key, error in complete.items() if np.isfinite(error)}
    return min(finite, key=finite.__getitem__) if finite else None


@torch.no_grad()
def _residual(equation: Residual, model: Model, differentiator: Differentiator) -> Array:
    jet = differentiator(model.fields64, model.sample.points, equation.partials)
    return array(equation(torch_functions(), jet.columns, jet).expand(len(model.sample.points)))
