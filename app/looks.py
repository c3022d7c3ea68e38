"""The page's own HTML and style: plain functions from values to markup, escaped here and nowhere else."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO

from PIL import Image

from app.text import as_html
from eval.annotations import PredictedCaption
from features.tags import Tag

GOOD_CIDER, FAIR_CIDER = 1.0, 0.4
"""Where the colour of a score changes; on Flickr8k-CN a good system reaches about 1 in the mean."""

STYLE = """<style>
:root { --ts-line: rgba(128, 128, 128, .35); }
.stApp { font-family: "Source Sans", system-ui, "Noto Sans CJK SC", "Noto Sans SC", "PingFang SC",
  "Microsoft YaHei", "WenQuanYi Zen Hei", sans-serif; }
.stMainBlockContainer { padding-top: 4.5rem; }
.ts-title { font-size: 2rem; margin: 0; }
.ts-quiet { opacity: .72; margin: 0; overflow-wrap: anywhere; }
.ts-heading { font-size: 1rem; font-weight: 600; margin: .75rem 0 .25rem; }
.ts-caption { font-size: 1.5rem; line-height: 1.4; margin: 0; overflow-wrap: anywhere; }
.ts-items { margin: 0; padding: 0 !important; list-style: none; }
.ts-items li { padding: .25rem 0; border-bottom: 1px solid var(--ts-line); overflow-wrap: anywhere; }
.st-key-gallery { display: grid; gap: 1rem; 
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 13.5rem), 1fr)); }
.st-key-gallery > * { width: 100% !important; height: 100%; min-width: 0; }
[class*="st-key-card-"] { position: relative; gap: 0; border: 1px solid var(--ts-line); border-radius: .6rem;
  overflow: hidden; height: 100%; }
[class*="st-key-card-"] .stElementContainer:has(button) {
  position: absolute; inset: 0; width: 100% !important; }
[class*="st-key-card-"] .stButton, [class*="st-key-card-"] button { width: 100%; height: 100%; }
[class*="st-key-card-"] button { background: transparent; border-color: transparent; border-radius: .6rem; }
[class*="st-key-card-"] button:hover, [class*="st-key-card-"] button:focus-visible {
  border: 2px solid #1f6feb; outline: none; box-shadow: none; background: transparent; }
[class*="st-key-card-"] button * { opacity: 0; }
.ts-card img, .ts-broken { width: 100%; aspect-ratio: 4 / 3; object-fit: cover; display: block; }
.ts-broken { display: grid; place-content: center; text-align: center; padding: 1rem; font-size: .85rem;
  background: rgba(128, 128, 128, .15); overflow: hidden; }
.ts-card p { margin: .5rem .75rem; overflow-wrap: anywhere; display: -webkit-box; -webkit-line-clamp: 4;
  -webkit-box-orient: vertical; overflow: hidden; }
.ts-card .ts-chip { margin: 0 .75rem .6rem; }
.ts-chip { display: inline-block; border-radius: 1rem; padding: .1rem .6rem;
  margin: 0 .35rem .35rem 0; font-size: .85rem;
  color: #1f2328; background: #e4e7eb; }
.ts-chip.good { color: #0b3d17; background: #c9efd1; }
.ts-chip.fair { color: #4d3300; background: #ffe9b8; }
.ts-chip.poor { color: #5c0f0f; background: #ffd7d5; }
.ts-figure { position: relative; width: 100%; margin: 0 auto; line-height: 0; }
.ts-figure img { display: block; width: 100% !important; max-width: none !important;
  max-height: none !important; object-fit: fill !important;
  height: auto; margin: 0 !important; border-radius: .4rem; }
.ts-figure svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.ts-table { width: 100%; border-collapse: collapse; font-size: .95rem; }
.ts-table th, .ts-table td { text-align: left; padding: .3rem .5rem; border-bottom: 1px solid var(--ts-line);
  vertical-align: top; overflow-wrap: anywhere; }
.ts-table th { white-space: nowrap; }
.ts-table .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
@media (max-width: 640px) {
  .st-key-gallery { grid-template-columns: 1fr 1fr; gap: .6rem; }
  .ts-card p { margin: .4rem .5rem; font-size: .9rem; }
  .ts-card .ts-chip { margin: 0 .5rem .5rem; }
  .ts-caption { font-size: 1.25rem; }
}
</style>"""


def data_uri(jpeg: bytes) -> str:
    """JPEG bytes as an address inside the page: no file is served."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def card(image: bytes | str, text: str | None, no_caption: str, cider: float | None, alt: str) -> str:
    """One picture of the gallery; ``image`` is its JPEG, or why there is none."""
    if isinstance(image, bytes):
        top = f'<img src="{data_uri(image)}" alt="{as_html(alt)}">'
    else:
        top = f'<div class="ts-broken">{as_html(image)}</div>'
    said = f'<p lang="zh">{as_html(text)}</p>' if text else f'<p class="ts-quiet">{as_html(no_caption)}</p>'
    return f'<div class="ts-card">{top}{said}{"" if cider is None else cider_chip(cider)}</div>'


def cider_chip(cider: float) -> str:
    """CIDEr of one picture, coloured."""
    grade = "good" if cider >= GOOD_CIDER else "fair" if cider >= FAIR_CIDER else "poor"
    return f'<span class="ts-chip {grade}">CIDEr {cider:.2f}</span>'


def figure(image: bytes, alt: str, overlay: str = "") -> str:
    """A picture with an SVG of `features.draw` over it, whole on the screen.

    It is for `st.markdown`, whose sanitizer leaves SVG alone; one line, as an empty one would end the HTML.
    """
    with Image.open(BytesIO(image)) as opened:
        width, height = opened.size
    svg = " ".join(overlay.split())
    return (
        f'<div class="ts-figure" style="max-width: calc(80vh * {width / height:.4f})">'
        f'<img src="{data_uri(image)}" alt="{as_html(alt)}">{svg}</div>'
    )


def quiet(text: str) -> str:
    """A note."""
    return f'<p class="ts-quiet" role="status">{as_html(text)}</p>'


def items(heading: str, texts: Sequence[str]) -> str:
    """A heading and a list."""
    lines = "".join(f"<li>{as_html(text)}</li>" for text in texts)
    return f'<h2 class="ts-heading">{as_html(heading)}</h2><ul class="ts-items">{lines}</ul>'


def caption(heading: str, text: str) -> str:
    """What one system says."""
    return (
        f'<h2 class="ts-heading">{as_html(heading)}</h2><p class="ts-caption" lang="zh">{as_html(text)}</p>'
    )


def tag_chips(heading: str, tags: Sequence[Tag], none: str) -> str:
    """Chinese tags with their scores; the English name shows on hovering."""
    chips = "".join(
        f'<span class="ts-chip" title="{as_html(tag.name)}">{as_html(tag.text)} {tag.score:.2f}</span>'
        for tag in tags
    )
    return f'<h2 class="ts-heading">{as_html(heading)}</h2><div>{chips or as_html(none)}</div>'


def alternatives_table(heading: str, columns: Sequence[str], said: PredictedCaption) -> str:
    """The captions the search found, best first, with what the model thinks of them."""
    rows = [
        [str(rank), each.caption, _number(each.score), _number(each.log_prob)]
        for rank, each in enumerate(said.alternatives, start=1)
    ]
    return f'<h2 class="ts-heading">{as_html(heading)}</h2>' + _table(columns, rows, numbers={2, 3})


def scores_table(heading: str, first: str, scores: Mapping[str, Mapping[str, float]]) -> str:
    """System -> metric -> score, of one picture."""
    metrics = list(dict.fromkeys(metric for values in scores.values() for metric in values))
    rows = [[name, *(_number(values.get(m)) for m in metrics)] for name, values in scores.items()]
    titles = [first, *(METRIC_TITLES.get(metric, metric) for metric in metrics)]
    return f'<h2 class="ts-heading">{as_html(heading)}</h2>' + _table(
        titles, rows, set(range(1, len(titles)))
    )


METRIC_TITLES = {"bleu-4": "BLEU-4", "rouge-l": "ROUGE-L", "cider": "CIDEr"}
"""The metrics shown of one picture."""


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], numbers: set[int]) -> str:
    def cells(kind: str, texts: Sequence[str]) -> str:
        return "".join(
            f"<{kind}{' class=number' if place in numbers else ''}>{as_html(text)}</{kind}>"
            for place, text in enumerate(texts)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return (
        f'<table class="ts-table"><thead><tr>{cells("th", titles)}</tr></thead><tbody>{body}</tbody></table>'
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
