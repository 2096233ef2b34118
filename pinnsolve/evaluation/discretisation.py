r"""What training with finite differences does not see: residuals by differences against residuals by autodiff.

A network that solves the differenced equations leaves the truncation error of the stencils as its true residual, and
collocated central differences do not see oscillations on the scale of the step at all (odd-even decoupling): of
u = sin(πx/h) they see no slope, (u(x+h) - u(x-h))/2h = 0 at every x, and of what has the period h no derivative.
Source: Patankar (1980), Numerical Heat Transfer and Fluid Flow, section 6.2 (checkerboard fields).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from pinnsolve.derivatives import Differentiator, autograd
from pinnsolve.evaluation.accuracy import ResidualNorms, norms, residual_values
from pinnsolve.evaluation.points import scattered_points
from pinnsolve.problems import Problem

HIDDEN = 10.0  # a residual by autodiff so many times that by differences was not minimised
ROUGH = 0.1  # 2 - 2 cos(πh/2λ) at the wavelength λ = 5h, below which stencils of step h resolve nothing
_POINTS = 2**10
_REACH = 4  # steps from a point to the farthest node of its stencil


@dataclass(frozen=True)
class Discretisation:
    """The residuals of a network that was trained with finite differences, by differences and by autodiff.

    Attributes:
        differenced: norms of each equation's residual by the differences of training.
        differentiated: the same by autodiff, at the same points, which training never saw.
        roughness: rms of r(x + h/4) - 2r(x) + r(x - h/4) relative to that of the residual r by autodiff, along the
            coordinate where it is largest: 0.59 for a wavelength of 2h, 0.006 for one of 20h.
    """

    differenced: Mapping[str, ResidualNorms]
    differentiated: Mapping[str, ResidualNorms]
    roughness: Mapping[str, float]

    @property
    def hidden(self) -> dict[str, float]:
        """The equations whose residual by autodiff is much the larger one, and how many times it is."""
        ratios = {
            name: self.differentiated[name].rms / found.rms if found.rms > 0 else float("inf")
            for name, found in self.differenced.items()
            if self.differentiated[name].rms > 0
        }
        return {name: ratio for name, ratio in ratios.items() if ratio > HIDDEN}

    @property
    def decoupled(self) -> list[str]:
        """The equations whose residual oscillates where the stencils of training do not see it."""
        return [name for name in self.hidden if self.roughness[name] > ROUGH]

    @property
    def record(self) -> dict[str, Any]:
        """The finding by key, as in metrics.json."""
        return {**asdict(self), "hidden": self.hidden, "decoupled": self.decoupled}

    @property
    def sentences(self) -> list[str]:
        """The finding in words, one sentence per equation; none where the differences are adequate."""
        return [self._sentence(name, ratio) for name, ratio in self.hidden.items()]

    def _sentence(self, name: str, ratio: float) -> str:
        sizes = f"{self.differenced[name].rms:.1e} by the differences of training, {self.differentiated[name].rms:.1e}"
        found = f"The residual of {name} is {sizes} by autodiff ({ratio:.0f} times)"
        if name in self.decoupled:
            return (
                f"{found}: odd-even decoupling, the network oscillates on the scale of the step, which these stencils "
                "do not see. Train with derivatives = taylor, or with a smaller fd.step."
            )
        return (
            f"{found}: the network solves the differenced equation, and their truncation error is what remains. "
            "A smaller fd.step, a scheme of higher order, or derivatives = taylor carries further."
        )


def compare_residuals(
    problem: Problem, ansatz: nn.Module, differences: Differentiator, steps: Sequence[float]
) -> Discretisation:
    """Return the residuals of a trial solution by the differences that trained it and by autodiff.

    Args:
        problem: as it was trained.
        ansatz: the trial solution.
        differences: the maker of jets in training.
        steps: its steps, one per coordinate.
    """
    points = _inner_points(problem, steps)

    def residuals(maker: Differentiator, places: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return residual_values(problem.equations, ansatz, maker, places)

    true = residuals(autograd, points)
    roughness = dict.fromkeys(true, 0.0)
    for shift in np.diag(0.25 * np.asarray(steps)):
        beside = residuals(autograd, points + shift), residuals(autograd, points - shift)
        for name, values in true.items():
            size, rough = norms(values).rms, norms(beside[0][name] - 2 * values + beside[1][name]).rms
            roughness[name] = max(roughness[name], rough / size if size > 0 else 0.0)
    return Discretisation(
        differenced={name: norms(values) for name, values in residuals(differences, points).items()},
        differentiated={name: norms(values) for name, values in true.items()},
        roughness=roughness,
    )


def _inner_points(problem: Problem, steps: Sequence[float]) -> NDArray[np.float64]:
    """Return scattered points so far from the ends that stencils are central, if the steps leave such points."""
    lower, upper = problem.box
    margin = np.minimum(_REACH * np.asarray(steps), 0.25 * (upper - lower))
    points = lower + margin + (1 - 2 * margin / (upper - lower)) * (scattered_points(problem, _POINTS) - lower)
    return points[problem.contains(points)]
