"""Evaluation: accuracy against the reference, residuals on points that training never saw."""

from pinnsolve.evaluation.accuracy import (
    Evaluation,
    FieldAccuracy,
    ResidualNorms,
    evaluate,
    field_values,
    known_values,
    relative_l2,
)
from pinnsolve.evaluation.classical import ClassicalCost, classical_cost
from pinnsolve.evaluation.consistency import Consistency, FormulationReport, report_formulation
from pinnsolve.evaluation.discretisation import Discretisation, compare_residuals
from pinnsolve.evaluation.health import health_sentences
from pinnsolve.evaluation.invariants import Drift, measure_invariants
from pinnsolve.evaluation.points import EvaluationPoints, evaluation_points, scattered_points

__all__ = [
    "ClassicalCost",
    "Consistency",
    "Discretisation",
    "Drift",
    "Evaluation",
    "EvaluationPoints",
    "FieldAccuracy",
    "FormulationReport",
    "ResidualNorms",
    "classical_cost",
    "compare_residuals",
    "evaluate",
    "evaluation_points",
    "field_values",
    "health_sentences",
    "known_values",
    "measure_invariants",
    "relative_l2",
    "report_formulation",
    "scattered_points",
]
