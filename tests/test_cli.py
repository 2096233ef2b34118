"""The real command, as a subprocess: exit codes, what is printed where, nothing left behind."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from .test_solve import LOGISTIC

QUICK = [
    "--steps",
    "4",
    "--points",
    "64",
    "--width",
    "6",
    "--depth",
    "1",
    "--set",
    "audit.points=32",
    "--optimizer",
    "lm",
]
COMMAND = [sys.executable, "-m", "pinnsolve"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder with one problem in it."""
    (tmp_path / "problems").mkdir()
    (tmp_path / "problems" / "logistic.toml").write_text(LOGISTIC)
    return tmp_path


def _run(place: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run(
        [*COMMAND, *arguments], cwd=place, env=env, capture_output=True, text=True, timeout=300, check=False
    )


def _refused(done: subprocess.CompletedProcess[str], code: int, match: str) -> None:
    assert done.returncode == code, done.stderr
    assert re.search(match, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_solve_says_that_it_computes_a_reference_where_it_does(place):
    exact = _run(place, "solve", "logistic", *QUICK)
    assert exact.stderr.startswith("plan:")
    text = LOGISTIC.split("[reference]")[0] + '[reference]\nsolver = "auto"\n'
    (place / "problems" / "logistic.toml").write_text(text)
    computed = _run(place, "solve", "logistic", *QUICK)
    assert computed.stderr.startswith("reference: being computed by solve_ivp (kept if that takes long)\nplan:")
    assert exact.returncode == computed.returncode == 0


def test_a_solve_leaves_a_run_folder_and_a_summary(place):
    done = _run(place, "solve", "logistic", *QUICK, "--name", "first")
    assert done.returncode == 0, done.stderr
    assert "relative L2" in done.stdout
    assert re.search(r"u_t: .*from AD at h =", done.stdout)
    run = place / "outputs" / "logistic" / "first"
    present = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    wanted = {
        "settings.toml",
        "problem.toml",
        "metrics.json",
        "history.csv",
        "derivatives.csv",
        "solution.npz",
        "report.html",
    }
    assert wanted <= present
    assert any(name.startswith("checkpoints/") for name in present)
    assert {"figures/history.png", "figures/v_curves.png", "figures/solution_u.png", "figures/residual.png"} <= present
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["status"] == "finished"
    assert metrics["command"].startswith("pinnsolve solve logistic")
    rows = list(csv.DictReader(io.StringIO((run / "history.csv").read_text())))
    assert list(rows[0])[:5] == ["step", "seconds", "stage", "loss", "error"]
    assert len(rows) == 4


def test_json_is_alone_on_stdout(place):
    done = _run(place, "solve", "logistic", *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["problem"] == "logistic"


def test_a_run_can_be_audited_reported_and_evaluated(place):
    assert _run(place, "solve", "logistic", *QUICK, "--name", "r").returncode == 0
    audited = _run(place, "audit", "logistic/r")
    assert audited.returncode == 0, audited.stderr
    assert "central2" in audited.stdout
    assert "misspecification index" in audited.stdout
    refused = _run(place, "audit", "logistic/r", "--fail-on", "derivative mismatch,kink_fraction>-1", "--json")
    assert refused.returncode == 6
    assert "u_t central2 float64: kink_fraction = 0 > -1" in refused.stderr
    assert {"derivatives", "audit"} == set(json.loads(refused.stdout))
    assert _run(place, "audit", "logistic/r", "--fail-on", "derivative mismatch").returncode == 0
    assert _run(place, "audit", "logistic/r", "--fail-on", "kinky").returncode == 2
    report = place / "outputs" / "logistic" / "r" / "report.html"
    report.unlink()
    assert _run(place, "report", "logistic/r").returncode == 0
    assert report.exists()
    done = _run(place, "predict", "logistic/r", "--grid", "5", "--derivatives", "u_t,u_tt")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert list(rows[0]) == ["t", "u", "u_t", "u_tt"]
    assert [float(row["t"]) for row in rows] == [0, 1, 2, 3, 4]
    assert float(rows[0]["u"]) == pytest.approx(0.1, rel=1e-12)  # built in
    (place / "points.csv").write_text("t\n0.5\n0.25\n")
    done = _run(place, "predict", "logistic/r", "--points", "points.csv", "--to", "out.npz", "--format", "npz")
    assert done.returncode == 0, done.stderr
    assert (place / "out.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["solve", "logisitc"], "unknown problem 'logisitc'; did you mean 'logistic'"),
        (["solve", "../../secret"], "unknown problem"),
        (["solve", "missing.toml"], "missing.toml: the file cannot be read"),
        (["solve", "logistic", "--activation", "tahn"], "unknown activation 'tahn'; did you mean 'tanh'"),
        (["solve", "logistic", "--set", "network.widht=3"], "did you mean 'network.width'"),
        (["solve", "logistic", "--width", "-3"], "network.width"),
        (["solve", "logistic", "--width", "x"], "valid integer"),
        (["solve", "logistic", "--nonsense"], "No such option"),
        (["slove", "logistic"], "Did you mean 'solve'"),
        (["solve", "logistic", "--name", "../x"], "name"),
        (["solve", "logistic", "--config", "none.toml"], "none.toml"),
        (["solve"], "Missing argument"),
        (["predict", "logistic/none", "--grid", "3"], "logistic/none"),
        (["list", "--problems", "nowhere"], "no folder of problems 'nowhere'"),
    ],
)
def test_mistakes_of_the_user_exit_2_or_5_with_one_line(place, arguments, match):
    _refused(_run(place, *arguments), 5 if arguments[0] == "predict" else 2, match)
    assert not (place / "outputs").exists()


def test_a_problem_file_executes_nothing(place):
    evil = LOGISTIC.replace("u_t = u*(1 - u)", "u_t = __import__('os').system('touch pwned')")
    (place / "problems" / "evil.toml").write_text(evil)
    _refused(_run(place, "solve", "evil"), 2, "evil.toml: equations.growth: only f")
    assert not (place / "pwned").exists()


def test_an_exact_solution_that_is_none_fails_check_and_solve(place):
    (place / "problems" / "wrong.toml").write_text(LOGISTIC.replace("9*exp(-t)", "9*exp(t)"))
    done = _run(place, "check", "wrong")
    assert done.returncode == 6
    assert "leaves a residual of" in done.stdout
    _refused(_run(place, "solve", "wrong"), 2, "leaves a residual of")
    assert _run(place, "check", "logistic").returncode == 0


def test_an_existing_run_is_refused_unless_overwritten(place):
    assert _run(place, "solve", "logistic", *QUICK, "--name", "r", "-q").returncode == 0
    _refused(_run(place, "solve", "logistic", *QUICK, "--name", "r"), 2, "--overwrite")
    assert _run(place, "solve", "logistic", *QUICK, "--name", "r", "--overwrite", "-q").returncode == 0


def test_a_required_error_that_is_not_met_exits_6(place):
    assert _run(place, "solve", "logistic", *QUICK, "--require-error", "1e-15", "-q").returncode == 6
    assert _run(place, "solve", "logistic", *QUICK, "--require-error", "10", "-q").returncode == 0


def test_divergence_exits_3_and_is_a_status(place):
    options = ["--optimizer", "adam", "--set", "training.learning_rate=1e6", "--steps", "500", "--name", "d"]
    done = _run(place, "solve", "logistic", *QUICK, *options)
    assert done.returncode == 3, done.stderr
    assert json.loads((place / "outputs/logistic/d/metrics.json").read_text())["status"] == "diverged"


def test_rough_activations_exit_2_unless_allowed(place):
    text = LOGISTIC.replace("u_t = u*(1 - u)", "d(u, t, t) = 0").split("[reference]")[0]
    (place / "problems" / "second.toml").write_text(text + '[reference]\nsolver = "none"\n')
    _refused(_run(place, "solve", "second", *QUICK, "--activation", "relu"), 2, "relu is C0")
    done = _run(place, "solve", "second", *QUICK, "--activation", "relu", "--allow-rough")
    assert done.returncode == 0, done.stderr
    warned = _run(place, "solve", "second", *QUICK, "--activation", "elu")
    assert "misses the part of the loss gradient" in warned.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_a_checkpoint_and_resume_goes_on(place, number, code):
    command = [
        *COMMAND,
        "solve",
        "logistic",
        "--time-limit",
        "600",
        "--points",
        "64",
        "--width",
        "6",
        "--name",
        "s",
        "--optimizer",
        "lm",
    ]
    with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        history = place / "outputs/logistic/s/history.csv"
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (history.exists() and history.read_text().count("\n") > 3):
            time.sleep(0.05)
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    assert "pinnsolve resume" in errors
    metrics = json.loads((place / "outputs/logistic/s/metrics.json").read_text())
    assert metrics["status"] == "interrupted"
    steps = metrics["steps"] + 3
    done = _run(place, "resume", "logistic/s", "--steps", str(steps), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == steps
    rows = list(csv.DictReader(io.StringIO(history.read_text())))
    assert [int(row["step"]) for row in rows] == list(range(1, steps + 1))


def test_a_bare_environment_is_enough(place):
    folder = place / "ä b"
    folder.mkdir()
    env = {"PATH": os.environ["PATH"], "LANG": "C", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    done = subprocess.run(
        [*COMMAND, "solve", "logistic", *QUICK, "--output", str(folder)],
        cwd=place,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(folder.rglob("metrics.json"))


def test_hostile_titles_cannot_steer_the_terminal(place):
    title = LOGISTIC.replace('"logistic"', '"\\u001b]0;gone\\u0007 [red]x[/red] \\u202e"')
    (place / "problems" / "hostile.toml").write_text(title)
    done = _run(place, "list")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    assert "[red]" in done.stdout


def test_show_list_activations_and_doctor(place):
    assert "uₜ = u (1 − u)" in _run(place, "show", "logistic").stdout
    assert json.loads(_run(place, "list", "--json").stdout)[0]["reference"] == "exact"
    names = {row["name"] for row in json.loads(_run(place, "activations", "--json").stdout)}
    assert {"elu", "celu", "selu", "tanh", "gelu", "silu", "softplus", "sine", "relu"} <= names
    done = _run(place, "doctor", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["self-test"] == "passed"


def test_debug_shows_the_traceback(place):
    done = _run(place, "--debug", "solve", "logisitc")
    assert "Traceback" in done.stderr


def test_a_signal_during_the_audit_saves_the_checkpoint_and_resume_ends_the_run(place):
    (place / "slow.py").write_text(SLOW_AUDIT)
    command = [sys.executable, "slow.py", "solve", "logistic", *QUICK, "--name", "s"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=300, check=False)
    _refused(done, 143, "stopped at step 4; go on with: pinnsolve resume outputs/logistic/s")
    metrics = json.loads((place / "outputs/logistic/s/metrics.json").read_text())
    assert metrics["status"] == "interrupted"
    assert _run(place, "resume", "logistic/s", "-q").returncode == 0
    metrics = json.loads((place / "outputs/logistic/s/metrics.json").read_text())
    assert (metrics["status"], metrics["steps"]) == ("finished", 4)


# the command with an audit that is asked to end and would take half a minute
SLOW_AUDIT = """
import os, signal, time
from pinnsolve.cli import main
from pinnsolve.solving import solution

def audited(session):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)

solution.audited = audited
main()
"""


def test_a_signal_while_the_report_is_drawn_leaves_the_result(place):
    (place / "slow.py").write_text(SLOW_REPORT)
    command = [sys.executable, "slow.py", "solve", "logistic", *QUICK, "--name", "s"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=300, check=False)
    _refused(done, 130, "draw it with: pinnsolve report outputs/logistic/s")
    assert json.loads((place / "outputs/logistic/s/metrics.json").read_text())["status"] == "finished"
    assert _run(place, "report", "logistic/s").returncode == 0


SLOW_REPORT = """
import os, signal, time
from pinnsolve import report
from pinnsolve.cli import main

def build_report(folder):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(30)

report.build_report = build_report
main()
"""


def test_settings_of_a_problem_that_cannot_be_used_name_file_and_key(place):
    for setting, match in [
        ("network.width = true", "setting network.width: a number is needed, without quotes, got True"),
        ("time_limit = '9'", "setting time_limit: a number is needed, without quotes, got '9'"),
        ("training.learning_rate = -1", "setting training.learning_rate: input should be greater than 0"),
    ]:
        (place / "problems" / "s.toml").write_text(f"{LOGISTIC}\n[solve]\n{setting}\n")
        _refused(_run(place, "solve", "s"), 2, rf"s\.toml: solve: {match}")
    done = _run(place, "check")
    assert done.returncode == 6
    assert "s: FAILED" in done.stdout
    assert "logistic: ok" in done.stdout


def test_check_reads_the_file_of_values(place):
    np.savez(place / "problems" / "values.npz", t=[0.0, 1.0, 4.0], u=[0.1, np.nan, 0.8])
    text = LOGISTIC.split("[reference]")[0] + '[reference]\nfile = "values.npz"\n'
    (place / "problems" / "table.toml").write_text(text)
    done = _run(place, "check", "table")
    assert done.returncode == 6
    assert "reference.file: array 'u' holds 1 values that are not finite" in done.stdout


def test_data_that_are_no_numbers_are_refused_before_training(place):
    text = LOGISTIC.split("[reference]")[0].replace("u*(1 - u)", "u*log(t - 2)")
    (place / "problems" / "nan.toml").write_text(text)
    _refused(_run(place, "solve", "nan", *QUICK), 2, r"nan\.toml: equations\.growth: log\(t - 2\) is no finite number")
    assert not (place / "outputs").exists()
