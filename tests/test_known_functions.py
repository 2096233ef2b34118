"""Known functions: symbols that are evaluated from series, and how long these series are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy
import torch

from pinnsolve.derivatives import autograd, taylor
from pinnsolve.networks.resolution import chopped_length, separable_sums
from pinnsolve.networks.spectral import Basis
from pinnsolve.problems import Partial
from pinnsolve.problems.formulas import Formula, numpy_functions, torch_functions
from pinnsolve.problems.known_functions import known_function

EPS = float(np.finfo(float).eps)
X, Y = sympy.symbols("x y", real=True)
PERIODIC, OPEN = Basis(-1.0, 2.0, True), Basis(-1.0, 3.0, False)


def _series(function, *bases):
    (result,) = separable_sums(lambda points: function(*points.T)[:, None], bases)
    return result


def _derivative_bound(basis: Basis, modes: int, order: int) -> float:
    """Return max |∂^order of a mode|: (ωK)^m for waves, (2/L)^m K^(2m)/(2m-1)!! for polynomials (Markov)."""
    if basis.periodic:
        return (2 * math.pi * modes / basis.length) ** order
    return (2 / basis.length) ** order * modes ** (2 * order) / math.prod(range(1, 2 * order, 2))


CLOSED = [
    pytest.param(PERIODIC, sympy.exp(sympy.sin(sympy.pi * X)), id="fourier"),
    pytest.param(OPEN, sympy.exp(X) * sympy.sin(5 * X), id="chebyshev"),
]


@pytest.mark.parametrize("maker", [taylor, autograd])
@pytest.mark.parametrize(("basis", "closed"), CLOSED)
def test_a_known_function_and_its_derivatives_are_those_of_its_closed_form(basis, closed, maker):
    numeric = Formula([closed], [X])
    series = _series(lambda x: numeric(numpy_functions(), [x])[0], basis)
    formula = Formula([known_function("s", series, 1)(X)], [X])
    points = torch.linspace(basis.lower, basis.lower + basis.length, 101, dtype=torch.float64)[:, None]
    orders = [Partial("u", (order,)) for order in range(5)]
    jet = maker(lambda p: {"u": formula(torch_functions(), [p[..., 0]])[0]}, points, orders)
    modes = len(series.factors[0].coefficients)
    size = np.abs(numeric(numpy_functions(), [points[:, 0].numpy()])[0]).max()
    for partial in orders:
        truth = Formula([sympy.diff(closed, X, partial.order)], [X])(numpy_functions(), [points[:, 0].numpy()])[0]
        # every coefficient errs by some units of rounding of the largest sample
        bound = 4 * modes * EPS * size * _derivative_bound(basis, modes, partial.order)
        assert np.abs(jet[partial].detach().numpy() - truth).max() <= bound, partial
        assert bound < 1e-2 * np.abs(truth).max() or partial.order > 2


def test_symbolic_derivatives_of_a_known_function_are_known_functions():
    s = known_function("s", _series(lambda x: np.exp(np.sin(np.pi * x)), PERIODIC), 1)
    assert sympy.diff(s(X), X, 2) == sympy.diff(sympy.diff(s(X), X), X)
    expression = sympy.diff(X * s(2 * X), X)  # s(2x) + 2x s'(2x)
    x = np.linspace(-0.4, 0.4, 7)
    truth = np.exp(np.sin(2 * np.pi * x)) * (1 + 2 * x * np.pi * np.cos(2 * np.pi * x))
    (value,) = Formula([expression], [X])(numpy_functions(), [x])
    assert value == pytest.approx(truth, abs=1e-13)
    assert float(sympy.N(s(X).subs(X, sympy.Rational(1, 2)))) == pytest.approx(math.e, rel=1e-14)
    assert s(X) != known_function("s", _series(np.cos, PERIODIC), 1)(X)


def test_a_known_function_of_two_coordinates_mixes_its_derivatives():
    f = known_function("f", _series(lambda x, y: np.exp(np.sin(np.pi * x) * y), PERIODIC, OPEN), 2)
    closed = sympy.exp(sympy.sin(sympy.pi * X) * Y)
    points = torch.as_tensor(np.random.default_rng(0).uniform([-1, -1], [1, 2], (64, 2)))
    partials = [Partial("u", orders) for orders in [(0, 0), (1, 1), (2, 0), (0, 3)]]
    formula = Formula([f(X, Y) + f(X, 1) * f(0, Y)], [X, Y])
    expression = closed + closed.subs(Y, 1) * closed.subs(X, 0)
    for maker in (taylor, autograd):
        jet = maker(lambda p: {"u": formula(torch_functions(), [p[..., 0], p[..., 1]])[0]}, points, partials)
        for partial in partials:
            truth = Formula([sympy.diff(expression, X, partial.orders[0], Y, partial.orders[1])], [X, Y])
            values = truth(numpy_functions(), list(points.numpy().T))[0]
            # about 40 modes along each coordinate, derivatives to the third order
            assert np.abs(jet[partial].detach().numpy() - values).max() <= 1e-9 * np.abs(values).max()
    assert f(X, Y).diff(X, Y) == f(X, Y).diff(Y, X)
    for variables in ([Y], [X, Y], [Y, Y]):
        pair = [Formula([sympy.diff(each, *variables)], [X, Y]) for each in (f(X, Y), closed)]
        known, truth = (each(numpy_functions(), list(points.numpy().T))[0] for each in pair)
        assert np.abs(known - truth).max() <= 1e-10 * np.abs(truth).max()


def test_a_derivative_of_a_known_function_has_derivatives():
    s = known_function("s", _series(lambda x: np.exp(np.sin(np.pi * x)), PERIODIC), 1)
    points = torch.linspace(-1, 1, 33, dtype=torch.float64)[:, None]
    slope, function = (Formula([each], [X]) for each in (sympy.diff(s(X), X), s(X)))
    for maker in (taylor, autograd):
        one = maker(lambda p: {"u": slope(torch_functions(), [p[..., 0]])[0]}, points, [Partial("u", (1,))])
        other = maker(lambda p: {"u": function(torch_functions(), [p[..., 0]])[0]}, points, [Partial("u", (2,))])
        first, second = one[Partial("u", (1,))], other[Partial("u", (2,))]
        assert (first - second).abs().max() <= 1e-13 * second.abs().max()


def test_single_precision_is_kept():
    f = known_function("f", _series(lambda x, y: np.exp(np.sin(np.pi * x)) * y, PERIODIC, OPEN), 2)
    points = torch.linspace(-1, 1, 33, dtype=torch.float32)[:, None]
    formula = Formula([f(X, sympy.Rational(1, 2))], [X])
    partials = [Partial("u", (0,)), Partial("u", (1,))]
    x = points[:, 0].double().numpy()
    for maker in (taylor, autograd):
        jet = maker(lambda p: {"u": formula(torch_functions(), [p[..., 0]])[0]}, points, partials)
        for partial, factor in zip(partials, [1, np.pi * np.cos(np.pi * x)], strict=True):
            assert jet[partial].dtype == torch.float32
            values = jet[partial].detach().numpy()
            assert np.abs(values - 0.5 * factor * np.exp(np.sin(np.pi * x))).max() <= 20 * 20 * np.pi * 1.2e-7


@pytest.mark.parametrize("rate", [1.5, 2.0, 4.0])
def test_a_series_is_cut_where_its_known_decay_reaches_rounding(rate):
    """The Poisson kernel has the coefficients 2 rate^-k: 1 + 2 Σ r^k cos kφ = (1 - r²)/(1 - 2 r cos φ + r²)."""
    r = 1 / rate
    series = _series(lambda x: (1 - r * r) / (1 - 2 * r * np.cos(np.pi * (x + 1)) + r * r), PERIODIC)
    (factor,) = series.factors
    full = -math.log(EPS) / math.log(rate)  # where rate^-k meets the unit roundoff
    assert 0.85 * full <= len(factor.coefficients) <= 1.1 * full + 2
    kept = np.arange(1, len(factor.coefficients))
    assert np.abs(factor.coefficients[1:, 0] - 2 * r**kept).max() <= 20 * EPS * (1 + r) / (1 - r)
    assert series.error <= 100 * EPS


@pytest.mark.parametrize("level", [1e-12, 1e-8, 1e-4])
def test_a_series_is_cut_where_noise_begins(level):
    def noisy(x):
        return 1 / (1.25 - np.cos(np.pi * x)) + level * np.sin(1e13 * x)  # the sine is as good as random

    series = _series(noisy, PERIODIC)
    modes = len(series.factors[0].coefficients)
    meeting = math.log2(8 / 3 / level)  # coefficients are 8/3 2^-k; those of the noise are somewhat below its level
    assert meeting - 6 <= modes <= 1.25 * (meeting + 5) + 5  # 5/4 j + 5: over which a plateau is looked for
    assert series.error <= 4 * level


def test_a_polynomial_keeps_its_degree():
    assert len(_series(lambda x: x**3 - 2 * x, OPEN).factors[0].coefficients) == 4
    assert len(_series(np.ones_like, OPEN).factors[0].coefficients) == 1
    assert len(_series(np.zeros_like, PERIODIC).factors[0].coefficients) == 1


def test_a_series_without_a_plateau_is_not_cut():
    assert chopped_length(0.9 ** np.arange(64.0), EPS) == 64
    assert chopped_length(np.zeros(64), EPS) == 1
    plateau = np.maximum(0.5 ** np.arange(128.0), 1e-12)  # flat from 40 on, far above the tolerance
    assert 36 <= chopped_length(plateau, EPS) <= 1.25 * 41 + 5


def test_an_oscillation_that_hides_between_the_first_samples_is_found():
    series = _series(lambda x: np.cos(64 * np.pi * x), PERIODIC)  # with 64 samples it looks like 1
    assert len(series.factors[0].coefficients) >= 65
    assert series.error <= 1e-12


def test_what_no_series_resolves_is_said():
    assert 1e-3 < _series(lambda x: np.tanh(3000 * x), OPEN).error < 1


def test_a_separable_function_has_one_term():
    series = _series(lambda x, y: np.sin(np.pi * x) * np.exp(y), PERIODIC, OPEN)
    assert [factor.coefficients.shape[1] for factor in series.factors] == [1, 1]


@pytest.mark.parametrize("basis", [PERIODIC, OPEN], ids=["fourier", "chebyshev"])
def test_a_series_goes_on_analytically_to_complex_points(basis):
    """Against the closed form off the real axis; torch's values on it; and slopes by the complex step."""
    series = _series(lambda x: np.exp(np.sin(np.pi * x)), basis)
    places = np.random.default_rng(0).uniform(basis.lower, basis.lower + basis.length, 64)
    modes = len(series.factors[0].coefficients)
    size = np.exp(1.0)
    off = places + 0.02j
    growth = math.exp(2 * 0.02 * 2 * math.pi * modes / basis.length)  # of the highest mode, off the axis
    assert np.abs(series([off], (0,)) - np.exp(np.sin(np.pi * off))).max() <= 64 * EPS * modes * size * growth
    for order in (0, 1, 2):
        bound = 8 * EPS * size * modes * _derivative_bound(basis, modes, order)
        real = series([torch.as_tensor(places)], (order,)).numpy()
        found = series([places.astype(complex)], (order,))
        assert np.abs(found - real).max() <= bound
        assert np.abs(found.imag).max() <= bound
        stepped = series([places + 1e-30j], (order,)).imag / 1e-30
        steeper = 8 * EPS * size * modes * _derivative_bound(basis, modes, order + 1)
        assert np.abs(stepped - series([places.astype(complex)], (order + 1,)).real).max() <= steeper


def test_a_sum_of_products_goes_on_analytically_in_each_coordinate():
    series = _series(lambda x, y: np.exp(np.sin(np.pi * x) * y), PERIODIC, OPEN)
    x, y = np.array([0.1, -0.7]), np.array([0.4, 1.3])
    for step, orders in (((1e-30j, 0), (1, 0)), ((0, 1e-30j), (0, 1))):
        stepped = series([x + step[0], y + step[1]], (0, 0)).imag / 1e-30
        modes = max(len(factor.coefficients) for factor in series.factors)
        bound = 8 * EPS * np.exp(2) * modes * max(_derivative_bound(b, modes, 1) for b in (PERIODIC, OPEN))
        assert np.abs(stepped - series([torch.as_tensor(x), torch.as_tensor(y)], orders).numpy()).max() <= bound
