"""Input that cannot be used: refused as soon as it is known, in words that say what to write instead."""

from __future__ import annotations

import math
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import sympy
import torch

from pinnsolve.cli import run
from pinnsolve.cli.points import file_points, grid_points, outside
from pinnsolve.errors import InputError, ProblemError, ResourceError, RunFolderError, SettingsError
from pinnsolve.problems.lint import lint
from pinnsolve.problems.lint_conditions import _Datum
from pinnsolve.problems.loading import MOST_CONDITIONS
from pinnsolve.problems.schema import MAX_DEPTH, toml_table
from pinnsolve.problems.starting import copied_text
from pinnsolve.references.evolution import evolution_of
from pinnsolve.runs import RunFolder
from pinnsolve.runs.recording import saved_settings
from pinnsolve.runs.records import read_toml
from pinnsolve.runs.tracking import refuse_untracked
from pinnsolve.solving import resolve_settings
from pinnsolve.solving.settings import parse_assignments, read_settings_file

from .conftest import BURGERS, DECAY, executed_here

DEEP = "network.width" + ".a" * 9000 + " = 1"


# ------------------------------------------------------------------------------------------------ problem files


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("nu = ", "lambda = ", r"constants\.lambda: 'lambda' is a word of the grammar .* such as lambda1\)"),
        ("x = [-1, 1]", "if = [-1, 1]", r"coordinates\.if: 'if' is a word of the grammar"),
        ('title = "Burgers"', 'title = "B"\nfields = ["None"]', r"fields: 'None' is a word of the grammar"),
        ("= nu*u_xx", "= (nu*u)_xx", r"column 7 \(write the derivative of an expression as d\(expression, x, x\)\)"),
        ("= nu*u_xx", "= nu*u_xx # + u", r"equations\.burgers: a '#' at column 23 of .* outside the quotes\)"),
        ('title = "Burgers"', 'title = "B"\nfields = { u = 3 }', r"fields\.u: input should be a valid dict.*, got '3'"),
        ('title = "Burgers"', 'title = "B"\nfields = { u = { range = "+" } }', r"fields\.u\.range: .*'positive'"),
        ('title = "Burgers"', 'title = "B"\nfields = { u = { rang = 3 } }', "unknown key 'rang'; did you mean 'range'"),
        ("[coordinates]", 'fields = ["u", "u_x"]\n[coordinates]', r"fields\.u_x: 'u_x' also names a derivative of 'u'"),
        ("x = [-1, 1]", "x = [-1, 1]\nu_xt = [0, 1]", r"coordinates\.u_xt: 'u_xt' also names a derivative of 'u'"),
        ("= nu*u_xx", "= 1e200*u_xx*1e200", "the coefficient of 'Derivative.*' is not a finite real number"),
        ("[constants]", "[constants]\nb" + ".a" * 9000 + " = 1", "arrays or tables stand too deep in each other"),
    ],
)
def test_a_problem_file_is_refused_with_what_to_write_instead(problem_from, old, new, match):
    assert old in BURGERS
    with pytest.raises(ProblemError, match=match):
        problem_from(BURGERS.replace(old, new))


def test_tables_may_stand_as_deep_in_each_other_as_is_read_and_no_deeper():
    arrays = "a = " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)
    assert toml_table(arrays.encode())
    with pytest.raises(RecursionError, match=f"more than {MAX_DEPTH} deep"):
        toml_table(arrays.replace("[", "[[", 1).replace("]", "]]", 1).encode())
    assert toml_table(("b." * (MAX_DEPTH - 1) + "b = 1").encode())
    for depth in (MAX_DEPTH, 200, 100_000):
        with pytest.raises(RecursionError, match=f"more than {MAX_DEPTH} deep"):
            toml_table(("b." * depth + "b = 1").encode())


def test_more_conditions_than_are_read_are_refused(problem_from):
    more = "".join(f'[[conditions]]\nwhere = "x = 1"\nequation = "u_x = {i}"\n' for i in range(MOST_CONDITIONS - 2))
    with pytest.raises(ProblemError, match=f"there are {MOST_CONDITIONS + 1} conditions on faces, at most"):
        problem_from(BURGERS + more)


def test_of_many_conflicts_some_are_told(problem_from):
    more = "".join(f'[[conditions]]\nwhere = "x = 1"\nequation = "u = {i}"\n' for i in range(1, 100))
    found = [finding for finding in lint(problem_from(BURGERS + more)) if "two values" in finding.message]
    assert len(found) == 20


def test_each_condition_is_evaluated_once_per_face_that_it_meets_however_many_there_are(problem_from, monkeypatch):
    calls, at = [], _Datum.at
    monkeypatch.setattr(_Datum, "at", lambda datum, points: calls.append(datum) or at(datum, points))
    strip = '[[conditions]]\nwhere = "x = 1 and {0} < t < {1}"\nequation = "u = 0"\nname = "strip {0}"\n'
    text = BURGERS.replace('["x = -1", "x = 1"]', '"x = -1"') + "".join(
        strip.format(i / 40, i / 40 + 0.025) for i in range(40)
    )
    assert not [finding for finding in lint(problem_from(text)) if "two values" in finding.message]
    assert len(calls) <= 42 * 3  # 42 conditions, three faces; 41 * 42 / 2 pairs


def test_constants_that_grow_with_one_another_become_numbers(problem_from):
    chain = "".join(f'c{i} = "sin(c{i - 1}) + c{i - 1}"\n' for i in range(1, 60))
    constants = problem_from(BURGERS.replace("[constants]", f"[constants]\nc0 = 2\n{chain}")).constants
    value = 2.0
    for _ in range(59):
        value += math.sin(value)
    assert float(constants["c59"]) == pytest.approx(value, rel=1e-13)
    assert constants["c2"] == sympy.sin(sympy.sin(2) + 2) + sympy.sin(2) + 2
    assert all(len(list(sympy.preorder_traversal(constant))) <= 100 for constant in constants.values())


@pytest.mark.parametrize(
    ("equation", "fields", "message"),
    [
        ("u_x = 0", '["u"]', "2 equations for 1 field: they may contradict"),
        ("", '["u", "v"]', "1 equation for 2 fields: they have many solutions"),
        ("v_t = u", '["u", "v"]', None),
    ],
)
def test_the_number_of_equations_is_held_against_that_of_fields(problem_from, equation, fields, message):
    text = BURGERS.replace("[coordinates]", f"fields = {fields}\n[coordinates]")
    text = text.replace("= nu*u_xx", "= nu*u_xx + v") if "v" in fields else text
    text = text.replace("[[conditions]]", f'more = "{equation}"\n[[conditions]]', 1) if equation else text
    found = [finding.message for finding in lint(problem_from(text)) if finding.key == "equations"]
    assert [words[: len(message or "")] for words in found] == ([message] if message else [])


def test_equations_that_hold_one_rate_each_are_solved_for_them_as_coupled_ones_are(problem_from):
    def system(equations: list[str]) -> str:
        lines = "".join(f'e{index} = "{text}"\n' for index, text in enumerate(equations))
        given = "".join(f'[[conditions]]\nwhere = "t = 0"\nequation = "{name} = 1"\n' for name in "uvw")
        return f'title = "s"\nfields = ["u", "v", "w"]\n[coordinates]\nt = [0, 1]\n[equations]\n{lines}{given}'

    single = evolution_of(problem_from(system(["2*v_t = w", "u_t = -v", "w_t/3 = u*v"])))
    coupled = evolution_of(problem_from(system(["2*v_t = w", "u_t + v_t = w/2 - v", "w_t/3 + v_t = w/2 + u*v"])))
    assert single is not None
    assert coupled is not None
    for name, rate in single.rates.items():
        assert sympy.expand(rate - coupled.rates[name]) == 0
    assert str(single.rates["v"]) == "w/2"
    assert evolution_of(problem_from(system(["v_t = w", "v_t = -u", "w_t = u*v"]))) is None  # u_t is not determined


# ----------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("assignment", "match"),
    [
        ("training.optimizer=lmm", "got 'lmm'; did you mean 'lm'"),
        ("training.optimizer=9", r"got '9'$"),
        (
            "device=gpu",
            "setting device: a device is 'auto', 'cpu', 'cuda', or one of several such as 'cuda:1', got 'gpu'",
        ),
        ("device=3", "setting device: a device is 'auto'"),
        ("netwrok.width=3", "unknown setting 'netwrok.width'; did you mean 'network.width'"),
        ("widht=3", "unknown setting 'widht'; did you mean 'network.width'"),
        ("network.width=3\nseed=4", "network.width"),
    ],
)
def test_a_setting_is_refused_with_what_it_may_have_been(assignment, match):
    with pytest.raises(SettingsError, match=match):
        resolve_settings(parse_assignments([assignment]))


def test_tables_that_stand_too_deep_in_each_other_are_refused_wherever_toml_is_read(tmp_path):
    (tmp_path / "c.toml").write_text(DEEP)
    with pytest.raises(SettingsError, match=r"c\.toml: not TOML: tables stand more than 16 deep"):
        read_settings_file(tmp_path / "c.toml")
    with pytest.raises(SettingsError, match="input should be a valid integer"):
        resolve_settings(parse_assignments(["network.width={a" + ".a" * 9000 + "=1}"]))
    with pytest.raises(RunFolderError, match=r"settings\.toml: not TOML .*16 deep"):
        read_toml(DEEP.encode(), "settings.toml")


# ------------------------------------------------------------------------------------------------- command line


@pytest.mark.parametrize("command", ["solve", "compare", "check", "show"])
def test_an_unknown_problem_is_told_before_anything_heavy_is_loaded(command):
    code = (
        "import sys; from pinnsolve.cli import run; status = run(sys.argv[1:]); "
        "heavy = {'torch', 'sympy', 'scipy', 'distributed'} & set(sys.modules); "
        "sys.exit(f'loaded {heavy}' if heavy else status)"
    )
    line = [sys.executable, "-c", code, command, "burgerz"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: unknown problem 'burgerz'; did you mean 'burgers'?\n")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--activation", "tahn"], "unknown activation 'tahn'; did you mean 'tanh'"),
        (["--device", "cuda:9999"], "device 'cuda:9999' is not there"),
        (["--optimizer", "lmm"], "did you mean 'lm'"),
        (["--require-error", "nan"], "--require-error takes a positive number, got nan"),
        (["--require-error", "0"], "--require-error takes a positive number, got 0"),
        (["--output", ""], "the name of a folder is empty; write . for the current one"),
        (["--mlflow", " "], "--mlflow takes the URI of a store"),
    ],
)
def test_what_cannot_be_used_is_refused_before_a_reference_is_computed(tmp_path, capsys, options, words):
    (tmp_path / "p.toml").write_text(DECAY)
    where = [] if "--output" in options else ["--output", str(tmp_path / "out")]
    assert run(["solve", str(tmp_path / "p.toml"), *where, *options]) in (2, 4)
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
    assert [path.name for path in tmp_path.iterdir()] == ["p.toml"]


def test_a_reference_is_announced_once_the_settings_are_known_to_serve(tmp_path, capsys):
    (tmp_path / "p.toml").write_text(DECAY + '[reference]\nsolver = "auto"\n')
    quick = ["--steps", "1", "--points", "16", "--width", "2", "--depth", "1", "--set", "audit.enabled=false"]
    assert run(["solve", str(tmp_path / "p.toml"), "--output", str(tmp_path), *quick]) == 0
    assert capsys.readouterr().err.startswith("reference: being computed by solve_ivp")


def test_a_store_of_runs_is_refused_before_there_is_one_where_its_extra_is_missing(monkeypatch):
    monkeypatch.setattr("pinnsolve.runs.tracking.find_spec", lambda _: None)
    with pytest.raises(ResourceError, match=r"--mlflow needs the extra: pip install 'pinnsolve\[mlflow\]'"):
        refuse_untracked("sqlite:///runs.db")
    with pytest.raises(InputError, match="takes the URI of a store"):
        refuse_untracked("")


def test_a_store_that_fails_costs_no_run_of_a_comparison(tmp_path, monkeypatch, capsys):
    def failing(*_: object) -> str:
        raise ResourceError("the store is down")

    (tmp_path / "p.toml").write_text(DECAY)
    monkeypatch.setattr("pinnsolve.runs.tracking.track", failing)
    monkeypatch.setattr("pinnsolve.comparison.batch.executed", executed_here)
    monkeypatch.setattr("pinnsolve.comparison.local_client", lambda _: nullcontext())
    quick = ["--steps", "1", "--points", "16", "--width", "2", "--set", "audit.enabled=false", "--jobs", "1"]
    arguments = ["compare", str(tmp_path / "p.toml"), "--seeds", "2", *quick, "-o", str(tmp_path / "out")]
    assert run([*arguments, "--mlflow", "sqlite:///x.db"]) == 0
    assert capsys.readouterr().err.count("warning: the store is down") == 2
    assert len(list((tmp_path / "out").rglob("metrics.json"))) == 2


# ------------------------------------------------------------------------------------------------------- points


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("x,y\n1,2\n", "the column 't' is missing; needed: x, t; the first line is 'x,y'"),
        ("x;t\n1;2\n", "the column 'x' is missing; needed: x, t; the first line is 'x;t'"),
        ("x,t,x\n1,2,3\n", "the column 'x' stands twice"),
        ("", "the column 'x' is missing"),
        ("x,t\n\n", "there are no points below the names"),
        ("x,t\n1\n", "line 2 has 1 cells, 2 are needed"),
        ("x,t\n0,0\n0,a\n", "line 3: not a number: .*'a'"),
        ("x,t\n0,\n", "line 2: not a number"),
        ("x,t\n0,-inf\n", "line 2: a coordinate is not finite"),
        ("x,t\n" + "1" * 200_000 + ",0\n", "cannot be read: field larger than"),
    ],
    ids=["other", "semicolon", "twice", "empty", "header", "ragged", "word", "gap", "infinite", "long"],
)
def test_a_file_of_points_is_refused_with_its_line(tmp_path, content, match):
    (tmp_path / "p.csv").write_text(content)
    with pytest.raises(InputError, match=rf"p\.csv: .*{match}"):
        file_points(tmp_path / "p.csv", ("x", "t"))


def test_columns_of_points_may_stand_in_any_order_among_others(tmp_path):
    (tmp_path / "p.csv").write_text("\ufeffname, t, x\na, 0.5, -1\n\nb, 2e-1, 1\n", encoding="utf-8")
    assert file_points(tmp_path / "p.csv", ("x", "t")).tolist() == [[-1, 0.5], [1, 0.2]]


def test_files_of_points_have_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr("pinnsolve.cli.points.MOST_POINTS", 3)
    (tmp_path / "p.csv").write_text("x\n" + "0\n" * 4)
    with pytest.raises(InputError, match="there are more than 3 points"):
        file_points(tmp_path / "p.csv", ("x",))
    with pytest.raises(InputError, match="the points cannot be read"):
        file_points(Path("/dev/zero"), ("x",))


@pytest.mark.parametrize(("text", "match"), [("3", "takes 2 numbers"), ("0,3", "takes 2"), ("9" * 5000 + ",1", "more")])
def test_a_grid_is_refused_that_is_none(problem_from, text, match):
    with pytest.raises(InputError, match=match):
        grid_points(text, problem_from(BURGERS))


def test_points_are_outside_beyond_the_ends_but_for_rounding_and_periodic_coordinates(problem_from):
    points = np.array([[0.0, 0.5], [1.1, 0.5], [0.0, -0.1], [1 + 1e-10, 1.0]])
    assert outside(points, problem_from(BURGERS)).tolist() == [False, True, True, False]
    periodic = BURGERS.replace("[coordinates]", 'periodic = ["x"]\n[coordinates]').split("[[conditions]]")
    assert outside(points, problem_from("[[conditions]]".join(periodic[:2]))).tolist() == [False, False, True, False]


def test_points_outside_are_told_and_a_folder_is_no_file_to_write(tmp_path, capsys):
    (tmp_path / "p.toml").write_text(DECAY + '[reference]\nexact = { u = "exp(-t)" }\n')
    quick = ["--steps", "1", "--points", "16", "--width", "2", "--depth", "1", "--set", "audit.enabled=false"]
    assert run(["solve", str(tmp_path / "p.toml"), "--output", str(tmp_path), "--name", "r", *quick]) == 0
    (tmp_path / "p.csv").write_text("t\n0.5\n7\n")
    predict = ["predict", str(tmp_path / "p/r"), "--points", str(tmp_path / "p.csv")]
    capsys.readouterr()
    assert run(predict) == 0
    warning = "warning: 1 of 2 points lie outside of the domain: values there are extrapolated\n"
    assert capsys.readouterr().err == warning
    for place in (".", "", str(tmp_path)):
        assert run([*predict, "--to", place]) == 2
        assert "cannot be written there (Is a directory); choose another place" in capsys.readouterr().err
    (tmp_path / "p/r/metrics.json").write_text('{"schema": 1, "fields": [1], "derivatives": 3, "problem": {}}')
    assert run(["report", str(tmp_path / "p/r")]) == 5
    assert "the numbers do not fit together" in capsys.readouterr().err


# -------------------------------------------------------------------------------------------- the other commands


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--activation", " ,"], "--activation takes names separated by commas, got none"),
        (["--alpha", "1e300"], "alpha must be positive, and 1e+100 at most, got 1e+300"),
        (["--network", "3x8", "--inputs", "1000000000"], "'--inputs'"),
        (["--network", "3x8", "--seed", str(2**70)], "'--seed'"),
    ],
)
def test_activations_are_refused_that_cannot_be_measured(arguments, words, capsys):
    assert run(["activations", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_memory_that_torch_cannot_have_is_a_missing_resource(monkeypatch, capsys):
    def allocating(*_: object) -> None:
        torch.empty(2**58)

    monkeypatch.setattr("pinnsolve.cli.browsing.list_command", allocating)
    assert run(["list"]) == 4
    assert capsys.readouterr().err.startswith("error: not enough memory")


def test_a_copied_problem_has_no_control_characters_in_its_title():
    text = 'title = "a\\u0000b\\u001b[31mc"\n'
    assert copied_text("new", text) == 'title = "a b [31mc, as changed in new"\n'


def test_changes_of_a_resumed_run_are_settings_and_no_fault_of_its_folder(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_settings({"seed": 3})
    assert saved_settings(folder, {"time_limit": 7.0}).time_limit == 7.0
    with pytest.raises(SettingsError, match=r"training\.steps: input should be greater than or equal to 0, got '-1'"):
        saved_settings(folder, {"training.steps": -1})
    folder.write_settings({"seed": -3})
    with pytest.raises(RunFolderError, match=r"settings\.toml cannot be used: setting seed"):
        saved_settings(folder)
