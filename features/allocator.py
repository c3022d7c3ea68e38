"""Let the C library keep the memory of freed tensors.

glibc gives every freed block above 32 MiB (less at first) back to the kernel, and the next batch's feature
maps fault each page in again. On two cores the mini detector spends a tenth to a third of its time so
(benchmarks/allocator.py).
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # parameter numbers of mallopt(3), <malloc.h>


def keep_freed_memory() -> bool:
    """Raise glibc's limits for this process; memory then falls only when the process ends.

    Returns:
        False where there is no glibc (macOS, musl): nothing was changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    limits = ((_MMAP_THRESHOLD, 1 << 30), (_TRIM_THRESHOLD, -1), (_TOP_PAD, 64 << 20))
    return all([mallopt(parameter, value) == 1 for parameter, value in limits])
