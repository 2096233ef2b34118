"""The C library's allocator: freed memory is kept for the arrays to come."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt, as in malloc.h
_KEPT, _LARGEST = 2**30, 2**25  # bytes at the end of the heap; of a block in the heap, the most that glibc allows


def keep_freed_memory() -> bool:
    """Have this process and its forks keep freed memory; return whether they do, which only glibc can.

    By default blocks of many kilobytes are given back when they are freed, and the next one costs fresh pages from
    the system: up to half of an audit's processor time. In Dask's workers, told to give back all, it is three quarters.
    """
    try:
        adjust = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return False
    return bool(adjust(_TRIM_THRESHOLD, _KEPT) and adjust(_MMAP_THRESHOLD, _LARGEST))
