"""Large terms that cancel: rounding is no wrong derivative, and a wrong derivative is no rounding."""

from __future__ import annotations

import dataclasses
import math

import mpmath
import numpy as np
import pytest
import torch

from pinnsolve.audit import audit
from pinnsolve.audit.baseline import Model, _roundings, automatic_jet
from pinnsolve.audit.records import rms
from pinnsolve.audit.sample import audit_sample
from pinnsolve.audit.verdict import VERDICTS
from pinnsolve.networks.activations import activation
from pinnsolve.networks.piecewise import PiecewiseAnsatz, parts_of
from pinnsolve.problems import Partial
from tests.test_audit import CPU, Field, _halved, _Tanh, verdicts
from tests.test_audit_in_full import trial

MARCHED = """
title = "heat, freely"
[coordinates]
x = [-1, 1]
t = [0, 1]
[equations]
heat = "u_t = u_xx"
"""
TIMES, SHIFT, STEEP, SIZE = 10, 2.0**-4, 2.0**5, 2.0**30  # exact in float32, too
BEND = Partial("u", (2, 0))


def cancelling():
    """Return u = C Σ_k (-1)^k binom(10, k) tanh(32 x + t/2 + (k - 5)/16): C δ^10 tanh^(10), as good as."""
    problem, ansatz = trial(MARCHED, width=TIMES + 1, depth=1, activation="tanh")
    k = torch.arange(TIMES + 1, dtype=torch.float64)
    with torch.no_grad():
        ansatz.features.centre.zero_()
        ansatz.features.inverse_half_length.fill_(1.0)
        ansatz.network.hidden[0].weight.copy_(torch.tensor([[STEEP, 0.5]]).expand(TIMES + 1, 2))
        ansatz.network.hidden[0].bias.copy_((k - TIMES / 2) * SHIFT)
        signs = [SIZE * (-1) ** j * math.comb(TIMES, j) for j in range(TIMES + 1)]
        ansatz.network.output.weight.copy_(torch.tensor([signs]))
        ansatz.network.output.bias.zero_()
    return problem, ansatz


def marched():
    """Return two windows of time, the first of which has terms that cancel."""
    problem, first = cancelling()
    return problem, PiecewiseAnsatz(1, [0.0, 0.5, 1.0], [first, trial(MARCHED)[1]])


def wide():
    """Return the same u from units in 64 copies, each with a share of the output weight."""
    problem, narrow = cancelling()
    _, ansatz = trial(MARCHED, width=64 * (TIMES + 1), depth=1, activation="tanh")
    ansatz.features = narrow.features
    with torch.no_grad():
        ansatz.network.hidden[0].weight.copy_(narrow.network.hidden[0].weight.repeat(64, 1))
        ansatz.network.hidden[0].bias.copy_(narrow.network.hidden[0].bias.repeat(64))
        ansatz.network.output.weight.copy_(narrow.network.output.weight.repeat(1, 64) / 64)
        ansatz.network.output.bias.zero_()
    return problem, ansatz


BUILT = {"one network": cancelling, "windows": marched, "wide": wide}


def audited(problem, ansatz, **options):
    """Return an audit by two schemes."""
    return audit(problem, ansatz, points=128, schemes=["central2", "central4"], **options)


# --- rounding -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("built", BUILT)
def test_terms_that_cancel_are_no_mismatch(built):
    report = audited(*BUILT[built]())
    assert "derivative mismatch" not in verdicts(report)
    assert verdicts(report, dtype="float32") == {"precision-limited"}
    (told,) = [sentence for sentence in report.sentences if sentence.startswith("rounding")]
    assert "in u_t" in told
    assert "in u_xx" in told


def test_the_condition_foretells_the_rounding_of_double_precision():
    problem, ansatz = cancelling()
    samples = audit_sample(problem, 64, 0, CPU)
    model = Model.rounded(ansatz, samples, "float64")
    condition = float(rms(_roundings(model, [BEND])[BEND])) * 2.0**53
    with mpmath.workdps(40):
        exact = [float(_bend(*map(mpmath.mpf, point))) for point in samples.points.tolist()]
    found = automatic_jet(ansatz, samples.points, [BEND])[BEND].detach().numpy()
    # the errors of 64 points are as many numbers of one size, in both precisions: three standard deviations of the
    # quotient of their RMS, √(2/64)/√2 · 3, are 0.4; what float32's tanh rounds worse than float64's is a factor of 2
    ratio = np.sqrt(np.mean((found - exact) ** 2)) / (condition * 2.0**-53)
    assert 1 / 3 < ratio < 3
    # and it is that of the terms, none of which is larger than max|tanh''| = 4/√27
    terms = [SIZE * STEEP**2 * math.comb(TIMES, k) for k in range(TIMES + 1)]
    assert condition < 4 / math.sqrt(27) * sum(terms)


def _bend(x, t):
    total = mpmath.mpf(0)
    for k in range(TIMES + 1):
        value = mpmath.tanh(STEEP * x + t / 2 + (k - TIMES / 2) * SHIFT)
        total += (-1) ** k * math.comb(TIMES, k) * -2 * value * (1 - value**2)
    return SIZE * STEEP**2 * total


def test_a_network_without_large_weights_has_its_digits():
    report = audited(*trial(MARCHED), dtypes=["float64"])
    assert not [sentence for sentence in report.sentences if sentence.startswith("rounding")]


def test_a_field_that_insists_on_double_precision_has_no_condition():
    problem, _ = trial(MARCHED)
    weight = torch.ones(1, 1, dtype=torch.float64)
    model = Model.rounded(
        Field(lambda x: x[..., :1] @ weight, of_points=True), audit_sample(problem, 8, 0, CPU), "float64"
    )
    assert not _roundings(model, [BEND])[BEND].any()


# --- sabotage -------------------------------------------------------------------------------------------------------


def _falsified(ansatz, routes):
    """Halve the second derivative of tanh in Taylor mode, in nested reverse mode, or in both."""
    tanh = activation("tanh")
    value = tanh.value if routes == "taylor" else _Tanh.apply
    derivatives = tanh.derivatives if routes == "autograd" else _halved
    for part in parts_of(ansatz):
        part.network.activation = dataclasses.replace(tanh, value=value, derivatives=derivatives)


@pytest.mark.parametrize("routes", ["taylor", "autograd", "both"])
@pytest.mark.parametrize("built", BUILT)
def test_a_falsified_second_derivative_is_flagged_though_terms_cancel(built, routes):
    problem, ansatz = BUILT[built]()
    _falsified(ansatz, routes)
    report = audited(problem, ansatz)
    assert verdicts(report, term="u_xx") == {"derivative mismatch"}
    assert "derivative mismatch" not in verdicts(report, term="u_t")
    assert VERDICTS["derivative mismatch"] in next(s for s in report.sentences if s.startswith("u_xx"))


@pytest.mark.parametrize("size", [1e-2, 1e-4])
@pytest.mark.parametrize("built", BUILT)
def test_a_small_fault_is_flagged_though_terms_cancel(built, size):
    tanh = activation("tanh")

    def derivatives(z, order):
        return [value * (1 + size) if k == 2 else value for k, value in enumerate(tanh.derivatives(z, order))]

    problem, ansatz = BUILT[built]()
    for part in parts_of(ansatz):
        part.network.activation = dataclasses.replace(tanh, derivatives=derivatives)
    # rounding is 1e-6 of u_xx, so that ten times as much is the least fault that shows
    assert verdicts(audited(problem, ansatz), term="u_xx", dtype="float64") == {"derivative mismatch"}


def test_a_fault_in_one_window_alone_is_flagged():
    problem, ansatz = marched()
    _falsified(ansatz.parts[1], "both")
    assert verdicts(audited(problem, ansatz), term="u_xx", dtype="float64") == {"derivative mismatch"}
