"""Arrays as a NumPy archive (.npz), without pickle on either side."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsolve.errors import RunFolderError

MAX_BYTES = 2**30  # of all arrays together, before any is read
MAX_ARRAYS = 1000
_KINDS = "biufcU"


def archive_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the arrays as a compressed .npz archive, the same bytes for the same arrays.

    Raises:
        ValueError: an array is no array of numbers or fixed-width text.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            plain = np.asarray(array, order="C")
            if plain.dtype.kind not in _KINDS:
                raise ValueError(f"{name!r} has dtype {plain.dtype}, which is not saved")
            member = io.BytesIO()
            np.lib.format.write_array(member, plain, version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def read_archive(content: bytes, file: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz archive.

    Declared sizes are checked before anything is unpacked, so that a small file cannot fill the memory.

    Raises:
        RunFolderError: the archive is damaged, too large, or holds Python objects.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if len(members) > MAX_ARRAYS or total > MAX_BYTES:
                raise ValueError(f"{len(members)} arrays of {total} bytes are more than is read")
            return {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members}
    except (ValueError, TypeError, EOFError, OSError, NotImplementedError) as error:
        raise RunFolderError(f"{file}: not an archive of arrays ({str(error)[:120]})") from None
    except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise RunFolderError(f"{file}: damaged ({str(error)[:120]})") from None


def _array(content: bytes) -> NDArray[Any]:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"array format {version} is not read")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.kind not in _KINDS:
        raise ValueError(f"dtype {dtype} is not read")
    data = content[stream.tell() :]
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"shape {shape} of {dtype} does not fit {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
