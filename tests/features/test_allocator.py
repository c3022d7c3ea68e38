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


CUT_UP = """
import ctypes
from features.allocator import give_back_freed_memory, keep_freed_memory
keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def resident():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmRSS"))
start = resident()
blocks = [libc.malloc(8 << 20) for _ in range(40)]
stay = [libc.malloc(1 << 10)]  # above them all, so that the top of the heap cannot fall
for block in blocks:
    ctypes.memset(block, 1, 8 << 20)
for block in blocks:
    libc.free(block)
kept = resident() - start
give_back_freed_memory()
print(kept, resident() - start)
"""

with_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")


@with_glibc
def test_what_is_freed_below_a_block_in_use_is_kept_until_it_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", CUT_UP], check=True, capture_output=True, text=True)

    kept, left = map(int, done.stdout.split())
    assert kept >= 300
    assert left <= 30


@with_glibc
def test_a_large_block_comes_from_the_heap_once_it_is_set() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)

    assert done.stdout.split() == ["True", "True", "False"]
