"""What is compared: problems × variants × values of settings, each combination a run with a hash of its own."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pinnsolve.errors import InputError, SettingsError, unknown_name
from pinnsolve.networks import activation
from pinnsolve.problems import Problem, load_problem
from pinnsolve.problems.library import problem_path
from pinnsolve.solving.settings import SHORT_NAMES, Settings, parse_assignments, problem_settings, read_settings_file

MOST_RUNS = 100_000
SEED = "seed"
LABEL = "label"  # of a variant
_SHORT = {key: name for name, key in SHORT_NAMES.items()}


@dataclass(frozen=True)
class Grid:
    """A comparison as it is asked for.

    Attributes:
        problems: names or paths.
        settings: what all runs share.
        axes: the values that each settings key takes.
        variants: settings that go together, e.g. an engine and its recipe; `label` is the variant's name.
    """

    problems: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    variants: tuple[Mapping[str, Any], ...] = ()

    def overridden(self, other: Grid) -> Grid:
        """Return this grid with what another one says in place of its own."""
        axes = {key: values for key, values in self.axes.items() if key not in other.settings}
        settings = {key: value for key, value in self.settings.items() if key not in other.axes}
        return Grid(
            problems=other.problems or self.problems,
            settings={**settings, **other.settings},
            axes={**axes, **other.axes},
            variants=other.variants or self.variants,
        )


@dataclass(frozen=True)
class Run:
    """One combination.

    Attributes:
        problem: what is solved.
        chosen: the settings that set this run apart from others of its problem, by key.
        given: every setting that was named, by key.
        settings: all of them, resolved.
        variant: the name of its variant.
        path: the problem file.
    """

    problem: Problem
    chosen: Mapping[str, Any]
    given: Mapping[str, Any]
    settings: Settings
    variant: str = ""
    path: Path = Path()

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the problem and of all settings: two runs of one digest are the same run."""
        about = {"problem": self.problem.digest, "settings": self.settings.nested()}
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    @property
    def method(self) -> str:
        """How the problem is solved, in words, whatever the seed."""
        parts = [] if not self.variant else [self.variant]
        parts += [_shown(key, value) for key, value in self.chosen.items() if key != SEED]
        return ", ".join(parts) or "default"

    @property
    def label(self) -> str:
        """The run in words."""
        seed = f", seed {self.settings.seed}" if SEED in self.chosen else ""
        return f"{self.problem.name}: {self.method}{seed}"

    @property
    def name(self) -> str:
        """The name of its folder: readable, and unique by its hash."""
        readable = re.sub(r"[^A-Za-z0-9.=]+", "-", self.method).strip("-.=")[:60]
        return f"{readable or 'run'}-{self.digest[:10]}"

    @property
    def command(self) -> str:
        """The command that repeats the run alone."""
        words = ["pinnsolve", "solve", self.problem.name]
        for key, value in self.given.items():
            words += ["--set", f"{key}={json.dumps(value) if not isinstance(value, str) else value}"]
        return shlex.join(words)


def expand(grid: Grid, folder: Path | None = None) -> list[Run]:
    """Return every run of a grid, each once.

    Args:
        grid: what is asked for.
        folder: of problem files.

    Raises:
        InputError: there is no problem, two of them share a name, or there are too many runs.
        SettingsError: a setting is unknown or has a value that cannot be used.
    """
    problems = _problems(grid.problems, folder)
    variants: Sequence[Mapping[str, Any]] = grid.variants or ({},)
    total = len(problems) * len(variants) * math.prod(map(len, grid.axes.values()))
    if not 0 < total <= MOST_RUNS:
        raise InputError(f"a comparison has 1 to {MOST_RUNS} runs; this grid has {total}")
    combinations = [dict(zip(grid.axes, values, strict=True)) for values in itertools.product(*grid.axes.values())]
    runs: dict[str, Run] = {}
    for (problem, path), variant, values in itertools.product(problems, variants, combinations):
        run = replace(_run(problem, grid.settings, variant, values), path=path)
        runs.setdefault(run.digest, run)
    return list(runs.values())


def axes_of(texts: Mapping[str, str | None]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return the fixed settings and the axes that comma lists by settings key give; None was not given.

    >>> axes_of({"network.activation": "elu,tanh", "network.width": "40", "seed": None})
    ({'network.width': 40}, {'network.activation': ['elu', 'tanh']})
    """
    fixed: dict[str, Any] = {}
    axes: dict[str, list[Any]] = {}
    for key, text in texts.items():
        if text is None:
            continue
        values = [_value(key, part) for part in text.split(",") if part.strip()]
        if not values:
            raise SettingsError(f"{key} takes a value, or several separated by commas; got {text!r}")
        if len(values) == 1:
            fixed[key] = values[0]
        else:
            axes[key] = list({repr(value): value for value in values}.values())  # tables have no hash
    return fixed, axes


def read_grid(path: Path) -> Grid:
    """Return the grid of a TOML file: `problems`, `[settings]`, `[grid]`, `[[variants]]`.

    Raises:
        SettingsError: it cannot be read, or has other keys.
    """
    table = read_settings_file(path)
    known = ("problems", "settings", "grid", "variants")
    for key in table:
        if key not in known:
            raise SettingsError(f"{path}: {unknown_name('key', key, known)}")
    axes = {key: value if isinstance(value, list) else [value] for key, value in _flat(table.get("grid", {})).items()}
    variants = table.get("variants", [])
    if not isinstance(variants, list) or not all(isinstance(variant, dict) for variant in variants):
        raise SettingsError(f"{path}: variants are tables, [[variants]]; got {str(variants)[:60]!r}")
    problems = table.get("problems", [])
    names = [problems] if isinstance(problems, str) else problems
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SettingsError(f'{path}: problems are names, ["burgers", "heat"]; got {str(problems)[:60]!r}')
    return Grid(tuple(names), _flat(table.get("settings", {})), axes, tuple(map(_flat, variants)))


def _problems(names: Sequence[str], folder: Path | None) -> list[tuple[Problem, Path]]:
    found: dict[str, tuple[Problem, Path]] = {}
    for name in dict.fromkeys(names):
        problem = load_problem(name, folder)
        place = problem_path(name, folder).resolve()
        if found.setdefault(problem.name, (problem, place))[0].digest != problem.digest:
            raise InputError(f"two problems have the name {problem.name!r}; rename one of the files")
    if not found:
        raise InputError("compare needs a problem, e.g. pinnsolve compare burgers,heat --seeds 3")
    return list(found.values())


def _run(problem: Problem, shared: Mapping[str, Any], variant: Mapping[str, Any], values: Mapping[str, Any]) -> Run:
    own = {key: value for key, value in variant.items() if key != LABEL}
    given = {**shared, **own, **values}
    settings = problem_settings(problem, given)
    activation(settings.network.trained_activation, settings.network.alpha)  # an unknown name is no row, but a mistake
    name = str(variant.get(LABEL, ", ".join(_shown(key, value) for key, value in own.items())))
    return Run(problem, dict(values), given, settings, name)


def _shown(key: str, value: Any) -> str:
    """Return a setting as tables show it.

    >>> _shown("network.activation", "elu"), _shown("training.points", 512), _shown("fd.step", 0.1)
    ('elu', 'points=512', 'fd.step=0.1')
    """
    short = _SHORT.get(key, key)
    return str(value) if short in ("activation", "optimizer", "engine", "formulation") else f"{short}={value}"


def _value(key: str, text: str) -> Any:
    return parse_assignments([f"{key}={text.strip()}"])[key]


def _flat(table: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(table, Mapping):
        raise SettingsError(f"a table of settings is needed, got {str(table)[:60]!r}")
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def estimated_seconds(runs: Sequence[Run], jobs: int, overhead: float) -> float:
    """Return how long runs take at most on so many workers: time limits and what each run needs besides."""
    return sum(run.settings.time_limit + overhead for run in runs) / max(min(jobs, len(runs)), 1)
