r"""Steps in time of periodic semilinear evolutions, in Fourier space.

    ∂ₜu = L u + N(u, x, t),      L linear with constant coefficients, diagonal (by blocks) in Fourier space.

Exponential time differencing of order four, Cox, Matthews (2002, J. Comput. Phys. 176, 430-455), with
c = h L and φ₀ = exp, φₙ₊₁(z) = (φₙ(z) - 1/n!)/z (their coefficients written as in Kassam, Trefethen 2005,
SIAM J. Sci. Comput. 26, 1214-1233):

    a = φ₀(c/2) u + h/2 φ₁(c/2) N(u)            b = φ₀(c/2) u + h/2 φ₁(c/2) N(a)
    d = φ₀(c/2) a + h/2 φ₁(c/2) (2 N(b) - N(u))
    u ← φ₀ u + h [(φ₁ - 3φ₂ + 4φ₃) N(u) + (2φ₂ - 4φ₃)(N(a) + N(b)) + (4φ₃ - φ₂) N(d)]
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.linalg import expm

from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.references.semilinear import SemilinearForm

Array = NDArray[np.float64]
Spectrum = NDArray[np.complex128]


class SpectralSystem:
    """The problem with a number of modes k = 0 … n-1: initial coefficients, L and N."""

    def __init__(self, form: SemilinearForm, modes: int) -> None:
        self.form, self.modes = form, modes
        self.evolution = form.evolution
        coordinate = self.evolution.problem.coordinates[self.evolution.space_axis]
        self.lower, self.length = coordinate.lower, coordinate.length
        self.wavenumbers: Array = 2 * np.pi / self.length * np.arange(modes, dtype=np.float64)
        self.symbol = form.symbol(self.wavenumbers)
        self.size = next_fast_len(3 * modes, real=True)  # quadratic products are free of aliasing
        self.grid = self.lower + self.length * np.arange(self.size) / self.size
        used = {s for rest in form.remainder.values() for s in rest.free_symbols}
        self.reads = [partial for partial in self.evolution.reads if self.evolution.symbol(partial) in used]
        problem = self.evolution.problem
        names = [problem.symbols[self.evolution.space_axis], problem.symbols[self.evolution.time_axis]]
        self._formula = Formula(
            list(form.remainder.values()), [*names, *(self.evolution.symbol(partial) for partial in self.reads)]
        )
        self.is_linear = all(rest == 0 for rest in form.remainder.values())
        orders = np.array([self.evolution.space_order(partial) for partial in self.reads], dtype=np.int64)
        self._powers = (1j * self.wavenumbers) ** orders[:, None]
        self._read_rows = [self.evolution.component(partial) for partial in self.reads]
        self._driven_rows = [self.evolution.last_component(field) for field in form.remainder]

    def remainder(self, t: float, state: Spectrum) -> Spectrum:
        """Return N of a state (components, modes)."""
        readings = irfft(state[self._read_rows] * self._powers, self.size, norm="forward")
        values = self._formula(numpy_functions(), [self.grid, np.float64(t), *readings])
        on_grid = np.stack([np.broadcast_to(value, self.grid.shape) for value in values])
        result = np.zeros_like(state)
        result[self._driven_rows] = rfft(on_grid, norm="forward")[:, : self.modes]
        return result

    def initial(self) -> Spectrum:
        """Return the Fourier coefficients of the initial values, (components, modes), by quadrature.

            c_k = 1/P ∫ u₀(x) exp(-2πi k (x - a)/P) dx

        Gauss-Legendre with 32 points on panels of at most eight wavelengths of the highest mode: exact
        to roundoff also where the periodic extension has a kink or jump at the ends, for which sampled
        values give coefficients wrong by as much as the series' tail.
        """
        panels = max(8, -(-self.modes // 8))
        nodes, weights = np.polynomial.legendre.leggauss(32)
        phase = ((np.arange(panels)[:, None] + 0.5 * (nodes + 1)) / panels).ravel()
        space = self.evolution.problem.symbols[self.evolution.space_axis]
        found = Formula(self.evolution.initial, [space])(numpy_functions(), [self.lower + self.length * phase])
        values = np.stack([np.broadcast_to(value, phase.shape) for value in found])
        weighted = (values * np.tile(weights, panels)) / (2 * panels)
        blocks = np.array_split(np.arange(self.modes), max(1, self.modes // 128))
        waves = (np.exp(-2j * np.pi * np.outer(phase, block)) for block in blocks)
        return np.concatenate([weighted @ wave for wave in waves], axis=1)


Step = Callable[[float, Spectrum], Spectrum]


def etdrk4(spectral: SpectralSystem, h: float) -> Step:
    """Return the map of a state at t to the state at t + h."""
    whole, half = _phi(spectral.symbol, h), _phi(spectral.symbol, h / 2)
    first = h * (whole[1] - 3 * whole[2] + 4 * whole[3])
    middle = h * (2 * whole[2] - 4 * whole[3])
    last = h * (4 * whole[3] - whole[2])
    push = h / 2 * half[1]

    def step(t: float, u: Spectrum) -> Spectrum:
        if spectral.is_linear:
            return _times(whole[0], u)
        at_u = spectral.remainder(t, u)
        moved = _times(half[0], u)
        a = moved + _times(push, at_u)
        at_a = spectral.remainder(t + h / 2, a)
        at_b = spectral.remainder(t + h / 2, moved + _times(push, at_a))
        d = _times(half[0], a) + _times(push, 2 * at_b - at_u)
        at_d = spectral.remainder(t + h, d)
        return _times(whole[0], u) + _times(first, at_u) + _times(middle, at_a + at_b) + _times(last, at_d)

    return step


def _times(matrices: Spectrum, state: Spectrum) -> Spectrum:
    """Return the product by mode of matrices (components, components, modes) with a state."""
    return (matrices * state[None]).sum(axis=1)


def _phi(symbol: Spectrum, h: float) -> list[Spectrum]:
    """Return φ₀ … φ₃ of h L(k), each (components, components, modes).

    They are the first row of blocks of exp [[hL, I, 0, 0], [0, 0, I, 0], [0, 0, 0, I], [0, 0, 0, 0]]
    (Al-Mohy, Higham 2011, SIAM J. Sci. Comput. 33, 488-511, theorem 2.1), which does not cancel.
    """
    modes, size, _ = symbol.shape
    augmented = np.zeros((modes, 4 * size, 4 * size), dtype=complex)
    augmented[:, :size, :size] = h * symbol
    for block in range(3):
        rows = slice(block * size, (block + 1) * size)
        augmented[:, rows, (block + 1) * size : (block + 2) * size] = np.eye(size)
    whole = expm(augmented)[:, :size]
    return [np.ascontiguousarray(whole[:, :, i * size : (i + 1) * size].transpose(1, 2, 0)) for i in range(4)]
