from __future__ import annotations

import math

import pytest
import sympy
import torch

from pinnsolve.derivatives import Jet, autograd, exact, taylor
from pinnsolve.derivatives.series import RULES, Series, algebra
from pinnsolve.networks import MultilayerPerceptron, activation
from pinnsolve.problems import Partial

ROUNDOFF = 1.2e-16


def _partials(dimension: int, order: int) -> list[Partial]:
    def indices(d: int, n: int):
        if d == 0:
            yield ()
            return
        for k in range(n + 1):
            for rest in indices(d - 1, n - k):
                yield (k, *rest)

    return [Partial("u", index) for index in indices(dimension, order)]


def _network(name: str, inputs: int, generator: torch.Generator) -> MultilayerPerceptron:
    return MultilayerPerceptron(inputs, [12] * 3, 1, activation(name), torch.float64).initialized("glorot", generator)


@pytest.mark.parametrize("name", ["tanh", "elu", "gelu", "silu", "sine", "softplus", "sigmoid"])
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_taylor_mode_agrees_with_nested_autograd_up_to_order_four(name, dimension, generator):
    network = _network(name, dimension, generator)
    points = torch.rand(17, dimension, generator=generator, dtype=torch.float64) * 2 - 1
    partials = _partials(dimension, 4)
    fields = lambda x: {"u": network(x)[..., 0]}  # noqa: E731
    jets = taylor(fields, points, partials), autograd(fields, points, partials)
    for partial in partials:
        left, right = (jet[partial] for jet in jets)
        # sums of Bell(4) = 15 products over 12 units and 3 layers, each with its own roundoff
        assert (left - right).abs().max() <= 2000 * ROUNDOFF * right.abs().max().clamp(min=1), partial


def test_both_jets_give_the_same_parameter_gradient(generator):
    network = _network("tanh", 2, generator)
    points = torch.rand(33, 2, generator=generator, dtype=torch.float64)
    partials = _partials(2, 3)
    fields = lambda x: {"u": network(x)[..., 0] * torch.sin(x[..., 0])}  # noqa: E731

    def gradient(maker):
        jet = maker(fields, points, partials)
        loss = sum((1 + k) * jet[partial].square().mean() for k, partial in enumerate(partials))
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(network.parameters()))])

    left, right = gradient(taylor), gradient(autograd)
    assert (left - right).abs().max() <= 1e4 * ROUNDOFF * right.abs().max()


x, y = sympy.symbols("x y", real=True)
ELEMENTARY = {
    torch.sin: sympy.sin,
    torch.cos: sympy.cos,
    torch.tan: sympy.tan,
    torch.exp: sympy.exp,
    torch.log: sympy.log,
    torch.sqrt: sympy.sqrt,
    torch.sinh: sympy.sinh,
    torch.cosh: sympy.cosh,
    torch.tanh: sympy.tanh,
    torch.sigmoid: lambda z: 1 / (1 + sympy.exp(-z)),
    torch.atan: sympy.atan,
    torch.asin: sympy.asin,
    torch.acos: sympy.acos,
    torch.erf: sympy.erf,
    torch.abs: sympy.Abs,
    torch.sign: sympy.sign,
}
STRUCTURAL = {torch.nn.functional.linear, torch.cat, torch.stack, torch.add, torch.mul}


def test_every_elementary_rule_is_tested():
    methods = {rule for rule in RULES if getattr(torch.Tensor, getattr(rule, "__name__", ""), None) is rule}
    assert set(RULES) - methods - STRUCTURAL == set(ELEMENTARY)


@pytest.mark.parametrize("function", ELEMENTARY, ids=lambda f: f.__name__)
def test_series_of_elementary_functions_are_their_symbolic_derivatives(function):
    points = torch.tensor([[0.3, 0.2], [0.45, -0.1], [0.2, 0.3]], dtype=torch.float64)
    partials = _partials(2, 4)
    inner = lambda a, b: a * b + a + 0.1 * b * b  # noqa: E731
    jet = taylor(lambda p: {"u": function(inner(p[..., 0], p[..., 1]))}, points, partials)
    truth = exact({"u": ELEMENTARY[function](inner(x, y))}, [x, y])(lambda p: {}, points, partials)
    for partial in partials:
        # derivatives of order 4 of these functions are below 10⁴ here, and sums of up to 10³ terms
        assert (jet[partial] - truth[partial]).abs().max() <= 1e5 * ROUNDOFF * truth[partial].abs().max().clamp(min=1)


def test_arithmetic_of_series_and_numbers():
    points = torch.tensor([[0.3, 0.7], [0.9, -0.4]], dtype=torch.float64)
    partials = _partials(2, 3)
    fields = lambda p: {"u": (2 - p[..., 0]) / (3 + p[..., 1]) + (p[..., 0] - 1) ** 3 * 2 - 1 / (p[..., 1] + 2)}  # noqa: E731
    jet, oracle = taylor(fields, points, partials), autograd(fields, points, partials)
    for partial in partials:
        assert torch.allclose(jet[partial], oracle[partial], rtol=1e-13, atol=1e-13)


def test_one_unit_by_hand():
    """tanh(2x)'s second derivative is -8 tanh(2x) (1 - tanh²(2x)): a route that shares nothing with the code."""
    points = torch.tensor([[0.4]], dtype=torch.float64)
    jet = taylor(lambda p: {"u": activation("tanh")(p[..., 0] * 2)}, points, [Partial("u", (2,))])
    t = math.tanh(0.8)
    assert float(jet[Partial("u", (2,))]) == pytest.approx(-8 * t * (1 - t * t), rel=1e-14)


def test_only_needed_derivatives_are_carried():
    kept = algebra(frozenset({(2, 0), (0, 1)}))
    assert set(kept.indices) == {(0, 0), (1, 0), (2, 0), (0, 1)}
    assert kept.order == 2


def test_a_function_without_a_rule_says_so():
    series = Series.coordinates(torch.zeros(1, 1), algebra(frozenset({(1,)})))
    with pytest.raises(NotImplementedError, match=r"special_j0|bessel_j0"):
        torch.special.bessel_j0(series)


def test_constants_have_zero_derivatives():
    points = torch.zeros(3, 1, dtype=torch.float64)
    for maker in (taylor, autograd):
        jet = maker(lambda p: {"u": p[..., 0] * 0 + 2.0}, points, _partials(1, 2))
        assert [jet[p][0].item() for p in _partials(1, 2)] == [2.0, 0.0, 0.0]


def test_autograd_leaves_no_graph_without_gradients(generator):
    network = _network("tanh", 1, generator)
    with torch.no_grad():
        jet = autograd(lambda p: {"u": network(p)[..., 0]}, torch.zeros(2, 1, dtype=torch.float64), _partials(1, 2))
    assert not any(value.requires_grad for value in jet.values())


def test_a_jet_checks_its_shapes():
    with pytest.raises(ValueError, match=r"\(3, 1\), wanted \(3,\)"):
        Jet(torch.zeros(3, 2), {Partial("u", (0, 0)): torch.zeros(3, 1)})
