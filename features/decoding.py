"""Picture files to what a detector takes, in worker processes a few pictures ahead."""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from features.backends.base import Preprocessor
from features.images import decode_image, picture_path, read_bytes
from features.stop import end_with_parent

__all__ = [
    "Failure",
    "PictureDataset",
    "Prepared",
    "cores",
    "decode_one",
    "decode_pictures",
    "default_workers",
]


_FORK = "fork" if sys.platform == "linux" else None
"""Said, because a process that was spawned itself (one a device) would spawn its own, each of which imports
torch once more: seconds, and hundreds of megabytes that are not shared."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A decoded picture on its way to the detector.

    Attributes:
        image_id: Of the picture.
        pixels: (3, H, W), what the preprocessor made. An array, because tensors travel between processes
            through /dev/shm, which containers keep small.
        height, width: Pixels of the upright original.
        sha256: Digest of the file, where there is one.
        boxes: (R, 4) boxes to describe, instead of those that the detector finds.
    """

    image_id: str
    pixels: np.ndarray
    height: int
    width: int
    sha256: bytes | None
    boxes: np.ndarray | None = None


@dataclass(frozen=True)
class Failure:
    """A picture that could not be used, and why."""

    image_id: str
    reason: str


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


def decode_one(
    image_id: str, read: Callable[[], bytes | Image.Image], preprocessor: Preprocessor
) -> Prepared | Failure:
    """What ``read`` gives, a file's bytes or a picture, -> what the detector takes; never an exception."""
    try:
        found = read()
        if isinstance(found, Image.Image):
            return prepare(image_id, found.convert("RGB"), preprocessor)
        return prepare(image_id, decode_image(found), preprocessor, hashlib.sha256(found).digest())
    except ValueError as error:  # ImageError, or an id that leads out of the folder
        return Failure(image_id, str(error))
    except Exception as error:  # an exception would end the worker, and with it the run
        return Failure(image_id, f"could not be prepared: {type(error).__name__}: {error}")


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
        return decode_one(
            image_id, lambda: read_bytes(picture_path(self._root, image_id)), self._preprocessor
        )


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
        multiprocessing_context=_FORK if workers else None,
    )
    return iter(loader)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers(device: torch.device) -> int:
    """Decode processes where none are asked for, 1 to 8.

    A GPU wants a core that feeds it. A detector on the CPU waits for its slowest thread at every layer: one
    process beside it would hold up all cores, as many as there are cores hold them up for a shorter time.
    """
    return min(8, max(1, cores() - (device.type != "cpu")))


def _as_it_is(item: Any) -> Any:
    return item


def _prepare_worker(worker: int) -> None:
    warnings.simplefilter("ignore")  # what Pillow warns of is either read all the same or a named failure
    end_with_parent(worker)
