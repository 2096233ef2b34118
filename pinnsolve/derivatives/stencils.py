r"""One-dimensional finite-difference stencils: exact weights, order, leading term, predicted best step.

A stencil approximates the d-th derivative from values at integer offsets j,

    D_h f(x) = h^-d Σ_j c_j f(x + j h),      Σ_j c_j j^k = d! δ_kd,  k = 0, ..., n - 1,

with error A h^p f^(p+d) to leading order, A = Σ_j c_j j^(p+d) / (p+d)!, and a rounding error of at most
S ε / h^d if every value is wrong by ε, S = Σ_j |c_j|.
Source: Fornberg (1988), Math. Comp. 51, 699-706; LeVeque (2007), Finite Difference Methods, section 1.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from pinnsolve.errors import SettingsError, unknown_name

Window = tuple[int, int]  # the first and the last offset


@dataclass(frozen=True)
class Stencil:
    """A stencil for one derivative along one coordinate.

    Attributes:
        offsets: the integers j with c_j ≠ 0, ascending.
        weights: c_j, exact.
        derivative: d.
        accuracy: p, the order of the error in h.
        leading: A, with its sign: D_h f = f^(d) + A h^p f^(p+d) + ...
    """

    offsets: tuple[int, ...]
    weights: tuple[Fraction, ...]
    derivative: int
    accuracy: int
    leading: Fraction

    @property
    def amplification(self) -> Fraction:
        """S = Σ|c_j|: how much the stencil can amplify an error of the values."""
        return sum((abs(weight) for weight in self.weights), Fraction(0))

    def best_step(self, noise: float, higher: float) -> float:
        """Return h* for values with absolute noise ε_f |f| and a derivative |f^(p+d)|."""
        truncation, rounding = self._terms(noise, higher)
        return best_step(truncation, rounding, self.accuracy, self.derivative)

    def best_error(self, noise: float, higher: float) -> float:
        """Return E*, the error at h*: A h*^p |f^(p+d)| (1 + p/d)."""
        truncation, rounding = self._terms(noise, higher)
        step = best_step(truncation, rounding, self.accuracy, self.derivative)
        return predicted_error(step, truncation, rounding, self.accuracy, self.derivative)

    def _terms(self, noise: float, higher: float) -> tuple[float, float]:
        return float(abs(self.leading)) * abs(higher), float(self.amplification) * abs(noise)


def best_step(truncation: float, rounding: float, accuracy: int, derivative: int) -> float:
    """Return the step that minimises T h^p + R / h^d: h* = (d R / (p T))^(1/(p+d)); infinite for T = 0."""
    if truncation == 0:
        return math.inf
    return (derivative * rounding / (accuracy * truncation)) ** (1 / (accuracy + derivative))


def predicted_error(step: float, truncation: float, rounding: float, accuracy: int, derivative: int) -> float:
    """Return the law T h^p + R / h^d; a term with a zero factor is zero for every step."""
    left = rounding / step**derivative if rounding else 0.0
    right = truncation * step**accuracy if truncation else 0.0
    return left + right


@cache
def stencil(offsets: tuple[int, ...], derivative: int) -> Stencil:
    """Return the stencil of highest order on these offsets.

    >>> print(*stencil((-1, 0, 1), 2).weights)
    1 -2 1

    Raises:
        ValueError: there are not more offsets than derivatives, or one stands twice.
    """
    if len(set(offsets)) < len(offsets) or not 1 <= derivative < len(offsets):
        raise ValueError(f"derivative {derivative} needs at least {derivative + 1} different offsets, got {offsets}")
    weights = [math.factorial(derivative) * _lagrange(offsets, j)[derivative] for j in offsets]
    used = {j: weight for j, weight in sorted(zip(offsets, weights, strict=True)) if weight}
    order = len(offsets)
    while not (moment := sum(weight * j**order for j, weight in used.items())):
        order += 1  # symmetry makes further moments vanish
    leading = Fraction(moment, math.factorial(order))
    return Stencil(tuple(used), tuple(used.values()), derivative, order - derivative, leading)


def _lagrange(offsets: Sequence[int], at: int) -> list[Fraction]:
    """Return the coefficients, lowest first, of the polynomial that is 1 at one offset and 0 at the others."""
    coefficients = [Fraction(1)]
    for other in offsets:
        if other != at:  # times (x - other) / (at - other)
            shifted = [Fraction(0), *coefficients]
            scaled = [*(other * c for c in coefficients), Fraction(0)]
            coefficients = [(a - b) / (at - other) for a, b in zip(shifted, scaled, strict=True)]
    return coefficients


@dataclass(frozen=True)
class Family:
    """A scheme for one derivative: the stencil of free points first, then those for points near an end.

    All have the same order of accuracy. The first one whose nodes stay in the domain is taken.
    """

    stencils: tuple[Stencil, ...]

    @property
    def free(self) -> Stencil:
        """The stencil of points far from both ends."""
        return self.stencils[0]

    @property
    def reach(self) -> int:
        """The largest distance of a node from its point, in steps."""
        return max(abs(j) for stencil in self.stencils for j in stencil.offsets)

    @property
    def span(self) -> int:
        """The number of steps that an interval must hold so that every point in it has a stencil.

        A point anywhere in an interval of n steps has left + right >= n - 1 whole steps on its two sides.
        """
        span = 1
        while not all(self._fits(left, span - 1 - left) for left in range(span)):
            span += 1
        return span

    def _fits(self, left: int, right: int) -> bool:
        return any(-s.offsets[0] <= left and s.offsets[-1] <= right for s in self.stencils)


def _central(accuracy: int) -> Callable[[int], list[Window]]:
    """Return the windows of a central scheme: centred, else p + d nodes as centred as the ends allow."""

    def windows(derivative: int) -> list[Window]:
        half = (derivative + 1) // 2 + accuracy // 2 - 1
        last = accuracy + derivative - 1
        left = [(-k, last - k) for k in reversed(range(half))]
        return [(-half, half), *left, *((-b, -a) for a, b in left)]

    return windows


# the windows of each scheme for the d-th derivative, in the order of preference
_SCHEMES: dict[str, Callable[[int], list[Window]]] = {
    "forward": lambda d: [(0, d), (-d, 0)],
    "backward": lambda d: [(-d, 0), (0, d)],
    "one_sided": lambda d: [(0, d + 1), (-d - 1, 0)],
    "central2": _central(2),
    "central4": _central(4),
    "central6": _central(6),
}
SCHEMES = tuple(_SCHEMES)


@cache
def family(scheme: str, derivative: int) -> Family:
    """Return the stencils of a scheme for the d-th derivative, d >= 1.

    Orders of accuracy: forward and backward 1, one_sided 2, central2 2, central4 4, central6 6.

    Raises:
        SettingsError: the scheme is unknown.
    """
    if scheme not in _SCHEMES:
        raise SettingsError(unknown_name("finite-difference scheme", scheme, _SCHEMES))
    windows = _SCHEMES[scheme](derivative)
    return Family(tuple(stencil(tuple(range(first, last + 1)), derivative) for first, last in windows))
