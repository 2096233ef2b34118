"""Equations as a person writes them, and files to start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinnsolve.cli.browsing import new_command, show_command
from pinnsolve.errors import InputError, ResourceError
from pinnsolve.problems import load_problem, problem_files
from pinnsolve.problems.lint import lint
from pinnsolve.problems.notation import Latex, Terminal, Writer
from pinnsolve.problems.starting import KINDS
from pinnsolve.references import find_reference

LIBRARY = Path(__file__).parents[1] / "problems"
LINE = Writer(Terminal(("x", "t")), ("u", "v"), ("x", "t"))
PLANE = Writer(Terminal(("x", "y")), ("u", "p"), ("x", "y"))
TEX = Writer(Latex(), ("u", "p"), ("x", "y", "t"))


@pytest.mark.parametrize(
    ("text", "terminal", "latex"),
    [
        ("u_t + u*u_x = nu*u_xx", "uₜ + u uₓ = ν uₓₓ", r"u_{t} + u\,u_{x} = \nu\,u_{xx}"),
        ("u_tt - u_xx + u^3", "uₜₜ − uₓₓ + u³ = 0", "u_{tt} - u_{xx} + u^{3} = 0"),
        ("u = -2*3*x", "u = −2·3 x", r"u = -2 \cdot 3\,x"),
        ("u = x - (1 - x)", "u = x − (1 − x)", r"u = x - \left(1 - x\right)"),
        ("u = (1 + x)/(2*x)", "u = (1 + x)/(2 x)", r"u = \frac{1 + x}{2\,x}"),
        ("u = (x^2)^3 + (-x)^2", "u = (x²)³ + (−x)²", r"u = \left(x^{2}\right)^{3} + \left(-x\right)^{2}"),
        ("u = exp(-x/2)*sqrt(t)", "u = exp(−x/2) √(t)", r"u = \exp\left(\frac{-x}{2}\right)\,\sqrt{t}"),
        ("u = 1e-7*x^(t + 1)", "u = 1e-07 x^(t + 1)", r"u = 10^{-7}\,x^{t + 1}"),
        ("dn(u) = abs(x)", "∂ₙu = |x|", r"\partial_n u = \left|x\right|"),
        ("d((1 + x)*u_x, x) = 0", "∂((1 + x) uₓ)/∂x = 0", r"\left(\left(1 + x\right)\,u_{x}\right)_{x} = 0"),
        ("u_x2 = 1", "u_x2 = 1", r"u_{\mathrm{x2}} = 1"),
    ],
)
def test_equations_are_set_in_unicode_and_latex(text, terminal, latex):
    assert LINE.equation(text) == terminal
    assert TEX.equation(text) == latex


def test_coordinates_without_subscripts_are_written_as_fractions():
    assert PLANE.equation("u*u_x + p_y = laplacian(u)/Re") == "u ∂u/∂x + ∂p/∂y = Δu/Re"
    assert PLANE.equation("d(u, x, x, y) = biharmonic(u + 1)") == "∂³u/∂x² ∂y = Δ²(u + 1)"


@pytest.mark.parametrize("path", problem_files(LIBRARY), ids=lambda path: path.stem)
def test_every_problem_is_shown(path, capsys):
    show_command(str(path), None, latex=False)
    show_command(str(path), None, latex=True)
    printed = capsys.readouterr().out
    assert "conditions:" in printed
    assert printed.count("{") == printed.count("}")


@pytest.mark.parametrize("like", KINDS)
def test_a_new_file_passes_every_check_and_has_a_reference(tmp_path, capsys, like):
    new_command("mine", tmp_path, None, like)
    problem = load_problem("mine", tmp_path)
    assert lint(problem) == []
    assert max(find_reference(problem).errors.values()) < 1e-8
    assert "pinnsolve check mine" in capsys.readouterr().out


def test_a_new_file_from_another_problem_keeps_its_equations(tmp_path):
    (tmp_path / "burgers.toml").write_bytes((LIBRARY / "burgers.toml").read_bytes())
    new_command("mine", tmp_path, "burgers", None)
    mine, burgers = load_problem("mine", tmp_path), load_problem("burgers", tmp_path)
    assert mine.title == "Viscous Burgers equation, as changed in mine"
    assert [e.expression for e in mine.equations] == [e.expression for e in burgers.equations]


@pytest.mark.parametrize(
    ("name", "source", "like", "message"),
    [
        ("../x", None, None, "is not a name for a problem"),
        ("mine", None, "other", "unknown kind of problem 'other'; known: 1d-time, 2d-steady, ode"),
        ("mine", "burgers", "ode", "exclude each other"),
        ("there", None, None, "is there already"),
    ],
)
def test_a_new_file_that_cannot_be_is_refused(tmp_path, name, source, like, message):
    (tmp_path / "there.toml").write_text("")
    with pytest.raises(InputError, match=message):
        new_command(name, tmp_path, source, like)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot be written"):
        new_command("mine", tmp_path / "file", None, None)
