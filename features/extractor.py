"""A detector for programs: pictures in, regions out, in their order and in this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from features.backends.base import Backend, DetectorOptions, load_backend, pick_device
from features.decoding import Failure, Prepared, decode_one, default_workers
from features.images import ImageError, read_bytes
from features.pipeline import Detector, form_batches
from features.schema import Regions, StoreMeta
from features.weights import best_backend

__all__ = ["RegionExtractor"]

_BATCHES_AHEAD = 4  # enough that a few picture shapes still fill their batches


class RegionExtractor:
    """A detector with its weights: pictures in, regions out, in this process.

    Args:
        backend: A name of ``BACKENDS``, or ``auto``.
        weights: Its weights file; None takes the bundled or downloaded one.
        device: ``auto``, ``cpu``, ``cuda``.
        options: What is asked of it beside; the back end's own by default.

    Raises:
        ValueError: An unknown back end, weights that are not its, or an option that it does not have.
        FileNotFoundError: The weights are not there.
    """

    def __init__(
        self,
        backend: str = "mini",
        weights: Path | None = None,
        device: str = "auto",
        options: DetectorOptions | None = None,
    ) -> None:
        name = best_backend() if backend == "auto" else backend
        self.backend: Backend = load_backend(name, weights, device, options)
        self._detector = Detector(self.backend)
        self._decoders = default_workers(pick_device(device))

    def meta(self, run: dict[str, Any] | None = None) -> StoreMeta:
        """What a regions file says about its detector."""
        return StoreMeta(
            backend=self.backend.name,
            description=self.backend.description(),
            vocabulary=self.backend.vocabulary,
            vocabulary_id=self.backend.vocabulary_id,
            feature_dim=self.backend.feature_dim,
            attribute_vocabulary=self.backend.attribute_vocabulary,
            run=run or {},
        )

    @property
    def fingerprint(self) -> str:
        """Equal to that of the regions files it writes."""
        return self.meta().fingerprint

    def regions(self, image: Image.Image, image_id: str = "") -> Regions:
        """Regions of one upright RGB picture.

        Raises:
            features.images.ImageError: The detector's answer cannot be used.
        """
        (found,) = self.extract([image])
        if isinstance(found, ImageError):
            raise found
        return replace(found, image_id=image_id)

    def extract(
        self, images: Iterable[Path | Image.Image], root: Path | None = None, batch_size: int = 8
    ) -> Iterator[Regions | ImageError]:
        """Regions of any number of pictures, in order; one result a picture.

        Pictures are decoded in threads, a few batches ahead of the detector.

        Args:
            images: Files or decoded RGB pictures.
            root: File paths are relative to it, and are the picture ids as they stand.
            batch_size: Pictures a batch, at most.

        Returns:
            Regions, or an :class:`ImageError` (not raised) for a file that is no usable picture.
        """
        pictures = iter(images)
        decoders = ThreadPoolExecutor(self._decoders, thread_name_prefix="decoder")

        def decoding() -> tuple[list[str], deque[Future[Prepared | Failure]]]:
            window = list(islice(pictures, _BATCHES_AHEAD * batch_size))
            names = [picture.as_posix() if isinstance(picture, Path) else "" for picture in window]
            return names, deque(
                decoders.submit(self._decode, str(number), picture, root)
                for number, picture in enumerate(window)
            )

        try:
            names, decoded = decoding()
            while names:
                following = decoding()
                yield from self._detect(names, decoded, batch_size)
                names, decoded = following
        finally:
            decoders.shutdown(cancel_futures=True)

    def _detect(
        self, names: list[str], decoded: deque[Future[Prepared | Failure]], batch_size: int
    ) -> Iterator[Regions | ImageError]:
        """One window of pictures; a name may occur twice, so they go by their number."""
        items = (decoded.popleft().result() for _ in names)  # let go of as they are used
        found: dict[int, Regions | Failure] = {}
        for batch in form_batches(items, batch_size):
            results = [batch] if isinstance(batch, Failure) else self._detector.regions(batch)
            found.update((int(result.image_id), result) for result in results)
        for number, name in enumerate(names):
            result = found.pop(number)
            yield ImageError(result.reason) if isinstance(result, Failure) else replace(result, image_id=name)

    def _decode(self, number: str, picture: Path | Image.Image, root: Path | None) -> Prepared | Failure:
        def read() -> bytes | Image.Image:
            if not isinstance(picture, Path):
                return picture
            return read_bytes(picture if root is None else root / picture)

        return decode_one(number, read, self.backend.preprocessor)
