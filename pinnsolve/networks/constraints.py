r"""Conditions built into the solution: u = lift + distance · N, derived from the problem's text.

Along one axis with values (and slopes) given at its ends, the Hermite polynomial P through these data
meets them, and the distance D = ξ^m (1-ξ)^n vanishes with them, m and n the number of data at each end.
Over several axes the interpolants are added one after another (boolean sum, Gordon 1971),

    g ← g + P_axis(data - g),     D = Π D_axis,

which meets all conditions if their data agree where faces meet. Whether they do, and whether g is as
smooth as the equations need (also across a periodic seam), is measured; what is not met stays a soft
condition, with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import sympy

from pinnsolve.networks.boundary_values import boundary_values
from pinnsolve.networks.corner_layers import corner_layers
from pinnsolve.networks.forms import FREE, FaceData, HardConstraint
from pinnsolve.networks.prescribed import prescribed, sampled, values_at
from pinnsolve.problems import Condition, Coordinate, Face, Field, Problem
from pinnsolve.problems.expansion import MAX_TERMS, terms_written_out
from pinnsolve.problems.geometry import Part
from pinnsolve.problems.places import Place
from pinnsolve.problems.problem import differentiated

MAX_OPERATIONS = 600  # a lift that is longer costs more than it gives
TOLERANCE = 1e-9  # of a condition's own scale; data that agree symbolically differ by roundoff only
_ROUGH = (sympy.Abs, sympy.sign, sympy.Heaviside, sympy.Min, sympy.Max)


@dataclass(frozen=True)
class Constraints:
    """Which conditions are built in, which stay soft, and why.

    Attributes:
        fields: the form of each field.
        soft: conditions to be met as weighted residuals.
        notes: one sentence per condition that could not be built in.
    """

    fields: dict[str, HardConstraint]
    soft: tuple[Condition, ...]
    notes: tuple[str, ...] = ()


@dataclass
class _Builder:
    """Collects built-in data of one field, face by face, on top of the values on parts of a domain's boundary."""

    problem: Problem
    unknown: Field
    hard: list[FaceData] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    parts: list[FaceData] = field(default_factory=list)
    base: HardConstraint = FREE

    def offer_parts(self, data: Sequence[FaceData], singular: bool) -> None:
        """Build in what can be built in of these values on parts of the boundary."""
        kept = []
        for datum in data:
            rough = _roughness(datum, self.problem)
            if not rough and not _finite_with_derivatives(datum.data, self.unknown, self.problem):
                rough = "a derivative of the data that the equations need is not finite"
            if rough:
                self.notes.append(_note([datum], rough))
            else:
                kept.append(datum)
        constraint, built, reasons = boundary_values(self.problem, kept, singular)
        outside = _outside(constraint.lift, self.unknown, self.problem) if built else ""
        mismatch = max((_mismatch(datum, constraint.lift, self.problem) for datum in built), default=0.0)
        if not mismatch <= TOLERANCE:
            outside = f"the interpolant misses them by {mismatch:.2g} (relative)"
        if outside:
            self.notes.append(_note(built, outside))
        else:
            self.base, self.parts = constraint, built
        self.notes += [_note([datum], reason) for datum, reason in reasons]

    @property
    def constraint(self) -> HardConstraint:
        """The form that meets the data."""
        return boolean_sum(self.hard, self.problem.coordinates, self.base)

    def offer(self, data: Sequence[FaceData]) -> None:
        """Build these data of one face in, if the conditions so far still hold with them."""
        trial = [*self.hard, *data]
        obstacle = self._obstacle(trial, data)
        if obstacle:
            self.notes.append(_note(data, obstacle))
        else:
            self.hard = trial

    def _obstacle(self, trial: list[FaceData], added: Sequence[FaceData]) -> str:
        """Return why these data cannot be built in; empty if they can."""
        rough = next((reason for datum in added if (reason := _roughness(datum, self.problem))), "")
        if rough:
            return rough
        if any(slope.order and not any(d.order == 0 and d.face == slope.face for d in trial) for slope in added):
            return "the value on this face is not built in either"
        constraint = boolean_sum(trial, self.problem.coordinates, self.base)
        operations = 0 if self.parts else constraint.lift.count_ops()
        if operations > MAX_OPERATIONS:
            return f"the interpolant of the data would have {operations} operations"
        data = [*trial, *self.parts]
        mismatch = max((_mismatch(datum, constraint.lift, self.problem) for datum in data), default=0.0)
        if not mismatch <= TOLERANCE:
            return f"the data differ by {mismatch:.2g} (relative) where faces meet"
        smooth = [datum.data for datum in added] if self.parts else [constraint.lift]
        if not all(_finite_with_derivatives(each, self.unknown, self.problem) for each in smooth):
            return "a derivative of the data that the equations need is not finite"
        return _outside(constraint.lift, self.unknown, self.problem)


def derive_constraints(problem: Problem, mode: str = "auto") -> Constraints:
    """Return how each condition is met.

    Args:
        problem: the problem.
        mode: "auto" builds in what can be built in, "hard" also where distances are singular at re-entrant corners;
            "soft" leaves every condition a residual.
    """
    constraints, built_in, notes = {}, set(), []
    for each in problem.fields:
        builder = _Builder(problem, each)
        layers = sum((layer.expression for layer in corner_layers(problem, each)), sympy.S.Zero)
        if mode != "soft":
            builder.offer_parts(_data_on_parts(problem, each), singular=mode == "hard")
            for data in _data_by_face(problem, each):
                builder.offer([_beside(layers, datum, problem) for datum in data])
        hard = [*builder.hard, *builder.parts]
        built_in |= {datum.condition.name for datum in hard}
        notes += builder.notes
        constraint = builder.constraint
        constraints[each.name] = replace(constraint, lift=_into_range(constraint.lift, each, bool(hard)) + layers)
    soft = tuple(condition for condition in problem.conditions if condition.name not in built_in)
    return Constraints(constraints, soft, tuple(notes))


def _beside(layers: sympy.Expr, datum: FaceData, problem: Problem) -> FaceData:
    """Return what is left of a datum for the rest of the solution beside these layers, which begin as zero."""
    if layers == 0 or datum.face.axis == problem.time_axis:
        return datum
    x = problem.symbols[datum.face.axis]
    return replace(datum, data=datum.data - sympy.diff(layers, x, datum.order).subs(x, datum.face.value))


def _note(data: Sequence[FaceData], reason: str) -> str:
    names = ", ".join(datum.condition.name for datum in data)
    return f"condition {names!r} is met approximately, as a weighted residual: {reason}"


def boolean_sum(
    data: Sequence[FaceData], coordinates: Sequence[Coordinate], base: HardConstraint = FREE
) -> HardConstraint:
    """Return the lift and the distance of these data, axis after axis, on top of what is built in already."""
    lift, distance = base.lift, base.distance
    for axis, coordinate in enumerate(coordinates):
        on_axis = [datum for datum in data if datum.face.axis == axis]
        if on_axis:
            lift = lift + _hermite_correction(on_axis, lift, coordinate)
            # quotients of distances would grow beyond measure, and so would powers of long sums
            if base == FREE and terms_written_out(lift) <= MAX_TERMS:
                lift = sympy.expand(lift, power_base=False)
            distance = distance * _axis_distance(on_axis, coordinate)
    return HardConstraint(lift, distance)


def _hermite_correction(data: Sequence[FaceData], lift: sympy.Expr, coordinate: Coordinate) -> sympy.Expr:
    """Return the Hermite polynomial in one coordinate through data - lift."""
    x = coordinate.symbol
    unknowns = [sympy.Symbol(f"c{k}") for k in range(len(data))]
    origin = coordinate.interval[0]
    polynomial = sum((c * (x - origin) ** k for k, c in enumerate(unknowns)), sympy.S.Zero)
    places = [(datum, {x: datum.face.value}) for datum in data]
    values = [datum.data - sympy.diff(lift, x, datum.order).subs(place) for datum, place in places]
    matrix = sympy.Matrix(
        [[sympy.diff(sympy.diff(polynomial, x, d.order).subs(p), c) for c in unknowns] for d, p in places]
    )
    weights = matrix.inv() * sympy.Matrix(values)
    return sum((weight * (x - origin) ** k for k, weight in enumerate(weights)), sympy.S.Zero)


def _axis_distance(data: Sequence[FaceData], coordinate: Coordinate) -> sympy.Expr:
    """Return ξ^m (1-ξ)^n, scaled to a greatest value of 1 on the interval."""
    lower = sum(datum.face.side == "lower" for datum in data)
    upper = len(data) - lower
    xi = (coordinate.symbol - coordinate.interval[0]) / (coordinate.interval[1] - coordinate.interval[0])
    peak = sympy.Rational(lower, lower + upper)
    return xi**lower * (1 - xi) ** upper / (peak**lower * (1 - peak) ** upper)


def _data_on_parts(problem: Problem, field_: Field) -> list[FaceData]:
    """Return the values that are given for one field on whole parts of a domain's boundary."""
    data = [prescribed(condition, field_, problem) for condition in problem.conditions]
    return [d for d in data if d is not None and isinstance(d.condition.face, Part) and not d.condition.restrictions]


def _data_by_face(problem: Problem, field_: Field) -> list[list[FaceData]]:
    """Return the data that faces give for one field: space first, then time; a value before its slope."""
    found: dict[tuple[int, str], list[FaceData]] = {}
    for condition in problem.conditions:
        datum = prescribed(condition, field_, problem)
        if datum is not None and not condition.restrictions and isinstance(condition.face, Face):
            found.setdefault((datum.face.axis, datum.face.side), []).append(datum)
    axes = sorted(found, key=lambda key: (key[0] == problem.time_axis, key))
    offers = []
    for key in axes:
        values = [datum for datum in found[key] if datum.order == 0][:1]
        slopes = [datum for datum in found[key] if datum.order == 1][:1]
        if values:  # a slope alone would leave the value free: D would have to have a slope and no zero
            offers.append(values)
            offers.extend([slopes] if slopes else [])
    return offers


def _roughness(datum: FaceData, problem: Problem) -> str:
    """Return why the data are less smooth than the equations need; empty if they are smooth enough."""
    if problem.order > 0 and datum.data.has(*_ROUGH):
        return "its data are not smooth"
    for axis, coordinate in enumerate(problem.coordinates):
        if not coordinate.periodic or not datum.data.has(coordinate.symbol):
            continue
        for order in range(problem.order_in(axis) + 1):
            jump = _seam_jump(sympy.diff(datum.data, coordinate.symbol, order), coordinate, problem)
            if not jump <= TOLERANCE:
                what = "value" if order == 0 else f"derivative of order {order}"
                return f"across the periodic seam of {coordinate.name} its {what} jumps by {jump:.2g}"
    return ""


def _seam_jump(expression: sympy.Expr, coordinate: Coordinate, problem: Problem) -> float:
    """Return the jump of an expression from the upper end to the lower end of a periodic coordinate."""
    ends = [expression.subs(coordinate.symbol, end) for end in coordinate.interval]
    values = sampled([ends[0] - ends[1], *ends], problem)
    return float(np.max(np.abs(values[0])) / max(1.0, float(np.max(np.abs(values[1:])))))


def _mismatch(datum: FaceData, lift: sympy.Expr, problem: Problem) -> float:
    """Return how far the lift misses a datum, relative to the data's size (or to 1)."""
    if isinstance(datum.condition.face, Part):
        points = Place(problem, datum.condition).sobol(2**9, seed=0)
        values = values_at([lift - datum.data, datum.data], problem, points)
    else:
        face = datum.face
        on_face = sympy.diff(lift, problem.symbols[face.axis], datum.order).subs(problem.symbols[face.axis], face.value)
        values = sampled([on_face - datum.data, datum.data], problem)
    return float(np.max(np.abs(values[0])) / max(1.0, float(np.max(np.abs(values[1])))))


def _finite_with_derivatives(lift: sympy.Expr, field_: Field, problem: Problem) -> bool:
    partials = [partial for partial in problem.partials if partial.field == field_.name]
    derivatives = [differentiated(lift, partial, problem.symbols) for partial in partials]
    return bool(np.isfinite(sampled([lift, *derivatives], problem)).all())


def _outside(lift: sympy.Expr, field_: Field, problem: Problem) -> str:
    """Return why a field with a range cannot take this lift; empty if it can."""
    lower, upper = field_.bounds
    if math.isinf(lower) and math.isinf(upper):
        return ""
    values = sampled([lift], problem)[0]
    margin = 1e-9 * max(1.0, float(np.max(np.abs(values))))
    if np.min(values) > lower + margin and np.max(values) < upper - margin:
        return ""
    return f"its data touch the end of the range [{lower:g}, {upper:g}] of {field_.name}"


def _into_range(lift: sympy.Expr, field_: Field, is_hard: bool) -> sympy.Expr:
    """Return the lift before the output activation that keeps a field in its range."""
    lower, upper = field_.bounds
    if not is_hard or (math.isinf(lower) and math.isinf(upper)):
        return lift
    if math.isinf(upper):
        return sympy.log(sympy.exp(lift - lower) - 1)  # inverse of lower + softplus
    if math.isinf(lower):
        return -sympy.log(sympy.exp(upper - lift) - 1)
    return sympy.log((lift - lower) / (upper - lift))  # inverse of lower + (upper - lower)·sigmoid
