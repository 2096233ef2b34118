"""What `check` tells of a problem's reference: its error, or why there is none."""

import re

import numpy as np
import pytest

from pinnsolve.cli.checking import check_command
from pinnsolve.errors import RequirementError
from pinnsolve.problems import load_problem
from pinnsolve.references import find_reference, finite_elements, obstacle, obstacles

from .test_lint import HEAT, without_reference

PLANE = """
title = "t"
[geometry]
domain = "disk(0, 0, 1)"
[equations]
e = "laplacian(u) = 1"
[[conditions]]
where = "boundary"
equation = "u = 0"
"""
BALL = PLANE.replace("disk(0, 0, 1)", "sphere(0, 0, 0, 1)")
PLATE = PLANE.replace("laplacian(u)", "biharmonic(u)")
CUBE = """
title = "t"
[coordinates]
a = [0, 1]
b = [0, 1]
c = [0, 1]
f = [0, 1]
[equations]
e = "laplacian(u) = 1"
[[conditions]]
where = "boundary"
equation = "u = 0"
"""


def reference_line(tmp_path, capsys, text, compute=False):
    """What `check` says of the reference of this text, and all that it prints."""
    path = tmp_path / "mine.toml"
    path.write_text(text)
    check_command([str(path)], None, {}, json=False, references=compute)
    return capsys.readouterr().out


def test_check_tells_the_reference_its_error_and_what_it_took(tmp_path, capsys):
    text = without_reference(HEAT)
    assert "; reference chebyshev, not computed yet\n" in reference_line(tmp_path, capsys, text)
    computed = reference_line(tmp_path, capsys, text, compute=True)
    error, seconds = re.search(r"; reference chebyshev, error (\S+), (\S+) s\n", computed).groups()
    reference = find_reference(load_problem(tmp_path / "mine.toml"))
    assert float(error) == pytest.approx(reference.errors["u"], rel=0.06)
    assert float(seconds) > 0
    assert "; reference exact\n" in reference_line(tmp_path, capsys, HEAT)
    assert "; reference none\n" in reference_line(tmp_path, capsys, text + '\n[reference]\nsolver = "none"\n')


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BALL, "finite elements here are for plane domains, this one has 3 dimensions and needs a mesher"),
        (PLATE, "finite elements here take an equation for each field, of first order in time"),
        (CUBE, "classical solvers here take at most 3 coordinates, the problem has 4"),
    ],
)
def test_check_tells_why_there_is_no_reference_and_what_can_be_done(tmp_path, capsys, text, reason):
    printed = reference_line(tmp_path, capsys, text)
    assert f"warning: reference: none: {reason}" in printed
    assert "-> give [reference] exact = {...}" in printed


def test_a_solver_that_comes_to_nothing_is_named(problem_from):
    text = PLANE.replace('equation = "u = 0"', 'equation = "dn(u) = 0"')  # ∫ 1 = ∮ ∂u/∂n = 0 is impossible
    problem = problem_from(text)
    assert find_reference(problem) is None
    assert obstacle(problem)[0] == "finite elements came to no solution"


def test_without_scikit_fem_the_remedy_is_to_install_it(problem_from, monkeypatch):
    for module in (finite_elements, obstacles):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert obstacle(problem_from(PLANE)) == ("finite elements need scikit-fem", "pip install pinnsolve[fem]")


def test_a_rough_reference_is_a_warning(tmp_path, capsys):
    np.savez(tmp_path / "values.npz", t=np.linspace(0, 1, 9), x=np.linspace(0, 2, 9), u=np.zeros((9, 9)))
    text = without_reference(HEAT) + '\n[reference]\nfile = "values.npz"\n'
    assert "file, its own error is not known" in reference_line(tmp_path, capsys, text)
    assert "; reference file, error 1.0e-07\n" in reference_line(tmp_path, capsys, text + "error = 1e-7\n")
    rough = reference_line(tmp_path, capsys, text + "error = 1e-3\n")
    assert "warning: reference: file, error 1.0e-03\n    -> smaller errors of a solution" in rough
    (tmp_path / "values.npz").write_text("no archive")
    with pytest.raises(RequirementError, match="check failed for mine"):
        reference_line(tmp_path, capsys, text)
