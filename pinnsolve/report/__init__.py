"""Figures, tables and pages of runs and comparisons, drawn from saved numbers alone."""

from pinnsolve.report.comparison_page import build_comparison_report
from pinnsolve.report.comparison_tables import comparison_tables
from pinnsolve.report.page import build_report
from pinnsolve.report.tables import (
    Table,
    accuracy_table,
    audit_summary_table,
    audit_table,
    discretisation_table,
    plain,
    residual_table,
    settings_table,
)

__all__ = [
    "Table",
    "accuracy_table",
    "audit_summary_table",
    "audit_table",
    "build_comparison_report",
    "build_report",
    "comparison_tables",
    "discretisation_table",
    "plain",
    "residual_table",
    "settings_table",
]
