r"""Whether waves of a problem disperse: short ones travel at speeds of their own, and nothing damps them.

All rates μ of short waves are imaginary then, as for Korteweg-de Vries and Schrödinger: an error made early stays to
the end, and solutions are found window by window of time. Re μ < 0, as for a viscous term: errors die out.
Source: Whitham (1974), Linear and Nonlinear Waves, chapter 11.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pinnsolve.problems.plane_waves import PrincipalPart, directions, evolves, principal_order
from pinnsolve.problems.problem import Problem

_IMAGINARY = 1e-9  # of the largest rate


def is_dispersive(problem: Problem) -> bool:
    """Return whether all fields evolve in first order of time, with a dispersive principal part of order 2 or more.

    False also where the principal part has coefficients that are not constant.
    """
    if principal_order(problem) < 2 or not evolves(problem):
        return False
    principal = PrincipalPart.of(problem)
    if principal is None or not principal.is_constant:
        return False
    found = principal.rates(directions(problem), problem.box[0][None])  # at any place
    return len(found) > 0 and all(_is_imaginary(each) for each in found[0])


def _is_imaginary(rates: NDArray[np.complex128]) -> bool:
    sizes = np.abs(rates)
    return bool(sizes.min() > 0 and np.abs(rates.real).max() <= _IMAGINARY * sizes.max())
