r"""The trial solution in NumPy, from its weights alone: values and slopes for real and complex points.

It shares no arithmetic with torch: activations and their slopes are written down anew, so that a fault
in one of the two shows. Functions with branches (ELU's, say) take the branch of the real part: with it
they are analytic wherever the real function is smooth, which is what the complex step needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray
from scipy.special import erfc, log1p
from torch import Tensor

from pinnsolve.networks.activations import LEAK, SELU_ALPHA, SELU_SCALE, Activation
from pinnsolve.networks.ansatz import Ansatz, InputFeatures
from pinnsolve.networks.multilayer import MultilayerPerceptron
from pinnsolve.networks.spectral import SeparableSum
from pinnsolve.networks.wiring import wiring
from pinnsolve.problems import Field
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.problems.known_functions import KnownFunction

Complexes = NDArray[np.complex128]
Slope = Callable[[Complexes], tuple[Complexes, Complexes]]  # z to (φ(z), φ'(z))


@dataclass(frozen=True)
class Dual:
    """A value with its derivative along one coordinate: a + b ε, ε² = 0."""

    value: Any
    slope: Any

    def __add__(self, other: Any) -> Dual:
        return Dual(self.value + _value(other), self.slope + _slope(other))

    def __sub__(self, other: Any) -> Dual:
        return Dual(self.value - _value(other), self.slope - _slope(other))

    def __mul__(self, other: Any) -> Dual:
        return Dual(self.value * _value(other), self.slope * _value(other) + self.value * _slope(other))

    __radd__, __rmul__ = __add__, __mul__

    def through(self, function: Slope) -> Dual:
        """Return the function of the value, by the chain rule."""
        value, slope = function(self.value)
        return Dual(value, slope * self.slope)


def _value(number: Any) -> Any:
    return number.value if isinstance(number, Dual) else number


def _slope(number: Any) -> Any:
    return number.slope if isinstance(number, Dual) else 0.0


class NumpyAnsatz:
    """A trial solution with its weights exported to NumPy, in double precision.

    Args:
        ansatz: copied, not kept.

    Raises:
        NotImplementedError: a part of it has no form in NumPy.
    """

    def __init__(self, ansatz: Ansatz) -> None:
        self._features = _Features(ansatz.features)
        self._trunks = [_Trunk(trunk) for trunk in ansatz.network]
        self._fields, self._scales = ansatz.fields, ansatz.scales
        forms = [part for form in ansatz.forms for part in (form.lift, form.distance)]
        for known in sorted(set().union(*(part.atoms(KnownFunction) for part in forms)), key=str):
            if not isinstance(known.func.profile, SeparableSum):
                raise NotImplementedError(f"{known} is known by its numbers, for real points alone")
        self._symbols = ansatz.symbols
        slopes = [sympy.diff(part, symbol) for symbol in self._symbols for part in forms]
        self._formula = Formula([*forms, *slopes], self._symbols)

    def __call__(self, points: Any, axis: int = 0) -> dict[str, Dual]:
        """Return every field at real or complex points (..., d), with its slope along one coordinate, (...) each."""
        points = np.asarray(points, dtype=np.complex128)
        with np.errstate(all="ignore"):  # far off the real axis functions overflow; their values say so
            inputs = self._features(points, axis)
            outputs = [trunk(inputs) for trunk in self._trunks]
            raw = [
                Dual(each.value[..., k], each.slope[..., k]) for each in outputs for k in range(each.value.shape[-1])
            ]
            return {
                field.name: _kept_in_range(distance * (value * scale) + lift, field)
                for field, value, scale, (lift, distance) in zip(
                    self._fields, raw, self._scales, self._forms(points, axis), strict=True
                )
            }

    def _forms(self, points: Complexes, axis: int) -> list[tuple[Dual, Dual]]:
        """Return lift and distance of every field."""
        found = self._formula(numpy_functions(), [points[..., a] for a in range(points.shape[-1])])
        count = 2 * len(self._fields)
        slopes = found[count * (1 + axis) :]
        parts = [Dual(value, slope) for value, slope in zip(found[:count], slopes, strict=False)]
        return list(zip(parts[::2], parts[1::2], strict=True))


class _Features:
    """`InputFeatures` in NumPy."""

    def __init__(self, features: InputFeatures) -> None:
        self._source = features
        self._buffers = {name: _array(buffer) for name, buffer in features.named_buffers()}
        slopes = [sympy.diff(each, symbol) for symbol in features.symbols for each in features.singular]
        self._singular = Formula([*features.singular, *slopes], features.symbols)

    def __call__(self, points: Complexes, axis: int) -> Dual:
        unit = np.zeros(points.shape[-1])
        unit[axis] = 1.0
        plain, periodic, known = self._source.plain, self._source.periodic, self._buffers
        scaled = (Dual(points[..., plain], unit[plain]) - known["centre"]) * known["inverse_half_length"]
        parts = [scaled] if plain else []
        phase = (Dual(points[..., periodic], unit[periodic]) - known["origin"]) * known["frequency"]
        for k, axes in self._source.waves:
            parts += _circle(Dual(phase.value[..., axes], phase.slope[..., axes]) * k)
        frequencies = known["random_frequencies"]
        if len(frequencies):
            parts += _circle(Dual(scaled.value @ frequencies.T, scaled.slope @ frequencies.T))
        if count := len(self._source.singular):
            found = self._singular(numpy_functions(), [points[..., a] for a in range(points.shape[-1])])
            first = count * (1 + axis)
            parts.append(Dual(np.stack(found[:count], -1), np.stack(found[first : first + count], -1)))
        return _together(parts)


def _circle(angle: Dual) -> list[Dual]:
    return [angle.through(lambda z: (np.cos(z), -np.sin(z))), angle.through(lambda z: (np.sin(z), np.cos(z)))]


def _together(parts: Sequence[Dual]) -> Dual:
    values = np.concatenate([part.value for part in parts], -1)
    slopes = [np.broadcast_to(part.slope, part.value.shape) for part in parts]
    return Dual(values, np.concatenate(slopes, -1))


class _Trunk:
    """A perceptron in NumPy, wired like the original."""

    def __init__(self, trunk: MultilayerPerceptron) -> None:
        self._values = wiring(trunk.kind).values
        self._layers: list[Any] = [_linear(layer.weight, layer.bias) for layer in trunk.layers]
        self._output = _linear(trunk.output.weight, trunk.output.bias)
        phi = numpy_activation(trunk.activation)
        self._phi = lambda z: z.through(phi)

    def __call__(self, inputs: Dual) -> Dual:
        return self._output(self._values(self._layers, self._phi, inputs))


def _linear(weight: Tensor, bias: Tensor) -> Callable[[Dual], Dual]:
    matrix, offset = _array(weight).T, _array(bias)
    return lambda z: Dual(z.value @ matrix + offset, z.slope @ matrix)


def _array(tensor: Tensor) -> NDArray[np.float64]:
    values: NDArray[np.float64] = tensor.detach().cpu().double().numpy().copy()
    return values


def _kept_in_range(value: Dual, field: Field) -> Dual:
    lower, upper = field.bounds
    if np.isinf(lower) and np.isinf(upper):
        return value
    if np.isinf(upper):
        return value.through(_softplus) + lower
    if np.isinf(lower):
        return (value * -1.0).through(_softplus) * -1.0 + upper
    return value.through(_sigmoid) * (upper - lower) + lower


def _positive(z: Complexes) -> NDArray[np.bool_]:
    """Return which branch a complex number takes: that of its real part."""
    return np.real(z) > 0


def _exponential(height: float, rate: float, slope: float) -> Slope:
    """Return slope·z for z > 0, height·(exp(rate·z) - 1) else."""

    def function(z: Complexes) -> tuple[Complexes, Complexes]:
        right, below = _positive(z), np.where(_positive(z), 0.0, z)
        value = np.where(right, slope * z, height * np.expm1(rate * below))
        return value, np.where(right, slope, height * rate * np.exp(rate * below))

    return function


def _tanh(z: Complexes) -> tuple[Complexes, Complexes]:
    value = np.tanh(z)
    return value, 1 - value * value


def _sigmoid(z: Complexes) -> tuple[Complexes, Complexes]:
    decaying = np.exp(np.where(_positive(z), -z, z))
    value = np.where(_positive(z), 1.0, decaying) / (1 + decaying)
    return value, decaying / (1 + decaying) ** 2


def _softplus(z: Complexes) -> tuple[Complexes, Complexes]:
    away = np.where(_positive(z), -z, z)
    return np.where(_positive(z), z, 0.0) + log1p(np.exp(away)), _sigmoid(z)[0]


def _silu(z: Complexes) -> tuple[Complexes, Complexes]:
    gate, slope = _sigmoid(z)
    return z * gate, gate + z * slope


def _mish(z: Complexes) -> tuple[Complexes, Complexes]:
    soft, gate = _softplus(z)
    value, slope = _tanh(soft)
    return z * value, value + z * slope * gate


def _softsign(z: Complexes) -> tuple[Complexes, Complexes]:
    size: Complexes = 1 + np.where(_positive(z), z, -z)
    return z / size, size**-2


def _leaky_relu(z: Complexes) -> tuple[Complexes, Complexes]:
    slope: Complexes = np.where(_positive(z), 1.0 + 0j, LEAK)
    return slope * z, slope


def _gelu(z: Complexes) -> tuple[Complexes, Complexes]:
    gate = 0.5 * erfc(-z / np.sqrt(2))
    return z * gate, gate + z * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)


_SLOPES: Mapping[str, Callable[[float], Slope]] = {
    "celu": lambda alpha: _exponential(alpha, 1 / alpha, 1.0),
    "elu": lambda alpha: _exponential(alpha, 1.0, 1.0),
    "gelu": lambda _: _gelu,
    "leaky_relu": lambda _: _leaky_relu,
    "mish": lambda _: _mish,
    "relu": lambda _: _exponential(0.0, 1.0, 1.0),
    "selu": lambda _: _exponential(SELU_SCALE * SELU_ALPHA, 1.0, SELU_SCALE),
    "sigmoid": lambda _: _sigmoid,
    "silu": lambda _: _silu,
    "sine": lambda _: lambda z: (np.sin(z), np.cos(z)),
    "softplus": lambda _: _softplus,
    "softsign": lambda _: _softsign,
    "tanh": lambda _: _tanh,
}


def numpy_activation(phi: Activation) -> Slope:
    """Return z ↦ (φ(z), φ'(z)) in NumPy, for the activation of this name and alpha.

    Raises:
        NotImplementedError: it has no form in NumPy.
    """
    if phi.name not in _SLOPES:
        raise NotImplementedError(f"the activation {phi.name!r} has no form in NumPy")
    return _SLOPES[phi.name](phi.alpha)
