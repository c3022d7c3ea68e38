"""Boxes and tags onto a picture: as SVG over it in a page, or into its pixels for a file."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from features.schema import Regions
from features.tags import Lexicon

__all__ = [
    "boxes_svg",
    "cjk_font",
    "class_colour",
    "contact_sheet",
    "draw_boxes",
    "region_labels",
    "with_text",
]

_FONT_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "/mnt/c/Windows/Fonts",
)
_FONT_NAMES = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "NotoSansSC-Regular.*",
    "SourceHanSansSC-Regular.otf",
    "SourceHanSansCN-Regular.otf",
    "wqy-zenhei.ttc",
    "wqy-microhei.ttc",
    "DroidSansFallback*.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "STHeiti Medium.ttc",
    "msyh.ttc",
    "simhei.ttf",
)
"""Fonts with simplified Chinese, as the usual systems install them; best first."""
_NEVER_FIRST = "。，、；：！？…”’》」』）"
"""Does not begin a line (GB/T 15834)."""


_FAINT = 0.1
"""Weight below which a box is not told by name."""
_HEAT = "#ffa200"
"""Fills boxes by their weight, whatever their class."""
_HEATED, _COLD_EDGE = 0.65, 0.3
"""Opacity of the filling at weight 1, and of the outline at weight 0."""


def region_labels(regions: Regions, lexicon: Lexicon, *, english: bool = False) -> list[str]:
    """One label a region: its class in Chinese (in English where the lexicon drops it, or if asked for)."""
    ids = regions.object_ids.tolist()
    return [lexicon.english[i] if english else lexicon.chinese(i) or lexicon.english[i] for i in ids]


def class_colour(object_id: int) -> str:
    """A class's colour as ``#rrggbb``, the same on every page; neighbours in the list lie far apart."""
    hue = object_id * 0.61803398875 % 1.0  # the golden ratio spreads any number of classes
    red, green, blue = colorsys.hls_to_rgb(hue, 0.42, 0.85)  # dark enough to carry white text
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def boxes_svg(
    regions: Regions,
    labels: Sequence[str] | None = None,
    *,
    titles: Sequence[str] | None = None,
    weights: Sequence[float] | None = None,
    max_boxes: int | None = None,
    min_score: float = 0.0,
    description: str = "检测到的区域",
) -> str:
    """Boxes as inline SVG, to be laid over the picture at any size.

    Args:
        regions: Of the picture.
        labels: One a region, see :func:`region_labels`; without, boxes carry their scores alone.
        titles: What a box says under the pointer, before its score; by default its label.
        weights: How much each box is filled, 0 to 1; those of less than a tenth lose their label.
        max_boxes: Only the best so many.
        min_score: Only those that score so much.
        description: What a screen reader says of the whole.

    Returns:
        One ``<svg>`` element; its coordinates are the picture's pixels, and all text in it is escaped.

    Raises:
        ValueError: Not one label, title or weight a region.
    """
    for what, given in (("labels", labels), ("titles", titles), ("weights", weights)):
        if given is not None and len(given) != len(regions.boxes):
            raise ValueError(f"{len(given)} {what} for {len(regions.boxes)} regions; one each is wanted")
    side = max(regions.width, regions.height)
    shown = [row for row, score in enumerate(regions.object_scores) if score >= min_score][:max_boxes]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="regions" role="img" '
        f'aria-label="{escape(description)}: {len(shown)}" viewBox="0 0 {regions.width} {regions.height}" '
        f'preserveAspectRatio="xMidYMid meet" font-family="sans-serif" font-size="{side / 36:.1f}">'
    ]
    for row in reversed(shown):  # the best is drawn last, on top
        label = labels[row] if labels is not None else ""
        name = f"{titles[row] if titles is not None else label} {float(regions.object_scores[row]):.2f}"
        heat = None if weights is None else min(max(float(weights[row]), 0.0), 1.0)
        if heat is not None and heat < _FAINT:
            label = ""
        parts.append(_svg_box(regions, row, label, name, heat, stroke=side / 300, text=side / 36))
    return "".join([*parts, "</svg>"])


def _svg_box(
    regions: Regions, row: int, label: str, name: str, heat: float | None, *, stroke: float, text: float
) -> str:
    x1, y1, x2, y2 = (float(number) for number in regions.boxes[row])
    colour = class_colour(int(regions.object_ids[row]))
    fill, edge = (0.0, 1.0) if heat is None else (_HEATED * heat, _COLD_EDGE + (1 - _COLD_EDGE) * heat)
    written = (
        f'<text x="{x1 + stroke:.1f}" y="{max(y1, 0.0) + text:.1f}" fill="#fff" stroke="{colour}" '
        f'stroke-width="{text / 4:.1f}" stroke-linejoin="round" paint-order="stroke">{escape(label)}</text>'
    )
    return (
        f'<g class="region"><title>{escape(name.strip())}</title>'
        f'<rect x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" '
        f'fill="{colour if heat is None else _HEAT}" fill-opacity="{fill:.3g}" stroke="{colour}" '
        f'stroke-opacity="{edge:.3g}" stroke-width="{stroke:.1f}" pointer-events="all"/>'
        f"{written if label else ''}</g>"
    )


def draw_boxes(
    image: Image.Image,
    boxes: np.ndarray,
    labels: Sequence[str],
    *,
    object_ids: Sequence[int] | None = None,
    english: Sequence[str] | None = None,
) -> Image.Image:
    """A copy of a picture with boxes and labels drawn into it.

    Args:
        image: RGB.
        boxes: (R, 4) xyxy in its pixels, best first.
        labels: One a box; "" draws the box alone.
        object_ids: Classes, for their colours; by default equal labels have equal colours.
        english: Labels for a machine that has no font with Chinese characters.

    Raises:
        ValueError: Not one label a box.
    """
    if len(labels) != len(boxes):
        raise ValueError(f"{len(labels)} labels for {len(boxes)} boxes; one each is wanted")
    drawn = image.convert("RGB")
    canvas = ImageDraw.Draw(drawn)
    side = max(image.size)
    path = cjk_font()
    font = _font(path, max(10, side // 36))
    ids = list(object_ids) if object_ids is not None else _numbered(labels)
    width = max(1, side // 300)
    for row in reversed(range(len(boxes))):
        x1, y1, x2, y2 = (float(number) for number in boxes[row])
        colour = class_colour(int(ids[row]))
        canvas.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=colour, width=width)
        label = labels[row]
        if path is None and not label.isascii():
            label = english[row] if english is not None else ""
        if label:
            place = (x1 + width, max(y1, 0.0))
            canvas.rectangle(canvas.textbbox(place, label, font=font), fill=colour)
            canvas.text(place, label, fill="white", font=font)
    return drawn


def contact_sheet(
    pictures: Sequence[Image.Image], captions: Sequence[str], *, columns: int = 4, side: int = 360
) -> Image.Image:
    """Small pictures in rows, two lines of text under each; what of it does not fit is cut.

    Args:
        pictures: RGB, one or more; larger ones are scaled down to ``side``.
        captions: One a picture.
        columns: Pictures a row.
        side: Pixels of a cell, without its text.
    """
    gap, size = side // 24, side // 20
    font = _font(cjk_font(), size)
    height = side + 3 * size  # of a cell
    n_rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (side + gap) + gap, n_rows * (height + gap) + gap), "white")
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        cell = Image.new("RGB", (side, height), "white")
        small = picture.copy()
        small.thumbnail((side, side))
        cell.paste(small, ((side - small.width) // 2, side - small.height))
        ImageDraw.Draw(cell).text((0, side + size // 3), caption, fill="black", font=font)
        row, column = divmod(number, columns)
        sheet.paste(cell, (gap + column * (side + gap), gap + row * (height + gap)))
    return sheet


def with_text(image: Image.Image, lines: Sequence[tuple[str, str]], *, size: int = 24) -> Image.Image:
    """A picture with text below it, broken where it would leave the page.

    Args:
        image: RGB.
        lines: Texts and their colours; on a machine without a Chinese font, Chinese ones are left out.
        size: Pixels of a letter; the page is 16 of them wide, or as wide as the picture.
    """
    path, gap, width = cjk_font(), size // 3, max(image.width, 16 * size)
    font = _font(path, size)
    broken = [
        (part, colour)
        for text, colour in lines
        if path is not None or text.isascii()
        for part in _broken(text, font, width - 2 * gap - size)
    ]
    height = image.height + (2 * gap + len(broken) * (size + gap) if broken else 0)
    page = Image.new("RGB", (width, height), "white")
    page.paste(image, ((width - image.width) // 2, 0))
    for number, (part, colour) in enumerate(broken):
        place = (gap, image.height + gap + number * (size + gap))
        ImageDraw.Draw(page).text(place, part, fill=colour, font=font)
    return page


def _broken(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """Parts of a text that fit into a width, broken anywhere but before punctuation, as Chinese is.

    Punctuation at the end of a part may stand over.
    """
    parts = [""]
    for character in text:
        if parts[-1] and character not in _NEVER_FIRST and font.getlength(parts[-1] + character) > width:
            parts.append("")
        parts[-1] += character
    return parts


def _numbered(labels: Iterable[str]) -> list[int]:
    order: dict[str, int] = {}
    return [order.setdefault(label, len(order)) for label in labels]


@cache
def cjk_font() -> Path | None:
    """A font with Chinese characters on this machine; None where there is none."""
    folders = [folder for name in _FONT_FOLDERS if (folder := Path(name).expanduser()).is_dir()]
    for pattern in _FONT_NAMES:
        for folder in folders:
            if found := sorted(folder.rglob(pattern)):
                return found[0]
    return None


@cache
def _font(path: Path | None, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(str(path), size)
