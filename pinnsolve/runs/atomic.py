"""Files that are replaced whole or not at all, and storage faults in words."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from pinnsolve.errors import InputError, PinnsolveError, ResourceError, RunFolderError

TEMPORARY = ".tmp"
_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_UNUSABLE = {errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EILSEQ}


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file by the content; a reader sees the old file or the new one, never a part.

    Temporary file in the same folder, flush, fsync, rename, fsync of the folder.

    Raises:
        ResourceError: the disk is full or cannot be written; the old file is as it was.
        InputError: the path cannot be a file.
    """
    if not path.name or path.is_dir():
        raise storage_fault(IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)), path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY}")
    try:
        _write_new(temporary, content)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise storage_fault(error, path, len(content)) from error
        raise


def append_atomically(path: Path, content: bytes) -> None:
    """Append the content to the file, or leave the file as it was.

    Raises:
        ResourceError: the disk is full or cannot be written.
        InputError: the path cannot be a file.
    """
    try:
        with path.open("ab", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                _write_all(file.fileno(), content)
            except BaseException:
                os.ftruncate(file.fileno(), size)
                raise
    except OSError as error:
        raise storage_fault(error, path, len(content)) from error


def read_bounded(path: Path, most: int) -> bytes:
    """Return the content of a file of at most so many bytes.

    Raises:
        RunFolderError: the file is missing, too large or cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise RunFolderError(f"{path}: the file has {size} bytes, at most {most} are read")
            return file.read(most)
    except FileNotFoundError:
        raise RunFolderError(f"{path}: the file is missing") from None
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path}: the file cannot be read ({_reason(error)})") from error


def remove_temporaries(folder: Path) -> None:
    """Remove what an interrupted write has left in the folder; its owner must be the caller."""
    for left_over in folder.glob(f".*{TEMPORARY}"):
        with contextlib.suppress(OSError):
            left_over.unlink()


def storage_fault(error: OSError | ValueError, path: Path, needed: int = 0) -> PinnsolveError:
    """Return the error to raise when the path cannot be written."""
    number = getattr(error, "errno", None)
    if number in _FULL:
        return ResourceError(
            f"{path}: no space left, {needed} bytes are needed; free some space or choose another place"
        )
    if number in _UNUSABLE or isinstance(error, ValueError):
        return InputError(f"{path}: cannot be written there ({_reason(error)}); choose another place")
    return ResourceError(f"{path}: cannot be written ({_reason(error)}); choose another place")


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)


def _write_new(path: Path, content: bytes) -> None:
    with path.open("xb", buffering=0) as file:
        _write_all(file.fileno(), content)
        os.fsync(file.fileno())


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:  # a write may take less than it was given, and says so only by its result
        rest = rest[os.write(descriptor, rest) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems sync no folders
            raise
    finally:
        os.close(descriptor)
