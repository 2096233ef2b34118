r"""What leaves the corners of space and time where initial and boundary data of a parabolic problem disagree.

From a corner (a, t₀) of u_t = κ u_xx + ..., y = |x - a|, s = t - t₀, ξ = y / √(4κs), a boundary value that lies J above
the initial value, or an inward slope that lies G above it, sends out

    J erfc ξ        or        -G √(4κs) ierfc ξ,        ierfc ξ = exp(-ξ²)/√π - ξ erfc ξ.

No network is as steep as these are. Both solve the heat equation, and what they leave to the network meets data that
agree at the corner. It is a smooth function of x, t and of both: √s f(ξ) and its like, with weaker corners.

Source: Carslaw, Jaeger (1959), Conduction of Heat in Solids, chapter 2; Flyer, Fornberg (2003), Accurate numerical
resolution of transients in initial-boundary value problems for the heat equation, J. Comput. Phys. 184, 526-539.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy

from pinnsolve.networks.prescribed import prescribed, sampled
from pinnsolve.problems import Condition, Face, Field, Problem
from pinnsolve.problems.known_functions import known_function
from pinnsolve.problems.partials import Partial
from pinnsolve.problems.plane_waves import evolves
from pinnsolve.problems.problem import differentiated

LEAST = 1e-3  # of the initial values' size: a disagreement below it is left to the network
EARLIEST = 1e-22  # share of the time by which s begins above zero, where ξ is to be a number

Place = Mapping[sympy.Expr, sympy.Expr]


@dataclass(frozen=True)
class CornerLayer:
    """One of these layers.

    Attributes:
        distance: y, from the end of the space coordinate.
        length: √(4κs).
        longest: √(4κs) at the end of the time.
        order: 0 where values disagree, 1 where slopes do.
        height: J or G.
    """

    distance: sympy.Expr
    length: sympy.Expr
    longest: float
    order: int
    height: float

    @property
    def expression(self) -> sympy.Expr:
        """The layer."""
        return self.height * self._tail if self.order == 0 else -self.height * self.length * self._integral

    @property
    def functions(self) -> tuple[sympy.Expr, sympy.Expr]:
        """The functions in which what the layer leaves is smooth, of size 1."""
        return self._tail, self.length * self._integral / self.longest

    @property
    def _tail(self) -> sympy.Expr:
        """erfc ξ."""
        return 1 - sympy.erf(self.distance / self.length)

    @property
    def _integral(self) -> sympy.Expr:
        """ierfc ξ."""
        ratio = self.distance / self.length
        return sympy.exp(-(ratio**2)) / sympy.sqrt(sympy.pi) - ratio * self._tail


@dataclass(frozen=True)
class _Since:
    """t - t₀ + a least time, which SymPy would lose in t₀: a profile of a known function.

    Attributes:
        start: t₀.
        least: what it is there.
    """

    start: float
    least: float

    def __call__(self, arguments: Sequence[Any], orders: tuple[int, ...]) -> Any:
        """Return the function, its derivative 1, or zero."""
        (time,), (order,) = arguments, orders
        if order == 0:
            return (time - self.start) + self.least
        return 0.0 * time + (1.0 if order == 1 else 0.0)


def corner_layers(problem: Problem, unknown: Field) -> list[CornerLayer]:
    """Return the layers of one field; none unless the problem is of first order in time, on an interval."""
    if problem.time_axis is None or problem.domain is not None or len(problem.coordinates) != 2:
        return []
    if not evolves(problem) or problem.order != 2 or any(math.isfinite(bound) for bound in unknown.bounds):
        return []
    given = (prescribed(condition, unknown, problem) for condition in problem.conditions)
    initial = [d.data for d in given if d is not None and d.order == 0 and d.condition.face.axis == problem.time_axis]
    return list(_layers(problem, unknown, initial[0])) if len(initial) == 1 else []


def _layers(problem: Problem, unknown: Field, initial: sympy.Expr) -> Iterator[CornerLayer]:
    (time,) = (x for x in problem.coordinates if x.name == problem.time)
    since = known_function("since", _Since(time.lower, EARLIEST * time.length), 1)(time.symbol)
    size = float(np.max(np.abs(sampled([initial], problem))))
    for condition in problem.conditions:
        face = condition.face
        if not isinstance(face, Face) or face.axis == problem.time_axis or condition.restrictions:
            continue
        x = problem.coordinates[face.axis]
        corner = {x.symbol: face.value, time.symbol: time.interval[0]}
        diffusivity = _diffusivity(problem, unknown, face.axis, corner)
        order, jump = _disagreement(problem, condition, unknown, initial, corner)
        if diffusivity is None or not abs(jump) * x.length**order > LEAST * size:
            continue
        inward = 1 if face.side == "lower" else -1
        length, longest = sympy.sqrt(4 * diffusivity * since), math.sqrt(4 * diffusivity * time.length)
        yield CornerLayer(inward * (x.symbol - face.value), length, longest, order, jump * inward**order)


def _diffusivity(problem: Problem, unknown: Field, axis: int, corner: Place) -> float | None:
    """Return κ of a field at a corner; None unless it is a positive number that no unknown changes."""
    rate, curvature = (
        Partial(unknown.name, tuple(order if each == along else 0 for each in range(2)))
        for along, order in ((problem.time_axis, 1), (axis, 2))
    )
    own = [equation for equation in problem.equations if rate in equation.placeholders]
    if len(own) != 1 or curvature not in own[0].placeholders:
        return None
    first, second = (sympy.diff(own[0].placed, own[0].placeholders[partial]) for partial in (rate, curvature))
    ratio = (-second / first).subs(corner)
    return float(ratio) if not ratio.free_symbols and ratio.is_finite and ratio > 0 else None


def _disagreement(
    problem: Problem, condition: Condition, unknown: Field, initial: sympy.Expr, corner: Place
) -> tuple[int, float]:
    """Return the order of the derivative that a condition gives at a corner, and how far it is above the initial one.

    That is NaN where it cannot be said: the condition holds other fields or derivatives. A condition that is not
    linear is so near the initial values.
    """
    residual, axis = condition.residual, condition.face.axis
    along = all(p.field == unknown.name and axis is not None and p.orders[axis] == p.order for p in residual.partials)
    order = max((partial.order for partial in residual.partials), default=0)
    if not residual.partials or not along or order > 1:
        return 0, math.nan
    values = {
        placeholder: differentiated(initial, partial, problem.symbols)
        for partial, placeholder in residual.placeholders.items()
    }
    (highest,) = (placeholder for partial, placeholder in residual.placeholders.items() if partial.order == order)
    missed = residual.placed.xreplace(values).subs(corner)
    slope = sympy.diff(residual.placed, highest).xreplace(values).subs(corner)
    jump = -missed / slope if slope != 0 else sympy.nan
    return order, float(jump) if not jump.free_symbols and jump.is_finite else math.nan
