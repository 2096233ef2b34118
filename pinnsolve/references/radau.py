"""The implicit Runge-Kutta methods Radau IIA of s stages, for M y' = F(t, y) with a singular M.

Order 2s-1, stage order s, L-stable, stiffly accurate (Hairer, Wanner 1996, Solving Ordinary
Differential Equations II, IV.8 and VI.1; Hairer, Wanner 1999, J. Comput. Appl. Math. 111, 93-111).
Rows where M is zero are algebraic equations; every stage satisfies them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
from numpy.polynomial import chebyshev, legendre
from numpy.typing import NDArray
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import splu

Array = NDArray[np.float64]


class System(Protocol):
    """M y' = F(t, y) for y of shape (n,)."""

    @property
    def mass(self) -> csc_matrix:
        """M, of shape (n, n)."""
        ...

    def rate(self, times: Array, states: Array) -> Array:
        """Return F at each of several times (s,) and states (s, n)."""
        ...

    def jacobian(self, time: float, state: Array) -> csc_matrix:
        """Return ∂F/∂y, of shape (n, n)."""
        ...


@dataclass(frozen=True)
class Radau:
    """The coefficients of one method.

    Attributes:
        nodes: c, ascending in (0, 1], the last is 1.
        inverse: A⁻¹, where A integrates the Lagrange polynomials of the nodes from 0 to each node.
        eigenvalues: of A⁻¹: the real one (odd s), then those with positive imaginary part.
        into, back: the rows of T⁻¹ and the columns of T that belong to them, A⁻¹ = T Λ T⁻¹.
    """

    nodes: Array
    inverse: Array
    eigenvalues: NDArray[np.complex128]
    into: NDArray[np.complex128]
    back: NDArray[np.complex128]


@cache
def radau(stages: int) -> Radau:
    """Return the method of an odd number of stages: c are the zeros of P_s - P_{s-1} on [0, 1]."""
    series = np.zeros(stages + 1)
    series[-2:] = [-1.0, 1.0]
    zeros = np.sort(legendre.legroots(series).real)
    zeros[-1] = 1.0
    values = legendre.legvander(zeros, stages - 1)
    integrals = np.stack([legendre.legval(zeros, legendre.legint(row, lbnd=-1)) for row in np.eye(stages)], axis=1)
    inverse = 2.0 * values @ np.linalg.inv(integrals)  # dz = 2 dt
    eigenvalues, vectors = np.linalg.eig(inverse)
    rows = np.linalg.inv(vectors)
    kept = [i for i in np.argsort(np.abs(eigenvalues.imag)) if eigenvalues[i].imag > -1e-9]
    return Radau((zeros + 1) / 2, inverse, eigenvalues[kept], rows[kept], vectors[:, kept])


def stage_nodes(stages: int) -> Array:
    """Return 0 and the nodes on [0, 1]: a step's start and its stages."""
    return np.concatenate([[0.0], radau(stages).nodes])


def stage_tail(values: Array, scale: Array) -> float:
    """Return the size of the stage polynomial's last Chebyshev coefficient, relative to a scale.

    Args:
        values: (stages + 1, …) at `stage_nodes`.
        scale: that broadcasts with one of them.
    """
    nodes = stage_nodes(len(values) - 1)
    row = np.linalg.inv(chebyshev.chebvander(2 * nodes - 1, len(nodes) - 1))[-1]
    tail = float(np.max(np.abs(np.tensordot(row, values, axes=1)) / scale))
    return tail if np.isfinite(tail) else np.inf


@dataclass(frozen=True)
class StageSolution:
    """The stages (s, n) of one step, and whether Newton's iteration converged."""

    stages: Array
    converged: bool
    iterations: int


def radau_step(
    method: Radau, system: System, start: float, state: Array, step: float, guess: Array, accuracy: Array
) -> StageSolution:
    """Solve (1/h) Σⱼ (A⁻¹)ᵢⱼ M (Yⱼ - y₀) = F(tᵢ, Yᵢ) for the stages by simplified Newton iteration.

    The Jacobian is that of the guess at the middle stage. Diagonalising A⁻¹ leaves one real and
    (s-1)/2 complex systems (λ/h M - J) of size n instead of one of size s n.

    Args:
        guess: first approximation of the stages, (s, n).
        accuracy: size of a correction that is small enough, (n,).
    """
    times = start + step * method.nodes
    middle = len(times) // 2
    jacobian = system.jacobian(float(times[middle]), guess[middle])
    if not np.isfinite(jacobian.data).all():
        return StageSolution(guess, False, 0)
    try:
        factors = [splu(_shifted(value / step, system.mass, jacobian)) for value in method.eigenvalues]
    except RuntimeError:  # exactly singular
        return StageSolution(guess, False, 0)
    stages, previous = guess.copy(), np.inf
    for iteration in range(1, 16):
        slopes = method.inverse @ (stages - state) / step
        residual = system.rate(times, stages) - (system.mass @ slopes.T).T
        if not np.isfinite(residual).all():
            return StageSolution(stages, False, iteration)
        correction = _correction(method, factors, residual)
        stages = stages + correction
        size = float(np.max(np.abs(correction) / accuracy))
        if size <= 1.0 or (iteration > 3 and 0.5 * previous < size <= 100.0):  # at roundoff
            return StageSolution(stages, True, iteration)
        if not size < 2.0 * previous or (iteration > 4 and size > 0.7 * previous):
            break
        previous = size
    return StageSolution(stages, False, iteration)


def expected_sizes(method: Radau, system: System, start: float, state: Array, step: float) -> Array:
    """Return how large each component is now, or one step later by a single correction of Newton's, (n,).

    A solution that starts from zero, driven by its boundary or a source, has no size of its own yet.
    """
    guess = np.repeat(state[None], len(method.nodes), axis=0)
    stages = radau_step(method, system, start, state, step, guess, np.full(len(state), np.inf)).stages
    known = stages if np.isfinite(stages).all() else guess
    return np.asarray(np.maximum(np.abs(state), np.abs(known).max(axis=0)))


def _shifted(value: complex, mass: csc_matrix, jacobian: csc_matrix) -> csc_matrix:
    shift = value.real if abs(value.imag) < 1e-9 * abs(value) else value
    return (shift * mass - jacobian).tocsc()


def _correction(method: Radau, factors: list, residual: Array) -> Array:
    """Return Δ with (1/h A⁻¹ ⊗ M - I ⊗ J) Δ = residual."""
    transformed = method.into @ residual  # (eigenvalues, n)
    total = np.zeros(residual.shape)
    for index, factor in enumerate(factors):
        is_real = abs(method.eigenvalues[index].imag) < 1e-9 * abs(method.eigenvalues[index])
        part = factor.solve(transformed[index].real if is_real else transformed[index])
        # a complex eigenvalue stands for itself and its conjugate
        total += (1.0 if is_real else 2.0) * np.outer(method.back[:, index], part).real
    return total
