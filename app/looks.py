"""The page's own HTML: plain functions from values to markup, escaped here and nowhere else."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO

from PIL import Image

from app.index import METRICS
from app.text import as_html
from eval.annotations import PredictedCaption
from eval.metrics import METRIC_TITLES
from eval.report_pictures import Piece
from features.tags import Tag

GOOD_CIDER, FAIR_CIDER = 1.0, 0.4
"""Where the colour of a score changes; on Flickr8k-CN a good system reaches about 1 in the mean."""


def data_uri(jpeg: bytes) -> str:
    """JPEG bytes as an address inside the page: no file is served."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def card(image: bytes | str, texts: Sequence[str], no_caption: str, chips: Sequence[str], alt: str) -> str:
    """One picture of the gallery.

    Args:
        image: Its JPEG, or why there is none.
        texts: What is said of it.
        no_caption: What stands there where nothing is.
        chips: Markup of `cider_chip` and `chip`.
        alt: For those who cannot see the picture.
    """
    if isinstance(image, bytes):
        top = f'<img src="{data_uri(image)}" alt="{as_html(alt)}" loading="lazy">'
    else:
        top = f'<div class="ts-broken">{as_html(image)}</div>'
    said = "".join(f'<p lang="zh">{as_html(text)}</p>' for text in texts)
    said = said or f'<p class="ts-quiet">{as_html(no_caption)}</p>'
    below = f'<div class="chips">{"".join(chips)}</div>' if chips else ""
    return f'<div class="ts-card">{top}{said}{below}</div>'


def cider_chip(cider: float, of: str = "") -> str:
    """CIDEr of one picture, coloured; ``of`` stands before it."""
    grade = "good" if cider >= GOOD_CIDER else "fair" if cider >= FAIR_CIDER else "poor"
    return chip(f"{of}CIDEr {cider:.2f}", grade)


def chip(text: str, kind: str = "", title: str = "") -> str:
    """A short remark; ``kind`` is a class of the style sheet."""
    return f'<span class="ts-chip {kind}" title="{as_html(title)}">{as_html(text)}</span>'


def figure(image: bytes, alt: str, overlay: str = "") -> str:
    """A picture with an SVG of `features.draw` over it, whole on the screen.

    It is for `st.markdown`, whose sanitizer leaves SVG alone; one line, as an empty one would end the HTML.
    """
    with Image.open(BytesIO(image)) as opened:
        width, height = opened.size
    svg = " ".join(overlay.split())
    return (
        f'<div class="ts-figure" style="max-width: calc(78vh * {width / height:.4f})">'
        f'<img src="{data_uri(image)}" alt="{as_html(alt)}">{svg}</div>'
    )


def quiet(text: str) -> str:
    """A note."""
    return f'<p class="ts-quiet" role="status">{as_html(text)}</p>'


def note(text: str) -> str:
    """A remark in small letters."""
    return f'<p class="ts-note">{as_html(text)}</p>'


def heading(text: str) -> str:
    """Above a part of a view."""
    return f'<h2 class="ts-heading">{as_html(text)}</h2>'


def items(title: str, texts: Sequence[str]) -> str:
    """A heading and a list."""
    lines = "".join(f"<li>{as_html(text)}</li>" for text in texts)
    return f'{heading(title)}<ul class="ts-items">{lines}</ul>'


def caption(title: str, pieces: Sequence[Piece], *, small: bool = False, note: str = "") -> str:
    """What one system says, with what it shares with the references marked."""
    size = "ts-caption other" if small else "ts-caption"
    below = f'<p class="ts-note">{as_html(note)}</p>' if note else ""
    return f'{heading(title)}<p class="{size}" lang="zh">{marked(pieces)}</p>{below}'


def references(title: str, texts: Sequence[Sequence[Piece]], note: str = "") -> str:
    """What people say, with what the captions share with it marked."""
    lines = "".join(f'<li lang="zh">{marked(pieces)}</li>' for pieces in texts)
    below = f'<p class="ts-note">{as_html(note)}</p>' if note else ""
    return f'{heading(title)}<ul class="ts-items">{lines}</ul>{below}'


def marked(pieces: Sequence[Piece]) -> str:
    """Text whose n-grams in common are marked by their length."""
    return "".join(
        f'<mark class="n n{n}" title="{n}-gram">{as_html(text)}</mark>' if n else as_html(text)
        for text, n in pieces
    )


def tag_chips(title: str, tags: Sequence[Tag], none: str) -> str:
    """Chinese tags with their scores; the English name shows on hovering."""
    chips = "".join(chip(f"{tag.text} {tag.score:.2f}", title=tag.name) for tag in tags)
    return f"{heading(title)}<div>{chips or as_html(none)}</div>"


def alternatives_table(title: str, columns: Sequence[str], said: PredictedCaption) -> str:
    """The captions the search found, best first, with what the model thinks of them."""
    rows = [
        [str(rank), each.caption, _number(each.score), _number(each.log_prob)]
        for rank, each in enumerate(said.alternatives, start=1)
    ]
    return heading(title) + table(columns, rows, numbers={2, 3})


def scores_table(title: str, first: str, scores: Mapping[str, Mapping[str, float]]) -> str:
    """System -> metric -> score, of one picture."""
    rows = [[name, *(_number(values.get(metric)) for metric in METRICS)] for name, values in scores.items()]
    titles = [first, *(METRIC_TITLES[metric] for metric in METRICS)]
    return heading(title) + table(titles, rows, set(range(1, len(titles))))


def win_bar(wins: int, ties: int, losses: int) -> str:
    """Parts of a whole; decoration beside their numbers."""
    parts = "".join(
        f'<span class="{name}" style="flex: {count} 0 0"></span>'
        for name, count in (("win", wins), ("tie", ties), ("loss", losses))
        if count
    )
    return f'<div class="ts-bar" aria-hidden="true">{parts}</div>'


def keys_popover(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """A button, and what it opens: each key and what it does."""
    cells = "".join(
        f'<tr><td><span class="ts-key">{as_html(key)}</span></td><td>{as_html(what)}</td></tr>'
        for key, what in rows
    )
    return (
        f'<button type="button" class="ts-keys" popovertarget="ts-keys">{as_html(title)} '
        '<span class="ts-key">?</span></button>'
        f'<div id="ts-keys" popover role="dialog" aria-label="{as_html(title)}">{heading(title)}'
        f'<table class="ts-table"><tbody>{cells}</tbody></table></div>'
    )


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], numbers: set[int]) -> str:
    """A table; ``numbers`` are the columns of numbers."""

    def cells(kind: str, texts: Sequence[str]) -> str:
        return "".join(
            f"<{kind}{' class=number' if place in numbers else ''}>{as_html(text)}</{kind}>"
            for place, text in enumerate(texts)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return (
        f'<div class="ts-scroll"><table class="ts-table"><thead><tr>{cells("th", titles)}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
