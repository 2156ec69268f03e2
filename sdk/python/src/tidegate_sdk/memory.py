"""Memory of large frames: kept by the process between one frame and the next.

A C library that gives each megabyte back to the kernel takes it again, page by page, with the next frame. That costs a frame of 1 MiB
as much as all copies of it.
"""

from __future__ import annotations

import ctypes

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
# Larger blocks come from the kernel one by one, as before: the most that glibc takes.
_BLOCK = 32 << 20
# What may lie free at the end of the heap.
_FREE = 64 << 20


def keep() -> bool:
    """Tells the C library, if it is one that can be told. Called by a process of services, before it serves."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _BLOCK)) and bool(mallopt(_M_TRIM_THRESHOLD, _FREE))
