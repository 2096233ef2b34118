r"""Functions in which solutions are smooth where the coordinates are not enough: at corners and around holes.

At a corner of angle ω a solution of a second-order elliptic equation behaves like powers of ζ = z^α, z = x + iy from
the corner, α = π/ω (half of that where a value on one side meets a slope on the other, as they may on a straight side,
ω = π). Where a multiple m = kα is a whole number, z^m log z joins them. In x, y, and the real and imaginary parts of
these the solution is smooth.

Around a hole a solution is a smooth function of x, y (what comes from outside it) and of the inverse 1/w and log |w|
(what comes from within it), where w maps the outside of the hole to that of the unit disk: w = z/R for a disk,

    w = (z + z √(1 - f²/z²)) / (a + b)               for an ellipse of half axes a > b, f² = a² - b²,

and x/r², 1/r^(d-2), r = |x|/R, beyond two dimensions (Kelvin's inversion).

Source: Grisvard (1985), Elliptic Problems in Nonsmooth Domains, chapters 4-5; Wasow (1957), Duke Math. J. 24, 47-56
(logarithms at corners); Vekua (1967), New Methods for Solving Elliptic Equations (domains with holes).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import sympy

from pinnsolve.networks.corner_layers import corner_layers
from pinnsolve.problems import Condition, Problem
from pinnsolve.problems.changes import condition_changes, given_kinds
from pinnsolve.problems.geometry import Domain, Part, Round, Shape
from pinnsolve.problems.geometry.corners import Corner
from pinnsolve.problems.geometry.domain import Piece

MOST = 8  # singularities that a network is given the functions of, the strongest first: each costs lm some inputs
SMOOTH = 4.0  # exponents from here on need no functions of their own: u has three continuous derivatives
_TINY = sympy.Float("1e-24")  # a square distance beyond rounding; changes √z by less than 1e-12 where |z| > 1e-8
_RESONANT = 3  # multiples of α that are looked at, and the highest power that comes with a logarithm
_LOOKS = 2**10  # points along the cut of a root that tell whether it meets the domain
_STRAIGHT = 1e-3  # a corner that differs from π by less is none


@dataclass(frozen=True)
class Singularity:
    """A corner or a hole, and the functions in which a solution near it is smooth.

    Attributes:
        exponent: the lowest power of the distance from a corner that is not smooth; 1 for a hole.
        functions: of the coordinates.
        damping: zero at a corner as r^(2 - 2 exponent) where that exponent is below 1, else 1.
    """

    exponent: float
    functions: tuple[sympy.Expr, ...]
    damping: sympy.Expr = sympy.S.One


def damping(found: Sequence[Singularity]) -> sympy.Expr:
    r"""Return what residuals of second order are multiplied with, so that they are no larger at corners than elsewhere.

    A smooth function of ζ = z^α, α < 1, has Δ_z = |ζ'|² Δ_ζ with |ζ'|² ~ r^(2α - 2); without that factor it is
    the residual in the plane of ζ, where the corner is straight.
    """
    return math.prod((each.damping for each in found), start=sympy.S.One)


@dataclass(frozen=True)
class Complex:
    """A complex number in two real expressions, re + i im."""

    re: sympy.Expr
    im: sympy.Expr

    @property
    def square(self) -> sympy.Expr:
        """|z|²."""
        return self.re**2 + self.im**2

    @property
    def logarithm(self) -> Complex:
        """log |z| + i arg z, |arg z| < π; the argument is 2 atan(y / (x + |z|)), smooth off the negative axis.

        Both are numbers where z is zero, so that its powers are zero there.
        """
        square = self.square + _TINY
        return Complex(sympy.log(square) / 2, 2 * sympy.atan(self.im / (self.re + sympy.sqrt(square))))

    def __mul__(self, other: Complex) -> Complex:
        return Complex(self.re * other.re - self.im * other.im, self.re * other.im + self.im * other.re)

    def __truediv__(self, other: Complex) -> Complex:
        product, size = self * Complex(other.re, -other.im), other.square
        return Complex(product.re / size, product.im / size)

    def __pow__(self, exponent: float) -> Complex:
        log = self.logarithm
        size, angle = self.square ** sympy.Float(exponent / 2), exponent * log.im
        return Complex(size * sympy.cos(angle), size * sympy.sin(angle))


def singularities(problem: Problem) -> list[Singularity]:
    """Return the corners and holes of a problem's domain, strongest first; of a box, where values meet slopes.

    Trained layers find their own way around holes and into right angles (8e-7 on Poisson-Boltzmann's equation with
    four holes), at less cost with fewer inputs: for nonlinear problems only re-entrant corners count.
    """
    domain = problem.domain
    if domain is None:
        return [*_on_sides(problem), *_at_the_start(problem)][:MOST]
    if len(domain.axes) < 2:
        return []
    found = [_hole(shape, domain) for shape in _holes(domain)]
    if problem.order <= 2:
        corners = _rough_corners(problem, domain)
        found += [_singularity(_from_corner(corner, domain), exponent) for corner, exponent in corners]
    needed = [each for each in found if problem.is_linear or each.exponent < 1]
    return sorted(needed, key=lambda each: each.exponent)[:MOST]


def _on_sides(problem: Problem) -> list[Singularity]:
    """Return what is singular on the sides of a rectangle: right angles are not, where a value meets a slope is."""
    if problem.order != 2:
        return []
    found, axes = [], problem.space_axes
    for change in condition_changes(problem)[:MOST]:
        size = max(problem.coordinates[axis].length for axis in axes)
        x, y = (sympy.Float(component) for component in change.inward)
        offset = [(problem.symbols[axis] - p) / size for axis, p in zip(axes, change.place, strict=True)]
        found.append(_singularity(Complex(*offset) * Complex(x, -y), 0.5))
    return found


def _at_the_start(problem: Problem) -> list[Singularity]:
    """Return what is singular at corners of space and time, beside the layers that are built in."""
    if not problem.is_linear:
        return []
    layers = (layer for each in problem.fields for layer in corner_layers(problem, each))
    return [Singularity(2.0, layer.functions) for layer in layers]


def _rough_corners(problem: Problem, domain: Domain) -> list[tuple[Corner, float]]:
    """Return the corners at which solutions are not smooth, with the exponent α."""
    found = []
    for corner in domain.corners:
        first, second = (_given(piece, problem.conditions) for piece in corner.pieces)
        exponent = math.pi / corner.angle / (1 if first == second else 2)
        straight = first == second and abs(corner.angle - math.pi) < _STRAIGHT
        if not straight and exponent < SMOOTH:
            found.append((corner, exponent))
    return found


def _given(piece: Piece, conditions: Sequence[Condition]) -> frozenset[tuple[str, bool]]:
    """Return of which fields values and of which slopes are given on a side."""
    own = [each for each in conditions if isinstance(each.face, Part) and piece in each.face.pieces]
    return frozenset().union(*map(given_kinds, own))


def _singularity(z: Complex, exponent: float) -> Singularity:
    """Return that of a corner, where z is zero."""
    near = Fraction(exponent).limit_denominator(_RESONANT)
    whole = near.numerator if abs(near - exponent) < 1e-6 else 0
    powers = [] if near.denominator == 1 and whole else [z**exponent]
    if 0 < whole <= _RESONANT:
        powers.append(z**whole * z.logarithm)
    functions = tuple(part for power in powers for part in (power.re, power.im))
    if exponent >= 1:
        return Singularity(exponent, functions)
    return Singularity(exponent, functions, (z.square / (1 + z.square)) ** sympy.Float(1 - exponent))


def _from_corner(corner: Corner, domain: Domain) -> Complex:
    """Return z, zero at a corner and positive along its bisector; its negative axis does not meet the domain.

    That axis leads from the corner away from the domain. Where it would enter the domain again it ends before, at c:
    (z - corner) / (z - c) is negative between the two alone.
    """
    place, bisector = np.array(corner.place), np.array(corner.bisector)
    lengths = domain.size * np.geomspace(1e-6, 2, _LOOKS)[:, None]
    meets = domain.region.depth(place - lengths * bisector) >= 0
    offset = _offset(domain, place)
    if meets.any():
        return offset / _offset(domain, place - 0.5 * lengths[int(np.argmax(meets))] * bisector)
    x, y = (float(component) / domain.size for component in bisector)
    return offset * Complex(sympy.Float(x), sympy.Float(-y))  # |z| ≤ √2 in the domain


def _holes(domain: Domain) -> list[Shape]:
    """Return the shapes that are taken out of a domain, and whose centres do not lie in it."""
    taken = dict.fromkeys(piece.shape for piece in domain.pieces if not piece.within)
    return [shape for shape in taken if domain.region.depth(_centre(shape)[None])[0] < 0]


def _hole(shape: Shape, domain: Domain) -> Singularity:
    half_axes, angle = _half_axes(shape)
    offsets = [symbol - float(c) for symbol, c in zip(domain.symbols, _centre(shape), strict=True)]
    if len(offsets) > 2:
        radius = min(half_axes)
        size = sum((offset**2 for offset in offsets), sympy.S.Zero) / radius**2
        inverses = [offset / radius / size for offset in offsets]
        return Singularity(1.0, (*inverses, size ** sympy.Float(1 - len(offsets) / 2)))
    z = Complex(offsets[0], offsets[1]) * Complex(sympy.Float(math.cos(angle)), sympy.Float(-math.sin(angle)))
    inverse = Complex(sympy.S.One, sympy.S.Zero) / _outside(z, *half_axes)
    return Singularity(1.0, (inverse.re, inverse.im, sympy.log(inverse.square) / 2))


def _outside(z: Complex, a: float, b: float) -> Complex:
    """Return w, which maps the outside of an ellipse of half axes a and b to that of the unit disk."""
    one = Complex(sympy.S.One, sympy.S.Zero)
    if math.isclose(a, b):
        return Complex(z.re / a, z.im / a)
    focus = one / (z * z)
    root = Complex(1 - (a**2 - b**2) * focus.re, -(a**2 - b**2) * focus.im) ** 0.5
    w = z * Complex(1 + root.re, root.im)
    return Complex(w.re / (a + b), w.im / (a + b))


def _centre(shape: Shape) -> np.ndarray:
    if shape.vertices:
        return np.mean(shape.vertices, axis=0)
    return np.array([0.5 * (float(low) + float(high)) for low, high in shape.bounds])


def _half_axes(shape: Shape) -> tuple[tuple[float, ...], float]:
    """Return the half axes of a round hole and its angle; of others, the least half width in every direction."""
    (side, *others) = shape.sides
    if isinstance(side, Round) and not others:
        return side.radii, side.angle
    least = min(0.5 * (float(high) - float(low)) for low, high in shape.bounds)
    return (least,) * len(shape.bounds), 0.0


def _offset(domain: Domain, place: np.ndarray) -> Complex:
    x, y = (symbol - float(p) for symbol, p in zip(domain.symbols, place, strict=True))
    return Complex(x, y)
