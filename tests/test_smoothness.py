"""Which activations are refused, and that what the warning says of the loss gradient is so."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from pinnsolve.cli import run
from pinnsolve.errors import SettingsError
from pinnsolve.networks.activations import activation
from pinnsolve.networks.smoothness import smoothness_note
from pinnsolve.problems.formulation import formulated

from .conftest import BURGERS

EQUATIONS = {1: "u_x = u", 2: "u_xx = u", 3: "u_xxx = u", 4: "u_xxxx = u"}
TEMPLATE = """
title = "test"
[coordinates]
x = [0, 1]
[equations]
e = "{equation}"
[[conditions]]
where = "x = 0"
equation = "{condition}"
[reference]
solver = "none"
"""


def _problem(problem_from, order, condition="u = 1"):
    return problem_from(TEMPLATE.format(equation=EQUATIONS[order], condition=condition))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("name", "alpha", "smoothness"),
    [
        ("relu", 1, 0),
        ("leaky_relu", 1, 0),
        ("selu", 1, 0),
        ("elu", 0.5, 0),
        ("elu", 1, 1),
        ("celu", 0.5, 1),
        ("softsign", 1, 1),
        ("tanh", 1, math.inf),
        ("mish", 1, math.inf),
    ],
)
def test_residuals_need_one_derivative_less_than_gradients(problem_from, order, name, alpha, smoothness):
    problem, phi = _problem(problem_from, order), activation(name, alpha)
    if order > smoothness + 1:
        sentence = (
            f"^{name} is C{smoothness}: its derivative of order {smoothness + 1} jumps, so those of order {order}, "
            rf"which 'test' needs, lack an impulse .* the residual is wrong; use .* \(--allow-rough overrides\)$"
        )
        with pytest.raises(SettingsError, match=sentence):
            smoothness_note(problem, phi)
        assert "the residual is wrong; trained all the same" in smoothness_note(problem, phi, allow_rough=True)
    elif order > smoothness:
        note = smoothness_note(problem, phi)
        assert f"{name} has jumps in its derivative of order {order}" in note
        assert "misses the part of the loss gradient" in note
        assert "-0.913, and it computes +3.087" in note
        assert ("--formulation first-order" in note) == (order > 1)
    else:
        assert smoothness_note(problem, phi) == ""


def test_conditions_count_as_well(problem_from):
    problem = _problem(problem_from, 1, condition="u_xx = 1")
    assert "on an equation of order 2" in smoothness_note(problem, activation("elu"))
    with pytest.raises(SettingsError, match="relu is C0"):
        smoothness_note(problem, activation("relu"))


def test_the_remedy_that_is_named_leaves_nothing_to_warn_of(problem_from):
    problem = problem_from(BURGERS)
    assert "--formulation first-order" in smoothness_note(problem, activation("elu"))
    assert smoothness_note(formulated(problem, "first-order"), activation("elu")) == ""


def test_check_refuses_warns_and_may_be_overruled(tmp_path, capsys):
    file = tmp_path / "second.toml"
    file.write_text(TEMPLATE.format(equation=EQUATIONS[2], condition="u = 1"))

    def levels(*options: str) -> tuple[int, list[str]]:
        code = run(["check", str(file), "--json", *options])
        (findings,) = json.loads(capsys.readouterr().out).values()
        return code, [each["level"] for each in findings if each["key"] == "network.activation"]

    # 6 in any case: the problem lacks a condition; so the levels are what counts
    assert levels("--activation", "relu")[1] == ["error"]
    assert levels("--activation", "relu", "--allow-rough")[1] == ["warning"]
    assert levels("--activation", "elu")[1] == ["warning"]
    assert levels("--activation", "elu", "--formulation", "first-order")[1] == []
    assert levels("--activation", "tanh")[1] == []


def _loss(name: str, bias: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the mean of (u'' - 1)² for u = φ(2x + b), whose u'' autograd computes."""
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(activation(name)(2 * x + bias).sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
    return (curvature - 1).square().mean()


def _slopes(name: str) -> tuple[float, float]:
    """Return dL/db of L = ∫₀¹ (u'' - 1)² dx at b = -0.4, by autodiff and by differences of L."""
    x = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000  # midpoints
    bias = torch.tensor(-0.4, dtype=torch.float64, requires_grad=True)
    (automatic,) = torch.autograd.grad(_loss(name, bias, x), bias)
    step = 2.0**-8  # the kink x = -b/2 moves by 390 midpoints
    ends = [_loss(name, bias.detach() + sign * step, x).item() for sign in (1, -1)]
    return float(automatic), (ends[0] - ends[1]) / (2 * step)


def test_autodiff_misses_what_moves_the_kink_of_an_elu_unit():
    automatic, true = _slopes("elu")
    smooth_part = float(np.trapezoid(_integrand(np.linspace(0, 0.2, 20_001)), dx=1e-5))
    assert automatic == pytest.approx(smooth_part, abs=1e-4)  # midpoints of 5e-6 with a jump of 24 at one end
    assert automatic == pytest.approx(3.087, abs=5e-4)
    # at the kink r² falls from (4 - 1)² to 1, and the kink moves by -1/2 for b
    assert true == pytest.approx(smooth_part - (9 - 1) / 2, abs=1e-2)  # a midpoint more or less: 8 · 5e-6 / 2^-7
    assert true == pytest.approx(-0.913, abs=1e-2)


def _integrand(x: np.ndarray) -> np.ndarray:
    """Return d(r²)/db where r = 4 exp(2x - 0.4) - 1, left of the kink; r is constant right of it."""
    curvature = 4 * np.exp(2 * x - 0.4)
    return 2 * (curvature - 1) * curvature


def test_autodiff_misses_nothing_of_a_tanh_unit():
    automatic, true = _slopes("tanh")
    assert automatic == pytest.approx(true, rel=1e-4)  # the difference is of second order in 2^-8: 1.5e-5 times L'''/6
