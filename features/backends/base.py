"""What every detector back end gives: regions of pictures, and a description that pins their numbers."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from features.allocator import keep_freed_memory
from features.regions import Selection

__all__ = ["BACKENDS", "Backend", "Detections", "file_sha256", "load_backend", "pick_device"]

Preprocessor = Callable[[Image.Image], Tensor]


@dataclass(frozen=True, kw_only=True)
class Detections:
    """Regions of one picture, score-descending, as numpy arrays.

    Attributes:
        boxes: (R, 4) float32, xyxy in pixels of the original picture.
        object_ids: (R,) int32, rows of the back end's vocabulary.
        object_scores: (R,) float32 in [0, 1].
        features: (R, D) float16 appearance vectors.
        global_feature: (D,) float16, the whole picture's vector, or None where a back end has none.
    """

    boxes: np.ndarray
    object_ids: np.ndarray
    object_scores: np.ndarray
    features: np.ndarray
    global_feature: np.ndarray | None = None


class Backend(ABC):
    """A detector with its weights loaded, on one device, in evaluation mode."""

    name: str
    """Its name in ``BACKENDS``; written into every regions file and checkpoint."""
    feature_dim: int
    """D, width of an appearance vector."""
    vocabulary_id: str
    """Names the class list, and the lexicon that translates it ("voc-20", "coco-80")."""
    vocabulary: tuple[str, ...]
    """English class names; object id i is ``vocabulary[i]``."""
    weights_sha256: str
    """Of the weights file; part of the fingerprint of a regions file."""
    selection: Selection
    preprocessor: Preprocessor
    """RGB picture -> (3, H, W) tensor; small and picklable, so that decode workers can run it."""

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """All that changes the numbers (weights, resize, colours, selection), JSON-able and stable."""

    @abstractmethod
    def detect(self, batch: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Detections]:
        """Regions of a batch of prepared pictures.

        Args:
            batch: (B, 3, H, W) what ``preprocessor`` made, all of one shape (padding changes
                features, so it is never used).
            sizes: Height and width in pixels of each original picture; boxes come back in them.
        """


def _load_mini(weights: Path | None, device: torch.device) -> Backend:
    from features.backends.mini import MiniBackend

    return MiniBackend(weights, device)


def _load_torchvision(weights: Path | None, device: torch.device) -> Backend:
    from features.backends.torchvision_fpn import TorchvisionBackend

    return TorchvisionBackend(weights, device)


BACKENDS: dict[str, Callable[[Path | None, torch.device], Backend]] = {
    "torchvision": _load_torchvision,
    "mini": _load_mini,
}
"""Loaders by name, best first; ``auto`` takes the first whose weights are on this machine."""


def load_backend(name: str, weights: Path | None = None, device: str = "auto") -> Backend:
    """Load a back end with its weights.

    Raises:
        ValueError: An unknown name (the message lists the right ones).
        FileNotFoundError: The weights are not there (the message says where to get them).
    """
    if name not in BACKENDS:
        raise ValueError(f"unknown back end {name!r}; choose from {', '.join(sorted(BACKENDS))}")
    chosen = pick_device(device)
    if chosen.type == "cpu":
        keep_freed_memory()
    return BACKENDS[name](weights, chosen)


def pick_device(device: str) -> torch.device:
    """``auto`` is the accelerator where there is one, else the processor."""
    if device != "auto":
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
