r"""Gauss-Newton on the output layer alone: dense least squares by Householder QR.

With the hidden layers fixed, the solution is affine in the output weights; so is the residual of a
linear equation, and one solve is its exact minimiser. Normal equations would square the condition
number and stop at 1e-8; QR keeps all digits. Rows come in chunks, R ← qr([R; J_chunk]), so that memory
holds a few chunks however many points there are (tall-skinny QR; Demmel, Grigori, Hoemmen, Langou
(2012), SIAM J. Sci. Comput. 34, A206-A239).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import inf

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pinnsolve.networks import Network
from pinnsolve.training.frozen import FrozenObjective, is_freezable
from pinnsolve.training.jacobian import jacobian
from pinnsolve.training.objective import Objective
from pinnsolve.training.workers import ALONE, Workers

DAMPING = 1e-13  # of each column's norm: far below what a column contributes, far above underflow
# of a unit with a kink: two whose kinks lie between the same points cancel at all of them, and no point sees how large
# they are; less than the residual that a layer of kinked units can reach, about one by their number
KINK_DAMPING = 1e-3
_NUMBERS_IN_MEMORY = 2**27  # numbers of the matrix that are held at once: 1 GB


def triangular_factor(
    rows: Iterable[Tensor], damping: float | Tensor = 0.0, workers: Workers = ALONE, fields: Tensor | None = None
) -> Tensor:
    """Return the triangular factor R (P, P) of the QR decomposition of all rows stacked.

    Args:
        rows: chunks (m, P) of the matrix; the last column may hold a right-hand side.
        damping: μ, one number or (P - 1,); the rows μ·diag(norms) are put on top of the matrix, with the columns' norms
            in the first chunk, or their median over the columns of the same field if that is larger.
        workers: the processes that hold rows, as many each.
        fields: (P - 1,), a number per column; all the same if not given.
    """
    factor: Tensor | None = None
    for chunk in rows:
        if factor is None:
            norms = torch.linalg.vector_norm(chunk, dim=0)
            # a unit that is affine on the whole domain may vanish in the equations and not in the solution: damped by
            # its own norm alone, it gets a huge weight, and the solution drowns in its rounding
            numbers = torch.zeros_like(norms[:-1]) if fields is None else fields
            for field in numbers.unique():
                own = norms[:-1][numbers == field]
                norms[:-1][numbers == field] = own.clamp_min(float(own.median()))
            norms[-1] = 0.0  # the right-hand side is not damped
            norms[:-1] *= damping
            factor = torch.diag(norms)
        factor = torch.linalg.qr(torch.cat([factor, chunk]), mode="r").R
    if factor is None:
        raise ValueError("a least-squares problem needs rows")
    return factor if workers.count == 1 else torch.linalg.qr(workers.stacked(factor), mode="r").R


def least_squares(
    rows: Iterable[Tensor], damping: float | Tensor = DAMPING, workers: Workers = ALONE, fields: Tensor | None = None
) -> tuple[Tensor, float]:
    """Return x (P,) that minimises ‖A x - b‖₂² + μ² ‖diag(norms) x‖₂², and the norm ‖A x - b‖₂ that remains.

    Args:
        rows: chunks (m, P + 1) of [A b].
        damping: μ, one number or (P,).
        workers: the processes that hold rows.
        fields: (P,), a number per column; norms are those of `triangular_factor`.
    """
    factor = triangular_factor(rows, damping, workers, fields)
    size = factor.shape[1] - 1
    triangle, right = factor[:size, :size], factor[:size, size]
    # a column that vanishes everywhere (a dead unit) has a zero on the diagonal: its weight stays 0
    dead = triangle.diagonal().abs() <= torch.finfo(triangle.dtype).tiny
    triangle = triangle + torch.diag(dead.to(triangle.dtype))
    solution = torch.linalg.solve_triangular(triangle, torch.where(dead, 0.0, right)[:, None], upper=True)[:, 0]
    return solution, float(factor[size, size].abs()) if len(factor) > size else 0.0


def solve_output_layer(
    objective: Objective,
    output: nn.Module,
    points: Sequence[Tensor],
    *,
    iterations: int,
    damping: float | Tensor = DAMPING,
) -> tuple[float, int]:
    """Minimise the objective over the output layer; return its value and the residual evaluations it took.

    Args:
        objective: the residuals, evaluated with the network that holds `output`.
        output: the layer whose weights change; all others should have requires_grad False.
        points: one tensor (N, d) per block.
        iterations: Gauss-Newton steps; 1 is exact for linear problems. A step that does not lower the
            objective is halved up to five times, then the iteration ends.
        damping: μ of `least_squares`, as of `output_damping`.
    """
    frozen = (
        FrozenObjective.of(objective, output, points)
        if iterations > 1 and is_freezable(objective, output, points)
        else None
    )

    def value(weights: Tensor) -> float:
        vector_to_parameters(weights, output.parameters())
        return objective.value(points) if frozen is None else frozen.value(weights)

    count, fields = sum(objective.total_count(place) for place in points), _fields(output)
    weights = parameters_to_vector(output.parameters()).detach().clone()
    loss, evaluations = value(weights), count
    for _ in range(iterations):
        rows = _stacked(objective, output, points) if frozen is None else [frozen.rows(weights)]
        step, _ = least_squares(rows, damping, objective.workers, fields)
        evaluations += count
        for halving in range(6):
            tried = weights - step * 0.5**halving
            trial, evaluations = value(tried), evaluations + count
            if trial < loss:
                break
        else:
            vector_to_parameters(weights, output.parameters())
            return loss, evaluations
        gain, loss, weights = trial / loss, trial, tried
        if gain > 0.5:
            break
    return loss, evaluations


def output_damping(network: Network) -> Tensor:
    """Return μ (P,) for each output weight of a network: more for units that have a kink in the domain.

    A kink lies where a unit's argument is 0. With one hidden layer the arguments are affine in inputs that lie in
    [-1, 1]; with more, all units have kinks.
    """
    parts = []
    for trunk in network:
        reader, outputs = trunk.layers[-1], trunk.output.out_features
        is_kinked = torch.full_like(reader.bias, trunk.activation.smoothness < inf, dtype=torch.bool)
        if len(trunk.layers) == 1:
            is_kinked &= reader.bias.abs() <= reader.weight.abs().sum(1)
        damping = torch.full_like(reader.bias, DAMPING).masked_fill(is_kinked, KINK_DAMPING)
        parts += [damping.repeat(outputs), torch.full_like(trunk.output.bias, DAMPING)]
    return torch.cat(parts).detach()


def _fields(output: nn.Module) -> Tensor:
    """Return the number of the field (P,) that each output weight belongs to."""
    numbers, count = [], 0
    for layer in output.modules():
        if isinstance(layer, nn.Linear):
            own = torch.arange(count, count + layer.out_features, device=layer.weight.device)
            numbers += [own.repeat_interleave(layer.in_features), own]
            count += layer.out_features
    return torch.cat(numbers)


def _stacked(objective: Objective, output: nn.Module, points: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield chunks (m, P + 1) of the weighted Jacobian with the residual as its last column, m ≥ 2 P.

    A chunk is filled column-major, (P + 1, m) in memory, as LAPACK wants it: 1 GB need not be copied about.
    """
    columns = sum(parameter.numel() for parameter in output.parameters()) + 1
    total = sum(len(place) * len(block.residuals) for block, place in zip(objective.blocks, points, strict=True))
    size = min(max(2 * columns, _NUMBERS_IN_MEMORY // columns), total)
    chunk, filled = next(output.parameters()).new_empty(columns, size), 0
    for rows in _rows(objective, output, points):
        taken = min(size - filled, rows.shape[1])
        chunk[:, filled : filled + taken] = rows[:, :taken]
        filled += taken
        if filled == size:
            yield chunk.t()
            filled = rows.shape[1] - taken
            chunk[:, :filled] = rows[:, taken:]
    if filled:
        yield chunk[:, :filled].t()


def _rows(objective: Objective, output: nn.Module, points: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield rows of the weighted Jacobian, transposed, with the residual below them: (P + 1, n)."""
    for block, place in zip(objective.blocks, points, strict=True):
        for part in place.split(objective.chunk):
            values, columns = jacobian(output, lambda b=block, p=part: objective.raw(b, p))  # type: ignore[misc]
            for value, column, factor in zip(values, columns, block.factors, strict=True):
                yield torch.cat([column, value[None]]).mul_(factor / objective.total_count(place) ** 0.5)
