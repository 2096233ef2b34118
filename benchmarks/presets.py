"""The ready-made comparisons in the README, a table and a figure each.

    pinnsolve compare --preset activations    and engines, optimizers: about a quarter of an hour each on two cores
    python benchmarks/presets.py              takes outputs/comparisons/preset-* over, draws them, prints the tables
    python benchmarks/presets.py --readme     the same, and rewrites the README between the marks of each preset

What is taken over stands in benchmarks/results/preset_<name>.json, from which all of it can be written again. The
runs of `activations` are measured as well (`founding_claim.py`), a few seconds each.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import founding_claim
import machine
from claim_tables import difference_table, formulation_table, solution_table
from comparisons import markdown
from figure import README, rewritten

from pinnsolve.comparison import PRESETS
from pinnsolve.report.comparison_figures import curves_figure
from pinnsolve.report.style import figure_style, rendered
from pinnsolve.runs import ComparisonFolder, RunFolder

OUTPUTS = machine.BENCHMARKS.parent / "outputs"
CLAIM = "activations"
_RUN = ("problem", "method", "seed", "status", "error", "seconds", "steps", "fd_term", "fd_error", "fd_verdict")
_GROUP = ("problem", "method", "runs", "without_result", "error", "seconds", "seconds_to_target", "curves")


def marks(name: str) -> tuple[str, str]:
    """Return the marks between which a preset stands in the README."""
    return f"<!-- preset {name}: written by `python benchmarks/presets.py --readme` -->", f"<!-- end of {name} -->"


def taken_over(comparison: Path) -> dict[str, Any]:
    """Return what the README needs of a comparison.

    Raises:
        RunFolderError: the folder holds no comparison, or a run has gone.
    """
    summary = ComparisonFolder.open(comparison).summary()
    settings = [RunFolder.open(comparison / run["folder"]).metrics()["settings"] for run in summary["runs"]]
    return {
        "compared_by": summary["command"],
        "time_limits": sorted({each["time_limit"] for each in settings}),
        "open": summary["open"],
        "problems": summary["problems"],
        "methods": summary["methods"],
        "target": summary["target"],
        "ranks": summary["ranks"],
        "groups": [{key: group[key] for key in _GROUP} for group in summary["groups"]],
        "runs": [{key: run[key] for key in _RUN} for run in summary["runs"]],
    }


def refresh(name: str, outputs: Path, results: Path) -> None:
    """Take a preset's comparison over, if it is there, and draw its figure."""
    comparison = outputs / "comparisons" / f"preset-{name}"
    if not ComparisonFolder.is_at(comparison):
        return
    record = taken_over(comparison)
    machine.save(f"preset_{name}", record, results)
    with figure_style():
        for kind, content in rendered(curves_figure(record, "seconds")).items():
            (results / f"preset_{name}.{kind}").write_bytes(content)
    if name == CLAIM:
        founding_claim.publish(founding_claim.measure(comparison, results), results)


def readme_block(name: str, results: Path, place: str = "benchmarks/results") -> str:
    """Return what stands between a preset's marks in the README, from its saved result.

    Args:
        name: of the preset.
        results: folder of the results.
        place: the same folder as the README refers to it.
    """
    result = machine.load(f"preset_{name}", results)
    if not result:
        return f"Not measured yet: `pinnsolve compare --preset {name}`."
    parts = [_about(name, result), *(_claim_parts(results, place) if name == CLAIM else _parts(name, result, place))]
    return "\n\n".join(parts)


def _about(name: str, result: Mapping[str, Any]) -> str:
    runs = result["runs"]
    limits = ", ".join(f"{limit:g}" for limit in result["time_limits"])
    lost = sum(run["status"] == "failed" for run in runs)
    without = f", {lost} of them without a result" if lost else ""
    unfinished = f", {len(result['open'])} more not finished" if result["open"] else ""
    return (
        f"`pinnsolve compare --preset {name}`: {len(runs)} runs of {limits} s{without}{unfinished}; median and range "
        f"over {len({run['seed'] for run in runs})} seeds. {result['processor']}, {result['cores']} cores, "
        f"torch {result['torch']}; {result['date']}, commit {result['commit']}."
    )


def _parts(name: str, result: Mapping[str, Any], place: str) -> list[str]:
    """Return figure, table and ranks of a preset whose methods are few."""
    figure = f"![Median error over seconds of training, a panel per problem]({place}/preset_{name}.svg)"
    groups = {(group["problem"], group["method"]): group for group in result["groups"]}
    methods = result["methods"]
    body = [[problem, *(_cell(groups.get((problem, m))) for m in methods)] for problem in result["problems"]]
    legend = f"Relative L2 error, and seconds to {result['target']:g}; none where half of the runs do not get there."
    return [figure, markdown(["problem", *methods], body), legend, *_ranks(result["ranks"])]


def _cell(group: Mapping[str, Any] | None) -> str:
    """Return a method's median error with its range, and the median seconds to the target if it is reached.

    >>> error = {"median": 2e-3, "low": 1e-3, "high": None, "count": 3}
    >>> _cell({"error": error, "seconds_to_target": None}), _cell({"error": error, "seconds_to_target": 1.25})
    ('2.0e-03 (1.0e-03 … ∞)', '2.0e-03 (1.0e-03 … ∞), 1.2 s')
    """
    if group is None:
        return ""
    error, seconds = group["error"], group["seconds_to_target"]
    if error is None or error["median"] is None:
        return "no result"
    high = "∞" if error["high"] is None else f"{error['high']:.1e}"
    interval = f" ({error['low']:.1e} … {high})" if error["count"] > 1 else ""
    reached = "" if seconds is None else f", {seconds:.2g} s"
    return f"{error['median']:.1e}{interval}{reached}"


def _ranks(ranks: Mapping[str, Any] | None) -> list[str]:
    if ranks is None:
        return []
    order = sorted(zip(ranks["mean_ranks"], ranks["methods"], strict=True))
    shown = "; ".join(f"{method}: {rank:.1f}" for rank, method in order)
    test, distance = ranks["test"], ranks["critical_distance"]
    verdict = "" if test["p_value"] is None else f". {test['name']} test: p = {test['p_value']:.2g}"
    return [
        f"Mean ranks over {ranks['blocks']} {ranks['over']}: {shown}{verdict}. Two differ from {distance:.1f} apart "
        "(Nemenyi, 5 %)."
    ]


def _claim_parts(results: Path, place: str) -> list[str]:
    """Return the tables and the figure of the founding claim."""
    name = founding_claim.NAME
    rows = machine.load(name, results)["rows"]
    return [
        f"![Errors of finite differences over the step, a line per trained network]({place}/{name}.svg)",
        f"Error of the solution (all derivatives and steps: [{name}.md]({place}/{name}.md)):",
        solution_table(rows),
        formulation_table(rows),
        "Finite differences against autodiff on the networks trained directly, relative root mean square:",
        difference_table(rows),
    ]


def main(given: Sequence[str] | None = None) -> None:
    """Take over, draw, print, and rewrite the README if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", default=",".join(PRESETS), help="names, separated by commas")
    parser.add_argument("--outputs", type=Path, default=OUTPUTS, help="the --output of the comparisons")
    parser.add_argument("--folder", type=Path, default=machine.RESULTS, help="of the results")
    parser.add_argument("--readme", action="store_true", help="rewrite the README between its marks")
    options = parser.parse_args(given)
    for name in options.presets.split(","):
        refresh(name, options.outputs, options.folder)
        block = readme_block(name, options.folder)
        print(f"\n{block}")
        if options.readme:
            README.write_text(rewritten(README.read_text(), block, marks(name)))


if __name__ == "__main__":
    main()
