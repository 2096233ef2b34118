"""The founding claim's measurements against theory, and its tables."""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pinnsolve.problems import load_problem
from pinnsolve.solving import prepare, resolve_settings

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
claim, measures = importlib.import_module("founding_claim"), importlib.import_module("claim_measures")

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
        for term, scheme in claim.TERMS
    ]
    about = {"problem": "heat", "activation": "elu", "optimizer": "lm", "status": "finished", "stages": list(stages)}
    return [
        {**about, "formulation": name, "relative_l2": error, "missed_gradient": missed, "differences": differences}
        for name, errors, missed in (("direct", direct, 0.4), ("first-order", first, 0.0))
        for error in errors
    ]


def test_the_table_of_formulations_names_the_better_one_and_why():
    table = claim.formulation_table(rows([0.3, 0.1, 0.2], [0.01]), "lm")
    cells = [cell.strip() for cell in table.splitlines()[-1].strip("|").split("|")]
    assert cells[:5] == ["heat", "elu", "2.0e-01 (1.0e-01 .. 3.0e-01)", "1.0e-02", "40%, 0%"]
    assert cells[5].startswith("first-order, 20.0 times: its gradient is whole")
    assert "random features follow no gradient" in claim.formulation_table(rows([1e-6], [1e-3], ("features",)), "lm")
    assert "costs less than a second field" in claim.formulation_table(rows([1e-6], [1e-3]), "lm")
    assert "neither (factor 1.5)" in claim.formulation_table(rows([1.5e-3], [1e-3]), "lm")


def test_the_table_of_the_claim_has_a_row_per_run_that_succeeded():
    failed = {"problem": "heat", "activation": "tanh", "formulation": "direct", "optimizer": "lm", "status": "failed"}
    table = claim.claim_table([*rows([1e-3], [1e-4]), failed], "lm")
    lines = table.splitlines()[2:]
    assert len(lines) == 2
    assert lines[0].count("1.0e-04, 1.0e-05, 1.0e-09") == 4
    assert "elu" in lines[1]


def test_a_measurement_runs_saves_draws_and_goes_on(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "founding_claim.py"), "--seeds", "1", "--problems", "elu_home"]
    options = ["--activations", "elu", "--scale", "0.05", "--folder", str(tmp_path), "--continue"]
    first = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    saved = json.loads((tmp_path / "founding_claim.json").read_text())["rows"]
    assert [row["formulation"] for row in saved] == ["direct", "first-order"]
    assert saved[0]["consistency"] is None
    assert saved[1]["consistency"] > 0
    assert np.isfinite([row["relative_l2"] for row in saved]).all()
    assert (tmp_path / "founding_claim_auto.svg").stat().st_size > 1000
    assert "| elu_home | elu |" in first.stdout
    again = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    assert json.loads((tmp_path / "founding_claim.json").read_text())["rows"] == saved
    assert '"status"' not in again.stdout
