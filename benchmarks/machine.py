"""What every committed result says about where it came from, and how results are kept."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import re
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parent
RESULTS = BENCHMARKS / "results"
_NUMBERS = re.compile(r"\[\s+([^\[\]{}\"]*?)\s+\]")


def provenance() -> dict[str, Any]:
    """Return machine, versions, commit, date and command of this measurement."""
    import torch

    from pinnsolve.solving.solution import environment

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        **environment(device),
        "deepxde": _version("deepxde"),
    }


def save(name: str, record: dict[str, Any], folder: Path | None = None) -> Path:
    """Write a result with its provenance to `benchmarks/results/<name>.json`, the whole file or nothing.

    Numbers that are not finite become null; lists of numbers stand on one line.
    """
    folder = folder or RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    path, part = folder / f"{name}.json", folder / f"{name}.json.part"
    text = json.dumps(_finite({**provenance(), **record}), indent=1, allow_nan=False)
    part.write_text(_NUMBERS.sub(lambda match: "[" + " ".join(match[1].split()) + "]", text) + "\n")
    part.replace(path)
    return path


def load(name: str, folder: Path | None = None) -> dict[str, Any]:
    """Return a result; empty if there is none of this name."""
    path = (folder or RESULTS) / f"{name}.json"
    record: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return record


def commit() -> str:
    """Return the commit that was measured, with "+" if tracked files differ from it; "unknown" outside git."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        # the results change while they are measured
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + "+" * bool(changed)


def peak_memory() -> float:
    """Return the largest resident set of this process so far, in megabytes.

    From the kernel's high-water mark of this address space: getrusage would count a larger parent's pages.
    """
    return _status("VmHWM")


def resident_memory() -> float:
    """Return the resident set of this process now, in megabytes."""
    return _status("VmRSS")


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:"))


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=BENCHMARKS.parent, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
