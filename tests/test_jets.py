from __future__ import annotations

import math
from shutil import which

import numpy as np
import pytest
import sympy
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pinnsolve.derivatives import Jet, autograd, exact, linear, taylor
from pinnsolve.derivatives.compiled import compiled
from pinnsolve.derivatives.composition import recording
from pinnsolve.derivatives.series import RULES, Series, algebra
from pinnsolve.errors import ResourceError
from pinnsolve.networks import MultilayerPerceptron, activation, activation_names
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


def _network(
    name: str, inputs: int, generator: torch.Generator, widths=(12, 12, 12), outputs=1
) -> MultilayerPerceptron:
    """Return a network whose biases are not zero."""
    network = MultilayerPerceptron(inputs, list(widths), outputs, activation(name), torch.float64)
    network.initialized("glorot", generator)
    with torch.no_grad():
        for layer in [*network.layers, network.output]:
            layer.bias.normal_(generator=generator)
    return network


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


def _gradient(maker, fields, module, points, partials):
    jet = maker(fields, points, partials)
    loss = sum((1 + k) * jet[partial].square().mean() for k, partial in enumerate(partials))
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(module.parameters()))])


@pytest.mark.parametrize("name", activation_names())
@pytest.mark.parametrize("order", [1, 3])
def test_both_jets_give_the_same_parameter_gradient(name, order, generator):
    network = _network(name, 2, generator)
    points = torch.rand(33, 2, generator=generator, dtype=torch.float64)
    fields = lambda x: {"u": network(x)[..., 0] * torch.sin(x[..., 0])}  # noqa: E731
    left, right = (_gradient(maker, fields, network, points, _partials(2, order)) for maker in (taylor, autograd))
    assert (left - right).abs().max() <= 1e4 * ROUNDOFF * right.abs().max()


def test_products_of_networks_have_the_right_gradient(generator):
    """One factor has one column, the other three: gradients are summed over what was broadcast."""
    network = _network("tanh", 2, generator)
    wide = _network("sine", 2, generator, [7], 3)
    module = torch.nn.ModuleList([network, wide])
    points = torch.rand(21, 2, generator=generator, dtype=torch.float64)
    fields = lambda x: {"u": (network(x) * wide(x))[..., 1] + (wide(x) * network(x))[..., 2]}  # noqa: E731
    left, right = (_gradient(maker, fields, module, points, _partials(2, 3)) for maker in (taylor, autograd))
    assert (left - right).abs().max() <= 1e4 * ROUNDOFF * right.abs().max()


def test_values_are_the_same_with_and_without_writing_in_parts(generator):
    """A compiler is given other operations, but not other numbers."""
    network = _network("gelu", 2, generator)
    points = torch.rand(5, 2, generator=generator, dtype=torch.float64)
    fields = lambda x: {"u": network(x)[..., 0] * x[..., 1]}  # noqa: E731
    plain = _gradient(taylor, fields, network, points, _partials(2, 3))
    with recording():
        recorded = _gradient(taylor, fields, network, points, _partials(2, 3))
    assert torch.equal(plain, recorded)


@pytest.mark.parametrize(
    "name", [name for name in activation_names() if hasattr(activation(name).derivatives, "riccati")]
)
def test_a_stated_riccati_equation_holds(name):
    phi = activation(name)
    a, b, c = phi.derivatives.riccati
    z = torch.linspace(-9, 9, 301, dtype=torch.float64, requires_grad=True)
    value = phi(z)
    (slope,) = torch.autograd.grad(value.sum(), z)
    assert (slope - (a + b * value + c * value**2)).abs().max() <= 8 * ROUNDOFF


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_tanh_is_right_to_the_last_digits_at_all_sizes(dtype):
    ends = torch.tensor([-math.inf, -1e4, -0.0, 1e4, math.inf], dtype=dtype)
    sizes = torch.logspace(-30, 1.5, 4001, dtype=torch.float64).to(dtype)
    z = torch.cat([-sizes, ends, sizes])
    (found,) = activation("tanh").derivatives(z, 0)
    truth = np.tanh(z.numpy().astype(np.longdouble))
    assert np.all(np.abs(found.numpy() - truth) <= 3 * np.spacing(np.abs(found.numpy())))


def test_training_keeps_nothing_but_the_values_of_layers(generator):
    """φ' = 1 - φ²: of a tanh layer the adjoint needs the result alone, and the next layer keeps that anyway."""
    network, kept = _network("tanh", 2, generator), {}
    points = torch.rand(50, 2, generator=generator, dtype=torch.float64)
    note = lambda tensor: (kept.setdefault(tensor.data_ptr(), tensor), tensor)[1]  # noqa: E731
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        taylor(lambda x: {"u": network(x)[..., 0]}, points, [Partial("u", (2, 0)), Partial("u", (0, 1))])
    weights = {parameter.data_ptr() for parameter in network.parameters()}
    numbers = sum(tensor.numel() for pointer, tensor in kept.items() if pointer not in weights)
    assert numbers == 4 * 50 * (2 + 12 + 12 + 12)  # channels × points × (coordinates and three layers)


WIDE = {"tanh": 4, "sigmoid": 2, "sine": 3, "gelu": 2, "elu": 2}


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_that_is_summed_unit_by_unit_is_the_layer(name, outputs, bias, generator, monkeypatch):
    monkeypatch.setattr(linear, "_CACHED", 100)  # blocks of 16 units
    network = _network(name, 2, generator, [6, 200], outputs)
    if not bias:
        network.layers[1].bias = network.output.bias = None
    points = torch.rand(9, 2, generator=generator, dtype=torch.float64)
    fields = lambda x: {"u": network(x)[..., outputs - 1]}  # noqa: E731
    partials = _partials(2, WIDE[name])
    stored = taylor(fields, points, partials)
    with torch.no_grad():
        summed = taylor(fields, points, partials)
    for partial in partials:
        # 200 units, Bell(4) = 15 products each
        assert (stored[partial] - summed[partial]).abs().max() <= 3000 * ROUNDOFF * stored[partial].abs().max()


class _Largest(TorchDispatchMode):
    """Notes how many numbers the largest tensor has that any operation returns, and counts matrix products."""

    numbers, products = 0, 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        for tensor in result if isinstance(result, list | tuple) else [result]:
            self.numbers = max(self.numbers, tensor.numel())
        self.products += function in (torch.ops.aten.mm.default, torch.ops.aten.addmm_.default)
        return result


def test_without_gradients_a_wide_layer_is_neither_stored_nor_multiplied_by_every_derivative(generator, monkeypatch):
    monkeypatch.setattr(linear, "_CACHED", 2000)
    network = _network("tanh", 5, generator, [400])
    points = torch.rand(50, 5, generator=generator, dtype=torch.float64)
    laplacian = [Partial("u", tuple(2 * (i == axis) for i in range(5))) for axis in range(5)]
    with torch.no_grad(), _Largest() as seen:
        taylor(lambda x: {"u": network(x)[..., 0]}, points, laplacian)
    assert seen.numbers <= 11 * 50 * 5 < 50 * 400  # no more than the coordinates' series
    blocks = 400 / (2000 // 50)
    # per block: W·h and V·φ for the value and five slopes, V·φ for five second derivatives, and one for all W·∂²h
    assert seen.products == blocks * (6 + 6 + 5 + 1)


def test_a_hidden_layer_can_be_asked_for_without_gradients(generator):
    network = _network("tanh", 2, generator)
    points = torch.rand(4, 2, generator=generator, dtype=torch.float64)
    fields = lambda x: {"u": (lambda h: h[..., 3] * h[..., 5])(network.last_hidden(x))}  # noqa: E731
    with torch.no_grad():
        free = taylor(fields, points, _partials(2, 2))
    traced = taylor(fields, points, _partials(2, 2))
    for partial in _partials(2, 2):
        assert (free[partial] - traced[partial]).abs().max() <= 100 * ROUNDOFF * traced[partial].abs().max()


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


def test_the_highest_derivatives_and_what_they_need_by_hand():
    kept = algebra(frozenset({(2, 0), (0, 1)}))  # channels 1, x, t, xx
    assert kept.indices == ((0, 0), (1, 0), (0, 1), (2, 0))
    assert kept.highest == {2, 3}
    assert kept.levels == ((0, 1, 2, 3), (0, 1), (0,))  # h_xx = φ' z_xx + (φ')_x z_x
    assert kept.chains[3] == ((1, 0, 3), (1, 1, 1))
    assert kept.products[3] == ((1, 0, 3), (2, 1, 1), (1, 3, 0))
    assert kept.adjoints[1] == ((1, 0, 1), (2, 1, 3))
    assert kept.squares[3] == ((2, 1, 1),)
    assert (
        len(algebra(frozenset({(2, 1)})).chains[-1]) == 3
    )  # φ'(z) z_y differentiated twice by x, not φ'(z) z_x by x, y


def test_a_function_without_a_rule_says_so():
    series = Series.coordinates(torch.zeros(1, 1), algebra(frozenset({(1,)})))
    with pytest.raises(NotImplementedError, match=r"special_j0|bessel_j0"):
        torch.special.bessel_j0(series)


def test_constants_have_zero_derivatives():
    points = torch.zeros(3, 1, dtype=torch.float64)
    for maker in (taylor, autograd):
        jet = maker(lambda p: {"u": p[..., 0] * 0 + 2.0}, points, _partials(1, 2))
        assert [jet[p][0].item() for p in _partials(1, 2)] == [2.0, 0.0, 0.0]


def test_a_field_that_is_a_number_has_zero_derivatives():
    jet = taylor(lambda p: {"u": 2.0}, torch.zeros(3, 1, dtype=torch.float64), _partials(1, 2))
    assert [jet[p].tolist() for p in _partials(1, 2)] == [[2.0] * 3, [0.0] * 3, [0.0] * 3]


def test_autograd_leaves_no_graph_without_gradients(generator):
    network = _network("tanh", 1, generator)
    with torch.no_grad():
        jet = autograd(lambda p: {"u": network(p)[..., 0]}, torch.zeros(2, 1, dtype=torch.float64), _partials(1, 2))
    assert not any(value.requires_grad for value in jet.values())


def test_a_jet_checks_its_shapes():
    with pytest.raises(ValueError, match=r"\(3, 1\), wanted \(3,\)"):
        Jet(torch.zeros(3, 2), {Partial("u", (0, 0)): torch.zeros(3, 1)})


def _loss_of(network, points, gradient):
    """Return a function that evaluates a loss, and writes its gradient to a vector."""
    partials = [Partial("u", (2, 0)), Partial("u", (0, 1))]

    def loss():
        with torch.enable_grad():
            jet = taylor(lambda x: {"u": network(x)[..., 0] * x[..., 0]}, points, partials)
            value = (jet[partials[1]] - jet[partials[0]]).square().mean()
            parts = torch.autograd.grad(value, list(network.parameters()), materialize_grads=True)
        torch.cat([part.flatten() for part in parts], out=gradient)
        return value.detach()

    return loss


@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_a_compiled_loss_follows_parameters_and_points_that_change_in_place(backend, generator):
    network = _network("tanh", 2, generator, [5])
    points = torch.rand(16, 2, generator=generator, dtype=torch.float64)
    gradient = torch.zeros(sum(p.numel() for p in network.parameters()), dtype=torch.float64)
    loss = _loss_of(network, points, gradient)
    try:
        fast = compiled(loss, backend)
    except ResourceError as fault:
        if backend != "inductor" or which("c++"):
            raise
        pytest.skip(str(fault))
    with torch.no_grad():
        points *= 0.9
        for parameter in network.parameters():
            parameter += 0.1
    value, found = fast().clone(), gradient.clone()
    assert float(value) == pytest.approx(float(loss()), rel=1e3 * ROUNDOFF)
    assert (found - gradient).abs().max() <= 1e3 * ROUNDOFF * gradient.abs().max()


def test_all_of_a_loss_and_its_gradient_is_compiled_together(generator):
    graphs, network = [], _network("tanh", 2, generator, [5])
    gradient = torch.zeros(sum(p.numel() for p in network.parameters()), dtype=torch.float64)
    points = torch.rand(16, 2, generator=generator, dtype=torch.float64)
    compiled(_loss_of(network, points, gradient), lambda graph, inputs: (graphs.append(graph), graph.forward)[1])
    assert len(graphs) == 1
    written = [node for node in graphs[0].graph.nodes if "out" in node.kwargs]
    assert len(written) == 1  # the gradient; channels are values, which a compiler fuses, and not written in parts


def test_what_cannot_be_compiled_says_so():
    x = torch.ones(1)
    with pytest.raises(ResourceError, match=r"cannot be compiled here: .*'nonsense'"):
        compiled(lambda: x + 1, "nonsense")


def test_a_compiler_that_gives_other_numbers_is_noticed():
    x = torch.tensor(3.0)
    wrong = lambda graph, inputs: lambda *values: [torch.tensor(2.0)]  # noqa: E731
    with pytest.raises(ResourceError, match=r"give 2\.0 instead of 4\.0"):
        compiled(lambda: x + 1, wrong)
