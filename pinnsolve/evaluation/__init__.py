"""Evaluation: accuracy against the reference, residuals on points that training never saw."""

from pinnsolve.evaluation.accuracy import Evaluation, FieldAccuracy, ResidualNorms, evaluate, field_values, relative_l2
from pinnsolve.evaluation.consistency import Consistency, FormulationReport, report_formulation
from pinnsolve.evaluation.discretisation import Discretisation, compare_residuals
from pinnsolve.evaluation.points import EvaluationPoints, evaluation_points, scattered_points

__all__ = [
    "Consistency",
    "Discretisation",
    "Evaluation",
    "EvaluationPoints",
    "FieldAccuracy",
    "FormulationReport",
    "ResidualNorms",
    "compare_residuals",
    "evaluate",
    "evaluation_points",
    "field_values",
    "relative_l2",
    "report_formulation",
    "scattered_points",
]
