"""`pinnsolve activations`: what is printed, the JSON, the figures."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from pinnsolve.cli import run
from pinnsolve.errors import InputError
from pinnsolve.networks import activation, activation_names
from pinnsolve.networks.propagation import signal_propagation
from pinnsolve.report.activation_figure import activation_figure, propagation_figure
from pinnsolve.report.figure_files import save_figure
from pinnsolve.report.style import figure_style, new_figure


def test_every_activation_is_measured_in_the_table(capsys):
    assert run(["activations"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(sum(line.startswith(name + " ") for line in lines) == 2 for name in activation_names())
    (moments,) = [line for line in lines if line.startswith("elu ") and "0.1605" in line]
    assert moments.split()[1:] == [
        "0.1605",
        "0.6449",
        "0.7616",
        "0.6681",
        "1.2452",
        "1.0359",
        "0",
        "0",
        "-1",
        "-1",
        "-1",
    ]


def test_json_has_null_where_there_is_no_bound(capsys):
    assert run(["activations", "--activation", "elu,swish", "--alpha", "0.5", "--json"]) == 0
    elu, silu = json.loads(capsys.readouterr().out)
    assert (elu["name"], silu["name"]) == ("elu", "silu")
    assert elu["range"] == [-0.5, None]
    assert elu["jumps"] == [0, 0.5, -0.5, -0.5, -0.5]
    assert (elu["exact_residual_order"], elu["exact_gradient_order"], elu["smoothness"]) == (1, 0, 0)
    assert (silu["exact_residual_order"], silu["smoothness"], silu["inverse"]) == (None, None, None)
    assert elu["gain"] == pytest.approx(elu["moments"]["square"] ** -0.5)


def test_signals_in_an_untrained_network_are_printed_layer_by_layer(capsys):
    assert run(["activations", "--network", "3x16", "--activation", "selu", "--initialization", "lecun"]) == 0
    text = capsys.readouterr().out
    rows = [line.split() for line in text.splitlines() if line[:1].isdigit()]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert "(1.000)" in rows[0]
    assert run(["activations", "--network", "3x16", "--json", "--seed", "4", "--inputs", "2"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert list(record) == ["tanh"]
    assert [layer["variance"] for layer in record["tanh"]] == [
        layer.variance for layer in signal_propagation(activation("tanh"), 3, 16, inputs=2, seed=4)
    ]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--activation", "tahn"], "unknown activation 'tahn'; did you mean 'tanh'"),
        (["--network", "8"], "a network is DEPTHxWIDTH with 1 to 4096 each, e.g. 8x64; got '8'"),
        (["--network", "0x9"], "got '0x9'"),
        (["--network", "2x4", "--initialization", "hee"], "unknown initialization 'hee'; did you mean 'he'"),
        (["--activation", "elu", "--figure", "phi.gif"], "a figure is a file .pdf, .png or .svg, got 'phi.gif'"),
    ],
)
def test_mistakes_are_explained(arguments, match, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["activations", *arguments]) == 2
    assert match in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_figures_are_files_of_the_kind_that_their_ending_says(capsys, tmp_path):
    svg, png = tmp_path / "phi.svg", tmp_path / "signals.png"
    assert run(["activations", "--activation", "elu,tanh", "--figure", str(svg)]) == 0
    assert ElementTree.fromstring(svg.read_bytes()).tag.endswith("svg")
    assert run(["activations", "--network", "2x8", "--figure", str(png), "--json"]) == 0
    assert png.read_bytes()[:4] == b"\x89PNG"
    captured = capsys.readouterr()
    assert f"figure: {svg}" in captured.out
    assert f"figure: {png}" in captured.err


def test_a_figure_of_another_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a figure is a file \.pdf, \.png or \.svg, got"):
        save_figure(lambda: new_figure(1, 1), tmp_path / "phi.bmp")


def test_jumps_are_gaps_and_what_autodiff_misses_is_an_arrow():
    with figure_style():
        figure = activation_figure([activation("elu"), activation("tanh")])
    elu, tanh = figure.axes
    curves = [line for line in elu.lines if len(line.get_xdata()) > 100]
    gaps = [int(np.isnan(line.get_ydata()).sum()) for line in curves]
    assert gaps == [0, 0, 1, 1]
    (arrow,) = [text for text in elu.texts if text.get_text() == ""]
    assert arrow.xy == (0, -1)  # the impulse in φ''': the jump of φ''
    assert not tanh.texts
    assert not any(np.isnan(line.get_ydata()).any() for line in tanh.lines)
    assert [axes.get_title() for axes in figure.axes] == ["elu, $C^{1}$", r"tanh, $C^{\infty}$"]


def test_signals_are_drawn_with_their_limits():
    layers = signal_propagation(activation("tanh"), 3, 8, points=8)
    with figure_style():
        figure = propagation_figure({"tanh": layers, "sine": signal_propagation(activation("sine"), 3, 8, points=8)})
    left, right = figure.axes
    assert len(left.lines) == len(right.lines) == 3  # sine has no limit
    assert left.lines[0].get_ydata().tolist() == [1.0, *(layer.variance for layer in layers)]
    assert left.lines[1].get_ydata().tolist() == [1.0, *(layer.wide.variance for layer in layers)]
    assert right.lines[0].get_ydata()[-1] == pytest.approx(np.prod([layer.derivative_gain for layer in layers]))
