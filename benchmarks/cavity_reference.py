"""Computes problems/data/cavity.npz, the velocities of the lid-driven cavity at Re = 100.

    python benchmarks/cavity_reference.py

The velocities' gradients are not continuous at the lid's corners and the pressure is not bounded there, which
holds collocation of u, v, p at 1e-4. The stream function ψ, u = ψ_y, v = -ψ_x, is found instead, by Galerkin's
method: for all φ with φ = ∂φ/∂n = 0 on the walls

    ∫ Δψ Δφ / Re + Δψ (ψ_y φ_x - ψ_x φ_y) = 0,

with tensor-product splines with continuous slopes (B-splines of degree p with knots of multiplicity p - 1) on
elements that shrink towards the walls by a factor of 0.4. Within the outermost elements, 1e-4 wide, the lid's speed
is bent to slope 0 at its ends. Degrees 5, 6 and 7 with layers to match differ from degree 8 by 8.4e-5, 1.2e-5 and
2.0e-6 in v (6e-5, 7e-6, 8e-7 in u): e_p - e_8 falls by six with each degree, so that e_8 = 2.0e-6 / 5 = 4e-7.
Some minutes on one core.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.interpolate import BSpline
from scipy.sparse import csr_matrix, diags, kron
from scipy.sparse.linalg import spsolve

REYNOLDS = 100.0
FACTOR = 0.4
WIDTH = 1 / 6  # of elements away from the walls
POINTS = 161
FILE = Path(__file__).resolve().parents[1] / "problems" / "data" / "cavity.npz"


def edges(layers: int) -> np.ndarray:
    """Return element edges on [0, 1] that shrink towards both ends."""
    left = WIDTH * FACTOR ** np.arange(layers, 0, -1)
    middle = np.arange(1, round(1 / WIDTH)) * WIDTH
    return np.concatenate([[0.0], left, middle, 1 - left[::-1], [1.0]])


def splines(degree: int, layers: int) -> BSpline:
    """Return all splines of this degree with continuous slopes, values of shape (…, n)."""
    inner = np.repeat(edges(layers)[1:-1], degree - 1)
    knots = np.concatenate([np.zeros(degree + 1), inner, np.ones(degree + 1)])
    return BSpline(knots, np.eye(len(knots) - degree - 1), degree)


class Cavity:
    """The Galerkin system in the coefficients (n, n) of ψ."""

    def __init__(self, degree: int, layers: int) -> None:
        self.basis = splines(degree, layers)
        ends, (nodes, weights) = edges(layers), np.polynomial.legendre.leggauss(degree + 4)
        places = (ends[:-1, None] + np.diff(ends)[:, None] * (nodes + 1) / 2).ravel()
        self.weights = (np.diff(ends)[:, None] * weights / 2).ravel()
        self.area = diags(np.outer(self.weights, self.weights).ravel())
        values, slopes, bends = (csr_matrix(self.basis.derivative(k)(places)) for k in range(3))
        self.d_x, self.d_y = kron(slopes, values).tocsr(), kron(values, slopes).tocsr()
        self.laplacian = (kron(bends, values) + kron(values, bends)).tocsr()
        self.size = values.shape[1]
        is_free = np.zeros((self.size, self.size), bool)
        is_free[2:-2, 2:-2] = True
        self.free = np.flatnonzero(is_free)

    def start(self) -> np.ndarray:
        """Return coefficients with the lid's speed and no flow elsewhere."""
        places = np.array([np.mean(self.basis.t[i + 1 : i + self.basis.k + 1]) for i in range(self.size)])
        lid = np.linalg.solve(self.basis(places), 4 * places * (1 - places))
        lid[[0, 1, -2, -1]] = 0.0
        slope = self.basis.derivative()(1.0)[-2]
        coefficients = np.zeros((self.size, self.size))
        coefficients[:, -2] = lid / slope
        return coefficients.ravel()

    def solve(self) -> np.ndarray:
        """Return the coefficients (n, n), by Newton's method from the flow without inertia."""
        now = self.start()
        for iteration in range(12):
            u, v_minus, bend = self.d_y @ now, self.d_x @ now, self.laplacian @ now
            weighted = [self.area @ diags(field) for field in (u, v_minus, bend)]
            residual = self.laplacian.T @ (self.area @ bend) / REYNOLDS
            jacobian = self.laplacian.T @ self.area @ self.laplacian / REYNOLDS
            if iteration:
                residual = residual + self.d_x.T @ (weighted[0] @ bend) - self.d_y.T @ (weighted[1] @ bend)
                jacobian = jacobian + self.d_x.T @ (weighted[0] @ self.laplacian + weighted[2] @ self.d_y)
                jacobian = jacobian - self.d_y.T @ (weighted[1] @ self.laplacian + weighted[2] @ self.d_x)
            step = spsolve(jacobian[self.free][:, self.free].tocsc(), -residual[self.free])
            now[self.free] += step
            if iteration and np.abs(step).max() < 1e-13:
                break
        return now.reshape(self.size, self.size)


def velocities(degree: int, layers: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return u and v on the grid x × x."""
    cavity = Cavity(degree, layers)
    coefficients = cavity.solve()
    values, slopes = cavity.basis(x), cavity.basis.derivative()(x)
    return values @ coefficients @ slopes.T, -slopes @ coefficients @ values.T


def main() -> None:
    """Write the file, and print how far coarser splines are from it."""
    x = (1 - np.cos(np.pi * np.arange(POINTS) / (POINTS - 1))) / 2
    u, v = velocities(8, 9, x)
    for degree, layers in ((5, 6), (6, 7), (7, 8)):
        others = velocities(degree, layers, x)
        errors = [np.linalg.norm(a - b) / np.linalg.norm(a) for a, b in zip((u, v), others, strict=True)]
        print(f"degree {degree}, {layers} layers: differs by {errors[0]:.1e} in u, {errors[1]:.1e} in v")
    u[:, -1], v[:, -1] = 4 * x * (1 - x), 0.0
    FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FILE, x=x, y=x, u=u, v=v)
    print(f"{FILE}: {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
