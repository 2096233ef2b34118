"""Problem files against values that are known from elsewhere."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from pinnsolve.problems import load_problem_file
from pinnsolve.problems.loading import parse_problem
from pinnsolve.references import chebyshev, find_reference

LIBRARY = Path(__file__).parents[1] / "problems"

# (t, V, w) from V = -20, w = 0.1, by solve_ivp with rtol 1e-9
TRAJECTORIES = {
    "hopf": [
        *((5, -3.06089, 0.131708), (10, 35.15125, 0.25023), (20, 19.12353, 0.465631), (40, -50.19916, 0.329937)),
        *((60, -38.21336, 0.142827), (80, -23.34689, 0.122822), (100, 29.78684, 0.376985)),
    ],
    "snic": [
        *((5, -25.55789, 0.066729), (10, -29.06793, 0.042177), (20, -30.81872, 0.017676), (40, -26.98113, 0.010165)),
        *((60, -8.6427, 0.027115), (80, -25.59444, 0.304553), (100, -41.41603, 0.012082)),
    ],
}
ENDS = {"hopf": "[0, 40]", "snic": "[0, 100]"}


def neuron(kind, end, current=None):
    text = (LIBRARY / f"morris_lecar_{kind}.toml").read_text().replace(f"t = {ENDS[kind]}", f"t = [0, {end}]")
    if current is not None:
        text = text.replace("I = 100" if kind == "hopf" else "I = 45", f"I = {current}")
    return parse_problem(text.encode(), Path(f"morris_lecar_{kind}.toml"))


@pytest.mark.parametrize("kind", TRAJECTORIES)
def test_the_neuron_follows_the_known_trajectory(kind):
    times, voltages, gates = np.array(TRAJECTORIES[kind]).T
    values = find_reference(neuron(kind, 100))(times[:, None])
    assert np.abs(values["V"] - voltages).max() < 0.5e-5 + 1e-6  # half of the last digit given, rtol 1e-9 of it
    assert np.abs(values["w"] - gates).max() < 0.5e-6 + 1e-8


@pytest.mark.parametrize(
    ("kind", "current", "hertz"), [("hopf", 100, 1000 / 85.291), ("snic", 45, 10.070), ("snic", 50, 13.237)]
)
def test_the_neuron_fires_at_the_known_frequency(kind, current, hertz):
    times = np.linspace(0, 500, 50001)
    voltage = find_reference(neuron(kind, 500, current))(times[:, None])["V"]
    rising = np.flatnonzero((voltage[:-1] < 0) & (voltage[1:] >= 0))
    crossings = times[rising] - voltage[rising] * 0.01 / (voltage[rising + 1] - voltage[rising])
    # half of the last digit that is given; the first crossing is on the way to the cycle
    assert 1000 / np.diff(crossings)[-1] == pytest.approx(hertz, abs=1e-3)


def test_the_gene_pulse_has_the_known_peak():
    text = (LIBRARY / "gene_pulse.toml").read_text()
    for fold, peak, place in ((2, 1.278465, 0.83098), (5, 1.717825, 0.64945)):
        problem = parse_problem(text.replace("fold = 5", f"fold = {fold}").encode(), Path("gene_pulse.toml"))
        times = np.linspace(0.6, 0.9, 300001)
        z = find_reference(problem)(times[:, None])["z"]
        assert z.max() == pytest.approx(peak, abs=0.6e-6)
        assert times[z.argmax()] == pytest.approx(place, abs=0.6e-5)


def test_the_gene_pulse_forgets_the_input_before():
    text = (LIBRARY / "gene_pulse.toml").read_text()
    times = np.linspace(0, 8, 50)[:, None]
    found = [
        find_reference(parse_problem(text.replace("start = 1 ", f"start = {start} ").encode(), Path("g.toml")))(times)
        for start in (1, 7)
    ]
    np.testing.assert_allclose(found[0]["z"], found[1]["z"], rtol=1e-14)
    np.testing.assert_allclose(7 * found[0]["y"], found[1]["y"], rtol=1e-14)


def test_the_hill_pulse_has_the_known_peak_and_rest():
    problem = load_problem_file(LIBRARY / "gene_pulse_hill.toml")
    times = np.linspace(0.3, 0.4, 100001)
    z = find_reference(problem)(times[:, None])["z"]
    assert z.max() == pytest.approx(0.108434, abs=0.6e-6)
    assert times[z.argmax()] == pytest.approx(0.3397, abs=0.6e-4)
    longer = (LIBRARY / "gene_pulse_hill.toml").read_text().replace("t = [0, 10]", "t = [0, 40]")
    rest = find_reference(parse_problem(longer.encode(), Path("h.toml")))(np.array([[40.0]]))["z"]
    assert rest[0] == pytest.approx(0.00999801, abs=1e-8)


def test_beer_lambert_has_the_known_intensities():
    intensity = find_reference(load_problem_file(LIBRARY / "beer_lambert.toml"))
    values = intensity(np.array([[0.25], [0.5], [0.75], [1.0]]))["I"]
    np.testing.assert_allclose(values, [0.951195, 0.828099, 0.720933, 0.685748], atol=0.6e-6)


def test_lotka_volterra_and_sir_conserve_what_their_files_say():
    for name in ("lotka_volterra", "sir"):
        problem = load_problem_file(LIBRARY / f"{name}.toml")
        times = np.linspace(*(problem.coordinates[0].lower, problem.coordinates[0].upper), 200)
        values = find_reference(problem)(times[:, None])
        (invariant,) = problem.invariants
        from pinnsolve.problems.formulas import numpy_functions

        jet = {partial: values[partial.field] for partial in invariant.density.partials}
        kept = invariant.density(numpy_functions(), [times], jet)
        np.testing.assert_allclose(kept, kept[0], rtol=1e-8)


def test_a_call_is_worth_what_black_and_scholes_say():
    problem = load_problem_file(LIBRARY / "black_scholes.toml")
    reference = chebyshev.solve(problem)
    assert reference.errors["u"] < 1e-10  # the kink of the initial values, too
    s, rate, sigma = np.linspace(0.5, 1.5, 21), 0.05, 0.4

    def normal(z):
        return np.array([0.5 * (1 + math.erf(x / math.sqrt(2))) for x in z])

    d1 = (np.log(s) + rate + sigma**2 / 2) / sigma
    call = s * normal(d1) - math.exp(-rate) * normal(d1 - sigma)
    found = reference(np.stack([s, np.ones_like(s)], axis=1))["u"]
    # the file ends at s = 4, where the price is not quite s - exp(-rate): the put is worth 4e-6 there
    assert np.abs(found - call).max() < 5e-6


def test_the_cavity_has_the_known_vortex():
    problem = load_problem_file(LIBRARY / "cavity.toml")
    reference = find_reference(problem)
    assert reference.field_names == ("u", "v")
    x = np.linspace(0, 1, 401)
    grid = np.stack([part.ravel() for part in np.meshgrid(x, x, indexing="ij")], axis=1)
    values = {name: value.reshape(401, 401) for name, value in reference(grid).items()}
    np.testing.assert_allclose(values["u"][:, -1], 4 * x * (1 - x), atol=1e-6)
    for wall in (values["u"][0], values["u"][-1], values["u"][:, 0], values["v"][0], values["v"][-1]):
        assert np.abs(wall).max() < 1e-6
    # no fluid is lost: differences of fourth order on the inner grid, away from the corners of the lid
    inner = slice(40, -40)
    weights = {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12}
    divergence = sum(w * (np.roll(values["u"], -k, 0) + np.roll(values["v"], -k, 1)) * 400 for k, w in weights.items())[
        inner, inner
    ]
    assert np.abs(divergence).max() < 1e-3
