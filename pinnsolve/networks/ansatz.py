"""The trial solution: a network with the problem's scales and conditions built in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from pinnsolve.networks.activations import activation
from pinnsolve.networks.constraints import Constraints, prescribed, sampled
from pinnsolve.networks.multilayer import MultilayerPerceptron
from pinnsolve.problems import Field, Problem
from pinnsolve.problems.formulas import Formula, torch_functions

_SOFTPLUS, _SIGMOID = activation("softplus"), activation("sigmoid")


class InputFeatures(nn.Module):
    """Coordinates as the network sees them.

    An ordinary coordinate is scaled to [-1, 1]; a periodic one becomes cos(kφ), sin(kφ) for
    k = 1 ... harmonics with φ = 2π (x - lower) / period, so that every derivative is periodic.

    Args:
        problem: gives intervals and periodicity.
        harmonics: K for periodic coordinates.
        dtype: of the scales.
    """

    def __init__(self, problem: Problem, harmonics: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.plain = [i for i, coordinate in enumerate(problem.coordinates) if not coordinate.periodic]
        self.periodic = [i for i, coordinate in enumerate(problem.coordinates) if coordinate.periodic]
        self.harmonics = harmonics
        lower, upper = (torch.as_tensor(end, dtype=dtype) for end in problem.box)
        self.register_buffer("centre", (0.5 * (lower + upper))[self.plain])
        self.register_buffer("inverse_half_length", (2 / (upper - lower))[self.plain])
        self.register_buffer("origin", lower[self.periodic])
        self.register_buffer("frequency", (2 * math.pi / (upper - lower))[self.periodic])

    @property
    def size(self) -> int:
        """The number of features."""
        return len(self.plain) + 2 * self.harmonics * len(self.periodic)

    @property
    def groups(self) -> list[list[int]]:
        """The columns of the features that belong to each coordinate."""
        count = len(self.plain)
        axes = range(len(self.periodic))
        periodic = [
            [
                count + 2 * len(self.periodic) * k + part
                for k in range(self.harmonics)
                for part in (axis, axis + len(self.periodic))
            ]
            for axis in axes
        ]
        return [[column] for column in range(count)] + periodic

    def forward(self, points: Any) -> Any:
        """Return features (..., size) of points (..., d), a tensor or a truncated Taylor series."""
        parts = []
        if self.plain:
            chosen = points[..., self.plain] if self.periodic else points
            parts.append((chosen - self.centre) * self.inverse_half_length)
        if self.periodic:
            chosen = points[..., self.periodic] if self.plain else points
            phase = (chosen - self.origin) * self.frequency
            for k in range(1, self.harmonics + 1):
                parts += [torch.cos(phase * k), torch.sin(phase * k)]
        return torch.cat(parts, -1) if len(parts) > 1 else parts[0]


class Ansatz(nn.Module):
    """The trial solution u = T(lift + scale · distance · N(features)) of every field.

    T keeps a field in its range: the identity, lower + softplus, or lower + (upper - lower) · sigmoid.

    Args:
        problem: coordinates and fields.
        constraints: lift and distance of each field.
        features: maps points (..., d) to network inputs.
        network: maps network inputs to (..., number of fields).
        scales: factor of the network's output per field.
    """

    def __init__(
        self,
        problem: Problem,
        constraints: Constraints,
        features: InputFeatures,
        network: MultilayerPerceptron,
        scales: Sequence[float],
    ) -> None:
        super().__init__()
        self.features, self.network = features, network
        self.fields = problem.fields
        self.scales = tuple(scales)
        forms = [constraints.fields[field.name] for field in problem.fields]
        self._formula = Formula([part for form in forms for part in (form.lift, form.distance)], problem.symbols)
        self._dimension = len(problem.coordinates)

    def forward(self, points: Any) -> dict[str, Any]:
        """Return the values (...) of every field at points (..., d), tensors or truncated Taylor series."""
        raw = self.network(self.features(points))
        forms = self._formula(torch_functions(), [points[..., axis] for axis in range(self._dimension)])
        values = {}
        for index, field in enumerate(self.fields):
            lift, distance = forms[2 * index], forms[2 * index + 1]
            value = distance * (raw[..., index] * self.scales[index]) + lift
            values[field.name] = _kept_in_range(value, field)
        return values


def _kept_in_range(value: Any, field: Field) -> Any:
    lower, upper = field.bounds
    if math.isinf(lower) and math.isinf(upper):
        return value
    if math.isinf(upper):
        return _SOFTPLUS(value) + lower
    if math.isinf(lower):
        return -_SOFTPLUS(-value) + upper
    return _SIGMOID(value) * (upper - lower) + lower


_CACHED = 2**18  # 2 MB: larger temporaries leave the cache, and beyond 32 MB each costs fresh pages


def points_at_once(module: nn.Module) -> int:
    """Return how many points to evaluate at once: as many as keep one channel of the widest layer in the cache."""
    widest = max((parameter.shape[0] for parameter in module.parameters()), default=1)
    return max(_CACHED // widest, 32)


def output_scales(problem: Problem) -> list[float]:
    """Return the factor of the network's output per field, from the size of the conditions' data.

    It is the largest |value| that any condition gives for the field; 1 if all are zero or the field has
    a range, in which the output activation fixes the scale.
    """
    return [_largest_datum(field, problem) for field in problem.fields]


def _largest_datum(field: Field, problem: Problem) -> float:
    if not all(math.isinf(end) for end in field.bounds):
        return 1.0
    given = [prescribed(condition, field, problem) for condition in problem.conditions]
    data = [datum.data for datum in given if datum is not None and datum.order == 0]
    largest = float(np.max(np.abs(sampled(data, problem)))) if data else 0.0
    return largest if 0 < largest < math.inf else 1.0
