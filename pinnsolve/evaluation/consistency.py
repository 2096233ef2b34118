"""How well the fields of a first-order formulation are the derivatives that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from pinnsolve.derivatives import Differentiator
from pinnsolve.evaluation.accuracy import ResidualNorms, field_values, norms, residual_values
from pinnsolve.evaluation.points import scattered_points
from pinnsolve.problems import Problem
from pinnsolve.problems.formulation import definitions

_POINTS = 2**12


@dataclass(frozen=True)
class Consistency:
    """The difference q - ∂w of a new field q and the first derivative that defines it.

    Attributes:
        derivative: what q stands for, e.g. "u_x".
        rms, max: of the difference, in the unit of q.
        relative: rms, relative to that of q; None where q is zero.
    """

    derivative: str
    rms: float
    max: float
    relative: float | None


@dataclass(frozen=True)
class FormulationReport:
    """What was trained in place of the equations of the problem file, and how well it is met.

    Attributes:
        equations: as text, by name.
        residuals: norms of these equations' residuals on points that training never saw.
        fields: consistency of each new field, by its name.
    """

    equations: Mapping[str, str]
    residuals: Mapping[str, ResidualNorms]
    fields: Mapping[str, Consistency]

    @property
    def sentence(self) -> str:
        """The consistency in words."""
        parts = [
            f"{each.derivative} differs from its field by {each.rms:.1e} rms, {each.max:.1e} at most"
            + ("" if each.relative is None else f" ({each.relative:.1e} relative)")
            for each in self.fields.values()
        ]
        return f"First-order formulation: {'; '.join(parts)}." if parts else ""


def report_formulation(posed: Problem, ansatz: nn.Module, differentiator: Differentiator) -> FormulationReport:
    """Return the residuals of the equations as they were trained.

    Args:
        posed: the problem in the formulation that was trained.
        ansatz: the trial solution, of all its fields.
        differentiator: the maker of jets.
    """
    points = scattered_points(posed, _POINTS)
    residuals = residual_values(posed.equations, ansatz, differentiator, points)
    values = field_values(ansatz, points)
    fields = {}
    for field, equation in definitions(posed).items():
        assert field.stands_for is not None
        derivative = field.stands_for.name(posed.coordinate_names)
        fields[field.name] = _consistency(derivative, norms(residuals[equation.name]), norms(values[field.name]))
    return FormulationReport(
        equations={equation.name: f"{equation.placed} = 0" for equation in posed.equations},
        residuals={name: norms(value) for name, value in residuals.items()},
        fields=fields,
    )


def _consistency(derivative: str, difference: ResidualNorms, size: ResidualNorms) -> Consistency:
    relative = difference.rms / size.rms if size.rms > 0 else None
    return Consistency(derivative, difference.rms, difference.max, relative)
