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


def test_the_setting_of_dask_in_the_readme_is_one_that_dask_has():
    (name, value) = re.search(r'export (DASK_\w+)="(.*?)"', README.read_text()).groups()
    import dask
    import distributed  # noqa: F401, its settings

    given = dask.config.collect_env({name: value})
    assert given == {"distributed": {"nanny": {"environ": {"OMP_NUM_THREADS": 4}}}}
    assert dask.config.get("distributed.nanny.environ") == {}
    # what it is there to overrule
    assert dask.config.get("distributed.nanny.pre-spawn-environ")["OMP_NUM_THREADS"] == 1


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
