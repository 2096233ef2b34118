"""The tables and the figure of the founding claim, from the rows that `founding_claim.py` saves."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import product
from typing import Any

from comparisons import markdown
from matplotlib.figure import Figure

from pinnsolve.report.style import OKABE_ITO, TEXT_WIDTH, new_figure

ACTIVATIONS = ("elu", "celu", "tanh", "gelu")
FORMULATIONS = ("direct", "first-order")
TERMS = tuple(product(("u_x", "u_xx"), ("forward", "central2")))
CLEAR = 2.0  # a factor between two errors below which neither is called better
NONE = "-"
_COLORS = dict(zip(ACTIVATIONS, ("vermilion", "orange", "blue", "green"), strict=True))
_SHOWN = (  # what the README shows of the errors of differences: derivative, scheme, step
    ("u_x", "forward", "at_0.01"),
    ("u_x", "central2", "at_0.01"),
    ("u_xx", "central2", "at_0.01"),
    ("u_xx", "central2", "best"),
)
Row = dict[str, Any]


def median(rows: Sequence[Row], key: str) -> float | None:
    """Return the median over the seeds of a number; None where no run has it."""
    values = [row[key] for row in rows if row.get(key) is not None]
    return statistics.median(values) if values else None


def spread(values: Sequence[float]) -> str:
    """Return the median with the least and the greatest value, which are left out if there is one value only.

    >>> spread([1e-3, 4e-3, 2e-3]), spread([0.5]), spread([])
    ('2.0e-03 (1.0e-03 … 4.0e-03)', '5.0e-01', '-')
    """
    if not values:
        return NONE
    middle = f"{statistics.median(values):.1e}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.1e} … {max(values):.1e})"


def solution_table(rows: Sequence[Row]) -> str:
    """Return solution errors by activation, a line per problem and formulation, as Markdown."""
    body = [
        [problem, formulation, *(spread(_errors(selected(rows, problem, formulation, a))) for a in ACTIVATIONS)]
        for problem, formulation in product(_problems(rows), FORMULATIONS)
    ]
    return markdown(["problem", "formulation", *ACTIVATIONS], body)


def difference_table(rows: Sequence[Row]) -> str:
    """Return how far differences are from autodiff on directly trained networks, a line per problem and stencil."""
    names = {"at_0.01": "h = 1e-2", "best": "best h"}
    body = []
    for problem, (term, scheme, key) in product(_problems(rows), _SHOWN):
        found = [_differences(selected(rows, problem, "direct", a), term, scheme) for a in ACTIVATIONS]
        exact = median([each for group in found for each in group], f"solution_{key}")
        cells = [_short(median(each, key)) for each in found]
        body.append([problem, f"{term} {scheme}, {names[key]}", *cells, _short(exact)])
    return markdown(["problem", "difference", *ACTIVATIONS, "on the exact solution"], body)


def claim_table(rows: Sequence[Row]) -> str:
    """Return solution errors and all finite-difference errors, as Markdown: medians over the seeds."""
    heads = [f"{term} {scheme}: h = 1e-2, 1e-3, best" for term, scheme in TERMS]
    body = []
    for problem in _problems(rows):
        for formulation, activation in product(FORMULATIONS, ACTIVATIONS):
            found = selected(rows, problem, formulation, activation)
            if found:
                cells = [_cell(_differences(found, *term)) for term in TERMS]
                body.append([problem, formulation, activation, spread(_errors(found)), *cells])
        exact = [row for row in selected(rows, problem) if row["differences"][0]["solution"]]
        if exact:
            cells = [_cell(_differences(exact[:1], *term), "solution_") for term in TERMS]
            body.append([problem, NONE, "the exact solution", "0", *cells])
    return markdown(["problem", "formulation", "activation", "solution error", *heads], body)


def formulation_table(rows: Sequence[Row]) -> str:
    """Return for each problem and kinked activation which formulation serves it better, and why, as Markdown."""
    body = []
    for problem, activation in product(_problems(rows), ("elu", "celu")):
        direct, first = (selected(rows, problem, each, activation) for each in FORMULATIONS)
        if direct and first:
            missed = [median(found, "missed_gradient") for found in (direct, first)]
            shares = ", ".join(NONE if share is None else f"{share:.0%}" for share in missed)
            shown = [spread(_errors(found)) for found in (direct, first)]
            body.append([problem, activation, *shown, shares, _verdict(direct, first)])
    head = ["problem", "activation", *FORMULATIONS, "gradient missed: direct, first-order", "better, and why"]
    return markdown(head, body)


def drawn(rows: Sequence[Row]) -> Figure:
    """Return the figure: errors of differences over h, a panel per problem and stencil, a line per run."""
    terms = [("u_x", "forward"), ("u_x", "central2"), ("u_xx", "central2")]
    problems = _problems(rows)
    figure = new_figure(TEXT_WIDTH, 1.6 * len(problems) + 0.5)
    axes = figure.subplots(len(problems), len(terms), sharex=True, squeeze=False)
    for (line, problem), (column, term) in product(enumerate(problems), enumerate(terms)):
        _panel(axes[line][column], selected(rows, problem, "direct"), term)
        axes[line][column].set_title(f"{problem}: {term[0]}, {term[1]}")
    for place in axes[-1]:
        place.set_xlabel("step h")
    figure.supylabel("relative error of the difference")
    labels = {text.get_label(): text for place in axes.flat for text in place.lines if text.get_label()[0] != "_"}
    figure.legend(handles=list(labels.values()), loc="outside lower center", ncols=len(labels))
    return figure


def selected(
    rows: Sequence[Row], problem: str, formulation: str | None = None, activation: str | None = None
) -> list[Row]:
    """Return the rows with a result of a problem, and of a formulation and an activation if they are named."""
    wanted = {"problem": problem, "formulation": formulation, "activation": activation}
    asked = {key: value for key, value in wanted.items() if value is not None}
    return [row for row in rows if "relative_l2" in row and all(row[key] == value for key, value in asked.items())]


def _panel(axes: Any, rows: Sequence[Row], term: tuple[str, str]) -> None:
    for activation in ACTIVATIONS:
        found = _differences([row for row in rows if row["activation"] == activation], *term)
        for number, each in enumerate(found):
            label = activation if number == 0 else None
            axes.loglog(
                each["steps"], each["network"], color=OKABE_ITO[_COLORS[activation]], linewidth=0.8, label=label
            )
    exact = [each for each in _differences(rows, *term) if each["solution"]]
    if exact:
        axes.loglog(exact[0]["steps"], exact[0]["solution"], "k:", linewidth=1.2, label="exact solution")
    axes.grid(True)


def _problems(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["problem"] for row in rows if "relative_l2" in row))


def _errors(rows: Sequence[Row]) -> list[float]:
    return [row["relative_l2"] for row in rows]


def _differences(rows: Sequence[Row], term: str, scheme: str) -> list[Row]:
    return [each for row in rows for each in row["differences"] if (each["term"], each["scheme"]) == (term, scheme)]


def _cell(found: Sequence[Row], prefix: str = "") -> str:
    keys = [f"{prefix}at_0.01", f"{prefix}at_0.001", *([] if prefix else ["best"])]
    return ", ".join(_short(median(found, key)) for key in keys)


def _short(value: float | None) -> str:
    return NONE if value is None else f"{value:.1e}"


def _verdict(direct: Sequence[Row], first: Sequence[Row]) -> str:
    """Return which formulation is better and what of the measurements explains it."""
    ratio = statistics.median(_errors(direct)) / statistics.median(_errors(first))
    features = all("features" in row["stages"] for row in direct)
    if ratio > CLEAR:
        return f"first-order, {ratio:.1f} times: its gradient is whole, no residual reads a second derivative"
    if ratio < 1 / CLEAR and features:
        return f"direct, {1 / ratio:.1f} times: least squares on random features follow no gradient, and have one field"
    if ratio < 1 / CLEAR:
        return f"direct, {1 / ratio:.1f} times: what is missed of its gradient costs less than a second field"
    return f"neither (factor {max(ratio, 1 / ratio):.1f})"
