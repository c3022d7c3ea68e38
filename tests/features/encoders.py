"""Picture files made by hand, and the pixels that are in them by definition: for tests only.

PNG and TIFF files are written by the few lines below and seen through numpy, so that Pillow, which reads
them, is not its own judge.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image


def painting(random: np.random.Generator, channels: int = 3) -> np.ndarray:
    """(H, W, channels) uint8, small and smooth, so that lossy coders come close to it."""
    height, width = random.integers(16, 48, 2)
    corners = random.integers(0, 256, (2, 2, channels))
    down, along = np.linspace(0, 1, height)[:, None, None], np.linspace(0, 1, width)[None, :, None]
    top, bottom = (row[0] * (1 - along) + row[1] * along for row in corners)
    return np.round(top * (1 - down) + bottom * down).astype(np.uint8)


def noise(random: np.random.Generator, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    """(H, W, channels) of any values; no two coders agree on it unless they are exact."""
    height, width = random.integers(8, 32, 2)
    return random.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)


def encode(pixels: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    """A file as Pillow writes it."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    data = BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_file(width: int, height: int, depth: int, colour: int, rows: bytes, chunks: bytes = b"") -> bytes:
    """A PNG file of rows that carry their filter bytes; ``chunks`` stand before them."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunks + png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + body + png_chunk(b"IEND", b"")


def png(samples: np.ndarray, chunks: bytes = b"") -> bytes:
    """A PNG file of (H, W, C) samples of 8 or 16 bits: grey, grey and alpha, RGB or RGBA, by C."""
    height, width, channels = samples.shape
    big_endian = samples.astype(samples.dtype.newbyteorder(">"))
    rows = b"".join(b"\0" + row.tobytes() for row in big_endian)
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    return png_file(width, height, 8 * samples.dtype.itemsize, colour, rows, chunks)


def as_rgb(samples: np.ndarray) -> np.ndarray:
    """(H, W, 1 to 4) grey, grey and alpha, RGB or RGBA of 8 or 16 bits -> (H, W, 3) uint8, on white."""
    shares = samples / np.iinfo(samples.dtype).max
    channels = samples.shape[2]
    colours = np.broadcast_to(shares[..., : 1 if channels < 3 else 3], (*samples.shape[:2], 3))
    alpha = shares[..., -1:] if channels in (2, 4) else 1
    return np.round(255 * (colours * alpha + 1 - alpha)).astype(np.uint8)


def inks_as_rgb(inks: np.ndarray) -> np.ndarray:
    """(H, W, 4) cyan, magenta, yellow, black -> (H, W, 3) uint8 without a colour profile."""
    shares = inks / 255
    return np.round(255 * (1 - shares[..., :3]) * (1 - shares[..., 3:])).astype(np.uint8)


def tiff(grey: np.ndarray, depth: int, white_is_zero: bool) -> bytes:
    """An uncompressed grey TIFF file of (H, W) samples of 12 or 16 bits; W is even."""
    if depth == 12:  # two samples in three bytes
        first, second = grey[:, ::2], grey[:, 1::2]
        packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 2)
        strip = packed.astype(np.uint8).tobytes()
    else:
        strip = grey.astype("<u2").tobytes()
    height, width = grey.shape
    tags = {256: width, 257: height, 258: depth, 259: 1, 262: 0 if white_is_zero else 1, 273: 8, 277: 1,
            278: height, 279: len(strip)}  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return struct.pack("<2sHI", b"II", 42, 8 + len(strip)) + strip + directory
