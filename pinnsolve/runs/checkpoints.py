"""Checkpoints: tensors in safetensors, everything else in JSON, the newest valid one wins.

A checkpoint is a tensor file and a manifest that names the tensor file's SHA-256 and its own; the
manifest is written last, so that the rename of the manifest is the moment the checkpoint exists.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinnsolve.errors import DivergenceError, RunFolderError
from pinnsolve.runs.atomic import read_bounded, remove_temporaries, write_atomically
from pinnsolve.runs.folder import CHECKPOINTS, RunFolder
from pinnsolve.runs.records import plain_values

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = 1
MAX_MANIFEST = 64 * 2**20
MAX_HEADER = 2**20
MAX_FILE = 4 * 2**30
MAX_TENSORS = 10_000
_MANIFEST = re.compile(r"step-(\d{10})\.json")


@dataclass(frozen=True)
class Checkpoint:
    """The state of training after a step, and what the loader had to skip to find it.

    Attributes:
        step: number of steps done.
        tensors: name to tensor on the CPU.
        state: everything else, as JSON gives it back.
        settings_digest: SHA-256 of the run's settings when it was saved.
        warnings: one line for each newer checkpoint that could not be used.
    """

    step: int
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]
    settings_digest: str = ""
    warnings: tuple[str, ...] = field(default=())


def save_checkpoint(folder: RunFolder, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Save a checkpoint; it and the last one before it stay, all others go.

    Raises:
        DivergenceError: a tensor is not finite; the checkpoints are as they were.
        ResourceError: the disk is full or cannot be written; the checkpoints are as they were.
        ValueError: there are more or larger tensors than `load_newest` would read.
    """
    place = folder.subfolder(CHECKPOINTS)
    remove_temporaries(place)
    content = _tensor_bytes(tensors, step)
    digest = hashlib.sha256(content).hexdigest()
    manifest = {
        "schema": SCHEMA,
        "step": step,
        "tensors_sha256": digest,
        "tensors_bytes": len(content),
        "settings_sha256": folder.settings_digest(),
        "state": plain_values(state),
    }
    text = json.dumps({**manifest, "sha256": _digest(manifest)}, indent=1).encode()
    if len(text) > MAX_MANIFEST:
        raise ValueError(f"the state has {len(text)} bytes as JSON, at most {MAX_MANIFEST} are read back")
    write_atomically(_tensor_file(place, step, digest), content)
    write_atomically(_manifest_file(place, step), text)
    _prune(place, step, digest)


def has_checkpoint(folder: RunFolder) -> bool:
    """Return whether a checkpoint has been saved, whole or not."""
    return bool(_manifests(folder.path / CHECKPOINTS))


def load_newest(folder: RunFolder) -> Checkpoint:
    """Return the newest checkpoint that is whole.

    Raises:
        RunFolderError: there is none; the message says what is wrong with each.
    """
    faults: list[str] = []
    for step, path in sorted(_manifests(folder.path / CHECKPOINTS).items(), reverse=True):
        try:
            return _load(path, step, tuple(faults))
        except RunFolderError as error:
            faults.append(f"checkpoint skipped: {error}")
    found = "; ".join(faults) or "there is none: the run ended before its first one; solve it anew with --overwrite"
    raise RunFolderError(f"{folder.path / CHECKPOINTS}: no checkpoint can be used ({found})")


def _tensor_bytes(tensors: Mapping[str, Tensor], step: int) -> bytes:
    from safetensors.torch import save

    if len(tensors) > MAX_TENSORS:
        raise ValueError(f"there are {len(tensors)} tensors, at most {MAX_TENSORS} are read back")
    wrong = _not_finite(tensors)
    if wrong:
        raise DivergenceError(f"{wrong!r} is not finite at step {step}; the last finite checkpoint is kept")
    # clone: safetensors saves no two tensors that share memory
    content = save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})
    if len(content) > MAX_FILE or int.from_bytes(content[:8], "little") > MAX_HEADER:
        raise ValueError(f"the tensors have {len(content)} bytes, more than is read back")
    return content


def _load(path: Path, step: int, warnings: tuple[str, ...]) -> Checkpoint:
    manifest = _read_manifest(path, step)
    tensors = _read_tensors(_tensor_file(path.parent, step, manifest["tensors_sha256"]), manifest)
    return Checkpoint(step, tensors, manifest["state"], manifest["settings_sha256"], warnings)


def _read_manifest(path: Path, step: int) -> dict[str, Any]:
    content = read_bounded(path, MAX_MANIFEST)
    try:
        manifest = json.loads(content)
        stated = manifest.pop("sha256")
        if manifest["schema"] != SCHEMA:
            raise ValueError(f"schema {manifest['schema']!r:.40} is not {SCHEMA}")
        if stated != _digest(manifest) or manifest["step"] != step:
            raise ValueError("its content is not what was saved")
        if not re.fullmatch(r"[0-9a-f]{64}", manifest["tensors_sha256"]) or not isinstance(manifest["state"], dict):
            raise ValueError("its entries have the wrong types")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunFolderError(f"{path}: damaged manifest ({str(error)[:120]})") from None
    return manifest


def _read_tensors(path: Path, manifest: Mapping[str, Any]) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    content = read_bounded(path, MAX_FILE)
    if len(content) != manifest["tensors_bytes"]:
        raise RunFolderError(f"{path}: has {len(content)} bytes, {manifest['tensors_bytes']} were saved")
    if hashlib.sha256(content).hexdigest() != manifest["tensors_sha256"]:
        raise RunFolderError(f"{path}: the SHA-256 is not that of the saved file")
    _check_header(content, path)
    try:
        tensors = load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise RunFolderError(f"{path}: not a safetensors file ({str(error)[:120]})") from None
    wrong = _not_finite(tensors)
    if wrong:
        raise RunFolderError(f"{path}: the tensor {wrong[:60]!r} is not finite")
    return tensors


def _check_header(content: bytes, path: Path) -> None:
    """Refuse a header that is too long or names too many tensors, before it is taken apart."""
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or size > min(MAX_HEADER, len(content) - 8):
        raise RunFolderError(f"{path}: a header of {size} bytes, at most {MAX_HEADER} are read")
    try:
        header = json.loads(content[8 : 8 + size])
    except (ValueError, RecursionError):
        raise RunFolderError(f"{path}: the header is not JSON") from None
    if not isinstance(header, dict) or len(header) > MAX_TENSORS:
        raise RunFolderError(f"{path}: the header is no table of at most {MAX_TENSORS} tensors")


def _not_finite(tensors: Mapping[str, Tensor]) -> str:
    """Return the name of the first tensor with NaN or infinity in it, empty if there is none."""
    return next((name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())), "")


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _tensor_file(place: Path, step: int, digest: str) -> Path:
    # the digest is part of the name: saving a step again never touches the file of the first time
    return place / f"step-{step:010d}-{digest[:16]}.safetensors"


def _manifest_file(place: Path, step: int) -> Path:
    return place / f"step-{step:010d}.json"


def _manifests(place: Path) -> dict[int, Path]:
    matches = {path: _MANIFEST.fullmatch(path.name) for path in place.glob("step-*.json")}
    return {int(match[1]): path for path, match in matches.items() if match}


def _prune(place: Path, step: int, digest: str) -> None:
    """Keep this checkpoint and the newest before it; later ones belong to a future that was given up."""
    before = max((other for other in _manifests(place) if other < step), default=step)
    kept = {_manifest_file(place, step), _tensor_file(place, step, digest), _manifest_file(place, before)}
    if before != step:
        kept |= {_tensor_file(place, before, _stated_digest(_manifest_file(place, before)))}
    for path in {*place.glob("step-*.json"), *place.glob("step-*.safetensors")} - kept:
        with contextlib.suppress(OSError):
            path.unlink()


def _stated_digest(path: Path) -> str:
    with contextlib.suppress(RunFolderError, ValueError, KeyError, TypeError):
        return str(json.loads(read_bounded(path, MAX_MANIFEST))["tensors_sha256"])
    return ""
