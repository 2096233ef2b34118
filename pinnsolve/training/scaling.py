"""The sizes of equations by the terms that they have in a solution, in one coordinate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf

import sympy
import torch
from torch import Tensor

from pinnsolve.problems.formulas import Formula, torch_functions
from pinnsolve.training.objective import Objective

RESCALED = 10.0  # a change of an equation's size by this factor is worth another solve
NEGLIGIBLE = 1e-6  # of a field's largest value so far: below, it need not be right to its own size


def rescaled(objective: Objective, sizes: list[float]) -> tuple[Objective, bool]:
    """Return the objective with its equations divided by these sizes, and whether that changes much."""
    block, *others = objective.blocks
    factors = tuple(1 / size if 0 < size < inf else 1.0 for size in sizes)
    ratios = [new / old for new, old in zip(factors, block.factors, strict=True)]
    changed = replace(objective, blocks=(replace(block, factors=factors), *others))
    return changed, max(ratios) > RESCALED or min(ratios) < 1 / RESCALED


def term_sizes(
    objective: Objective, points: Tensor, earlier: Mapping[str, float], half_length: float
) -> tuple[list[float], dict[str, float]]:
    """Return the size of each equation's largest term for the present solution, and the largest |u| of each field.

    A derivative of order m is at least u / half_length^m, so that a solution at rest has a scale as well; here u
    is the field's largest value at the points, or `NEGLIGIBLE` of the earlier ones.

    Args:
        objective: of a problem in one coordinate.
        points: (N, 1).
        earlier: the largest |u| of each field elsewhere.
        half_length: of the interval.
    """
    block = objective.blocks[0]
    with torch.no_grad():
        jet = objective.differentiator(objective.fields, points, block.partials)
        values = objective.fields(points)
    found = {name: float(value.abs().max()) for name, value in values.items()}
    least = {name: max(size, NEGLIGIBLE * earlier.get(name, 0.0)) for name, size in found.items()}
    sizes = []
    for residual in block.residuals:
        terms = Formula(sympy.Add.make_args(residual.placed), [*residual.coordinates, *residual.placeholders.values()])
        columns = [
            jet[p] if p.order == 0 else jet[p].abs().clamp(min=least[p.field] / half_length**p.order)
            for p in residual.partials
        ]
        each = terms(torch_functions(), [*jet.columns, *columns])
        sizes.append(max(float(torch.as_tensor(term).abs().max()) for term in each))
    return sizes, {name: max(size, earlier.get(name, 0.0)) for name, size in found.items()}
