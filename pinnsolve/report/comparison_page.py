"""The page of a comparison: one HTML file that loads nothing, with a table that sorts and filters."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pinnsolve.errors import RunFolderError
from pinnsolve.report.comparison_tables import audit_columns_table, failure_table, group_table, rank_table
from pinnsolve.report.tables import MISSING, count, number, plain
from pinnsolve.runs import ComparisonFolder

_CAPTIONS = {
    "errors": "Relative L2 error of each method: median over seeds, and the interval of the table below.",
    "error_over_seconds": "Error over time of training: median over seeds; the band goes from the best to the worst.",
    "error_over_evaluations": "The same over residual evaluations, which do not depend on the machine.",
    "profiles": "Performance profiles (Dolan, Moré 2002): the higher and further left, the better.",
    "ranks": "Mean ranks, 1 the best. Methods whose bars do not overlap differ at the 5 % level (Nemenyi).",
    "audit": "How far the best finite difference is from autodiff, for the worst derivative of each solution.",
}
_ALTERNATIVES = {
    "errors": "Plot of each method's error on each problem",
    "error_over_seconds": "Plot of error over time, one panel for each problem",
    "error_over_evaluations": "Plot of error over residual evaluations, one panel for each problem",
    "profiles": "Plot of performance profiles, a line for each method",
    "ranks": "Plot of mean ranks, a row for each method",
    "audit": "Plot of finite differences' error over the error of the solution",
}
_COUNTS = ("steps", "residual_evaluations")
_SORTABLE = ("error", "seconds", "steps", "residual_evaluations", "fd_error", "fd_step")


def build_comparison_report(folder: ComparisonFolder) -> Path:
    """Draw all figures and the page `report.html` of a comparison anew, from its summary alone.

    Raises:
        RunFolderError: the summary cannot be read, or its values have the wrong types.
        ResourceError: the disk is full or cannot be written.
    """
    summary = folder.summary()
    try:
        html = _render(folder, summary, _figures(folder, summary))
    except (AttributeError, TypeError, ValueError, KeyError, IndexError) as error:
        raise RunFolderError(f"{folder.path}/summary.json: the values do not fit together ({error})") from error
    return folder.write_page(html)


def _figures(folder: ComparisonFolder, summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    from pinnsolve.report.comparison_figures import comparison_figures  # imports matplotlib
    from pinnsolve.report.markup import encoded
    from pinnsolve.report.style import figure_style, rendered

    drawn = []
    with figure_style():
        for name, figure in comparison_figures(summary):
            content = rendered(figure)
            for kind, data in content.items():
                folder.write_figure(f"{name}.{kind}", data)
            texts = {"caption": _CAPTIONS[name], "alt": _ALTERNATIVES[name]}
            drawn.append({"name": name, "data": encoded(content["svg"]), **texts})
    return drawn


def _render(folder: ComparisonFolder, summary: Mapping[str, Any], figures: list[dict[str, Any]]) -> str:
    from markupsafe import Markup

    from pinnsolve.report.markup import environment

    script = (files("pinnsolve.report") / "templates" / "comparison.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    rows = [_row(run) for run in summary["runs"]]
    return (
        environment()
        .get_template("comparison.html")
        .render(
            title=summary["name"],
            command=summary.get("command") or "",
            counts=_counts(summary),
            open=[str(text) for text in summary.get("open") or []],
            rows=rows,
            problems=list(dict.fromkeys(row["problem"] for row in rows)),
            activations=list(dict.fromkeys(row["activation"] for row in rows)),
            tables=[table for table in (group_table(summary), rank_table(summary)) if table.rows],
            audit=[table for table in (audit_columns_table(summary),) if table.rows],
            failures=[table for table in (failure_table(summary),) if table.rows],
            figures=figures,
            script=Markup(script),
            script_hash=digest,
        )
    )


def _row(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run for the sortable table: texts to show, and numbers to sort by (empty where there is none)."""
    shown = {key: (count if key in _COUNTS else number)(run[key]) for key in _SORTABLE}
    keys = {f"{key}_key": "" if run[key] is None else repr(float(run[key])) for key in _SORTABLE}
    folder = str(run["folder"])
    parts = folder.split("/")
    is_safe = len(parts) == 3 and parts[0] == "runs" and all(part not in ("", ".", "..") for part in parts)
    link = "/".join(quote(part, safe="") for part in parts) + "/report.html" if is_safe else ""
    return {
        **{key: plain(run[key]) for key in ("problem", "method", "activation", "status", "reason")},
        "seed": str(run["seed"]),
        "verdict": plain(run["fd_verdict"] or MISSING),
        "term": plain(run["fd_term"] or MISSING),
        "link": link if run["status"] in ("finished", "diverged") else "",
        **shown,
        **keys,
    }


def _counts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    runs = summary["runs"]
    seconds = sum(run["seconds"] or 0.0 for run in runs)
    facts = [
        ("runs", str(len(runs))),
        ("problems", str(len(summary["problems"]))),
        ("methods", str(len(summary["methods"]))),
        ("without a result", str(sum(run["status"] == "failed" for run in runs))),
        ("diverged", str(sum(run["status"] == "diverged" for run in runs))),
        ("training, together", f"{seconds / 60:.1f} min"),
    ]
    return [(name, value) for name, value in facts if value != "0"]
