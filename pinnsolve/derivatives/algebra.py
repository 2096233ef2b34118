r"""The algebra of truncated Taylor series: which partial derivatives are carried, and the tables of its rules.

Every rule is a sum Σ times · a[left] · b[right] over channels, and a table lists these sums:

    products    ∂^α (a b)     = Σ_(β≤α) C(α,β) ∂^β a ∂^(α-β) b                       (Leibniz)
    adjoints    ∂L/∂(∂^β b)   = Σ_(α≥β) C(α,β) ∂^(α-β) a ∂L/∂(∂^α (a b))             (of the products)
    chains      ∂^α φ(z)      = Σ_(β≤α-e) C(α-e,β) ∂^β φ'(z) ∂^(α-β) z               (∂^(α-e) of φ'(z) ∂^e z)
    squares     ∂^α a² - 2a ∂^α a = Σ_(0<β<α) C(α,β) ∂^β a ∂^(α-β) a

Source: Griewank, Walther (2008), Evaluating Derivatives, chapter 13.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from typing import NamedTuple

MultiIndex = tuple[int, ...]


class Term(NamedTuple):
    """times · a[left] · b[right]; left and right are channels."""

    times: int
    left: int
    right: int


Table = tuple[tuple[Term, ...], ...]  # the terms of every channel


@dataclass(frozen=True)
class Algebra:
    """The multi-indices carried, zero first, then by order: channel c holds ∂^indices[c].

    Attributes:
        indices: closed downwards.
        products: left β, right α - β; the first term is a ∂^α b.
        adjoints: left a channel of a, right one of the gradient; the first term is a ∂L/∂(∂^β (a b)).
        chains: left a channel of φ'∘z, right one of z; the first term is φ'(z) ∂^α z. Nothing for the value.
        squares: pairs of equal terms are one term.
    """

    indices: tuple[MultiIndex, ...]
    products: Table
    adjoints: Table
    chains: Table
    squares: Table

    @property
    def order(self) -> int:
        """The highest total order carried."""
        return max(sum(index) for index in self.indices)

    def channel(self, index: MultiIndex) -> int:
        """Return the channel that holds this derivative."""
        return self.indices.index(index)

    @cached_property
    def levels(self) -> tuple[tuple[int, ...], ...]:
        """The channels of φ∘z, those of φ'∘z that they need, those of φ''∘z that these need, ..., the value alone."""
        levels = [tuple(range(len(self.indices)))]
        for _ in range(self.order):
            levels.append(tuple(sorted({term.left for channel in levels[-1] for term in self.chains[channel]})))
        return tuple(levels)

    @cached_property
    def highest(self) -> frozenset[int]:
        """The channels, other than the value, that no other one contains: they enter every rule linearly."""
        below = {channel for terms in self.products for _, *pair in terms[1:-1] for channel in pair}
        return frozenset(range(1, len(self.indices))) - below


@cache
def algebra(indices: frozenset[MultiIndex]) -> Algebra:
    """Return the algebra over the smallest downward closed set that holds these multi-indices."""
    closed = {below for index in indices for below in _below(index)}
    channels = tuple(sorted(closed, key=lambda index: (sum(index), tuple(-times for times in index))))
    position = {index: channel for channel, index in enumerate(channels)}
    products = tuple(_leibniz(alpha, alpha, position) for alpha in channels)
    return Algebra(
        indices=channels,
        products=products,
        adjoints=tuple(_adjoint(channel, products) for channel in range(len(channels))),
        chains=((), *(_leibniz(_lowered(alpha), alpha, position) for alpha in channels[1:])),
        squares=tuple(_square(terms) for terms in products),
    )


def _leibniz(lower: MultiIndex, alpha: MultiIndex, position: dict[MultiIndex, int]) -> tuple[Term, ...]:
    """Return C(lower,β) a[β] b[α-β] for every β ≤ lower, β = 0 first."""
    return tuple(Term(_binomial(lower, beta), position[beta], position[_minus(alpha, beta)]) for beta in _below(lower))


def _adjoint(channel: int, products: Table) -> tuple[Term, ...]:
    """Return the terms of ∂L/∂b[channel]: one for every product that reads b[channel]."""
    return tuple(
        Term(term.times, term.left, alpha)
        for alpha, terms in enumerate(products)
        for term in terms
        if term.right == channel
    )


def _square(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    inner = (term for term in terms if 0 < term.left <= term.right)
    return tuple(term if term.left == term.right else term._replace(times=2 * term.times) for term in inner)


def _lowered(alpha: MultiIndex) -> MultiIndex:
    """Return α - e for the coordinate e that α holds least often: this leaves the fewest β ≤ α - e."""
    axis = min((axis for axis, times in enumerate(alpha) if times), key=lambda axis: alpha[axis])
    return tuple(times - (index == axis) for index, times in enumerate(alpha))


def _below(index: MultiIndex) -> Iterable[MultiIndex]:
    return product(*(range(times + 1) for times in index))


def _minus(alpha: MultiIndex, beta: MultiIndex) -> MultiIndex:
    return tuple(a - b for a, b in zip(alpha, beta, strict=True))


def _binomial(alpha: MultiIndex, beta: MultiIndex) -> int:
    return math.prod(math.comb(a, b) for a, b in zip(alpha, beta, strict=True))
