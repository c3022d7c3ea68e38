"""Pictures through a detector: decode workers -> batches of one exact shape -> detector -> regions.

Padding pictures of several sizes to one batch changes their features (facebookresearch/mmf#720), so a
batch only ever holds pictures whose prepared shapes are equal. Composition of the batches depends on
nothing but the order of the pictures, so a rerun meets the same ones.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from features.backends.base import Backend, Detections
from features.decoding import Failure, Prepared
from features.given_boxes import GivenBoxes
from features.progress import say
from features.schema import Regions, box_geometry, check_regions

__all__ = ["Batch", "Detector", "DetectorBroken", "ahead", "form_batches", "side_by_side"]

T = TypeVar("T")
R = TypeVar("R")

WAITING_BYTES = 1 << 28
"""Prepared pictures that may wait for others of their shape: 256 MiB."""
_ALL_BAD = 20
"""Where a detector fails on so many pictures and has not yet managed one, it is not the pictures."""
_OUT_OF_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "MPS backend out of memory",
    "could not create a primitive",  # oneDNN's, whose working memory could not be had
)


class DetectorBroken(ValueError):
    """The detector fails whatever the picture."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Pictures of one prepared shape.

    Attributes:
        pictures: Their pixels are rows of ``pixels``.
        pixels: (B, 3, H, W).
    """

    pictures: Sequence[Prepared]
    pixels: Tensor

    @staticmethod
    def of(pictures: Sequence[Prepared]) -> Batch:
        """Copy pictures into one array; what they were in is let go of."""
        pixels = np.stack([picture.pixels for picture in pictures])
        rows = [replace(picture, pixels=row) for picture, row in zip(pictures, pixels, strict=True)]
        return Batch(pictures=rows, pixels=torch.from_numpy(pixels))

    def __len__(self) -> int:
        return len(self.pictures)

    def cut(self, size: int) -> list[Batch]:
        """Batches of so many pictures; the last one of what is left over."""
        parts = (slice(start, start + size) for start in range(0, len(self), size))
        return [Batch(pictures=self.pictures[part], pixels=self.pixels[part]) for part in parts]


def form_batches(
    items: Iterable[Prepared | Failure], batch_size: int, boxes: GivenBoxes | None = None
) -> Iterator[Batch | Failure]:
    """Gather pictures of equal shape; batches come as they fill, what is left over at the end.

    Args:
        items: Decoded pictures.
        batch_size: Pictures a batch, at most.
        boxes: To describe, instead of those that the detector finds.
    """
    waiting: dict[tuple[int, ...], list[Prepared]] = {}  # by shape, oldest shape first
    n_bytes = 0
    for item in items:
        if boxes is not None and isinstance(item, Prepared):
            item = _with_boxes(item, boxes)
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
        pictures = waiting.pop(shape)
        n_bytes -= sum(picture.pixels.nbytes for picture in pictures)
        yield Batch.of(pictures)
    for pictures in waiting.values():
        yield Batch.of(pictures)


def _with_boxes(picture: Prepared, boxes: GivenBoxes) -> Prepared | Failure:
    try:
        return replace(picture, boxes=boxes.within(picture.image_id, picture.width, picture.height))
    except ValueError as error:
        return Failure(picture.image_id, str(error))


def ahead(items: Iterable[T], count: int) -> Generator[T, None, None]:
    """Take items in a thread, at most so many before they are asked for; errors come in their place."""
    iterator = iter(items)
    end: Any = object()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead") as thread:
        waiting = deque(thread.submit(next, iterator, end) for _ in range(count))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(thread.submit(next, iterator, end))
                yield item
        finally:
            thread.shutdown(cancel_futures=True)


def side_by_side(work: Callable[[T], R], items: Iterable[T], lanes: int) -> Generator[R, None, None]:
    """Results of ``work`` in the order of the items, so many of which are worked on at a time.

    Each lane is a thread with its share of torch's threads. One item waits beside those that are worked on;
    errors, of the items too, come in their place.
    """
    if lanes == 1:
        yield from map(work, items)
        return
    n_threads = torch.get_num_threads()
    share = max(1, n_threads // lanes)
    with ThreadPoolExecutor(lanes, "lane", torch.set_num_threads, (share,)) as threads:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(threads.submit(work, item))
                if len(waiting) > lanes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            threads.shutdown(cancel_futures=True)
            torch.set_num_threads(n_threads)  # threads begun later would have the share


class Detector:
    """Runs a back end over batches, in pieces where memory does not hold a whole one or it fails on one.

    Several threads may share it: all that they could lose to each other is one of a count.

    Attributes:
        seconds: Spent inside the back end, by all threads.
    """

    def __init__(self, backend: Backend) -> None:
        self.seconds = 0.0
        self._backend = backend
        self._most: dict[tuple[int, ...], int] = {}  # pictures of a shape that memory is known to hold
        self._good: Batch | None = None  # the first picture that it managed
        self._n_bad = 0  # pictures that it failed on before

    def regions(self, batch: Batch) -> Iterator[Regions | Failure]:
        """One result a picture, in their order.

        Raises:
            DetectorBroken: It fails, and not because of the picture.
        """
        pieces = deque([batch])
        while pieces:
            piece = pieces.popleft()
            shape = tuple(piece.pixels.shape[1:])
            if len(piece) > self._most.get(shape, len(piece)):
                pieces.extendleft(reversed(piece.cut(-(-len(piece) // 2))))
                continue
            found = self._try(piece)
            if isinstance(found, str):
                if len(piece) == 1:
                    yield self._bad(piece, found)
                else:
                    names = ", ".join(picture.image_id for picture in piece.pictures)
                    say(f"the {self._backend.name} detector {found}: trying them one by one ({names})")
                    pieces.extendleft(reversed(piece.cut(1)))
            elif found is not None:
                if self._good is None:
                    self._good = Batch.of(piece.pictures[:1])  # a copy, which does not hold the others
                yield from map(self._result, piece.pictures, found)
            elif len(piece) > 1:
                if not self._most:
                    say(f"out of memory with {len(piece)} pictures at once: going on with smaller batches")
                self._most[shape] = len(piece) // 2
                pieces.appendleft(piece)
            else:
                reason = f"not enough memory for its {shape[1]}x{shape[2]} prepared pixels"
                yield Failure(piece.pictures[0].image_id, reason)

    def _try(self, batch: Batch) -> list[Detections] | str | None:
        """The back end's answer, None where memory ran out, or what it failed with."""
        try:
            return self._detect(batch)
        except (RuntimeError, ValueError) as error:  # on one odd picture, or for good: a GPU that is lost
            what = " ".join(str(error).split()) or type(error).__name__
            return f"failed on {len(batch)} pictures ({what})" if len(batch) > 1 else f"failed on it ({what})"

    def _bad(self, piece: Batch, reason: str) -> Failure:
        """A picture that it fails on, once it has shown that it does not fail on others too."""
        image_id, name = piece.pictures[0].image_id, self._backend.name
        if self._good is None:
            self._n_bad += 1
            broken = self._n_bad >= _ALL_BAD
        else:
            broken = isinstance(self._try(self._good), str)
        if broken:
            raise DetectorBroken(
                f"{image_id}: the {name} detector {reason}, and so it does on others: it, its weights "
                "or its device are broken. What was done is sealed; run the same command to go on."
            )
        return Failure(image_id, f"the {name} detector {reason}")

    def _detect(self, batch: Batch) -> list[Detections] | None:
        """The back end's answer; None where memory ran out."""
        sizes = [(picture.height, picture.width) for picture in batch.pictures]
        boxes = [picture.boxes for picture in batch.pictures if picture.boxes is not None]
        started = time.perf_counter()
        try:
            return self._backend.detect(batch.pixels, sizes, boxes or None)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
        finally:
            self.seconds += time.perf_counter() - started
        if torch.cuda.is_available():  # only here: the error held on to what the detector had allocated
            torch.cuda.empty_cache()
        return None

    def _result(self, picture: Prepared, found: Detections) -> Regions | Failure:
        try:
            return _regions(picture, found, self._backend)
        except ValueError as error:
            name = self._backend.name
            return Failure(picture.image_id, f"the {name} detector gave regions that cannot be kept: {error}")


def _is_out_of_memory(error: Exception) -> bool:
    """CUDA's allocator has a type of its own; only the text tells what others raise."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        text in str(error) for text in _OUT_OF_MEMORY
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
