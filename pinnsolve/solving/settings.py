"""All settings of one solve, and how they are put together.

Built-in defaults < `[solve]` of the problem < a configuration file < `--set` < named options.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pinnsolve.errors import ProblemError, SettingsError, unknown_name
from pinnsolve.networks.settings import NetworkSettings
from pinnsolve.problems import Problem
from pinnsolve.problems.schema import MAX_BYTES, fault_in_words, read_content, toml_table
from pinnsolve.training.settings import TrainingSettings


def _checked_device(value: Any) -> Any:
    if not (isinstance(value, str) and re.fullmatch(r"auto|cpu|cuda(:\d{1,4})?", value)):
        raise ValueError("a device is 'auto', 'cpu', 'cuda', or one of several such as 'cuda:1'")
    return value


class DifferenceSettings(BaseModel):
    """Finite differences as the maker of jets in training.

    Attributes:
        scheme: the stencil of "fd".
        step: of "fd" and "coupled", h relative to half the length of each coordinate's interval.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    scheme: Literal["forward", "backward", "one_sided", "central2", "central4", "central6"] = "central4"
    step: Annotated[float, Field(gt=0, le=0.5)] = 1e-2


class AuditSettings(BaseModel):
    """The derivative audit at the end of a solve.

    Attributes:
        enabled: whether it runs.
        points: how many fixed points the sources are compared on; None for 1,024 and fewer (64 at least)
            on networks of more than 60 hidden units, in inverse proportion.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = True
    points: Annotated[int, Field(ge=16, le=2**20)] | None = None

    def count(self, units: int) -> int:
        """Return the number of points for a network with so many hidden units."""
        return self.points or max(64, min(1024, 2 ** int(math.log2(1024 * 60 / units))))


class PeerSettings(BaseModel):
    """DeepXDE as the engine.

    Attributes:
        recipe: "best", conditions built in, Adam then L-BFGS with restarts; "documented", soft conditions and the
            points, options and stages of the examples in DeepXDE's documentation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: Literal["best", "documented"] = "best"


class Settings(BaseModel):
    """Everything that decides how a problem is solved.

    Attributes:
        network: the network in the ansatz.
        training: optimizer, points, steps.
        constraints: "auto" and "hard" build conditions in where possible; "soft" makes all of them residuals.
        formulation: "direct" differentiates the fields as the equations are written; "first-order" makes
            derivatives fields of their own, so that every equation has order 1.
        derivatives: the maker of jets in training; "coupled" are stencils of values and of slopes by autodiff.
        fd: finite differences, if they are the maker.
        audit: the derivative audit.
        engine: "native", or "deepxde": its network, points and optimizers, evaluated and audited as our own.
        deepxde: how DeepXDE trains, if it is the engine.
        precision: of training; evaluation and audit compare in float64.
        device: "auto" takes CUDA where there is one.
        seed: of weights and points.
        time_limit: seconds of training.
        allow_rough: train activations whose derivatives do not exist to the order of the equations.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    network: NetworkSettings = NetworkSettings()
    training: TrainingSettings = TrainingSettings()
    constraints: Literal["auto", "hard", "soft"] = "auto"
    formulation: Literal["direct", "first-order"] = "direct"
    derivatives: Literal["taylor", "autograd", "fd", "coupled"] = "taylor"
    fd: DifferenceSettings = DifferenceSettings()
    audit: AuditSettings = AuditSettings()
    engine: Literal["native", "deepxde"] = "native"
    deepxde: PeerSettings = PeerSettings()
    precision: Literal["float64", "float32"] = "float64"
    device: Annotated[str, BeforeValidator(_checked_device)] = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    time_limit: Annotated[float, Field(gt=0, le=1e9)] = 60.0
    allow_rough: bool = False

    @property
    def constraint_mode(self) -> str:
        """How conditions are met: as asked for, and softly in DeepXDE's documented recipe unless asked otherwise."""
        documented = self.engine == "deepxde" and self.deepxde.recipe == "documented"
        return "soft" if documented and self.constraints == "auto" else self.constraints

    @property
    def window_count(self) -> int:
        """The number of windows of time to begin with; DeepXDE solves all of time at once."""
        return self.training.window_count if self.engine == "native" else 1

    def nested(self) -> dict[str, Any]:
        """Return the settings as nested plain values, as they stand in settings.toml and metrics.json."""
        return self.model_dump(mode="json")


# Names of options on the command line and of keyword arguments in Python, for the common settings.
SHORT_NAMES = {
    "activation": "network.activation",
    "width": "network.width",
    "depth": "network.depth",
    "optimizer": "training.optimizer",
    "points": "training.points",
    "steps": "training.steps",
    "engine": "engine",
    "formulation": "formulation",
    "derivatives": "derivatives",
    "constraints": "constraints",
    "precision": "precision",
    "device": "device",
    "seed": "seed",
    "time_limit": "time_limit",
    "allow_rough": "allow_rough",
}


def resolve_settings(*layers: Mapping[str, Any]) -> Settings:
    """Return the settings of these layers, later ones winning; each is nested or has dotted keys.

    Raises:
        SettingsError: a key is unknown (with the nearest known one) or a value cannot be used.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        _merge(merged, layer)
    _refuse_unknown(merged, Settings, "")
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        key, message = fault_in_words(error.errors(include_url=False)[0])
        raise SettingsError(f"setting {key}: {message}") from None
    _refuse_converted(merged, settings.nested(), "")
    return settings


def problem_settings(problem: Problem, *layers: Mapping[str, Any]) -> Settings:
    """Return the settings of a problem: defaults < its `[solve]` < these layers.

    Raises:
        ProblemError: a setting of `[solve]` is unknown or cannot be used.
        SettingsError: one of a layer is.
    """
    try:
        resolve_settings(problem.defaults)
    except SettingsError as error:
        raise ProblemError(str(error), file=f"{problem.name}.toml", key="solve") from None
    return resolve_settings(problem.defaults, *layers)


def named_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dotted keys of named options; those that are None were not given.

    Raises:
        SettingsError: a name is no option.
    """
    for name in options:
        if name not in SHORT_NAMES and name not in Settings.model_fields:
            raise SettingsError(unknown_name("setting", name, sorted({*SHORT_NAMES, *Settings.model_fields})))
    return {SHORT_NAMES.get(name, name): value for name, value in options.items() if value is not None}


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Return the settings that `key=value` texts give; a value is a TOML value or else a bare word.

    >>> parse_assignments(["network.width=40", "network.activation=elu"])
    {'network.width': 40, 'network.activation': 'elu'}
    """
    result: dict[str, Any] = {}
    for text in assignments:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise SettingsError(f"--set takes key=value, got {text[:60]!r}")
        try:
            (result[key.strip()],) = toml_table(f"value = {value.strip()}".encode()).values()
        except (tomllib.TOMLDecodeError, ValueError, RecursionError):
            result[key.strip()] = _bare(value.strip())
    return result


def _bare(word: str) -> str | float:
    """Return a word that is no TOML value: a number such as .5, which TOML lacks, or text."""
    return float(word) if re.fullmatch(r"[+-]?(\d+\.?|\.\d+|\d+\.\d+)(e[+-]?\d+)?", word, re.IGNORECASE) else word


def read_settings_file(path: Path) -> dict[str, Any]:
    """Return the settings of a TOML file.

    Raises:
        SettingsError: it cannot be read, or is not TOML.
    """
    try:
        content = read_content(path)
    except ProblemError as error:
        raise SettingsError(str(error)) from None
    if len(content) > MAX_BYTES:
        raise SettingsError(f"{path}: the file has more than {MAX_BYTES} bytes, the most that is read")
    try:
        return toml_table(content)
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: not TOML: {str(error)[:120]}") from None


def _merge(target: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for dotted, value in layer.items():
        *tables, key = dotted.split(".")
        place = target
        for table in tables:
            inner = place.setdefault(table, {})
            if not isinstance(inner, dict):
                raise SettingsError(f"setting {dotted}: {table!r} is a value, not a table")
            place = inner
        if isinstance(value, Mapping) and isinstance(place.get(key, {}), dict):
            _merge(place.setdefault(key, {}), value)
        else:
            place[key] = value


def _refuse_unknown(values: Mapping[str, Any], model: type[BaseModel], prefix: str) -> None:
    for key, value in values.items():
        field = model.model_fields.get(key)
        if field is None:
            known = [prefix + name for name in (all_keys() if not prefix else model.model_fields)]
            inner = f".{next(iter(value))}" if isinstance(value, Mapping) and value else ""
            raise SettingsError(unknown_name("setting", f"{prefix}{key}{inner}", known))
        if isinstance(field.default, BaseModel) and isinstance(value, Mapping):
            _refuse_unknown(value, type(field.default), f"{prefix}{key}.")


def _refuse_converted(given: Mapping[str, Any], kept: Mapping[str, Any], prefix: str) -> None:
    """Raise where a number was given as text or as true, which pydantic would quietly take for one."""
    for key, value in given.items():
        used = kept.get(key)
        if isinstance(value, Mapping) and isinstance(used, Mapping):
            _refuse_converted(value, used, f"{prefix}{key}.")
        elif isinstance(value, str | bool) and isinstance(used, int | float) and not isinstance(used, bool):
            raise SettingsError(f"setting {prefix}{key}: a number is needed, without quotes, got {value!r}")


def all_keys() -> list[str]:
    """Return every settings key, dotted."""
    keys = []
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, BaseModel):
            keys += [f"{name}.{inner}" for inner in type(field.default).model_fields]
        else:
            keys.append(name)
    return keys
