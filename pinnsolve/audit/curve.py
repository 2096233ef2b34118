r"""V-curves: the error of one derivative by one scheme in one dtype, against the step."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.stats import theilslopes

from pinnsolve.audit.baseline import Baseline, Model, leading_partials
from pinnsolve.audit.measurement import Measurement, Target, measured, together
from pinnsolve.audit.records import Array, known, rms
from pinnsolve.audit.sample import Sample
from pinnsolve.derivatives.stencils import family
from pinnsolve.problems import Partial

_ABOVE_ROUNDING = 10.0  # a slope is read where the error is this far above the rounding line
_PLATEAU = (0.9, 1.1)  # of the leading-term ratio where the law holds
_LEADING_RATIO = (0.5, 2.0)  # and the leading term alone explains the error within these bounds
_DECADE = 10.0  # over at least this range of steps


@dataclass(frozen=True)
class ObservedOrder:
    """Theil-Sen slopes of log error against log h over a window of steps; across kinks they depend on the norm.

    Attributes:
        mean, rms, maximum: of the errors in the L1, L2 and maximum norm.
        interval: of the L2 slope, 95 %.
    """

    mean: float
    rms: float
    maximum: float
    interval: tuple[float, float]


def _observed_order(differences: Array, steps: Array) -> ObservedOrder:
    """Return the order of |differences| (K, N) at these steps."""
    logarithms = np.log(steps)
    slope, _, low, high = theilslopes(np.log(rms(differences)), logarithms)
    mean, maximum = (theilslopes(np.log(e), logarithms)[0] for e in (differences.mean(1), differences.max(1)))
    return ObservedOrder(float(mean), float(slope), float(maximum), (float(low), float(high)))


@dataclass(frozen=True)
class VCurve:
    """Finite differences of one derivative at N points for K steps, ascending, and all they compare with.

    Attributes:
        scheme, dtype: how they were computed.
        baseline: automatic differentiation and the exact solution.
        steps: h in the unit of the first coordinate differentiated, (K,).
        relative_steps: the same relative to the coordinate's own unit, (K,).
        values: finite differences, (K, N).
        truncation: the leading term Σ_a A_a h_a^p ∂^(α + p e_a) f, (K, N); None if it is not known.
        rounding: √Σc² σ / h^d, (K, N).
        kinked: where the stencil lies across a kink, (K, N).
        free: where the stencil is that of points far from the ends, (K, N).
        evaluations: of the field, for each derivative at a point far from the ends.
    """

    scheme: str
    dtype: str
    baseline: Baseline
    steps: Array
    relative_steps: Array
    values: Array
    truncation: Array | None
    rounding: Array
    kinked: NDArray[np.bool_]
    free: NDArray[np.bool_]
    evaluations: int

    @cached_property
    def differences(self) -> Array:
        """Finite differences minus automatic differentiation, (K, N)."""
        return self.values - self.baseline.values

    @cached_property
    def errors(self) -> Array:
        """RMS over the points of the differences, absolute, (K,)."""
        return rms(self.differences)

    @cached_property
    def best(self) -> int:
        """The index of the step with the least error; the largest step if there is no finite error."""
        finite = np.where(np.isfinite(self.errors), self.errors, np.inf)
        return int(np.argmin(finite)) if np.isfinite(finite).any() else len(finite) - 1

    @cached_property
    def clean_errors(self) -> Array:
        """RMS of the differences at the points whose stencils lie across no kink, (K,); NaN where they are few."""
        clean = ~self.kinked
        count = clean.sum(1)
        squares = np.where(clean, np.square(self.differences), 0.0).sum(1)
        return np.where(2 * count >= clean.shape[1], np.sqrt(squares / np.maximum(count, 1)), np.nan)

    @cached_property
    def predictions(self) -> Array:
        """The law of truncation and rounding at each step, absolute, (K,)."""
        if self.truncation is None:
            return np.full(len(self.steps), np.nan)
        return rms(self.truncation) + rms(self.rounding)

    def relative(self, error: float) -> float | None:
        """Return an absolute error divided by the RMS of the derivative; None if that is zero."""
        return known(error / self.baseline.scale)

    @cached_property
    def observed_order(self) -> ObservedOrder | None:
        """The order observed in the longest valid window, None without one.

        Valid are steps with an error of at least 10 times the rounding line and a leading-term ratio
        ρ = median(e_FD / truncation) in 0.5 ... 2; a window is a decade of them or more.
        """
        low, high = _LEADING_RATIO
        valid = (self.errors > _ABOVE_ROUNDING * rms(self.rounding)) & (self.ratios > low) & (self.ratios < high)
        return self.order_within(valid)

    def order_within(self, valid: NDArray[np.bool_]) -> ObservedOrder | None:
        """Return the order observed over the longest run of valid steps (K,); None if it is less than a decade.

        Errors are those of the points that keep the free stencil throughout: stencils at the ends have a larger
        A, and more points need them the larger the step, which would add to the slope.
        """
        first, last = _longest_run(valid)
        if last <= first or self.steps[last] < _DECADE * self.steps[first]:
            return None
        window = slice(first, last + 1)
        fixed = self.free[window].all(0)
        differences = np.abs(self.differences[window][:, fixed])
        if not fixed.any() or not (differences.max(1) > 0).all() or not np.isfinite(differences).all():
            return None
        return _observed_order(differences, self.steps[window])

    @cached_property
    def plateau(self) -> float | None:
        """The median of ρ over the longest run of steps with ρ in 0.9 ... 1.1; None if that is not half a decade."""
        low, high = _PLATEAU
        first, last = _longest_run((self.ratios > low) & (self.ratios < high))
        if last <= first or self.steps[last] < math.sqrt(_DECADE) * self.steps[first]:
            return None
        return float(np.median(self.ratios[first : last + 1]))

    @cached_property
    def ratios(self) -> Array:
        """ρ(h), the median over the points of error / leading term, (K,); NaN if the term is not known."""
        if self.truncation is None:
            return np.full(len(self.steps), np.nan)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a leading term that is zero everywhere
            ratio = self.differences / np.where(self.truncation == 0, np.nan, self.truncation)
            return np.nanmedian(ratio, axis=1)

    @property
    def predicted(self) -> tuple[float | None, float | None]:
        """The step (as `steps`) and the absolute error where the law is least, among the steps tried.

        For one stencil that is h* = (d R / (p T))^(1/(p+d)) to within the spacing of the steps; here each
        point has the stencil that fits it, and those near an end can dominate a scheme of high order.
        """
        if not np.isfinite(self.predictions).any():
            return None, None
        least = int(np.nanargmin(np.where(np.isfinite(self.predictions), self.predictions, np.inf)))
        return float(self.steps[least]), float(self.predictions[least])


def v_curves(
    models: Sequence[Model],
    schemes: Sequence[str],
    baselines: Mapping[Partial, Baseline],
    higher: Mapping[Partial, Array],
) -> list[VCurve]:
    """Return the V-curve of every derivative by every scheme, over the points of all models.

    One evaluation per step serves all derivatives and schemes, whose stencils have most of their nodes in common.
    """
    dtype = str(models[0].dtype).removeprefix("torch.")
    samples = [model.sample for model in models]
    found: dict[Target, list[Measurement]] = {(scheme, partial): [] for scheme in schemes for partial in baselines}
    for step in sorted(set.intersection(*(set(sample.steps(dtype)) for sample in samples))):
        fitting = [
            (scheme, partial)
            for scheme, partial in found
            if all(sample.fits(scheme, partial.orders, step) for sample in samples)
        ]
        if not fitting:
            break
        parts = [measured(model, step, fitting) for model in models]
        for key in fitting:
            found[key].append(together([part[key] for part in parts]))
    return [
        _curve(scheme, dtype, baselines[partial], measurements, samples[0], higher)
        for (scheme, partial), measurements in found.items()
        if measurements
    ]


def _curve(
    scheme: str,
    dtype: str,
    baseline: Baseline,
    measurements: Sequence[Measurement],
    sample: Sample,
    higher: Mapping[Partial, Array],
) -> VCurve:
    partial = baseline.partial
    terms = leading_partials(partial, scheme)
    accuracy = _accuracy(partial, scheme)
    truncation = None
    if all(term in higher for term in terms.values()):
        truncation = np.stack(
            [
                sum((m.leading[a] * (m.step * sample.units[a]) ** accuracy * higher[term] for a, term in terms.items()))
                for m in measurements
            ]
        )
    return VCurve(
        scheme=scheme,
        dtype=dtype,
        baseline=baseline,
        steps=sample.step_along(partial.orders, 1.0) * np.array([m.step for m in measurements]),
        relative_steps=np.array([m.step for m in measurements]),
        values=np.stack([m.values for m in measurements]),
        truncation=truncation,
        rounding=np.stack([m.spread for m in measurements]) * baseline.noise,
        kinked=np.stack([m.kinked for m in measurements]),
        free=np.stack([m.free for m in measurements]),
        evaluations=math.prod(len(_nodes(scheme, order)) for order in partial.orders if order),
    )


def _nodes(scheme: str, order: int) -> tuple[int, ...]:
    return family(scheme, order).free.offsets


def _accuracy(partial: Partial, scheme: str) -> int:
    return next(family(scheme, order).free.accuracy for order in partial.orders if order)


def _longest_run(valid: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the first and last index of the longest run of true values; (0, -1) if there is none."""
    best, start = (0, -1), 0
    for index, good in enumerate(valid):
        if not good:
            start = index + 1
        elif index - start > best[1] - best[0]:
            best = (start, index)
    return best
