"""Output that nobody reads, or that cannot be written: nothing but words is lost, and the exit code tells the truth."""

from __future__ import annotations

import io
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pinnsolve.cli import run, solving
from pinnsolve.cli.signals import Signals, StepAbandoned
from pinnsolve.cli.streams import LastingStream
from pinnsolve.cli.terminal import show_table
from pinnsolve.errors import ResourceError

from .test_solve import LOGISTIC

COMMAND = f"{sys.executable} -m pinnsolve"
QUICK = "--steps 2 --points 32 --width 4 --depth 1 --optimizer lm --set audit.enabled=false"


def _shell(place: Path, line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], cwd=place, capture_output=True, text=True, timeout=300, check=False
    )


def _closed_pipe() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("holds_results", [True, False])
def test_a_stream_whose_reader_has_gone_goes_on_as_one_to_nowhere(holds_results):
    with os.fdopen(_closed_pipe(), "w") as pipe:
        stream = LastingStream(pipe, holds_results=holds_results)
        assert stream.write("x" * 100_000) == 100_000  # more than any buffer
        stream.flush()
        assert os.fstat(pipe.fileno()).st_rdev == os.stat(os.devnull).st_rdev


def test_results_that_do_not_fit_on_a_full_disk_are_told_and_words_are_not():
    with open("/dev/full", "w") as full:
        stream = LastingStream(full, holds_results=True)
        stream.write("x")
        with pytest.raises(ResourceError, match="the output cannot be written: No space left on device"):
            stream.flush()
    with open("/dev/full", "w") as full:
        stream = LastingStream(full, holds_results=False)
        stream.write("x")
        stream.flush()


def test_tables_go_through_the_stream_too(monkeypatch):
    with os.fdopen(_closed_pipe(), "w") as pipe:
        monkeypatch.setattr(sys, "stderr", LastingStream(pipe, holds_results=False))
        show_table(("a", "b"), [(1, 2)] * 10_000, stderr=True)


def test_a_table_on_a_terminal_of_one_column_keeps_its_words_whole(monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "1")
    show_table(("name", "title"), [("burgers", "Viscous Burgers equation")])
    assert "burgers" in terminal.getvalue()
    assert "Viscous Burgers equation" in terminal.getvalue()


@pytest.mark.parametrize(
    ("redirection", "code", "words"),
    [
        ("| true", 0, ""),
        (">&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        (">/dev/full", 4, "error: the output cannot be written: No space left on device\n"),
        ("2>/dev/full", 0, None),
    ],
)
def test_a_list_leaves_with_the_code_that_is_true(tmp_path, redirection, code, words):
    done = _shell(tmp_path, f"{COMMAND} list {redirection}")
    assert (done.returncode, done.stderr if words is not None else None) == (code, words)


def test_no_command_at_all_shows_what_there_is(tmp_path):
    done = _shell(tmp_path, COMMAND)
    assert (done.returncode, done.stderr) == (0, "")
    assert "solve " in done.stdout


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_to_a_closed_pipe_is_no_fault(tmp_path, option):
    done = _shell(tmp_path, f"{COMMAND} {option} | true")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_run_is_finished_and_its_gate_is_kept_though_nobody_reads(tmp_path):
    (tmp_path / "p.toml").write_text(LOGISTIC)
    done = _shell(tmp_path, f"{COMMAND} solve p.toml {QUICK} --name r --require-error 1e-15 2>&1 | true")
    assert done.returncode == 6
    assert (tmp_path / "outputs/p/r/metrics.json").exists()
    assert (tmp_path / "outputs/p/r/report.html").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_step_that_outlasts_a_signal_is_abandoned(number):
    def long_step() -> None:
        os.kill(os.getpid(), number)
        time.sleep(30)

    before = signal.getsignal(number)
    with Signals() as signals, pytest.raises(StepAbandoned):
        long_step()
    assert signals.received == number
    assert signal.getsignal(number) == before


def test_what_is_being_saved_is_not_abandoned_and_what_comes_after_it_is(monkeypatch):
    monkeypatch.setattr("pinnsolve.cli.signals.STEP_PATIENCE", 0.01)
    with Signals() as signals:
        with signals.held():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)  # ten times the patience
        assert signals.received == signal.SIGTERM
        with pytest.raises(StepAbandoned):
            time.sleep(30)


def test_ctrl_c_is_told_in_a_word_whatever_command_it_meets(monkeypatch, capsys):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pinnsolve.cli.browsing.list_command", interrupted)
    assert run(["list"]) == 130
    assert capsys.readouterr().err.strip() == "error: interrupted"


def test_what_was_ignored_from_the_start_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
        assert signals.received is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_first_checkpoints_come_sooner_than_the_later_ones(monkeypatch):
    """With a clock that ticks once whenever it is read: after more than 5, 10 and then every 20 ticks."""
    ticks, saved = itertools.count(), []
    step = SimpleNamespace(row=dict)
    settings = SimpleNamespace(time_limit=1.0, training=SimpleNamespace(steps=None))
    session = SimpleNamespace(settings=settings, train=lambda: iter([step] * 60))
    snapshots = SimpleNamespace(step=0)
    snapshots.take = lambda: setattr(snapshots, "step", snapshots.step + 1)
    monkeypatch.setattr(solving, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    monkeypatch.setattr(solving, "_save_checkpoint", lambda now, *_: saved.append(now.step))
    folder = SimpleNamespace(append_history=lambda _: None)
    solving._train(session, folder, Signals(), snapshots, quiet=True)
    assert saved == [6, 17, 38, 59]
