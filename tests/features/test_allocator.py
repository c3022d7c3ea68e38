"""The C library keeps freed memory: large blocks then come from the heap, not from mappings of their own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes
from features.allocator import keep_freed_memory
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def mapped():
    start = libc.malloc(200 << 20)
    lines = open("/proc/self/maps").read().splitlines()
    heap = next(line.split()[0].split("-") for line in lines if line.endswith("[heap]"))
    return not int(heap[0], 16) <= start < int(heap[1], 16)
before = mapped()
print(before, keep_freed_memory(), mapped())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_a_large_block_comes_from_the_heap_once_it_is_set() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)

    assert done.stdout.split() == ["True", "True", "False"]
