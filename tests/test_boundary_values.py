"""Values built in on domains that are no boxes: met exactly, with finite jets, refused where none would be smooth."""

import numpy as np
import pytest
import torch

from pinnsolve.derivatives import autograd, taylor
from pinnsolve.networks import derive_constraints
from pinnsolve.networks.prescribed import values_at
from pinnsolve.problems.partials import Partial
from pinnsolve.problems.places import Place
from pinnsolve.solving.preparation import build_ansatz
from pinnsolve.solving.settings import resolve_settings

HEAD = 'title = "t"\n[equations]\npoisson = "laplacian(u) = -1"\n'
HOLES = "disk(0.3, 0.3, 0.1) + disk(-0.3, 0.3, 0.1) + disk(0.3, -0.3, 0.1) + disk(-0.3, -0.3, 0.1)"
PLATE = f"""
[geometry]
plate = "rectangle(-0.5, 0.5, -0.5, 0.5)"
holes = "{HOLES}"
domain = "plate - holes"
"""
DOMAINS = {
    "four holes": PLATE,
    "ellipse": '[geometry]\ndomain = "ellipse(0.2, 0.1, 1, 0.5, 0.3)"',
    "triangle": '[geometry]\ndomain = "triangle(0, 0, 1, 0, 0.2, 0.9)"',
    "L": '[geometry]\ndomain = "polygon(-1, -1, 0, -1, 0, 0, 1, 0, 1, 1, -1, 1)"',
    "lens": '[geometry]\ndomain = "disk(0, 0, 1) & disk(1, 0, 1)"',
    "union": '[geometry]\ndomain = "rectangle(0, 2, 0, 1) + disk(2, 0.5, 0.3)"',
    "notch": '[geometry]\ndomain = "disk(0, 0, 1) - rectangle(-0.2, 0.2, 0, 2)"',
    "ball": '[geometry]\ndomain = "sphere(0, 0, 0, 1) - sphere(0.2, 0, 0, 0.4)"',
}


def condition(where, equation):
    return f"[[conditions]]\nwhere = {where!r}\nequation = {equation!r}\n"


@pytest.fixture(params=DOMAINS)
def problem(request, problem_from):
    return problem_from(HEAD + DOMAINS[request.param] + "\n" + condition("boundary", "u = 0"))


def on_boundary(problem, count=256):
    """Points of the boundary and the normals there, far from corners."""
    for part in problem.domain.parts():
        for side in part.single_sides:
            unit = np.random.default_rng(0).uniform(size=(count, part.dimension))
            points = side.placed(unit)
            points = points[np.isfinite(points).all(1)]
            step = 0.02 * problem.domain.size
            clear = np.ones(len(points), dtype=bool)
            for other in problem.domain.pieces:
                if other != side.pieces[0]:
                    clear &= np.abs(other.shape.depth(points)) > (0 if other.shape == side.pieces[0].shape else step)
            for vertex in problem.domain._vertices:
                clear &= np.linalg.norm(points - vertex, axis=1) > step
            if clear.any():
                yield points[clear], side.pieces[0].normals(points[clear])


def test_the_distance_vanishes_on_the_boundary_only(problem):
    constraints = derive_constraints(problem, "hard")
    assert not constraints.soft
    assert not constraints.notes
    distance = constraints.fields["u"].distance
    (inside,) = values_at([distance], problem, Place(problem).sobol(2**12, 0))
    assert inside.min() > 0
    assert inside.max() == pytest.approx(1, abs=0.06), "scaled to two digits"
    for points, normals in on_boundary(problem):
        values = [values_at([distance], problem, points - h * normals)[0] for h in (0.0, 1e-5, 2e-5)]
        size = problem.domain.size
        np.testing.assert_allclose(values[0], 0, atol=1e-13)
        # a simple zero: the slope at the boundary is neither zero nor infinite, the curvature there below 200 / size²
        slope = values[1] / 1e-5
        assert slope.min() > 0.02 / size
        np.testing.assert_allclose(values[2] / 2e-5, slope, rtol=200 * 1e-5 / size)


def test_jets_are_finite_on_the_boundary_and_those_of_autograd(problem, generator):
    constraints = derive_constraints(problem, "hard")
    ansatz = build_ansatz(problem, resolve_settings({}, {}), constraints, generator)
    dimension = len(problem.coordinates)
    eye = np.eye(dimension, dtype=int)
    partials = [Partial("u", tuple(row)) for row in (*eye, *(2 * eye), eye[0] + eye[1])]
    points = np.concatenate([Place(problem).sobol(64, 0), *(p[:16] for p, _ in on_boundary(problem))])
    tensor = torch.as_tensor(points)
    jet, oracle = taylor(ansatz, tensor, partials), autograd(ansatz, tensor, partials)
    for partial in partials:
        scale = oracle[partial].abs().max()
        assert torch.isfinite(jet[partial]).all()
        # corners amplify rounding: second derivatives grow as 1/r, quotients of them as 1/r²
        assert (jet[partial] - oracle[partial]).abs().max() < 1e-9 * scale


def test_different_values_on_separate_parts_are_interpolated(problem_from):
    text = HEAD + PLATE + condition("on plate", "u = x*y") + condition("on holes", "u = 1 + x")
    problem = problem_from(text)
    constraints = derive_constraints(problem)
    assert not constraints.soft
    for each, expected in zip(problem.conditions, ["x*y"] + ["1 + x"] * 4, strict=True):
        points = Place(problem, each).sobol(256, 1)
        x, y = points.T
        (lift,) = values_at([constraints.fields["u"].lift], problem, points)
        np.testing.assert_allclose(lift, x * y if expected == "x*y" else 1 + x, atol=1e-12)
    (lift,) = values_at([constraints.fields["u"].lift], problem, Place(problem).sobol(1024, 1))
    assert lift.min() > -0.26
    assert lift.max() < 1.51, "weights are positive and add up to 1"


def test_a_neumann_part_stays_soft_and_the_rest_is_built_in(problem_from):
    text = HEAD + PLATE + condition("on plate", "u = 0") + condition("on holes", "dn(u) = 1")
    constraints = derive_constraints(problem_from(text))
    assert [each.where for each in constraints.soft] == ["on disk 1", "on disk 2", "on disk 3", "on disk 4"]
    assert not constraints.notes
    distance = constraints.fields["u"].distance
    problem = problem_from(text)
    (hole,) = values_at([distance], problem, Place(problem, problem.conditions[1]).sobol(64, 0))
    assert hole.min() > 0.01


def test_flat_sides_of_a_plate_with_a_hole_can_have_their_own_values(problem_from):
    geometry = '[geometry]\nplate = "rectangle(0, 2, 0, 1)"\nhole = "disk(1, 0.5, 0.2)"\ndomain = "plate - hole"\n'
    sides = condition("x = 0", "u = 0") + condition("x = 2", "u = 1")
    rest = condition("on hole", "dn(u) = 0") + condition("y = 0", "dn(u) = 0") + condition("y = 1", "dn(u) = 0")
    problem = problem_from(HEAD + geometry + sides + rest)
    constraints = derive_constraints(problem)
    assert [each.where for each in constraints.soft] == ["on hole", "y = 0", "y = 1"]
    points = np.array([[0.0, 0.3], [2.0, 0.3], [1.0, 0.8]])
    lift, distance = values_at([constraints.fields["u"].lift, constraints.fields["u"].distance], problem, points)
    np.testing.assert_allclose(lift, [0, 1, 0.5], atol=1e-15)
    np.testing.assert_allclose(distance[:2], 0, atol=1e-15)
    assert distance[2] == pytest.approx(1, abs=0.06)


def test_time_is_built_in_on_top_of_the_boundary(problem_from):
    text = """
title = "t"
[coordinates]
t = [0, 1]
[geometry]
domain = "disk(0, 0, 1)"
[equations]
wave = "d(u, t, t) = laplacian(u)"
"""
    conditions = condition("t = 0", "u = (1 - x^2 - y^2)*exp(x)") + condition("t = 0", "u_t = 1 - x^2 - y^2")
    problem = problem_from(text + conditions + condition("boundary", "u = 0"))
    constraints = derive_constraints(problem)
    assert not constraints.soft
    points = Place(problem, problem.conditions[2]).sobol(64, 0)
    assert (
        np.abs(values_at([constraints.fields["u"].lift, constraints.fields["u"].distance], problem, points)).max()
        < 1e-13
    )
    start = Place(problem, problem.conditions[0]).sobol(64, 0)
    lift, distance = values_at([constraints.fields["u"].lift, constraints.fields["u"].distance], problem, start)
    x, y, _ = start.T
    np.testing.assert_allclose(lift, (1 - x**2 - y**2) * np.exp(x), atol=1e-13)
    np.testing.assert_allclose(distance, 0, atol=1e-15)


@pytest.mark.parametrize(
    ("geometry", "conditions", "reason"),
    [
        (
            '[geometry]\nplate = "rectangle(0, 2, 0, 1)"\ndomain = "plate - disk(1, 0.5, 0.2)"\n',
            condition("x = 0", "u = 0") + condition("y = 0", "u = x"),
            "it meets a side with another value",
        ),
        (
            '[geometry]\na = "rectangle(0, 1, 0, 1)"\nb = "rectangle(1, 2, 0, 2)"\ndomain = "a + b"\n',
            condition("boundary", "u = 0"),
            "the distance function vanishes inside",
        ),
        (
            '[geometry]\na = "disk(0, 0, 1)"\nb = "disk(1, 0, 1)"\ndomain = "a + b"\n',
            condition("on a", "u = 0"),
            "the other sides that the shape or union has",
        ),
        (
            PLATE,
            condition("on plate", "u = 0") + condition("x = 0.5", "u = 1"),
            "another condition gives another value",
        ),
        (PLATE, condition("on plate", "u = abs(x)"), "its data are not smooth"),
        (PLATE, condition("on holes", "u = sqrt(0.2 + x)"), "not finite"),
    ],
)
def test_values_that_no_smooth_form_meets_stay_soft_with_a_reason(problem_from, geometry, conditions, reason):
    constraints = derive_constraints(problem_from(HEAD + geometry + conditions), "hard")
    assert any(reason in note for note in constraints.notes), constraints.notes
    assert constraints.soft


@pytest.mark.parametrize(("name", "is_soft"), [("L", True), ("union", True), ("notch", True), ("lens", False)])
def test_values_at_reentrant_corners_are_built_in_on_request_only(problem_from, name, is_soft):
    problem = problem_from(HEAD + DOMAINS[name] + "\n" + condition("boundary", "u = 0"))
    constraints = derive_constraints(problem)
    assert bool(constraints.soft) == is_soft
    assert any("re-entrant corner" in note for note in constraints.notes) == is_soft
    assert not derive_constraints(problem, "hard").soft


def test_the_reference_is_never_built_in(problem_from):
    reference = '[reference]\nexact = { u = "x*y - x^2/2" }\n'
    text = HEAD + PLATE + condition("boundary", "u = exact(u)") + reference
    constraints = derive_constraints(problem_from(text))
    assert len(constraints.soft) == 5
    assert all("built in, they would be the answer" in note for note in constraints.notes)
    assert constraints.fields["u"].lift == 0


def test_fields_with_a_range_take_values_within_it(problem_from):
    text = HEAD.replace('title = "t"', 'title = "t"\n') + PLATE + "[fields.u]\nrange = [0, 2]\n"
    inside = derive_constraints(problem_from(text + condition("on plate", "u = 1")))
    assert not inside.soft
    outside = derive_constraints(problem_from(text + condition("on plate", "u = 2")))
    assert outside.soft
    assert "touch the end of the range" in outside.notes[0]
