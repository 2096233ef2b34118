"""The trial solution: a network with the problem's scales and conditions built in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from pinnsolve.errors import SettingsError, unknown_name
from pinnsolve.networks.activations import activation
from pinnsolve.networks.constraints import Constraints
from pinnsolve.networks.network import Network
from pinnsolve.networks.prescribed import prescribed, sampled
from pinnsolve.networks.settings import HARMONICS
from pinnsolve.networks.singularities import Singularity
from pinnsolve.problems import Field, Problem
from pinnsolve.problems.formulas import Formula, torch_functions

_SOFTPLUS, _SIGMOID = activation("softplus"), activation("sigmoid")
FREQUENCY_SEED = 700_001  # apart from the seeds of weights and points


class InputFeatures(nn.Module):
    """Coordinates as the network sees them.

    An ordinary coordinate is scaled to [-1, 1]. A periodic one becomes cos(kφ), sin(kφ) for k = 1 ... harmonics
    with φ = 2π (x - lower) / period, so that every derivative is periodic. Random Fourier features
    cos(b·s), sin(b·s) of the scaled ordinary coordinates s stand beside these, if there are any, and so do the
    functions in which solutions are smooth at corners and around holes.

    Args:
        problem: gives intervals and periodicity.
        harmonics: of every periodic coordinate, or by its name; those left out have `HARMONICS`.
        dtype: of the scales.
        frequencies: the b, one per row, (m, ordinary coordinates); none if None.
        singularities: corners and holes of the domain.

    Raises:
        SettingsError: a name is not that of a periodic coordinate.
    """

    random_frequencies: Tensor
    centre: Tensor
    inverse_half_length: Tensor

    def __init__(
        self,
        problem: Problem,
        harmonics: int | Mapping[str, int],
        dtype: torch.dtype,
        frequencies: Tensor | None = None,
        singularities: Sequence[Singularity] = (),
    ) -> None:
        super().__init__()
        self.symbols, self.singularities = tuple(problem.symbols), tuple(singularities)
        self.singular = [function for each in singularities for function in each.functions]
        self._singular_formula = Formula(self.singular, self.symbols)
        self.plain = [i for i, coordinate in enumerate(problem.coordinates) if not coordinate.periodic]
        self.periodic = [i for i, coordinate in enumerate(problem.coordinates) if coordinate.periodic]
        self.waves = _waves(_harmonics_of_axes(problem, harmonics))
        lower, upper = (torch.as_tensor(end, dtype=dtype) for end in problem.box)
        self.register_buffer("centre", (0.5 * (lower + upper))[self.plain])
        self.register_buffer("inverse_half_length", (2 / (upper - lower))[self.plain])
        self.register_buffer("origin", lower[self.periodic])
        self.register_buffer("frequency", (2 * math.pi / (upper - lower))[self.periodic])
        none = lower.new_zeros(0, len(self.plain))
        self.register_buffer("random_frequencies", none if frequencies is None else frequencies.to(dtype))

    @property
    def size(self) -> int:
        """The number of features."""
        return sum(len(columns) for columns in self.groups)

    @property
    def groups(self) -> list[list[int]]:
        """The columns of the features of each coordinate, of those that mix all ordinary ones, of singularities."""
        count = len(self.plain)
        periodic: list[list[int]] = [[] for _ in self.periodic]
        for _, axes in self.waves:
            for axis in axes * 2:  # cosines, then sines
                periodic[axis].append(count)
                count += 1
        mixed = list(range(count, count + 2 * len(self.random_frequencies)))
        count += len(mixed)
        singular = list(range(count, count + len(self.singular)))
        return [[column] for column in range(len(self.plain))] + periodic + [each for each in (mixed, singular) if each]

    @property
    def sites(self) -> list[list[int]]:
        """The columns of the features that belong to each corner and hole."""
        end, found = self.size, []
        for each in reversed(self.singularities):
            found.append(list(range(end - len(each.functions), end)))
            end -= len(each.functions)
        return found[::-1]

    def forward(self, points: Any) -> Any:
        """Return features (..., size) of points (..., d), a tensor or a truncated Taylor series."""
        parts = []
        if self.plain:
            chosen = points[..., self.plain] if self.periodic else points
            parts.append((chosen - self.centre) * self.inverse_half_length)
        if self.periodic:
            chosen = points[..., self.periodic] if self.plain else points
            phase = (chosen - self.origin) * self.frequency
            for k, axes in self.waves:
                angle = (phase if len(axes) == len(self.periodic) else phase[..., axes]) * k
                parts += [torch.cos(angle), torch.sin(angle)]
        if len(self.random_frequencies):
            angle = functional.linear(parts[0], self.random_frequencies)
            parts += [torch.cos(angle), torch.sin(angle)]
        if self.singular:
            columns = [points[..., axis] for axis in range(len(self.symbols))]
            parts.append(torch.stack(self._singular_formula(torch_functions(), columns), -1))
        return torch.cat(parts, -1) if len(parts) > 1 else parts[0]


def _harmonics_of_axes(problem: Problem, harmonics: int | Mapping[str, int]) -> list[int]:
    """Return the number of harmonics of each periodic coordinate."""
    periodic = [coordinate.name for coordinate in problem.coordinates if coordinate.periodic]
    if not isinstance(harmonics, Mapping):
        return [harmonics] * len(periodic)
    for name in harmonics:
        if name not in periodic:
            raise SettingsError("network.fourier: " + unknown_name("periodic coordinate", name, periodic))
    return [harmonics.get(name, HARMONICS) for name in periodic]


def _waves(harmonics: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Return pairs (k, the axes that have a kth harmonic)."""
    highest = max(harmonics, default=0)
    return [(k, [axis for axis, most in enumerate(harmonics) if k <= most]) for k in range(1, highest + 1)]


def random_frequencies(problem: Problem, count: int, scale: float, seed: int) -> Tensor | None:
    r"""Return frequencies b ~ N(0, scale²), (count, ordinary coordinates), from the seed alone; None for a count of 0.

    The features' inner product has the mean E[cos(b·(s - s'))] = exp(-scale² |s - s'|²/2) per frequency.
    Source: Rahimi, Recht (2007), NeurIPS; Tancik et al. (2020), NeurIPS (their B is b / 2π).

    Raises:
        SettingsError: all coordinates are periodic.
    """
    if not count:
        return None
    plain = sum(not coordinate.periodic for coordinate in problem.coordinates)
    if not plain:
        raise SettingsError(
            f"network.random_fourier = {count} needs a coordinate that is not periodic; use network.fourier"
        )
    generator = Generator().manual_seed(seed + FREQUENCY_SEED)
    return scale * torch.randn((count, plain), generator=generator, dtype=torch.float64)


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
        network: Network,
        scales: Sequence[float],
    ) -> None:
        super().__init__()
        self.features = features
        self.network: Network = network
        self.fields = problem.fields
        self.scales = tuple(scales)
        self.forms = tuple(constraints.fields[field.name] for field in problem.fields)
        self.symbols = tuple(problem.symbols)
        self._formula = Formula([part for form in self.forms for part in (form.lift, form.distance)], self.symbols)

    @property
    def is_affine(self) -> bool:
        """Whether fields are affine in the network's outputs: none is kept in a range."""
        return all(math.isinf(end) for field in self.fields for end in field.bounds)

    def forward(self, points: Any) -> dict[str, Any]:
        """Return the values (...) of every field at points (..., d), tensors or truncated Taylor series."""
        return self.assembled(points, self.network(self.features(points)))

    def assembled(self, points: Any, raw: Any) -> dict[str, Any]:
        """Return the values (...) of every field for raw network outputs (..., fields) at points (..., d)."""
        forms = self._formula(torch_functions(), [points[..., axis] for axis in range(len(self.symbols))])
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
    widest = max((parameter.shape[0] for parameter in module.parameters() if parameter.dim()), default=1)
    return max(_CACHED // widest, 32)


def output_scales(problem: Problem) -> list[float]:
    """Return the factor of the network's output per field, from the size of the conditions' data.

    It is the largest |value| that any condition gives for the field; 1 if all are zero or the field has
    a range, in which the output activation fixes the scale. A field that stands for a derivative ∂^α u is
    at least as large as the scale of u over half lengths, Π (length / 2)^-α.
    """
    scales = {field.name: _largest_datum(field, problem) for field in problem.fields}
    for field in problem.fields:
        if field.stands_for is not None:
            lengths = zip(problem.coordinates, field.stands_for.orders, strict=True)
            product = math.prod((0.5 * coordinate.length) ** times for coordinate, times in lengths)
            scales[field.name] = max(_datum_size(field, problem), scales[field.stands_for.field] / product)
    return list(scales.values())


def _largest_datum(field: Field, problem: Problem) -> float:
    return (_datum_size(field, problem) or 1.0) if all(math.isinf(end) for end in field.bounds) else 1.0


def _datum_size(field: Field, problem: Problem) -> float:
    """Return the largest |value| that a condition gives for a field; 0 if there is none."""
    given = [prescribed(condition, field, problem) for condition in problem.conditions]
    data = [datum.data for datum in given if datum is not None and datum.order == 0]
    largest = float(np.max(np.abs(sampled(data, problem)))) if data else 0.0
    return largest if largest < math.inf else 0.0
