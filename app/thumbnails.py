"""Pictures as the page shows them: JPEGs of a size that suits the place."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from pathlib import Path

from PIL import Image

from app.data import Collection
from features.images import read_image

THUMBNAIL_SIDE = 320
PICTURE_SIDE = 1280
QUALITY = 82


def thumbnail(collection: Collection, image_id: str) -> bytes:
    """A small JPEG, kept in the cache folder as long as the picture's file stays as it is.

    Raises:
        features.images.ImageError: The file is no usable picture.
        ValueError: There is no such picture.
    """
    path = collection.path(image_id)
    return collection.cache.file(_name(path, THUMBNAIL_SIDE), lambda: _small(path, THUMBNAIL_SIDE))


def picture(collection: Collection, image_id: str) -> bytes:
    """A JPEG of at most `PICTURE_SIDE` pixels a side; raises as `thumbnail` does."""
    path = collection.path(image_id)
    return _picture(path, _name(path, PICTURE_SIDE))


@lru_cache(maxsize=32)
def _picture(path: Path, name: str) -> bytes:
    return _small(path, PICTURE_SIDE)


def _small(path: Path, side: int) -> bytes:
    return jpeg(read_image(path, side=2 * side), side)  # twice: what is smoothed keeps its edges


def _name(path: Path, side: int) -> str:
    try:
        status = path.stat()
    except OSError:  # the reader says what is wrong
        return f"{path.absolute()}\0gone"
    return f"{path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}\0{side}\0{QUALITY}"


def jpeg(image: Image.Image, side: int) -> bytes:
    """The picture as JPEG bytes, made smaller where it is larger than ``side`` pixels."""
    image = image.copy()
    image.thumbnail((side, side))
    file = BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
