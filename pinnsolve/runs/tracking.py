"""Runs logged to an MLflow server or file store, for those who have one; nothing is sent unless it is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pinnsolve.errors import InputError, ResourceError

EXPERIMENT = "pinnsolve"
MOST_TEXT = 500  # characters of a parameter that every store takes


def refuse_untracked(uri: str) -> None:
    """Raise what can be known of a store before there is a run to log.

    Raises:
        InputError: the URI is empty.
        ResourceError: the extra `mlflow` is not installed.
    """
    if not uri.strip():
        raise InputError("--mlflow takes the URI of a store, e.g. sqlite:///runs.db; got none")
    if find_spec("mlflow") is None:
        raise ResourceError("--mlflow needs the extra: pip install 'pinnsolve[mlflow]'")


def track(uri: str, metrics: Mapping[str, Any], folder: Path | None = None) -> str:
    """Log a run's settings, numbers and files; return the identity of the run there.

    Args:
        uri: of the store, e.g. http://localhost:5000 or sqlite:///runs.db.
        metrics: the run's record, as metrics.json holds it.
        folder: the run's folder, whose files become artifacts; None for none.

    Raises:
        ResourceError: the extra `mlflow` is not installed, or the store does not answer.
    """
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise ResourceError(f"--mlflow needs the extra: pip install 'pinnsolve[mlflow]' ({error})") from None
    try:
        client = MlflowClient(tracking_uri=uri)
        known = client.get_experiment_by_name(EXPERIMENT)
        experiment = client.create_experiment(EXPERIMENT) if known is None else known.experiment_id
        name = f"{metrics.get('problem')}-{folder.name if folder else 'run'}"
        identity = str(client.create_run(experiment, run_name=name).info.run_id)
        for key, value in _flat(metrics.get("settings") or {}):
            client.log_param(identity, key, str(value)[:MOST_TEXT])
        for key, number in numbers(metrics):
            client.log_metric(identity, key, number)
        if folder is not None:
            client.log_artifacts(identity, str(folder))
        client.set_terminated(identity, "FINISHED" if metrics.get("status") == "finished" else "FAILED")
    except (MlflowException, OSError) as error:
        raise ResourceError(f"--mlflow {uri}: the run is not logged: {str(error)[:300]}") from None
    return identity


def numbers(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the finite numbers of a run's record by dotted names, and the audit's by derivative and scheme.

    >>> list(numbers({"seconds": 2.5, "fields": {"u": {"relative_l2": 1e-3, "reference": "exact"}}}))
    [('seconds', 2.5), ('fields.u.relative_l2', 0.001)]
    """
    plain = {key: value for key, value in metrics.items() if key not in ("settings", "environment", "schema")}
    for key, value in _flat(plain):
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield _word(key), float(value)
    for row in metrics.get("derivatives") or []:
        error = row.get("fd_vs_ad")
        if isinstance(error, float) and math.isfinite(error):
            yield _word(f"audit.{row['term']}.{row['scheme']}.{row['dtype']}.fd_vs_ad"), error


def _word(key: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "_-./ " else "_" for letter in key)[:200]


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value
