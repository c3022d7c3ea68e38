"""Small files that ask for much memory or time: for tests only."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable

import numpy as np

from tests.features.encoders import encode, png, png_chunk, png_file, tiff
from tests.features.zoo import BROKEN, UNKNOWN

INFLATED = f"{BROKEN}Decompressed data too large"
BY_HEADER = "^more than 89478485 pixels"


def _inflating(kind: bytes, head: bytes) -> bytes:
    """A sound PNG file with a chunk that grows to 64 MB."""
    return png(np.zeros((6, 8, 3), np.uint8), png_chunk(kind, head + zlib.compress(bytes(1 << 26))))


def _gif_of_10000_frames() -> bytes:
    """1000 x 1000 pixels; decoded whole it would take 10 GB."""
    grey = np.zeros((1000, 1000), np.uint8)
    whole = encode(grey, "GIF")
    frame = whole[whole.index(b",\0\0\0\0") : -1]
    return whole[:-1] + 9_999 * frame + b";"


def _fits_gzip() -> bytes:
    cards = ["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 50000", "NAXIS2  = 50000", "END"]
    header = "".join(card.ljust(80) for card in cards).ljust(2880)
    return header.encode() + gzip.compress(bytes(1 << 26))


def _huge_exif() -> bytes:
    """60,000 tags that say they hold 4 GB each."""
    entries = b"".join(struct.pack("<HHII", tag, 7, 0xFFFFFFF0, 8) for tag in range(0x1000, 0x1000 + 60_000))
    exif = struct.pack("<2sHIH", b"II", 42, 8, 60_000) + entries + bytes(4)
    return png(np.zeros((6, 8, 3), np.uint8), png_chunk(b"eXIf", exif))


def _jpeg_of_60000() -> bytes:
    data = bytearray(encode(np.zeros((8, 8, 3), np.uint8), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    return bytes(data)


def _tiff_of_60000() -> bytes:
    whole = tiff(np.zeros((2, 2), np.uint16), 16, white_is_zero=False)
    for tag in (256, 257):
        whole = whole.replace(struct.pack("<HHII", tag, 4, 1, 2), struct.pack("<HHII", tag, 4, 1, 60_000))
    return whole


BOMBS: dict[str, tuple[Callable[[], bytes], str | None]] = {
    "a PNG header of 50000 x 50000": (lambda: png_file(50_000, 50_000, 8, 0, b"\0"), BY_HEADER),
    "10000 x 10000 zeros": (
        lambda: png(np.zeros((10_000, 10_000, 1), np.uint8)),
        "^10000x10000 pixels; at most 89478485 are decoded$",
    ),
    "zTXt of 64 MB": (lambda: _inflating(b"zTXt", b"Comment\0\0"), INFLATED),
    "ICC profile of 64 MB": (lambda: _inflating(b"iCCP", b"ICC\0\0"), INFLATED),
    "EXIF of 4 GB tags": (_huge_exif, None),
    "a GIF of 10000 frames": (_gif_of_10000_frames, None),
    "FITS gzip": (_fits_gzip, UNKNOWN),
    "a JPEG header of 60000 x 60000": (_jpeg_of_60000, BY_HEADER),
    "a TIFF header of 60000 x 60000": (_tiff_of_60000, BY_HEADER),
}
"""Name -> the file, and what its refusal says; None where its first frame is read at no cost."""
