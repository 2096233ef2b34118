"""Which principal parts disperse: by their symbol, on equations whose waves are known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pinnsolve.problems.dispersion import is_dispersive
from pinnsolve.problems.library import load_problem
from pinnsolve.problems.lint_growth import growth_findings
from pinnsolve.solving import resolve_settings
from pinnsolve.solving.headway import Headway

LINE = """
title = "t"
{fields}
[coordinates]
x = [0, 1]
{more}t = [0, 1]
[equations]
{equations}
"""


def _problem(problem_from, *equations, fields=("u",), plane=False):
    lines = "\n".join(f'e{index} = "{equation}"' for index, equation in enumerate(equations))
    more = "y = [0, 1]\n" if plane else ""
    return problem_from(LINE.format(fields=f"fields = {list(fields)}", more=more, equations=lines))


@pytest.mark.parametrize(
    ("equation", "disperses"),
    [
        ("u_t + u*u_x + 0.1*u_xxx = 0", True),
        ("u_t + u*u_x = 0.1*u_xx", False),
        ("u_t + u*u_x + u_xx + u_xxxx = 0", False),  # the fourth derivative damps
        ("u_t + u_xxxxx = u_xx", True),  # fifth order leads, the damping is of lower order
        ("u_t + u_xxx = u_xxxx", False),
        ("u_t + u*u_x = 0", False),  # no order of 2 or more
        ("u_tt = u_xx - sin(u)", False),  # not of first order in time
        ("u_t + u*u_xxx = 0", False),  # no constant principal part
        ("u_t + (1 + x)*u_xxx = 0", False),
        ("u_xx = u**3", False),  # nothing evolves
    ],
)
def test_an_equation_disperses_if_its_principal_part_damps_nothing(problem_from, equation, disperses):
    assert is_dispersive(_problem(problem_from, equation)) == disperses


def test_systems_disperse_by_the_eigenvalues_of_their_symbol(problem_from):
    fields = ("u", "v")
    schroedinger = ("u_t = -0.5*v_xx - v*(u**2 + v**2)", "v_t = 0.5*u_xx + u*(u**2 + v**2)")
    assert is_dispersive(_problem(problem_from, *schroedinger, fields=fields))
    diffusion = (schroedinger[0], schroedinger[1].replace("= 0.5", "= -0.5"))
    assert not is_dispersive(_problem(problem_from, *diffusion, fields=fields))  # real rates of either sign
    assert not is_dispersive(_problem(problem_from, "u_t = v_xx", "v = u", fields=fields))  # v does not evolve
    plane = [equation.replace("v_xx", "laplacian(v)").replace("u_xx", "laplacian(u)") for equation in schroedinger]
    assert is_dispersive(_problem(problem_from, *plane, fields=fields, plane=True))
    mixed = [equation.replace("0.5*v_xx", "0.5*(v_xx + v_yy) + u_yy") for equation in schroedinger]
    assert not is_dispersive(_problem(problem_from, *mixed, fields=fields, plane=True))  # damped along y


def test_dispersive_waves_have_to_be_solved_better_before_they_may_stagnate(problem_from):
    watches = [Headway.of(load_problem(name), resolve_settings({})) for name in ("kdv", "burgers")]
    assert [watch.is_dispersive for watch in watches] == [True, False]
    for watch, missing in zip(watches, (True, False), strict=True):
        assert not watch.is_missing(SimpleNamespace(step=100, used=0.05, best_held_out=1e-6))
        assert watch.is_missing(SimpleNamespace(step=100, used=0.3, best_held_out=1e-7)) == missing
        assert not watch.is_missing(SimpleNamespace(step=100, used=0.3, best_held_out=1e-10))
    asked = Headway.of(load_problem("kdv"), resolve_settings({"training.windows": 1}))
    assert not asked.is_missing(SimpleNamespace(step=100, used=0.3, best_held_out=1.0))


# --- waves that grow -------------------------------------------------------------------------------------------------

CONDITION = """
[[conditions]]
where = "t = {time}"
equation = "{field} = x*(1 - x)"
"""


def _with_conditions(problem_from, *equations, fields=("u",), times=(0,)):
    lines = "\n".join(f'e{index} = "{equation}"' for index, equation in enumerate(equations))
    conditions = "".join(CONDITION.format(time=time, field=field) for field in fields for time in times)
    return problem_from(LINE.format(fields=f"fields = {list(fields)}", more="", equations=lines) + conditions)


@pytest.mark.parametrize(
    ("equation", "at_start", "at_end"),
    [
        ("u_t = 0.1*u_xx", False, True),
        ("u_t = -0.1*u_xx", True, False),
        ("u_t + 0.1*u_xx = u*u_x", True, False),
        ("u_t = -u_xx - u_xxxx - u*u_x", False, True),  # the fourth derivative damps
        ("u_t = u_xxxx", True, False),
        ("u_t + 6*u*u_x + u_xxx = 0", False, False),  # waves travel
        ("u_t + u_x = 0", False, False),
        ("u_t = (x - 0.5)*u_xx", True, True),  # of either sign somewhere
        ("u_t = (1 + x)*u_xx", False, True),
        ("u_t = sqrt(abs(x))*exp(-x)*u_xx + log(1 + x)", False, True),
        ("u_t = log(x - 2)*u_xx", False, False),  # no number: other findings tell that
        ("u_t = max(log(x - 2), log(x - 3))*u_xx", False, False),
        ("log(x - 2)*u_t = u_xx", False, False),
        ("u_t = (1 + u^2)*u_xx", False, False),  # unknown: it depends on the field
        ("u_tt = -u_xx", False, False),  # not of first order in time: nothing is said
        ("u_t = u^2", False, False),
    ],
)
def test_short_waves_that_grow_without_bound_are_told(problem_from, equation, at_start, at_end):
    assert bool(growth_findings(_with_conditions(problem_from, equation))) == at_start
    assert bool(growth_findings(_with_conditions(problem_from, equation, times=(1,)))) == at_end
    assert growth_findings(_with_conditions(problem_from, equation, times=(0, 1))) == []


def test_growing_waves_of_systems_are_told(problem_from):
    fields = ("u", "v")
    assert growth_findings(_with_conditions(problem_from, "u_t = v_x", "v_t = u_x", fields=fields)) == []
    assert growth_findings(_with_conditions(problem_from, "u_t = v_x", "v_t = -u_x", fields=fields))  # Cauchy-Riemann
    assert growth_findings(_with_conditions(problem_from, "u_t = v_xx", "v_t = -u_xx", fields=fields)) == []
    assert growth_findings(_with_conditions(problem_from, "u_t = v", "v_t = -u_xxxx", fields=fields)) == []  # a beam


def test_no_problem_of_the_folder_is_called_ill_posed():
    from pinnsolve.problems.library import problem_files

    assert {path.stem for path in problem_files() if growth_findings(load_problem(path))} == set()
