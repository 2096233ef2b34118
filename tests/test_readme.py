"""The README is tested: its problem is solved, its Python runs, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pinnsolve.problems.lint import lint

README = Path(__file__).parents[1] / "README.md"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_problem_in_the_readme_is_well_posed(problem_from):
    (text,) = (block for block in _blocks("toml") if "title" in block)
    problem = problem_from(text)
    assert [finding for finding in lint(problem) if finding.level == "error"] == []


def test_the_geometry_in_the_readme_is_well_posed(problem_from):
    (geometry,) = (block for block in _blocks("toml") if block.startswith("[geometry]"))
    condition = '[[conditions]]\nwhere = "boundary"\nequation = "u = 0"'
    problem = problem_from(f'title = "t"\n{geometry}\n[equations]\ne = "laplacian(u) = 1"\n{condition}')
    assert [part.where for part in problem.domain.parts()] == ["on plate", "on hole", "on notch"]
    assert lint(problem) == []


def test_the_python_in_the_readme_runs(capsys, monkeypatch):
    (code,) = _blocks("python")
    assert "time_limit=60" in code
    names: dict[str, object] = {}
    exec(compile(code.replace("time_limit=60", "time_limit=2"), "README.md", "exec"), names)
    assert float(capsys.readouterr().out) > 0
    assert names["values"].shape == (2,)
    assert names["curvature"].shape == (1,)


def _exported():
    """Return the environment that the README has workers started in."""
    (line,) = re.findall(r"^export (.*)$", README.read_text(), re.MULTILINE)
    return dict(setting.split("=") for setting in line.split())


def test_workers_of_a_cluster_get_the_threads_that_the_readme_gives_them(monkeypatch):
    from distributed.nanny import _get_env_variables  # what a nanny starts its worker with

    def started_with():
        variables = _get_env_variables("distributed.nanny.pre-spawn-environ")
        return {name: value for name, value in variables.items() if name.endswith("_NUM_THREADS")}

    for name in started_with():
        monkeypatch.delenv(name, raising=False)
    assert set(started_with().values()) == {"1"}
    for name, value in _exported().items():
        monkeypatch.setenv(name, value)
    # every one of them: torch takes the least that MKL and OpenMP are given
    assert started_with() == _exported() == dict.fromkeys(_exported(), "4")


def test_the_workers_of_the_cluster_in_the_readme_take_one_run_at_a_time_on_all_their_cores():
    yaml = pytest.importorskip("yaml")  # comes with Dask
    from distributed.cli.dask_worker import main as dask_worker

    (text,) = _blocks("yaml")
    cluster = yaml.safe_load(text)
    assert (cluster["apiVersion"], cluster["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")
    (worker,) = cluster["spec"]["worker"]["spec"]["containers"]
    assert worker["args"][:2] == ["dask", "worker"]
    assert all(isinstance(argument, str) for argument in worker["args"])
    options = dask_worker.make_context("worker", [*worker["args"][2:], "tcp://127.0.0.1:8786"]).params
    assert (options["nthreads"], options["memory_limit"]) == (1, "0")
    assert {setting["name"]: setting["value"] for setting in worker["env"]} == _exported()
    assert set(_exported().values()) == {str(worker["resources"]["requests"]["cpu"])}
    service = cluster["spec"]["scheduler"]["service"]
    assert service["selector"]["dask.org/cluster-name"] == cluster["metadata"]["name"]
    assert f"tcp://{cluster['metadata']['name']}-scheduler:{service['ports'][0]['port']} " in README.read_text()
    (mount,) = worker["volumeMounts"]
    assert f"--output {mount['mountPath']}\n" in README.read_text()


def test_every_command_stands_in_the_readme_and_has_help():
    from pinnsolve.cli.app import app

    text = README.read_text()
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        assert f"`pinnsolve {name}" in text, name
        assert command.callback.__doc__, name


@pytest.mark.parametrize("target", ["solve", "test"])
def test_the_two_commands_are_in_the_makefile(target):
    assert f"make {target}" in README.read_text()
    assert re.search(rf"^{target}:", (README.parent / "Makefile").read_text(), re.MULTILINE)
