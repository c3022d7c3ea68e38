"""Finding and decoding pictures: one colour path, every failure named.

Whatever the file holds, a detector sees 8-bit RGB, upright as a viewer shows it: the EXIF
orientation is applied, 16-bit grey is scaled (not clipped, as Pillow's own conversion does),
transparency is laid on white, the first frame stands for an animation, and colour profiles are
ignored, as they were where the detectors were trained.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "FoundPictures",
    "ImageError",
    "decode_image",
    "find_images",
    "picture_path",
    "read_image",
    "scan_images",
]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")
"""Pillow decoders that untrusted files may reach; it has some forty, many of them little used."""
_SUFFIXES_READ = ".jpg .jpeg .jpe .jfif .png .apng .webp .gif .bmp .dib .tif .tiff .avif .ppm .pgm .pbm .pnm"
_SUFFIXES_UNREADABLE = ".heic .heif"  # found, so that they are reported and not silently left out
IMAGE_SUFFIXES = frozenset((_SUFFIXES_READ + " " + _SUFFIXES_UNREADABLE).split())
"""Lower-case endings that make a file a picture."""

_HEIC_BRANDS = (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypmif1", b"ftypmsf1")

MAX_PIXELS = 89_478_485
"""Pillow's own warning limit: 256 MiB as RGB. A larger header is refused before a pixel is decoded."""
MAX_BYTES = 1 << 29  # no picture below MAX_PIXELS needs 512 MiB


class ImageError(ValueError):
    """A picture that cannot be used; the message is the reason, without its path."""


@dataclass(frozen=True)
class FoundPictures:
    """What a folder holds.

    Attributes:
        image_ids: Sorted relative POSIX paths with suffix.
        failed: Pictures whose name alone makes them unusable, and folders that cannot be listed -> reason.
        outside: Links that lead out of the folder; they are not followed.
    """

    image_ids: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    outside: list[str] = field(default_factory=list)


def find_images(root: Path) -> list[str]:
    """Every picture below a folder, as sorted relative POSIX paths with suffix (the picture ids).

    Raises:
        NotADirectoryError: ``root`` is not a folder.
    """
    return scan_images(root).image_ids


def scan_images(root: Path) -> FoundPictures:
    """Find pictures, and say what was left out.

    Hidden files and folders (thumbnails, macOS resource forks) are passed over. Links to folders
    are not followed: inside ``root`` they repeat pictures, outside they leave it.

    Raises:
        NotADirectoryError: ``root`` is not a folder.
        OSError: It cannot be listed.
    """
    if not root.is_dir():
        raise NotADirectoryError(f"{root}: a folder of pictures is wanted, and this is not a folder")
    found = FoundPictures()
    inside = root.resolve()
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as listing:
                entries = [entry for entry in listing if not entry.name.startswith(".")]
        except OSError as error:
            if not folder:
                raise
            found.failed[_printable(folder)] = f"the folder cannot be listed: {error.strerror}"
            continue
        for entry in entries:  # only links are looked up on disk: a million pictures take seconds
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_symlink() and not _leads_into(inside, Path(entry.path)):
                if os.path.isdir(entry.path) or _is_picture_name(entry.name):
                    found.outside.append(_printable(path))
            elif entry.is_dir(follow_symlinks=False):
                folders.append(path)
            elif _is_picture_name(entry.name) and entry.is_file():  # a regular one: no pipe, no device
                if _is_utf8(path):
                    found.image_ids.append(path)
                else:
                    found.failed[_printable(path)] = "the file name is not valid UTF-8; rename the file"
    found.image_ids.sort()
    found.outside.sort()
    return found


def _is_picture_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _leads_into(inside: Path, link: Path) -> bool:
    try:
        return link.resolve(strict=True).is_relative_to(inside)
    except (OSError, RuntimeError):  # dangling, or a loop
        return False


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # bytes that are none come as lone surrogates
        return False
    return True


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def picture_path(root: Path, image_id: str) -> Path:
    """Path of a picture, proved to lie inside ``root`` whatever the id says.

    Raises:
        ValueError: An absolute id, one with ``..``, or a link that leads out.
    """
    relative = PurePosixPath(image_id)
    path = root.joinpath(*relative.parts)
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise ValueError(f"picture id {image_id!r} does not name a file inside {root}")
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"picture id {image_id!r} leads out of {root}")
    return path


def read_image(path: Path, max_pixels: int = MAX_PIXELS, *, side: int | None = None) -> Image.Image:
    """Decode a picture file to upright 8-bit RGB.

    Args:
        path: Of the file.
        max_pixels: More are not decoded.
        side: For a small copy to be looked at: pixels that suffice on each side. A large JPEG is then decoded
            at a half, a quarter or an eighth of its size, in as much less time. Never for a detector.

    Raises:
        ImageError: Whatever is wrong with it: missing, empty, truncated, not a picture, too large.
    """
    return decode_image(read_bytes(path), max_pixels, side=side)


def read_bytes(path: Path) -> bytes:
    """A regular file's bytes.

    Raises:
        ImageError: It cannot be read, is no regular file, or is larger than any picture.
    """
    try:
        if not path.is_file():
            raise ImageError("not a regular file" if path.exists() else "no such file")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ImageError(f"the file has {size} bytes; at most {MAX_BYTES} are read")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or error}") from error


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS, *, side: int | None = None) -> Image.Image:
    """Decode the bytes of a picture file (an upload, say) to upright 8-bit RGB; ``side``: see `read_image`.

    Raises:
        ImageError: Whatever is wrong with them.
    """
    if not data:
        raise ImageError("empty file (0 bytes)")
    if data[4:12] in _HEIC_BRANDS and b"avif" not in data[:64]:
        raise ImageError("HEIC is not read; convert it to JPEG or PNG")
    try:
        return _decode(BytesIO(data), max_pixels, side)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"not a picture in a known format ({', '.join(FORMATS)})") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"more than {max_pixels} pixels (a decompression bomb?)") from error
    except MemoryError as error:
        raise ImageError("not enough memory to decode it") from error
    except Exception as error:  # decoders raise OSError, ValueError, SyntaxError, struct.error and more
        raise ImageError(f"broken picture data: {str(error) or type(error).__name__}") from error


def _decode(file: BinaryIO, max_pixels: int, side: int | None) -> Image.Image:
    with Image.open(file, formats=FORMATS) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise ImageError(f"{width}x{height} pixels; at most {max_pixels} are decoded")
        if side is not None:
            image.draft(None, (side, side))  # of JPEG alone
        image.load()
        deep = _black_and_white(image)  # asked first: what is turned has forgotten its format and tags
        upright = _upright(image)
        return _to_rgb(_scaled(upright, *deep) if deep else upright)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # unreadable EXIF beside readable pixels: shown as stored, as viewers do
        return image


def _black_and_white(image: Image.Image) -> tuple[int, int] | None:
    """Numbers of black and of white in grey of 9 to 16 bits; None for any other picture.

    Pillow gives the numbers of a TIFF file as they are stored, and scales those of the other formats.
    """
    if isinstance(image, TiffImageFile) and image.mode.startswith("I;16"):
        white = (1 << image.tag_v2[BITSPERSAMPLE][0]) - 1
        return (0, white) if image.tag_v2[PHOTOMETRIC_INTERPRETATION] else (white, 0)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PPM", "PNG")):
        return 0, 65535
    return None


def _scaled(image: Image.Image, black: int, white: int) -> Image.Image:
    deep = np.asarray(image).astype(np.float32)
    if "transparency" in image.info:  # the one grey that means nothing is there
        deep[deep == image.info["transparency"]] = white
    shares = (deep - black) / (white - black)
    return Image.fromarray(np.round(255 * shares.clip(0, 1)).astype(np.uint8))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        raise ImageError(
            f"pixels of mode {image.mode} (32 bit) have no declared range; save it with 8 or 16 bit"
        )
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, "white")
        opaque.alpha_composite(image.convert("RGBA"))
        return opaque.convert("RGB")
    return image.convert("RGB")
