"""Comparisons: grids, hashes, statistics by two routes, and runs on real worker processes."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import psutil
import pytest
from scipy import stats

from pinnsolve.cli import run as command_line
from pinnsolve.comparison import (
    PRESETS,
    Batch,
    Grid,
    Order,
    Workers,
    axes_of,
    default_name,
    estimated_seconds,
    execute,
    expand,
    friedman,
    local_client,
    median_interval,
    nemenyi_distance,
    performance_profile,
    preset,
    read_grid,
    remote_client,
)
from pinnsolve.comparison.curves import ErrorCurve, band, error_curve
from pinnsolve.comparison.statistics import average_ranks
from pinnsolve.comparison.summary import Outcome, audit_columns, summarize
from pinnsolve.errors import InputError, ResourceError, SettingsError
from pinnsolve.report import build_comparison_report, comparison_tables
from pinnsolve.runs import ComparisonFolder

DECAY = """title = "Decay"
[coordinates]
t = [0, 1]
[equations]
decay = "u_t = -u"
[[conditions]]
where = "t = 0"
equation = "u = 1"
[reference]
exact = { u = "exp(-t)" }
[solve]
network.width = 4
network.depth = 1
training.points = 32
training.optimizer = "lm"
training.steps = 4
audit.points = 16
"""
BENDING = DECAY.replace("decay", "bending").replace('"u_t = -u"', '"u_tt = u"').replace("Decay", "Bending")


@pytest.fixture
def problems(tmp_path):
    """Return a folder with two small problems."""
    folder = tmp_path / "problems"
    folder.mkdir()
    (folder / "decay.toml").write_text(DECAY)
    (folder / "bending.toml").write_text(BENDING)
    return folder


@pytest.fixture
def inline(monkeypatch):
    """Execute runs in this process, without a cluster."""

    def executed(client, orders, report):
        for index, order in enumerate(orders):
            yield index, execute(order, None)

    monkeypatch.setattr("pinnsolve.comparison.batch.executed", executed)
    monkeypatch.setattr("pinnsolve.comparison.local_client", lambda workers: nullcontext())


# ------------------------------------------------------------------------------------------------------ the grid


def test_a_grid_is_every_combination_and_each_has_a_hash_of_its_own(problems):
    axes = {"network.activation": ["elu", "tanh", "gelu"], "seed": [0, 1]}
    runs = expand(Grid(("decay", "bending"), {"time_limit": 3}, axes), problems)
    assert len(runs) == 2 * 3 * 2
    assert len({run.digest for run in runs}) == len({run.name for run in runs}) == 12
    assert {run.settings.time_limit for run in runs} == {3.0}
    assert [run.method for run in runs[:4]] == ["elu", "elu", "tanh", "tanh"]
    assert runs[1].label == "decay: elu, seed 1"
    assert [run.digest for run in expand(Grid(("decay",), {"time_limit": 3}, axes), problems)] == [
        run.digest for run in runs[:6]
    ]


def test_the_hash_is_of_all_that_decides_a_run_and_of_nothing_else(problems):
    def digest(text=DECAY, **settings):
        (problems / "decay.toml").write_text(text)
        return expand(Grid(("decay",), settings), problems)[0].digest

    assert digest() == digest(**{"network.width": 4})
    assert len({digest(), digest(seed=1), digest(time_limit=5), digest(DECAY.replace("-u", "-2*u"))}) == 4


def test_combinations_that_are_the_same_run_are_run_once(problems):
    runs = expand(Grid(("decay", "decay"), {}, {"network.width": [4, 5], "seed": [0, 0]}), problems)
    assert [run.settings.network.width for run in runs] == [4, 5]


def test_variants_are_settings_that_go_together(problems):
    grid = Grid(("decay",), {}, {}, ({"label": "ours"}, {"engine": "deepxde", "deepxde.recipe": "documented"}))
    ours, theirs = expand(grid, problems)
    assert (ours.method, theirs.method) == ("ours", "deepxde, deepxde.recipe=documented")
    assert theirs.settings.deepxde.recipe == "documented"


def test_the_command_of_a_run_repeats_it(problems):
    grid = Grid(("decay",), {"time_limit": 2.5, "network.activation": "elu"}, {"training.windows": ["auto", 1]})
    for run in expand(grid, problems):
        from pinnsolve.problems import load_problem
        from pinnsolve.solving.settings import parse_assignments, resolve_settings

        words = run.command.split()
        assignments = [words[index + 1] for index, word in enumerate(words) if word == "--set"]
        again = resolve_settings(load_problem("decay", problems).defaults, parse_assignments(assignments))
        assert again == run.settings


def test_a_file_gives_problems_settings_axes_and_variants(problems, tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(
        'problems = ["decay"]\n[settings]\ntime_limit = 2\n[grid]\nseed = [0, 1]\n'
        'network.activation = ["elu", "tanh"]\n'
        '[[variants]]\nlabel = "taylor"\n[[variants]]\nderivatives = "autograd"\n'
    )
    runs = expand(read_grid(path), problems)
    assert len(runs) == 8
    assert {run.variant for run in runs} == {"taylor", "derivatives=autograd"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("grids = 1", "unknown key 'grids'; did you mean 'grid'"),
        ("variants = 3", "variants are tables"),
        ("grid = 3", "a table of settings is needed, got '3'"),
        ("problems = 3", r"problems are names, .*; got '3'"),
        ("problems = [['decay']]", r"problems are names, .*; got"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path, text, reason):
    (tmp_path / "grid.toml").write_text(text)
    with pytest.raises(SettingsError, match=reason):
        read_grid(tmp_path / "grid.toml")


@pytest.mark.parametrize(
    ("grid", "error", "reason"),
    [
        (Grid(), InputError, "compare needs a problem"),
        (Grid(("nothing",)), InputError, "unknown problem 'nothing'"),
        (Grid(("decay",), {"network.widht": 3}), SettingsError, "did you mean 'network.width'"),
        (Grid(("decay",), {"network.activation": "tahn"}), SettingsError, "did you mean 'tanh'"),
        (Grid(("decay",), {}, {"seed": range(100_001)}), InputError, "1 to 100000 runs; this grid has 100001"),
        (Grid(("decay",), {}, {"seed": []}), InputError, "this grid has 0"),
    ],
)
def test_a_grid_that_cannot_be_run_is_refused(problems, grid, error, reason):
    with pytest.raises(error, match=reason):
        expand(grid, problems)


def test_two_problems_of_one_name_are_refused(problems, tmp_path):
    (tmp_path / "decay.toml").write_text(BENDING)
    with pytest.raises(InputError, match="two problems have the name 'decay'"):
        expand(Grid(("decay", str(tmp_path / "decay.toml"))), problems)


def test_values_that_are_tables_make_an_axis():
    _, axes = axes_of({"network.fourier": "{x=1},{x=2},{x=1}"})
    assert axes == {"network.fourier": [{"x": 1}, {"x": 2}]}


def test_a_device_that_is_missing_here_is_told_before_any_run(problems, tmp_path, capsys):
    arguments = [
        "compare",
        "decay",
        "--device",
        "cpu,cuda:9999",
        "--problems",
        str(problems),
        "-o",
        str(tmp_path / "o"),
    ]
    assert command_line(arguments) == 4
    assert "device 'cuda:9999' is not there" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_a_list_without_values_is_refused():
    with pytest.raises(SettingsError, match=r"network.width takes a value, .* got ','"):
        axes_of({"network.width": ","})


def test_a_preset_can_be_changed_in_part():
    grid = preset("activations").overridden(Grid(("heat",), {"time_limit": 1}, {"network.activation": ["elu"]}))
    assert (grid.problems, grid.settings["time_limit"]) == (("heat",), 1)
    assert grid.axes == preset("activations").axes | {"network.activation": ["elu"]}
    fixed = grid.overridden(Grid(settings={"seed": 5}))
    assert "seed" not in fixed.axes
    assert fixed.settings["seed"] == 5


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_takes_less_than_twenty_minutes_on_two_cores(name):
    shipped = Path(__file__).parents[1] / "problems"
    runs = expand(preset(name), shipped)
    assert estimated_seconds(runs, 2, 6.0) < 1200


def test_an_unknown_preset_is_refused():
    with pytest.raises(SettingsError, match="unknown preset 'engine'; did you mean 'engines'"):
        preset("engine")


def test_the_estimate_is_of_all_runs_on_all_workers(problems):
    runs = expand(Grid(("decay",), {"time_limit": 10}, {"seed": range(6)}), problems)
    assert estimated_seconds(runs, 2, 5.0) == 6 * 15 / 2
    assert estimated_seconds(runs, 100, 5.0) == 15


def test_the_name_says_what_is_compared(problems):
    runs = expand(Grid(("decay",), {}, {"network.activation": ["elu", "tanh"], "seed": [0, 1]}), problems)
    assert default_name(runs) == "decay.activation"
    assert default_name(expand(Grid(("decay", "bending"), {}, {"seed": [0, 1]}), problems)) == "decay-bending.seeds"


# ---------------------------------------------------------------------------------------------------- statistics


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 9, 12])
def test_the_coverage_of_an_interval_is_that_of_counting_all_signs(count):
    found = median_interval(list(range(1, count + 1)))
    below = int(found.low) - 1  # values under the lower end; as many above the upper one
    assert found.high == count - below
    # the median lies outside if at most `below` of the signs are negative, or at most as many positive
    signs = itertools.product((0, 1), repeat=count)
    inside = sum(below < sum(sign) < count - below for sign in signs)
    assert found.coverage == pytest.approx(inside / 2**count, abs=1e-12)
    assert found.median == np.median(range(1, count + 1))


def test_an_interval_of_95_percent_needs_six_values():
    assert median_interval([1.0] * 5).coverage == pytest.approx(1 - 2**-4)
    six = median_interval([3.0, 1.0, 2.0, 6.0, 5.0, 4.0])
    assert (six.low, six.high) == (1.0, 6.0)
    assert six.coverage == pytest.approx(1 - 2**-5)
    twenty = median_interval(list(range(1, 21)))
    assert (twenty.low, twenty.high) == (6, 15)  # Conover (1999), table for n = 20: 95.9 %
    assert twenty.coverage == pytest.approx(0.9586, abs=1e-4)


def test_runs_without_a_result_are_the_worst_and_never_averaged():
    assert median_interval([1.0, math.nan, 3.0]).median == 3.0
    assert median_interval([1.0, math.nan]).median == math.inf
    assert median_interval([1.0, math.inf, math.inf]).low == 1.0
    with pytest.raises(ValueError, match="at least one value, got none"):
        median_interval([])


def test_friedman_is_the_statistic_of_mean_ranks():
    scores = np.random.default_rng(0).random((7, 4))
    ranks = average_ranks(scores)
    by_hand = 12 * 7 / (4 * 5) * (np.sum(ranks**2) - 4 * 5**2 / 4)
    test = friedman(scores)
    assert test.statistic == pytest.approx(by_hand, rel=1e-12)
    assert test.p_value == pytest.approx(stats.chi2.sf(by_hand, 3), rel=1e-12)


def test_two_methods_are_compared_by_signs():
    scores = np.array([[1.0, 2.0]] * 8 + [[2.0, 1.0]])
    assert friedman(scores).p_value == pytest.approx(2 * (1 + 9) / 2**9)
    assert friedman(scores).name == "sign"


@pytest.mark.parametrize(
    ("scores", "note"),
    [
        ([[1.0, 2.0, 3.0]], "there are 1 and 3"),
        ([[1.0], [2.0]], "there are 2 and 1"),
        ([[1.0, 1.0], [2.0, 2.0]], "all blocks are ties"),
        ([[1.0, 1.0, 1.0], [math.inf] * 3], "all blocks are ties"),
    ],
)
def test_a_test_that_says_nothing_says_why(scores, note):
    found = friedman(np.array(scores))
    assert found.p_value is None
    assert note in found.note


def test_infinite_errors_share_the_last_rank():
    np.testing.assert_allclose(average_ranks(np.array([[1e-3, math.inf, math.nan]])), [1, 2.5, 2.5])


@pytest.mark.parametrize(("methods", "quantile"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_the_nemenyi_distance_is_that_of_the_table(methods, quantile):
    # Demšar (2006), table 5 (a); three decimals
    assert nemenyi_distance(methods, 14) == pytest.approx(
        quantile * math.sqrt(methods * (methods + 1) / (6 * 14)), rel=5e-4
    )
    with pytest.raises(ValueError, match="two methods and a block are needed, got 1 and 5"):
        nemenyi_distance(1, 5)


def test_a_performance_profile_counts_tasks_within_a_ratio():
    costs = np.array([[1.0, 2.0], [4.0, 2.0], [3.0, math.inf], [math.inf, math.inf]])
    taus, shares = performance_profile(costs)
    assert taus.tolist() == [1.0, 2.0]
    assert shares.tolist() == [[0.5, 0.25], [0.75, 0.5]]
    with pytest.raises(ValueError, match="costs are positive"):
        performance_profile(np.array([[0.0, 1.0]]))


def history(**columns):
    return {name: np.array(values) for name, values in columns.items()}


def test_the_error_of_a_run_is_that_of_the_network_with_the_least_held_out_residual():
    curve = error_curve(
        history(seconds=[1.0, 2, 3, 4], error=[0.5, 0.1, 0.9, 0.2], held_out=[4.0, 2, 3, 1], evaluations=[1.0, 2, 3, 4])
    )
    assert curve.errors.tolist() == [0.5, 0.1, 0.1, 0.2]
    assert [curve.first(level) for level in (0.5, 0.1, 0.05)] == [1.0, 2.0, math.inf]
    assert curve.at(np.array([0.5, 1.0, 2.5, 9.0])).tolist() == [math.inf, 0.5, 0.1, 0.2]


def test_a_run_in_windows_has_no_error_before_its_last_window():
    curve = error_curve(history(seconds=[1.0, 2, 3], error=[0.1, 0.2, 0.3], held_out=[1.0, 2, 3], window=[1.0, 2, 2]))
    assert (curve.moments.tolist(), curve.errors.tolist()) == ([2.0, 3.0], [0.2, 0.2])


def test_a_run_without_a_history_has_an_empty_curve():
    assert len(error_curve({}).moments) == 0
    assert error_curve({}).first(1.0) == math.inf


def test_a_curve_refuses_moments_that_descend():
    with pytest.raises(ValueError, match="needs ascending moments"):
        ErrorCurve(np.array([2.0, 1.0]), np.array([1.0, 1.0]))


def test_a_band_is_the_median_between_the_best_and_the_worst():
    curves = [ErrorCurve(np.array([1.0, 10.0]), np.array([1.0, e])) for e in (0.1, 0.2, 0.4)]
    found = band(curves)
    assert found["moments"][0] == 1
    assert found["moments"][-1] == 10
    assert [found[key][-1] for key in ("low", "median", "high")] == [0.1, 0.2, 0.4]
    with_failure = band([*curves[:1], ErrorCurve(np.empty(0), np.empty(0))])
    assert with_failure["low"][-1] == 0.1
    assert with_failure["median"][-1] is None
    assert band([])["moments"] == []


AUDIT = [
    {"term": "u_x", "dtype": "float64", "scheme": "central2", "step": 1e-6, "fd_vs_ad": 1e-10, "verdict": "adequate"},
    {"term": "u_x", "dtype": "float64", "scheme": "central4", "step": 1e-3, "fd_vs_ad": 1e-12, "verdict": "adequate"},
    {"term": "u_xx", "dtype": "float64", "scheme": "central2", "step": 1e-4, "fd_vs_ad": 1e-7, "verdict": "dominates"},
    {"term": "u_xx", "dtype": "float32", "scheme": "central2", "step": 1e-2, "fd_vs_ad": 1e-3, "verdict": "dominates"},
]


def test_audit_columns_are_of_the_derivative_whose_best_difference_is_worst():
    found = audit_columns({"derivatives": AUDIT})
    assert (found["fd_term"], found["fd_scheme"], found["fd_step"]) == ("u_xx", "central2", 1e-4)
    assert (found["fd_error"], found["fd_verdict"]) == (1e-7, "dominates")
    assert audit_columns({"derivatives": []})["fd_error"] is None


def outcomes(problems, errors):
    """Return outcomes of a grid with these errors by activation, one per seed; None is a failed run."""
    seeds = list(range(len(next(iter(errors.values())))))
    grid = Grid(("decay", "bending"), {}, {"network.activation": list(errors), "seed": seeds})
    found = []
    for run in expand(grid, problems):
        error = errors[run.settings.network.activation][run.settings.seed]
        metrics = {"status": "failed", "reason": "no luck", "fields": {}, "seconds": None, "steps": None}
        rows = {}
        if error is not None:
            field = {"relative_l2": error, "reference_error": 1e-16}
            metrics = {"status": "finished", "reason": "steps", "fields": {"u": field}, "seconds": 2.0, "steps": 5}
            metrics |= {"derivatives": AUDIT, "residual_evaluations": 100}
            rows = history(seconds=[1.0, 2], error=[1.0, error], held_out=[2.0, 1.0], evaluations=[10.0, 20])
        found.append(Outcome.of(run, metrics, rows))
    return found


def test_a_summary_has_medians_ranks_profiles_and_the_audit(problems):
    found = summarize("test", outcomes(problems, {"elu": [1e-1, None, 3e-1], "tanh": [1e-5, 2e-5, 3e-5]}), 1e-3)
    elu, tanh = found["groups"][:2]
    assert (elu["error"]["median"], elu["error"]["low"], elu["error"]["high"]) == (0.3, 0.1, None)
    assert (elu["without_result"], elu["seconds_to_target"]) == (1, None)
    assert (tanh["error"]["median"], tanh["seconds_to_target"], tanh["fd_term"]) == (2e-5, 2.0, "u_xx")
    assert found["ranks"]["over"] == "problems"
    assert dict(zip(found["ranks"]["methods"], found["ranks"]["mean_ranks"], strict=True)) == {"elu": 2, "tanh": 1}
    assert found["profiles"]["tau"] == [1.0]
    assert found["profiles"]["share"] == [[0.0], [1.0]]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_with_one_problem_seeds_are_the_blocks(problems):
    members = [
        o for o in outcomes(problems, {"elu": [1e-1, 2e-1], "tanh": [1e-5, 2e-5]}) if o.run.problem.name == "decay"
    ]
    ranks = summarize("test", members, 1e-3)["ranks"]
    assert (ranks["over"], ranks["blocks"]) == ("seeds", 2)


def test_a_comparison_stopped_before_its_first_run_has_a_summary_and_a_page(problems, tmp_path):
    batch, folder = batch_of(Grid(("decay",), {}, {"seed": [0, 1]}), problems, tmp_path)
    summary = batch.write_summary()
    assert (summary["runs"], summary["ranks"], summary["profiles"]) == ([], None, None)
    assert summary["open"] == ["decay: default, seed 0", "decay: default, seed 1"]
    assert build_comparison_report(folder).is_file()
    assert comparison_tables(summary) == []


def test_runs_without_a_reference_have_no_error_and_no_rank(problems):
    members = outcomes(problems, {"elu": [None], "tanh": [None]})
    unknown = {"status": "finished", "fields": {"u": {"relative_l2": None}}, "seconds": 1.0, "reason": ""}
    members = [Outcome(member.run, unknown, member.curves) for member in members]
    found = summarize("test", members, 1e-3)
    assert found["groups"][0]["error"] is None
    assert found["ranks"] is None
    assert found["profiles"] is None


# ------------------------------------------------------------------------------------- runs on worker processes


def die_once(folder):
    """Kill the process of the run, the first time it is called for the comparison."""
    marker = folder.path.parent / "died"
    if not marker.exists():
        marker.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)


def kill_worker_once(folder):
    """Kill the worker that the process of the run belongs to, the first time it is called for the comparison."""
    marker = folder.path.parent / "died"
    if not marker.exists():
        worker = psutil.Process().parent().ppid()  # this process is a fork of the worker's template
        marker.write_text(str(worker))
        os.kill(worker, signal.SIGKILL)
        time.sleep(60)  # until this process ends too, with its worker


def die(folder):
    """Kill the process of the run."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def client():
    """Return the client of a scheduler with two worker processes."""
    with local_client(Workers(2, 1)) as made:
        yield made


def batch_of(grid, problems, tmp_path, name="one"):
    folder = ComparisonFolder.hold(tmp_path, name)
    return Batch(folder, expand(grid, problems)), folder


def test_a_batch_runs_on_two_processes_and_is_not_repeated(client, problems, tmp_path):
    grid = Grid(("decay", "bending"), {}, {"network.activation": ["tanh", "relu"], "seed": [0, 1]})
    batch, folder = batch_of(grid, problems, tmp_path)
    ended = list(batch.execute(lambda: nullcontext(client)))
    assert len(ended) == 8
    processes = {record["worker"] for _, record in ended if record["status"] == "finished"}
    assert len(processes) == 6  # each run has its own
    assert not any(psutil.pid_exists(int(worker.split(":")[1])) for worker in processes)
    status = {(run.problem.name, run.method, run.settings.seed): record for run, record in ended}
    assert status["decay", "tanh", 0]["status"] == "finished"
    assert status["decay", "tanh", 0]["fields"]["u"]["relative_l2"] < 1
    # relu has no second derivative: a row with its reason
    assert status["bending", "relu", 1]["status"] == "failed"
    assert "relu is C0" in status["bending", "relu", 1]["reason"]
    summary = batch.write_summary()
    assert [row["status"] for row in summary["runs"]].count("failed") == 2
    assert (folder.path / "runs.csv").read_text().count("\n") == 9
    assert (folder.path / "summary.csv").read_text().count("\n") == 5
    folder.close()

    again, folder = batch_of(grid, problems, tmp_path)
    assert sorted(again.runs[index].method for index in again.open) == ["relu", "relu"]  # failed ones are tried again
    more, _ = Batch(folder, expand(grid.overridden(Grid(axes={"seed": [0, 1, 2]})), problems)), None
    assert [more.runs[index].settings.seed for index in more.open].count(2) == 4
    folder.close()


def test_a_run_whose_process_dies_is_repeated_in_another(client, problems, tmp_path):
    batch, folder = batch_of(Grid(("decay",)), problems, tmp_path)
    ((_, record),) = batch.execute(lambda: nullcontext(client), die_once)
    assert record["status"] == "finished"
    assert record["worker"].split(":")[1] != (folder.runs / "decay" / "died").read_text()


def test_a_run_whose_worker_dies_is_repeated_on_another(client, problems, tmp_path):
    batch, folder = batch_of(Grid(("decay",)), problems, tmp_path)
    ((_, record),) = batch.execute(lambda: nullcontext(client), kill_worker_once)
    dead = (folder.runs / "decay" / "died").read_text()
    assert record["status"] == "finished"
    client.wait_for_workers(2, timeout=120)  # the dead one is replaced
    assert dead not in {str(info) for info in client.run(os.getpid).values()}


def test_a_run_whose_process_dies_every_time_is_a_failed_row(client, problems, tmp_path):
    batch, _ = batch_of(Grid(("decay",)), problems, tmp_path)
    ((_, record),) = batch.execute(lambda: nullcontext(client), die)
    assert record["status"] == "failed"
    assert "its process died 3 times, killed by SIGKILL" in record["reason"]
    assert batch.write_summary()["groups"][0]["without_result"] == 1


def test_a_scheduler_that_is_there_already_is_used(client, problems, tmp_path):
    batch, _ = batch_of(Grid(("decay",)), problems, tmp_path)
    ((_, record),) = batch.execute(lambda: remote_client(client.scheduler.address))
    assert record["status"] == "finished"
    assert client.status == "running"  # it is not ours to stop


def test_a_scheduler_that_does_not_answer_is_a_missing_resource(monkeypatch):
    monkeypatch.setattr("pinnsolve.comparison.cluster.PATIENCE", 0.2)
    with (
        pytest.raises(ResourceError, match=r"no Dask scheduler answers at 'tcp://127.0.0.1:9'"),
        remote_client("tcp://127.0.0.1:9"),
    ):
        pass


def test_workers_share_the_cores_and_have_a_gpu_each(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert Workers.of(None) == Workers(8, 1)
    assert Workers.of(3) == Workers(3, 2)
    assert Workers.of(20).threads == 1
    with_gpus = Workers.of(None, range(2))
    assert (with_gpus.count, with_gpus.threads) == (2, 4)
    assert [with_gpus.environment(index)["CUDA_VISIBLE_DEVICES"] for index in range(3)] == ["0", "1", "0"]
    assert "CUDA_VISIBLE_DEVICES" not in Workers(2, 3).environment(0)
    assert Workers(2, 3).environment(0)["OMP_NUM_THREADS"] == "3"


def test_a_run_is_reported_as_failed_if_its_folder_cannot_be_seen(client, problems, tmp_path, monkeypatch):
    batch, _ = batch_of(Grid(("decay",)), problems, tmp_path)
    monkeypatch.setattr(Order, "folder", tmp_path / "elsewhere")
    ((_, record),) = batch.execute(lambda: nullcontext(client))
    assert "must name a shared folder" in record["reason"]


def test_workers_elsewhere_keep_their_own_threads(problems, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr("torch.set_num_threads", given.append)
    monkeypatch.setattr("pinnsolve.comparison.execution._solved", lambda order, report: {})
    run = expand(Grid(("decay",)), problems)[0]
    for threads in (0, 3):
        execute(Order.of(run, tmp_path, threads))
    assert given == [3]


def test_any_fault_in_a_run_is_a_row(problems, tmp_path, monkeypatch):
    def fault(*_):
        raise ZeroDivisionError("inside the run")

    monkeypatch.setattr("pinnsolve.solving.prepare", fault)
    order = Order.of(expand(Grid(("decay",)), problems)[0], tmp_path, 1)
    record = execute(order)
    assert (record["status"], record["reason"]) == ("failed", "ZeroDivisionError: inside the run")
    assert json.loads((order.folder / "metrics.json").read_text())["status"] == "failed"
    # nowhere to write: the row is there all the same
    assert execute(Order.of(expand(Grid(("decay",)), problems)[0], Path("/proc/none"), 1))["status"] == "failed"


def test_a_page_that_cannot_be_drawn_costs_no_result(problems, tmp_path):
    def fault(folder):
        raise OSError(f"no space for {folder.name}")

    record = execute(Order.of(expand(Grid(("decay",)), problems)[0], tmp_path, 1), fault)
    assert record["status"] == "finished"
    assert "the page is not drawn: OSError: no space for" in record["warnings"][-1]


def test_a_run_that_diverges_is_finished_with_that_status(problems, tmp_path):
    settings = {"training.optimizer": "adam", "training.learning_rate": 1e30, "training.steps": 50}
    order = Order.of(expand(Grid(("decay",), settings), problems)[0], tmp_path, 1)
    record = execute(order)
    assert record["status"] == "diverged", record["reason"]
    assert (order.folder / "history.csv").is_file()


# ------------------------------------------------------------------------------------------------ the command


def test_compare_prints_json_and_nothing_else_on_stdout(problems, tmp_path, inline, capsys):
    arguments = ["compare", "decay,bending", "--activation", "tanh,gelu", "--seeds", "2", "--problems", str(problems)]
    code = command_line([*arguments, "--output", str(tmp_path), "--name", "json", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert code == 0
    assert len(printed["runs"]) == 8
    assert {run["schema"] for run in printed["runs"]} == {1}
    assert len(printed["summary"]["groups"]) == 4
    assert (tmp_path / "comparisons" / "json" / "report.html").is_file()
    assert (tmp_path / "comparisons" / "json" / "figures" / "errors.svg").is_file()
    saved = json.loads((tmp_path / "comparisons" / "json" / "summary.json").read_text())
    assert saved == printed["summary"]


def test_compare_started_again_goes_on_and_report_draws_it_anew(problems, tmp_path, inline, capsys):
    arguments = ["compare", "decay", "--grid", "network.width=3,4", "--problems", str(problems), "-o", str(tmp_path)]
    assert command_line(arguments) == 0
    first = capsys.readouterr()
    assert "median error" in first.out
    assert first.err.count("finished after") == 2
    assert command_line(arguments) == 0
    assert "2 of 2 runs are finished already" in capsys.readouterr().err
    folder = tmp_path / "comparisons" / "decay.width"
    (folder / "report.html").unlink()
    assert command_line(["report", str(folder)]) == 0
    assert (folder / "report.html").is_file()


def test_a_dry_run_prints_the_grid_and_its_time_and_runs_nothing(problems, tmp_path, capsys):
    arguments = ["compare", "decay", "--seeds", "3", "--time-limit", "60", "--jobs", "1", "--problems", str(problems)]
    assert command_line([*arguments, "-o", str(tmp_path / "out"), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert out.count("decay ") == 3
    assert "3 runs on 1 workers" in out
    assert "at most 3.3 minutes" in out  # 3 (60 s + 6 s)
    assert not (tmp_path / "out").exists()
    assert command_line([*arguments, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seconds_at_most"] == 198


@pytest.mark.parametrize(("raised", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_comparison_keeps_what_is_finished(problems, tmp_path, inline, monkeypatch, capsys, raised, code):
    def executed(client, orders, report):
        yield 0, execute(orders[0], None)
        os.kill(os.getpid(), raised)
        yield 1, execute(orders[1], None)

    monkeypatch.setattr("pinnsolve.comparison.batch.executed", executed)
    arguments = ["compare", "decay", "--seeds", "3", "--problems", str(problems), "-o", str(tmp_path), "--name", "s"]
    assert command_line(arguments) == code
    assert "1 of 3 runs are kept" in capsys.readouterr().err
    summary = json.loads((tmp_path / "comparisons" / "s" / "summary.json").read_text())
    assert len(summary["runs"]) == 1
    assert len(summary["open"]) == 2


def started(problems, tmp_path, *options):
    """Start a comparison on two workers, as from a terminal: in a process group of its own."""
    command = [sys.executable, "-m", "pinnsolve", "compare", "decay", "--jobs", "2", "--name", "k", *options]
    return subprocess.Popen(
        [*command, "--problems", str(problems), "-o", str(tmp_path)],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(found, process, seconds=120):
    """Wait until something is found; the process must not end before."""
    end = time.monotonic() + seconds
    while not found():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_killed_comparison_loses_at_most_the_runs_under_way_and_leaves_no_process(problems, tmp_path):
    runs = tmp_path / "comparisons" / "k" / "runs" / "decay"

    def finished():
        return {path.parent.name: path.stat().st_mtime_ns for path in runs.glob("*/metrics.json")}

    first = started(problems, tmp_path, "--seeds", "6")
    wait_for(finished, first)
    processes = psutil.Process(first.pid).children(recursive=True)
    assert len(processes) >= 4  # two workers and their templates
    first.kill()
    first.communicate()
    assert psutil.wait_procs(processes, timeout=60)[1] == []
    kept = finished()
    assert 1 <= len(kept) < 6
    begun = len(list(runs.iterdir()))
    assert begun - len(kept) <= 2  # what was under way
    second = started(problems, tmp_path, "--seeds", "6")
    _, told = second.communicate()
    assert second.returncode == 0
    assert f"{len(kept)} of 6 runs are finished already" in told
    assert len(finished()) == 6
    assert kept.items() <= finished().items()  # none was run again
    assert [run["status"] for run in json.loads((runs.parents[1] / "summary.json").read_text())["runs"]] == (
        ["finished"] * 6
    )


def test_ctrl_c_stops_a_comparison_with_its_runs_and_without_a_traceback(problems, tmp_path):
    options = ["--seeds", "3", "--set", "training.steps=100000000", "--time-limit", "3600"]
    process = started(problems, tmp_path, *options)
    runs = tmp_path / "comparisons" / "k" / "runs"
    wait_for(lambda: len(list(runs.glob("*/*/history.csv"))) == 2, process)
    processes = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes of the group
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    assert "stopped; 0 of 3 runs are kept" in told
    assert "Traceback" not in told
    assert psutil.wait_procs(processes, timeout=60)[1] == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--seeds", "0"], "--seeds takes a number of seeds"),
        (["--seeds", "1000000000"], "--seeds takes a number of seeds, at most 100000"),
        (["--target", "nan"], "--target takes a positive number, got nan"),
        (["--target", "0"], "--target takes a positive number, got 0"),
        (["--name", "../x", "--dry-run"], "cannot be the name of a comparison"),
        (["--name", "", "--dry-run"], "cannot be the name of a comparison"),
        (["--mlflow", ""], "--mlflow takes the URI"),
        (["--seeds", "2", "--seed", "1"], "no --seed beside it"),
        (["--grid", "width"], "--grid takes key=a,b,c, got 'width'"),
        (["--preset", "x"], "unknown preset 'x'"),
        (["--name", "../x"], "cannot be the name of a comparison"),
    ],
)
def test_a_comparison_that_cannot_be_made_is_bad_input(problems, tmp_path, arguments, reason, capsys):
    code = command_line(["compare", "decay", "--problems", str(problems), "-o", str(tmp_path), *arguments])
    assert code == 2
    assert reason in capsys.readouterr().err


def test_a_comparison_without_any_result_says_why(problems, tmp_path, inline, capsys):
    arguments = ["compare", "bending", "--activation", "relu", "--problems", str(problems), "-o", str(tmp_path)]
    assert command_line(arguments) == 1
    assert "no run has a result; the first one: relu is C0" in capsys.readouterr().err


def test_two_comparisons_cannot_write_in_one_folder(problems, tmp_path, inline, capsys):
    with ComparisonFolder.hold(tmp_path, "same"):
        arguments = ["compare", "decay", "--problems", str(problems), "-o", str(tmp_path), "--name", "same"]
        assert command_line(arguments) == 2
    assert "is writing in this run folder" in capsys.readouterr().err
