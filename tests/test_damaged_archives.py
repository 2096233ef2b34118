"""Archives of arrays that were damaged, or made to do damage: each is one error, or a reference computed anew."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from pinnsolve.errors import ProblemError
from pinnsolve.problems.loading import parse_problem
from pinnsolve.references import cache, tabulated
from pinnsolve.references.ode import TimeChart
from pinnsolve.references.reference import ReferenceSolution

from .conftest import DECAY


def _archive() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, t=np.linspace(0.0, 1.0, 500), u=np.cos(np.linspace(0.0, 1.0, 500)))
    return buffer.getvalue()


def _changed(content: bytes, position: int, value: int) -> bytes:
    return content[:position] + bytes([value]) + content[position + 1 :]


def _header(content: bytes) -> int:
    """Return where the list of the archive's files begins, which is what a reader believes."""
    return content.index(b"PK\x01\x02")


@pytest.mark.parametrize(
    ("position", "value", "what"),
    [
        (60, 0xFF, "decompressing"),  # in the packed numbers
        ("list+8", 0x01, "encrypted"),
        ("list+10", 0x63, "compression method"),
        ("list+6", 0xFF, "zip file version"),
    ],
)
def test_a_damaged_file_of_values_is_named_with_its_reason(tmp_path, position, value, what):
    content = _archive()
    place = position if isinstance(position, int) else _header(content) + int(position.removeprefix("list+"))
    (tmp_path / "values.npz").write_bytes(_changed(content, place, value))
    problem = parse_problem((DECAY + '[reference]\nfile = "values.npz"\n').encode(), tmp_path / "p.toml")
    with pytest.raises(ProblemError, match=rf"values\.npz cannot be read as \.npz: .*{what}"):
        tabulated.solve(problem)


@pytest.mark.parametrize("place", [6, 8, 10, 20])
def test_a_damaged_file_of_the_cache_is_none(tmp_path, monkeypatch, place):
    monkeypatch.setenv("PINNSOLVE_CACHE", str(tmp_path))
    problem = parse_problem(DECAY.encode(), Path("p.toml"))
    file = cache.cached_file(problem)
    assert file is not None
    cache.save(problem, _reference())
    whole = file.read_bytes()
    assert cache.load(problem) is not None
    file.write_bytes(_changed(whole, _header(whole) + place, 0x63))
    assert cache.load(problem) is None


def _reference() -> ReferenceSolution:
    chart = TimeChart(np.array([0.0, 1.0]), np.ones((1, 5, 1)), ("u",))
    return ReferenceSolution("solve_ivp", {"u": 1e-9}, 9.0, chart)
