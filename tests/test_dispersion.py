"""Which principal parts disperse: by their symbol, on equations whose waves are known."""

from __future__ import annotations

import pytest

from pinnsolve.problems.dispersion import is_dispersive
from pinnsolve.problems.library import load_problem
from pinnsolve.solving import resolve_settings
from pinnsolve.solving.headway import FIRST_MARCH, Headway

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


def test_dispersive_problems_begin_in_windows_unless_asked_otherwise():
    kdv, burgers = load_problem("kdv"), load_problem("burgers")

    def first(problem, **settings):
        chosen = resolve_settings({key.replace("__", "."): value for key, value in settings.items()})
        return Headway.of(problem, chosen).first_count(problem, chosen.window_count)

    assert (first(kdv), first(burgers)) == (FIRST_MARCH, 1)
    assert (first(kdv, training__windows=3), first(kdv, training__windows=1)) == (3, 1)
    assert first(kdv, training__optimizer="adam") == 1
    assert first(kdv, training__steps=20) == 1  # too few for eight windows
