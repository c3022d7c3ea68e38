"""Pictures that are strange or broken, with what must be seen in them: made here, for tests only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tests.features.encoders import (
    as_rgb,
    encode,
    inks_as_rgb,
    noise,
    painting,
    png,
    png_chunk,
    png_file,
    tiff,
)

BROKEN = "^broken picture data: "
UNKNOWN = "^not a picture in a known format"


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """One file of the zoo.

    Attributes:
        data: Its bytes.
        suffix: The end of its name.
        pixels: (H, W, 3) uint8, what a viewer shows of it; None where it is no picture.
        within: Largest difference to ``pixels`` that its coder may cause.
        reason: What its refusal says, as a pattern; None where it is not refused. A file with neither
            pixels nor a reason may be read or refused.
    """

    data: bytes
    suffix: str
    pixels: np.ndarray | None = None
    within: int = 0
    reason: str | None = None


UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}
"""EXIF orientation -> how an upright picture is stored under it, by the definition of the tag."""


def _truncated(share: float) -> Callable[[np.random.Generator], Exhibit]:
    def make(random: np.random.Generator) -> Exhibit:
        kind = random.choice(["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
        whole = encode(noise(random), kind)
        data = whole[: max(1, int(share * len(whole)))]
        return Exhibit(data=data, suffix=f".{kind.lower()}", reason=f"{BROKEN}|{UNKNOWN}")

    return make


def _bit_flipped(random: np.random.Generator) -> Exhibit:
    kind = random.choice(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM"])
    data = bytearray(encode(noise(random), kind))
    for place in random.integers(0, len(data), 1 + len(data) // 500):
        data[place] ^= 1 << random.integers(8)
    return Exhibit(data=bytes(data), suffix=f".{kind.lower()}")


def _cmyk(random: np.random.Generator) -> Exhibit:
    inks = painting(random, 4)
    data = encode(Image.fromarray(inks, "CMYK"), "JPEG", quality=100, subsampling=0)
    return Exhibit(data=data, suffix=".jpg", pixels=inks_as_rgb(inks), within=3)


def _ycck(random: np.random.Generator) -> Exhibit:
    """CMYK whose first three inks are stored as luma and chroma; Pillow writes the planes, not the mark."""
    inks = painting(random, 4)
    cyan, magenta, yellow, black = np.moveaxis(inks.astype(np.float64), 2, 0)
    luma = 0.299 * cyan + 0.587 * magenta + 0.114 * yellow
    planes = [luma, 128 + (yellow - luma) / 1.772, 128 + (cyan - luma) / 1.402, 255 - black]
    stored = np.round(np.stack(planes, 2)).clip(0, 255).astype(np.uint8)
    data = bytearray(encode(Image.fromarray(255 - stored, "CMYK"), "JPEG", quality=100, subsampling=0))
    data[data.index(b"Adobe") + 11] = 2  # its transform: YCCK
    return Exhibit(data=bytes(data), suffix=".jpg", pixels=inks_as_rgb(inks), within=4)


def _palette(random: np.random.Generator) -> Exhibit:
    colours = random.integers(0, 256, (16, 3), np.uint8)
    picks = random.integers(0, 16, random.integers(8, 32, 2), np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in picks)
    data = png_file(picks.shape[1], picks.shape[0], 8, 3, rows, png_chunk(b"PLTE", colours.tobytes()))
    return Exhibit(data=data, suffix=".png", pixels=colours[picks])


def _palette_with_transparency(random: np.random.Generator) -> Exhibit:
    colours = random.integers(0, 256, (16, 4), np.uint8)  # each with its own alpha
    picks = random.integers(0, 16, random.integers(8, 32, 2), np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in picks)
    chunks = png_chunk(b"PLTE", colours[:, :3].tobytes()) + png_chunk(b"tRNS", colours[:, 3].tobytes())
    data = png_file(picks.shape[1], picks.shape[0], 8, 3, rows, chunks)
    return Exhibit(data=data, suffix=".png", pixels=as_rgb(colours[picks]), within=1)


def _gif_with_transparency(random: np.random.Generator) -> Exhibit:
    colours = random.integers(0, 256, (16, 3), np.uint8)
    picks = random.integers(0, 16, random.integers(8, 32, 2), np.uint8)
    image = Image.fromarray(picks)
    image.putpalette(colours.tobytes())
    pixels = np.where((picks == 5)[..., None], np.uint8(255), colours[picks])
    return Exhibit(data=encode(image, "GIF", transparency=5), suffix=".gif", pixels=pixels)


def _colour_key(random: np.random.Generator) -> Exhibit:
    """RGB of which one exact colour is transparent."""
    pixels = noise(random)
    key = pixels[3, 3].copy()
    data = png(pixels, png_chunk(b"tRNS", key.astype(">u2").tobytes()))
    seen = np.where((pixels == key).all(2, keepdims=True), np.uint8(255), pixels)
    return Exhibit(data=data, suffix=".png", pixels=seen)


def _samples(channels: int, dtype: type) -> Callable[[np.random.Generator], Exhibit]:
    deep, see_through = dtype is np.uint16, channels in (2, 4)
    within = (
        deep + see_through
    )  # Pillow drops the low byte of colour and of alpha, where it is not plain grey

    def make(random: np.random.Generator) -> Exhibit:
        samples = noise(random, channels, dtype)
        return Exhibit(data=png(samples), suffix=".png", pixels=as_rgb(samples), within=within)

    return make


def _one_bit(random: np.random.Generator) -> Exhibit:
    bits = random.integers(0, 2, random.integers(8, 32, 2), np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in np.packbits(bits, axis=1))
    data = png_file(bits.shape[1], bits.shape[0], 1, 0, rows)
    return Exhibit(data=data, suffix=".png", pixels=as_rgb(255 * bits[..., None]))


def _one_transparent_grey(random: np.random.Generator) -> Exhibit:
    grey = noise(random, 1, np.uint16)
    data = png(grey, png_chunk(b"tRNS", grey[3, 3].astype(">u2").tobytes()))
    return Exhibit(
        data=data, suffix=".png", pixels=as_rgb(np.where(grey == grey[3, 3], np.uint16(65535), grey))
    )


def _deep_pgm(random: np.random.Generator) -> Exhibit:
    """Its header says which number is white."""
    white = int(random.integers(256, 65536))
    grey = random.integers(0, white + 1, (9, 14))
    pixels = np.repeat(np.round(255 * grey / white).astype(np.uint8)[..., None], 3, 2)
    data = b"P5 14 9 %d\n" % white + grey.astype(">u2").tobytes()
    return Exhibit(data=data, suffix=".pgm", pixels=pixels, within=1)


def _grey_tiff(depth: int, white_is_zero: bool = False) -> Callable[[np.random.Generator], Exhibit]:
    def make(random: np.random.Generator) -> Exhibit:
        grey = random.integers(0, 1 << depth, (12, 10), np.uint16)
        shown = ((1 << depth) - 1 - grey if white_is_zero else grey) / ((1 << depth) - 1)
        pixels = np.repeat(np.round(255 * shown).astype(np.uint8)[..., None], 3, 2)
        data = tiff(grey, depth, white_is_zero)
        return Exhibit(data=data, suffix=".tif", pixels=pixels, within=1)

    return make


def _float_tiff(random: np.random.Generator) -> Exhibit:
    values = random.random((9, 7), np.float32) * 10 ** random.integers(0, 6)
    return Exhibit(data=encode(values, "TIFF"), suffix=".tiff", reason="^pixels of mode F .32 bit. have no")


def _animation(kind: str, within: int = 0, **options: object) -> Callable[[np.random.Generator], Exhibit]:
    def make(random: np.random.Generator) -> Exhibit:
        colours = random.permutation(256)[:9].reshape(3, 3).astype(np.uint8)
        first, *others = (Image.fromarray(np.full((11, 13, 3), colour, np.uint8)) for colour in colours)
        data = encode(first, kind, save_all=True, append_images=others, duration=40, **options)
        return Exhibit(data=data, suffix=f".{kind.lower()}", pixels=np.asarray(first), within=within)

    return make


def _turned(orientation: int) -> Callable[[np.random.Generator], Exhibit]:
    exif = Image.Exif()
    exif[0x0112] = orientation

    def make(random: np.random.Generator) -> Exhibit:
        upright = noise(random)
        stored = np.ascontiguousarray(UPRIGHT[orientation](upright))
        return Exhibit(data=encode(stored, "PNG", exif=exif), suffix=".png", pixels=upright)

    return make


def _sized(height: int, width: int) -> Callable[[np.random.Generator], Exhibit]:
    def make(random: np.random.Generator) -> Exhibit:
        pixels = random.integers(0, 256, (height, width, 3), np.uint8)
        return Exhibit(data=png(pixels), suffix=".png", pixels=pixels)

    return make


def _jpeg_called_png(random: np.random.Generator) -> Exhibit:
    pixels = painting(random)
    data = encode(pixels, "JPEG", quality=100, subsampling=0)
    return Exhibit(data=data, suffix=".png", pixels=pixels, within=4)


def _text(random: np.random.Generator) -> Exhibit:
    words = random.integers(0x4E00, 0x9FA5, 200).astype("<u4").tobytes().decode("utf-32-le")
    return Exhibit(data=words.encode(), suffix=".jpg", reason=UNKNOWN)


def _html(random: np.random.Generator) -> Exhibit:
    page = f"<!DOCTYPE html><html><body><h1>404</h1><p>{random.integers(1 << 60)}</p></body></html>"
    return Exhibit(data=page.encode(), suffix=".jpg", reason=UNKNOWN)


ZOO: dict[str, Callable[[np.random.Generator], Exhibit]] = {
    "zero bytes": lambda _: Exhibit(data=b"", suffix=".jpg", reason=r"^empty file \(0 bytes\)$"),
    "one byte": lambda random: Exhibit(data=random.bytes(1), suffix=".jpg", reason=UNKNOWN),
    "random bytes": lambda random: Exhibit(data=random.bytes(3000), suffix=".jpg", reason=UNKNOWN),
    "a tenth of a file": _truncated(0.1),
    "half a file": _truncated(0.5),
    "nine tenths of a file": _truncated(0.9),
    "flipped bits": _bit_flipped,
    "a JPEG called png": _jpeg_called_png,
    "text": _text,
    "HTML": _html,
    "CMYK": _cmyk,
    "YCCK": _ycck,
    "palette": _palette,
    "palette with transparency": _palette_with_transparency,
    "GIF with transparency": _gif_with_transparency,
    "one transparent colour": _colour_key,
    "one bit": _one_bit,
    "grey": _samples(1, np.uint8),
    "grey and alpha": _samples(2, np.uint8),
    "RGBA": _samples(4, np.uint8),
    "16-bit grey": _samples(1, np.uint16),
    "16-bit grey and alpha": _samples(2, np.uint16),
    "16-bit RGB": _samples(3, np.uint16),
    "16-bit RGBA": _samples(4, np.uint16),
    "16-bit grey, one of it transparent": _one_transparent_grey,
    "9- to 16-bit PGM": _deep_pgm,
    "16-bit TIFF": _grey_tiff(16),
    "16-bit TIFF, white is zero": _grey_tiff(16, white_is_zero=True),
    "12-bit TIFF": _grey_tiff(12),
    "float TIFF": _float_tiff,
    "animated GIF": _animation("GIF"),
    "animated PNG": _animation("PNG"),
    "animated PNG with a still of its own": _animation("PNG", default_image=True),
    "animated WEBP": _animation("WEBP", lossless=True),
    "animated AVIF": _animation("AVIF", within=4, quality=100),
    **{f"EXIF orientation {number}": _turned(number) for number in UPRIGHT},
    "a header of 0 x 0": lambda _: Exhibit(data=png_file(0, 0, 8, 2, b""), suffix=".png", reason=UNKNOWN),
    "1 x 1": _sized(1, 1),
    "1 x 10000": _sized(1, 10_000),
    "10000 x 1": _sized(10_000, 1),
}
"""Kinds of pictures by name."""


def exhibit(kind: str, seed: int) -> Exhibit:
    """One picture of a kind; equal for equal arguments."""
    return ZOO[kind](np.random.default_rng([seed, *kind.encode()]))
