"""Freed memory stays with the process.

By default glibc hands large freed blocks back to the kernel, and faults every page of them in again for the next batch:
on a CPU a fifth of the time that colour jitter takes at 224 px.
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""From glibc's malloc.h."""


def keep_freed_memory() -> None:
    """Blocks up to 32 MiB are used again; of other C libraries nothing is asked."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 1 << 25)
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
