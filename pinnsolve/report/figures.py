"""All figures of a run, drawn from its saved numbers."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pinnsolve.errors import RunFolderError
from pinnsolve.report.derivative_figure import leading_ratio_figure, v_curves_figure
from pinnsolve.report.difference_map import difference_map_figure, distribution_figure
from pinnsolve.report.error_budget_figure import cost_figure, error_budget_figure
from pinnsolve.report.grid_maps import Grid
from pinnsolve.report.history_figure import history_figure
from pinnsolve.report.problem_copy import problem_table, units
from pinnsolve.report.residual_figure import residual_figure
from pinnsolve.report.solution_figure import solution_figure
from pinnsolve.report.style import figure_style, rendered
from pinnsolve.runs import RunFolder

_REFERENCE, _RESIDUAL = "_reference", "residual_"


def draw_figures(folder: RunFolder) -> dict[str, bytes]:
    """Draw every figure that the run has numbers for into its folder, as PNG and SVG.

    Returns:
        name to SVG, in the order of the report: solution_<field>, residual, history, then those of the derivative
        audit: v_curves, error_budget, cost, leading_ratio, difference_map, difference_distribution.

    Raises:
        RunFolderError: the saved numbers do not fit together.
        ResourceError: a figure cannot be written.
    """
    drawn = {}
    with figure_style():
        for name, figure in _figures(folder, folder.metrics()):
            files = rendered(figure)
            for kind, content in files.items():
                folder.write_figure(f"{name}.{kind}", content)
            drawn[name] = files["svg"]
    return drawn


def _figures(folder: RunFolder, metrics: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    if folder.has("solution.npz"):
        with _fitting(folder, "solution.npz"):
            yield from _grid_figures(folder.solution(), metrics, units(problem_table(folder)))
    if folder.has("history.csv"):
        with _fitting(folder, "history.csv"):
            history = folder.history()
            if len(history["step"]):
                yield "history", history_figure(history, _reference_error(metrics))
    if folder.has("derivatives.csv"):
        with _fitting(folder, "derivatives.csv"):
            rows = folder.derivatives()
            if rows:
                yield from _present(_audit_figures(rows, metrics))
    with _fitting(folder, "audit.npz"):
        maps = folder.audit_maps()
        yield from _present(_map_figures(maps, metrics))


def _audit_figures(rows: list[dict[str, Any]], metrics: Mapping[str, Any]) -> Iterator[tuple[str, Figure | None]]:
    findings = [row for row in metrics.get("derivatives") or [] if isinstance(row, Mapping)]
    audit = metrics.get("audit")
    costs = [
        cost for cost in (audit.get("costs") or [] if isinstance(audit, Mapping) else []) if isinstance(cost, Mapping)
    ]
    yield "v_curves", v_curves_figure(rows, findings)
    if "truncation" in rows[0]:
        yield "error_budget", error_budget_figure(rows)
    yield "cost", cost_figure(findings, costs)
    if "leading_ratio" in rows[0]:
        yield "leading_ratio", leading_ratio_figure(rows)


def _map_figures(maps: Mapping[str, NDArray[Any]], metrics: Mapping[str, Any]) -> Iterator[tuple[str, Figure | None]]:
    box = metrics.get("coordinates")
    yield "difference_map", difference_map_figure(maps, box if isinstance(box, Mapping) else {}, metrics.get("time"))
    yield "difference_distribution", distribution_figure(maps)


def _present(figures: Iterator[tuple[str, Figure | None]]) -> Iterator[tuple[str, Figure]]:
    for name, figure in figures:
        if figure is not None:
            yield name, figure


@contextlib.contextmanager
def _fitting(folder: RunFolder, file: str) -> Iterator[None]:
    try:
        yield
    except (AttributeError, KeyError, IndexError, ValueError, TypeError) as error:
        raise RunFolderError(f"{folder.path / file}: the numbers do not fit together ({error})") from error


def _grid_figures(
    solution: Mapping[str, NDArray[Any]], metrics: Mapping[str, Any], known_units: Mapping[str, str]
) -> Iterator[tuple[str, Figure]]:
    grid = Grid.of(solution, metrics.get("time"))
    for field in metrics.get("fields") or {}:
        if field in solution:
            reference = solution.get(field + _REFERENCE)
            figure = solution_figure(field, solution[field], reference, grid, known_units.get(field, ""))
            yield f"solution_{_file_name(field)}", figure
    residuals = {
        name.removeprefix(_RESIDUAL): values for name, values in solution.items() if name.startswith(_RESIDUAL)
    }
    if residuals:
        yield "residual", residual_figure(residuals, grid, solution.get("collocation"))


def _reference_error(metrics: Mapping[str, Any]) -> float | None:
    """Return the largest error of a reference: no score below it means anything."""
    scores = (metrics.get("fields") or {}).values()
    errors = [score.get("reference_error") for score in scores if isinstance(score, Mapping)]
    return max(
        (float(error) for error in errors if isinstance(error, int | float) and np.isfinite(error)), default=None
    )


def _file_name(field: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", field)[:60] or "field"
