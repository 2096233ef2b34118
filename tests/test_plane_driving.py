"""Narrow sources on plane domains, and pulses of problems in time there, are in the references."""

from dataclasses import replace

import numpy as np

from pinnsolve.problems.places import Place
from pinnsolve.problems.problem import Reference
from pinnsolve.references import evolving_elements, exact_derivatives, finite_elements
from pinnsolve.references.grading import first_mesh
from pinnsolve.references.plane_driving import PlaneDriving
from pinnsolve.references.weak_form import weak_form

DISK = """
title = "t"
TIME
[geometry]
domain = "disk(0, 0, 1)"
[equations]
e = "EQUATION"
[[conditions]]
where = "boundary"
equation = "u = exact(u)"
START
[manufactured]
u = "EXACT"
"""


def disk(equation, exact, time=""):
    start = '[[conditions]]\nwhere = "t = 0"\nequation = "u = exact(u)"' if time else ""
    clock = f"[coordinates]\nt = {time}" if time else ""
    return DISK.replace("EQUATION", equation).replace("EXACT", exact).replace("TIME", clock).replace("START", start)


def true_error(problem, chart):
    points, value = Place(problem).sobol(2**11, 3), problem.partial("u")
    truth = exact_derivatives(problem, [value], points)[value]
    return np.linalg.norm(chart(points)["u"] - truth) / np.linalg.norm(truth)


def driving(problem):
    return PlaneDriving(problem, weak_form(problem))


def test_meshes_are_cut_where_they_do_not_show_a_narrow_source(problem_from):
    narrow = problem_from(disk("laplacian(u) = 0", "x + exp(-((x - 0.31)^2 + (y - 0.12)^2)/0.02^2)"))
    coarse, _ = first_mesh(narrow.domain, narrow.conditions)
    shown = driving(narrow).shown(coarse)
    middles, near = shown.p[:, shown.t].mean(axis=1), [[0.31], [0.12]]
    sizes = np.sqrt(np.abs(np.linalg.det((shown.p[:, shown.t[1:]] - shown.p[:, shown.t[:1]]).transpose(2, 0, 1))))
    distance = np.linalg.norm(middles - near, axis=0)
    assert sizes[distance < 0.02].max() < 0.04 < 0.1 < np.median(sizes[distance > 0.4])
    wide = problem_from(disk("laplacian(u) = 0", "sin(x)*exp(y)"))
    assert driving(wide).shown(coarse).t.shape == coarse.t.shape


def test_two_meshes_that_see_little_of_a_source_do_not_agree_on_an_answer_without_it(problem_from):
    problem = problem_from(disk("laplacian(u) = 0", "exp(-((x - 0.31)^2 + (y - 0.12)^2)/0.05^2)"))
    reference = finite_elements.solve(replace(problem, reference=Reference(solver="auto")), budget=1.0)
    error = true_error(problem, reference)
    assert error < 2 * reference.errors["u"]
    assert error < 1e-2


def test_steps_show_a_switch_in_a_source_and_on_the_boundary(problem_from):
    switched = problem_from(disk("u_t = laplacian(u)", "(1 - x^2 - y^2)*(1 + erf((t - 0.613)/0.005))", "[0, 1]"))
    on_boundary = problem_from(disk("u_t = laplacian(u)", "x*erf((t - 0.613)/0.005)", "[0, 1]"))
    still = problem_from(disk("u_t = laplacian(u)", "x*y", "[0, 1]"))
    # lines show exp(-z²) where they are half of its width long, and erf(z) where about one
    assert 1 / 1024 < driving(switched).longest_step <= 1 / 256
    assert 1 / 1024 < driving(on_boundary).longest_step <= 1 / 64
    assert driving(still).longest_step == 1.0


def test_a_switch_that_steps_would_pass_by_is_in_the_march(problem_from):
    problem = problem_from(disk("u_t = laplacian(u)", "(1 - x^2 - y^2)*(1 + erf((t - 0.613)/0.005))", "[0, 1]"))
    attempt = next(evolving_elements.resolutions(replace(problem, reference=Reference(solver="auto")), np.inf))
    assert true_error(problem, attempt.chart) < 1e-3
