"""Series on boxes begin where they see the data; what is left over then is a contradiction, and before it is none."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erf

from pinnsolve.references import boxes, find_reference
from pinnsolve.references.bases import basis_of
from pinnsolve.references.box_data import SEEN, BoxData

from .test_references import problem_of

LINE, SQUARE = "x = [0, 1]", "x = [0, 1]\ny = [0, 1]"
HINGED = [("boundary", "u = 0"), ("boundary", "u_xx = 0")]


def load(place, width):
    return f"exp(-((x - {place})/{width})^2)"


def deflection(x, at):
    """Green's function of u_xxxx on [0, 1] with u = u_xx = 0 at both ends."""
    x, at = min(x, at), max(x, at)
    return x * (1 - at) * (1 - x**2 - (1 - at) ** 2) / 6


@pytest.mark.parametrize("width", [0.1, 0.02])
def test_a_narrow_load_on_a_beam_has_a_reference(width):
    problem = problem_of([f"u_xxxx = {load(0.37, width)}"], HINGED, LINE)
    reference = find_reference(problem)
    reach = (max(0, 0.37 - 6 * width), min(1, 0.37 + 6 * width))  # exp(-36) is roundoff

    def integrand(at):
        return deflection(0.5, at) * np.exp(-(((at - 0.37) / width) ** 2))

    expected, uncertain = quad(integrand, *reach, points=[0.37], epsabs=0, epsrel=1e-13)
    found = reference(np.array([[0.5]]))["u"][0]
    assert abs(found - expected) < 10 * reference.errors["u"] * expected + 10 * uncertain + 1e-11 * expected
    assert reference.errors["u"] < 1e-9


def test_a_load_between_the_first_points_is_in_the_solution():
    place, width = 0.3137, 0.006
    problem = problem_of([f"u_xx = {load(place, width)}"], [("boundary", "u = 0")], LINE)
    reference = boxes.solve(problem)
    x = np.linspace(0, 1, 101)

    def twice_integrated(x):
        z = (x - place) / width
        return width**2 * (np.sqrt(np.pi) * z * erf(z) + np.exp(-(z**2))) / 2

    exact = twice_integrated(x) - twice_integrated(0.0) * (1 - x) - twice_integrated(1.0) * x
    found = reference(x[:, None])["u"]
    assert np.linalg.norm(found - exact) < (10 * reference.errors["u"] + 1e-11) * np.linalg.norm(exact)
    assert reference.errors["u"] < 1e-8


@pytest.mark.parametrize("width", [0.3, 0.05])
def test_conditions_of_one_end_that_disagree_are_a_contradiction_under_a_narrow_load_too(width):
    clamped = [("x = 0", "u = 0"), ("x = 0", "u_x = 0"), ("x = 1", "u = 0"), ("x = 1", "u_x = 0")]
    beam = [f"u_xxxx = {load(0.5, width)}"]
    assert find_reference(problem_of(beam, clamped, LINE)).errors["u"] < 1e-9
    with pytest.raises(boxes.IllPosedError):
        list(boxes.attempts(problem_of(beam, [*clamped, ("x = 0", "u = 1")], LINE)))
    assert find_reference(problem_of(beam, [*clamped, ("x = 0", "u = 1")], LINE)) is None


def test_a_load_that_no_series_sees_has_no_reference():
    problem = problem_of([f"u_xx = {load(0.3, 1e-3)}"], [("boundary", "u = 0")], LINE)
    data = BoxData(problem)
    assert data.first_size(0, 12, 100, 1.4) == 101
    assert find_reference(problem) is None


def missed(problem, *sizes):
    bases = [basis_of(coordinate, size) for coordinate, size in zip(problem.coordinates, sizes, strict=True)]
    return BoxData(problem).missed(bases)


def test_polynomials_of_the_degree_of_the_series_are_seen_and_longer_ones_by_their_next_term():
    problem = problem_of(["u_xx = 8*(2*x - 1)^4"], [("boundary", "u = 0")], LINE)
    assert missed(problem, 5)[0] < 1e-13
    # with z = 2x - 1: at the zeros of T₄ 8z⁴ is 8z² - 1, and what is missed T₄, of mean square (1 - 1/63)/2
    share = np.sqrt((0.5 - 0.5 / 63) / (64 / 9))
    assert missed(problem, 4)[0] == pytest.approx(share, rel=2e-3)  # 2,001 places


def test_waves_on_a_period_are_seen_from_their_own_number_on():
    problem = problem_of(["u_xx - u = sin(6*pi*x)"], [], LINE, 'periodic = ["x"]')
    assert missed(problem, 7)[0] < 1e-13
    assert missed(problem, 5)[0] > 0.9
    assert BoxData(problem).first_size(0, 3, 100, 1.4) == 7


@pytest.mark.parametrize(
    ("equation", "condition", "sees"),
    [
        (f"d((1 + {load(0.5, 0.02)})*u_x, x) + u_yy = 0", "u = 1", (False, True)),
        ("laplacian(u) = 0", "u = exp(-((y - 0.5)/0.02)^2)", (True, False)),
        ("laplacian(u) = u^2 + 1/u", "u = 1", (True, True)),
    ],
    ids=["coefficient", "condition", "infinite at zero"],
)
def test_coefficients_and_conditions_are_data_along_the_coordinates_that_they_depend_on(equation, condition, sees):
    problem = problem_of([equation], [("boundary", condition)], SQUARE)
    assert tuple(missed(problem, 8, 8) < SEEN) == sees


def test_rough_data_begin_where_longer_series_see_little_more():
    problem = problem_of(["u_xx = step(x - 0.3)"], [("boundary", "u = 0")], LINE)
    data = BoxData(problem)
    first = data.first_size(0, 12, 2500, 1.4)
    along = {size: data.missed_along(0, basis_of(problem.coordinates[0], size)) for size in (first, 2000)}
    assert 12 < first < 200
    assert SEEN < along[first] <= 10 * along[2000]
