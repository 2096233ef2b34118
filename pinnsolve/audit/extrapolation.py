"""Richardson extrapolation in the audit: what it gives without a choice of step, and whether its own error is right."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from pinnsolve.audit.baseline import Baseline, Model, array, leading_partials
from pinnsolve.audit.records import Array, Extrapolation, known, rms
from pinnsolve.audit.sample import Sample
from pinnsolve.derivatives.richardson import richardson
from pinnsolve.problems import Partial

_SCHEME = "central2"  # what is extrapolated
_LARGEST = 2.0**-3  # relative to the coordinate's unit


def extrapolations(
    models: Sequence[Model],
    known_values: Mapping[Partial, Baseline],
    higher: Mapping[Partial, Array],
    names: Mapping[Partial, str],
) -> Iterator[Extrapolation]:
    """Yield for every derivative the error of the extrapolation against automatic differentiation, in float64.

    The largest step is half of the length √(|f^(d)| / |f^(d+2)|) on which the derivative changes.

    Args:
        models: in float64.
        known_values: automatic differentiation.
        higher: derivatives in leading terms, as far as they are known.
        names: the derivatives' names.
    """
    for partial, name in names.items():
        limit = _change(known_values[partial], higher, models[0].sample)
        step = _largest_step([model.sample for model in models], partial, limit)
        if step is None:
            continue
        parts = [_extrapolated(model, known_values[partial], step) for model in models]
        values, errors = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        baseline = known_values[partial]
        yield Extrapolation(
            term=name,
            step=models[0].sample.step_along(partial.orders, step),
            fd_vs_ad=known(float(rms(values - baseline.values)) / baseline.scale),
            estimated=known(float(rms(errors)) / baseline.scale),
            covered=float(np.mean(np.abs(values - baseline.values) <= errors + max(baseline.floor, baseline.rounding))),
        )


def _change(baseline: Baseline, higher: Mapping[Partial, Array], sample: Sample) -> float:
    """Return half of the length on which the derivative changes along its coordinates, the least, in units."""
    lengths = [_LARGEST]
    for axis, term in leading_partials(baseline.partial, _SCHEME).items():
        size = float(rms(higher[term])) if term in higher else 0.0
        if size > 0:
            lengths.append(0.5 * math.sqrt(float(rms(baseline.values)) / size) / sample.units[axis])
    return min(lengths)


def _largest_step(samples: Sequence[Sample], partial: Partial, limit: float) -> float | None:
    """Return the largest relative step up to a limit whose stencils fit everywhere; None if there is none."""
    steps = [step for step in samples[0].steps("float64") if step <= limit]
    fitting = [step for step in steps if all(sample.fits(_SCHEME, partial.orders, step) for sample in samples)]
    return max(fitting, default=None)


@torch.no_grad()
def _extrapolated(model: Model, baseline: Baseline, step: float) -> tuple[Array, Array]:
    sample, partial = model.sample, baseline.partial
    noise = baseline.noise / baseline.magnitude if baseline.magnitude else None
    steps = [step * unit for unit in sample.units]
    maker = richardson(steps, sample.lower, sample.upper, sample.periodic, noise=noise)
    jet, errors = maker.with_errors(model.fields64, sample.points, [partial])
    return array(jet[partial]), array(errors[partial])
