"""What finite differences are compared with: float64 automatic differentiation, and the exact solution."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from pinnsolve.audit.complex_step import Oracle
from pinnsolve.audit.noise import Noise, noise_of, rounding_noise
from pinnsolve.audit.records import Array, rms
from pinnsolve.audit.sample import Sample
from pinnsolve.derivatives.autograd import autograd
from pinnsolve.derivatives.jet import Differentiator, Fields, Jet
from pinnsolve.derivatives.stencils import family
from pinnsolve.derivatives.taylor import taylor
from pinnsolve.problems import Partial

HIGHEST_ORDER = 8  # of a derivative f^(p+d) in a leading term
_HIGHEST_NESTED = 4  # the same where Taylor mode is missing a rule, and nested autograd must do
_DISAGREEMENT = 1e-9  # taylor against autograd, relative; tests hold them to 1e-12 and 1e-10
_CHECKED, _CHECKED_UNITS = 256, 2**17  # points of the complex step, at most; the same times the width of a layer
_VANISHING = 100  # units of rounding noise σ / L^d below which a derivative counts as zero
_ROUNDING = 10  # units of its own rounding error κ u below which two ways may differ, and a derivative counts as zero
_DOUBLE, _SINGLE = (torch.finfo(dtype).eps / 2 for dtype in (torch.float64, torch.float32))


@dataclass(frozen=True)
class Baseline:
    """One derivative of the trial solution at N points, in float64.

    Attributes:
        partial: which.
        values: by automatic differentiation (Taylor mode), (N,).
        exact: the exact solution's, (N,), or None.
        noise: σ, the standard deviation of the field's rounding errors in the dtype of the audited model.
        magnitude: the RMS of the field.
        roundoff: u of the audited dtype.
        automatic_error: e_AD, the RMS of D_AD(dtype) f - D_AD64 f; in float64 the RMS of nested reverse mode - Taylor.
        independent_error: e_ind, the RMS of D_complex step f - D_AD64 f; None where the complex step cannot serve.
        reproducible: whether nested autograd and the complex step give the same, but for rounding.
        floor: the rounding error σ64 / L^d of a field whose own scale is the domain.
        condition: κ, so that automatic differentiation errs by κ u in arithmetic of the roundoff u, RMS, absolute:
            large where terms w φ⁽ᵈ⁾(a x + b) aᵈ cancel, whose sum σ / L^d knows nothing of aᵈ.
    """

    partial: Partial
    values: Array
    exact: Array | None
    noise: float
    magnitude: float
    roundoff: float
    automatic_error: float
    independent_error: float | None
    reproducible: bool
    floor: float
    condition: float = 0.0

    @property
    def scale(self) -> float:
        """The RMS of the derivative, by which errors are divided; NaN for one that vanishes."""
        return math.nan if self.vanishes else float(rms(self.values))

    @property
    def rounding(self) -> float:
        """κ u, the RMS of the rounding errors of automatic differentiation in the audited dtype."""
        return self.condition * self.roundoff

    @property
    def noise_ratio(self) -> float:
        """The measured relative noise ε_f in units of the roundoff u; NaN for a field that is zero."""
        return self.noise / (self.roundoff * self.magnitude) if self.magnitude else math.nan

    @property
    def vanishes(self) -> bool:
        """Whether the derivative is zero at all points, but for rounding."""
        return bool(rms(self.values) <= max(_VANISHING * self.floor, _ROUNDING * self.condition * _DOUBLE))


@dataclass(frozen=True)
class Model:
    """A trial solution with its weights rounded to a dtype: evaluated in that dtype and in float64.

    Attributes:
        dtype, fields, fields64: the same weights in both.
        sample: where it is audited.
    """

    dtype: torch.dtype
    fields: nn.Module
    fields64: nn.Module
    sample: Sample

    @classmethod
    def rounded(cls, ansatz: nn.Module, sample: Sample, dtype: str) -> Model:
        """Return copies of the trial solution; the original is not touched."""
        kind: torch.dtype = getattr(torch, dtype)
        fields = copy.deepcopy(ansatz).to(kind).requires_grad_(False)
        return cls(kind, fields, copy.deepcopy(fields).to(torch.float64), sample)

    @torch.no_grad()
    def computes_in_its_dtype(self) -> bool:
        """Return whether no part of the trial solution carries another precision into the values."""
        values = self.fields(self.sample.points[:1].to(self.dtype)).values()
        return all(not isinstance(value, Tensor) or value.dtype == self.dtype for value in values)


def baselines(
    models: Sequence[Model], partials: Sequence[Partial], exact: Differentiator | None
) -> dict[Partial, Baseline]:
    """Return the baseline of every partial derivative, over the points of all models."""
    parts = [_baselines(model, partials, exact) for model in models]
    return {partial: _together([part[partial] for part in parts]) for partial in partials}


def _together(parts: Sequence[Baseline]) -> Baseline:
    """Return the baseline over the points of all parts, with the RMS of their noise and errors."""
    first, counts = parts[0], [len(part.values) for part in parts]

    def mean(sizes: Sequence[float]) -> float:
        return float(np.sqrt(np.average(np.square(sizes), weights=counts)))

    independent = [part.independent_error for part in parts if part.independent_error is not None]
    return replace(
        first,
        values=np.concatenate([part.values for part in parts]),
        exact=None if first.exact is None else np.concatenate([part.exact for part in parts if part.exact is not None]),
        noise=mean([part.noise for part in parts]),
        magnitude=mean([part.magnitude for part in parts]),
        automatic_error=mean([part.automatic_error for part in parts]),
        independent_error=mean(independent) if len(independent) == len(parts) else None,
        reproducible=all(part.reproducible for part in parts),
        floor=max(part.floor for part in parts),
        condition=mean([part.condition for part in parts]),
    )


def _baselines(model: Model, partials: Sequence[Partial], exact: Differentiator | None) -> dict[Partial, Baseline]:
    sample, points = model.sample, model.sample.points
    names = sorted({partial.field for partial in partials})
    double = model.dtype == torch.float64
    jet = automatic_jet(model.fields64, points, partials)
    nested = autograd(model.fields64, points, partials)
    other = nested if double else automatic_jet(model.fields, points.to(model.dtype), partials)
    truth = exact(model.fields64, points, partials) if exact else None
    noise = rounding_noise(model.fields, sample, points.to(model.dtype), names)
    noise64 = noise if double else rounding_noise(model.fields64, sample, points, names)
    check = _ComplexStepCheck.of(model, names) if double else None
    sizes = {name: float(rms(array(torch.as_tensor(value)))) for name, value in _values(model).items()}
    roundings = _roundings(model, partials)
    found = {}
    for partial in partials:
        values, floor = array(jet[partial]), _floor(partial, noise64, sample)
        rounding = rounding_where(values, roundings[partial])
        independent = check(partial, values, rounding) if check else None
        found[partial] = Baseline(
            partial=partial,
            values=values,
            exact=array(truth[partial]) if truth else None,
            noise=noise_of(partial, noise),
            magnitude=sizes[partial.field],
            roundoff=torch.finfo(model.dtype).eps / 2,
            automatic_error=float(rms(array(other[partial]) - values)),
            independent_error=independent.error if independent else None,
            reproducible=agree(values, array(nested[partial]), floor, rounding)
            and (not independent or independent.confirms),
            floor=floor,
            condition=float(rms(roundings[partial])) / _DOUBLE,
        )
    return found


def _roundings(model: Model, partials: Sequence[Partial]) -> dict[Partial, Array]:
    """Return what rounding in double precision makes every derivative err by, (N,): 2^-29 of what float32's jet does.

    Both jets are of the same weights and points, rounded to float32, so that the arithmetic alone differs. Numbers of
    the right size, not the errors themselves; zero where float32 overflows. A fault cannot widen its own tolerance by
    what it does to both precisions alike: it would have to spoil float32 2^29 times as much.
    """
    single = Model.rounded(model.fields64, model.sample, "float32")
    points = model.sample.points.to(torch.float32)
    try:
        coarse = automatic_jet(single.fields, points, partials)
    except RuntimeError:  # a function that insists on double precision: nothing is known
        return {partial: np.zeros(len(points)) for partial in partials}
    fine = automatic_jet(single.fields64, points.double(), partials)
    errors = {partial: np.abs(array(coarse[partial]) - array(fine[partial])) for partial in partials}
    return {partial: _DOUBLE / _SINGLE * np.where(np.isfinite(e), e, 0.0) for partial, e in errors.items()}


@torch.no_grad()
def _values(model: Model) -> Mapping[str, Tensor | float]:
    return model.fields64(model.sample.points)


@dataclass(frozen=True)
class _Independent:
    """What the complex step says of one derivative: how far off it is, and whether that is rounding."""

    error: float
    confirms: bool


@dataclass(frozen=True)
class _ComplexStepCheck:
    """Derivatives by the complex step at the first points of a sample, and the noise of that evaluation."""

    oracle: Oracle
    sample: Sample
    points: Array
    noise: Noise

    @classmethod
    def of(cls, model: Model, names: list[str]) -> _ComplexStepCheck | None:
        """Return the check of a model; None if the complex step cannot serve it."""
        sample = model.sample
        oracle = Oracle.of(model.fields64, sample.units)
        if oracle is None:
            return None
        few = sample.points[: min(_CHECKED, max(_CHECKED_UNITS // oracle.width, 16))]
        return cls(oracle, sample, array(few), rounding_noise(oracle.values, sample, few.cpu(), names))

    def __call__(self, partial: Partial, values: Array, rounding: float) -> _Independent | None:
        found = self.oracle.derivative(self.points, partial)
        if found is None:
            return None
        derivative, uncertainty = found
        values = values[: len(derivative)]
        # the noise of this evaluation, not of the audited one, which may be the sabotaged one
        uncertain = _weighted_median(uncertainty, _squares(values, derivative))
        floor = max(_floor(partial, self.noise, self.sample), uncertain)
        return _Independent(float(rms(derivative - values)), agree(values, derivative, floor, rounding))


def higher_derivatives(
    models: Sequence[Model], partials: Sequence[Partial], schemes: Sequence[str]
) -> dict[Partial, Array]:
    """Return the derivatives f^(p+d) of all leading terms, of order 8 at most, (N,) each, in float64."""
    parts = [_higher_derivatives(model.fields64, model.sample, partials, schemes) for model in models]
    return {term: np.concatenate([part[term] for part in parts]) for term in parts[0]}


def _higher_derivatives(
    fields: Fields, sample: Sample, partials: Sequence[Partial], schemes: Sequence[str]
) -> dict[Partial, Array]:
    wanted = {term for partial in partials for scheme in schemes for term in leading_partials(partial, scheme).values()}
    try:
        jet = taylor(fields, sample.points, [term for term in wanted if term.order <= HIGHEST_ORDER])
    except NotImplementedError:
        jet = autograd(fields, sample.points, [term for term in wanted if term.order <= _HIGHEST_NESTED])
    return {term: array(value) for term, value in jet.items()}


def leading_partials(partial: Partial, scheme: str) -> dict[int, Partial]:
    """Return the derivative in the leading term of each coordinate's stencil: ∂^(α + p e_a) for α_a > 0."""
    result = {}
    for axis, order in enumerate(partial.orders):
        if order:
            accuracy = family(scheme, order).free.accuracy
            orders = (*partial.orders[:axis], order + accuracy, *partial.orders[axis + 1 :])
            result[axis] = Partial(partial.field, orders)
    return result


def array(values: Tensor) -> Array:
    """Return the values as a NumPy array in float64."""
    return values.detach().double().cpu().numpy()


def automatic_jet(fields: Fields, points: Tensor, partials: Sequence[Partial]) -> Jet:
    """Return the jet by Taylor mode, or by nested autograd where Taylor mode has no rule for a function."""
    try:
        return taylor(fields, points, partials)
    except NotImplementedError:  # a torch function that Taylor mode has no rule for
        return autograd(fields, points, partials)


def _floor(partial: Partial, noise: Noise, sample: Sample) -> float:
    lengths = [high - low for low, high in zip(sample.lower, sample.upper, strict=True)]
    volume = np.prod([length**order for length, order in zip(lengths, partial.orders, strict=True)])
    return float(noise_of(partial, noise) / volume)


def agree(one: Array, other: Array, floor: float, rounding: float = 0.0) -> bool:
    """Return whether two ways of automatic differentiation agree where the derivative is.

    They are compared at the median of its square: half of that lies at points that differ by less. A median, since
    the two may take different sides where a point lies on a kink; of the square, since half of the points may see
    nothing of a front.

    Args:
        one, other: the derivative by both ways, (N,).
        floor: σ / L^d.
        rounding: what each of the two errs by in double precision where the derivative is.
    """
    weight = _squares(one, other)
    if not weight.any():
        return True
    size, difference = float(rms(np.where(weight > 0, one, 0.0))), _weighted_median(np.abs(one - other), weight)
    return difference <= max(_DISAGREEMENT * size, _VANISHING * floor, _ROUNDING * rounding)


def rounding_where(values: Array, rounding: Array) -> float:
    """Return the RMS of rounding errors (N,), over the points or over the square of the derivative (N,): the larger.

    Errors of a front are larger than those elsewhere, and it is there that two ways are compared.
    """
    weight = _squares(values, np.zeros(1))
    local = np.average(np.square(rounding), weights=weight) if weight.any() else 0.0
    return max(float(rms(rounding)), math.sqrt(local))


def _squares(one: Array, other: Array) -> Array:
    """Return the sum of the squares, (N,), zero where it is no finite number."""
    square = np.square(one) + np.square(other)
    return np.where(np.isfinite(square), square, 0.0)


def _weighted_median(values: Array, weights: Array) -> float:
    """Return the least value (of N) up to which half of the weights (N,) lie."""
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, 0.5 * below[-1])])
