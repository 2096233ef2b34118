"""Finite elements on curved triangles: their order, known values, what they refuse."""

import numpy as np
import pytest

from pinnsolve.problems.places import Place
from pinnsolve.references import find_reference, finite_elements
from pinnsolve.references.meshing import boundary_curves, coarse_mesh, projected
from pinnsolve.references.weak_form import weak_form


def solutions(problem, levels):
    found = []
    for attempt in finite_elements._attempts(problem):
        found.append(attempt.chart)
        if len(found) == levels:
            return found
    raise AssertionError(f"{len(found)} of {levels} levels")


def annulus(equation, inside, exact, source="0"):
    return f"""
title = "t"
[geometry]
wall = "disk(0.1, 0, 1)"
bore = "ellipse(0, 0, 0.5, 0.3, 0.4)"
domain = "wall - bore"
[equations]
e = "{equation} = {source}"
[[conditions]]
where = "on wall"
equation = "u = exact(u)"
[[conditions]]
where = "on bore"
equation = "{inside}"
[manufactured]
u = "{exact}"
"""


CASES = {
    "robin": ("-laplacian(u)", "dn(u) + 2*u = dn(exact(u)) + 2*exact(u)"),
    "anisotropic": ("2*u_xx + u_xy + u_yy + x*u_x - u", "u = exact(u)"),
    "divergence": ("d((2 + x*y)*u_x, x) + d((2 + x*y)*u_y, y)", "(2 + x*y)*dn(u) = (2 + x*y)*dn(exact(u))"),
    "semilinear": ("laplacian(u) - sinh(2*u) - u*u_x", "dn(u) = dn(exact(u))"),
}


@pytest.mark.parametrize("case", CASES)
def test_errors_fall_by_the_third_order_of_curved_edges(problem_from, case):
    equation, inside = CASES[case]
    problem = problem_from(annulus(equation, inside, "sin(2*x + 1)*cosh(y)*cos(y)"))
    charts = solutions(problem, 2)
    points = Place(problem).sobol(2**11, 0)
    x, y = points.T
    truth = np.sin(2 * x + 1) * np.cosh(y) * np.cos(y)
    errors = [np.linalg.norm(chart(points)["u"] - truth) / np.linalg.norm(truth) for chart in charts]
    assert errors[1] < 2e-6
    # quadratic edges leave an ellipse by O(h³); on so coarse a mesh half an order is lost
    assert errors[0] / errors[1] > 2**2.5


def test_the_l_shape_meets_the_published_value(problem_from):
    """Gopal, Trefethen (2019): u(0.99 + 0.99i) = 1.02679192610..., close to the singular corner."""
    text = """
title = "t"
[geometry]
domain = "polygon(0, 0, 2, 0, 2, 1, 1, 1, 1, 2, 0, 2)"
[equations]
laplace = "laplacian(u) = 0"
[[conditions]]
where = "boundary"
equation = "u = x^2"
"""
    charts = solutions(problem_from(text), 2)
    value = charts[1](np.array([[0.99, 0.99]]))["u"][0]
    assert value == pytest.approx(1.0267919261, abs=2e-6)


def test_the_reference_tells_its_error_and_comes_from_the_cache(problem_from):
    text = annulus("-laplacian(u)", "dn(u) = 0", "0").replace('[manufactured]\nu = "0"', "").replace("exact(u)", "x")
    problem = problem_from(text)
    reference = find_reference(problem)
    assert reference.solver == "finite elements"
    assert reference.errors["u"] < 1e-6
    again = find_reference(problem)
    points = Place(problem).sobol(64, 5)
    np.testing.assert_array_equal(again(points)["u"], reference(points)["u"])
    assert again.seconds == reference.seconds
    outside = np.array([[0.0, 0.0], [2.0, 0.0]])
    assert np.isnan(reference(outside)["u"]).all()


def test_the_mesh_covers_the_domain_and_its_nodes_lie_on_the_boundary(problem_from):
    problem = problem_from(annulus("-laplacian(u)", "u = 0", "x"))
    domain = problem.domain
    curves = boundary_curves(domain, problem.conditions)
    assert len(curves) == 2
    assert all(curve.is_closed for curve in curves)
    nodes, triangles, corners = coarse_mesh(domain, curves)
    assert len(corners) == 0
    sides = nodes[triangles][:, 1:] - nodes[triangles][:, :1]
    area = 0.5 * np.abs(np.linalg.det(sides)).sum()
    # chords of n edges take (2π/n)²/6 of a disk: at least 24 edges around the wall, 8 around the bore
    assert area == pytest.approx(np.pi * (1 - 0.15), rel=0.05)
    chords = np.stack([curves[1].points(np.array([0.0, 0.1])), curves[1].points(np.array([0.5, 0.6]))])
    moved = projected(domain, chords, chords.mean(axis=1))
    assert np.abs(curves[1].piece.shape.depth(moved)).max() < 1e-14
    assert np.linalg.norm(moved - chords.mean(axis=1), axis=1).min() > 1e-3


def test_boundaries_are_cut_where_conditions_change(problem_from):
    text = """
title = "t"
[geometry]
domain = "rectangle(0, 2, 0, 1) - disk(1, 1, 0.5)"
[equations]
e = "laplacian(u) = 0"
[[conditions]]
where = ["boundary and x < 1.2"]
equation = "u = 0"
[[conditions]]
where = ["boundary and x > 1.2"]
equation = "u = 1"
"""
    problem = problem_from(text)
    curves = boundary_curves(problem.domain, problem.conditions)
    ends = np.concatenate([curve.points(np.array([0.0, 1.0])) for curve in curves])
    depth = 1 - np.sqrt(0.25 - 0.04)
    for corner in ([0, 0], [2, 0], [0, 1], [2, 1], [0.5, 1], [1.5, 1], [1.2, 0], [1.2, depth]):
        assert np.sum(np.linalg.norm(ends - corner, axis=1) < 1e-5) == 2, corner


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("-laplacian(u)", "-laplacian(u)^2"),
        ("-laplacian(u)", "biharmonic(u)"),
        ("dn(u) = 0", "dn(u)^2 = 1"),
        ("dn(u) = 0", "laplacian(u) = 1"),
        ("dn(u) = 0", "sin(u) = 1"),
    ],
)
def test_other_forms_have_no_weak_form(problem_from, old, new):
    text = annulus("-laplacian(u)", "dn(u) = 0", "x*y")
    assert weak_form(problem_from(text)) is not None
    assert weak_form(problem_from(text.replace(old, new))) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('where = "on bore"', 'where = "on bore and x < 0"'),
        ("dn(u) = 0", "u_x = 1"),
    ],
)
def test_what_cannot_be_solved_has_no_reference(problem_from, old, new):
    text = annulus("-laplacian(u)", "dn(u) = 0", "x").replace('[manufactured]\nu = "x"', "").replace("exact(u)", "x")
    assert find_reference(problem_from(text.replace(old, new))) is None
