"""What is built into a field: data on faces and parts of the boundary, and the form that meets them."""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from pinnsolve.problems import Condition, Face


@dataclass(frozen=True)
class FaceData:
    """One built-in datum: the value (order 0) or the slope along the axis (order 1) on a face, or a value on a part."""

    condition: Condition
    order: int
    data: sympy.Expr

    @property
    def face(self) -> Face:
        """The face of the box."""
        assert isinstance(self.condition.face, Face)
        return self.condition.face


@dataclass(frozen=True)
class HardConstraint:
    """The form u = lift + distance · N of one field.

    Attributes:
        lift: g, meets the built-in conditions.
        distance: D, zero (with as many derivatives as there are data) where g meets conditions.
    """

    lift: sympy.Expr = sympy.S.Zero
    distance: sympy.Expr = sympy.S.One


FREE = HardConstraint()  # nothing is built in
