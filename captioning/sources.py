"""Where the pictures of a captioning run come from: a folder, or a regions file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from features.images import ImageError, scan_images
from features.store import Regions, RegionStore

if TYPE_CHECKING:
    from captioning.captioner import Captioner


@dataclass(frozen=True, kw_only=True)
class Source:
    """Pictures to caption.

    Attributes:
        path: The folder or the regions file.
        image_ids: Sorted; relative to the folder, or of the regions file.
        failed: Pictures known to be unusable before any work, and why.
        store: The regions file; None for a folder.
    """

    path: Path
    image_ids: Sequence[str]
    failed: Sequence[tuple[str, str]]
    store: RegionStore | None = None

    def regions(self, image_ids: Sequence[str], captioner: Captioner) -> Iterator[Regions | ImageError]:
        """Of some of the pictures, in order: read, or found by the captioner's detector."""
        if self.store is not None:
            return map(self.store.regions, image_ids)
        return captioner.extractor.extract(map(Path, image_ids), self.path)


def open_source(images: Path | None, features: Path | None, limit: int | None) -> Source:
    """The folder or the regions file, whichever is given, proved to hold pictures.

    Args:
        images: Folder of pictures.
        features: Regions file.
        limit: Only the first so many pictures.

    Raises:
        NotADirectoryError, features.store.StoreError: Neither is there.
        ValueError: It holds no picture.
    """
    if features is not None:
        path, store = features, RegionStore(features)
        image_ids, failed = store.image_ids, store.failed
    else:
        assert images is not None  # noqa: S101  (CaptionConfig)
        path, store, found = images, None, scan_images(images)
        image_ids, failed = found.image_ids, found.failed
    if not image_ids:
        raise ValueError(
            f"{path}: holds no picture; give a folder with pictures, or a regions file made from one"
        )
    return Source(path=path, image_ids=image_ids[:limit], failed=sorted(failed.items()), store=store)
