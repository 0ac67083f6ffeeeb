"""Keeping large blocks of memory instead of handing them back after every tensor."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""From glibc's malloc.h."""


def quiet_allocator() -> bool:
    """Tell the C library to keep freed memory, for the whole process; an update spends most of its time in page faults
    otherwise, since every large tensor is mapped, zeroed by the system and unmapped.

    Call it once, before the first large tensor. The process then holds on to the most it ever used.

    Returns:
        Whether the C library is one that can be told (glibc); elsewhere nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))
