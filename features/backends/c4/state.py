"""C4 weights of any publisher, from a file to native names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from features.backends.c4.flavours import C4Weights, native_weights
from features.state_files import read_state

__all__ = ["read_c4_weights"]


def read_c4_weights(path: Path) -> C4Weights:
    """Read a .safetensors, .pth, .pt, .bin or .pkl file without running what it holds.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A file that holds more than tensors, or no known C4 detector, or not the whole of it.
    """
    file = read_state(path)
    weights = native_weights(path, file.tensors)
    beside = dict.fromkeys(file.ignored, "lies beside the state dict")
    return replace(weights, dropped=beside | weights.dropped)
