r"""Sketched Gauss-Newton: damped Gauss-Newton steps in random subspaces, for networks too large for JᵀJ.

Columns of J are compressed layer by layer: the weights and the bias [W b] of a layer change by A Z Bᵀ, where A and B
are subsampled randomized cosine transforms, new ones in every step. The gradient of a residual with respect to Z is a
product of two short vectors per point, so that no row of J of length P is ever formed. A transform of all P columns at
once (DSGNAR) needs such rows: on a 4 × 64 network it took seven times as long per step as all the rest. Rows are
compressed by a count sketch where there are many more of them than columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pinnsolve.errors import SettingsError
from pinnsolve.training.jacobian import Trace, by_channel, traced
from pinnsolve.training.linear_models import NormalEquations
from pinnsolve.training.loop import StepResult
from pinnsolve.training.objective import Objective

COLUMNS = 768  # half of it needs more steps than it saves time; twice as many gain nothing
ROWS_PER_COLUMN = 2  # fewer rows than that, and a step fits the sketch and not the residuals
NUMBERS_IN_MEMORY = 2**20  # of the compressed Jacobian that are held at once: 8 MB


@dataclass(frozen=True)
class LayerSubspace:
    """The changes A Z Bᵀ of a linear layer's [W b].

    Attributes:
        left: A (out, a), orthonormal columns.
        right: B (in + 1, b), orthonormal columns; (in, b) for a layer without bias.
    """

    left: Tensor
    right: Tensor

    @property
    def columns(self) -> int:
        """The number of entries of Z."""
        return self.left.shape[1] * self.right.shape[1]

    def rows(self, trace: Trace, gradient: Tensor) -> Tensor:
        """Return the derivatives (N, a b) of residuals with respect to Z.

        Args:
            trace: the layer's call.
            gradient: of the residuals' sum with respect to the layer's outputs, shaped like them.
        """
        inputs = by_channel(trace.inputs.detach())
        left, right = by_channel(gradient) @ self.left, inputs @ self.right[: inputs.shape[-1]]  # (C, N, a), (C, N, b)
        if trace.layer.bias is not None:
            right[: trace.bias_channels] += self.right[-1]
        return torch.bmm(left.permute(1, 2, 0), right.permute(1, 0, 2)).flatten(1)

    def lifted(self, coefficients: Tensor) -> Tensor:
        """Return A Z Bᵀ from the entries of Z (a b,)."""
        return self.left @ coefficients.view(self.left.shape[1], -1) @ self.right.t()


def cosine_basis(size: int, count: int, generator: Generator, like: Tensor) -> Tensor:
    r"""Return random signs times `count` random columns of the orthonormal DCT-II matrix, (size, count).

        C_(ij) = √(2/n) cos(π (2i + 1) j / 2n),   C_(i0) = √(1/n)

    The signs spread whatever is concentrated in few coordinates over all frequencies.
    Source: Ailon, Chazelle (2009), SIAM J. Comput. 39, 302-322, there with the Hadamard transform.

    Args:
        size: n.
        count: at most n; with n the matrix is orthogonal.
        generator: of signs and frequencies, on the CPU.
        like: gives dtype and device.
    """
    chosen = torch.randperm(size, generator=generator)[:count].to(like)
    places = torch.arange(size).to(like)
    basis = math.sqrt(2 / size) * torch.cos(math.pi / (2 * size) * (2 * places[:, None] + 1) * chosen)
    basis[:, chosen == 0] *= math.sqrt(0.5)
    return random_signs(size, generator, like)[:, None] * basis


def count_sketch(rows: Tensor, group: int, generator: Generator) -> Tensor:
    """Return signed sums S R of `group` rows each, (⌈N / group⌉, k), from rows (N, k): E[(SR)ᵀ(SR)] = RᵀR.

    Source: Charikar, Chen, Farach-Colton (2004), Theor. Comput. Sci. 312, 3-15; buckets of equal size here.
    """
    if group == 1:
        return rows
    signed = rows * random_signs(len(rows), generator, rows)[:, None]
    return pad(signed, (0, 0, 0, -len(rows) % group)).view(-1, group, rows.shape[1]).sum(1)


def random_signs(count: int, generator: Generator, like: Tensor) -> Tensor:
    """Return ±1 (count,), each as likely as the other."""
    return (2 * torch.randint(2, (count,), generator=generator) - 1).to(like)


def subspace_shapes(layers: Sequence[tuple[int, int]], columns: int) -> list[tuple[int, int]]:
    """Return (a, b) for every layer [W b] (out, in + 1): equal shares of the columns, small layers whole.

    >>> subspace_shapes([(64, 3), (64, 65), (1, 65)], 400)
    [(55, 3), (13, 13), (1, 65)]
    >>> subspace_shapes([(64, 3), (64, 65), (1, 65)], 10**4)
    [(64, 3), (64, 65), (1, 65)]
    """
    shapes = list(layers)
    left = columns
    for place, index in enumerate(sorted(range(len(layers)), key=lambda i: math.prod(layers[i]))):
        outer, inner = layers[index]
        share = max(left // (len(layers) - place), 1)
        a = max(min(outer, math.isqrt(share)), min(outer, share // inner))
        shapes[index] = a, max(min(inner, share // a), 1)
        left -= math.prod(shapes[index])
    return shapes


class SketchedGaussNewton:
    r"""Damped Gauss-Newton steps δ = Ω z in a random subspace: (ΩᵀJᵀSᵀSJΩ + λI) z = ΩᵀJᵀr, θ ← θ - δ.

    Ω (P, k) is block-diagonal with one `LayerSubspace` per layer, ΩᵀΩ = I; S is a count sketch. λ is the smallest of
    λ₀/2, λ₀, 2λ₀, ... (λ₀ the last one) for which the loss falls by at least 0.075 of what the model predicts. If none
    is accepted, the parameters stay and λ starts larger next time. With k = P and S = I it is Levenberg-Marquardt.
    Source: arXiv:2607.02194 (DSGNAR: count sketch of rows, cosine transform of columns, the ratio of reductions).

    Args:
        objective: the residuals, whose Jacobians take one backward pass.
        module: holds the parameters, all of them in linear layers.
        generator: of the sketches, on the CPU; the same in every process of a run.
        columns: k, about; small layers keep all of theirs.
        rows_per_column: of SJΩ at least; infinity for S = I.

    Raises:
        SettingsError: a parameter belongs to no linear layer.
    """

    name = "sketched"
    resample = 2
    target_ratio = 0.075
    trials = 12

    def __init__(
        self,
        objective: Objective,
        module: nn.Module,
        generator: Generator,
        *,
        columns: int = COLUMNS,
        rows_per_column: float = ROWS_PER_COLUMN,
    ) -> None:
        self._objective, self._module, self._generator = objective, module, generator
        self._layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
        others = set(module.parameters()) - {p for layer in self._layers for p in layer.parameters()}
        if others:
            count = sum(parameter.numel() for parameter in others)
            raise SettingsError(f"optimizer sketched needs all parameters in linear layers, {count} are in none")
        shapes = [(layer.out_features, layer.in_features + (layer.bias is not None)) for layer in self._layers]
        self._shapes = subspace_shapes(shapes, columns)
        self._rows_per_column = rows_per_column
        self._damping: float | None = None

    def step(self, points: Sequence[Tensor], number: int) -> StepResult:
        """Take one damped step in a new subspace."""
        subspaces = self._draw()
        model, shares = self._linearised(points, subspaces)
        terms = dict(zip(self._objective.names, shares.tolist(), strict=True))
        loss, scale = sum(terms.values()), model.scale
        damping = scale if self._damping is None else max(self._damping / 2, 1e-15 * scale)
        start = parameters_to_vector(self._module.parameters()).detach()
        count = sum(self._objective.total_count(place) for place in points)
        for trial in range(self.trials):
            (coefficients,), predicted = model.steps(shares.new_tensor([damping]))
            vector_to_parameters(start - self._lifted(subspaces, coefficients), self._module.parameters())
            reached = self._objective.step_loss(points)
            expected, left = torch.stack([predicted[0], reached]).tolist()
            if expected > 0 and loss - left >= self.target_ratio * expected:
                self._damping = damping
                return StepResult(terms, damping, count * (2 + trial), fitted=left)
            damping *= 2
        vector_to_parameters(start, self._module.parameters())
        self._damping = damping
        return StepResult(terms, damping, count * (1 + self.trials), accepted=False)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return λ and the generator's state."""
        return {"generator": self._generator.get_state()}, {"damping": self._damping}

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on with the λ and the sketches of another optimizer, bit for bit."""
        self._generator.set_state(tensors["generator"].cpu())
        self._damping = values["damping"]

    def _draw(self) -> dict[nn.Linear, LayerSubspace]:
        """Return a new subspace for every layer."""

        def subspace(layer: nn.Linear, shape: tuple[int, int]) -> LayerSubspace:
            outer, inner = layer.weight.shape
            sizes = outer, inner + (layer.bias is not None)
            left, right = (
                cosine_basis(size, count, self._generator, layer.weight.detach())
                for size, count in zip(sizes, shape, strict=True)
            )
            return LayerSubspace(left, right)

        return {layer: subspace(layer, shape) for layer, shape in zip(self._layers, self._shapes, strict=True)}

    def _linearised(
        self, points: Sequence[Tensor], subspaces: dict[nn.Linear, LayerSubspace]
    ) -> tuple[NormalEquations, Tensor]:
        """Return the sketched normal equations and each residual's share of the loss (K,)."""
        columns = sum(subspace.columns for subspace in subspaces.values())
        shares = points[0].new_zeros(len(self._objective.names))
        normal, gradient = points[0].new_zeros(columns, columns), points[0].new_zeros(columns)
        total = sum(len(place) * len(b.residuals) for b, place in zip(self._objective.blocks, points, strict=True))
        group = max(int(total / (self._rows_per_column * columns)), 1)
        for index, rows, values in self._rows(points, subspaces):
            shares[index] += values.square().sum()
            gradient += rows.t() @ values
            compressed = count_sketch(rows, group, self._generator)
            normal.addmm_(compressed.t(), compressed)
        sum_up = self._objective.workers.total
        return NormalEquations(sum_up(normal), sum_up(gradient)), sum_up(shares)

    def _rows(
        self, points: Sequence[Tensor], subspaces: dict[nn.Linear, LayerSubspace]
    ) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield the index of a residual, its weighted rows J Ω (m, k) and values (m,) on some of its points."""
        objective = self._objective
        size = max(NUMBERS_IN_MEMORY // sum(subspace.columns for subspace in subspaces.values()), 64)
        for index, (block, place) in enumerate(zip(objective.blocks, points, strict=True)):
            for part in place.split(size):
                with torch.enable_grad(), traced(self._module) as traces:
                    found = objective.raw(block, part)
                factors = objective.step_factors(index, part, objective.total_count(place))
                places = range(len(objective.names))[objective.places(index)]
                for number, values, factor in zip(places, found, factors, strict=True):
                    rows = _compressed(values, traces, subspaces)
                    scale = torch.as_tensor(factor).to(values).expand_as(values)
                    yield number, rows * scale[:, None], values.detach() * scale

    def _lifted(self, subspaces: dict[nn.Linear, LayerSubspace], coefficients: Tensor) -> Tensor:
        """Return Ω z (P,) in the order of the module's parameters."""
        changes: dict[Tensor, Tensor] = {}
        parts = coefficients.split([subspace.columns for subspace in subspaces.values()])
        for (layer, subspace), part in zip(subspaces.items(), parts, strict=True):
            change = subspace.lifted(part)
            changes[layer.weight] = change[:, : layer.in_features]
            if layer.bias is not None:
                changes[layer.bias] = change[:, -1]
        return torch.cat([changes[parameter].flatten() for parameter in self._module.parameters()])


def _compressed(values: Tensor, traces: Sequence[Trace], subspaces: dict[nn.Linear, LayerSubspace]) -> Tensor:
    """Return J Ω (m, k) of residuals (m,) from the calls of the layers that they depend on."""
    outputs = [trace.outputs for trace in traces]
    gradients = torch.autograd.grad(values.sum(), outputs, retain_graph=True, materialize_grads=True)
    rows: dict[nn.Linear, Tensor] = {}
    with torch.no_grad():
        for trace, gradient in zip(traces, gradients, strict=True):  # a layer may have been called several times
            own = subspaces[trace.layer].rows(trace, gradient)
            rows[trace.layer] = rows[trace.layer] + own if trace.layer in rows else own
        return torch.cat([rows[layer] for layer in subspaces], dim=1)
