"""What leaves this program: VTK, exported programs, animations, an MLflow store."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings

import meshio
import numpy as np
import pytest
import torch
from PIL import Image

from pinnsolve.cli import run as command_line
from pinnsolve.errors import InputError, ResourceError, SettingsError
from pinnsolve.networks import derive_constraints
from pinnsolve.networks.exporting import FieldsOfPoints, exported_program, onnx_bytes
from pinnsolve.networks.piecewise import PiecewiseAnsatz
from pinnsolve.report.animation import encoder
from pinnsolve.runs.tracking import numbers, track
from pinnsolve.runs.vtk import grid_vtk, points_vtk
from pinnsolve.solving import resolve_settings
from pinnsolve.solving.preparation import build_ansatz

# a periodic coordinate, two fields, one in a range, conditions built in
PAIR = """title = "Two fields"
periodic = ["x"]
[fields.u]
[fields.v]
range = "positive"
[coordinates]
x = [0, 2]
t = [0, 1]
[equations]
first = "u_t = u_xx + v"
second = "v_t = v_xx - u"
[[conditions]]
where = "t = 0"
equation = "u = sin(pi*x)"
[[conditions]]
where = "t = 0"
equation = "v = 1"
[solve]
network.width = 6
network.depth = 2
training.optimizer = "lm"
training.points = 64
training.steps = 2
audit.enabled = false
"""

STILL = """title = "At rest"
[coordinates]
x = [0, 1]
[equations]
poisson = "u_xx = -2"
[[conditions]]
where = ["x = 0", "x = 1"]
equation = "u = 0"
[reference]
exact = { u = "x*(1 - x)" }
[solve]
network.width = 4
network.depth = 1
training.optimizer = "lm"
training.points = 32
training.steps = 2
audit.enabled = false
"""


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """Return the outputs of a small solved problem."""
    place = tmp_path_factory.mktemp("outputs")
    (place / "pair.toml").write_text(PAIR)
    arguments = ["solve", str(place / "pair.toml"), "-o", str(place), "--name", "one", "--quiet"]
    assert command_line(arguments) == 0
    return place


def ansatz_of(problem, seed=0, activation="tanh"):
    settings = resolve_settings({"network.width": 5, "network.depth": 2, "network.activation": activation})
    generator = torch.Generator().manual_seed(seed)
    return build_ansatz(problem, settings, derive_constraints(problem), generator)


# ----------------------------------------------------------------------------------------------------------- VTK


@pytest.mark.parametrize("sizes", [(4,), (4, 3), (4, 3, 2)])
def test_a_grid_is_read_by_a_vtk_reader_with_every_value_in_its_place(tmp_path, sizes):
    axes = [np.linspace(0, axis + 1, size) for axis, size in enumerate(sizes)]
    mesh = np.meshgrid(*axes, indexing="ij")
    values = sum((10.0**axis * part for axis, part in enumerate(mesh)), np.zeros(sizes)).ravel()
    (tmp_path / "a.vtk").write_bytes(grid_vtk(axes, {"u": values, "u_x": 2 * values}, "Grid, ν\nx"))
    read = meshio.read(tmp_path / "a.vtk")
    assert len(read.points) == np.prod(sizes)
    expected = read.points[:, : len(sizes)] @ 10.0 ** np.arange(len(sizes))
    np.testing.assert_allclose(read.point_data["u"], expected, rtol=1e-15)
    np.testing.assert_allclose(read.point_data["u_x"], 2 * expected, rtol=1e-15)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_points_are_read_by_a_vtk_reader(tmp_path, dimension):
    points = np.random.default_rng(0).random((9, dimension))
    (tmp_path / "a.vtk").write_bytes(points_vtk(points, {"d(u, x1)": points[:, 0]}, "Points"))
    read = meshio.read(tmp_path / "a.vtk")
    np.testing.assert_array_equal(read.points[:, :dimension], points)
    np.testing.assert_array_equal(next(iter(read.point_data.values())), points[:, 0])
    assert len(read.cells[0].data) == 9


def test_four_coordinates_are_refused():
    with pytest.raises(InputError, match="VTK has three coordinates, the problem 4; use --format npz"):
        grid_vtk([np.zeros(1)] * 4, {}, "")


def test_predicted_values_are_the_same_in_vtk_and_npz(solved, tmp_path):
    where = ["predict", "pair/one", "-o", str(solved), "--grid", "5,4", "--derivatives", "u_x"]
    assert command_line([*where, "--format", "npz", "--to", str(tmp_path / "a.npz")]) == 0
    assert command_line([*where, "--format", "vtk", "--to", str(tmp_path / "a.vtk")]) == 0
    archive, read = np.load(tmp_path / "a.npz"), meshio.read(tmp_path / "a.vtk")
    order = np.lexsort((archive["x"], archive["t"]))  # the first coordinate fastest
    np.testing.assert_array_equal(read.points[:, 0], archive["x"][order])
    for name in ("u", "v", "u_x"):
        np.testing.assert_array_equal(read.point_data[name].ravel(), archive[name][order])


def test_predicted_points_go_to_vtk_too(solved, tmp_path):
    (tmp_path / "p.csv").write_text("x,t\n0.5,0.25\n1.5,0.75\n")
    where = ["predict", "pair/one", "-o", str(solved), "--points", str(tmp_path / "p.csv")]
    assert command_line([*where, "--format", "vtk", "--to", str(tmp_path / "a.vtk")]) == 0
    assert meshio.read(tmp_path / "a.vtk").points[:, :2].tolist() == [[0.5, 0.25], [1.5, 0.75]]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(["--format", "vtk"], "vtk is no text: name a file"), (["--format", "xls"], "known: csv, npz, vtk")],
)
def test_a_format_that_cannot_be_written_is_refused(solved, arguments, reason, capsys):
    assert command_line(["predict", "pair/one", "-o", str(solved), "--grid", "3,3", *arguments]) == 2
    assert reason in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------ programs


@pytest.mark.parametrize("activation", ["tanh", "elu", "gelu", "sine", "softplus"])
def test_an_exported_program_gives_the_same_fields_for_any_number_of_points(problem_from, activation):
    problem = problem_from(PAIR)
    ansatz = ansatz_of(problem, activation=activation)
    program = exported_program(ansatz, problem.field_names, torch.rand(7, 2, dtype=torch.float64))
    points = torch.rand(23, 2, dtype=torch.float64) * torch.tensor([2.0, 1.0])
    ours = ansatz(points)
    found = program.module()(points)
    for column, name in enumerate(problem.field_names):
        torch.testing.assert_close(found[:, column], ours[name], rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("begun", [3, 2])
def test_a_program_of_windows_chooses_the_window_of_each_point(problem_from, begun):
    problem = problem_from(PAIR)
    parts = [ansatz_of(problem, seed) for seed in range(begun)]
    whole = PiecewiseAnsatz(1, [0.0, 0.25, 0.5, 1.0], parts)
    program = exported_program(whole, problem.field_names, torch.rand(7, 2, dtype=torch.float64))
    points = torch.cartesian_prod(torch.linspace(0, 2, 5), torch.linspace(0, 1, 9)).double()  # joints among them
    found, ours = program.module()(points), whole(points)
    torch.testing.assert_close(found[:, 0], ours["u"], rtol=1e-14, atol=1e-14, equal_nan=True)
    assert bool(found.isnan().any()) == (begun < 3)


def test_an_onnx_program_gives_the_same_fields_in_another_interpreter(problem_from):
    import onnx.reference

    problem = problem_from(PAIR)
    ansatz = ansatz_of(problem)
    program = exported_program(ansatz, problem.field_names, torch.rand(7, 2, dtype=torch.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages that the exporter uses
        content = onnx_bytes(program)
    points = torch.rand(11, 2, dtype=torch.float64)
    (found,) = onnx.reference.ReferenceEvaluator(content).run(None, {"points": points.numpy()})
    np.testing.assert_allclose(found[:, 0], ansatz(points)["u"].detach().numpy(), rtol=1e-12, atol=1e-12)


def test_what_cannot_be_exported_is_refused_with_its_reason():
    class Stubborn(torch.nn.Module):
        def forward(self, points):
            if float(points.sum()) > 0:
                return {"u": points[:, 0]}
            return {"u": points[:, 1]}

    with pytest.raises(SettingsError, match="this solution cannot be exported: "):
        exported_program(Stubborn(), ["u"], torch.rand(7, 2))


def test_without_the_extra_onnx_is_a_missing_resource(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ResourceError, match=r"pip install 'pinnsolve\[onnx\]'"):
        onnx_bytes(None)


def test_an_exported_run_needs_no_pinnsolve(solved, tmp_path, capsys):
    import subprocess

    path = tmp_path / "solution.pt2"
    assert command_line(["export", "pair/one", "-o", str(solved), "--to", str(path)]) == 0
    assert "points (N, 2) of x, t to fields (N, 2): u, v" in capsys.readouterr().out
    code = (
        "import sys, json, torch; about = {'about.json': ''}; "
        "program = torch.export.load(sys.argv[1], extra_files=about).module(); "
        "values = program(torch.tensor([[0.5, 0.0], [1.0, 0.5]], dtype=torch.float64)); "
        "assert not [name for name in sys.modules if name.startswith('pinnsolve')]; "
        "print(json.dumps([values.tolist(), json.loads(about['about.json'])]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    values, about = json.loads(done.stdout)
    assert values[0] == pytest.approx([1.0, 1.0], abs=1e-14)  # the initial values, built in
    assert (about["inputs"], about["outputs"]) == (["x", "t"], ["u", "v"])


def test_an_export_of_an_unknown_kind_is_refused(solved, capsys):
    assert command_line(["export", "pair/one", "-o", str(solved), "--to", "u.pkl"]) == 2
    assert "got '.pkl'; known: .pt2, .onnx" in capsys.readouterr().err


def test_fields_stand_in_the_order_that_was_asked_for(problem_from):
    problem = problem_from(PAIR)
    ansatz, points = ansatz_of(problem), torch.rand(3, 2, dtype=torch.float64)
    swapped = FieldsOfPoints(ansatz, ["v", "u"])(points)
    assert torch.equal(swapped[:, 1], ansatz(points)["u"])


# ---------------------------------------------------------------------------------------------------- animations


def test_a_solution_over_time_becomes_a_gif_of_changing_frames(solved):
    assert command_line(["report", "pair/one", "-o", str(solved), "--animate"]) == 0
    with Image.open(solved / "pair" / "one" / "figures" / "animation_u.gif") as film:
        assert film.n_frames == 60
        frames = []
        for index in (0, 59):
            film.seek(index)
            frames.append(np.asarray(film.convert("RGB")))
    assert frames[0].shape == frames[1].shape
    assert (frames[0] != frames[1]).any()


@pytest.mark.skipif(encoder() is None, reason="neither ffmpeg nor imageio-ffmpeg here")
def test_the_film_has_the_frames_of_the_gif(solved):
    assert command_line(["report", "pair/one", "-o", str(solved), "--animate"]) == 0
    figures = solved / "pair" / "one" / "figures"
    drawn = []
    with Image.open(figures / "animation_u.gif") as still:
        for index in (0, 59):
            still.seek(index)
            drawn.append(np.asarray(still.convert("RGB")).astype(float))
    height, width = (2 * (size // 2) for size in drawn[0].shape[:2])  # the codec wants even sizes
    drawn = [frame[:height, :width] for frame in drawn]
    command = [encoder(), "-loglevel", "error", "-i", str(figures / "animation_u.mp4"), "-f", "rawvideo"]
    decoded = subprocess.run([*command, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True).stdout
    shown = np.frombuffer(decoded, np.uint8).reshape(60, height, width, 3).astype(float)
    for index, own, other in ((0, *drawn), (-1, *drawn[::-1])):
        distances = [np.abs(shown[index] - frame).mean() for frame in (own, other, own[::-1], own[:, ::-1])]
        assert distances[0] < min(distances[1:])  # in order, upright


def test_without_ffmpeg_there_is_no_film_and_with_it_the_system_is_asked_first(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert encoder() == "/usr/bin/ffmpeg"
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert encoder() is None


def test_a_solution_without_time_is_not_animated(tmp_path, capsys):
    (tmp_path / "still.toml").write_text(STILL)
    assert command_line(["solve", str(tmp_path / "still.toml"), "-o", str(tmp_path), "--name", "one", "-q"]) == 0
    assert command_line(["report", "still/one", "-o", str(tmp_path), "--animate"]) == 2
    assert "needs a solution over one space coordinate and time; this one is over x" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------- MLflow

METRICS = {
    "problem": "pair",
    "status": "finished",
    "seconds": 2.5,
    "settings": {"seed": 0, "network": {"activation": "tanh", "fourier": None}},
    "fields": {"u": {"relative_l2": 1e-3, "reference": "exact", "max_error": float("nan")}},
    "derivatives": [{"term": "u_xx", "scheme": "central2", "dtype": "float64", "fd_vs_ad": 1e-7}],
}


def test_numbers_are_those_that_are_finite():
    assert dict(numbers(METRICS)) == {
        "seconds": 2.5,
        "fields.u.relative_l2": 1e-3,
        "audit.u_xx.central2.float64.fd_vs_ad": 1e-7,
    }


def test_a_run_is_logged_with_settings_numbers_and_files(tmp_path, monkeypatch):
    client = pytest.importorskip("mlflow").MlflowClient
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metrics.json").write_text("{}")
    uri = (tmp_path / "store").as_uri()
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # newer versions ask for a database otherwise
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the store's own packages
        identity = track(uri, METRICS, folder)
        found = client(tracking_uri=uri).get_run(identity)
        files = [file.path for file in client(tracking_uri=uri).list_artifacts(identity)]
    assert found.data.params == {"seed": "0", "network.activation": "tanh"}
    assert found.data.metrics["fields.u.relative_l2"] == 1e-3
    assert found.info.status == "FINISHED"
    assert files == ["metrics.json"]


def test_without_the_extra_mlflow_is_a_missing_resource(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ResourceError, match=r"pip install 'pinnsolve\[mlflow\]'"):
        track("file:///nowhere", METRICS)


def test_a_store_that_does_not_answer_is_a_missing_resource():
    pytest.importorskip("mlflow")
    with pytest.raises(ResourceError, match="the run is not logged"):
        track("nothing://nowhere", METRICS)
