"""The least-squares objective: residuals of equations and of soft conditions on their own points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import inf

import numpy as np
import sympy
import torch
from torch import Generator, Tensor, nn

from pinnsolve.derivatives import Differentiator, Jet
from pinnsolve.networks import points_at_once
from pinnsolve.problems import Condition, Partial, Problem, Residual
from pinnsolve.problems.formulas import Formula, numpy_functions, torch_functions
from pinnsolve.training.sampling import Sampler, residual_weighted
from pinnsolve.training.settings import TrainingSettings
from pinnsolve.training.weighting import CausalWeights, Weighting
from pinnsolve.training.workers import ALONE, Workers

CAUSAL_SHARPNESS = 1.0  # nonlinear problems gain a little from it or lose nothing; from 8 on, fronts are found late


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
        weighting: what gradient steps multiply residuals with on top of the factors.
        layerwise: whether one backward pass gives the Jacobian (Taylor mode, finite differences).
        workers: the processes that have points of their own; means are taken over all of them.
    """

    fields: nn.Module
    differentiator: Differentiator
    blocks: tuple[Block, ...]
    weighting: Weighting
    layerwise: bool = True
    workers: Workers = ALONE

    @property
    def names(self) -> tuple[str, ...]:
        """The residuals' names, in the order of `residuals`."""
        return tuple(residual.name for block in self.blocks for residual in block.residuals)

    def places(self, index: int) -> slice:
        """Return where the residuals of a block stand among `names`."""
        first = sum(len(earlier.residuals) for earlier in self.blocks[:index])
        return slice(first, first + len(self.blocks[index].residuals))

    def draw(self, count: int, fraction: float, generator: Generator, ends: float = 0.0) -> list[Tensor]:
        """Return fresh points for every block: `count` in the interior, fewer on faces.

        Args:
            count: of the interior points.
            fraction: of them that are chosen by the residual.
            generator: source of the choice.
            ends: share of the others that gather towards the ends of the coordinates.
        """
        return [
            self._interior(block, count, fraction, generator, ends)
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
            self.workers.mean(float(values.square().sum()) * factor**2 / len(place))
            for block, place in zip(self.blocks, points, strict=True)
            for values, factor in zip(self.values(block, place), block.factors, strict=True)
        ]
        return dict(zip(self.names, shares, strict=True))

    def typical_residual(self, points: Sequence[Tensor]) -> float:
        """Return the median of |r| over the interior points, each equation by its factor; no number counts as large."""
        block, place = self.blocks[0], points[0]
        return float(self._magnitude(block, self.values(block, place)).nan_to_num(nan=inf).median())

    @property
    def chunk(self) -> int:
        """Points that are evaluated at once without a graph."""
        return points_at_once(self.fields)

    def residuals(self, points: Sequence[Tensor]) -> list[Tensor]:
        """Return residuals as gradient steps weigh them, one (N_k,) per name; their squares sum to the loss."""
        found = []
        for index, (block, place) in enumerate(zip(self.blocks, points, strict=True)):
            values = self.raw(block, place)
            magnitudes = self._magnitude(block, values) if block.is_interior else None
            factors = self.step_factors(index, place, self.total_count(place), magnitudes)
            found += [value * factor for value, factor in zip(values, factors, strict=True)]
        return found

    def step_factors(
        self, index: int, points: Tensor, count: int, magnitudes: Tensor | None = None
    ) -> list[Tensor | float]:
        """Return what gradient steps multiply each residual of a block with.

        Args:
            index: the block.
            points: all its points, or some of them.
            count: how many there are in all.
            magnitudes: |r| (N,) at the points, where the mean over them shall be corrected.
        """
        block = self.blocks[index]
        by_point = self.weighting.point_factors(points, magnitudes) if block.is_interior else 1.0
        multipliers = self.weighting.multipliers[self.places(index)]
        return [
            by_point * (multiplier.sqrt() * (factor / count**0.5))
            for multiplier, factor in zip(multipliers, block.factors, strict=True)
        ]

    def plain_factors(self, index: int) -> list[float]:
        """Return the factors of a block that make its residuals pure numbers, without a condition's weight."""
        weights = self.weighting.fixed[self.places(index)]
        return [factor / weight**0.5 for factor, weight in zip(self.blocks[index].factors, weights, strict=True)]

    def step_loss(self, points: Sequence[Tensor]) -> Tensor:
        """Return the loss of gradient steps () without a graph, in chunks, still on the device."""
        total: Tensor = points[0].new_zeros(())
        with torch.no_grad():
            for index, (block, place) in enumerate(zip(self.blocks, points, strict=True)):
                for part in place.split(self.chunk):
                    factors = self.step_factors(index, part, self.total_count(place))
                    for value, factor in zip(self.raw(block, part), factors, strict=True):
                        total += (value * factor).square().sum()
        return self.workers.total(total)

    def total_count(self, points: Tensor) -> int:
        """Return how many points all processes have together, given one's own."""
        return len(points) * self.workers.count

    def terms(self, points: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return each residual's share of the loss of gradient steps."""
        values = (residual.square().sum() for residual in self.residuals(points))
        return dict(zip(self.names, values, strict=True))

    def _magnitude(self, block: Block, values: Sequence[Tensor]) -> Tensor:
        """Return the root of the sum of squared residuals (N,), each by its factor."""
        weighted = zip(values, block.factors, strict=True)
        return torch.stack([(value.detach() * factor).square() for value, factor in weighted]).sum(0).sqrt()

    def _interior(self, block: Block, count: int, fraction: float, generator: Generator, ends: float) -> Tensor:
        causal = self.weighting.causal

        def magnitude(points: Tensor) -> Tensor:
            found = self._magnitude(block, self.values(block, points))
            if causal is None:
                return found
            causal.observe(points, found.square())
            return found * causal(points).sqrt()

        points = residual_weighted(block.sampler, count, fraction, magnitude, generator, ends)
        if fraction == 0 and causal is not None:
            magnitude(points)  # without candidates the points themselves show where the residual is
        return points


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
    soft: Sequence[Condition],
    settings: TrainingSettings,
    *,
    field_scales: dict[str, float],
    layerwise: bool,
    damping: sympy.Expr = sympy.S.One,
    workers: Workers = ALONE,
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
        settings: weights of conditions, of times, of points.
        field_scales: natural size of each field, for the scales of residuals.
        layerwise: whether the maker of jets allows Jacobians by one backward pass.
        damping: a function of the coordinates that the equations' residuals are multiplied with.
        workers: the processes that train together, each on points of its own.
        seed: of the points.
        dtype, device: of the points.
    """
    seed = workers.seed(seed)

    def factor(residual: Residual, weight: float) -> float:
        return weight**0.5 / residual_scale(residual, problem, field_scales)

    interior = Block(
        tuple(replace(each, expression=damping * each.expression) for each in problem.equations),
        tuple(factor(equation, 1.0) for equation in problem.equations),
        Sampler(problem, None, seed, dtype, device),
        is_interior=True,
    )
    faces = [
        Block(
            (condition.residual,),
            (factor(condition.residual, settings.condition_weight),),
            Sampler(problem, condition, seed + 1 + index, dtype, device),
            is_interior=False,
        )
        for index, condition in enumerate(soft)
    ]
    fixed = [1.0] * len(problem.equations) + [settings.condition_weight] * len(faces)
    like = torch.empty((), dtype=dtype, device=device)
    weighting = Weighting(fixed, _causal_weights(problem, settings, workers, like), settings.corrected_share, like)
    return Objective(fields, differentiator, (interior, *faces), weighting, layerwise, workers)


def _causal_weights(
    problem: Problem, settings: TrainingSettings, workers: Workers, like: Tensor
) -> CausalWeights | None:
    """Return the weights by time that the settings ask for; None for a steady problem."""
    axis = problem.time_axis
    sharpness = settings.causal
    if sharpness == "auto":
        sharpness = 0.0 if problem.is_linear else CAUSAL_SHARPNESS
    if axis is None or problem.coordinates[axis].periodic or len(problem.coordinates) == 1 or not sharpness:
        return None
    time = problem.coordinates[axis]
    return CausalWeights(axis, time.lower, time.upper, sharpness, like, workers)
