"""What every detector back end gives: regions of pictures, and a description that pins their numbers."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from features.allocator import keep_freed_memory
from features.regions import COCO, MINI, Selection, choose_selection
from features.vocabularies import COCO_CLASSES, VOC_CLASSES

__all__ = [
    "BACKENDS",
    "Backend",
    "Detections",
    "DetectorOptions",
    "OneByOne",
    "Preprocessor",
    "exact_convolutions",
    "file_sha256",
    "load_backend",
    "pick_device",
]

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
        attribute_ids: (R,) int32, rows of the back end's attribute vocabulary, -1 for none of them; or None
            where they were not asked for.
        attribute_scores: (R,) float32 in [0, 1], beside ``attribute_ids``.
        class_ids: (R, K) int32, the K best classes of each region, best first; or None.
        class_scores: (R, K) float16 in [0, 1], beside ``class_ids``.
        num_proposals: Proposals that the regions were chosen from; or None where a back end does not tell.
    """

    boxes: np.ndarray
    object_ids: np.ndarray
    object_scores: np.ndarray
    features: np.ndarray
    global_feature: np.ndarray | None = None
    attribute_ids: np.ndarray | None = None
    attribute_scores: np.ndarray | None = None
    class_ids: np.ndarray | None = None
    class_scores: np.ndarray | None = None
    num_proposals: int | None = None


@dataclass(frozen=True, kw_only=True)
class DetectorOptions:
    """What may be asked of a back end beside its weights; what it cannot do it refuses.

    Attributes:
        profile: Name of a selection profile (``features.regions.PROFILES``); None is the back end's own.
        overrides: Fields of ``Selection`` that differ from the profile's.
        attributes: Whether regions carry their best attribute.
        class_topk: Classes a region that are kept with their scores; 0 keeps the best alone.
        amp: Whether the convolutions run in bfloat16; boxes and selection never do.
    """

    profile: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    attributes: bool = False
    class_topk: int = 0
    amp: bool = False

    def selection(self, default: Selection) -> Selection:
        """The selection rule that was asked for; ``default`` is the back end's own.

        Raises:
            ValueError: An unknown profile, or numbers that do not fit together.
        """
        return choose_selection(default, self.profile, self.overrides)

    def check(self, detector: str, n_classes: int, *, has_attributes: bool = False) -> None:
        """Refuse what a detector does not know.

        Args:
            detector: Its name.
            n_classes: It tells apart.
            has_attributes: Whether it names attributes.

        Raises:
            ValueError: Attributes of one that has none, or more classes than there are.
        """
        if self.attributes and not has_attributes:
            raise ValueError(f"{detector} has no attributes; c4 has, with Visual Genome weights")
        if not 0 <= self.class_topk <= n_classes:
            raise ValueError(f"class_topk must lie in 0..{n_classes} ({detector}), got {self.class_topk}")


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Within it convolutions in float32 are that, not CUDA's default TF32, and always by one kernel."""
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        yield


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
    attribute_vocabulary: tuple[str, ...] = ()
    """English attribute names; attribute id i is ``attribute_vocabulary[i]``. Empty where it gives none."""
    weights_sha256: str
    """Of the weights file; part of the fingerprint of a regions file."""
    selection: Selection
    preprocessor: Preprocessor
    """RGB picture -> (3, H, W) tensor; small and picklable, so that decode workers can run it."""

    @property
    def lanes(self) -> int:
        """Batches that it best works on at a time, in a thread each, which share torch's threads."""
        return 1

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """All that changes the numbers (weights, resize, colours, selection), JSON-able and stable."""

    @abstractmethod
    def detect(
        self,
        batch: Tensor,
        sizes: Sequence[tuple[int, int]],
        boxes: Sequence[np.ndarray] | None = None,
    ) -> list[Detections]:
        """Regions of a batch of prepared pictures.

        Args:
            batch: (B, 3, H, W) what ``preprocessor`` made, all of one shape (padding changes
                features, so it is never used).
            sizes: Height and width in pixels of each original picture; boxes come back in them.
            boxes: A picture, (R, 4) float32 xyxy boxes in pixels of the original to describe instead of
                the detector's own: all are kept as they are, none is suppressed, and they come back
                score-descending with the class, score and vector that the detector gives them.
        """


class OneByOne(Backend):
    """A detector that looks at the pictures of a batch one after another.

    Nothing is lost, since one picture's 300 regions fill a processor (batches of eight gave the publishers of
    C4 detectors 1.3 times the speed at most), and a picture has the same bits whoever is in its batch, so
    that a run that was stopped and resumed writes the same file.
    """

    device: torch.device

    @torch.inference_mode()
    @exact_convolutions()
    def detect(
        self,
        batch: Tensor,
        sizes: Sequence[tuple[int, int]],
        boxes: Sequence[np.ndarray] | None = None,
    ) -> list[Detections]:
        """See :class:`Backend`."""
        given = boxes if boxes is not None else [None] * len(sizes)
        return [
            self.look(picture.to(self.device), size, own)
            for picture, size, own in zip(batch, sizes, given, strict=True)
        ]

    @abstractmethod
    def look(self, picture: Tensor, size: tuple[int, int], given: np.ndarray | None) -> Detections:
        """Regions of one prepared picture (3, H, W); the rest is as :meth:`detect` has it."""


def _load_c4(weights: Path | None, device: torch.device, options: DetectorOptions) -> Backend:
    from features.backends.c4.backend import C4Backend

    return C4Backend(weights, device, options)


def _load_mini(weights: Path | None, device: torch.device, options: DetectorOptions) -> Backend:
    from features.backends.mini import MiniBackend

    selection = _plain_selection("mini", options, MINI, len(VOC_CLASSES))
    return MiniBackend(weights, device, selection, class_topk=options.class_topk)


def _load_torchvision(weights: Path | None, device: torch.device, options: DetectorOptions) -> Backend:
    from features.backends.torchvision_fpn import TorchvisionBackend

    selection = _plain_selection("torchvision", options, COCO, len(COCO_CLASSES))
    return TorchvisionBackend(weights, device, selection, class_topk=options.class_topk)


def _plain_selection(name: str, options: DetectorOptions, default: Selection, n_classes: int) -> Selection:
    """The selection of a detector without attributes that runs in float32 and gives refined boxes only.

    Raises:
        ValueError: Something else is asked of it.
    """
    options.check(f"the {name} detector", n_classes)
    if options.amp:
        raise ValueError(f"the {name} detector runs in float32 only; c4 runs in bfloat16")
    selection = options.selection(default)
    if selection.box_source != "regressed":
        raise ValueError(
            f"profile {selection.profile!r} keeps proposals, which the {name} detector does not give; "
            "set box_source to 'regressed', or use c4"
        )
    return selection


def _load_detectron2(weights: Path | None, device: torch.device, options: DetectorOptions) -> Backend:
    from features.backends.detectron2 import Detectron2Backend

    return Detectron2Backend(weights, device, options)


BACKENDS: dict[str, Callable[[Path | None, torch.device, DetectorOptions], Backend]] = {
    "c4": _load_c4,
    "torchvision": _load_torchvision,
    "detectron2": _load_detectron2,
    "mini": _load_mini,
}
"""Loaders by name, best first; ``auto`` takes the first whose weights are on this machine."""


def load_backend(
    name: str, weights: Path | None = None, device: str = "auto", options: DetectorOptions | None = None
) -> Backend:
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
    return BACKENDS[name](weights, chosen, options or DetectorOptions())


def pick_device(device: str) -> torch.device:
    """``auto`` is the accelerator where there is one, else the processor."""
    if device != "auto":
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
