from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from app.data import Collection, open_collection
from app.export import as_coco, as_page, as_table
from app.notes import Correction
from app.settings import parse
from eval.annotations import read_predictions
from tests.app.small_collection import HOSTILE, make_collection

ALL = np.arange(3, dtype=np.int32)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    folder = tmp_path_factory.mktemp("collection")
    arguments = make_collection(folder)
    formula = [
        {"image_id": "a.jpg", "caption": '=HYPERLINK("http://x")'},
        {"image_id": "b.jpg", "caption": "@x"},
    ]
    (folder / "=third.json").write_text(json.dumps(formula), encoding="utf-8")
    arguments.insert(arguments.index("--references"), str(folder / "=third.json"))
    return open_collection(parse(arguments))


CORRECTED = {"first": {"a.jpg": Correction(image_id="a.jpg", caption="一只黄狗", original="", note="")}}


def test_the_table_has_a_line_a_caption_and_no_cell_is_calculated(collection: Collection) -> None:
    data = as_table(collection, collection.systems, ALL, CORRECTED).decode("utf-8-sig")
    rows = list(csv.DictReader(StringIO(data, newline="")))
    assert [(row["image_id"], row["system"]) for row in rows] == [
        *(("a.jpg", "first"), ("a.jpg", "second"), ("a.jpg", "'=third")),
        *(("b.jpg", "first"), ("b.jpg", "second"), ("b.jpg", "'=third")),
        ("inner/狗.jpg", "second"),
    ]
    assert rows[0]["corrected"] == "一只黄狗"
    assert float(rows[0]["cider"]) == collection.systems[0].scores(0)["cider"]
    assert rows[0]["references"] == "一只狗在草地上奔跑 | 草地上有一只狗"
    assert sorted(rows[0]["tags"].split("|")) == ["人", "狗"]
    texts = [cell for row in rows for name, cell in row.items() if name not in ("cider", "bleu-4", "rouge-l")]
    assert not [cell for cell in texts if cell.startswith(("=", "+", "-", "@"))]


def test_coco_results_hold_the_corrected_captions_and_eval_reads_them(
    collection: Collection, tmp_path: Path
) -> None:
    (tmp_path / "out.json").write_bytes(as_coco(collection, collection.systems[0], ALL, CORRECTED))
    read = read_predictions(tmp_path / "out.json")
    assert {image_id: each.caption for image_id, each in read.items()} == {
        "a.jpg": "一只黄狗",
        "b.jpg": HOSTILE,
    }


def test_only_the_chosen_pictures_are_exported(collection: Collection) -> None:
    records = json.loads(as_coco(collection, collection.systems[1], ALL[2:], {}))
    assert [each["image_id"] for each in records] == ["inner/狗.jpg"]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_page_holds_pictures_and_hostile_text_as_text(collection: Collection, language: str) -> None:
    page = as_page(collection, collection.systems, ALL, HOSTILE, language).decode()

    class Tags(HTMLParser):
        found: list[str] = []
        events: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found.append(tag)
            self.events += [name for name, _ in attrs if name.startswith("on")]

    tags = Tags()
    tags.feed(page)
    assert tags.found.count("article") == tags.found.count("img") == 3
    assert "script" not in tags.found
    assert tags.events == []
    assert "default-src 'none'" in page
    assert "&lt;script&gt;window.pwned=1" in page
