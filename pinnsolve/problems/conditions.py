"""Conditions: equations on a face of the box, on a part of one, or on a part of a curved boundary."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import sympy
from numpy.typing import NDArray

from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.problems.geometry.domain import Part
from pinnsolve.problems.residuals import Residual

Side = Literal["lower", "upper"]


@dataclass(frozen=True)
class Face:
    """The face of a box where one coordinate has its least or greatest value."""

    axis: int
    side: Side
    value: sympy.Expr

    @property
    def single_sides(self) -> list[Face]:
        """The face itself: it has one normal."""
        return [self]

    @property
    def sign(self) -> int:
        """The component of the outward normal along the axis: -1 on a lower face, +1 on an upper one."""
        return -1 if self.side == "lower" else 1


@dataclass(frozen=True)
class Inequality:
    """A restriction of a face: margin > 0."""

    margin: sympy.Expr
    coordinates: tuple[sympy.Symbol, ...]

    def holds(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which of the points (N, d) satisfy the inequality."""
        (value,) = self._formula(numpy_functions(), list(points.T))
        return np.broadcast_to(value, len(points)) > 0

    @cached_property
    def _formula(self) -> Formula:
        return Formula([self.margin], self.coordinates)


@dataclass(frozen=True)
class Condition:
    """An equation that holds on one face of the domain (or on a part of it), or on a part of its curved boundary."""

    where: str
    face: Face | Part
    residual: Residual
    restrictions: tuple[Inequality, ...] = ()

    @property
    def name(self) -> str:
        """The name under which residuals are reported."""
        return self.residual.name

    def holds(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return at which of the points (N, d) of its face the condition holds: on the whole face, or on a part."""
        held = np.ones(len(points), dtype=bool)
        for restriction in self.restrictions:
            held &= restriction.holds(points)
        return held
