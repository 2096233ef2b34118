"""Which values on parts of a domain's boundary can be built in, and the form that meets them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sympy

from pinnsolve.networks.distance import Boundary, interpolated, joined, wall_of
from pinnsolve.networks.forms import FREE, FaceData, HardConstraint
from pinnsolve.problems import Problem
from pinnsolve.problems.geometry import Domain, Part, Shape
from pinnsolve.problems.geometry.regions import Factor

Sides = dict[tuple[Shape, int], FaceData]
Refused = list[tuple[FaceData, str]]


def boundary_values(
    problem: Problem, data: Sequence[FaceData], singular: bool = False
) -> tuple[HardConstraint, list[FaceData], Refused]:
    """Return the form u = lift + distance · N that meets values on parts of the boundary.

    Args:
        problem: on a domain that is no box.
        data: values on whole parts of its boundary.
        singular: whether distance functions that are singular at corners of a factor may be used.

    Returns:
        The form, the data that it meets, and those that it does not meet with the reason.
    """
    domain, kept = problem.domain, list(data)
    refused: Refused = []
    if domain is None:
        return FREE, [], []
    for datum in data:
        if datum.data.free_symbols and datum.data in problem.reference.exact.values():
            refused.append((datum, "its data are the reference; built in, they would be the answer"))
            kept.remove(datum)
    while kept:
        reason, losers = _obstacle(domain, kept, singular)
        if not losers:
            return _form(domain, kept), kept, refused
        refused += [(datum, reason) for datum in kept if datum in losers]
        kept = [datum for datum in kept if datum not in losers]
    return FREE, [], refused


def _obstacle(domain: Domain, data: Sequence[FaceData], singular: bool) -> tuple[str, list[FaceData]]:
    """Return the first reason why these data cannot be built in, and those to leave out; none if all can."""
    sides, twice = _by_side(data)
    if twice:
        return "another condition gives another value on the same side", twice
    walls = _walled(domain, sides)
    covered = {side for factor in walls for side in factor.sides}
    bare = [datum for datum in data if any(side not in covered for side in _sides_of(datum))]
    if bare:
        return "the other sides that the shape or union has in the domain do not have this value too", bare
    cornered = [] if singular else [datum for factor in walls for datum in _cornered(factor, sides)]
    if cornered:
        return "its distance function is singular at a re-entrant corner; --constraints hard builds it in", cornered
    boundary = _boundary(domain, walls, sides)
    for i, j in boundary.cosines:
        if boundary.walls[i].data != boundary.walls[j].data:
            later = _givers(walls[j], sides)
            return "it meets a side with another value, and no interpolant is smooth at the corner", later
    if boundary.vanishes_inside(boundary.distance(range(len(walls)))):
        return "the distance function vanishes inside, where shapes of a union only touch: let them overlap", list(data)
    return "", []


def _form(domain: Domain, data: Sequence[FaceData]) -> HardConstraint:
    sides, _ = _by_side(data)
    boundary = _boundary(domain, _walled(domain, sides), sides)
    groups = boundary.groups()
    distances = [boundary.distance(chosen) for chosen in groups.values()]
    whole = distances[0]
    for other in distances[1:]:
        whole = joined(whole, other)
    return HardConstraint(interpolated(list(groups), distances), boundary.scaled(whole))


def _boundary(domain: Domain, factors: Iterable[Factor], sides: Sides) -> Boundary:
    return Boundary(domain, tuple(wall_of(factor, _value(factor, sides), domain) for factor in factors))


def _value(factor: Factor, sides: Sides) -> sympy.Expr:
    return next(sides[side].data for side in factor.sides if side in sides)


def _cornered(factor: Factor, sides: Sides) -> list[FaceData]:
    """Return the givers of a factor of several sides: second derivatives of its level grow as 1/r at their corners.

    A network has to undo that: on an L-shape the error was 2e-2 with the value as a residual, 2e-1 with it built in.
    """
    return _givers(factor, sides) if len(factor.sides) > 1 else []


def _givers(factor: Factor, sides: Sides) -> list[FaceData]:
    return list(dict.fromkeys(sides[side] for side in factor.sides if side in sides))


def _by_side(data: Sequence[FaceData]) -> tuple[Sides, list[FaceData]]:
    """Return the datum of each side, and those that give a side another value than an earlier one."""
    sides: Sides = {}
    twice = []
    for datum in data:
        known = [sides.setdefault(side, datum) for side in _sides_of(datum)]
        if any(other.data != datum.data for other in known):
            twice.append(datum)
    return sides, twice


def _sides_of(datum: FaceData) -> list[tuple[Shape, int]]:
    assert isinstance(datum.condition.face, Part)
    return [(piece.shape, piece.index) for piece in datum.condition.face.pieces]


def _walled(domain: Domain, sides: Sides) -> list[Factor]:
    """Return the factors of the domain on all of whose sides one value is given."""
    bounding = {(piece.shape, piece.index) for piece in domain.pieces}
    found = []
    for factor in domain.region.factors():
        own = factor.sides & bounding
        values = {sides[side].data if side in sides else None for side in own}
        if own and len(values) == 1 and None not in values:
            found.append(factor)
    return found
