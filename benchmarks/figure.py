"""The figure and the tables of the README, from the committed results.

    python benchmarks/figure.py             draws results/accuracy.svg and .png, prints the tables
    python benchmarks/figure.py --readme    the same, and rewrites the README between its two marks

results/all.md is the table of every problem of the folder, if `accuracy.py --all` was run.

Every panel is a problem: the error of the network that a run would return if it were stopped, against the seconds
of its training, both solvers on the same machine; thick is the run of median error, thin are the other seeds.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import machine
from comparisons import NOTES, Comparison, Row, Runs, accuracy_table, activation_table, comparisons, folder_table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogFormatterMathtext, NullLocator

from pinnsolve.report.style import TEXT_WIDTH, figure_style, new_figure, rendered

README = machine.BENCHMARKS.parent / "README.md"
BEGIN = "<!-- measured: written by `python benchmarks/figure.py --readme` -->"
END = "<!-- end of measured -->"
OURS, THEIRS, GREY = "#0072B2", "#D55E00", "#8a8a8a"  # Okabe and Ito (2008)
PANELS = ("burgers", "kdv", "allen_cahn", "wave", "heat", "poisson", "convection", "burgers_smooth")
COLUMNS, PANEL_HEIGHT = 3, 1.9
LEAST_SECONDS, LEAST_ERROR = 0.01, 1e-16
NAMES = ("accuracy", "engine", "long", "activations")  # of results that the README shows, those that are there
NEAR = 2.5  # decades between two ends whose labels would touch


def panels(found: Sequence[Comparison], most: int = 6) -> list[Comparison]:
    """Return the comparisons to draw: those with both solvers and no note, of each problem the first, by `PANELS`."""
    drawable = {c.problem: c for c in reversed(found) if c.theirs is not None and c.problem not in NOTES}
    order = [*PANELS, *(name for name in drawable if name not in PANELS)]
    return [drawable[name] for name in order if name in drawable][:most]


def drawn(found: Sequence[Comparison]) -> Figure:
    """Return the figure of these comparisons.

    Raises:
        ValueError: there is none.
    """
    if not found:
        raise ValueError("the figure needs problems that both solvers were run on, got none")
    columns = min(COLUMNS, len(found))
    lines = math.ceil(len(found) / columns)
    figure = new_figure(TEXT_WIDTH, 0.35 + PANEL_HEIGHT * lines)
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    starts = [seconds[0] for c in found for runs in _both(c) for row in runs.rows if (seconds := _points(row)[0])]
    # to the right of the last second there is room for the labels
    limits = min(starts, default=1.0) / 1.3, max(comparison.time_limit for comparison in found) * 14
    for place, comparison in zip_longest(axes.flat, found):
        if comparison is None:
            place.set_visible(False)
        else:
            _panel(place, comparison, limits, is_first=comparison is found[0])
    figure.supxlabel("seconds of training", fontsize=9)
    figure.supylabel("relative $L^2$ error", fontsize=9)
    return figure


def _panel(axes: Axes, comparison: Comparison, limits: tuple[float, float], *, is_first: bool) -> None:
    axes.set(xscale="log", yscale="log", xlim=limits, ylim=(LEAST_ERROR, 20))
    axes.yaxis.set_major_locator(FixedLocator([10.0**power for power in range(-16, 1, 4)]))
    axes.yaxis.set_major_formatter(LogFormatterMathtext())
    last = max(int(math.log10(comparison.time_limit)), 2)
    axes.xaxis.set_major_locator(FixedLocator([10.0**power for power in range(-2, last + 1)]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.tick_params(length=0)
    axes.grid(True, color="#e6e6e6")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_title(comparison.problem, loc="left", fontweight="bold")
    _floor(axes, comparison.ours, is_first)
    both = _both(comparison)
    ends = [math.log10(errors[-1]) for runs in both if (errors := _points(runs.median_row)[1])]
    apart = (11 if is_first else 6) if len(ends) == 2 and abs(ends[0] - ends[1]) < NEAR else 0
    for runs, color, name, shift in zip(both, (OURS, THEIRS), ("pinnsolve", "DeepXDE"), (-apart, apart), strict=False):
        _lines(axes, runs, color)
        _label(axes, runs, color, name if is_first else "", shift)


def _floor(axes: Axes, runs: Runs, is_first: bool) -> None:
    """Shade what is below the reference's own error, where nothing can be measured."""
    floor = max(float(row["reference_error"] or 0.0) for row in runs.rows)
    if floor > 10 * LEAST_ERROR:
        axes.axhspan(LEAST_ERROR, floor, color=GREY, alpha=0.16, lw=0)
        if is_first:
            axes.annotate(
                "below the reference's own error",
                (0.03, 0.03),
                xycoords="axes fraction",
                color="#666666",
                fontsize=7,
            )


def _lines(axes: Axes, runs: Runs, color: str) -> None:
    for row in runs.rows:
        if row is not runs.median_row:
            axes.plot(*_points(row), color=color, lw=0.6, alpha=0.5, drawstyle="steps-post")
    seconds, errors = _points(runs.median_row)
    axes.plot(seconds, errors, color=color, lw=1.6, drawstyle="steps-post", solid_capstyle="round")
    axes.plot(seconds[-1:], errors[-1:], "o", color=color, ms=3.5)


def _label(axes: Axes, runs: Runs, color: str, name: str, shift: float) -> None:
    """Write the error on the evaluation grid, and the solver if it is named, to the right of the thick line's end."""
    seconds, errors = _points(runs.median_row)
    final = runs.median_row["relative_l2"]
    if seconds:
        axes.annotate(
            "\n".join(filter(None, [name, "no result" if final is None else _power(final)])),
            (seconds[-1], errors[-1]),
            xytext=(5, shift),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=8,
            linespacing=1.1,
        )


def _both(comparison: Comparison) -> list[Runs]:
    return [comparison.ours] if comparison.theirs is None else [comparison.ours, comparison.theirs]


def _points(row: Row) -> tuple[list[float], list[float]]:
    """Return the seconds and errors to draw: from a hundredth of a second on, and to rounding."""
    curve = row["curve"]
    pairs = zip(curve["seconds"], curve["error"], strict=True)
    drawable = [(max(second, LEAST_SECONDS), max(error, LEAST_ERROR)) for second, error in pairs if error is not None]
    return [second for second, _ in drawable], [error for _, error in drawable]


def _power(error: float) -> str:
    """Return an error in mathematics: 5e-10 as 5·10⁻¹⁰."""
    digit, power = f"{error:.0e}".split("e")
    return rf"${digit}\cdot 10^{{{int(power)}}}$"


def readme_block(results: Mapping[str, Mapping[str, Any]], folder: str = "benchmarks/results") -> str:
    """Return what stands between the marks of the README.

    Args:
        results: by name, those of `accuracy.py`; "activations" has the runs with fixed activations.
        folder: of the figure, as the README refers to it.
    """
    default = [result for name, result in results.items() if name != "activations"]
    found = comparisons(default)
    lines = [about(default)]
    if panels(found):
        alternative = "Relative error against seconds of training, pinnsolve and DeepXDE, one panel per problem"
        lines.append(f"![{alternative}]({folder}/accuracy.svg)")
    lines.append(accuracy_table(found))
    activations = activation_table(results.values())
    if activations:
        lines += ["With the activation fixed:", activations]
    return "\n\n".join(lines)


def about(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the sentence that says where the numbers come from."""
    first, rows = results[0], [row for result in results for row in result["rows"]]
    seeds = len({row["seed"] for row in rows})
    over = f"Medians (and ranges) over up to {seeds} seeds" if seeds > 1 else "Seed 0"
    commits = ", ".join(dict.fromkeys(row["commit"] for row in rows))
    threads = " or ".join(str(count) for count in sorted({row["threads"] for row in rows}))
    return (
        f"{over}; {first['processor']}, {first['cores']} cores, {threads} threads each, float64, "
        f"torch {first['torch']}, DeepXDE {first['deepxde']}; measured {first['date']} at commit {commits}."
    )


def rewritten(text: str, block: str, marks: tuple[str, str] = (BEGIN, END)) -> str:
    """Return the README with this block between two marks.

    Raises:
        ValueError: a mark is missing, or stands there twice.
    """
    begin, end = marks
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"the README needs the marks {begin!r} and {end!r} once each, in this order")
    head, rest = text.split(begin)
    _, tail = rest.split(end)
    return f"{head}{begin}\n\n{block}\n\n{end}{tail}"


def loaded(names: Sequence[str], folder: Path) -> dict[str, dict[str, Any]]:
    """Return the results of these names that are there.

    Raises:
        ValueError: none is.
    """
    found = {name: result for name in names if (result := machine.load(name, folder))}
    if not found:
        raise ValueError(f"{folder} has no results of {', '.join(names)}: run benchmarks/accuracy.py first")
    return found


def main(given: Sequence[str] | None = None) -> None:
    """Draw the figure, print the tables, rewrite the README if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", default=",".join(NAMES), help="names, separated by commas")
    parser.add_argument("--folder", type=Path, default=machine.RESULTS, help="of the results and of the figure")
    parser.add_argument("--readme", action="store_true", help="rewrite the README between its marks")
    options = parser.parse_args(given)
    results = loaded(options.results.split(","), options.folder)
    block = readme_block(results)
    chosen = panels(comparisons(result for name, result in results.items() if name != "activations"))
    if chosen:
        with figure_style():
            for kind, content in rendered(drawn(chosen)).items():
                (options.folder / f"accuracy.{kind}").write_bytes(content)
    every = machine.load("all", options.folder)
    if every:
        command = f"`{every['command']}`: one run each, the defaults and a time limit."
        text = [about([every]), command, folder_table(every["rows"])]
        (options.folder / "all.md").write_text("\n\n".join(text) + "\n")
    print(block)
    if options.readme:
        README.write_text(rewritten(README.read_text(), block))


if __name__ == "__main__":
    main()
