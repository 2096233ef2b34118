r"""Jets by finite differences: products of one-dimensional stencils, all nodes in one batch.

    ∂^α f(x) = Π_a h_a^-α_a Σ_j c_j f(x + j h) + truncation + rounding,    j: a vector of integers

Two sources of error that do not belong to the law of truncation and rounding are kept out.

1. The nodes' positions. A node is fl(x + j h), and a misplacement by u|x| would cost as much as the
   noise of f itself. Steps are therefore rounded to 8 significant bits (0.2 % at most): then j h is exact,
   and x + j h is exact for every x whose last bit is not finer than the step's, or is wrong by
   no more than u |j h|. Only points that cross a power of two within the stencil keep an error of u|x|;
   the audit's points and steps, short binary fractions, have none.
2. The sum. Σ c_j = 0 for every derivative, so that the sum is taken of f(x + j h) - f(reference node):
   differences of close values are exact (Sterbenz), and a constant has derivatives exactly zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from pinnsolve.derivatives.jet import Differentiator, Fields, Jet
from pinnsolve.derivatives.stencils import Family, Stencil, family
from pinnsolve.errors import SettingsError
from pinnsolve.problems import Partial

Orders = tuple[int, ...]
Node = tuple[int, ...]  # one slot per coordinate; slot 0 is the point itself
STEP_BITS = 8


def finite_differences(
    scheme: str, steps: Sequence[float], lower: Sequence[float], upper: Sequence[float], periodic: Sequence[bool]
) -> Differentiator:
    """Return the differentiator of this scheme and these steps.

    Nodes never leave [lower, upper]: near an end the stencil moves inwards, with as many nodes as the
    same order of accuracy needs. Periodic coordinates have no ends, their fields must be periodic.
    The jet is differentiable with respect to the fields' parameters (not the points).

    Args:
        scheme: forward, backward, one_sided, central2, central4 or central6.
        steps: h > 0, one per coordinate, in its unit.
        lower: the lower ends, one per coordinate.
        upper: the upper ends.
        periodic: which coordinates are periodic.

    Raises:
        SettingsError: the scheme is unknown, a step is not positive or (when called) too large for the domain.
    """
    return FiniteDifferences(scheme, tuple(map(short_step, steps)), tuple(lower), tuple(upper), tuple(periodic))


def short_step(step: float) -> float:
    """Return the step rounded to 8 significant bits.

    >>> short_step(0.001) * 2**17
    131.0
    """
    if not 0 < step < math.inf:
        raise SettingsError(f"a finite-difference step must be positive, got {step}")
    mantissa, exponent = math.frexp(step)
    return math.ldexp(round(mantissa * 2**STEP_BITS), exponent - STEP_BITS)


@dataclass(frozen=True)
class FiniteDifferences:
    """The differentiator that `finite_differences` returns; one entry per coordinate everywhere."""

    scheme: str
    steps: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    periodic: tuple[bool, ...]

    def __post_init__(self) -> None:
        family(self.scheme, 1)  # refuses an unknown scheme
        lengths = {len(self.steps), len(self.lower), len(self.upper), len(self.periodic)}
        if len(lengths) > 1:
            raise SettingsError(
                f"steps, lower, upper and periodic need one entry per coordinate, got {sorted(lengths)}"
            )

    def __call__(self, fields: Fields, points: Tensor, partials: Sequence[Partial]) -> Jet:
        """Return the jet of the fields at points (N, d); fields see all nodes at once, (S, N, d)."""
        if not partials:
            return Jet(points, {})
        batch = self.batch(points, [partial.orders for partial in partials])
        values = fields(batch.nodes)
        return Jet(points, {partial: batch.derivative(values[partial.field], partial.orders) for partial in partials})

    @torch.no_grad()
    def batch(self, points: Tensor, orders: Sequence[Orders]) -> NodeBatch:
        """Return the nodes and weights of the derivatives ∂^α, α in orders, at points (N, d).

        Raises:
            SettingsError: a stencil does not fit into the domain.
        """
        dimensions = range(len(self.steps))
        axes = [self._axis(points[:, a], a, sorted({alpha[a] for alpha in orders} - {0})) for a in dimensions]
        weights: dict[Orders, dict[Node, Tensor]] = {alpha: _weights(alpha, axes, points) for alpha in orders}
        kept = sorted({node for rows in weights.values() for node in rows})
        offsets = [
            torch.stack([axis.offsets[slot] for axis, slot in zip(axes, node, strict=True)], -1) for node in kept
        ]
        return NodeBatch(
            nodes=points + torch.stack(offsets) * points.new_tensor(self.steps),
            weights={alpha: torch.stack(list(rows.values())) for alpha, rows in weights.items()},
            places={alpha: tuple(kept.index(node) for node in rows) for alpha, rows in weights.items()},
            leading={(a, order): value for a, axis in enumerate(axes) for order, value in axis.leading.items()},
            steps=self.steps,
        )

    def _axis(self, x: Tensor, axis: int, orders: Sequence[int]) -> _Axis:
        """Return the nodes along one coordinate x (N,) that serve derivatives of these orders."""
        families = [family(self.scheme, order) for order in orders]
        left, right = self._room(x, axis, max((each.reach for each in families), default=0))
        choices = [_first_fit(each, left, right) for each in families]
        if any(bool((choice < 0).any()) for choice in choices):
            raise SettingsError(self._too_large(axis, max(each.span for each in families)))
        return _joined(families, choices, x)

    def _room(self, x: Tensor, axis: int, reach: int) -> tuple[Tensor, Tensor]:
        """Return how many whole steps, at most `reach`, each point may go down and up, (N,) each.

        Decided by the same arithmetic that places the nodes, so that no rounding can carry one outside.
        """
        if self.periodic[axis] or reach == 0:
            free = torch.full(x.shape, reach, device=x.device)
            return free, free
        distances = self.steps[axis] * torch.arange(1, reach + 1, dtype=x.dtype, device=x.device)[:, None]
        lower, upper = -rounded_down(-self.lower[axis], x.dtype), rounded_down(self.upper[axis], x.dtype)
        return (x - distances >= lower).sum(0), (x + distances <= upper).sum(0)

    def _too_large(self, axis: int, span: int) -> str:
        low, high = self.lower[axis], self.upper[axis]
        return (
            f"the step {self.steps[axis]:g} is too large for {self.scheme} stencils in [{low:g}, {high:g}]; "
            f"at most {(high - low) / span:g} fits everywhere"
        )


@dataclass(frozen=True)
class NodeBatch:
    """The nodes of several derivatives at N points, and what to do with the values there.

    Attributes:
        nodes: (S, N, d).
        weights: c by derivative α, (k, N) each: a point near an end has weights of its own.
        places: which k of the S nodes they belong to.
        leading: A by (coordinate, order along it), (N,) each.
        steps: h, one per coordinate.
    """

    nodes: Tensor
    weights: Mapping[Orders, Tensor]
    places: Mapping[Orders, tuple[int, ...]]
    leading: Mapping[tuple[int, int], Tensor]
    steps: tuple[float, ...]

    def derivative(self, values: Tensor | float, alpha: Orders) -> Tensor:
        """Return ∂^α (N,) of the field that has these values (S, N) at the nodes."""
        values = torch.as_tensor(values, dtype=self.nodes.dtype).expand(self.nodes.shape[:-1])
        if not any(alpha):
            return values[self.places[alpha][0]]
        differences = values[list(self.places[alpha])] - values[0]
        return (self.weights[alpha] * differences).sum(0) / self.scale(alpha)

    def scale(self, alpha: Orders) -> float:
        """Return Π_a h_a^α_a, which divides the weighted sum."""
        return math.prod(step**order for step, order in zip(self.steps, alpha, strict=True))

    def spread(self, alpha: Orders) -> Tensor:
        """Return √Σc² (N,): the standard deviation of Σ c f if every value errs by 1, independently."""
        return self.weights[alpha].square().sum(0).sqrt()

    def uses(self, alpha: Orders) -> Tensor:
        """Return which nodes each point's derivative reads, (S, N)."""
        mask = torch.zeros(self.nodes.shape[:-1], dtype=torch.bool, device=self.nodes.device)
        mask[list(self.places[alpha])] = self.weights[alpha] != 0
        return mask


@dataclass(frozen=True)
class _Axis:
    """The nodes along one coordinate: offsets (1 + K, N) in steps, slot 0 the point itself.

    Unused slots of a point repeat the point itself, with weight 0.
    """

    offsets: Tensor
    weights: Mapping[int, Tensor]  # by order, (1 + K, N)
    leading: Mapping[int, Tensor]  # by order, (N,)


def rounded_down(end: float, dtype: torch.dtype) -> float:
    """Return the largest number of the dtype that is not above an end of the domain."""
    near = torch.tensor(end, dtype=dtype)
    return float(near if float(near) <= end else torch.nextafter(near, torch.tensor(-math.inf, dtype=dtype)))


def _first_fit(candidates: Family, left: Tensor, right: Tensor) -> Tensor:
    """Return the index (N,) of the first stencil that fits into the room of each point, -1 for none."""
    choice = torch.full_like(left, -1)
    for index in reversed(range(len(candidates.stencils))):
        offsets = candidates.stencils[index].offsets
        choice[(-offsets[0] <= left) & (offsets[-1] <= right)] = index
    return choice


def _joined(families: Sequence[Family], choices: Sequence[Tensor], x: Tensor) -> _Axis:
    """Return one set of nodes for all orders: points with the same choice of stencils share their offsets."""
    if not families:
        return _Axis(torch.zeros_like(x)[None], {}, {})
    code, base = torch.zeros_like(choices[0]), 1 + max(len(each.stencils) for each in families)
    for choice in choices:
        code = code * base + choice
    kinds, kind = torch.unique(code, return_inverse=True)  # codes that occur, and which one each point has, (N,)
    chosen = [_stencils(number, families, base) for number in kinds.tolist()]
    unions = [sorted({j for each in stencils for j in each.offsets} - {0}) for stencils in chosen]
    slots = [[0, *union, *[0] * (max(map(len, unions)) - len(union))] for union in unions]
    weights = {
        stencils.derivative: [_placed(row[n], slots[k]) for k, row in enumerate(chosen)]
        for n, stencils in enumerate(chosen[0])
    }
    return _Axis(
        offsets=x.new_tensor(slots)[kind].T,
        weights={order: x.new_tensor(table)[kind].T for order, table in weights.items()},
        leading={
            row.derivative: x.new_tensor([float(r[n].leading) for r in chosen])[kind] for n, row in enumerate(chosen[0])
        },
    )


def _stencils(code: int, families: Sequence[Family], base: int) -> list[Stencil]:
    """Return the stencils, one per family, last family first, whose indices are the digits of the code."""
    stencils = []
    for each in reversed(families):
        code, index = divmod(code, base)
        stencils.append(each.stencils[index])
    return stencils


def _placed(stencil: Stencil, slots: Sequence[int]) -> list[float]:
    """Return the stencil's weights slot by slot; later slots with offset 0 are fillers."""
    weights = dict(zip(stencil.offsets, stencil.weights, strict=True))
    return [float(weights.get(j, 0)) if j or not slot else 0.0 for slot, j in enumerate(slots)]


def _weights(alpha: Orders, axes: Sequence[_Axis], points: Tensor) -> dict[Node, Tensor]:
    """Return the product stencil of ∂^α: weights (N,) by node, nodes that no point needs left out."""
    slots = [range(len(axis.offsets)) if order else range(1) for axis, order in zip(axes, alpha, strict=True)]
    factors = [(a, axes[a].weights[order]) for a, order in enumerate(alpha) if order]
    nodes = list(product(*slots))
    rows = torch.ones(len(nodes), len(points), dtype=points.dtype, device=points.device)
    for a, factor in factors:
        rows = rows * factor[[node[a] for node in nodes]]
    needed = (rows != 0).any(1).tolist()
    return {node: row for node, row, keep in zip(nodes, rows, needed, strict=True) if keep}
