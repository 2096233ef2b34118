"""The statistics of a comparison as tables of text, the same for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pinnsolve.report.tables import MISSING, Table, number, plain

Summary = Mapping[str, Any]


def comparison_tables(summary: Summary) -> list[Table]:
    """Return the tables of a comparison: medians, audit, ranks, and what failed."""
    tables = [group_table(summary), audit_columns_table(summary), rank_table(summary), failure_table(summary)]
    return [table for table in tables if table.rows]


def group_table(summary: Summary) -> Table:
    """Return one row per problem and method: median error with its interval, seconds, seconds to the target."""
    rows = tuple(
        (
            plain(group["problem"]),
            plain(group["method"]),
            *_error_cells(group),
            number(group["seconds"]),
            number(group["seconds_to_target"]),
            number(group["reference_error"], 1),
            _counted(group),
        )
        for group in _groups(summary)
    )
    target = number(summary.get("target"), 1)
    columns = (
        *("problem", "method", "median error", "interval", "seconds", f"seconds to {target}"),
        *("error of the reference", "runs"),
    )
    return Table("Accuracy", columns, rows, frozenset({2, 3, 4, 5, 6, 7}), _interval_note(summary))


def audit_columns_table(summary: Summary) -> Table:
    """Return the derivative audit beside the accuracy: of each problem and method, its worst derivative."""
    rows = tuple(
        (
            plain(group["problem"]),
            plain(group["method"]),
            _error_cells(group)[0],
            *(plain(group[key] or MISSING) for key in ("fd_term", "fd_scheme")),
            *(number(group[key]) for key in ("fd_step", "fd_error", "ad_error")),
            plain(group["fd_verdict"] or MISSING),
        )
        for group in _groups(summary)
        if group.get("fd_term")
    )
    columns = (
        *("problem", "method", "median error", "derivative", "best scheme", "best step h", "FD − AD", "AD − exact"),
        "verdict",
    )
    note = (
        "The derivative whose best finite difference is worst, in the run of median FD error; relative to the "
        "derivative's root mean square."
    )
    return Table("Finite differences beside accuracy", columns, rows, frozenset({2, 5, 6, 7}), note)


def rank_table(summary: Summary) -> Table:
    """Return the mean ranks, best first, with the test and the distance from which two methods differ."""
    ranks = summary.get("ranks")
    if not isinstance(ranks, Mapping):
        return Table("Ranks", ("method", "mean rank"), ())
    order = sorted(zip(ranks["mean_ranks"], ranks["methods"], strict=True))
    test = ranks["test"]
    if test["p_value"] is None:
        verdict = f"No test: {test['note']}."
    else:
        differ = "differ" if test["p_value"] < 0.05 else "cannot be told apart"
        verdict = f"{test['name']} test: p = {number(test['p_value'], 2)}, so the methods {differ} at the 5 % level."
    distance = f"Two mean ranks differ (Nemenyi, 5 %) if {number(ranks['critical_distance'])} or more apart."
    note = f"Ranks over {ranks['blocks']} {ranks['over']}, 1 the best. {verdict} {distance}"
    rows = tuple((plain(method), f"{rank:.2f}") for rank, method in order)
    return Table("Ranks", ("method", "mean rank"), rows, frozenset({1}), note)


def failure_table(summary: Summary) -> Table:
    """Return the runs that have no result, with their reasons."""
    rows = tuple(
        (plain(run["problem"]), plain(run["method"]), str(run["seed"]), plain(run["status"]), plain(run["reason"]))
        for run in _runs(summary)
        if run["status"] not in ("finished",)
    )
    return Table("Runs without a good end", ("problem", "method", "seed", "status", "reason"), rows)


def _groups(summary: Summary) -> Sequence[Mapping[str, Any]]:
    groups = summary.get("groups")
    return groups if isinstance(groups, list) else []


def _runs(summary: Summary) -> Sequence[Mapping[str, Any]]:
    runs = summary.get("runs")
    return runs if isinstance(runs, list) else []


def _error_cells(group: Mapping[str, Any]) -> tuple[str, str]:
    error = group["error"]
    if error is None:
        return "no reference", MISSING
    if error["median"] is None:
        return "no result", MISSING
    high = "∞" if error["high"] is None else number(error["high"])
    return number(error["median"]), f"{number(error['low'])} … {high}" if error["count"] > 1 else MISSING


def _counted(group: Mapping[str, Any]) -> str:
    lost = group["without_result"]
    return f"{group['runs'] - lost} of {group['runs']}" if lost else str(group["runs"])


def _interval_note(summary: Summary) -> str:
    coverages = [group["error"]["coverage"] for group in _groups(summary) if group["error"] and group["runs"] > 1]
    if not coverages:
        return "One run each: there is no interval."
    return (
        f"Median over seeds; the interval between two order statistics holds the true median with a probability of "
        f"{min(coverages):.0%}. A run without a result counts as an infinite error."
    )
