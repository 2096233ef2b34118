from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pinnsolve.errors import InputError, ProblemError
from pinnsolve.problems import Partial, load_problem, problem_files, read_outline
from pinnsolve.problems.library import problem_path, shipped_problems
from pinnsolve.problems.lint import lint
from pinnsolve.problems.loading import load_problem_file, parse_problem

from .conftest import BURGERS


def test_burgers_is_read_as_it_is_written(problem_from):
    problem = problem_from(BURGERS)
    (equation,) = problem.equations
    assert [p.name(problem.coordinate_names) for p in equation.partials] == ["u", "u_t", "u_x", "u_xx"]
    assert problem.order == 2
    assert problem.time_axis == 1
    assert not equation.is_linear
    assert len(problem.conditions) == 3


def test_residuals_of_a_jet_are_the_equation(problem_from):
    problem = problem_from(BURGERS)
    from pinnsolve.problems.formulas import numpy_functions

    jet = {Partial("u", (0, 0)): 2.0, Partial("u", (0, 1)): 3.0, Partial("u", (1, 0)): 5.0, Partial("u", (2, 0)): 7.0}
    arrays = {partial: np.array([value]) for partial, value in jet.items()}
    value = problem.equations[0](numpy_functions(), [np.zeros(1), np.zeros(1)], arrays)
    assert value == pytest.approx([3 + 2 * 5 - 0.01 / np.pi * 7], rel=1e-15)


def _refused(text: str, match: str) -> None:
    with pytest.raises(ProblemError, match=match) as caught:
        parse_problem(text.encode(), Path("test.toml"))
    assert "test.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("title =", "titel =", "unknown key 'titel'; did you mean 'title'"),
        ('title = "Burgers"', "", "title: the key is missing"),
        ("x = [-1, 1]", "x = [1, 1]", r"coordinates.x: an interval needs lower < upper, got \[1, 1\]"),
        ("x = [-1, 1]", "x = [1, -1]", "lower < upper"),
        ("x = [-1, 1]", "x = [-1]", "two ends, got 1"),
        ("x = [-1, 1]", "x = [-1, nan]", "not a finite number"),
        ("x = [-1, 1]", "x = [-1, 1e400]", "not a finite number"),
        ("x = [-1, 1]", "x = [-1, true]", r"coordinates\.x\[2\]: input should be .*, got 'True'"),
        ("x = [-1, 1]", "x = [0, 1e-320]", r"coordinates\.x: .* length from 1e-60 to 1e\+60"),
        ("x = [-1, 1]", "x = [-1e308, 1e308]", "length from 1e-60"),
        ("x = [-1, 1]", "x = [1e9, 1000000000.01]", r"1e-10 of its ends at least; got \[1000000000, 1000000000.0"),
        ('where = "t = 0"', "where = 0", r"conditions\[1\]\.where: input should be a valid string, got '0'"),
        ("nu*u_xx", "nu*u_xx +", r"not an expression: 'nu\*u_xx \+', column 11"),
        ("nu*u_xx", "log(-1)*u_xx", "a constant part of the expression is not a finite real number"),
        ("x = [-1, 1]", "sin = [-1, 1]", "'sin' already has a meaning"),
        ("[coordinates]", "periodic = ['y']\n[coordinates]", "unknown coordinate 'y'"),
        ("u_t +", "u_y +", "equations.burgers: unknown name 'u_y'"),
        ('"u = 0"', '"0 = 0"', "no field stands in"),
        ('"u = 0"', '"u = v"', "unknown name 'v'"),
        ("x = -1", "x = -2", "'x = -2' is not a face"),
        ("x = -1", "y = -1", "unknown coordinate 'y'"),
        ('"t = 0"', '"on hole"', "needs a geometry"),
        ('"t = 0"', '"somewhere"', "is not a place"),
        ("[constants]", "[geometry]\nplate = 'disk(0,0)'\n[constants]", "disk cannot be made of 2 numbers"),
        ("[constants]", "[unknowns]\nk = {initial=1}\n[constants]", "unknowns: not yet supported"),
        ("[constants]", "[constants]\nu_x = 1", "also names a derivative"),
        ("[constants]", "[constants]\nnu = 1", "not TOML"),
        ("[constants]", "fields = []\n[constants]", "coordinates.fields"),
        ("title =", "fields = ['u', 'v']\ntitle =", "'v' stands in no equation"),
        ("title =", "fields = ['u', 'u']\ntitle =", "stands twice"),
        ("[equations]", "[reference]\nexact = {v = 'x'}\n[equations]", "unknown field 'v'"),
        ("[equations]", "[reference]\nfile = '../../etc/passwd'\n[equations]", "outside the folder"),
        ("[equations]", "[reference]\nfile = 'missing.npz'\n[equations]", "no file 'missing.npz'"),
        ("[equations]", "[reference]\nsolver = 'auto'\nfile = 'a'\n[equations]", "exclude each other"),
    ],
)
def test_a_wrong_file_is_refused_with_file_key_and_value(old, new, match):
    assert old in BURGERS
    _refused(BURGERS.replace(old, new, 1), match)


def test_conditions_on_the_boundary_of_a_periodic_coordinate_are_refused():
    _refused(BURGERS.replace("title =", 'periodic = ["x"]\ntitle =', 1), "periodic and has no boundary")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"\xff\xfe\x00", "byte 0 is not UTF-8"),
        (b"a = [" + b"[" * 5000, "arrays or tables stand too deep in each other"),
        (b"a = " + b"9" * 5000, r"a number cannot be read: .* has 5000 digits$"),
        (b"x" * 300_000, "the file has more than 262144 bytes"),
        (b"a = 1\na = 2", "not TOML: Cannot overwrite a value"),
        (b" \n", "the file is empty"),
        (b"source = ''", "title: the key is missing"),
        (b"title = 3", "title: input should be a valid string"),
    ],
    ids=["not UTF-8", "deep nesting", "digits", "too large", "duplicate key", "empty", "no title", "wrong type"],
)
def test_broken_files_are_refused(content, match):
    with pytest.raises(ProblemError, match=rf"test\.toml: {match}"):
        parse_problem(content, Path("test.toml"))


def test_byte_order_mark_and_carriage_returns_are_read():
    problem = parse_problem(b"\xef\xbb\xbf" + BURGERS.replace("\n", "\r\n").encode(), Path("test.toml"))
    assert problem.title == "Burgers"


def test_names_and_paths(tmp_path, monkeypatch):
    (tmp_path / "mine.toml").write_text(BURGERS)
    assert load_problem("mine", tmp_path).name == "mine"
    assert load_problem(tmp_path / "mine.toml").name == "mine"
    monkeypatch.setenv("PINNSOLVE_PROBLEMS", str(tmp_path))
    assert load_problem("mine").title == "Burgers"
    with pytest.raises(InputError, match="did you mean 'mine'"):
        load_problem("mime")


@pytest.mark.parametrize("name", ["../../secret", "a/../b", "a\0b", "x" * 5000, ""])
def test_a_name_is_never_a_path(name, tmp_path):
    with pytest.raises(InputError, match="unknown problem"):
        load_problem(name, tmp_path)


@pytest.mark.parametrize("name", ["größe", "a b", "-x"])
def test_every_file_of_the_folder_has_a_name(name, tmp_path):
    (tmp_path / f"{name}.toml").write_text(BURGERS)
    assert load_problem(name, tmp_path).name == name


def test_a_path_that_is_none_is_refused_and_a_file_without_end_is_not_read_to_its_end(tmp_path):
    with pytest.raises(ProblemError, match="cannot be read: embedded null byte"):
        load_problem("a\0.toml")
    (tmp_path / "endless.toml").symlink_to("/dev/zero")
    with pytest.raises(ProblemError, match="more than 262144 bytes"):
        load_problem(tmp_path / "endless.toml")


def test_a_data_file_behind_a_link_is_outside(tmp_path):
    folder = tmp_path / "problems"
    folder.mkdir()
    (tmp_path / "secret.npz").write_bytes(b"")
    (folder / "data.npz").symlink_to(tmp_path / "secret.npz")
    (folder / "p.toml").write_text(BURGERS + '[reference]\nfile = "data.npz"\n')
    with pytest.raises(ProblemError, match="outside the folder"):
        load_problem_file(folder / "p.toml")


@pytest.mark.parametrize("path", problem_files(), ids=lambda path: path.stem)
def test_the_outline_agrees_with_the_problem(path):
    problem, outline = load_problem_file(path), read_outline(path)
    assert outline.order == problem.order
    assert outline.coordinates == problem.coordinate_names


@pytest.mark.parametrize("path", problem_files(), ids=lambda path: path.stem)
def test_lint_finds_no_error_in_our_own_problems(path):
    assert [finding for finding in lint(load_problem_file(path)) if finding.level == "error"] == []


HEAT = """
title = "heat"
[coordinates]
x = [0, 1]
t = [0, 1]
[constants]
k = 0.25
[equations]
heat = "u_t = k*u_xx"
[[conditions]]
where = "t = 0"
equation = "u = exact(u)"
[[conditions]]
where = "boundary"
equation = "u = 0"
[reference]
exact = { u = "exp(-k*pi**2*t)*sin(pi*x)" }
"""


def test_lint_accepts_the_heat_equation(problem_from):
    assert lint(problem_from(HEAT)) == []


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("u_t = k*u_xx", "u_t = -k*u_xx", "residual of 2"),
        ("sin(pi*x)", "cos(pi*x)", "residual of 1"),
        ('where = "boundary"', 'where = "x = 0"', "order 2 in x; there are 1 conditions"),
        ("k = 0.25", "k = 0.25\nc = 3", "'c' is used nowhere"),
    ],
)
def test_lint_finds_planted_faults(problem_from, old, new, match):
    import re

    messages = [finding.message for finding in lint(problem_from(HEAT.replace(old, new)))]
    assert any(re.search(match, message) for message in messages), messages


def test_a_manufactured_solution_solves_its_equation(problem_from):
    text = BURGERS.replace("[equations]", '[manufactured]\nu = "sin(pi*x)*exp(-t) + x*t**2"\n[equations]')
    found = [finding for finding in lint(problem_from(text)) if "equations" in finding.key]
    assert found == []


def test_restricted_conditions_hold_on_a_part_of_a_face(problem_from):
    text = HEAT.replace('where = "boundary"', 'where = ["x = 0 and t < 0.5", "x = 1 and 0.2 < t < 0.5"]')
    condition = problem_from(text).conditions[2]
    points = np.array([[1.0, 0.1], [1.0, 0.3], [1.0, 0.6]])
    assert condition.restrictions[0].holds(points).tolist() == [False, True, False]


def test_a_problem_of_ones_own_hides_no_other_that_came_with_the_package(tmp_path, monkeypatch):
    own = tmp_path / "problems"
    own.mkdir()
    text = (shipped_problems() / "logistic.toml").read_text()
    (own / "mine.toml").write_text(text)
    (own / "heat.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PINNSOLVE_PROBLEMS", raising=False)
    assert problem_path("mine") == Path("problems/mine.toml")
    assert problem_path("heat") == Path("problems/heat.toml")
    assert problem_path("burgers") == shipped_problems() / "burgers.toml"
    with pytest.raises(InputError, match="unknown problem 'burgers'"):
        problem_path("burgers", own)  # a folder that is named is the only one
