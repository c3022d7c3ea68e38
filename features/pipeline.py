"""Pictures through a detector: decode workers -> batches of one exact shape -> detector -> regions.

Padding pictures of several sizes to one batch changes their features (facebookresearch/mmf#720), so a
batch only ever holds pictures whose prepared shapes are equal. Composition of the batches depends on
nothing but the order of the pictures, so a rerun meets the same ones.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from features.backends.base import Backend, Detections
from features.images import decode_image, picture_path, read_bytes
from features.schema import Regions, box_geometry, check_regions

__all__ = [
    "Failure",
    "ModelClock",
    "PictureDataset",
    "Prepared",
    "decode_pictures",
    "detect_regions",
    "prepare",
]

WAITING_BYTES = 1 << 28
"""Prepared pictures that may wait for others of their shape: 256 MiB."""

Preprocessor = Callable[[Image.Image], Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A decoded picture on its way to the detector.

    Attributes:
        image_id: Of the picture.
        pixels: (3, H, W), what the preprocessor made. An array, because tensors travel between processes
            through /dev/shm, which containers keep small.
        height, width: Pixels of the upright original.
        sha256: Digest of the file, where there is one.
    """

    image_id: str
    pixels: np.ndarray
    height: int
    width: int
    sha256: bytes | None


@dataclass(frozen=True)
class Failure:
    """A picture that could not be used, and why."""

    image_id: str
    reason: str


@dataclass
class ModelClock:
    """Seconds spent inside the detector."""

    seconds: float = 0.0


def prepare(
    image_id: str, image: Image.Image, preprocessor: Preprocessor, sha256: bytes | None = None
) -> Prepared:
    """An upright RGB picture -> what the detector takes."""
    return Prepared(
        image_id=image_id,
        pixels=preprocessor(image).numpy(),
        height=image.height,
        width=image.width,
        sha256=sha256,
    )


class PictureDataset(Dataset[Prepared | Failure]):
    """Decodes pictures by id; an item that cannot be used is a :class:`Failure`, never an exception."""

    def __init__(self, root: Path, image_ids: Sequence[str], preprocessor: Preprocessor) -> None:
        self._root = root
        self._image_ids = list(image_ids)
        self._preprocessor = preprocessor

    def __len__(self) -> int:
        return len(self._image_ids)

    def __getitem__(self, index: int) -> Prepared | Failure:
        image_id = self._image_ids[index]
        try:
            data = read_bytes(picture_path(self._root, image_id))
            digest = hashlib.sha256(data).digest()
            return prepare(image_id, decode_image(data), self._preprocessor, digest)
        except ValueError as error:  # ImageError, or an id that leads out of the folder
            return Failure(image_id, str(error))
        except Exception as error:  # an exception would end the worker, and with it the run
            return Failure(image_id, f"could not be prepared: {type(error).__name__}: {error}")


def decode_pictures(
    root: Path, image_ids: Sequence[str], preprocessor: Preprocessor, workers: int
) -> Iterator[Prepared | Failure]:
    """Decode pictures in order, in worker processes that run at most a few pictures ahead.

    Args:
        root: Folder of the ids.
        image_ids: Relative POSIX paths.
        preprocessor: Of the back end.
        workers: Processes; 0 decodes in this one.

    Raises:
        RuntimeError: A worker was killed (out of memory, usually).
    """
    loader = DataLoader(
        PictureDataset(root, image_ids, preprocessor),
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_prepare_worker,
    )
    return iter(loader)


def default_workers() -> int:
    """Decode processes where none are asked for: the cores less one, 1 to 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, max(1, cores - 1))


def _as_it_is(item: Any) -> Any:
    return item


def _prepare_worker(_worker: int) -> None:
    warnings.simplefilter("ignore")  # what Pillow warns of is either read all the same or a named failure
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the parent ends its workers


def detect_regions(
    items: Iterable[Prepared | Failure], backend: Backend, batch_size: int, clock: ModelClock
) -> Iterator[Regions | Failure]:
    """Run the detector; results come as batches fill, not in the order of the pictures.

    Args:
        items: Decoded pictures.
        backend: The detector.
        batch_size: Pictures a batch, at most.
        clock: Counts the detector's seconds.
    """
    waiting: dict[tuple[int, ...], list[Prepared]] = {}  # by shape, oldest shape first
    n_bytes = 0
    for item in items:
        if isinstance(item, Failure):
            yield item
            continue
        shape = item.pixels.shape
        waiting.setdefault(shape, []).append(item)
        n_bytes += item.pixels.nbytes
        if len(waiting[shape]) < batch_size:
            if n_bytes <= WAITING_BYTES:
                continue
            shape = max(waiting, key=lambda candidate: len(waiting[candidate]))
        batch = waiting.pop(shape)
        n_bytes -= sum(prepared.pixels.nbytes for prepared in batch)
        yield from _detect_batch(batch, backend, clock)
    for batch in waiting.values():
        yield from _detect_batch(batch, backend, clock)


def _detect_batch(batch: list[Prepared], backend: Backend, clock: ModelClock) -> Iterator[Regions | Failure]:
    pixels = torch.from_numpy(np.stack([prepared.pixels for prepared in batch]))  # (B, 3, H, W)
    started = time.perf_counter()
    found = backend.detect(pixels, [(prepared.height, prepared.width) for prepared in batch])
    clock.seconds += time.perf_counter() - started
    for prepared, detections in zip(batch, found, strict=True):
        try:
            yield _regions(prepared, detections, backend)
        except ValueError as error:
            yield Failure(
                prepared.image_id, f"the {backend.name} detector gave regions that cannot be kept: {error}"
            )


def _regions(prepared: Prepared, found: Detections, backend: Backend) -> Regions:
    regions = Regions(
        image_id=prepared.image_id,
        width=prepared.width,
        height=prepared.height,
        features=found.features,
        boxes=found.boxes,
        geometry=box_geometry(found.boxes, prepared.width, prepared.height),
        object_ids=found.object_ids,
        object_scores=found.object_scores,
        attribute_ids=found.attribute_ids,
        attribute_scores=found.attribute_scores,
        class_ids=found.class_ids,
        class_scores=found.class_scores,
        global_feature=found.global_feature,
        num_proposals=found.num_proposals,
        image_sha256=prepared.sha256,
    )
    n_attributes = len(backend.attribute_vocabulary)
    check_regions(regions, backend.feature_dim, len(backend.vocabulary), n_attributes)
    return regions
