"""What a figure was measured on: the machine, and how fast its matrix products were at that moment."""

from __future__ import annotations

import platform
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch

GEMM_SIZE = 1024  # large enough to reach the machine's rate, small enough to take some hundredths of a second
GEMM_REPEATS = 12
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def machine() -> dict[str, Any]:
    """Processor, its instructions that matter here, threads and versions."""
    return {
        "processor": _processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "fast_bf16": fast_bf16(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def fast_bf16() -> bool:
    """Does the processor multiply bf16 in hardware (avx512_bf16 or AMX)?"""
    flags = _cpuinfo("flags").split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def gemm_gflops(dtype: torch.dtype = torch.float32) -> float:
    """The best rate of a square matrix product right now, in GFLOP/s: the limit of any model here."""
    left, right = torch.ones(2, GEMM_SIZE, GEMM_SIZE, dtype=dtype)
    shortest = float("inf")
    for _ in range(GEMM_REPEATS):
        start = time.perf_counter()
        left @ right
        shortest = min(shortest, time.perf_counter() - start)
    return 2 * GEMM_SIZE**3 / shortest / 1e9


def peak_megabytes(usage: resource.struct_rusage | None = None) -> float:
    """The most memory that a process has held, this one unless its `usage` is given, in MB (10^6 bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return (usage or resource.getrusage(resource.RUSAGE_SELF)).ru_maxrss * unit / 1e6


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(field: str) -> str:
    """The first value of a field of /proc/cpuinfo; empty where there is none."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")
