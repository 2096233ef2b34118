r"""What an activation is like, measured from its own derivatives: range, slope, kinks, moments.

Nothing here is quoted: extrema are roots of the next derivative, jumps are differences of one-sided values
next to 0 (the only place where an activation here has a kink), and moments are Gauss quadratures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq

from pinnsolve.networks.activations import Activation
from pinnsolve.networks.inverses import inverse

Array = NDArray[np.float64]
HIGHEST_ORDER = 8  # of the derivatives that are looked at for jumps: no equation here has more
SHOWN_ORDER = 4  # of those whose jumps are reported
_NEXT_TO_ZERO = 1e-300
_FAR = 1e17  # algebraic limits such as that of z/(1 + |z|) are reached to rounding
_GROWN = 1e6  # |φ| at ±1e17 beyond which it has no bound
_GRID = np.linspace(-20.0, 20.0, 8001)  # brackets of extrema: 0.005 is fine for functions that vary over 1
_INVERTED = np.linspace(-5.0, 5.0, 1001)  # where saturated values still tell their arguments apart
_ROUNDOFF = 1e-12
_CUT = 14.0  # of the normal distribution: the density is 1e-43 there
_PIECES = np.linspace(-_CUT, _CUT, 57)  # 0 is an end of a piece


@dataclass(frozen=True)
class Moments:
    """Means under the standard normal distribution.

    Attributes:
        mean: E[φ].
        square: E[φ²].
        slope: E[φ'].
        square_slope: E[φ'²].
        quadrature_error: of the worst of them, as the difference of two rules.
    """

    mean: float
    square: float
    slope: float
    square_slope: float
    quadrature_error: float


@dataclass(frozen=True)
class Properties:
    """What was measured on one activation.

    Attributes:
        name, formula, source: of the activation.
        range: (inf φ, sup φ), infinite without a bound.
        lipschitz: sup |φ'|.
        monotone: whether φ' >= 0 everywhere.
        inverse: φ⁻¹ in words, None where φ is not strictly monotone.
        inverse_error: max |φ⁻¹(φ(z)) - z| for |z| <= 5, None without an inverse.
        smoothness: the largest m with φ in C^m; infinity without a jump up to φ^(8).
        jumps: φ^(k)(0+) - φ^(k)(0-) for k = 0 ... 4.
        moments: means under N(0, 1).
    """

    name: str
    formula: str
    source: str
    range: tuple[float, float]
    lipschitz: float
    monotone: bool
    inverse: str | None
    inverse_error: float | None
    smoothness: float
    jumps: tuple[float, ...]
    moments: Moments

    @property
    def gain(self) -> float:
        """The factor √(1/E[φ²]) on weights of variance 1/fan-in with which layers keep the size of their values."""
        return 1 / math.sqrt(self.moments.square)

    @property
    def slope_growth(self) -> float:
        """The factor E[φ'²]/E[φ²] by which, with that gain, squared input derivatives grow from layer to layer."""
        return self.moments.square_slope / self.moments.square

    @property
    def residual_order(self) -> float:
        """The highest order of a PDE whose residual is exact, for φ in C^m that is m + 1."""
        return self.smoothness + 1

    @property
    def gradient_order(self) -> float:
        """The highest order of a PDE whose loss gradient is exact, for φ in C^m that is m."""
        return self.smoothness


def measured_properties(phi: Activation) -> Properties:
    """Return the properties of an activation, measured in float64."""
    jumps = _jumps(phi)
    first = next((order for order, jump in enumerate(jumps) if jump), math.inf)
    slopes = _extremes(_derivative(phi, 1), _derivative(phi, 2))
    found = inverse(phi.name, phi.alpha) if _strictly_increasing(phi) else None
    error = None if found is None else float(np.max(np.abs(found.value(_derivative(phi, 0)(_INVERTED)) - _INVERTED)))
    return Properties(
        name=phi.name,
        formula=phi.formula,
        source=phi.source,
        range=_extremes(_derivative(phi, 0), _derivative(phi, 1)),
        lipschitz=max(abs(slope) for slope in slopes),
        monotone=min(slopes) >= -_ROUNDOFF,
        inverse=None if found is None else found.formula,
        inverse_error=error,
        smoothness=first - 1,
        jumps=tuple(jumps[: SHOWN_ORDER + 1]),
        moments=_moments(phi),
    )


def derivatives(phi: Activation, z: Array, order: int) -> Array:
    """Return φ, φ', ..., φ^(order) at z (N,) in float64, (order + 1, N)."""
    return torch.stack(phi.derivatives(torch.as_tensor(z, dtype=torch.float64), order)).numpy()


def normal_mean(function: Callable[[Array], Array], nodes: int = 20) -> float:
    """Return E[f(Z)] for Z ~ N(0, 1) and f smooth but at 0: Gauss-Legendre on 56 pieces, f maps (N,) to (N,)."""
    abscissae, weights = np.polynomial.legendre.leggauss(nodes)
    half = np.diff(_PIECES)[:, None] / 2
    z = (_PIECES[:-1, None] + half * (1 + abscissae)).ravel()
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return float(np.sum(function(z) * density * (half * weights).ravel()))


def _derivative(phi: Activation, order: int) -> Callable[[Array], Array]:
    return lambda z: derivatives(phi, np.atleast_1d(z), order)[order]


def _jumps(phi: Activation) -> list[float]:
    above, below = derivatives(phi, np.array([_NEXT_TO_ZERO, -_NEXT_TO_ZERO]), HIGHEST_ORDER).T
    return [jump if abs(jump) > _ROUNDOFF else 0.0 for jump in (above - below).tolist()]


def _extremes(function: Callable[[Array], Array], slope: Callable[[Array], Array]) -> tuple[float, float]:
    """Return the infimum and supremum: of values at roots of the slope, next to 0, and far away."""
    slopes = slope(_GRID)
    crossings = np.flatnonzero(slopes[:-1] * slopes[1:] < 0)
    roots = [brentq(lambda z: float(slope(z)[0]), _GRID[i], _GRID[i + 1], xtol=1e-14) for i in crossings]
    places = np.array([*roots, *_GRID[slopes == 0], -_NEXT_TO_ZERO, _NEXT_TO_ZERO, -_FAR, _FAR])
    values = function(places)
    values = np.where(np.abs(values) > _GROWN, np.copysign(np.inf, values), values)
    return float(values.min()) + 0.0, float(values.max()) + 0.0  # + 0.0: -0 is 0


def _strictly_increasing(phi: Activation) -> bool:
    value = _derivative(phi, 0)(_INVERTED)
    return bool(np.all(np.diff(value) > 0)) and bool(np.all(_derivative(phi, 1)(_GRID) >= -_ROUNDOFF))


def _moments(phi: Activation) -> Moments:
    integrands = (
        lambda z: derivatives(phi, z, 0)[0],
        lambda z: derivatives(phi, z, 0)[0] ** 2,
        lambda z: derivatives(phi, z, 1)[1],
        lambda z: derivatives(phi, z, 1)[1] ** 2,
    )
    fine, coarse = ([normal_mean(f, nodes) for f in integrands] for nodes in (20, 14))
    mean, square, slope, square_slope = fine
    return Moments(mean, square, slope, square_slope, float(np.max(np.abs(np.subtract(fine, coarse)))))
