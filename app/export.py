"""The pictures that are shown, as files: a table, COCO results, a page of its own."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from io import StringIO

from app import looks
from app.data import Collection
from app.index import METRICS, Ints, System
from app.labels import Language, label
from app.notes import Correction
from app.style import FONTS
from app.text import as_html
from app.thumbnails import thumbnail
from eval.lines import cell_text
from eval.metrics import METRIC_TITLES
from features.images import ImageError

MOST_ON_PAGE = 300
"""Pictures of the page; each takes about 15 kB."""

_COLUMNS = ("image_id", "system", "caption", *METRICS, "words", "tags", "split", "references", "corrected")

Corrections = Mapping[str, Mapping[str, Correction]]
"""System -> picture -> what somebody made of its caption."""


def as_table(
    collection: Collection, systems: Sequence[System], rows: Ints, corrections: Corrections
) -> bytes:
    """CSV, a line a picture and system; spreadsheets show its cells and calculate none."""
    index = collection.index
    file = StringIO()
    table = csv.writer(file)
    table.writerow(_COLUMNS)
    for row in rows.tolist():
        image_id = index.image_id(row)
        for system in systems:
            text = system.caption(row)
            if text is None:
                continue
            scores = system.scores(row)
            corrected = corrections.get(system.name, {}).get(image_id)
            texts = (image_id, system.name, text)
            numbers = (*(scores.get(metric, "") for metric in METRICS), int(system.lengths[row]))
            lists = ("|".join(index.tags(row)), index.split(row), " | ".join(index.references(row)))
            cells = (*map(cell_text, texts), *numbers, *map(cell_text, lists))
            table.writerow((*cells, cell_text(corrected.caption) if corrected else ""))
    return b"\xef\xbb\xbf" + file.getvalue().encode()  # the mark by which spreadsheets know UTF-8


def as_coco(collection: Collection, system: System, rows: Ints, corrections: Corrections) -> bytes:
    """COCO results of one system, with the corrected captions in place of its own; `eval` reads them."""
    made = corrections.get(system.name, {})
    records = []
    for row in rows.tolist():
        image_id, text = collection.index.image_id(row), system.caption(row)
        if text is not None:
            text = made[image_id].caption if image_id in made else text
            records.append({"image_id": image_id, "caption": text})
    return (json.dumps(records, ensure_ascii=False, indent=1) + "\n").encode()


def as_page(
    collection: Collection, systems: Sequence[System], rows: Ints, title: str, language: Language
) -> bytes:
    """One HTML page with pictures, captions, references and scores; it runs nothing and asks for nothing."""
    shown = rows[:MOST_ON_PAGE].tolist()
    words: Callable[..., str] = lambda key, **values: label(key, language, **values)  # noqa: E731
    said = words("export_found", shown=len(shown), found=len(rows))
    cards = "".join(_card(collection, systems, row, words) for row in shown)
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{as_html(title)}</title><style>{_SHEET.replace('FONTS', FONTS)}</style></head><body>"
        f"<h1>{as_html(title)}</h1><p>{as_html(said)}</p><main>{cards}</main></body></html>\n"
    ).encode()


_SHEET = """
:root { color-scheme: light dark; }
body { font-family: FONTS; margin: 1.5rem auto; max-width: 80rem; padding: 0 1rem; line-height: 1.45; }
main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 18rem), 1fr)); }
article { border: 1px solid rgba(128, 128, 128, .4); border-radius: .6rem; overflow: hidden;
  padding-bottom: .5rem; }
img { width: 100%; aspect-ratio: 4 / 3; object-fit: cover; display: block; }
article > * { margin: .4rem .75rem; overflow-wrap: anywhere; } article > img { margin: 0; }
h2 { font-size: .85rem; font-weight: 600; } .small { font-size: .85rem; opacity: .8; }
"""


def _card(collection: Collection, systems: Sequence[System], row: int, words: Callable[..., str]) -> str:
    index = collection.index
    image_id = index.image_id(row)
    try:
        alt = next((text for system in systems if (text := system.caption(row))), image_id)
        uri = looks.data_uri(thumbnail(collection, image_id))
        top = f'<img src="{uri}" alt="{as_html(alt)}">'
    except (ImageError, ValueError) as error:
        top = f'<p class="small">{as_html(str(error))}</p>'
    parts = [top, f'<p class="small">{as_html(image_id)}</p>']
    for system in systems:
        text = system.caption(row)
        scores = " · ".join(
            f"{METRIC_TITLES[name]} {value:.3f}" for name, value in system.scores(row).items()
        )
        parts.append(f"<h2>{as_html(system.name)}</h2><p lang=zh>{as_html(text or words('no_caption'))}</p>")
        parts.append(f'<p class="small">{scores}</p>' if scores else "")
    people = "".join(f"<li lang=zh>{as_html(text)}</li>" for text in index.references(row))
    parts.append(f"<h2>{words('human')}</h2><ul>{people}</ul>" if people else "")
    return f"<article>{''.join(parts)}</article>"
