"""Setting of the memory allocator of the C library for training on a CPU."""

import ctypes
import os
import platform

# Parameters of mallopt(3) in glibc.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4

PAD_BYTES = 64 * 2**20
"""The heap grows by this number of bytes more than requested."""


def keep_freed_memory() -> bool:
    """Let this process keep the memory of freed tensors for later ones, instead of returning it to the system.

    By default, the C library of Linux (glibc) requests each large tensor from the system and returns it when it is
    freed. The system then clears every page again in the next training step, which can take as long as the
    computation. Afterwards, the process has the memory of its largest step until it ends.

    Returns:
        Whether the setting was changed. It is not on other systems, and not if an environment variable ``MALLOC_...``
        sets the allocator.
    """
    if platform.libc_ver()[0] != "glibc" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_TOP_PAD: PAD_BYTES}
    return all(mallopt(parameter, value) == 1 for parameter, value in settings.items())
