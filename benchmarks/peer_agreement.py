"""How far the peer's definitions are from the problem files that pinnsolve solves.

    python benchmarks/peer_agreement.py

Both are evaluated for the same untrained network: the equation in DeepXDE's words on DeepXDE's derivatives, and
the problem file's on jets by nested autograd. Whatever is more than rounding makes the comparison worthless.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType

import torch
from peer import Recipe, build, deepxde
from peer_problems import PROBLEMS
from torch import Tensor

from pinnsolve.derivatives import autograd
from pinnsolve.evaluation import scattered_points
from pinnsolve.problems import Problem, load_problem
from pinnsolve.problems.formulas import torch_functions


def disagreement(name: str, dde: ModuleType) -> dict[str, float]:
    """Return the largest difference of the residuals on 64 points, and the largest violation of a condition.

    residual: relative to the largest residual;
    conditions: in the unit of the field, by the built-in conditions or by the values given on the boundary.
    """
    problem, definition = load_problem(name), PROBLEMS[name](dde)
    (equation,), (unknown,) = problem.equations, problem.field_names
    net = build(dde, definition, Recipe(points=16, boundary_points=16), seed=0).model.net
    points = torch.as_tensor(scattered_points(problem, 64))
    inputs = points.clone().requires_grad_()
    theirs = definition.residual(inputs, net(inputs)).detach()[:, 0]
    jet = autograd(lambda x: {unknown: net(x)[:, 0]}, points, equation.partials)
    ours = equation(torch_functions(), jet.columns, jet).detach()
    return {
        "residual": float((ours - theirs).abs().max() / ours.abs().max()),
        "conditions": violation(problem, points, definition.boundary or net),
    }


def violation(problem: Problem, points: Tensor, values: Callable[[Tensor], Tensor]) -> float:
    """Return the largest residual of a condition of the problem file for a field of these values (N, 1).

    A periodic coordinate asks for equal values at its two ends.
    """
    largest = 0.0
    for condition in problem.conditions:
        face = moved(problem, points, condition.face.axis, condition.face.side != "lower")
        jet = autograd(lambda x: {problem.field_names[0]: values(x)[:, 0]}, face, condition.residual.partials)
        residual = condition.residual(torch_functions(), jet.columns, jet)
        largest = max(largest, float(residual.detach().abs().max()))
    for axis, coordinate in enumerate(problem.coordinates):
        if coordinate.periodic:
            jump = values(moved(problem, points, axis, True)) - values(moved(problem, points, axis, False))
            largest = max(largest, float(jump.detach().abs().max()))
    return largest


def moved(problem: Problem, points: Tensor, axis: int, upper: bool) -> Tensor:
    """Return the points, moved along one axis to the face at its upper or lower end."""
    face = points.clone()
    face[:, axis] = float(problem.box[int(upper)][axis])
    return face


def main() -> None:
    """Print the disagreement of every definition."""
    dde = deepxde()
    print(json.dumps({name: disagreement(name, dde) for name in PROBLEMS}, indent=1))


if __name__ == "__main__":
    main()
