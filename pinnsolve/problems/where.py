"""Where a condition holds: the line `where` of a problem file, read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import sympy

from pinnsolve.errors import ProblemError, unknown_name
from pinnsolve.problems.expressions import Scope
from pinnsolve.problems.formulas import constant_value
from pinnsolve.problems.geometry.domain import Domain, Part
from pinnsolve.problems.geometry.reading import domain_as_box, located
from pinnsolve.problems.problem import Coordinate, Face, Inequality, Side

Place = Face | Part

_SIDES: tuple[Side, Side] = ("lower", "upper")
_COMPARISON = re.compile(r"(<=|>=|<|>)")


@dataclass(frozen=True)
class PlaceReader:
    """Reads where conditions hold.

    Attributes:
        coordinates: with the intervals that give the faces.
        time: the name of the time coordinate.
        constants: by name.
        domain: what the geometry describes, if there is one.
    """

    coordinates: tuple[Coordinate, ...]
    time: str | None
    constants: Mapping[str, sympy.Expr]
    domain: Domain | None

    def places(self, text: str, key: str) -> list[tuple[Place, tuple[Inequality, ...]]]:
        """Return the faces and parts that `where` names, each with its restrictions."""
        head, *rest = [part.strip() for part in re.split(r"\band\b", text)]
        restrictions = tuple(located(key, self._inequality, part) for part in rest)
        if head.startswith("on "):
            places = located(key, self._named_part, head.removeprefix("on ").strip())
        elif head != "boundary":
            places = [located(key, self._face, head)]
        elif self.domain is not None and not self._is_box:
            places = list(self.domain.parts())
        else:
            places = self._faces(key)
        return [(place, restrictions) for place in places]

    def _faces(self, key: str) -> list[Place]:
        """Return the faces of the spatial box."""
        faces: list[Place] = [
            Face(axis, side, coordinate.interval[index])
            for axis, coordinate in enumerate(self.coordinates)
            if coordinate.name != self.time and not coordinate.periodic
            for index, side in enumerate(_SIDES)
        ]
        if not faces:
            raise ProblemError("this problem has no spatial boundary", key=key, remedy='write a face, e.g. "t = 0"')
        return faces

    def _named_part(self, name: str) -> list[Place]:
        """Return the parts of the boundary that belong to a named region."""
        if self.domain is None:
            raise ProblemError(f"'on {name}' needs a geometry", remedy='add [geometry], or write a face: "x = 0"')
        if name not in self.domain.names:
            raise ProblemError(unknown_name("region", name, self.domain.names))
        if self._is_box:
            parts = self._faces("") if self.domain.names[name] == self.domain.region else []
        else:
            parts = list(self.domain.parts(self.domain.names[name]))
        if not parts:
            raise ProblemError(f"{name!r} does not touch the boundary of the domain")
        return parts

    def _face(self, text: str) -> Place:
        names = [coordinate.name for coordinate in self.coordinates]
        sides = [side.strip() for side in text.split("=")]
        if len(sides) != 2:
            named = "" if self.domain is None else f', "on {next(iter(self.domain.names))}"'
            raise ProblemError(
                f"{text!r} is not a place", remedy=f'write a face such as "{names[0]} = 0"{named}, or "boundary"'
            )
        if sides[0] not in names:
            raise ProblemError(unknown_name("coordinate", sides[0], names))
        axis = names.index(sides[0])
        coordinate, value = self.coordinates[axis], Scope(constants=self.constants).number(sides[1])
        if coordinate.periodic:
            raise ProblemError(f"{coordinate.name!r} is periodic and has no boundary", remedy="remove this condition")
        if self.domain is not None and not self._is_box and coordinate.name != self.time:
            part = self.domain.plane(self.domain.axes.index(axis), constant_value(value))
            if part is None:
                raise ProblemError(f"no flat side of the domain lies at {text!r}", remedy='write "on NAME"')
            return part
        for index, side in enumerate(_SIDES):
            if math.isclose(
                constant_value(value), constant_value(coordinate.interval[index]), abs_tol=1e-12 * coordinate.length
            ):
                return Face(axis, side, coordinate.interval[index])
        ends = " or ".join(f'"{coordinate.name} = {end}"' for end in coordinate.interval)
        raise ProblemError(f"{text!r} is not a face of the domain", remedy=f"write {ends}")

    def _inequality(self, text: str) -> Inequality:
        parts = _COMPARISON.split(text)
        if len(parts) < 3:
            raise ProblemError(f"{text!r} is not a restriction", remedy='write "x < 0.5" or "0 < x < 1"')
        scope = Scope(coordinates={c.name: c.symbol for c in self.coordinates}, constants=self.constants)
        values = [scope.expression(part) for part in parts[::2]]
        margins = [
            right - left if sign[0] == "<" else left - right
            for (left, right), sign in zip(pairwise(values), parts[1::2], strict=True)
        ]
        margin = margins[0] if len(margins) == 1 else sympy.Min(*margins, evaluate=False)
        return Inequality(margin, tuple(coordinate.symbol for coordinate in self.coordinates))

    @property
    def _is_box(self) -> bool:
        """Whether the geometry, if there is one, is the box of the coordinates."""
        return self.domain is not None and domain_as_box(self.domain) is not None


def outward_normal(place: Place, dimension: int) -> tuple[sympy.Expr, ...] | None:
    """Return the outward normal in all coordinates, None for a part that has several."""
    normal = [sympy.S.Zero] * dimension
    if isinstance(place, Face):
        normal[place.axis] = sympy.Integer(place.sign)
        return tuple(normal)
    if len(place.pieces) > 1:
        return None
    for axis, component in zip(place.domain.axes, place.outward, strict=True):
        normal[axis] = component
    return tuple(normal)
