"""The benchmarks on tiny sizes, so that their scripts cannot rot, and the arithmetic behind their tables."""

from __future__ import annotations

import importlib
import json
import math
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch

from pinnsolve.problems import Partial
from pinnsolve.problems.loading import parse_problem

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
accuracy, comparisons, curves, figure, jets, machine, memory, power_law, scaling, solver_runs, steps = (
    importlib.import_module(name)
    for name in (
        *("accuracy", "comparisons", "curves", "figure", "jets", "machine"),
        *("memory", "power_law", "scaling", "solver_runs", "steps"),
    )
)
peer_problems = importlib.import_module("peer_problems")
EPSILON = torch.finfo(torch.float64).eps
HISTORY = """step,seconds,stage,loss,error,held_out
1,0.5,lm,1,0.5,1e-1
2,1.0,widen,1,0.9,2e-1
3,2.0,widen,1,0.01,1e-3
4,3.0,widen,1,0.2,1e-2
"""


def _script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=BENCHMARKS.parent)


def _row(solver: str, error: float | None, seed: int = 0, *, problem: str = "burgers", to: float | None = 2.0) -> dict:
    samples = ([1.0, 9.0], [0.5, error], [None, None]) if error is not None else ([], [], [])
    return {
        "solver": solver,
        "problem": problem,
        "time_limit": 10.0,
        "seed": seed,
        "activation": "auto" if solver == "pinnsolve" else "tanh",
        "target": None,
        "relative_l2": error,
        "reference_error": 1e-12,
        "status": "finished",
        "seconds_to": dict.fromkeys(curves.LEVELS, to),
        "curve": dict(zip(("seconds", "error", "evaluations"), samples, strict=True)),
        "commit": "abc",
        "threads": 1,
    }


# what every result says, and how it is kept


def test_a_result_says_where_it_came_from_and_is_strict_json(tmp_path):
    path = machine.save("tiny", {"rows": [{"error": math.nan, "seconds": (1.0, 2.5)}]}, tmp_path)
    record = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in strict JSON"))
    assert {"command", "date", "commit", "processor", "cores", "threads", "torch", "python", "deepxde"} <= set(record)
    assert record["rows"] == [{"error": None, "seconds": [1.0, 2.5]}]
    assert '"seconds": [1.0, 2.5]' in path.read_text()
    assert machine.load("tiny", tmp_path) == record
    assert machine.load("none", tmp_path) == {}
    assert list(tmp_path.iterdir()) == [path]


def test_the_commit_is_that_of_git():
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    if head.returncode:
        assert machine.commit() == "unknown"
    else:
        assert head.stdout.startswith(machine.commit().rstrip("+"))


def test_outside_of_git_the_commit_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "BENCHMARKS", tmp_path / "benchmarks")
    assert machine.commit() == "unknown"


def test_the_peak_of_memory_is_no_less_than_what_is_in_use():
    held = np.ones(2**22)
    assert machine.peak_memory() >= machine.resident_memory() - 1 >= held.nbytes / 2**20


# error over time


def test_a_curve_says_when_a_level_was_met_for_the_first_time():
    curve = curves.ErrorCurve((0.5, 1.0, 2.0), (1e-1, 1e-3, 5e-3), (10.0, 20.0, math.nan))
    assert [curve.seconds_to(level) for level in (1e-1, 1e-2, 1e-3, 1e-4)] == [0.5, 1.0, 1.0, None]


def test_the_record_of_a_curve_leaves_out_moments_at_which_nothing_changed():
    record = curves.ErrorCurve((1.0, 2.0, 3.0, 4.0), (0.5, 0.5, 0.123456, 0.123456), (1.0, 2.0, 3.0, math.nan)).record()
    assert record["curve"] == {"seconds": [1.0, 3.0, 4.0], "error": [0.5, 0.1235, 0.1235], "evaluations": [1, 3, None]}
    assert list(record["seconds_to"]) == ["1e-2", "1e-3", "1e-4", "1e-5", "1e-6", "1e-7", "1e-8"]
    assert set(record["seconds_to"].values()) == {None}


@pytest.mark.parametrize(
    ("seconds", "errors", "reason"),
    [((1.0,), (0.1, 0.2), r"as many seconds.*\(1, 2, 1\)"), ((2.0, 1.0), (0.1, 0.2), "must ascend")],
)
def test_a_curve_refuses_what_is_none(seconds, errors, reason):
    with pytest.raises(ValueError, match=reason):
        curves.ErrorCurve(seconds, errors, seconds)


def test_the_error_of_a_run_is_that_of_the_network_with_the_least_held_out_residual(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(HISTORY)
    assert curves.curve_of_history(path).errors == (0.5, 0.5, 0.01, 0.01)
    assert all(map(math.isnan, curves.curve_of_history(path).evaluations))


def test_a_run_in_windows_of_time_has_no_error_before_its_last_window(tmp_path):
    path = tmp_path / "history.csv"
    header, *lines = HISTORY.splitlines()
    numbered = [f"{line},{window}" for line, window in zip(lines, (1, 1, 2, 2), strict=True)]
    path.write_text("\n".join([f"{header},window", *numbered]))
    found = curves.curve_of_history(path)
    assert (found.seconds, found.errors) == ((2.0, 3.0), (0.01, 0.01))


def test_a_run_without_steps_has_an_empty_curve(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(HISTORY.splitlines()[0])
    assert curves.curve_of_history(path) == curves.ErrorCurve()


# the table of both solvers


def test_runs_alternate_and_the_first_solver_changes_from_seed_to_seed():
    found = accuracy.cases("main", ["heat", "poisson"], ["auto"], [0, 1], "deepxde")
    assert [case.solver[0] + case.problem[0] + str(case.seed) for case in found] == (
        ["ph0", "dh0", "dh1", "ph1", "pp0", "dp0", "dp1", "pp1"]
    )
    assert {case.solver for case in accuracy.cases("engine", [], ["auto"], [0], "none")} == {"pinnsolve"}
    every = accuracy.cases(accuracy.arguments_of(["--all"]).table, [], ["auto"], [0], "none")
    assert {case.problem for case in every} == {
        path.stem for path in (Path(__file__).parents[1] / "problems").glob("*.toml")
    }
    both = accuracy.cases("engine", [], ["auto"], [0], "deepxde")
    with_peer = {case.problem for case in both if case.solver == "deepxde"}
    assert with_peer == {name for name, *_ in accuracy.TABLES["engine"]} & set(peer_problems.PROBLEMS)


def test_an_unknown_solver_is_refused():
    with pytest.raises(ValueError, match="unknown solver 'fem'; known: pinnsolve, deepxde"):
        solver_runs.Case("fem", "heat", 1.0)


def test_an_interrupted_table_keeps_its_rows_and_goes_on_with_the_missing_ones(tmp_path, monkeypatch, capsys):
    ran: list[str] = []
    saved: list[int] = []

    def solver(case, folder):
        ran.append(f"{case.solver} {case.problem}")
        if ran == ["pinnsolve heat", "deepxde heat", "pinnsolve poisson"]:
            raise KeyboardInterrupt
        if case.solver == "deepxde":
            raise subprocess.CalledProcessError(1, "peer.py", stderr="it broke")
        return {"relative_l2": 0.5, "status": "finished", "threads": 1, **curves.ErrorCurve().record()}

    def save(name, record):
        saved.append(len(record["rows"]))
        machine.save(name, record, tmp_path)

    monkeypatch.setattr(solver_runs, "SOLVERS", {"pinnsolve": solver, "deepxde": solver})
    monkeypatch.setattr(accuracy, "save", save)
    monkeypatch.setattr(accuracy, "load", lambda name: machine.load(name, tmp_path))
    with pytest.raises(KeyboardInterrupt):
        accuracy.main(["--only", "heat,poisson"])
    assert saved == [1, 2]
    assert machine.load("accuracy", tmp_path)["rows"][1]["reason"] == "it broke"
    accuracy.main(["--only", "heat,poisson", "--continue"])
    assert ran[3:] == ["deepxde heat", "pinnsolve poisson", "deepxde poisson"]
    rows = machine.load("accuracy", tmp_path)["rows"]
    assert sorted(f"{row['status']} {row['problem']}" for row in rows) == (
        ["failed heat", "failed poisson", "finished heat", "finished poisson"]
    )
    assert capsys.readouterr().out.count("\n") == 5
    accuracy.main(["--only", "heat", "--peer", "none"])
    assert ran[6:] == ["pinnsolve heat"]
    assert len(machine.load("accuracy", tmp_path)["rows"]) == 4  # measured anew, beside those that it leaves alone


def test_rows_of_runs_side_by_side_stand_in_their_order(monkeypatch):
    started = threading.Barrier(2, timeout=60)

    def solver(case, folder):
        started.wait()  # passes where two are under way only
        return {"problem": case.problem}

    monkeypatch.setattr(solver_runs, "SOLVERS", {"pinnsolve": solver})
    wanted = [solver_runs.Case("pinnsolve", name, 1.0) for name in ("heat", "wave", "poisson", "burgers")]
    assert [row["problem"] for row in accuracy._runs(wanted, 2)] == [case.problem for case in wanted]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (subprocess.TimeoutExpired("solve", 661.0), "not at an end after 661 s"),
        (KeyError("fields"), "no result.*fields"),
    ],
)
def test_a_run_that_leaves_no_result_is_a_row_too(monkeypatch, fault, reason):
    def broken(case, folder):
        raise fault

    monkeypatch.setattr(solver_runs, "SOLVERS", {"pinnsolve": broken})
    row = solver_runs.row(solver_runs.Case("pinnsolve", "heat", 1.0))
    assert row["status"] == "failed"
    assert row["relative_l2"] is None
    assert pytest.approx(0, abs=5) == row["wall_seconds"]
    assert re.search(reason, row["reason"])


@pytest.fixture(scope="module")
def solved() -> dict:
    """Return the row of a real run of pinnsolve, one second long."""
    return solver_runs.row(solver_runs.Case("pinnsolve", "logistic", 1.0))


@pytest.fixture(scope="module")
def peer(tmp_path_factory) -> dict:
    """Return the row of a real run of DeepXDE, one second long."""
    path = tmp_path_factory.mktemp("peer") / "result.json"
    _script("peer.py", "poisson", "--time-limit", 1, "--points", 64, "--adam-steps", 20, "--output", path)
    return json.loads(path.read_text())


def test_both_solvers_leave_the_same_row(solved, peer):
    about = {"solver", "problem", "time_limit", "seed", "activation", "target", "wall_seconds", "date", "commit"}
    assert set(solved) == set(peer) | about
    for row in (solved, peer):
        assert row["status"] == "finished", row["reason"]
        assert 0 < row["relative_l2"] < 2
        assert row["seconds"] >= 0.9 or "time limit" not in row["reason"]


def test_the_peer_trains_with_lbfgs_after_adam_and_counts_its_residuals(peer):
    assert peer["steps"] > 20  # "L-BFGS-B" would leave it at the steps of Adam
    assert peer["residual_evaluations"] % 64 == 0
    assert peer["residual_evaluations"] >= 64 * peer["steps"]
    assert peer["parameters"] == 2 * 20 + 20 + 2 * (20 * 20 + 20) + 20 + 1
    assert peer["curve"]["error"][-1] < peer["curve"]["error"][0]


@pytest.fixture(scope="module")
def disagreements() -> dict:
    """Return how far DeepXDE's problems are from the problem files, in a process that may import DeepXDE."""
    said = _script("peer_agreement.py").stdout  # DeepXDE says something first
    return json.loads(said[said.index("{") :])


@pytest.mark.parametrize("name", sorted(peer_problems.PROBLEMS))
def test_the_peer_is_given_the_problem_of_the_file(disagreements, name):
    # a few hundred operations, each of which may lose a unit in the last place
    assert disagreements[name]["residual"] <= 1e3 * EPSILON
    assert disagreements[name]["conditions"] <= 1e3 * EPSILON


# derivatives


@pytest.mark.parametrize("mode", jets.MODES)
@pytest.mark.parametrize(
    "partials", [jets.BURGERS, *(jets.pure_partials(order, d) for order, d in [(1, 3), (2, 2), (3, 1), (4, 2)])]
)
def test_all_ways_give_the_same_derivatives(partials, mode):
    case = jets.JetCase(partials, 7, width=4)
    drawn = case.drawn()
    found = {name: torch.cat([v.flatten() for v in jets.call(name, mode, case, *drawn)]) for name in jets.WAYS}
    scale = found["taylor"].abs().max()
    for name in ("autograd", "separate"):
        assert (found[name] - found["taylor"]).abs().max() <= 1e4 * EPSILON * scale
    # central4: h⁴ times two derivatives more, and rounding over h^k
    order = case.order
    assert (found["differences"] - found["taylor"]).abs().max() <= 1e4 * (jets.STEP**4 + EPSILON / jets.STEP**order)


def test_the_pure_partials_are_the_field_and_one_derivative_per_coordinate():
    assert jets.pure_partials(3, 2) == (Partial("u", (0, 0)), Partial("u", (3, 0)), Partial("u", (0, 3)))


def test_a_row_of_derivatives_has_times_and_memory_of_every_way(monkeypatch):
    monkeypatch.setattr(jets, "memory", lambda case, name, mode: 1.0)
    few, more = jets.series("burgers", jets.BURGERS, [32, 8], seconds=0.01)
    assert (few["points"], more["points"], few["dimension"], few["order"]) == (8, 32, 2, 2)
    for name in jets.WAYS:
        assert set(few[name]) == {f"{mode}{unit}" for mode in jets.MODES for unit in ("_ms", "_mb", "/taylor")}
        assert few[name]["gradient/taylor"] == few[name]["gradient_ms"] / few["taylor"]["gradient_ms"]


def test_a_way_that_would_take_too_much_is_skipped_and_the_row_says_so(monkeypatch):
    monkeypatch.setattr(jets, "memory", lambda case, name, mode: 1.0 if name != "autograd" else 70.0)
    _, more = jets.series("burgers", jets.BURGERS, [8, 800], seconds=0.01)
    assert more["autograd"] == {"skipped": "needs about 7 GB"}
    assert more["taylor"]["forward/taylor"] == 1
    assert jets.Cost(10, 0.5, 1.0).excess(1000) == "needs about 50 s"
    assert jets.Cost(10, 0.1, 1.0).excess(1000) == ""


def test_the_memory_of_a_gradient_holds_at_least_the_hidden_layers():
    case = jets.JetCase(jets.BURGERS, 20_000)
    hidden = case.points * 3 * 20 * 8 / 2**20  # values of three layers, kept for the backward pass
    found = jets.memory(case, "separate", "gradient")
    assert hidden < found < 100 * hidden


# steps


def test_the_flops_of_a_triangular_factor_are_those_of_its_reflections():
    rows, columns = 900, 300
    counted = sum(4.0 * (rows - j) * (columns - j) for j in range(columns))
    assert steps.triangular_flops(rows, columns) == pytest.approx(counted, rel=2 / columns)


def test_the_profile_counts_the_flops_of_products_and_sorts_time_into_kinds():
    a, b = torch.rand(30, 40, dtype=torch.float64), torch.rand(40, 50, dtype=torch.float64)
    square = a @ a.t() + torch.eye(30, dtype=torch.float64)
    found = steps.profiled(lambda: (a @ b, torch.linalg.cholesky_ex(square)), 3)
    assert found["product_flops"] == 2 * 30 * 40 * 50
    assert found["product_share"] > 0 < found["factorisation_share"]
    assert found["product_share"] + found["factorisation_share"] + found["other_share"] == pytest.approx(1)


def test_a_step_of_levenberg_marquardt_is_mostly_known_products():
    found = steps.lm_step(points=64, width=4, repetitions=2, product_size=50)
    size = 2 * 4 + 4 + 2 * (4 * 4 + 4) + 4 + 1
    assert found["parameters"] == size
    assert found["product_flops"] >= 2 * 64 * size**2  # JᵀJ alone
    assert found["trials_per_step"] >= 1
    assert found["step_over_least"] == pytest.approx(found["step_seconds"] / found["least_step_seconds"])


def test_a_wide_solve_is_measured_against_a_matrix_of_its_size():
    found = steps.least_squares(units=20, repetitions=1)
    assert (found["rows"], found["columns"]) == (120, 20 + 20 + 2)  # new units, trained units, bias, right-hand side
    best = max(found["torch_gflops"], found["scipy_gflops"])
    assert found["stage_rate_over_lapack"] == pytest.approx(found["stage_gflops"] / best)


# scaling


def test_a_power_law_is_found_with_its_standard_error():
    sizes = np.array([10.0, 20.0, 40.0, 80.0, 160.0])
    costs = 3e-6 * sizes**2.5 * np.exp([0.05, -0.1, 0.02, 0.07, -0.04])
    law = power_law.PowerLaw.fitted(sizes, costs)
    oracle = scipy.stats.linregress(np.log(sizes), np.log(costs))
    assert law.exponent == pytest.approx(oracle.slope, rel=1e-12)
    assert law.standard_error == pytest.approx(oracle.stderr, rel=1e-10)
    assert law.factor == pytest.approx(np.exp(oracle.intercept), rel=1e-11)
    assert law.worst_deviation == pytest.approx(np.abs(costs / (law.factor * sizes**law.exponent) - 1).max(), rel=1e-9)
    assert law.range == (10.0, 160.0)


@pytest.mark.parametrize(
    ("sizes", "costs", "reason"),
    [
        ([1, 2], [1, 2], "at least 3 sizes, got 2"),
        ([1, 2, 3], [1, 2], "got 2 costs"),
        ([1, 2, 4], [1, 0, 3], "positive"),
    ],
)
def test_a_power_law_needs_three_positive_costs(sizes, costs, reason):
    with pytest.raises(ValueError, match=reason):
        power_law.PowerLaw.fitted(sizes, costs)


@pytest.mark.parametrize("index", range(len(scaling.SCALINGS)))
def test_every_cost_of_the_scaling_table_can_be_called_at_small_sizes(index, monkeypatch):
    each = scaling.SCALINGS[index]
    small = {"points": (8, 16, 32), "parameters": (4, 6, 8)}.get(each.against, each.sizes[:3])
    monkeypatch.setattr(scaling, "POINTS", 16)
    row = each.row(small, repetitions=1)
    assert len(row["seconds"]) == len(row["sizes"]) == 3
    assert row["range"] == (min(row["sizes"]), max(row["sizes"]))
    low, high = row["expected"]
    assert 0 <= low <= high <= 3


def test_the_sum_of_derivatives_is_the_problem_that_its_text_says():
    problem = parse_problem(scaling.problem_text(3, 2), Path("sum.toml"))
    assert problem.partials == (Partial("u", (0, 3)), Partial("u", (3, 0)))


def test_memory_is_measured_in_a_process_of_its_own():
    row = memory.row("lm", [256, 4])
    assert (row["points"], row["parameters"], row["within"]) == (256, 57, True)
    assert row["peak_mb"] >= row["before_mb"] > 50  # Python with torch


def test_a_memory_measurement_that_fails_is_a_row_too(monkeypatch):
    monkeypatch.setattr(memory.sys, "executable", "false")
    row = memory.row("least-squares", [16, 4])
    assert row["within"] is False
    assert row["failed"] == "exit code 1"


def test_the_overhead_of_a_batch_is_measured_and_saved(tmp_path):
    done = _script("batch_overhead.py", "--problem", "logistic", "--runs", 2, "--seconds", 0.2, "--folder", tmp_path)
    found = json.loads((tmp_path / "batch.json").read_text())
    assert (found["runs"], found["workers"]) == (2, 2)
    assert found["share"] > 1  # of a lower bound of the total
    assert found["overhead"] > found["pages"] > 0
    assert "2 runs on 2 workers" in done.stdout


def test_a_wide_solve_can_be_measured_for_memory():
    found = memory.least_squares(128, 32)
    assert (found["rows"], found["columns"]) == (128, 32)
    assert found["peak_mb"] >= found["before_mb"] - 1


# tables and figure


def test_the_table_has_medians_ranges_and_ratios():
    ours = [_row("pinnsolve", error, seed, to=to) for seed, (error, to) in enumerate([(1e-9, 2), (3e-9, 4), (2e-9, 3)])]
    theirs = [_row("deepxde", error, seed, to=to) for seed, (error, to) in enumerate([(0.1, 9), (0.2, None), (0.3, 6)])]
    (found,) = comparisons.comparisons([{"rows": ours + theirs}, {"rows": ours}])
    assert found.cells() == (
        ["burgers", "10 s", "2.0e-09 (1.0e-09 … 3.0e-09)", "2.0e-01 (1.0e-01 … 3.0e-01)", "3 s", "9 s", "3"]
    )
    assert found.ours.median_row["relative_l2"] == 2e-9


@pytest.mark.parametrize(
    ("ours", "theirs", "cells"),
    [
        (2.0, None, ["2 s", "> 10 s", "> 5"]),
        (None, 5.0, ["> 10 s", "5 s", "< 0.5"]),
        (None, None, ["> 10 s", "> 10 s", ""]),
    ],
)
def test_a_ratio_is_a_bound_where_one_solver_does_not_arrive(ours, theirs, cells):
    (found,) = comparisons.comparisons([{"rows": [_row("pinnsolve", 0.1, to=ours), _row("deepxde", 0.2, to=theirs)]}])
    assert found.cells()[-3:] == cells


def test_a_run_without_an_error_counts_as_infinitely_wrong():
    runs = comparisons.Runs((_row("pinnsolve", None), _row("pinnsolve", 1e-3, 1), _row("pinnsolve", None, 2)))
    assert runs.error == math.inf
    assert comparisons.spread(runs) == "no result (1.0e-03 … no result)"


def test_runs_with_a_fixed_activation_have_a_table_of_their_own():
    rows = [_row("pinnsolve", 0.5) | {"activation": name} for name in ("elu", "tanh")]
    assert comparisons.comparisons([{"rows": rows}]) == []
    head, _, line = comparisons.activation_table([{"rows": rows}]).splitlines()
    assert head == "| problem | limit | elu | tanh |"
    assert line == "| burgers | 10 s | 5.0e-01 | 5.0e-01 |"
    assert comparisons.activation_table([{"rows": [_row("pinnsolve", 0.5)]}]) == ""


def test_tables_refuse_what_is_no_row():
    with pytest.raises(ValueError, match="needs curve, seconds_to"):
        comparisons.comparisons([{"rows": [{"solver": "pinnsolve"}]}])
    with pytest.raises(ValueError, match="needs runs, got none"):
        comparisons.Runs(())


def test_the_figure_draws_every_run_of_both_solvers_and_the_last_errors():
    rows = [_row(solver, error, seed) for solver, error in (("pinnsolve", 1e-9), ("deepxde", 0.1)) for seed in range(3)]
    rows += [_row(solver, 1e-9, problem="poisson_5d") for solver in ("pinnsolve", "deepxde")]
    drawable = figure.panels(comparisons.comparisons([{"rows": rows}]))
    assert [comparison.problem for comparison in drawable] == ["burgers"]  # the other one says nothing
    (axes,) = figure.drawn(drawable).axes
    assert sum(len(line.get_xdata()) == 2 for line in axes.lines) == 6
    texts = [text.get_text() for text in axes.texts]
    assert any("pinnsolve" in text and "10^{-9}" in text for text in texts)
    assert any("DeepXDE" in text and "10^{-1}" in text for text in texts)
    with pytest.raises(ValueError, match="both solvers were run on, got none"):
        figure.drawn([])


def test_the_readme_is_rewritten_between_its_marks_and_nowhere_else(tmp_path, capsys, monkeypatch):
    rows = [_row("pinnsolve", 1e-9), _row("deepxde", 0.1)]
    machine.save("accuracy", {"rows": rows}, tmp_path)
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{figure.BEGIN}\nold\n{figure.END}\nafter\n")
    monkeypatch.setattr(figure, "README", readme)
    for _ in range(2):
        figure.main(["--folder", str(tmp_path), "--readme"])
        text = readme.read_text()
        assert text.startswith(f"before\n{figure.BEGIN}\n\nSeed 0; ")
        assert text.endswith(f"| 1.0e-09 | 1.0e-01 | 2 s | 2 s | 1 |\n\n{figure.END}\nafter\n")
    assert "old" not in text
    assert {"accuracy.svg", "accuracy.png"} <= {path.name for path in tmp_path.iterdir()}
    assert "| burgers |" in capsys.readouterr().out
    with pytest.raises(ValueError, match="needs the marks"):
        figure.rewritten("no marks", "block")
    with pytest.raises(ValueError, match="has no results of other"):
        figure.loaded(["other"], tmp_path)


def test_every_problem_of_the_folder_stands_in_a_table(tmp_path, monkeypatch, capsys):
    ended = {"reason": "converged: the residual is rounding", "seconds": 1.25, "reference_error": 2e-16}
    broken = {"reason": None, "seconds": None, "reference_error": None}
    rows = [_row("pinnsolve", 1e-9) | ended, _row("pinnsolve", None, problem="heat") | broken]
    machine.save("accuracy", {"rows": rows}, tmp_path)
    machine.save("all", {"rows": rows}, tmp_path)
    figure.main(["--folder", str(tmp_path)])
    lines = (tmp_path / "all.md").read_text().splitlines()
    assert lines[-2:] == ["| burgers | 1.0e-09 | 2e-16 | 1.25 | converged |", "| heat |  |  |  |  |"]


def test_the_readme_shows_the_committed_results():
    text = figure.README.read_text()
    assert text.count(figure.BEGIN) == text.count(figure.END) == 1
    results = figure.loaded(figure.NAMES, machine.RESULTS)
    rows = [row for result in results.values() for row in result["rows"]]
    if all("curve" in row for row in rows):
        assert figure.rewritten(text, figure.readme_block(results)) == text


@pytest.mark.parametrize(
    "name",
    ["accuracy", "batch_overhead", "figure", "founding_claim", "jets", "peer_agreement", "presets", "scaling", "steps"],
)
def test_every_benchmark_says_how_to_run_it_and_stands_in_the_readme(name):
    command = f"python benchmarks/{name}.py"
    assert command in figure.README.read_text()
    assert command in (BENCHMARKS / f"{name}.py").read_text().split('"""')[1]
