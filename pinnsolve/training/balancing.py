"""How strongly each residual pulls at the parameters: what balanced weights make equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from pinnsolve.training.jacobian import jacobian_maker
from pinnsolve.training.objective import Objective

SAMPLE = 256  # points per residual; a norm known to a tenth will do


def pulls(
    objective: Objective, module: nn.Module, points: Sequence[Tensor], measure: Literal["gradient-norm", "ntk"]
) -> list[float]:
    r"""Return one positive number per residual, of the mean square m_k = mean_n r_k(x_n)² in pure numbers.

        gradient-norm:  ‖∂m_k/∂θ‖ = ‖2 Jᵀr / N‖,        ntk:  tr(J Jᵀ) / N.

    Args:
        objective: the residuals.
        module: holds the parameters θ.
        points: one tensor (N, d) per block.
        measure: which of the two.
    """
    found = []
    derivative = jacobian_maker(objective.layerwise)
    for index, (block, place) in enumerate(zip(objective.blocks, points, strict=True)):
        part = place[:SAMPLE]
        values, columns = derivative(module, lambda b=block, p=part: objective.raw(b, p))  # type: ignore[misc]
        for value, column, factor in zip(values, columns, objective.plain_factors(index), strict=True):
            if measure == "ntk":
                size = factor**2 * column.square().sum() / len(part)
            else:
                size = 2 * factor**2 * (column @ value).norm() / len(part)
            found.append(objective.workers.mean(float(size)))
    return found
