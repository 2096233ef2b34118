r"""Evolutions split into a linear part with constant coefficients and the rest.

∂ₜu = L u + N(u, x, t)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy
from numpy.typing import NDArray

from pinnsolve.problems import Partial
from pinnsolve.problems.expansion import written_out
from pinnsolve.references.evolution import Evolution

Array = NDArray[np.float64]
Spectrum = NDArray[np.complex128]


@dataclass(frozen=True)
class SemilinearForm:
    """The splitting of the rates: L as coefficients of space derivatives, N as what remains.

    Attributes:
        linear: field to (partial derivative, constant coefficient) of its last component's rate.
        remainder: field to the rest of the rate.
    """

    evolution: Evolution
    linear: dict[str, list[tuple[Partial, float]]]
    remainder: dict[str, sympy.Expr]

    def symbol(self, wavenumbers: Array) -> Spectrum:
        """Return L(k) = Σ coefficient (ik)^order, shape (modes, components, components)."""
        size = len(self.evolution.components)
        matrix = np.zeros((len(wavenumbers), size, size), dtype=complex)
        for index, component in enumerate(self.evolution.components):
            if index != self.evolution.last_component(component.field):
                matrix[:, index, index + 1] = 1.0
                continue
            for partial, coefficient in self.linear[component.field]:
                powers = (1j * wavenumbers) ** self.evolution.space_order(partial)
                matrix[:, index, self.evolution.component(partial)] += coefficient * powers
        return matrix


def semilinear(evolution: Evolution) -> SemilinearForm | None:
    """Return the splitting, None where N holds derivatives as high as those of L."""
    symbols = {evolution.symbol(partial): partial for partial in evolution.reads}
    at_rest = dict.fromkeys(symbols, sympy.S.Zero)
    linear: dict[str, list[tuple[Partial, float]]] = {}
    remainder = {}
    for field, rate in evolution.rates.items():
        linear[field], rest = [], rate
        for symbol, partial in symbols.items():
            slope = sympy.diff(rate, symbol).xreplace(at_rest)
            if slope != 0 and slope.is_number and slope.is_finite:
                linear[field].append((partial, float(slope)))
                rest = rest - slope * symbol
        remainder[field] = written_out(rest)
    highest = max((evolution.space_order(p) for terms in linear.values() for p, _ in terms), default=0)
    left = [p for s, p in symbols.items() if any(rest.has(s) for rest in remainder.values())]
    order = max((evolution.space_order(partial) for partial in left), default=0)
    return SemilinearForm(evolution, linear, remainder) if order <= 1 or order < highest else None
