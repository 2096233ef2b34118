"""Training over several processes: the same numbers as one process with all points."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pinnsolve.errors import ResourceError
from pinnsolve.training import workers as workers_module
from pinnsolve.training.least_squares import solve_output_layer
from pinnsolve.training.levenberg_marquardt import LevenbergMarquardt
from pinnsolve.training.workers import ALONE, Workers, join_workers, own_device
from tests.conftest import BURGERS
from tests.test_training import _objective

PROGRAM = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from pinnsolve.problems.loading import parse_problem
from pinnsolve.training.least_squares import Factorization, solve_output_layer, triangular_factor
from pinnsolve.training.levenberg_marquardt import LevenbergMarquardt
from pinnsolve.training.workers import join_workers
from tests.conftest import BURGERS
from tests.test_training import _objective

torch.set_num_threads(1)
workers = join_workers(torch.device("cpu"))
ansatz, objective = _objective(parse_problem(BURGERS.encode(), Path("test.toml")), mode="soft")
objective = replace(objective, workers=workers)
points = torch.load(sys.argv[1])
own = [place.chunk(workers.count)[workers.rank] for place in points]
optimizer = LevenbergMarquardt(objective, ansatz)
results = []
for number in (1, 2):
    optimizer.restore({}, {"damping": 1.0, "scale": 1e6})  # small enough for JᵀJ in float64
    results.append(optimizer.step(own, number))
weights = torch.cat([p.detach().flatten() for p in ansatz.parameters()])
rows = torch.randn(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
rows = rows.chunk(workers.count)[workers.rank]
factor = triangular_factor([rows], 0.0, workers)
solved = Factorization.of(rows[:, :-1], 0.0, workers=workers).solve(rows[:, -1])
value = objective.value(own)
clock = workers.agreed(float(10 + workers.rank))
for layer in ansatz.network.layers:
    layer.requires_grad_(False)
newton = solve_output_layer(objective, ansatz.network.output, own, iterations=8)
output = torch.cat([p.detach().flatten() for p in ansatz.network.output.parameters()])
if workers.leads:
    found = {"weights": weights, "terms": results[1].terms, "factor": factor, "value": value, "clock": clock}
    torch.save({**found, "solved": solved, "newton": newton, "output": output}, sys.argv[2])
torch.distributed.destroy_process_group()
"""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ROOT = Path(__file__).parents[1]


def _run(arguments: list[str], **variables: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(
        [*TORCHRUN, *arguments], capture_output=True, text=True, check=False, env=environment, cwd=ROOT, timeout=300
    )


@pytest.mark.parametrize("count", [96, 16])  # more rows than parameters, and fewer: both forms of the linear model
def test_two_processes_take_the_steps_of_one_with_all_points(problem_from, tmp_path, count):
    ansatz, objective = _objective(problem_from(BURGERS), mode="soft")
    points = objective.draw(count, 0.0, torch.Generator().manual_seed(0))
    points = [place[: len(place) // 2 * 2] for place in points]
    torch.save(points, tmp_path / "points.pt")
    (tmp_path / "program.py").write_text(PROGRAM)
    done = _run([str(tmp_path / "program.py"), str(tmp_path / "points.pt"), str(tmp_path / "result.pt")])
    assert done.returncode == 0, done.stderr[-2000:]
    found = torch.load(tmp_path / "result.pt")
    optimizer = LevenbergMarquardt(objective, ansatz)
    results = []
    for number in (1, 2):
        optimizer.restore({}, {"damping": 1.0, "scale": 1e6})
        results.append(optimizer.step(points, number))
    weights = torch.cat([parameter.detach().flatten() for parameter in ansatz.parameters()])
    # sums in another order: rounding, 1e-16, times the condition number of JᵀJ + λI, below 1e4 here
    assert torch.allclose(found["weights"], weights, rtol=1e-11, atol=1e-11)
    assert found["terms"] == pytest.approx(results[1].terms, rel=1e-10)
    rows = torch.randn(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(found["factor"].t() @ found["factor"], rows.t() @ rows, rtol=1e-13, atol=1e-13)
    solution, left, *_ = np.linalg.lstsq(rows[:, :-1].numpy(), rows[:, -1].numpy())
    assert found["solved"][0].numpy() == pytest.approx(solution, rel=1e-12)
    assert found["solved"][1] == pytest.approx(float(left[0]), rel=1e-12)
    assert found["value"] == pytest.approx(objective.value(points), rel=1e-10)
    assert found["clock"] == 10.0
    for layer in ansatz.network.layers:
        layer.requires_grad_(False)
    loss, evaluations = solve_output_layer(objective, ansatz.network.output, points, iterations=8)
    assert found["newton"] == (pytest.approx(loss, rel=1e-9), evaluations)
    output = torch.cat([parameter.detach().flatten() for parameter in ansatz.network.output.parameters()])
    # QR: rounding times the condition number of the output layer's matrix itself, below 1e6 for six tanh units
    assert torch.allclose(found["output"], output, rtol=1e-9, atol=1e-9)


def test_torchrun_solves_and_one_process_writes(tmp_path):
    problem = tmp_path / "decay.toml"
    problem.write_text(
        'title = "Decay"\n[coordinates]\nt = [0, 1]\n[equations]\ndecay = "u_t = -u"\n'
        '[[conditions]]\nwhere = "t = 0"\nequation = "u = 1"\n[reference]\nexact = { u = "exp(-t)" }\n'
    )
    options = ["--name", "run", "--output", str(tmp_path), "--steps", "12", "--quiet", "--require-error", "1e-9"]
    done = _run(["-m", "pinnsolve", "solve", str(problem), *options], PINNSOLVE_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "decay" / "run" / "metrics.json").is_file()


def test_a_process_that_is_alone_needs_no_communication():
    assert join_workers(torch.device("cpu")) is ALONE
    values = torch.ones(3)
    assert ALONE.total(values) is values
    assert ALONE.stacked(values) is values
    assert (ALONE.mean(2.0), ALONE.agreed(3.0), ALONE.seed(5), ALONE.leads) == (2.0, 3.0, 5, True)
    assert Workers(rank=2, count=3).seed(5) != Workers(rank=1, count=3).seed(5)


def test_processes_that_cannot_meet_are_a_missing_resource(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")

    def refuse(backend: str) -> None:
        raise ValueError(f"no rendezvous for {backend}")

    monkeypatch.setattr(workers_module.processes, "init_process_group", refuse)
    with pytest.raises(ResourceError, match="2 processes of this run cannot reach each other: no rendezvous for gloo"):
        join_workers(torch.device("cpu"))


def test_each_process_takes_the_gpu_of_its_number(monkeypatch):
    assert own_device(torch.device("cuda")) == torch.device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_device(torch.device("cuda")) == torch.device("cuda", 3)
    assert own_device(torch.device("cuda", 1)) == torch.device("cuda", 1)
    assert own_device(torch.device("cpu")) == torch.device("cpu")
