"""A problem as DeepXDE is given it: geometry, residuals, conditions, network."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pinnsolve.errors import SettingsError
from pinnsolve.networks import Activation, Ansatz, MultilayerPerceptron
from pinnsolve.networks.prescribed import prescribed
from pinnsolve.problems import Condition, Face, Partial, Problem, Residual
from pinnsolve.problems.formulas import Formula, numpy_functions, torch_functions
from pinnsolve.problems.geometry import Part
from pinnsolve.problems.geometry.deepxde import as_deepxde
from pinnsolve.solving.deepxde.containment import contained
from pinnsolve.solving.deepxde.recipes import Recipe

ON_FACE = 1e-6  # relative to the interval: DeepXDE's points may be of single precision
ACTIVATIONS = {name: name for name in ("elu", "gelu", "relu", "selu", "sigmoid", "silu", "tanh")} | {"sine": "sin"}
INITIALIZATIONS = {"auto": "Glorot normal", "glorot": "Glorot normal", "he": "He normal", "lecun": "LeCun normal"}


@dataclass
class PeerModel:
    """A DeepXDE model and what of it is ours to read.

    Attributes:
        model: DeepXDE's.
        ansatz: the trial solution whose function the model's network is.
        recipe: how it was made.
        weights: of its losses.
        evaluations: residuals evaluated at points so far.
    """

    model: Any
    ansatz: Ansatz
    recipe: Recipe
    weights: list[float]
    evaluations: list[int]

    @property
    def linears(self) -> list[torch.nn.Linear]:
        """The linear layers of DeepXDE's network."""
        return list(self.model.net.linears)

    @property
    def collocation(self) -> list[Tensor]:
        """The training points: of the equations, then of each condition."""
        data = self.model.data
        ends = np.cumsum([0, *data.num_bcs])
        faces = [data.train_x_bc[start:end] for start, end in pairwise(ends)]
        like = self.linears[0].weight
        return [torch.as_tensor(part, dtype=like.dtype, device=like.device) for part in (data.train_x_all, *faces)]

    def hand_over(self, network: MultilayerPerceptron) -> None:
        """Write the weights into a network of the ansatz, so that the ansatz is the model's function.

        A network on raw coordinates x, W x + b, is one on scaled ones s = (x - c) k by W/k and b + W c; its outputs
        are divided by the ansatz's scales.
        """
        with torch.no_grad():
            for target, source in zip([*network.layers, network.output], self.linears, strict=True):
                target.weight.copy_(source.weight)
                target.bias.copy_(source.bias)
            if not self.recipe.scales_inputs:
                self._rescale(network)

    def _rescale(self, network: MultilayerPerceptron) -> None:
        first, features = network.layers[0], self.ansatz.features
        plain = slice(0, len(features.plain))
        first.bias.add_(first.weight[:, plain] @ features.centre)
        first.weight[:, plain].div_(features.inverse_half_length)
        scales = first.weight.new_tensor(self.ansatz.scales)
        network.output.weight.div_(scales[:, None])
        network.output.bias.div_(scales)


def build_model(
    problem: Problem,
    ansatz: Ansatz,
    soft: Sequence[Condition],
    recipe: Recipe,
    *,
    initialization: str,
    condition_weight: float,
    seed: int,
) -> PeerModel:
    """Return the untrained model of a problem.

    Args:
        problem: geometry and equations.
        ansatz: gives the network's shape and, where the recipe builds conditions in, the output transform.
        soft: the conditions that are not built in.
        recipe: points, scaling.
        initialization: a name of `INITIALIZATIONS`.
        condition_weight: of each condition's loss.
        seed: of weights and points.

    Raises:
        SettingsError: DeepXDE's network has no such shape, or no point of a condition was drawn.
    """
    perceptron = _plain_perceptron(ansatz)
    parameter = next(ansatz.parameters())
    precision = str(parameter.dtype).removeprefix("torch.")
    evaluations = [0]
    with contained(precision, parameter.device, seed) as dde, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its sampler complains about numbers that are no powers of two
        net = _network(dde, ansatz, perceptron, initialization, recipe)
        data = _data(dde, problem, soft, recipe, evaluations)
        model = dde.Model(data, net)
    weights = [1.0] * len(problem.equations) + [condition_weight] * len(soft)
    return PeerModel(model, ansatz, recipe, weights, evaluations)


def _plain_perceptron(ansatz: Ansatz) -> MultilayerPerceptron:
    network = ansatz.network
    if not isinstance(network, MultilayerPerceptron) or network.kind != "mlp":
        raise SettingsError("engine deepxde has plain perceptrons only; use network.kind = mlp, network.trunk = shared")
    return network


def _network(
    dde: ModuleType, ansatz: Ansatz, perceptron: MultilayerPerceptron, initialization: str, recipe: Recipe
) -> Any:
    if initialization not in INITIALIZATIONS:
        known = ", ".join(INITIALIZATIONS)
        raise SettingsError(f"engine deepxde has no network.initialization {initialization!r}; known: {known}")
    sizes = [perceptron.inputs, *perceptron.widths, perceptron.output.out_features]
    net = dde.nn.FNN(sizes, _activation(perceptron.activation), INITIALIZATIONS[initialization])
    features = ansatz.features
    if recipe.scales_inputs:
        net.apply_feature_transform(features)
    elif features.size > len(features.plain):
        net.apply_feature_transform(lambda x: _partly_raw(features, x))
    is_bounded = any(np.isfinite(end) for field in ansatz.fields for end in field.bounds)
    if recipe.scales_inputs or recipe.builds_in or is_bounded:
        scales = 1.0 if recipe.scales_inputs else torch.tensor(ansatz.scales)
        net.apply_output_transform(lambda x, y: _stacked(ansatz.assembled(x, y / scales)))
    return net


def _activation(phi: Activation) -> str | Callable[[Tensor], Tensor]:
    """Return DeepXDE's own activation of this name, or ours where it has none (celu, softplus)."""
    is_own = phi.name in ACTIVATIONS and (phi.name != "elu" or phi.alpha == 1)
    return ACTIVATIONS[phi.name] if is_own else phi.value


def _partly_raw(features: Any, points: Tensor) -> Tensor:
    """Return the features with ordinary coordinates as they are, periodic ones as cosines and sines."""
    return torch.cat([points[:, features.plain], features(points)[:, len(features.plain) :]], 1)


def _stacked(values: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(values.values()), 1)


def _data(dde: ModuleType, problem: Problem, soft: Sequence[Condition], recipe: Recipe, evaluations: list[int]) -> Any:
    geometry, is_timed = _geometry(dde, problem)
    counts = {"num_domain": recipe.points}
    if soft:
        counts["num_boundary"] = 2 if len(problem.coordinates) == 1 else recipe.boundary_points
        if is_timed:
            counts["num_initial"] = recipe.initial_points
    conditions = [_condition(dde, geometry, condition, problem) for condition in soft]
    kind = dde.data.TimePDE if is_timed else dde.data.PDE
    data = kind(
        geometry,
        _residuals(dde, problem.equations, problem, evaluations),
        conditions,
        train_distribution=recipe.distribution,
        **counts,
    )
    for condition, count in zip(soft, data.num_bcs, strict=True):
        if not count:
            raise SettingsError(f"engine deepxde has drawn no point of the condition {condition.name!r}")
    return data


def _geometry(dde: ModuleType, problem: Problem) -> tuple[Any, bool]:
    """Return the domain, and whether it is one of DeepXDE's space-time domains, with time as the last coordinate."""
    lower, upper = (end.tolist() for end in problem.box)
    shapes = dde.geometry
    region = None if problem.domain is None else as_deepxde(problem.domain.region, shapes)
    if problem.time_axis != len(lower) - 1:
        if region is not None and problem.time_axis is not None:
            raise SettingsError(f"engine deepxde needs {problem.time!r} as the last coordinate beside a geometry")
        return region or _box(dde, lower, upper), False
    time = shapes.TimeDomain(lower[-1], upper[-1])
    if len(lower) == 1:
        return time, False
    return shapes.GeometryXTime(region or _box(dde, lower[:-1], upper[:-1]), time), True


def _box(dde: ModuleType, lower: list[float], upper: list[float]) -> Any:
    if len(lower) == 1:
        return dde.geometry.Interval(lower[0], upper[0])
    kinds = {2: dde.geometry.Rectangle, 3: dde.geometry.Cuboid}
    return kinds.get(len(lower), dde.geometry.Hypercube)(lower, upper)


def _condition(dde: ModuleType, geometry: Any, condition: Condition, problem: Problem) -> Any:
    """Return DirichletBC for u = f(x), OperatorBC for anything else."""
    on_face = _on_face(condition.face, problem)

    def holds(x: NDArray[np.float64], _: bool) -> bool:
        point = x[None, :].astype(np.float64)
        return bool(on_face(point) and condition.holds(point)[0])

    for index, field in enumerate(problem.fields):
        datum = prescribed(condition, field, problem)
        if datum is not None and datum.order == 0:
            return dde.icbc.DirichletBC(geometry, _values(Formula([datum.data], problem.symbols)), holds, index)
    residuals = _residuals(dde, [condition.residual], problem, [0])
    return dde.icbc.OperatorBC(geometry, lambda x, y, _: residuals(x, y)[0], holds)


def _on_face(face: Face | Part, problem: Problem) -> Callable[[NDArray[np.float64]], bool]:
    """Return whether a point (1, d) lies on a face, or on a part of the boundary."""
    if isinstance(face, Part):
        return lambda point: bool(face.holds(point[:, face.domain.axes], ON_FACE)[0])
    place = float(problem.box[0 if face.side == "lower" else 1][face.axis])
    tolerance = ON_FACE * problem.coordinates[face.axis].length
    return lambda point: bool(abs(point[0, face.axis] - place) <= tolerance)


def _values(formula: Formula) -> Callable[[NDArray[Any]], NDArray[Any]]:
    def values(points: NDArray[Any]) -> NDArray[Any]:
        (found,) = formula(numpy_functions(), list(points.T))
        return np.broadcast_to(np.asarray(found, points.dtype), len(points))[:, None].copy()

    return values


def _residuals(
    dde: ModuleType, residuals: Sequence[Residual], problem: Problem, evaluations: list[int]
) -> Callable[[Tensor, Tensor], list[Tensor]]:
    """Return (x, y) ↦ the residuals, (N, 1) each, on DeepXDE's derivatives; the count of evaluations goes up."""
    partials = sorted({partial for residual in residuals for partial in residual.partials})

    def values(x: Tensor, y: Tensor) -> list[Tensor]:
        evaluations[0] += len(x)
        jet = {partial: _derivative(dde, x, y, partial, problem)[:, 0] for partial in partials}
        return [residual(torch_functions(), list(x.unbind(1)), jet)[:, None] for residual in residuals]

    return values


def _derivative(dde: ModuleType, x: Tensor, y: Tensor, partial: Partial, problem: Problem) -> Tensor:
    """Return ∂^α u (N, 1) by DeepXDE's nested Jacobians, which remember those of lower orders."""
    field = problem.field_names.index(partial.field)
    axes = [axis for axis, times in enumerate(partial.orders) for _ in range(times)]
    if not axes:
        return y[:, field : field + 1]
    value: Tensor = dde.grad.jacobian(y, x, i=field, j=axes[0])
    for axis in axes[1:]:
        value = dde.grad.jacobian(value, x, i=0, j=axis)
    return value
