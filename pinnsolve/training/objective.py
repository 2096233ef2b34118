"""The least-squares objective: residuals of equations and of soft conditions on their own points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import sympy
import torch
from torch import Generator, Tensor, nn

from pinnsolve.derivatives import Differentiator, Jet
from pinnsolve.networks import points_at_once
from pinnsolve.problems import Partial, Problem, Residual
from pinnsolve.problems.formulas import Formula, numpy_functions, torch_functions
from pinnsolve.training.sampling import Sampler, residual_weighted


@dataclass(frozen=True)
class Block:
    """Residuals that are evaluated on the same points.

    Attributes:
        residuals: the equations, or one condition.
        factors: what each residual is multiplied with in the objective; its square is the weight.
        sampler: where the points come from.
        is_interior: whether these are the equations (which get residual-weighted points).
    """

    residuals: tuple[Residual, ...]
    factors: tuple[float, ...]
    sampler: Sampler
    is_interior: bool

    @property
    def partials(self) -> tuple[Partial, ...]:
        """Every partial derivative that the block reads."""
        return tuple(sorted(set(chain.from_iterable(residual.partials for residual in self.residuals))))


@dataclass(frozen=True)
class Objective:
    """L(θ) = Σ_k factor_k² mean_n r_k(x_n; θ)², a sum over equations and soft conditions.

    Attributes:
        fields: the ansatz.
        differentiator: the maker of jets.
        blocks: equations first, then one block per soft condition.
    """

    fields: nn.Module
    differentiator: Differentiator
    blocks: tuple[Block, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The residuals' names, in the order of `residuals`."""
        return tuple(residual.name for block in self.blocks for residual in block.residuals)

    def draw(self, count: int, fraction: float, generator: Generator) -> list[Tensor]:
        """Return fresh points for every block: `count` in the interior, fewer on faces."""
        return [
            self._interior(block, count, fraction, generator)
            if block.is_interior
            else block.sampler.draw(max(count // 8, 16))
            for block in self.blocks
        ]

    def raw(self, block: Block, points: Tensor) -> list[Tensor]:
        """Return the residuals (N,) of a block at points (N, d), in the units of the problem file."""
        jet: Jet = self.differentiator(self.fields, points, block.partials)
        return [residual(torch_functions(), jet.columns, jet) for residual in block.residuals]

    def values(self, block: Block, points: Tensor) -> list[Tensor]:
        """Return the same as `raw` without a graph, in chunks whose hidden values fit in the cache."""
        with torch.no_grad():
            chunks = [self.raw(block, part) for part in points.split(self.chunk)]
        return [torch.cat(parts) for parts in zip(*chunks, strict=True)]

    def value(self, points: Sequence[Tensor]) -> float:
        """Return the objective at these points, without a graph."""
        return sum(self.term_values(points).values())

    def term_values(self, points: Sequence[Tensor]) -> dict[str, float]:
        """Return each residual's share of the objective, without a graph."""
        shares = [
            float(values.square().sum()) * factor**2 / len(place)
            for block, place in zip(self.blocks, points, strict=True)
            for values, factor in zip(self.values(block, place), block.factors, strict=True)
        ]
        return dict(zip(self.names, shares, strict=True))

    @property
    def chunk(self) -> int:
        """Points that are evaluated at once without a graph."""
        return points_at_once(self.fields)

    def residuals(self, points: Sequence[Tensor]) -> list[Tensor]:
        """Return weighted residuals, one (N_k,) per name, whose squares sum to the objective."""
        return [
            residual * (factor / len(place) ** 0.5)
            for block, place in zip(self.blocks, points, strict=True)
            for residual, factor in zip(self.raw(block, place), block.factors, strict=True)
        ]

    def terms(self, points: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return each residual's share of the objective."""
        values = (residual.square().sum() for residual in self.residuals(points))
        return dict(zip(self.names, values, strict=True))

    def _interior(self, block: Block, count: int, fraction: float, generator: Generator) -> Tensor:
        def magnitude(points: Tensor) -> Tensor:
            weighted = zip(self.values(block, points), block.factors, strict=True)
            return torch.stack([residual.square() * factor**2 for residual, factor in weighted]).sum(0).sqrt()

        return residual_weighted(block.sampler, count, fraction, magnitude, generator)


def residual_scale(residual: Residual, problem: Problem, field_scales: dict[str, float]) -> float:
    """Return the characteristic size of a residual: its largest term for fields of their natural scales.

    A derivative ∂^α u is sized scale(u) / Π (length_i / 2)^α_i and coordinates take a few values across
    the box, so that residuals of equations in any units are compared as pure numbers.
    """
    terms = sympy.Add.make_args(residual.placed)
    lower, upper = problem.box
    symbols = [*problem.symbols, *residual.placeholders.values()]
    sizes = [field_scales[p.field] / _length_product(p, problem) for p in residual.placeholders]
    largest = 0.0
    for fraction in (0.21, 0.5, 0.77):
        values = [*(lower + fraction * (upper - lower)), *sizes]
        with np.errstate(all="ignore"):  # a term may be singular at one of the points
            found = Formula(terms, symbols)(numpy_functions(), [np.float64(value) for value in values])
        largest = max([largest, *(abs(float(value)) for value in found if abs(float(value)) < float("inf"))])
    return largest if largest > 0 else 1.0


def _length_product(partial: Partial, problem: Problem) -> float:
    result = 1.0
    for times, coordinate in zip(partial.orders, problem.coordinates, strict=True):
        result *= (0.5 * coordinate.length) ** times
    return result


def build_objective(
    problem: Problem,
    fields: nn.Module,
    differentiator: Differentiator,
    soft: Sequence,
    *,
    field_scales: dict[str, float],
    condition_weight: float,
    seed: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Objective:
    """Return the objective of a problem: its equations, and the conditions that are not built in.

    Args:
        problem: equations and box.
        fields: the ansatz.
        differentiator: the maker of jets.
        soft: the conditions that are residuals.
        field_scales: natural size of each field, for the scales of residuals.
        condition_weight: weight of a condition's mean square, both in units of their scales.
        seed: of the points.
        dtype, device: of the points.
    """

    def factor(residual: Residual, weight: float) -> float:
        return weight**0.5 / residual_scale(residual, problem, field_scales)

    interior = Block(
        problem.equations,
        tuple(factor(equation, 1.0) for equation in problem.equations),
        Sampler(problem, None, seed, dtype, device),
        is_interior=True,
    )
    faces = [
        Block(
            (condition.residual,),
            (factor(condition.residual, condition_weight),),
            Sampler(problem, condition, seed + 1 + index, dtype, device),
            is_interior=False,
        )
        for index, condition in enumerate(soft)
    ]
    return Objective(fields, differentiator, (interior, *faces))
