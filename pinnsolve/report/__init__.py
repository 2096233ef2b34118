"""Figures, tables and the page of one run, drawn from its saved numbers alone."""

from pinnsolve.report.page import build_report
from pinnsolve.report.tables import (
    Table,
    accuracy_table,
    audit_summary_table,
    audit_table,
    plain,
    residual_table,
    settings_table,
)

__all__ = [
    "Table",
    "accuracy_table",
    "audit_summary_table",
    "audit_table",
    "build_report",
    "plain",
    "residual_table",
    "settings_table",
]
