"""Weights files of every kind that detectors are published in, read without running what they hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from features.array_pickle import read_array_pickle

__all__ = ["StateFile", "read_state"]


@dataclass(frozen=True, kw_only=True)
class StateFile:
    """What a weights file holds.

    Attributes:
        tensors: Its state dict.
        ignored: Names of what lies beside the state dict: optimizer, scheduler, author.
    """

    tensors: dict[str, Tensor]
    ignored: tuple[str, ...] = ()


def read_state(path: Path) -> StateFile:
    """The state dict of a .safetensors, .pth, .pt, .bin or .pkl file, on the processor.

    Training programs save it as ``model`` beside their optimizer; alone is as good.

    Raises:
        ValueError: Another kind of file, a broken one, or one that holds more than tensors.
        FileNotFoundError: No such file.
    """
    if path.suffix not in _READERS:
        raise ValueError(
            f"{path}: cannot be read as weights; wanted is a file ending in {', '.join(_READERS)}"
            + (" (caffe's own files have to be converted first)" if path.suffix == ".caffemodel" else "")
        )
    try:
        content = _READERS[path.suffix](path)
    except OSError:
        raise
    except Exception as error:  # the readers raise many types for a file that is not theirs
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path}: cannot be read as weights ({reason})") from error
    ignored: tuple[str, ...] = ()
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        ignored = tuple(str(name) for name in content if name != "model")
        content = content["model"]
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path}: holds no state dict, wanted are tensors by name")
    odd = next((name for name, value in content.items() if not isinstance(value, Tensor | np.ndarray)), None)
    if odd is not None:
        raise ValueError(
            f"{path}: holds no state dict: {odd!r} is a {type(content[odd]).__name__}, wanted are tensors"
        )
    return StateFile(tensors={str(name): torch.as_tensor(v) for name, v in content.items()}, ignored=ignored)


def _read_safetensors(path: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(path)


def _read_torch(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


_READERS: dict[str, Callable[[Path], Any]] = {
    ".safetensors": _read_safetensors,
    ".pth": _read_torch,
    ".pt": _read_torch,
    ".bin": _read_torch,
    ".pkl": read_array_pickle,
}
"""By the end of a file's name."""
