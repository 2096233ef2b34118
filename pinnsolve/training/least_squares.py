r"""Gauss-Newton on the output layer alone: dense least squares by Householder QR.

With the hidden layers fixed, the solution is affine in the output weights; so is the residual of a
linear equation, and one solve is its exact minimiser. Normal equations would square the condition
number and stop at 1e-8; QR keeps all digits. Rows come in chunks, R ← qr([R; J_chunk]), so that memory
holds a few chunks however many points there are (tall-skinny QR; Demmel, Grigori, Hoemmen, Langou
(2012), SIAM J. Sci. Comput. 34, A206-A239).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pinnsolve.networks import Network
from pinnsolve.training.frozen import Derivatives, FrozenObjective, is_freezable
from pinnsolve.training.jacobian import jacobian
from pinnsolve.training.objective import Objective
from pinnsolve.training.workers import ALONE, Workers

DAMPING = 1e-13  # of each column's norm: far below what a column contributes, far above underflow
# of a unit with a kink: two whose kinks lie between the same points cancel at all of them, and no point sees how large
# they are; less than the residual that a layer of kinked units can reach, about one by their number
KINK_DAMPING = 1e-3
CHORD = 0.1  # a step with a factorisation at hand that leaves more of the objective calls for another one
WORTHWHILE = 0.5  # of the objective: where a step leaves more it is the last
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
            damped = damping_rows(chunk[:, :-1], damping, fields)
            factor = torch.diag(torch.cat([damped, damped.new_zeros(1)]))  # the right-hand side is not damped
        factor = torch.linalg.qr(torch.cat([factor, chunk]), mode="r").R
    if factor is None:
        raise ValueError("a least-squares problem needs rows")
    return factor if workers.count == 1 else torch.linalg.qr(workers.stacked(factor), mode="r").R


def damping_rows(matrix: Tensor, damping: float | Tensor, fields: Tensor | None = None) -> Tensor:
    """Return the diagonal (P,) of the rows that damp a least-squares problem with this matrix (M, P)."""
    norms = torch.linalg.vector_norm(matrix, dim=0)
    # a unit that is affine on the whole domain may vanish in the equations and not in the solution: damped by
    # its own norm alone, it gets a huge weight, and the solution drowns in its rounding
    numbers = torch.zeros_like(norms) if fields is None else fields
    for field in numbers.unique():
        own = norms[numbers == field]
        norms[numbers == field] = own.clamp_min(float(own.median()))
    return norms * damping


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
    solution = _solved(factor[:size, :size], factor[:size, size])
    return solution, float(factor[size, size].abs()) if len(factor) > size else 0.0


def _solved(triangle: Tensor, right: Tensor) -> Tensor:
    """Return x (P,) with R x = b; a column that vanishes everywhere (a dead unit) has a zero there, and x stays 0."""
    dead = triangle.diagonal().abs() <= torch.finfo(triangle.dtype).tiny
    triangle = triangle.triu() + torch.diag(dead.to(triangle.dtype))
    return torch.linalg.solve_triangular(triangle, torch.where(dead, 0.0, right)[:, None], upper=True)[:, 0]


@dataclass(frozen=True)
class Reflections:
    """The QR decomposition of a matrix (M, P), M ≥ P, as LAPACK leaves it.

    Attributes:
        vectors: Householder vectors below the diagonal, R on and above it, (M, P).
        factors: of the reflections, (P,).
    """

    vectors: Tensor
    factors: Tensor

    @classmethod
    def of(cls, matrix: Tensor) -> Reflections:
        """Return that of a matrix (M, P)."""
        return cls(*torch.geqrf(matrix))

    @property
    def triangle(self) -> Tensor:
        """R (P, P), with the vectors below it."""
        return self.vectors[: self.vectors.shape[1]]

    def turned(self, right: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first P numbers of Qᵀ b for b (M,), and the sum of the others' squares."""
        size = self.vectors.shape[1]
        turned = torch.ormqr(self.vectors, self.factors, right[:, None], left=True, transpose=True)[:, 0]
        return turned[:size], turned[size:].square().sum()


@dataclass(frozen=True)
class Factorization:
    """The QR decomposition of a damped matrix, to solve with for many right-hand sides.

    Attributes:
        own: that of this process' rows.
        joint: that of the triangles of all processes, one below the other; that of `own` if there is one process.
        workers: the processes that hold rows.
    """

    own: Reflections
    joint: Reflections
    workers: Workers = ALONE

    @classmethod
    def of(
        cls, matrix: Tensor, damping: float | Tensor, fields: Tensor | None = None, workers: Workers = ALONE
    ) -> Factorization:
        """Return that of a matrix (M, P) below the rows that damp it; every process has as many rows."""
        damped = torch.diag(damping_rows(matrix, damping, fields))
        own = Reflections.of(torch.cat([damped, matrix.t()], 1).t())
        return cls(own, own if workers.count == 1 else Reflections.of(workers.stacked(own.triangle.triu())), workers)

    def solve(self, right: Tensor) -> tuple[Tensor, float]:
        """Return x (P,) that minimises ‖A x - b‖₂² + ‖D x‖₂² for b (M,), and that minimum."""
        size = self.own.vectors.shape[1]
        head, left = self.own.turned(torch.cat([right.new_zeros(size), right]))
        if self.workers.count > 1:
            head, more = self.joint.turned(self.workers.stacked(head))
            left = self.workers.total(left) + more
        return _solved(self.joint.triangle, head), float(left)


def solve_output_layer(
    objective: Objective,
    output: nn.Module,
    points: Sequence[Tensor],
    *,
    iterations: int,
    damping: float | Tensor = DAMPING,
    about: Sequence[Derivatives] | None = None,
) -> tuple[float, int]:
    """Minimise the objective over the output layer; return its value and the residual evaluations it took.

    Args:
        objective: the residuals, evaluated with the network that holds `output`.
        output: the layer whose weights change; all others should have requires_grad False.
        points: one tensor (N, d) per block.
        iterations: Gauss-Newton steps; 1 is exact for linear problems. A step that does not lower the
            objective is halved up to five times, then the iteration ends.
        damping: μ of `least_squares`, as of `output_damping`.
        about: derivatives of another network, near the solution, that a nonlinear problem is linearised about first.
    """
    count, fields = sum(objective.total_count(place) for place in points), _fields(output)
    weights = parameters_to_vector(output.parameters()).detach().clone()
    if iterations > 1 and is_freezable(objective, output, points):
        frozen = FrozenObjective.of(objective, output, points)
        weights, loss, evaluations = _frozen_newton(frozen, weights, iterations, damping, fields, about)
        vector_to_parameters(weights, output.parameters())
        return loss, evaluations * count

    def value(weights: Tensor) -> float:
        vector_to_parameters(weights, output.parameters())
        return objective.value(points)

    loss, evaluations = value(weights), 1
    for _ in range(iterations):
        step, _ = least_squares(_stacked(objective, output, points), damping, objective.workers, fields)
        tried, trial, values = _searched(value, weights, step, loss)
        evaluations += 1 + values
        if not trial < loss:
            break
        gain, loss, weights = trial / loss, trial, tried
        if gain > WORTHWHILE:
            break
    vector_to_parameters(weights, output.parameters())
    return loss, evaluations * count


def _frozen_newton(
    frozen: FrozenObjective,
    weights: Tensor,
    iterations: int,
    damping: float | Tensor,
    fields: Tensor,
    about: Sequence[Derivatives] | None,
) -> tuple[Tensor, float, int]:
    """Return output weights (P,) of least objective, their objective, and how often residuals were evaluated.

    One factorisation serves as many steps as gain a factor of 10 each: it costs P times as much as they. The last one
    is made so near the solution that the linear model tells what its first step leaves.
    """
    loss, evaluations, workers = frozen.value(weights), 1, frozen.objective.workers
    for _ in range(iterations):
        rows, before = frozen.rows(weights, about), inf if about else loss
        factorization, right, about = Factorization.of(rows[:, :-1], damping, fields, workers), rows[:, -1], None
        step, left = factorization.solve(right)
        tried, trial, values = _searched(frozen.value, weights, step, loss)
        is_linear, evaluations = WORTHWHILE * left <= trial <= left / WORTHWHILE, evaluations + 1 + values
        while trial < loss:
            gain, loss, weights = trial / loss, trial, tried
            if is_linear or gain >= CHORD:
                break
            step, _ = factorization.solve(frozen.residual(weights))
            tried, trial, values = _searched(frozen.value, weights, step, loss)
            evaluations += values
        if is_linear or not loss < WORTHWHILE * before:
            break
    return weights, loss, evaluations


def _searched(
    value: Callable[[Tensor], float], weights: Tensor, step: Tensor, loss: float
) -> tuple[Tensor, float, int]:
    """Return the weights after a step, halved until it lowers the loss, what they leave, and how many were tried."""
    for halving in range(6):
        tried = weights - step * 0.5**halving
        trial = value(tried)
        if trial < loss:
            break
    return tried, trial, halving + 1


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
