"""The founding claim's measurements against theory, its tables, and the ready-made comparisons in the README."""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pinnsolve.comparison import PRESETS, Batch, Grid, execute, expand
from pinnsolve.problems import load_problem
from pinnsolve.runs import ComparisonFolder
from pinnsolve.solving import prepare, resolve_settings

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
claim, machine, measures, presets, tables = (
    importlib.import_module(name) for name in ("founding_claim", "machine", "claim_measures", "presets", "claim_tables")
)

TINY = {"network.width": 12, "network.depth": 2, "training.optimizer": "lm"}


def session(problem, **options):
    return prepare(load_problem(problem), resolve_settings({**TINY, **options}))


def test_errors_of_the_stencils_on_the_exact_solution_are_those_of_theory():
    found = {
        (e.term, e.scheme): e
        for e in measures.difference_errors(session("poisson_1d", **{"network.activation": "tanh"}))
    }
    at = measures.nearest(list(measures.STEPS), 1e-2)
    # of u* = sin πx on [-1, 1], where rms u^(k) = π^k/√2 and the rms of derivatives is the same for all phases
    forward, central = (found["u_x", scheme].solution[at] for scheme in measures.SCHEMES)
    second = found["u_xx", "central2"].solution[at]
    step = measures.STEPS[at]
    assert step == pytest.approx(1e-2, rel=1e-12)
    assert forward == pytest.approx(math.pi * step / 2, rel=0.02)
    assert central == pytest.approx((math.pi * step) ** 2 / 6, rel=0.05)  # at the ends one-sided, twice as much
    assert second == pytest.approx((math.pi * step) ** 2 / 12, rel=0.5)  # at the ends one-sided, eleven times as much
    assert found["u_x", "forward"].network[at] > 0
    assert found["u_x", "forward"].autodiff > 0.1  # the network is not trained


def test_the_record_names_the_steps_that_the_claim_is_judged_at():
    errors = measures.DifferenceErrors("u_x", "forward", [1e-3, 1e-2, 1e-1], [2e-4, 1e-4, 3e-3], [1.0, 2.0, 3.0], None)
    record = errors.record()
    assert (record["at_0.01"], record["at_0.001"], record["best"], record["best_step"]) == (1e-4, 2e-4, 1e-4, 1e-2)
    assert (record["solution_at_0.01"], record["solution_at_0.001"]) == (2.0, 1.0)


@pytest.mark.parametrize(
    ("activation", "formulation", "least", "most"),
    [("elu", "direct", 0.05, 10), ("elu", "first-order", 0, 0.02), ("tanh", "direct", 0, 1e-3)],
)
def test_autodiff_misses_a_part_of_the_gradient_of_direct_elu_alone(activation, formulation, least, most):
    made = session(
        "poisson_1d", **{"network.activation": activation, "formulation": formulation, "training.points": 64}
    )
    before = torch.nn.utils.parameters_to_vector(made.ansatz.parameters()).clone()
    assert least <= measures.missed_gradient(made) <= most
    assert torch.equal(before, torch.nn.utils.parameters_to_vector(made.ansatz.parameters()))


def rows(direct, first, stages=("lm",)):
    """Return runs of both formulations with these errors, one per seed."""
    difference = {"solution": [], "steps": [1e-3, 1e-2], "network": [1e-5, 1e-4]}
    differences = [
        {"term": term, "scheme": scheme, "at_0.01": 1e-4, "at_0.001": 1e-5, "best": 1e-9, **difference}
        for term, scheme in tables.TERMS
    ]
    about = {"problem": "heat", "activation": "elu", "optimizer": "lm", "status": "finished", "stages": list(stages)}
    return [
        {**about, "formulation": name, "relative_l2": error, "missed_gradient": missed, "differences": differences}
        for name, errors, missed in (("direct", direct, 0.4), ("first-order", first, 0.0))
        for error in errors
    ]


def test_the_table_of_formulations_names_the_better_one_and_why():
    table = tables.formulation_table(rows([0.3, 0.1, 0.2], [0.01]))
    cells = [cell.strip() for cell in table.splitlines()[-1].strip("|").split("|")]
    assert cells[:5] == ["heat", "elu", "2.0e-01 (1.0e-01 … 3.0e-01)", "1.0e-02", "40%, 0%"]
    assert cells[5].startswith("first-order, 20.0 times: its gradient is whole")
    assert "random features follow no gradient" in tables.formulation_table(rows([1e-6], [1e-3], ("features",)))
    assert "costs less than a second field" in tables.formulation_table(rows([1e-6], [1e-3]))
    assert "neither (factor 1.5)" in tables.formulation_table(rows([1.5e-3], [1e-3]))


def test_the_tables_of_the_claim_have_a_line_per_method_that_succeeded():
    failed = {"problem": "heat", "activation": "tanh", "formulation": "direct", "status": "failed"}
    lines = tables.claim_table([*rows([1e-3], [1e-4]), failed]).splitlines()[2:]
    assert len(lines) == 2
    assert lines[0].count("1.0e-04, 1.0e-05, 1.0e-09") == 4
    assert "elu" in lines[1]
    head, _, direct, first = tables.solution_table([*rows([1e-3, 3e-3, 2e-3], [1e-4]), failed]).splitlines()
    assert head == "| problem | formulation | elu | celu | tanh | gelu |"
    assert direct == "| heat | direct | 2.0e-03 (1.0e-03 … 3.0e-03) | - | - | - |"
    assert first == "| heat | first-order | 1.0e-04 | - | - | - |"


def test_the_table_of_differences_stands_beside_the_exact_solution():
    found = rows([1e-3], [1e-4])
    for each in found[0]["differences"]:
        each |= {"solution": [1e-5, 1e-4], "solution_at_0.01": 7e-4, "solution_at_0.001": 7e-5}
    lines = tables.difference_table(found).splitlines()[2:]
    assert lines[0] == "| heat | u_x forward, h = 1e-2 | 1.0e-04 | - | - | - | 7.0e-04 |"
    assert lines[3] == "| heat | u_xx central2, best h | 1.0e-09 | - | - | - | - |"


SMALL = """title = "Small"
[coordinates]
x = [0, 1]
[equations]
bending = "u_xx = -u"
[[conditions]]
where = "x = 0"
equation = "u = 0"
[[conditions]]
where = "x = 1"
equation = "u = sin(1)"
[reference]
exact = { u = "sin(x)" }
[solve]
network.width = 4
network.depth = 1
training.points = 32
training.optimizer = "lm"
training.steps = 4
audit.enabled = false
"""


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Return the outputs of two small comparisons that have the names of presets; the first one has a failed run."""
    outputs = tmp_path_factory.mktemp("outputs")
    (outputs / "small.toml").write_text(SMALL)
    grids = {
        "preset-activations": Grid(
            axes={"network.activation": ["elu", "tanh", "relu"], "formulation": ["direct", "first-order"]}
        ),
        "preset-optimizers": Grid(axes={"training.optimizer": ["lm", "adam"], "seed": [0, 1, 2]}),
    }
    for name, grid in grids.items():
        runs = expand(grid.overridden(Grid((str(outputs / "small.toml"),))))
        with ComparisonFolder.hold(outputs, name) as folder:
            batch = Batch(folder, runs)
            batch.metrics |= {index: execute(order) for index, order in enumerate(batch.orders)}
            batch.write_summary(command=f"pinnsolve compare --name {name}")
    return outputs


@pytest.fixture(scope="module")
def measured(compared, tmp_path_factory):
    """Return the folder of results of the first comparison's runs."""
    results = tmp_path_factory.mktemp("results")
    claim.main(["--from", str(compared / "comparisons" / "preset-activations"), "--folder", str(results)])
    return results


def test_the_runs_of_a_comparison_are_measured_once_and_a_failed_one_is_a_row(compared, measured, tmp_path):
    saved = json.loads((measured / "founding_claim.json").read_text())["rows"]
    assert [(row["activation"], row["formulation"]) for row in saved[:3]] == [
        ("elu", "direct"),
        ("elu", "first-order"),
        ("tanh", "direct"),
    ]
    assert [row["status"] for row in saved] == ["finished"] * 4 + ["failed", "finished"]
    assert "relu is C0" in saved[4]["reason"]
    assert saved[0]["consistency"] is None
    assert saved[1]["consistency"] > 0
    assert saved[0]["missed_gradient"] > 100 * saved[2]["missed_gradient"]
    assert all(np.isfinite(row["relative_l2"]) for row in saved if row["status"] == "finished")
    assert (measured / "founding_claim.svg").stat().st_size > 1000
    assert "| small | direct | elu |" in (measured / "founding_claim.md").read_text()

    marked = [{**row, "steps": -1} for row in saved if row["status"] == "finished"]
    machine.save("founding_claim", {"rows": marked}, tmp_path)
    again = claim.measure(compared / "comparisons" / "preset-activations", tmp_path)
    assert [row.get("steps") for row in again] == [-1, -1, -1, -1, None, -1]


def test_presets_are_taken_over_drawn_and_written_between_their_marks(
    compared, measured, tmp_path, monkeypatch, capsys
):
    names = ("activations", "engines", "optimizers")
    readme = tmp_path / "README.md"
    readme.write_text("\n".join(f"before\n{a}\nold\n{b}\nafter" for a, b in map(presets.marks, names)))
    monkeypatch.setattr(presets, "README", readme)
    presets.main(["--outputs", str(compared), "--folder", str(measured), "--readme"])
    text = readme.read_text()
    assert capsys.readouterr().out
    assert text.count("before") == text.count("after") == 3
    assert "old" not in text
    assert "`pinnsolve compare --preset activations`: 6 runs of 60 s, 1 of them without a result;" in text
    assert "| small | first-order |" in text
    assert "| small | u_xx central2, best h |" in text
    assert "Not measured yet: `pinnsolve compare --preset engines`." in text
    summary = json.loads((compared / "comparisons" / "preset-optimizers" / "summary.json").read_text())
    medians = {group["method"]: group["error"]["median"] for group in summary["groups"]}
    line = text[text.index("| problem | lm | adam |") :].splitlines()[2]
    assert [cell.split()[0] for cell in line.split("|")[2:4]] == [f"{medians[m]:.1e}" for m in ("lm", "adam")]
    assert "Mean ranks over 3 seeds: " in text
    drawn = {path.name for path in measured.iterdir()}
    assert {"preset_optimizers.svg", "preset_activations.png", "founding_claim.svg", "founding_claim.md"} <= drawn

    # the saved results alone give the same text
    presets.main(["--outputs", str(tmp_path / "none"), "--folder", str(measured), "--readme"])
    assert readme.read_text() == text


def test_the_readme_shows_the_saved_presets():
    text = presets.README.read_text()
    for name in PRESETS:
        assert presets.rewritten(text, presets.readme_block(name, machine.RESULTS), presets.marks(name)) == text
