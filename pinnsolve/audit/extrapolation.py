"""Richardson extrapolation in the audit: what it gives without a choice of step, and whether its own error is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from pinnsolve.audit.baseline import Baseline, Model, array
from pinnsolve.audit.records import Extrapolation, known, rms
from pinnsolve.audit.sample import Sample
from pinnsolve.derivatives.richardson import richardson
from pinnsolve.problems import Partial

_SCHEME = "central2"  # what is extrapolated
_LARGEST = 2.0**-3  # relative to the coordinate's unit


def extrapolations(
    models: Sequence[Model], known_values: Mapping[Partial, Baseline], names: Mapping[Partial, str]
) -> Iterator[Extrapolation]:
    """Yield for every derivative the error of the extrapolation against automatic differentiation, in float64."""
    for partial, name in names.items():
        step = _largest_step([model.sample for model in models], partial)
        if step is None:
            continue
        parts = [_extrapolated(model, partial, step) for model in models]
        values, errors = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        baseline = known_values[partial]
        yield Extrapolation(
            term=name,
            step=models[0].sample.step_along(partial.orders, step),
            fd_vs_ad=known(float(rms(values - baseline.values)) / baseline.scale),
            estimated=known(float(rms(errors)) / baseline.scale),
            covered=float(np.mean(np.abs(values - baseline.values) <= errors + baseline.floor)),
        )


def _largest_step(samples: Sequence[Sample], partial: Partial) -> float | None:
    """Return the largest relative step whose stencils fit everywhere; None if there is none."""
    steps = [step for step in samples[0].steps("float64") if step <= _LARGEST]
    fitting = [step for step in steps if all(sample.fits(_SCHEME, partial.orders, step) for sample in samples)]
    return max(fitting, default=None)


@torch.no_grad()
def _extrapolated(model: Model, partial: Partial, step: float) -> tuple[np.ndarray, np.ndarray]:
    sample = model.sample
    steps = [step * unit for unit in sample.units]
    maker = richardson(steps, sample.lower, sample.upper, sample.periodic)
    jet, errors = maker.with_errors(model.fields64, sample.points, [partial])
    return array(jet[partial]), array(errors[partial])
