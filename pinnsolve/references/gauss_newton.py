"""Nonlinear least squares in coefficients: Gauss-Newton steps by QR, damped by the natural monotonicity test."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack, solve_triangular

Array = NDArray[np.float64]

_DEFICIENT = 1e-15  # reciprocal condition number of a problem that does not determine its solution
_MOST_ITERATIONS = 40
_LEAST_SHARE = 1e-3
_WORK = 64  # numbers of work space of LAPACK, for each column


class IllPosedError(Exception):
    """Equations and conditions leave the solution undetermined, or contradict each other."""


class Rows(Protocol):
    """Some rows of F(c) = 0."""

    def residual(self, coefficients: Array) -> Array:
        """Return F, (N,)."""
        ...

    def jacobian(self, coefficients: Array) -> Array:
        """Return ∂F/∂c, (N, number of coefficients)."""
        ...


@dataclass(frozen=True)
class Minimum:
    """Coefficients, and the norm of the residual that they leave, relative to that of J times them."""

    coefficients: Array
    residual: float

    @classmethod
    def of(cls, coefficients: Array, weighted: Callable[[Array], Array], matrix: Array) -> Minimum:
        """Return the minimum at these coefficients."""
        size = _size(matrix @ coefficients.ravel())
        return cls(coefficients, _size(weighted(coefficients)) / size if size > 0 else 0.0)


def gauss_newton(blocks: Sequence[Rows], start: Array, is_linear: bool, deadline: float) -> Minimum | None:
    """Return the coefficients with F = 0 in the least-squares sense, None where the iteration does not converge.

    Args:
        blocks: F, in groups of rows of one size.
        start: an approximation.
        is_linear: whether one step is exact.
        deadline: the moment of `time.process_time` at which to give up.

    Raises:
        IllPosedError: the minimum is not unique.
    """
    now, last = start, np.inf
    for _ in range(_MOST_ITERATIONS):
        residuals = [block.residual(now) for block in blocks]
        jacobians = [block.jacobian(now) for block in blocks]
        weights = [1.0 / max(float(np.sqrt(np.mean(np.sum(j**2, axis=1)))), 1e-300) for j in jacobians]
        if not all(np.isfinite(part).all() for part in [*residuals, *jacobians]) or time.process_time() > deadline:
            return None
        weighted = _Weighted(blocks, weights)
        matrix = np.concatenate([w * j for w, j in zip(weights, jacobians, strict=True)])
        minimise = _least_squares(matrix)
        step = minimise(-weighted(now)).reshape(now.shape)
        if is_linear:
            return Minimum.of(now + step, weighted, matrix)
        share = _damping(weighted, minimise, now, step)
        if share < _LEAST_SHARE:
            return None
        now, size = now + share * step, _size(step) / max(_size(now), 1e-12)
        # at roundoff steps no longer shrink
        if share == 1.0 and (size < 1e-12 or (size < 1e-9 and size > 0.1 * last)):
            return Minimum.of(now, weighted, matrix)
        last = size
    return None


@dataclass(frozen=True)
class _Weighted:
    """The residuals of all blocks, one after the other, each with its weight."""

    blocks: Sequence[Rows]
    weights: Sequence[float]

    def __call__(self, coefficients: Array) -> Array:
        parts = (block.residual(coefficients) for block in self.blocks)
        return np.concatenate([weight * part for weight, part in zip(self.weights, parts, strict=True)])


def _damping(weighted: _Weighted, minimise: Callable[[Array], Array], now: Array, step: Array) -> float:
    """Return the largest share 1, 1/2, 1/4, … of the step after which the next correction is shorter.

    The natural monotonicity test ‖J⁺F(x + λδ)‖ ≤ (1 - λ/4) ‖δ‖ (Deuflhard 2011, Newton Methods for Nonlinear
    Problems, 3.3), not the residual: where truncation holds the residual up, it says nothing.
    """
    share, size = 1.0, _size(step)
    while share >= _LEAST_SHARE and size > 1e-9 * _size(now):
        residual = weighted(now + share * step)
        if np.isfinite(residual).all() and _size(minimise(-residual)) <= (1 - share / 4) * size:
            return share
        share /= 2
    return share


def _size(array: Array) -> float:
    return float(np.linalg.norm(array))


def _least_squares(matrix: Array) -> Callable[[Array], Array]:
    """Return the map of b to the minimiser of ‖A x - b‖, by QR of A with columns of norm 1.

    Raises:
        IllPosedError: A has not the rank of its columns.
    """
    scales, width = np.linalg.norm(matrix, axis=0), matrix.shape[1]
    if len(matrix) < width or not scales.min() > 0:
        raise IllPosedError
    factored, reflections, _, _ = lapack.dgeqrf(np.asfortranarray(matrix / scales), lwork=_WORK * width, overwrite_a=1)
    condition, _ = lapack.dtrcon(factored[:width], norm="1", uplo="U")
    if condition < _DEFICIENT:
        raise IllPosedError

    def minimiser(right: Array) -> Array:
        rotated, _, _ = lapack.dormqr("L", "T", factored, reflections, right[:, None], _WORK)
        return np.asarray(solve_triangular(factored[:width], rotated[:width, 0], check_finite=False) / scales)

    return minimiser
