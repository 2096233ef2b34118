r"""Fluxes through the boundary, where conditions give them.

With n the outward normal, τ along the boundary, and ∇u = n ∂_n u + τ ∂_τ u, the conditions Σ_f c_f·∇u_f + b = 0 on as
many fields as are not held to values determine their ∂_n u,

    N w = -b - N' ∂_n u' - T ∂_τ u,        N_jf = c_jf·n,   T_jf = c_jf·τ,

the others' marked by a prime, and so the fluxes Σ_f a^kf n·∇u_f of their equations k,

    q = A w + A' ∂_n u' + B ∂_τ u,         A_kf = n·a^kf n,   B_kf = n·a^kf τ.

With P = A N⁻¹ that is q = -P b + (A' - P N') ∂_n u' + (B - P T) ∂_τ u.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsolve.references.weak_form import BoundaryTerm, WeakForm

Array = NDArray[np.float64]
_TANGENTIAL = 1e-2  # determinant of N, of its conditions' slopes: those that say less of ∂_n u say too little
_ROUNDOFF = 1e-12


@dataclass(frozen=True)
class BoundarySide:
    """A part of the boundary on which the same conditions hold.

    Attributes:
        terms: those on fluxes.
        free: the fields that are not held to values there and have second derivatives.
        bases: of each field, on the facets.
    """

    form: WeakForm
    terms: Sequence[BoundaryTerm]
    free: Sequence[int]
    bases: list[Any]

    def __post_init__(self) -> None:
        if len(self.terms) != len(self.free):
            raise ArithmeticError(f"{len(self.terms)} conditions on fluxes for {len(self.free)} fields without values")

    def fluxes(self, points: Array, values: Array, slopes: Array) -> Array:
        """Return q of each free field, (free, …)."""
        weights, along, across = self._coefficients(points, values, slopes)
        data = np.array([term.rest(points, values, slopes)[0] for term in self.terms])
        (nx, ny), (tx, ty) = self._normals, self._tangents
        by_tangent = slopes[:, 0] * tx + slopes[:, 1] * ty
        by_normal = slopes[:, 0] * nx + slopes[:, 1] * ny
        q = -np.einsum("kj...,j...->k...", weights, data)
        return q + np.einsum("kf...,f...->k...", along, by_tangent) + np.einsum("kf...,f...->k...", across, by_normal)

    def slopes(self, points: Array, values: Array, slopes: Array) -> Iterator[tuple[int, int, Array, Array, Array]]:
        """Yield equation and field, with ∂q/∂u, ∂q/∂u_x and ∂q/∂u_y, where these are not all zero."""
        weights, along, across = self._coefficients(points, values, slopes)
        by_value = np.array([term.rest(points, values, slopes)[1:] for term in self.terms])  # (terms, fields, …)
        by_u = -np.einsum("kj...,jf...->kf...", weights, by_value)
        (nx, ny), (tx, ty) = self._normals, self._tangents
        by_x, by_y = along * tx + across * nx, along * ty + across * ny
        for k, row in enumerate(self.free):
            for column in range(len(self.bases)):
                parts = (by_u[k, column], by_x[k, column], by_y[k, column])
                if any(part.any() for part in parts):
                    yield row, column, *parts

    @cached_property
    def _normals(self) -> Array:
        return np.asarray(self.bases[0].normals)

    @cached_property
    def _tangents(self) -> Array:
        nx, ny = self._normals
        return np.stack([-ny, nx])

    def _coefficients(self, points: Array, values: Array, slopes: Array) -> tuple[Array, Array, Array]:
        """Return P (free, terms, …), B - P T and A' - P N' (free, fields, …), the last zero for free fields.

        Raises:
            ArithmeticError: the conditions do not determine the fluxes.
        """
        a_n, a_t = self._fluxes_of_slopes(points, values, slopes)
        c_n, c_t = self._slopes_in_conditions(points, values, slopes)
        sizes = np.prod(np.sqrt(np.sum(c_n**2 + c_t**2, axis=1)), axis=0)
        weights = self._weights(a_n[:, self.free], c_n[:, self.free], sizes)
        along = a_t - np.einsum("kj...,jf...->kf...", weights, c_t)
        across = a_n - np.einsum("kj...,jf...->kf...", weights, c_n)
        across[:, self.free] = 0.0
        small = _ROUNDOFF * np.abs(a_n).max()
        return weights, np.where(np.abs(along) > small, along, 0.0), across

    def _fluxes_of_slopes(self, points: Array, values: Array, slopes: Array) -> tuple[Array, Array]:
        """Return n·a n and n·a τ of the free fields' equations and all fields, (free, fields, …) each."""
        shape = (len(self.free), len(self.bases), *values.shape[1:])
        a_n, a_t = np.zeros(shape), np.zeros(shape)
        (nx, ny), (tx, ty) = self._normals, self._tangents
        for coupling in self.form.couplings:
            if coupling.row in self.free and coupling.has_flux:
                k = self.free.index(coupling.row)
                axx, axy, ayy, *_ = coupling.second(points, values, slopes)
                fx, fy = axx * nx + axy * ny, axy * nx + ayy * ny
                a_n[k, coupling.column], a_t[k, coupling.column] = fx * nx + fy * ny, fx * tx + fy * ty
        return a_n, a_t

    def _slopes_in_conditions(self, points: Array, values: Array, slopes: Array) -> tuple[Array, Array]:
        """Return c·n and c·τ of the conditions and all fields, (terms, fields, …) each."""
        found = np.array([term.slopes(points, values, slopes) for term in self.terms])
        c = found.reshape(len(self.terms), len(self.bases), 2, *values.shape[1:])
        (nx, ny), (tx, ty) = self._normals, self._tangents
        return c[:, :, 0] * nx + c[:, :, 1] * ny, c[:, :, 0] * tx + c[:, :, 1] * ty

    def _weights(self, fluxes: Array, conditions: Array, sizes: Array) -> Array:
        """Return P = A N⁻¹ at every point, (free, terms, …), where the conditions' slopes have these sizes."""
        n = np.moveaxis(conditions, (0, 1), (-2, -1))  # (…, terms, free)
        determinant = np.linalg.det(n)
        of_one_sign = (determinant > 0).all() or (determinant < 0).all()
        if not (of_one_sign and (np.abs(determinant) > _TANGENTIAL * sizes).all()):
            raise ArithmeticError("the conditions do not determine the fluxes")
        a = np.moveaxis(fluxes, (0, 1), (-2, -1))
        transposed: Array = np.linalg.solve(np.swapaxes(n, -1, -2), np.swapaxes(a, -1, -2)).astype(np.float64)
        return np.moveaxis(transposed, (-1, -2), (0, 1))
