r"""References on boxes of one to three coordinates: collocation of tensor-product series, solved by Newton.

The unknowns are the coefficients of Chebyshev (or, for periodic coordinates, Fourier) series. Equations are
collocated at Chebyshev points inside the box, conditions at Chebyshev points inside the faces, so that
corners, where data may disagree, are never asked. There are more rows than unknowns, and each Newton
correction is a least-squares solution by QR:

    min ‖W (J δ + F)‖₂,    W = Π (1 - ξ²)^(m/4) / rms norm of the block's rows,    columns of W J scaled to norm 1,

m the equation's order along the coordinate whose ξ runs from -1 to 1: T_k^(m) grows as (1 - ξ²)^(-m/2) towards the
ends, and without the weight a singular corner spoils the whole solution. Scaled columns make the series of u_xx, not
of u, the unknown in effect: rounding grows slowly with the degree. (Boyd 2001, Chebyshev and Fourier Spectral Methods,
ch. 3, 6; Driscoll, Hale 2016, IMA J. Numer. Anal. 36, 108-132.)
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import sympy
from numpy.typing import NDArray

from pinnsolve.problems import Condition, Face, Partial, Problem, Residual
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.problems.wellposedness import is_determined
from pinnsolve.references.bases import Basis, BoxChart, basis_of, contracted, product_matrix
from pinnsolve.references.box_data import BoxData
from pinnsolve.references.gauss_newton import IllPosedError, Minimum, gauss_newton
from pinnsolve.references.reference import Points, ReferenceSolution, unknown
from pinnsolve.references.refinement import Attempt, refined

Array = NDArray[np.float64]

_FIRST_SIZE = {1: 12, 2: 8, 3: 5}
_MOST_UNKNOWNS = {1: 2500, 2: 6500, 3: 4500}
_GROWTH = 1.4
_NEGLIGIBLE = 1e-14  # a tail below it gains nothing from more functions
_STARTS = (0.0, 1.0)
_CONTRADICTION = 0.03  # residual, relative to the terms that make it up
_AMPLIFICATION = 100.0  # of what series leave out, in the residual


class Block:
    """One equation or condition at its points: weighted values, and derivatives by the coefficients."""

    def __init__(
        self, problem: Problem, residual: Residual, points: Points, bases: Sequence[Basis], on_face: bool = False
    ) -> None:
        self.partials = residual.partials
        orders = [
            0 if on_face else max(partial.orders[axis] for partial in self.partials) for axis in range(len(bases))
        ]
        symbols = [*residual.coordinates, *(residual.placeholders[partial] for partial in self.partials)]
        slopes = [sympy.diff(residual.placed, residual.placeholders[partial]) for partial in self.partials]
        self._value, self._slopes = Formula([residual.placed], symbols), Formula(slopes, symbols)
        self._columns, self._count = list(points.T), len(points)
        self._weights = np.prod([b.weights(x, order) for b, x, order in zip(bases, points.T, orders, strict=True)], 0)
        self._fields = [problem.field_names.index(partial.field) for partial in self.partials]
        self._factors = {
            (axis, order): bases[axis].matrix(points[:, axis], order)
            for axis in range(len(bases))
            for order in {partial.orders[axis] for partial in self.partials}
        }

    def residual(self, coefficients: Array) -> Array:
        """Return the weighted residual at the points, (N,)."""
        return self._weights * self._evaluated(self._value, self._readings(coefficients))[0]

    def jacobian(self, coefficients: Array) -> Array:
        """Return the residual's derivative by the coefficients, (N, fields n₁ n₂ …)."""
        size = int(np.prod(coefficients.shape[1:]))
        matrix = np.zeros((self._count, len(coefficients) * size))
        slopes = self._evaluated(self._slopes, self._readings(coefficients))
        for partial, field, slope in zip(self.partials, self._fields, slopes, strict=True):
            part = matrix[:, field * size : (field + 1) * size]
            part += (self._weights * slope)[:, None] * product_matrix(self._of(partial))
        return matrix

    def _of(self, partial: Partial) -> list[Array]:
        return [self._factors[axis, order] for axis, order in enumerate(partial.orders)]

    def _readings(self, coefficients: Array) -> list[Array]:
        return [
            contracted(coefficients[field : field + 1], self._of(partial))[0]
            for partial, field in zip(self.partials, self._fields, strict=True)
        ]

    def _evaluated(self, formula: Formula, readings: Sequence[Array]) -> list[Array]:
        with np.errstate(all="ignore"):
            values = formula(numpy_functions(), [*self._columns, *readings])
        return [np.broadcast_to(np.asarray(value, dtype=np.float64), self._count) for value in values]


@dataclass(frozen=True)
class Mean(Block):
    """The row that fixes the constant of a field of which only derivatives occur: its mean coefficient is zero."""

    field: int

    def residual(self, coefficients: Array) -> Array:
        """Return the mean coefficient, (1,)."""
        return coefficients[self.field].reshape(-1)[:1]

    def jacobian(self, coefficients: Array) -> Array:
        """Return the unit row, (1, fields n₁ n₂ …)."""
        row = np.zeros((1, coefficients.size))
        row[0, self.field * coefficients[0].size] = 1.0
        return row


def applies(problem: Problem) -> bool:
    """Whether this is a problem on a box of at most three coordinates, time among them or not."""
    few = len(problem.coordinates) <= 3
    return problem.reference.solver == "auto" and problem.domain is None and few and is_determined(problem)


def solve(problem: Problem, tolerance: float = 1e-10, budget: float = 60.0) -> ReferenceSolution:
    """Return the solution, with series lengthened until two of them agree; NaN where the problem is ill-posed."""
    started = time.perf_counter()
    try:
        found = attempts(problem, time.process_time() + 1.2 * budget)
        return refined(problem, "collocation", found, tolerance, budget, settled=1e-5)
    except IllPosedError:
        errors = dict.fromkeys(problem.field_names, np.nan)
        return ReferenceSolution("collocation", errors, time.perf_counter() - started, unknown(problem))


def resolutions(problem: Problem, deadline: float) -> Iterator[Attempt]:
    """Yield solutions from coarse to fine, each from scratch; none of a problem that is ill-posed."""
    try:
        yield from attempts(problem, deadline, from_scratch=True)
    except IllPosedError:
        return


def attempts(problem: Problem, deadline: float = np.inf, *, from_scratch: bool = False) -> Iterator[Attempt]:
    """Yield solutions by longer and longer series; an axis whose last coefficients are negligible keeps its length.

    Raises:
        IllPosedError: there are more solutions than one, or none.
    """
    dimension = len(problem.coordinates)
    coarsest = np.full(dimension, _FIRST_SIZE[dimension])
    sizes = coarsest if from_scratch else _first_sizes(problem)
    start: BoxChart | None = None
    if (sizes > coarsest).any() and not problem.is_linear:
        start = collocate(problem, coarsest.tolist(), None, deadline)
    while len(problem.fields) * np.prod(sizes) <= _MOST_UNKNOWNS[dimension] and time.process_time() < deadline:
        started = time.perf_counter()
        chart = collocate(problem, [int(size) for size in sizes], start, deadline)
        yield Attempt(chart, time.perf_counter() - started)
        start = None if from_scratch else chart or start
        grows = np.ones(dimension, bool) if chart is None else chart.tails() > _NEGLIGIBLE
        grows = grows if grows.any() else np.ones(dimension, bool)
        sizes = np.where(grows, np.ceil(_GROWTH * sizes), sizes).astype(int)


def collocate(
    problem: Problem, sizes: Sequence[int], start: BoxChart | None = None, deadline: float = np.inf
) -> BoxChart | None:
    """Return the solution with so many basis functions along each coordinate, None where Newton does not converge.

    Args:
        sizes: n₁, …, n_d.
        start: an approximation; 0, then 1 if there is none.
        deadline: the moment of `time.process_time` at which to give up.

    Raises:
        IllPosedError: there are more solutions than one, or none.
    """
    bases = [basis_of(coordinate, size) for coordinate, size in zip(problem.coordinates, sizes, strict=True)]
    blocks = _blocks(problem, bases)
    shape = (len(problem.fields), *(basis.size for basis in bases))
    for initial in [_padded(start.coefficients, shape)] if start is not None else _constants(shape):
        found = gauss_newton(blocks, initial, problem.is_linear and _has_linear_conditions(problem), deadline)
        if found is not None:
            return _consistent(problem, found)
    return None


def _first_sizes(problem: Problem) -> NDArray[np.int_]:
    """Return the shortest series that see the data of a problem."""
    count = len(problem.coordinates)
    first, data = _FIRST_SIZE[count], BoxData(problem)
    most = _MOST_UNKNOWNS[count] // (len(problem.fields) * first ** (count - 1))
    return np.array([data.first_size(axis, first, most, _GROWTH) for axis in range(count)])


def _consistent(problem: Problem, found: Minimum) -> BoxChart:
    """Return the chart of a solution, if it is one.

    A longer series can make good what this one leaves out of the solution or of the data, multiplied by weights and
    slopes; the residual that is left over where that is little is a contradiction.

    Raises:
        IllPosedError: it is.
    """
    lower, upper = problem.box
    periodic = np.array([coordinate.periodic for coordinate in problem.coordinates])
    chart = BoxChart(lower, upper, periodic, found.coefficients, problem.field_names)
    excess = (found.residual - _CONTRADICTION) / _AMPLIFICATION
    if excess > chart.tails().max() and excess > BoxData(problem).missed(chart.bases).max():
        raise IllPosedError
    return chart


def _has_linear_conditions(problem: Problem) -> bool:
    return all(condition.residual.is_linear for condition in problem.conditions)


def _blocks(problem: Problem, bases: Sequence[Basis]) -> list[Block]:
    inside = _product_points([basis.nodes(basis.size) for basis in bases])
    blocks = [Block(problem, equation, inside, bases) for equation in problem.equations]
    blocks += [Block(problem, c.residual, _face_points(problem, c, bases), bases, True) for c in problem.conditions]
    return blocks + [Mean(problem.field_names.index(name)) for name in problem.floating_fields]


def _face_points(problem: Problem, condition: Condition, bases: Sequence[Basis]) -> Points:
    """Return points inside the face where the condition holds; more of them where it holds on a part only."""
    assert isinstance(condition.face, Face)
    face, factor = condition.face, 3 if condition.restrictions else 1
    ends = problem.box[0 if face.side == "lower" else 1]
    axes = [
        ends[axis : axis + 1] if axis == face.axis else basis.nodes(factor * basis.size)
        for axis, basis in enumerate(bases)
    ]
    points = _product_points(axes)
    return points[condition.holds(points)]


def _product_points(axes: Sequence[Array]) -> Points:
    return np.stack([part.ravel() for part in np.meshgrid(*axes, indexing="ij")], axis=1)


def _constants(shape: tuple[int, ...]) -> Iterator[Array]:
    for value in _STARTS:
        coefficients = np.zeros(shape)
        coefficients.reshape(shape[0], -1)[:, 0] = value
        yield coefficients


def _padded(coefficients: Array, shape: tuple[int, ...]) -> Array:
    result = np.zeros(shape)
    result[tuple(slice(0, size) for size in coefficients.shape)] = coefficients
    return result
