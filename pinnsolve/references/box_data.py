"""How closely series on a box represent the data of a problem: its sources, its coefficients, and its conditions.

What collocation points do not see is not in the solution, and two series that both miss a narrow load agree on an
answer without it. So series begin where they represent the data, which takes no solving to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import sympy
from numpy.typing import NDArray

from pinnsolve.problems import Condition, Face, Problem, Residual
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.references.bases import Basis, basis_of

Array = NDArray[np.float64]

SEEN = 1e-6  # of the data's root mean square: what series leave out at most where they are said to see them
_NEARLY = 10.0  # times what the longest series miss
_LARGER_PART = 0.5
_PLACES = {1: 2001, 2: 301, 3: 41}  # along each coordinate: what is narrower than their distance is not seen


class BoxData:
    """What equations and conditions on a box read of the coordinates alone.

    For a residual F(x, u, u_x, …): F and its derivatives by u, u_x, … where all of these are zero.
    """

    def __init__(self, problem: Problem) -> None:
        self.coordinates, self._symbols = problem.coordinates, problem.symbols
        parts = {part for equation in problem.equations for part in _parts(equation)}
        parts |= {part for condition in problem.conditions for part in _parts_on_face(problem, condition)}
        self._expressions = sorted(parts, key=str)

    def missed(self, bases: Sequence[Basis]) -> Array:
        """Return for each axis what share of the data's size series in these functions leave out at most, (d,)."""
        return np.array([self.missed_along(axis, basis) for axis, basis in enumerate(bases)])

    def missed_along(self, axis: int, basis: Basis) -> float:
        """Return what interpolation along one axis leaves out of any data, relative to their root mean square."""
        nodes, places = basis.nodes(basis.size), self._axes[axis]
        at_nodes, at_places = basis.matrix(nodes, 0), basis.matrix(places, 0)
        # nodes are those at which the functions are orthogonal
        series = at_nodes.T / (at_nodes**2).sum(axis=0)[:, None]
        largest = 0.0
        for formula, truth in self._sampled[axis]:
            samples = _on_grid(formula, [*self._axes[:axis], nodes, *self._axes[axis + 1 :]])
            found = np.moveaxis(np.tensordot(at_places @ series, samples, axes=(1, axis)), 0, axis)
            missed = float(np.linalg.norm(found - truth) / np.linalg.norm(truth))
            largest = max(largest, missed) if np.isfinite(missed) else largest
        return largest

    def first_size(self, axis: int, first: int, most: int, growth: float) -> int:
        """Return the first size first, first·growth, … up to most at which series along an axis see the data.

        Of data too rough for that, the first that sees nearly as much as the longest; more than most where the longest
        series miss the larger part.
        """
        sizes, missed = [first], [self.missed_along(axis, basis_of(self.coordinates[axis], first))]
        while missed[-1] > SEEN and (size := int(np.ceil(growth * sizes[-1]))) <= most:
            sizes.append(size)
            missed.append(self.missed_along(axis, basis_of(self.coordinates[axis], size)))
        if missed[-1] > _LARGER_PART:
            return most + 1
        return next(size for size, left in zip(sizes, missed, strict=True) if left <= max(SEEN, _NEARLY * missed[-1]))

    @cached_property
    def _axes(self) -> list[Array]:
        count = _PLACES[len(self.coordinates)]
        return [np.linspace(c.lower, c.upper, count) for c in self.coordinates]

    @cached_property
    def _sampled(self) -> list[list[tuple[Formula, Array]]]:
        """For each axis, the data that depend on it, with their values on the grid of all axes; finite ones only."""
        formulas = [(each, Formula([each], self._symbols)) for each in self._expressions]
        sampled = [(each, formula, _on_grid(formula, self._axes)) for each, formula in formulas]
        usable = [row for row in sampled if np.isfinite(row[2]).all() and row[2].any()]
        return [
            [(formula, values) for each, formula, values in usable if symbol in each.free_symbols]
            for symbol in self._symbols
        ]


def _parts(residual: Residual) -> set[sympy.Expr]:
    """Return a residual and its slopes where fields and derivatives are zero, as far as they depend on coordinates."""
    readings = list(residual.placeholders.values())
    at_zero = dict.fromkeys(readings, sympy.S.Zero)
    whole = [residual.placed, *(sympy.diff(residual.placed, reading) for reading in readings)]
    parts = {part.xreplace(at_zero) for part in whole}
    return {part for part in parts if part.free_symbols and not part.has(sympy.zoo, sympy.nan, sympy.oo)}


def _parts_on_face(problem: Problem, condition: Condition) -> set[sympy.Expr]:
    """Return those of a condition on its face; of one that holds on a part only, nothing is known elsewhere."""
    face = condition.face
    if not isinstance(face, Face) or condition.restrictions:
        return set()
    place = {problem.symbols[face.axis]: problem.coordinates[face.axis].interval[face.side == "upper"]}
    return {part.xreplace(place) for part in _parts(condition.residual)}


def _on_grid(formula: Formula, axes: Sequence[Array]) -> Array:
    grid = np.meshgrid(*axes, indexing="ij")
    with np.errstate(all="ignore"):
        (values,) = formula(numpy_functions(), grid)
    return np.broadcast_to(np.asarray(values, dtype=np.float64), grid[0].shape)
