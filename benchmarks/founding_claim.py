"""Is ELU better for finite differences? The claim this project was founded on, settled with numbers.

    python benchmarks/founding_claim.py                     the default plan, three seeds, about 50 minutes
    python benchmarks/founding_claim.py --optimizer lm      gradient training alone, about 50 minutes
    python benchmarks/founding_claim.py --optimizer ssbroyden   with line searches, which need whole gradients
    python benchmarks/founding_claim.py --table             prints the tables from the saved results, draws the figure

*ELU has zero second derivative for positive inputs, so finite-difference errors shrink compared with tanh.* Every
activation is trained on every problem, directly and with derivatives as fields of their own (first-order), by the
real command. On each trained network forward and central differences of u_x and u_xx are compared with autodiff over
the step, beside the error of the same stencil on the exact solution; on each untrained one, the share of the loss
gradient that autodiff misses. Runs go to benchmarks/results/founding_claim.json as they finish.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from machine import BENCHMARKS, RESULTS, load, save

PROBLEMS = {"elu_home": 10.0, "poisson_1d": 10.0, "heat": 20.0, "burgers": 60.0}
ACTIVATIONS = ("elu", "celu", "tanh", "gelu")
FORMULATIONS = ("direct", "first-order")
TERMS = tuple(product(("u_x", "u_xx"), ("forward", "central2")))
NAME = "founding_claim"
CLEAR = 2.0  # a factor between two errors below which neither is called better
Row = dict[str, Any]


def row(problem: str, activation: str, formulation: str, optimizer: str, seconds: float, seed: int) -> Row:
    """Train one network with the command line and return what was measured on it; a failed run is a row too."""
    about: Row = {
        "problem": problem,
        "activation": activation,
        "formulation": formulation,
        "optimizer": optimizer,
        "time_limit": seconds,
        "seed": seed,
    }
    named = ["--activation", activation, "--formulation", formulation, "--optimizer", optimizer, "--seed", str(seed)]
    with tempfile.TemporaryDirectory() as outputs:
        places = ["--output", outputs, "--name", "run", "--set", "audit.enabled=false"]
        command = ["-m", "pinnsolve", "solve", problem, *named, "--time-limit", f"{seconds:g}", *places, "--quiet"]
        done = subprocess.run(
            [sys.executable, *command], cwd=BENCHMARKS.parent, capture_output=True, text=True, check=False
        )
        if done.returncode not in (0, 3):
            return about | {"status": "failed", "reason": done.stderr.strip()[-300:]}
        return about | _measured(Path(outputs) / problem / "run")


def _measured(folder: Path) -> Row:
    from claim_measures import difference_errors, missed_gradient

    from pinnsolve.runs import RunFolder, recording
    from pinnsolve.solving import prepare

    run = RunFolder.open(folder)
    metrics = run.metrics()
    untrained = prepare(recording.saved_problem(run), recording.saved_settings(run))
    consistency = (metrics["formulation"] or {}).get("fields", {})
    return {
        "status": metrics["status"],
        "relative_l2": max(accuracy["relative_l2"] for accuracy in metrics["fields"].values()),
        "seconds": metrics["seconds"],
        "steps": metrics["steps"],
        "stages": sorted({line.split(",")[2] for line in (folder / "history.csv").read_text().splitlines()[1:]}),
        "consistency": max((found["relative"] or 0.0 for found in consistency.values()), default=None),
        "missed_gradient": missed_gradient(untrained),
        "differences": [each.record() for each in difference_errors(recording.load_trained(run))],
    }


def median(rows: Sequence[Row], key: str) -> float | None:
    """Return the median over the seeds of a number; None where no run has it."""
    values = [row[key] for row in rows if row.get(key) is not None]
    return statistics.median(values) if values else None


def spread(values: Sequence[float]) -> str:
    """Return the median with the least and the greatest value, which are left out if there is one value only.

    >>> spread([1e-3, 4e-3, 2e-3]), spread([0.5]), spread([])
    ('2.0e-03 (1.0e-03 .. 4.0e-03)', '5.0e-01', '-')
    """
    if not values:
        return "-"
    middle = f"{statistics.median(values):.1e}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.1e} .. {max(values):.1e})"


def _selected(rows: Sequence[Row], **wanted: str) -> list[Row]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items()) and "relative_l2" in row]


def _differences(rows: Sequence[Row], term: str, scheme: str) -> list[Row]:
    return [each for row in rows for each in row["differences"] if (each["term"], each["scheme"]) == (term, scheme)]


def claim_table(rows: Sequence[Row], optimizer: str) -> str:
    """Return solution errors and finite-difference errors, as Markdown: medians over the seeds (least .. greatest)."""
    heads = [f"{term} {scheme}" for term, scheme in TERMS]
    lines = [
        "| problem | formulation | activation | solution error | "
        + " | ".join(f"{head}: h = 1e-2, 1e-3, best" for head in heads)
        + " |",
        "|---" * (4 + len(heads)) + "|",
    ]
    for problem in PROBLEMS:
        exact = _selected(rows, problem=problem, optimizer=optimizer)
        for formulation, activation in product(FORMULATIONS, ACTIVATIONS):
            found = _selected(exact, formulation=formulation, activation=activation)
            if found:
                cells = [_cell(_differences(found, *term)) for term in TERMS]
                error = spread([row["relative_l2"] for row in found])
                lines.append(f"| {problem} | {formulation} | {activation} | {error} | {' | '.join(cells)} |")
        if exact and exact[0]["differences"][0]["solution"]:
            cells = [_cell(_differences(exact[:1], *term), "solution_") for term in TERMS]
            lines.append(f"| {problem} | - | the exact solution | 0 | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(found: Sequence[Row], prefix: str = "") -> str:
    keys = [f"{prefix}at_0.01", f"{prefix}at_0.001", *([] if prefix else ["best"])]
    return ", ".join(f"{median(found, key):.1e}" for key in keys)


def formulation_table(rows: Sequence[Row], optimizer: str) -> str:
    """Return for each problem and kinked activation which formulation serves it better, and why, as Markdown."""
    lines = [
        "| problem | activation | direct | first-order | gradient missed: direct, first-order | better, and why |",
        "|---|---|---|---|---|---|",
    ]
    for problem, activation in product(PROBLEMS, ("elu", "celu")):
        direct, first = (
            _selected(rows, problem=problem, activation=activation, formulation=each, optimizer=optimizer)
            for each in FORMULATIONS
        )
        if direct and first:
            missed = [median(found, "missed_gradient") for found in (direct, first)]
            shown = [spread([row["relative_l2"] for row in found]) for found in (direct, first)]
            shares = ", ".join("-" if share is None else f"{share:.0%}" for share in missed)
            lines.append(f"| {problem} | {activation} | {' | '.join(shown)} | {shares} | {_verdict(direct, first)} |")
    return "\n".join(lines)


def _verdict(direct: Sequence[Row], first: Sequence[Row]) -> str:
    """Return which formulation is better and what of the measurements explains it."""
    ratio = statistics.median(row["relative_l2"] for row in direct) / statistics.median(
        row["relative_l2"] for row in first
    )
    features = all("features" in row["stages"] for row in direct)
    if ratio > CLEAR:
        return f"first-order, {ratio:.1f} times: its gradient is whole, no residual reads a second derivative"
    if ratio < 1 / CLEAR and features:
        return f"direct, {1 / ratio:.1f} times: least squares on random features follow no gradient, and have one field"
    if ratio < 1 / CLEAR:
        return f"direct, {1 / ratio:.1f} times: what is missed of its gradient costs less than a second field"
    return f"neither (factor {max(ratio, 1 / ratio):.1f})"


def drawn(rows: Sequence[Row], optimizer: str) -> Any:
    """Return the figure: errors of forward u_x and central u_xx over h, a panel per problem, a line per activation."""
    from pinnsolve.report.style import TEXT_WIDTH, new_figure

    colors = dict(zip(ACTIVATIONS, ("#D55E00", "#E69F00", "#0072B2", "#009E73"), strict=True))  # Okabe and Ito (2008)
    terms = [("u_x", "forward"), ("u_x", "central2"), ("u_xx", "central2")]
    figure = new_figure(TEXT_WIDTH, 1.6 * len(PROBLEMS) + 0.5)
    axes = figure.subplots(len(PROBLEMS), len(terms), sharex=True, squeeze=False)
    for (line, problem), (column, term) in product(enumerate(PROBLEMS), enumerate(terms)):
        place = axes[line][column]
        place.set_title(f"{problem}: {term[0]}, {term[1]}", fontsize="small")
        for activation in ACTIVATIONS:
            found = _selected(rows, problem=problem, activation=activation, formulation="direct", optimizer=optimizer)
            for number, each in enumerate(_differences(found, *term)):
                label = activation if number == 0 else None
                place.loglog(each["steps"], each["network"], color=colors[activation], linewidth=0.8, label=label)
                if each["solution"] and activation == ACTIVATIONS[-1] and number == 0:
                    place.loglog(each["steps"], each["solution"], "k:", linewidth=1.2, label="exact solution")
    for place in axes[-1]:
        place.set_xlabel("step h")
    axes[0][0].legend(fontsize="x-small")
    return figure


def arguments_of(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimizer", default="auto", help="auto: the default plan; lm, ssbroyden, ...: one stage")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--problems", default=",".join(PROBLEMS))
    parser.add_argument("--activations", default=",".join(ACTIVATIONS))
    parser.add_argument("--scale", type=float, default=1.0, help="factor of all time limits")
    parser.add_argument("--continue", dest="goes_on", action="store_true", help="keep the rows that are there")
    parser.add_argument("--table", action="store_true", help="print the tables and draw the figure, run nothing")
    parser.add_argument("--name", default=NAME, help="of the result")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="of the results")
    return parser.parse_args(given)


def cases(options: argparse.Namespace) -> list[tuple[str, str, str, str, float, int]]:
    """Return what is run, seed by seed, so that an interrupted measurement has whole tables."""
    return [
        (problem, activation, formulation, options.optimizer, PROBLEMS[problem] * options.scale, seed)
        for seed in range(options.seeds)
        for problem in options.problems.split(",")
        for activation in options.activations.split(",")
        for formulation in FORMULATIONS
    ]


def _case_of(row: Row) -> tuple[Any, ...]:
    return tuple(row[key] for key in ("problem", "activation", "formulation", "optimizer", "time_limit", "seed"))


def main() -> None:
    """Measure, save after every run, and print the tables."""
    options = arguments_of()
    rows: list[Row] = load(options.name, options.folder).get("rows", [])
    if not options.table:
        todo = cases(options)
        # rows of another optimizer stay; those that are to be measured again go
        rows = [row for row in rows if _case_of(row) not in todo or (options.goes_on and row["status"] == "finished")]
        done = [_case_of(row) for row in rows]
        for case in todo:
            if case not in done:
                rows.append(row(*case))
                save(options.name, {"rows": rows}, options.folder)
                print(json.dumps({key: rows[-1].get(key) for key in (*_KEYS, "relative_l2", "missed_gradient")}))
    for optimizer in sorted({row["optimizer"] for row in rows}):
        print(f"\noptimizer {optimizer}\n\n{claim_table(rows, optimizer)}\n\n{formulation_table(rows, optimizer)}")
        _save_figure(rows, optimizer, options)


_KEYS = ("problem", "activation", "formulation", "optimizer", "seed", "status")


def _save_figure(rows: Sequence[Row], optimizer: str, options: argparse.Namespace) -> None:
    from pinnsolve.report.style import figure_style, rendered

    with figure_style():
        figure = drawn(rows, optimizer)
        for kind, content in rendered(figure).items():
            (options.folder / f"{options.name}_{optimizer}.{kind}").write_bytes(content)


if __name__ == "__main__":
    main()
