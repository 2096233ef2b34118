"""Geometry in words: what lies inside, where the boundary is, which way its normals point."""

import os
import subprocess
import sys

import numpy as np
import pytest
import sympy
import torch
from scipy import stats

from pinnsolve.audit.sample import audit_sample
from pinnsolve.errors import ProblemError
from pinnsolve.evaluation import evaluation_points, scattered_points
from pinnsolve.problems.expressions import Scope
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.problems.geometry import read_domain
from pinnsolve.problems.lint import lint
from pinnsolve.problems.places import Place
from pinnsolve.training.sampling import Sampler

X, Y, Z = sympy.symbols("x y z", real=True)
HOLES = "a + b + disk(0.3, -0.3, r) + disk(-0.3, -0.3, r)"
PLATE = {
    "plate": "rectangle(-0.5, 0.5, -0.5, 0.5)",
    "a": "disk(0.3, 0.3, r)",
    "b": "disk(-0.3, 0.3, r)",
    "domain": f"plate - ({HOLES})",
}
POISSON = """
title = "Poisson"
[constants]
r = 0.1
[geometry]
{geometry}
[equations]
poisson = "laplacian(u) = -1"
{conditions}
"""
REGIONS = [
    "disk(0.2, -0.1, 0.7)",
    "ellipse(0, 0.1, 0.9, 0.3)",
    "ellipse(0.1, 0, 0.8, 0.4, pi/6)",
    "triangle(0, 0, 1, 0, 0.2, 0.9)",
    "triangle(0, 0, 0.2, 0.9, 1, 0)",
    "polygon(-1, -1, 0, -1, 0, 0, 1, 0, 1, 1, -1, 1)",
    "polygon(0, 0, 4, 0, 4, 3, 3, 3, 3, 1, 1, 1, 1, 3, 0, 3)",
    "polygon(0, 0, 3, 0, 3, 1, 1, 1, 1, 2, 2, 2, 2, 3, 1, 3, 1, 4, 3, 4, 3, 5, 0, 5)",
    "rectangle(0, 2, 0, 1) - disk(1, 0.5, 0.25)",
    "rectangle(0, 2, 0, 1) + disk(2, 0.5, 0.25) & rectangle(-1, 3, 0.2, 2)",
    "disk(0, 0, 1) & disk(0.5, 0, 1)",
    "disk(0, 0, 1) - (rectangle(0, 1, 0, 1) - disk(0.4, 0.4, 0.2))",
]


def domain_of(table, symbols=(X, Y)):
    table = {"domain": table} if isinstance(table, str) else table
    constants = {"r": sympy.Rational(1, 10)}
    return read_domain(table, symbols, tuple(range(len(symbols))), Scope(constants=constants).number)


def poisson(problem_from, geometry, conditions='[[conditions]]\nwhere = "boundary"\nequation = "u = 0"'):
    lines = "\n".join(f'{key} = "{value}"' for key, value in geometry.items())
    return problem_from(POISSON.format(geometry=lines, conditions=conditions))


def boundary(domain, count=4096):
    for part in domain.parts():
        for side in part.single_sides:
            points = side.placed(stats.qmc.Sobol(part.dimension, seed=1).random(count))
            yield side, points[np.isfinite(points).all(1)]


@pytest.mark.parametrize("text", REGIONS)
def test_the_area_follows_from_the_boundary_by_the_divergence_theorem(text):
    """∫ 1 dx = ∮ x·n ds / 2: inside, sides, share of each side and normals have to agree with each other."""
    domain = domain_of(text)
    count = 2**12
    (x0, x1), (y0, y1) = [[float(end) for end in pair] for pair in domain.region.bounds]
    unit = stats.qmc.Sobol(2, seed=0).random(2**15)
    inside = domain.contains(np.array([x0, y0]) + np.array([x1 - x0, y1 - y0]) * unit)
    area = (x1 - x0) * (y1 - y0) * inside.mean()
    around = 0.0
    for side, points in boundary(domain, count):
        (piece,) = side.pieces
        around += piece.side.measure * (points * piece.normals(points)).sum() / (2 * count)
    # a point set of N = 2^15 misses an area by N^(-3/4) (smooth boundary), a length by 1/count
    assert area == pytest.approx(around, rel=4 * 2 ** (-15 * 0.75) + 8 / count)


@pytest.mark.parametrize("text", REGIONS)
def test_normals_are_the_slope_of_the_depth(text):
    domain = domain_of(text)
    step = 1e-5 * domain.size
    for side, points in boundary(domain, 64):
        normals = side.pieces[0].normals(points)
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-14)
        inner, outer = domain.region.depth(points - step * normals), domain.region.depth(points + step * normals)
        # first order: |∇depth| = 1 on the boundary; both sides differ from it by curvature × step, at most 20 / size
        np.testing.assert_allclose((inner - outer) / (2 * step), 1, atol=20 * step / domain.size + 1e-9)


@pytest.mark.parametrize("text", REGIONS)
def test_the_level_of_a_region_has_the_sign_and_the_slope_of_its_depth(text):
    domain = domain_of(text)
    level = Formula([domain.region.level], domain.symbols)
    (x0, x1), (y0, y1) = [[float(end) for end in pair] for pair in domain.region.bounds]
    points = np.array([x0, y0]) + np.array([x1 - x0, y1 - y0]) * stats.qmc.Sobol(2, seed=3).random(2048)
    (values,) = level(numpy_functions(), list(points.T))
    depth = domain.region.depth(points)
    clear = np.abs(depth) > 1e-9
    np.testing.assert_array_equal(np.sign(values[clear]), np.sign(depth[clear]))
    step = 1e-6 * domain.size
    for side, places in boundary(domain, 64):
        (slope,) = level(numpy_functions(), list((places - step * side.pieces[0].normals(places)).T))
        # corners spoil it: the nearest of 64 points is a hundredth of a side away from one
        assert np.median(slope / step) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "measure"),
    [("disk(1, 2, 0.5)", np.pi), ("ellipse(0, 0, 2, 1)", 9.688448220547675), ("rectangle(0, 2, 0, 1)", 6.0)],
)
def test_boundary_points_are_uniform_in_length(text, measure):
    domain = domain_of(text)
    (part,) = domain.parts()
    assert sum(piece.side.measure for piece in part.pieces) == pytest.approx(measure, rel=1e-12)
    places = part.placed((np.arange(20_000)[:, None] + 0.5) / 20_000)
    gaps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    # between two of the 2^13 angles of the table the speed of an ellipse is taken as constant: it changes by at most
    # (a² - b²) / 2ab = 3/4 of the angle; one step turns each corner
    usual = measure / 20_000
    assert np.sum(np.abs(gaps / usual - 1) > 0.75 * 2 * np.pi / 2**13) <= len(part.pieces)


def test_points_of_a_sphere_are_uniform_in_area():
    domain = domain_of("sphere(0, 0, 0, 2)", (X, Y, Z))
    (part,) = domain.parts()
    points = part.placed(stats.qmc.Sobol(3, seed=2).random(4096))
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 2, rtol=1e-14)
    for axis in range(3):  # Archimedes: every coordinate is uniform; the law of the largest gap at 1e-6
        assert stats.kstest(points[:, axis] / 4 + 0.5, "uniform").pvalue > 1e-6
    assert part.pieces[0].side.measure == pytest.approx(16 * np.pi)


def test_a_rectangle_of_the_whole_box_is_a_box(problem_from):
    problem = poisson(problem_from, {"plate": "rectangle(0, 2, 0, 1)"})
    assert problem.domain is None
    assert [condition.where for condition in problem.conditions] == ["x = 0", "x = 2", "y = 0", "y = 1"]
    named = poisson(
        problem_from,
        {"plate": "rectangle(0, 2, 0, 1)"},
        '[[conditions]]\nwhere = "on plate"\nequation = "u = 0"',
    )
    assert [c.name for c in named.conditions] == [c.name for c in problem.conditions]


def test_named_parts_carry_their_own_normals(problem_from):
    text = '[[conditions]]\nwhere = ["on a", "x = 0.5 and y > 0"]\nequation = "dn(u) = 1"'
    problem = poisson(problem_from, PLATE, text)
    hole, side = problem.conditions
    assert hole.name == "dn(u) = 1 at on a"
    assert side.name == "dn(u) = 1 at x = 0.5 and y > 0"
    u = problem.fields[0].symbol
    ten = sympy.Integer(10)
    expected = (3 - ten * X) * sympy.diff(u, X) + (3 - ten * Y) * sympy.diff(u, Y) - 1
    assert sympy.simplify(hole.residual.expression - expected) == 0, "out of the domain is into the hole"
    assert side.residual.expression == sympy.diff(u, X) - 1
    points = Place(problem, side).sobol(256, 0)
    assert (points[:, 0] == 0.5).all()
    assert (points[:, 1] > 0).all()
    assert points.shape == (256, 2)


def test_coordinates_left_out_are_those_of_the_geometry(problem_from):
    problem = poisson(problem_from, PLATE)
    assert problem.coordinate_names == ("x", "y")
    np.testing.assert_array_equal(problem.box, [[-0.5, -0.5], [0.5, 0.5]])
    timed = poisson(problem_from, PLATE, "[coordinates]\nt = [0, 2]")
    assert timed.coordinate_names == ("x", "y", "t")
    assert timed.domain.axes == (0, 1)


def test_time_is_an_interval_beside_the_geometry(problem_from):
    conditions = """
[coordinates]
t = [0, 2]
[[conditions]]
where = "t = 0"
equation = "u = 0"
[[conditions]]
where = "on a"
equation = "u = t"
"""
    problem = poisson(problem_from, PLATE, conditions)
    start, hole = problem.conditions
    points = Place(problem, start).sobol(512, 0)
    assert (points[:, 2] == 0).all()
    assert problem.contains(points).all()
    points = Place(problem, hole).sobol(512, 0)
    np.testing.assert_allclose(np.hypot(points[:, 0] - 0.3, points[:, 1] - 0.3), 0.1, rtol=1e-12)
    assert stats.kstest(points[:, 2] / 2, "uniform").pvalue > 1e-6


def test_samplers_and_evaluation_stay_in_the_domain(problem_from):
    problem = poisson(problem_from, PLATE)
    sampler = Sampler(problem, None, 3, torch.float64, torch.device("cpu"))
    drawn = sampler.draw(1000).numpy()
    assert drawn.shape == (1000, 2)
    assert problem.contains(drawn).all()
    again = Sampler(problem, None, 3, torch.float64, torch.device("cpu"))
    again.restore(sampler.state())
    np.testing.assert_array_equal(again.draw(500), sampler.draw(500))
    assert problem.contains(scattered_points(problem, 2**10)).all()
    points = evaluation_points(problem)
    assert points.shape == (321, 321)
    assert points.mask.mean() == pytest.approx(1 - 4 * np.pi * 0.01, abs=2 / 321)
    spread = points.spread({"u": np.ones(len(points.inside))})["u"]
    assert np.isnan(spread[~points.mask]).all()
    assert (spread[points.mask] == 1).all()


def test_no_stencil_of_the_audit_leaves_the_domain(problem_from):
    problem = poisson(problem_from, PLATE)
    sample = audit_sample(problem, 256, 0, torch.device("cpu"))
    assert len(sample.points) == 256
    for order, scheme in ((1, "forward"), (2, "central2"), (2, "central6")):
        fitting = [step for step in sample.steps("float64") if sample.fits(scheme, (order, 0), step)]
        assert len(fitting) > 20
        maker = sample.differentiator(scheme, fitting[-1])
        nodes = maker.batch(sample.points, [(order, 0)]).nodes.reshape(-1, 2).numpy()
        assert problem.contains(nodes).all(), "the largest step"


def test_a_part_without_a_condition_is_found(problem_from):
    problem = poisson(problem_from, PLATE, '[[conditions]]\nwhere = ["on plate", "on a"]\nequation = "u = 0"')
    found = [finding for finding in lint(problem) if finding.level == "error"]
    assert [finding.message.split("'")[1] for finding in found] == ["on b", "on disk 3", "on disk 4"]
    assert not lint(poisson(problem_from, PLATE))


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        ({"domain": "disc(0, 0, 1)"}, "geometry.domain: unknown shape 'disc'; did you mean 'disk'?"),
        ({"domain": "disk(0, 0)"}, r"disk cannot be made of 2 numbers \(write disk\(centre_x, centre_y, radius\)\)"),
        ({"domain": "disk(0, 0, -1)"}, "the radius of disk is positive, got -1"),
        ({"domain": "ellipse(0, 0, 1, 0)"}, "the second half axis of ellipse is positive, got 0"),
        ({"domain": "rectangle(1, 0, 0, 1)"}, "rectangle needs lower < upper in x, got 1 and 0"),
        ({"domain": "disk(0, 0, 1) & disk(3, 0, 1)"}, "geometry.domain: nothing lies in the domain"),
        ({"domain": "disk(0, 0, 1) - disk(0, 0, 2)"}, "nothing lies in the domain"),
        ({"domain": "polygon(0, 0, 1, 1, 1, 0, 0, 1)"}, "edges 1 and 3 of the polygon meet"),
        ({"domain": "polygon(0, 0, 1, 1, 2, 2)"}, "a polygon needs three corners that are not in line"),
        ({"domain": f"polygon({'0, 0, ' * 101}1, 1)"}, "a polygon has at most 100 vertices, got 102"),
        ({"domain": "disk(0, 0, 1) * 2"}, "is not a region"),
        ({"domain": "disk(0, 0, 1) - hole"}, "unknown region 'hole'"),
        ({"domain": "disk(x, 0, 1)"}, "unknown name 'x'"),
        ({"domain": "disk(0, 0, 1) @ disk(0, 0, 1)"}, "operator MatMult is not allowed"),
        ({"domain": "disk(0, 0, [1])"}, "List is not allowed"),
        ({"domain": "disk(0, 0, 1).radius"}, "Attribute is not allowed"),
        ({"domain": "sphere(0, 0, 0, 1) - disk(0, 0, 1)"}, "disk has 2 coordinates; .* here are x, y, z"),
        ({"domain": "pi"}, "no shape is named"),
        ({"a": "disk(0, 0, 1)", "b": "disk(0, 0, 2)"}, "geometry.domain: the key is missing"),
        ({"disk": "disk(0, 0, 1)"}, "the name 'disk' already has a meaning"),
        ({"domain": "hypercube(0, 1, 0, 1, 0, 1, 0, 1) - sphere(0, 0, 0, 0, 1)"}, "4 space coordinates have no names"),
    ],
)  # fmt: skip
def test_a_wrong_geometry_is_refused_with_its_key(problem_from, geometry, message):
    with pytest.raises(ProblemError, match=message):
        poisson(problem_from, geometry)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ("[coordinates]\nx = [0, 1]\ny = [-1, 1]", r"coordinates.x: the domain reaches from -1/2 to 1/2 in x"),
        ("[coordinates]\nx = []\ny = [-1, 1]\nt = []", "coordinates.t: an interval has two ends, got 0"),
        ('[[conditions]]\nwhere = "on hole"\nequation = "u = 0"', "unknown region 'hole'"),
        ('[[conditions]]\nwhere = "x = 0.2"\nequation = "u = 0"', "no flat side of the domain lies at 'x = 0.2'"),
        ('[[conditions]]\nwhere = "inside"\nequation = "u = 0"', "'inside' is not a place"),
    ],
)
def test_a_wrong_place_is_refused(problem_from, conditions, message):
    with pytest.raises(ProblemError, match=message):
        poisson(problem_from, PLATE, conditions)


def test_a_region_away_from_the_boundary_is_refused(problem_from):
    inner = {"outer": "disk(0, 0, 1)", "spot": "disk(0, 0, 0.1)", "domain": "outer + spot"}
    with pytest.raises(ProblemError, match="'spot' does not touch the boundary"):
        poisson(problem_from, inner, '[[conditions]]\nwhere = "on spot"\nequation = "u = 0"')


def test_a_named_part_needs_a_geometry(problem_from):
    text = 'title = "t"\n[coordinates]\nx = [0, 1]\n[equations]\ne = "u_xx = 0"\n'
    with pytest.raises(ProblemError, match="'on hole' needs a geometry"):
        problem_from(text + '[[conditions]]\nwhere = "on hole"\nequation = "u = 0"')


def test_a_geometry_is_not_periodic(problem_from):
    lines = "\n".join(f'{key} = "{value}"' for key, value in PLATE.items())
    text = POISSON.format(geometry=lines, conditions="").replace("[constants]", 'periodic = ["x"]\n[constants]')
    with pytest.raises(ProblemError, match="periodic: 'x' has a geometry and is not periodic"):
        problem_from(text)


DEEPXDE = """
import io, os, sys, contextlib, numpy as np, sympy
os.environ["DDE_BACKEND"] = "pytorch"
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    import deepxde
deepxde.config.set_default_float("float64")
import torch; torch.set_default_device(None)
from pinnsolve.problems.expressions import Scope
from pinnsolve.problems.geometry import read_domain
from pinnsolve.problems.geometry.deepxde import as_deepxde
rng = np.random.default_rng(0)
for text, names in {cases!r}:
    symbols = sympy.symbols(names, real=True)
    symbols = symbols if isinstance(symbols, tuple) else (symbols,)
    domain = read_domain({{"domain": text}}, symbols, tuple(range(len(symbols))), Scope().number)
    theirs = as_deepxde(domain.region, deepxde.geometry)
    low, high = np.array([[float(end) for end in pair] for pair in domain.region.bounds]).T
    points = rng.uniform(low - 0.1, high + 0.1, size=(2000, len(low)))
    assert (domain.contains(points) == theirs.inside(points)).all(), text
    for part in domain.parts():
        for side in part.single_sides:
            on = side.placed(rng.uniform(size=(20, part.dimension)))
            on = on[np.isfinite(on).all(1)]
            kind = side.pieces[0].shape.kind
            assert kind == "ellipse" or theirs.on_boundary(on).all(), text
            if kind not in ("ellipse", "polygon", "triangle"):
                normals = theirs.boundary_normal(on)
                np.testing.assert_allclose(side.pieces[0].normals(on), normals, atol=1e-6, err_msg=text)
"""


def test_inside_and_normals_are_those_of_deepxde():
    cases = [(text, "x y") for text in REGIONS if "pi" not in text]
    cases += [
        ("sphere(0, 1, 0, 0.5) & cuboid(0, 1, 0, 2, -1, 1)", "x y z"),
        ("interval(0, 1) - interval(0.3, 0.4)", "x"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    code = DEEPXDE.format(cases=cases)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
