"""Is ELU better for finite differences? The claim this project was founded on, settled with numbers.

    pinnsolve compare --preset activations                                             trains, about 15 minutes
    python benchmarks/founding_claim.py --from outputs/comparisons/preset-activations  measures every run
    python benchmarks/founding_claim.py                                                the tables of what is saved

*ELU has zero second derivative for positive inputs, so finite-difference errors shrink compared with tanh.* The
comparison trains every activation on every problem, directly and with derivatives as fields of their own
(first-order). On each trained network forward and central differences of u_x and u_xx are compared with autodiff over
the step, beside the error of the same stencil on the exact solution; on each untrained one, the share of the loss
gradient that autodiff misses. Rows go to benchmarks/results/founding_claim.json as they are measured, the tables and
the figure beside it. With `--name NAME`, comparisons with other settings (`--optimizer ssbroyden`) are measured alike.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from claim_tables import claim_table, drawn, formulation_table
from machine import RESULTS, load, save

from pinnsolve.report.style import figure_style, rendered

NAME = "founding_claim"
_KEYS = ("problem", "activation", "formulation", "optimizer", "seed", "status", "relative_l2", "missed_gradient")
Row = dict[str, Any]


def row(folder: Path) -> Row:
    """Return what is measured on one run of a comparison; a run that failed is a row too."""
    from pinnsolve.runs import RunFolder

    run = RunFolder.open(folder)
    metrics = run.metrics()
    settings = metrics["settings"]
    about = {
        "run": folder.name,
        "problem": metrics["problem"],
        "activation": settings["network"]["activation"],
        "formulation": settings["formulation"],
        "optimizer": settings["training"]["optimizer"],
        "time_limit": settings["time_limit"],
        "seed": settings["seed"],
        "status": metrics["status"],
    }
    return about | ({"reason": metrics["reason"]} if metrics["status"] != "finished" else _measured(run, metrics))


def _measured(run: Any, metrics: Row) -> Row:
    from claim_measures import difference_errors, missed_gradient

    from pinnsolve.runs import recording
    from pinnsolve.solving import prepare

    untrained = prepare(recording.saved_problem(run), recording.saved_settings(run))
    consistency = (metrics["formulation"] or {}).get("fields", {})
    return {
        "relative_l2": max(accuracy["relative_l2"] for accuracy in metrics["fields"].values()),
        "seconds": metrics["seconds"],
        "steps": metrics["steps"],
        "stages": sorted(set(run.history()["stage"].tolist())),
        "consistency": max((found["relative"] or 0.0 for found in consistency.values()), default=None),
        "missed_gradient": missed_gradient(untrained),
        "differences": [each.record() for each in difference_errors(recording.load_trained(run))],
    }


def measure(comparison: Path, results: Path = RESULTS, name: str = NAME) -> list[Row]:
    """Measure the runs of a comparison, save the rows as they come, and return them; those measured before stay.

    Raises:
        RunFolderError: the folder holds no comparison.
    """
    from pinnsolve.runs import ComparisonFolder

    folders = [comparison / run["folder"] for run in ComparisonFolder.open(comparison).summary()["runs"]]
    saved = {row.get("run"): row for row in load(name, results).get("rows", []) if row["status"] == "finished"}
    rows: list[Row] = []
    for folder in folders:
        rows.append(saved.get(folder.name) or row(folder))
        save(name, {"rows": [*rows, *(saved[f.name] for f in folders[len(rows) :] if f.name in saved)]}, results)
        print(json.dumps({key: rows[-1].get(key) for key in _KEYS}), flush=True)
    return rows


def publish(rows: Sequence[Row], results: Path = RESULTS, name: str = NAME) -> str:
    """Write the full tables (.md) and the figure (.svg, .png) beside the result; return the tables."""
    text = f"{claim_table(rows)}\n\n{formulation_table(rows)}\n"
    (results / f"{name}.md").write_text(f"# Is ELU better for finite differences?\n\n{text}")
    with figure_style():
        for kind, content in rendered(drawn(rows)).items():
            (results / f"{name}.{kind}").write_bytes(content)
    return text


def main(given: Sequence[str] | None = None) -> None:
    """Measure what is asked for, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="comparison", type=Path, help="folder of a comparison; none: what is saved")
    parser.add_argument("--name", default=NAME, help="of the result")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="of the results")
    options = parser.parse_args(given)
    saved = load(options.name, options.folder).get("rows", [])
    rows = saved if options.comparison is None else measure(options.comparison, options.folder, options.name)
    print(publish(rows, options.folder, options.name))


if __name__ == "__main__":
    main()
