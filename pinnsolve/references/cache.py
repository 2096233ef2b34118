"""References that took time are kept on disk, as plain arrays.

Each under the digests of its problem and of the code that computed it: other code computes it anew. The folder is
PINNSOLVE_CACHE, else the user's cache folder. Whatever goes wrong with it (no such folder, read-only, full, a damaged
file), the reference is computed again and the program goes on.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray

from pinnsolve.problems import Problem
from pinnsolve.problems.places import Place
from pinnsolve.references.bases import BoxChart
from pinnsolve.references.elements_chart import ElementsChart
from pinnsolve.references.fourier_chart import FourierChart
from pinnsolve.references.ode import TimeChart
from pinnsolve.references.reference import Chart, ReferenceSolution
from pinnsolve.references.triangles import EvolvingChart, TriangleChart

KeptChart = TimeChart | FourierChart | ElementsChart | BoxChart | TriangleChart | EvolvingChart

_LEAST_SECONDS = 0.2
_MAX_BYTES = 512 * 1024**2
_INSTALLATIONS = 3  # that may share a folder: so many references of a problem are kept, by other code each
_CHARTS: Mapping[str, Callable[..., Chart]] = {
    "solve_ivp": TimeChart,
    "fourier": FourierChart,
    "chebyshev": ElementsChart,
    "method of lines": BoxChart,
    "collocation": BoxChart,
    "finite elements": TriangleChart,
    "evolving elements": EvolvingChart,
}


@functools.cache
def solvers_digest() -> str:
    """Return a digest of the source of solvers and problems, which is what a reference depends on beside its file."""
    package = Path(__file__).parents[1]
    found = hashlib.sha256()
    for path in sorted(path for floor in ("problems", "references") for path in (package / floor).rglob("*.py")):
        found.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def cached_file(problem: Problem) -> Path | None:
    """Return the place of a problem's reference, None where there is no home for it."""
    named = os.environ.get("PINNSOLVE_CACHE")
    try:
        folder = Path(named) if named else Path(platformdirs.user_cache_dir("pinnsolve"))
    except (RuntimeError, KeyError, OSError):
        return None
    return folder / "references" / f"{problem.digest[:32]}-{solvers_digest()}.npz" if problem.digest else None


def load(problem: Problem) -> ReferenceSolution | None:
    """Return the reference from the cache, None where there is none that can be used."""
    path = cached_file(problem)
    try:
        if path is None or not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return None
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:  # np.load leaks a damaged file
            header = json.loads(str(archive["header"]))
            arrays = {name: archive[name] for name in archive.files if name != "header"}
        chart = _CHARTS[header["solver"]](**{name: _plain(array) for name, array in arrays.items()})
        reference = ReferenceSolution(header["solver"], dict(header["errors"]), float(header["seconds"]), chart)
        return reference if _is_usable(reference, problem) else None
    except Exception:
        # a damaged archive fails in as many ways as it has bytes: none is worth more than computing again
        return None


def save(problem: Problem, reference: ReferenceSolution) -> None:
    """Keep a reference that took time and came to an end; do nothing where that is not possible."""
    path, chart = cached_file(problem), reference.evaluate
    if path is None or not isinstance(chart, KeptChart):
        return
    if reference.seconds < _LEAST_SECONDS or not np.isfinite(list(reference.errors.values())).all():
        return
    header = {"solver": reference.solver, "errors": dict(reference.errors), "seconds": reference.seconds}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, {"header": np.array(json.dumps(header)), **chart.arrays()})
        kept = sorted(path.parent.glob(f"{problem.digest[:32]}-*.npz"), key=lambda file: file.stat().st_mtime)
        for oldest in kept[:-_INSTALLATIONS]:
            oldest.unlink(missing_ok=True)
    except OSError:
        return


def _write(path: Path, arrays: Mapping[str, NDArray]) -> None:
    """Write the whole file or nothing: under a name of its own first, then renamed."""
    descriptor, temporary = tempfile.mkstemp(suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _plain(array: NDArray) -> object:
    """Return a 0-dimensional array as a number and an array of names as a tuple."""
    if array.dtype.kind == "U":
        return tuple(str(name) for name in array)
    return int(array) if array.ndim == 0 else array


def _is_usable(reference: ReferenceSolution, problem: Problem) -> bool:
    """Whether the fields are those of the problem and finite at a few points."""
    lower, upper = problem.box
    places = np.stack([lower, (lower + upper) / 2, upper])
    values = reference(places if problem.domain is None else Place(problem).sobol(8, seed=0))
    return tuple(values) == problem.field_names and all(np.isfinite(value).all() for value in values.values())
