"""`doctor`: what this installation can do."""

from __future__ import annotations

import importlib.util
import json as json_text
from importlib.metadata import PackageNotFoundError, version

from pinnsolve.cli.terminal import say, show_table
from pinnsolve.errors import ResourceError

_PACKAGES = (
    "pinnsolve",
    "torch",
    "numpy",
    "scipy",
    "sympy",
    "pydantic",
    "typer",
    "rich",
    "matplotlib",
    "safetensors",
    "deepxde",
)


def doctor_command(json: bool) -> None:
    """Print versions and devices, and run a self-test.

    Raises:
        ResourceError: the self-test failed.
    """
    facts = {**_versions(), **_devices(), "self-test": _self_test()}
    if json:
        say(json_text.dumps(facts, indent=1))
    else:
        show_table(("what", "found"), facts.items())
    if facts["self-test"] != "passed":
        raise ResourceError(f"the self-test failed: {facts['self-test']}")


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed" if importlib.util.find_spec(package) is None else "version unknown"
    return found


def _devices() -> dict[str, str]:
    import torch

    cuda = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "threads": str(torch.get_num_threads()),
        "cuda": ", ".join(cuda) or "no device",
        "roundoff": ", ".join(f"{t} {torch.finfo(t).eps / 2:.2e}" for t in (torch.float64, torch.float32)),
        "linear algebra": "MKL" if torch.backends.mkl.is_available() else "no MKL",
    }


def _self_test() -> str:
    """Return "passed", or what went wrong: Taylor mode against autograd, and a tiny problem solved."""
    from pathlib import Path

    from pinnsolve.problems.loading import parse_problem
    from pinnsolve.solving import prepare, resolve_settings
    from pinnsolve.solving.differentiation import taylor_fault

    text = b"""
title = "self-test"
[coordinates]
t = [0, 1]
[equations]
decay = "u_t = -u"
[[conditions]]
where = "t = 0"
equation = "u = 1"
[reference]
exact = { u = "exp(-t)" }
"""
    settings = resolve_settings({"network.width": 6, "network.depth": 1, "training.points": 64, "training.steps": 25})
    session = prepare(parse_problem(text, Path("self_test.toml")), settings)
    fault = taylor_fault(session.problem, session.ansatz)
    if fault:
        return fault
    error = [progress.error for progress in session.train()][-1]
    return "passed" if error is not None and error < 1e-4 else f"u' = -u solved to {error} only"
