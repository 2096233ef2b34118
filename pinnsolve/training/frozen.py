r"""The objective while the hidden layers stand still: jets are affine in the output weights w.

    ∂^α u(x_n; w) = a_(α,n) + Σ_p A_(α,p,n) w_p

A and a are computed once; every Gauss-Newton step of a nonlinear problem is then matrix products and a few operations
per point, instead of Taylor series through a wide network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from pinnsolve.derivatives import Jet
from pinnsolve.problems import Partial
from pinnsolve.problems.formulas import torch_functions
from pinnsolve.training.jacobian import jacobian
from pinnsolve.training.objective import Block, Objective

_NUMBERS_IN_MEMORY = 2**28  # of all A together: 2 GB

Derivatives = dict[Partial, Tensor]  # the value (N,) of each at the points of a block


def is_affine(objective: Objective) -> bool:
    """Return whether jets are affine in the output weights."""
    return objective.layerwise and bool(getattr(objective.fields, "is_affine", False))


def derivatives(objective: Objective, points: Sequence[Tensor]) -> list[Derivatives]:
    """Return the derivatives that each block reads at its points (N, d), by the network in the objective's fields."""
    return [_jets(objective, block, place) for block, place in zip(objective.blocks, points, strict=True)]


def _jets(objective: Objective, block: Block, points: Tensor) -> Derivatives:
    with torch.no_grad():
        parts = [
            objective.differentiator(objective.fields, part, block.partials) for part in points.split(objective.chunk)
        ]
    return {partial: torch.cat([jet[partial] for jet in parts]) for partial in block.partials}


def is_freezable(objective: Objective, output: nn.Module, points: Sequence[Tensor]) -> bool:
    """Return whether jets are affine in the output weights, and their matrices fit in memory."""
    size = sum(parameter.numel() for parameter in output.parameters())
    numbers = sum(
        size * len(place) * len(block.partials) for block, place in zip(objective.blocks, points, strict=True)
    )
    return is_affine(objective) and numbers <= _NUMBERS_IN_MEMORY


@dataclass(frozen=True)
class FrozenBlock:
    """The jets of one block at its points.

    Attributes:
        block: its residuals.
        points: (N, d).
        constants: a by partial, (N,).
        rows: A by partial, (P, N).
    """

    block: Block
    points: Tensor
    constants: Derivatives
    rows: Derivatives

    @classmethod
    def of(cls, objective: Objective, output: nn.Module, block: Block, points: Tensor) -> FrozenBlock:
        """Return the jets of the objective's fields, whose hidden layers must have requires_grad False."""
        partials = block.partials
        weights = parameters_to_vector(output.parameters()).detach()
        parts = []
        for part in points.split(objective.chunk):

            def jets(part: Tensor = part) -> list[Tensor]:
                jet = objective.differentiator(objective.fields, part, partials)
                return [jet[partial] for partial in partials]

            parts.append(jacobian(output, jets))
        values, rows = zip(*parts, strict=True)
        matrices = {partial: torch.cat([part[k] for part in rows], 1) for k, partial in enumerate(partials)}
        constants = {
            partial: torch.cat([part[k] for part in values]) - matrices[partial].t() @ weights
            for k, partial in enumerate(partials)
        }
        return cls(block, points, constants, matrices)

    def jets(self, weights: Tensor) -> Derivatives:
        """Return every partial derivative (N,) for output weights (P,)."""
        return {partial: self.constants[partial] + rows.t() @ weights for partial, rows in self.rows.items()}

    def residuals(self, jets: Derivatives) -> list[Tensor]:
        """Return the residuals (N,) for these derivatives."""
        jet = Jet(self.points, jets)
        return [residual(torch_functions(), jet.columns, jet) for residual in self.block.residuals]

    def linearised(self, weights: Tensor, about: Derivatives | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each residual (N,), linearised, with its derivative by the output weights, (P, N).

        Args:
            weights: (P,), where the value is that of the linear model.
            about: the derivatives (N,) at which the residual is linearised; those of `weights` if not given.
        """
        moved = self.jets(weights)
        centre = moved if about is None else about
        with torch.enable_grad():
            jets = {partial: value.detach().clone().requires_grad_() for partial, value in centre.items()}
            found = self.residuals(jets)
        for residual in found:
            by_jet = torch.autograd.grad(residual.sum(), list(jets.values()), retain_graph=True, allow_unused=True)
            slope, value = torch.zeros_like(next(iter(self.rows.values()))), residual.detach()
            for factor, (partial, rows) in zip(by_jet, self.rows.items(), strict=True):
                if factor is not None:
                    slope.addcmul_(rows, factor[None])
                    value = value + factor * (moved[partial] - centre[partial])
            yield value, slope


@dataclass(frozen=True)
class FrozenObjective:
    """L as a function of the output weights alone, at fixed points.

    Attributes:
        objective: weights and processes.
        blocks: the jets of each block.
    """

    objective: Objective
    blocks: tuple[FrozenBlock, ...]

    @classmethod
    def of(cls, objective: Objective, output: nn.Module, points: Sequence[Tensor]) -> FrozenObjective:
        """Return the objective at these points, one tensor (N, d) per block."""
        pairs = zip(objective.blocks, points, strict=True)
        return cls(objective, tuple(FrozenBlock.of(objective, output, block, place) for block, place in pairs))

    def value(self, weights: Tensor) -> float:
        """Return the objective for output weights (P,)."""
        return float(self.objective.workers.total(self.residual(weights).square().sum()))

    def residual(self, weights: Tensor) -> Tensor:
        """Return all weighted residuals (M,) for output weights (P,); their squares sum to this process' part of it."""
        with torch.no_grad():
            return torch.cat(
                [
                    values * (factor / self.objective.total_count(frozen.points) ** 0.5)
                    for frozen in self.blocks
                    for values, factor in zip(frozen.residuals(frozen.jets(weights)), frozen.block.factors, strict=True)
                ]
            )

    def rows(self, weights: Tensor, about: Sequence[Derivatives] | None = None) -> Tensor:
        """Return the weighted Jacobian with the residual as its last column, (M, P + 1), column-major.

        Args:
            weights: (P,).
            about: the derivatives at which the residuals are linearised, by block; those of `weights` if not given.
        """
        total = sum(len(frozen.points) * len(frozen.block.residuals) for frozen in self.blocks)
        result, filled = weights.new_empty(len(weights) + 1, total), 0
        for index, frozen in enumerate(self.blocks):
            count = self.objective.total_count(frozen.points)
            slopes = frozen.linearised(weights, None if about is None else about[index])
            for (value, slope), factor in zip(slopes, frozen.block.factors, strict=True):
                part = result[:, filled : filled + len(value)]
                torch.mul(slope, factor / count**0.5, out=part[:-1])
                part[-1] = value * (factor / count**0.5)
                filled += len(value)
        return result.t()
