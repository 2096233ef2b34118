"""A disk that is full, and a folder that is gone, while a run writes: what was trained is not thrown away."""

from __future__ import annotations

import errno
import os
import re
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

from pinnsolve.cli import run
from pinnsolve.errors import ResourceError
from pinnsolve.runs import ComparisonFolder, RunFolder

from .conftest import executed_here
from .test_solve import LOGISTIC

QUICK = ["--steps", "3", "--points", "32", "--width", "4", "--depth", "1", "--optimizer", "lm"]


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Return the command of a small run below the temporary folder."""
    (tmp_path / "p.toml").write_text(LOGISTIC)
    where = ["--output", str(tmp_path), "--name", "r"]
    return ["solve", str(tmp_path / "p.toml"), *QUICK, "--set", "audit.enabled=false", *where]


def _full(*_: object) -> None:
    raise ResourceError("no space left")


def test_a_history_that_does_not_fit_is_told_once_and_costs_no_result(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(RunFolder, "append_history", _full)
    assert run(command) == 0
    assert capsys.readouterr().err.count("warning: the history has gaps: no space left") == 1
    assert (tmp_path / "p/r/metrics.json").exists()


def test_a_result_without_a_checkpoint_is_not_said_to_be_resumable(command, monkeypatch, capsys):
    monkeypatch.setattr(RunFolder, "write_solution", _full)
    monkeypatch.setattr("pinnsolve.runs.save_checkpoint", _full)
    assert run(command) == 4
    error = capsys.readouterr().err
    assert "warning: the checkpoint is not saved: no space left" in error
    assert error.endswith("error: no space left\n")


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EMFILE, "too many open files"), (errno.ENOMEM, "not enough memory"), (errno.EACCES, "")],
)
def test_what_the_system_has_no_more_of_is_a_missing_resource(monkeypatch, capsys, number, words):
    def lacking(*_: object) -> None:
        raise OSError(number, os.strerror(number), "x.toml")

    monkeypatch.setattr("pinnsolve.cli.browsing.list_command", lacking)
    assert run(["list"]) == (4 if words else 1)
    assert capsys.readouterr().err.startswith(f"error: {words or 'a fault of the program: PermissionError'}")


def test_a_history_whose_first_row_does_not_fit_begins_with_the_next(tmp_path, monkeypatch):
    folder, write = RunFolder(tmp_path), os.write
    monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    with pytest.raises(ResourceError, match=r"history\.csv: no space left"):
        folder.append_history({"step": 1, "stage": "lm"})
    assert (tmp_path / "history.csv").stat().st_size == 0
    monkeypatch.setattr(os, "write", write)
    folder.append_history({"step": 2, "stage": "lm"})
    assert folder.history()["step"].tolist() == [2]


def test_a_result_that_does_not_fit_is_printed(command, monkeypatch, capsys):
    monkeypatch.setattr(RunFolder, "write_solution", _full)
    assert run(command) == 4
    printed = capsys.readouterr()
    assert "relative L2 error" in printed.out
    assert "report:" not in printed.out
    assert re.search(r"error: no space left; then: pinnsolve resume \S+/p/r\n$", printed.err)


def test_a_page_that_does_not_fit_is_not_pointed_to(command, monkeypatch, capsys):
    monkeypatch.setattr(RunFolder, "write_page", _full)
    assert run(command) == 0
    printed = capsys.readouterr()
    assert "warning: the report is not saved: no space left" in printed.err
    assert "relative L2 error" in printed.out
    assert "report:" not in printed.out


def test_an_audit_that_does_not_fit_is_shown(command, tmp_path, monkeypatch, capsys):
    assert run(command) == 0
    monkeypatch.setattr(RunFolder, "write_derivatives", _full)
    capsys.readouterr()
    assert run(["audit", str(tmp_path / "p/r")]) == 4
    printed = capsys.readouterr()
    assert "complex step" in printed.out
    assert printed.err == "error: no space left\n"


def test_a_run_without_a_folder_ends_at_once(command, monkeypatch, capsys):
    append = RunFolder.append_history

    def removed(folder: RunFolder, row: dict[str, object]) -> None:
        shutil.rmtree(folder.path)
        append(folder, row)

    monkeypatch.setattr(RunFolder, "append_history", removed)
    assert run(command) == 4
    assert "history.csv: cannot be written (No such file or directory)" in capsys.readouterr().err


def test_a_damaged_history_says_how_to_go_on_without_it(command, tmp_path, capsys):
    assert run(command) == 0
    (tmp_path / "p/r/history.csv").write_text("step,loss\n1\n")
    assert run(["resume", str(tmp_path / "p/r"), "--steps", "4"]) == 5
    assert "line 2 has 1 cells, the header 2); move it away to go on without it" in capsys.readouterr().err


def test_a_comparison_whose_summary_does_not_fit_is_printed(tmp_path, monkeypatch, capsys):
    (tmp_path / "p.toml").write_text(LOGISTIC)
    monkeypatch.setattr("pinnsolve.comparison.batch.executed", executed_here)
    monkeypatch.setattr("pinnsolve.comparison.local_client", lambda _: nullcontext())
    monkeypatch.setattr(ComparisonFolder, "write_summary", _full)
    arguments = [str(tmp_path / "p.toml"), "--seeds", "2", *QUICK, "--set", "audit.enabled=false", "--jobs", "1"]
    assert run(["compare", *arguments, "--output", str(tmp_path)]) == 4
    printed = capsys.readouterr()
    assert "median error" in printed.out
    assert "report:" not in printed.out
    assert printed.err.endswith("error: no space left\n")
