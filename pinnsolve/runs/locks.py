"""One writer per run folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import weakref
from pathlib import Path

from pinnsolve.errors import InputError
from pinnsolve.runs.atomic import storage_fault

_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}


class FolderLock:
    """The right to write in a folder, held until `release` or the end of the process.

    The operating system holds the lock (`flock`), so that a process that dies, however it dies, holds
    none: its lock file is taken over. A file system without locks gives the right to everyone.

    Raises:
        InputError: another process (or another lock of this one) holds the folder.
        ResourceError: the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            descriptor = _acquire(path)
        except OSError as error:
            raise storage_fault(error, path, 64) from error
        self._release = weakref.finalize(self, _release, descriptor, path, os.getpid())

    def release(self) -> None:
        """Give the right back; more than once does no harm."""
        self._release()


def _acquire(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            _lock(descriptor, path)
            if _is_at(descriptor, path):  # else its last owner has removed it since we opened it
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 200).decode("ascii", "replace").strip() or "another process"
        raise InputError(f"{path.parent}: {owner} is writing in this run folder; choose another --name") from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _release(descriptor: int, path: Path, owner: int) -> None:
    with contextlib.suppress(OSError):
        if os.getpid() == owner:  # a forked child must not take the parent's lock away
            path.unlink(missing_ok=True)
        os.close(descriptor)
