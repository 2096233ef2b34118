"""Whether conditions are enough, stand everywhere, and agree where they meet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
import sympy
from numpy.typing import NDArray

from pinnsolve.problems.finding import Finding, Level
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.problems.geometry.domain import Part
from pinnsolve.problems.places import Place
from pinnsolve.problems.problem import Condition, Face, Problem
from pinnsolve.problems.wellposedness import conditions_along, order_of, points_on, uncovered_shares

DISCONTINUOUS = "discontinuous"  # the tag of a problem whose data are meant to jump
_CORNER = 0.02  # share of a boundary that may be a corner between two restrictions
_AGREEMENT = 1e-8  # of data, relative to their size: far above roundoff
_MOST_CONFLICTS = 20  # that are told
_CUT_OFF = 1e-3  # the same, of tails that end where a domain was cut off, or of rounded numbers


def condition_findings(problem: Problem) -> list[Finding]:
    """Return what is wrong with the conditions."""
    return [
        *_counts(problem),
        *_one_sided(problem),
        *_gaps(problem),
        *_bare_parts(problem),
        *_floating(problem),
        *_conflicts(problem),
    ]


def _counts(problem: Problem) -> list[Finding]:
    """Compare the number of conditions along each coordinate with the order of its derivatives."""
    findings = []
    for axis in _box_axes(problem):
        coordinate = problem.coordinates[axis]
        for field in problem.field_names:
            order, given = order_of(problem, field, axis), conditions_along(problem, axis, field)
            if given >= order or _is_shared(problem, field, axis):
                continue
            message = f"{field} has derivatives of order {order} in {coordinate.name}; there are {given} conditions"
            bare = _bare_faces(problem, axis, field)
            level: Level = "error" if len(problem.fields) == 1 else "warning"
            findings.append(Finding(level, "conditions", message, f"add conditions at {' or '.join(bare)}"))
    return findings


def _is_shared(problem: Problem, field: str, axis: int) -> bool:
    """Whether other fields' conditions may hold this one, a system of first order along the axis (a pressure)."""
    others = [name for name in problem.field_names if name != field]
    is_time = axis == problem.time_axis
    return (
        order_of(problem, field, axis) == 1
        and not is_time
        and any(conditions_along(problem, axis, name) for name in others)
    )


def _bare_faces(problem: Problem, axis: int, field: str) -> list[str]:
    """Return the faces without a condition on the field; both (of time: the first) where there is none bare."""
    coordinate = problem.coordinates[axis]
    sides = ("lower",) if axis == problem.time_axis else ("lower", "upper")
    bare = [side for side in sides if not _on_side(problem, axis, side, field)]
    return [f"{coordinate.name} = {coordinate.interval[side == 'upper']}" for side in bare or sides]


def _on_side(problem: Problem, axis: int, side: str, field: str) -> list[Condition]:
    return [
        condition
        for condition in problem.conditions
        if isinstance(condition.face, Face)
        and (condition.face.axis, condition.face.side) == (axis, side)
        and any(partial.field == field for partial in condition.residual.partials)
    ]


def _one_sided(problem: Problem) -> list[Finding]:
    """Return the bare sides of space whose opposite has all conditions, where there is more than one coordinate."""
    findings = []
    for axis in _box_axes(problem) if len(problem.coordinates) > 1 else []:
        for field in problem.field_names:
            counts = [len(_on_side(problem, axis, side, field)) for side in ("lower", "upper")]
            if axis != problem.time_axis and order_of(problem, field, axis) >= 2 and 0 in counts and sum(counts) >= 2:
                (bare,) = _bare_faces(problem, axis, field)
                message = f"all {sum(counts)} conditions on {field} in {bare.split(' ')[0]} stand on one side"
                findings.append(Finding("warning", "conditions", message, f"move one of them to {bare}"))
    return findings


def _gaps(problem: Problem) -> list[Finding]:
    """Return the faces of which conditions cover a part only."""
    findings = []
    for face, share in uncovered_shares(problem).items():
        if share > _CORNER:
            place = f"{problem.coordinate_names[face.axis]} = {face.value}"
            level: Level = "error" if len(problem.fields) == 1 else "warning"
            message = f"{share:.0%} of the face {place} has no condition"
            findings.append(Finding(level, "conditions", message, f'add a condition with where = "{place} and ..."'))
    return findings


def _bare_parts(problem: Problem) -> list[Finding]:
    """Return the parts of a domain's boundary that no condition covers."""
    if problem.domain is None:
        return []
    given = [c for c in problem.conditions if isinstance(c.face, Part)]
    findings = []
    for part in problem.domain.parts():
        probe = Place(problem, Condition(part.where, part, problem.equations[0]))
        points = probe.sobol(2**8, seed=7)
        covered = [_covered(condition, points) for condition in given]
        share = 1 - float(np.any(covered, axis=0).mean()) if covered else 1.0
        if share > _CORNER:
            level: Level = "error" if len(problem.fields) == 1 else "warning"
            message = f"{share:.0%} of the boundary {part.where!r} has no condition"
            findings.append(Finding(level, "conditions", message, f'add a condition with where = "{part.where}"'))
    return findings


def _covered(condition: Condition, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return at which points (N, d) of a domain's boundary a condition holds."""
    assert isinstance(condition.face, Part)
    mask = condition.face.holds(points[:, condition.face.domain.axes])
    return mask & condition.holds(points)


def _floating(problem: Problem) -> list[Finding]:
    what = "a constant" if problem.time is None else f"a function of {problem.time}"
    remedy = "nothing: it is compared up to a constant" if problem.time is None else "give it a value on one face"
    return [
        Finding("warning", f"fields.{name}", f"only derivatives of {name} occur: it is known up to {what}", remedy)
        for name in problem.floating_fields
    ]


@dataclass(frozen=True)
class _Datum:
    """A condition that gives the value of one field on a face."""

    condition: Condition
    face: Face
    field: str
    value: Formula

    def at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the value (N,); NaN where the condition does not hold."""
        with np.errstate(all="ignore"):
            (found,) = self.value(numpy_functions(), list(points.T))
        values = np.array(np.broadcast_to(np.asarray(found, dtype=np.float64), len(points)))
        values[~self.condition.holds(points)] = np.nan
        return values


def _conflicts(problem: Problem) -> list[Finding]:
    """Return the pairs of conditions that give one field two values where they meet."""
    data = [datum for condition in problem.conditions if (datum := _datum(problem, condition)) is not None]

    @cache
    def values(index: int, other: Face) -> NDArray[np.float64]:  # of one datum where its face meets another
        return data[index].at(_meeting(problem, data[index].face, other))

    @cache
    def scale(index: int) -> float:
        return float(np.nanmax(np.abs(values(index, data[index].face)), initial=0.0))

    findings: list[Finding] = []
    for i, j in combinations(range(len(data)), 2):
        if len(findings) == _MOST_CONFLICTS:
            break
        if data[i].field != data[j].field or _never_meet(data[i].face, data[j].face):
            continue
        pair = np.stack([values(i, data[j].face), values(j, data[i].face)])
        gap = np.abs(pair[0] - pair[1])
        if np.nanmax(gap, initial=0.0) > 0:
            share = float(np.nanmax(gap)) / max(scale(i), scale(j), float(np.nanmax(np.abs(pair))))
            findings += _conflict(problem, share, _two_values(problem, data[i], data[j], pair))
    return findings


def _never_meet(one: Face, other: Face) -> bool:
    return one.axis == other.axis and one != other


def _meeting(problem: Problem, one: Face, other: Face) -> NDArray[np.float64]:
    """Return points (1024, d) where two faces meet, or of the face if they are one; the same in either order."""
    points = points_on(problem, one)
    points[:, other.axis] = problem.box[0 if other.side == "lower" else 1][other.axis]
    return points


def _conflict(problem: Problem, share: float, sentence: str) -> list[Finding]:
    """Return what is found where two data differ by a share of their size; nothing if that is rounding."""
    if share > _CUT_OFF:
        level: Level = "warning" if DISCONTINUOUS in problem.tags else "error"
        remedy = f'make them agree; or, if the jump is meant, add "{DISCONTINUOUS}" to tags'
        return [Finding(level, "conditions", sentence, remedy)]
    if share > _AGREEMENT:
        remedy = "nothing, if the domain was cut off where the data are small enough; otherwise make them agree"
        return [Finding("warning", "conditions", f"{sentence} ({share:.0e} of their size)", remedy)]
    return []


def _two_values(problem: Problem, one: _Datum, other: _Datum, pair: NDArray[np.float64]) -> str:
    """Return in words where two data, of values (2, N), differ most, and how."""
    worst = int(np.nanargmax(np.abs(pair[0] - pair[1])))
    point = _meeting(problem, one.face, other.face)[worst]
    place = ", ".join(f"{name} = {x:.3g}" for name, x in zip(problem.coordinate_names, point, strict=True))
    values = [f"{value:.4g} by {d.condition.name!r}" for value, d in zip(pair[:, worst], (one, other), strict=True)]
    return f"{one.field} has two values at {place}: {values[0]}, {values[1]}"


def _datum(problem: Problem, condition: Condition) -> _Datum | None:
    residual = condition.residual
    if not isinstance(condition.face, Face) or len(residual.partials) != 1 or not residual.is_linear:
        return None
    (partial,) = residual.partials
    if partial.order:
        return None
    unknown = residual.placeholders[partial]
    value = -residual.placed.xreplace({unknown: sympy.S.Zero}) / sympy.diff(residual.placed, unknown)
    return _Datum(condition, condition.face, partial.field, Formula([value], problem.symbols))


def _box_axes(problem: Problem) -> list[int]:
    """Return the coordinates that end at faces of the box."""
    curved = () if problem.domain is None else problem.domain.axes
    return [axis for axis, x in enumerate(problem.coordinates) if not x.periodic and axis not in curved]
