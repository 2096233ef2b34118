"""Kept references are those that the solvers of today would compute."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import pinnsolve
from pinnsolve.references import cache, find_reference, ode, search

from .conftest import DECAY


@pytest.fixture(autouse=True)
def fresh_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PINNSOLVE_CACHE", str(tmp_path / "cache"))


def computed(problem):
    return replace(ode.solve(problem), seconds=1.0)


def keep(monkeypatch, problem, digest, error):
    """Keep a reference with this error as code of another digest would, and return the file."""
    with monkeypatch.context() as other:
        other.setattr(cache, "solvers_digest", lambda: digest)
        cache.save(problem, replace(computed(problem), errors={"u": error}))
        assert find_reference(problem).errors == {"u": error}
        return cache.cached_file(problem)


def test_a_reference_of_other_code_is_computed_anew(problem_from, monkeypatch):
    problem = problem_from(DECAY)
    old = keep(monkeypatch, problem, "a" * 16, 0.5)
    solver = search.ReferenceSolver("solve_ivp", ode.applies, lambda asked, budget: computed(asked))
    monkeypatch.setattr(search, "COMPUTED", (solver,))
    assert find_reference(problem).errors["u"] < 1e-6
    assert sorted(old.parent.iterdir()) == sorted([old, cache.cached_file(problem)])


def test_the_folder_keeps_the_newest_references_of_a_problem(problem_from, monkeypatch):
    decay, other = problem_from(DECAY), problem_from(DECAY.replace("u_t = -u", "u_t = -2*u"))
    kept = [keep(monkeypatch, other, "a" * 16, 0.5)]
    for age, digest in enumerate("fedcb"):
        kept.append(keep(monkeypatch, decay, digest * 16, 0.1))
        os.utime(kept[-1], (age, age))  # the files of a moment may be of one age
    kept.append(keep(monkeypatch, decay, "9" * 16, 0.1))
    assert sorted(kept[0].parent.iterdir()) == sorted([kept[0], *kept[-3:]])


@pytest.mark.parametrize("place", ["references/ode.py", "problems/geometry/shapes.py"])
def test_the_digest_is_another_when_solvers_or_problems_change(tmp_path, monkeypatch, place):
    package = tmp_path / "pinnsolve"
    for floor in ("problems", "references"):
        shutil.copytree(Path(pinnsolve.__file__).parent / floor, package / floor)
    digest = cache.solvers_digest.__wrapped__
    here = digest()
    monkeypatch.setattr(cache, "__file__", str(package / "references" / "cache.py"))
    assert digest() == here
    with (package / place).open("a") as file:
        file.write("# changed")
    assert digest() != here
