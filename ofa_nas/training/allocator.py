"""Keep freed memory in the process: page faults on activations cost a CPU training up to half its time."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc's malloc.h


def keep_freed_memory() -> bool:
    """Tell glibc's malloc neither to map large blocks one by one nor to give freed ones back.

    Returns:
        Whether the allocator took it; elsewhere than on glibc nothing happens.

    Source: mallopt(3); measured in docs/log.md.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))
