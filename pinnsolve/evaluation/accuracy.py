"""How far the solution is from the reference, and how well it satisfies the problem."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import sympy
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pinnsolve.derivatives import Differentiator
from pinnsolve.evaluation.points import EvaluationPoints, batches, evaluation_points, scattered_points
from pinnsolve.networks import points_at_once
from pinnsolve.problems import Problem, Residual
from pinnsolve.problems.formulas import torch_functions
from pinnsolve.problems.places import Place
from pinnsolve.references import ReferenceSolution
from pinnsolve.references.reference import relative_l2

_CONDITION_SEED = 20_011  # apart from every training seed

Values = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class FieldAccuracy:
    """The error of one field on the evaluation points.

    Attributes:
        relative_l2: ‖u - u*‖₂ / ‖u*‖₂; None without a reference.
        max_error: max |u - u*|, in the unit of the field.
        reference: the name of the reference's solver.
        reference_error: the reference's own relative error.
    """

    relative_l2: float | None = None
    max_error: float | None = None
    reference: str | None = None
    reference_error: float | None = None


@dataclass(frozen=True)
class ResidualNorms:
    """Root mean square and greatest absolute value of a residual on points that training never saw."""

    rms: float
    max: float


@dataclass(frozen=True)
class Evaluation:
    """Everything measured on a solution.

    Attributes:
        points: the evaluation points.
        values: each field on the evaluation points, (N,); NaN on points of a grid outside the domain.
        reference: the reference on the same points; empty without one.
        residual_maps: each equation's residual on the same points.
        fields: accuracy of each field.
        residuals: norms of each equation's residual.
        conditions: norms of each condition's residual, built in or not.
        largest_terms: root mean square of each equation's largest term, against which its residual is small or not.
    """

    points: EvaluationPoints
    values: Values
    reference: Values
    residual_maps: Values
    fields: Mapping[str, FieldAccuracy]
    residuals: Mapping[str, ResidualNorms]
    conditions: Mapping[str, ResidualNorms]
    largest_terms: Mapping[str, float] = field(default_factory=dict)

    @property
    def error(self) -> float | None:
        """The largest relative L2 error of a field; None without a reference."""
        errors = [found.relative_l2 for found in self.fields.values() if found.relative_l2 is not None]
        return max(errors, key=lambda error: math.inf if math.isnan(error) else error) if errors else None


def evaluate(
    problem: Problem, ansatz: nn.Module, differentiator: Differentiator, reference: ReferenceSolution | None
) -> Evaluation:
    """Return accuracy and residual norms of a solution."""
    points = evaluation_points(problem)
    found = field_values(ansatz, points.inside)
    values = {name: found[name] for name in problem.field_names}  # a formulation may have added fields
    truth = known_values(problem, reference, points.inside, values)
    maps = residual_values(problem.equations, ansatz, differentiator, points.inside)
    held_out = residual_values(problem.equations, ansatz, differentiator, scattered_points(problem, 2**14))
    return Evaluation(
        points=points,
        values=points.spread(values),
        reference=points.spread(truth),
        residual_maps=points.spread(maps),
        fields={name: _accuracy(name, values[name], truth, reference) for name in problem.field_names},
        residuals={name: norms(value) for name, value in held_out.items()},
        conditions=_condition_norms(problem, ansatz, differentiator),
        largest_terms=_largest_terms(problem, ansatz, differentiator),
    )


def known_values(
    problem: Problem, reference: ReferenceSolution | None, points: NDArray[np.float64], values: Values
) -> dict[str, NDArray[np.float64]]:
    """Return the reference at points (N, d), shifted to the mean of the values where only a difference is determined.

    A steady problem leaves a constant of its `floating_fields` open, such as that of a pressure.
    """
    truth = reference(points) if reference is not None else {}
    open_ones = problem.floating_fields if problem.time is None else ()
    return {name: t + np.mean(values[name] - t) if name in open_ones else t for name, t in truth.items()}


def field_values(ansatz: nn.Module, points: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return each field at points (N, d), (N,), in float64 whatever the network's precision."""
    parts: dict[str, list[NDArray[np.float64]]] = {}
    with torch.no_grad():
        for batch in batches(points, points_at_once(ansatz)):
            for name, value in ansatz(_tensor(batch, ansatz)).items():
                parts.setdefault(name, []).append(value.double().cpu().numpy())
    return {name: np.concatenate(values) for name, values in parts.items()}


def _accuracy(
    name: str, values: NDArray[np.float64], truth: Values, reference: ReferenceSolution | None
) -> FieldAccuracy:
    if reference is None or name not in truth:
        return FieldAccuracy()
    return FieldAccuracy(
        relative_l2=relative_l2(values, truth[name]),
        max_error=float(np.max(np.abs(values - truth[name]))),
        reference=reference.solver,
        reference_error=reference.errors[name],
    )


def residual_values(
    residuals: Sequence[Residual], ansatz: nn.Module, differentiator: Differentiator, points: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Return the residuals (N,) by name at points (N, d), in float64 whatever the network's precision."""
    partials = tuple(sorted({partial for residual in residuals for partial in residual.partials}))
    parts: dict[str, list[NDArray[np.float64]]] = {residual.name: [] for residual in residuals}
    with torch.no_grad():
        for batch in batches(points, points_at_once(ansatz)):
            jet = differentiator(ansatz, _tensor(batch, ansatz), partials)
            for residual in residuals:
                parts[residual.name].append(residual(torch_functions(), jet.columns, jet).double().cpu().numpy())
    return {name: np.concatenate(values) for name, values in parts.items()}


def _condition_norms(problem: Problem, ansatz: nn.Module, differentiator: Differentiator) -> dict[str, ResidualNorms]:
    found = {}
    for condition in problem.conditions:
        points = Place(problem, condition).sobol(2**10, seed=_CONDITION_SEED)
        (values,) = residual_values([condition.residual], ansatz, differentiator, points).values()
        found[condition.name] = norms(values)
    return found


def _largest_terms(problem: Problem, ansatz: nn.Module, differentiator: Differentiator) -> dict[str, float]:
    points = scattered_points(problem, 2**12)
    found = {}
    for equation in problem.equations:
        parts = sympy.Add.make_args(equation.expression)
        terms = [replace(equation, name=str(index), expression=part) for index, part in enumerate(parts)]
        values = residual_values(terms, ansatz, differentiator, points).values()
        found[equation.name] = max(norms(value).rms for value in values)
    return found


def norms(values: NDArray[np.float64]) -> ResidualNorms:
    """Return the norms of a residual's values (N,)."""
    return ResidualNorms(float(np.sqrt(np.mean(values**2))), float(np.max(np.abs(values))))


def _tensor(points: NDArray[np.float64], ansatz: nn.Module) -> Tensor:
    parameter = next(ansatz.parameters())
    return torch.as_tensor(points, dtype=parameter.dtype, device=parameter.device)
