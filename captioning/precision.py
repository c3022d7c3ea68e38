"""Which device and number format train fastest here; the format is measured, and said."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch.nn import functional

from captioning.config import Precision

_WORTHWHILE = 1.2
"""bf16 must be this many times as fast as fp32 in matrix products to be worth its lost digits."""


@dataclass(frozen=True, kw_only=True)
class PrecisionChoice:
    """A precision and why."""

    name: Precision
    reason: str


def pick_device(wanted: str) -> torch.device:
    """The wanted device, or with ``auto`` the first there is of cuda, mps, cpu.

    Raises:
        ValueError: the device is not here.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(name for name, here in there.items() if here))
    if not there.get(wanted.partition(":")[0], False):
        names = ", ".join(name for name, here in there.items() if here)
        raise ValueError(f"device {wanted!r} is not available here; choose from auto, {names}")
    return torch.device(wanted)


def side_processes(asked: int | None) -> int:
    """Processes beside one that trains: so many as asked for, or 2 with CUDA and else none.

    A processor needs its cores for the model; an accelerator shall not wait for what a processor prepares.
    """
    if asked is not None:
        return asked
    return 2 if torch.cuda.is_available() else 0


def choose_precision(wanted: Precision, device: torch.device) -> PrecisionChoice:
    """The wanted precision, or with ``auto`` the faster of fp32 and bf16 on this device.

    fp16 is never chosen by itself: it needs loss scaling and fails on some models.
    """
    if wanted != "auto":
        return PrecisionChoice(name=wanted, reason="as set")
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return PrecisionChoice(name="fp32", reason="this GPU has no bf16")
    seconds = _layer_seconds(device)
    gain = seconds["fp32"] / seconds["bf16"]
    name: Precision = "bf16" if gain >= _WORTHWHILE else "fp32"
    speed = f"{gain:.1f} times as fast as" if gain >= 1 else f"{1 / gain:.1f} times slower than"
    return PrecisionChoice(name=name, reason=f"measured: bf16 is {speed} fp32 on this {device.type}")


_CANDIDATES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def _layer_seconds(device: torch.device) -> dict[str, float]:
    """Seconds of a linear layer in each candidate: the shortest of 7 after a warm-up, taken in turn.

    Large enough that starting the work does not count, small enough that an emulated format takes a
    fraction of a second.
    """
    rows, width = (512, 512) if device.type == "cpu" else (8192, 1024)
    inputs = {
        name: (
            torch.ones(rows, width, device=device, dtype=dtype),
            torch.ones(width, width).to(device, dtype),
        )
        for name, dtype in _CANDIDATES.items()
    }
    shortest = dict.fromkeys(_CANDIDATES, float("inf"))
    for turn in range(8):
        for name, (rows_in, weight) in inputs.items():
            start = time.perf_counter()
            functional.linear(rows_in, weight)[0, 0].item()  # waits for the device
            if turn:
                shortest[name] = min(shortest[name], time.perf_counter() - start)
    return shortest
