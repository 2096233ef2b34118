"""The drawing of the floors is a test: imports point down, and floors hold their packages apart."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pinnsolve

PACKAGE = Path(pinnsolve.__file__).parent
FLOORS = {
    "errors": 0,
    "memory": 0,
    "problems": 0,
    "networks": 1,
    "derivatives": 1,
    "references": 1,
    "training": 2,
    "evaluation": 2,
    "audit": 2,
    "solving": 3,
    "runs": 4,
    "report": 5,
    "comparison": 5,
    "cli": 6,
}


def _imports(path: Path) -> set[str]:
    """Return the packages of pinnsolve that a module imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "pinnsolve":
                names = [f"pinnsolve.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("pinnsolve.")}
    return found


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE and "library" not in path.parts]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    own = path.relative_to(PACKAGE).parts[0]
    for other in _imports(path) - {own, "errors"}:
        assert FLOORS[other] < FLOORS[own], f"{path} on floor {FLOORS[own]} imports {other} on floor {FLOORS[other]}"


def test_every_package_stands_on_a_floor():
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert packages <= set(FLOORS)


def test_only_the_command_line_prints_or_exits():
    for path in MODULES:
        if path.relative_to(PACKAGE).parts[0] == "cli":
            continue
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"print", "exit", "eval", "exec", "compile", "sympify", "lambdify"}, path


def test_only_the_report_imports_matplotlib():
    for path in MODULES:
        if path.relative_to(PACKAGE).parts[0] != "report":
            assert "import matplotlib" not in path.read_text(), path


@pytest.mark.parametrize("arguments", [["--help"], ["list"]])
def test_help_and_list_load_nothing_heavy(arguments):
    code = (
        "import sys; from pinnsolve.cli import run; run(sys.argv[1:]); "
        "heavy = {'torch', 'deepxde', 'matplotlib', 'sympy', 'scipy'} & set(sys.modules); "
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
