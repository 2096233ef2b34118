"""Piecewise Chebyshev polynomials in one space coordinate.

The interval is cut into elements; on each, a function is a polynomial given by its values at the
Chebyshev-Lobatto points (Trefethen 2000, Spectral Methods in MATLAB, ch. 6). An equation of order n in
space is collocated at the degree + 1 - n Gauss-Legendre points of each element (Driscoll, Hale 2016, IMA
J. Numer. Anal. 36, 108-132), which leaves n rows for continuity and boundary conditions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from pinnsolve.references.windows import barycentric_weights, interpolation_matrix, locate

Array = NDArray[np.float64]


@cache
def lobatto_nodes(degree: int) -> Array:
    """Return the Chebyshev-Lobatto points -cos(jπ/degree) on [-1, 1], shape (degree + 1,)."""
    return np.sin(0.5 * np.pi * (2 * np.arange(degree + 1) - degree) / degree)


@cache
def gauss_nodes(count: int) -> Array:
    """Return the Gauss-Legendre points on [-1, 1]."""
    return np.asarray(np.polynomial.legendre.leggauss(count)[0], dtype=np.float64)


@cache
def derivative_matrix(degree: int, order: int) -> Array:
    """Return the matrix (degree + 1, degree + 1) of the order-th derivative at the Lobatto points.

    D_ij = (wⱼ/wᵢ)/(xᵢ - xⱼ), D_ii = -Σ_{j≠i} D_ij; powers of it with the same diagonal, so that
    constants are differentiated to zero exactly.
    """
    if order == 0:
        return np.eye(degree + 1)
    nodes, weights = lobatto_nodes(degree), barycentric_weights(lobatto_nodes(degree))
    difference = nodes[:, None] - nodes[None, :] + np.eye(degree + 1)
    first = weights[None, :] / weights[:, None] / difference
    np.fill_diagonal(first, 0.0)
    np.fill_diagonal(first, -first.sum(axis=1))
    matrix = first @ derivative_matrix(degree, order - 1)
    np.fill_diagonal(matrix, matrix.diagonal() - matrix.sum(axis=1))
    return matrix


@cache
def collocation_matrix(degree: int, conditions: int, order: int) -> Array:
    """Return the matrix of the order-th derivative at the degree + 1 - conditions Gauss points.

    With no conditions the points are the Lobatto points themselves.
    """
    matrix = derivative_matrix(degree, order)
    if conditions == 0:
        return matrix
    return interpolation_matrix(lobatto_nodes(degree), gauss_nodes(degree + 1 - conditions)) @ matrix


@cache
def coefficient_matrix(degree: int) -> Array:
    """Return the matrix that takes values at the Lobatto points to Chebyshev coefficients."""
    return np.asarray(np.linalg.inv(chebyshev.chebvander(lobatto_nodes(degree), degree)), dtype=np.float64)


@cache
def halving_matrix(degree: int) -> Array:
    """Return the matrix (2, degree + 1, degree + 1) to the values on the left and on the right half."""
    nodes = lobatto_nodes(degree)
    return np.stack([interpolation_matrix(nodes, (nodes + side) / 2) for side in (-1.0, 1.0)])


@cache
def joining_matrix(degree: int) -> Array:
    """Return the matrix (2, degree + 1, degree + 1) from two halves to the Lobatto points of the whole."""
    nodes = lobatto_nodes(degree)
    left = interpolation_matrix(nodes, 2 * nodes + 1) * (nodes <= 0)[:, None]
    return np.stack([left, interpolation_matrix(nodes, 2 * nodes - 1) * (nodes > 0)[:, None]])


@dataclass(frozen=True)
class Mesh:
    """Elements between ascending edges (K + 1,), with polynomials of one degree."""

    edges: Array
    degree: int

    @property
    def widths(self) -> Array:
        """The elements' widths, (K,)."""
        return np.diff(self.edges)

    @property
    def nodes(self) -> Array:
        """The Lobatto points, (K, degree + 1)."""
        return self.points(lobatto_nodes(self.degree))

    def points(self, local: Array) -> Array:
        """Return the places (K, n) of positions -1…1 inside each element."""
        return self.edges[:-1, None] + self.widths[:, None] * (local + 1) / 2

    def scales(self, order: int) -> Array:
        """Return (2/width)^order, which takes a derivative on [-1, 1] to one on the element, (K,)."""
        return (2.0 / self.widths) ** order

    def tails(self, values: Array) -> Array:
        """Return the larger of the last two Chebyshev coefficients of each element.

        Args:
            values: shape (…, K, degree + 1); the result has the shape (…, K).
        """
        return np.abs(values @ coefficient_matrix(self.degree)[-2:].T).max(axis=-1)

    def split(self, marked: NDArray[np.bool_]) -> Mesh:
        """Return the mesh with the marked elements (K,) cut in half."""
        middles = (self.edges[:-1] + self.edges[1:])[marked] / 2
        return Mesh(np.sort(np.concatenate([self.edges, middles])), self.degree)

    def split_values(self, values: Array, marked: NDArray[np.bool_]) -> Array:
        """Return values (…, K, degree + 1) on the mesh after `split`; the polynomials stay the same."""
        pieces = []
        for element in range(len(marked)):
            here = values[..., element, :]
            pieces += [here @ half.T for half in halving_matrix(self.degree)] if marked[element] else [here]
        return np.stack(pieces, axis=-2)

    def joined(self, values: Array) -> tuple[NDArray[np.intp], Array]:
        """Return each first half e of a pair that one cut made, and the values of e and e+1 on the whole.

        Args:
            values: shape (…, K, degree + 1); the second result has the shape (…, pairs, degree + 1).
        """
        widths = self.widths
        position = (self.edges[:-2] - self.edges[0]) / (2 * widths[:-1])
        is_even = np.abs(position - np.round(position)) < 0.1
        first = np.flatnonzero(is_even & (np.abs(widths[1:] / widths[:-1] - 1) < 1e-3))
        left, right = joining_matrix(self.degree)
        return first, values[..., first, :] @ left.T + values[..., first + 1, :] @ right.T

    def join(self, first: NDArray[np.intp]) -> Mesh:
        """Return the mesh in which elements e and e+1 are one, for each e of `first`."""
        return Mesh(np.delete(self.edges, first + 1), self.degree)

    def interpolation(self, at: Array) -> tuple[NDArray[np.intp], Array]:
        """Return the element of each place (N,) and the weights (N, degree + 1) of its nodes."""
        element, position = locate(self.edges, at)
        return element, interpolation_matrix(lobatto_nodes(self.degree), 2 * position - 1)
