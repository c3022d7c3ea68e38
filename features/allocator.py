"""Let the C library keep the memory of freed tensors.

glibc gives every freed block above 32 MiB (less at first) back to the kernel, and the next batch's feature
maps fault each page in again. On two cores the mini detector spends a tenth to a third of its time so
(benchmarks/allocator.py).
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

# Parameter numbers of mallopt(3), <malloc.h>.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8


def keep_freed_memory() -> bool:
    """Raise glibc's limits for this process; memory then falls only by ``give_back_freed_memory``.

    Returns:
        False where there is no glibc (macOS, musl): nothing was changed.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is None:
        return False
    limits = (
        (_MMAP_THRESHOLD, 1 << 30),
        (_TRIM_THRESHOLD, -1),
        (_TOP_PAD, 64 << 20),
        (_ARENA_MAX, 1),  # another thread's own heap ends at 64 MiB, what is larger would be mapped after all
    )
    return all([mallopt(parameter, value) == 1 for parameter, value in limits])


def give_back_freed_memory() -> None:
    """Give the kernel back what is free at this moment, also between blocks in use; nothing without glibc.

    Kept memory is cut up in time: a small block that stays lies where a feature map was, the next map finds
    no place, and the heap grows (from 1.5 to 3 GB over 16,000 pictures). Called now and then, this costs the
    page faults of one batch.
    """
    malloc_trim = _of_glibc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _of_glibc(name: str) -> Any:
    """A function of the C library; None where it is not glibc."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
