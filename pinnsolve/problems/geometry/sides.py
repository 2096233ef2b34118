"""The sides of shapes: flat ones and round ones, with points spread evenly over them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy
from numpy.typing import NDArray
from scipy.special import ellipe, ndtri

Points = NDArray[np.float64]
_TABLE = 2**13  # angles of an ellipse's arc length, interpolated linearly: 7e-8 of the circumference, h²/8


@dataclass(frozen=True)
class Flat:
    """The side origin + Σ s_k span_k with 0 ≤ s_k ≤ 1: a point, a segment, a parallelogram.

    Attributes:
        origin: one corner, (d,).
        spans: d - 1 edges from it, perpendicular to each other.
        outward: the unit normal away from the shape, exact.
    """

    origin: tuple[float, ...]
    spans: tuple[tuple[float, ...], ...]
    outward: tuple[sympy.Expr, ...]

    @property
    def dimension(self) -> int:
        """How many numbers in [0, 1] place a point."""
        return len(self.spans)

    @cached_property
    def measure(self) -> float:
        """The length or area; 1 for a point."""
        return math.prod(float(np.linalg.norm(span)) for span in self.spans)

    def points(self, unit: Points) -> Points:
        """Return points (N, d) at positions (N, at least dimension) in the unit cube."""
        spans = np.array(self.spans).reshape(self.dimension, len(self.origin))
        return np.array(self.origin) + unit[:, : self.dimension] @ spans


@dataclass(frozen=True)
class Round:
    """A whole ellipse, circle, or sphere.

    Attributes:
        centre: (d,).
        radii: half axes (d,); all equal beyond two dimensions.
        angle: from the first coordinate to the first half axis of an ellipse, in radians.
        outward: the unit normal away from the shape at the points of the side, exact.
    """

    centre: tuple[float, ...]
    radii: tuple[float, ...]
    outward: tuple[sympy.Expr, ...]
    angle: float = 0.0

    @property
    def dimension(self) -> int:
        """How many numbers in [0, 1] place a point."""
        return 1 if len(self.centre) == 2 else len(self.centre)

    @cached_property
    def measure(self) -> float:
        """The circumference, 4a E(1 - b²/a²), or the area, 2 π^(d/2) r^(d-1) / Γ(d/2)."""
        size = len(self.centre)
        if size == 2:
            short, long = sorted(self.radii)
            return 4 * long * float(ellipe(1 - (short / long) ** 2))
        return 2 * math.pi ** (size / 2) * self.radii[0] ** (size - 1) / math.gamma(size / 2)

    def points(self, unit: Points) -> Points:
        """Return points (N, d) at positions (N, at least dimension) in the unit cube.

        Beyond two dimensions x/|x| of normal numbers x is uniform on the sphere (Muller 1959, Commun. ACM 2, 19-20).
        """
        size = len(self.centre)
        if size > 2:
            normal = ndtri(np.clip(unit[:, :size], 1e-12, 1 - 1e-12))
            return np.array(self.centre) + self.radii[0] * normal / np.linalg.norm(normal, axis=1, keepdims=True)
        theta = np.interp(unit[:, 0], *self._arc_lengths)
        local = np.stack([np.cos(theta), np.sin(theta)], axis=1) * np.array(self.radii)
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return np.array(self.centre) + local @ np.array([[cos, sin], [-sin, cos]])

    @cached_property
    def _arc_lengths(self) -> tuple[Points, Points]:
        """The share of the circumference up to each of many angles, and the angles."""
        theta = np.linspace(0, 2 * np.pi, _TABLE + 1)
        speed = np.hypot(self.radii[0] * np.sin(theta), self.radii[1] * np.cos(theta))
        length = np.concatenate([[0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1]))])
        return length / length[-1], theta


Side = Flat | Round
