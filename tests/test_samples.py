"""The sample pictures: attributed, unchanged, licensed to stand here, with captions that fit."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

IMAGES = Path(__file__).resolve().parent.parent / "examples" / "images"
LICENCES = {
    "CC BY 2.0": "https://creativecommons.org/licenses/by/2.0/",
    "CC BY-SA 2.0": "https://creativecommons.org/licenses/by-sa/2.0/",
}


def load(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((IMAGES / name).read_text(encoding="utf-8"))
    return rows


def pictures() -> set[str]:
    return {path.name for path in IMAGES.iterdir() if path.suffix == ".jpg"}


def test_every_picture_is_attributed_and_every_attribution_has_its_picture() -> None:
    names = [row["file"] for row in load("attribution.json")]
    assert len(names) == len(set(names)) == 34
    assert set(names) == pictures()


@pytest.mark.parametrize("row", load("attribution.json"), ids=lambda row: str(row["file"]))
def test_a_picture_is_the_unchanged_file_of_its_attribution(row: dict[str, Any]) -> None:
    path = IMAGES / row["file"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"]
    assert row["changes"] == "none"
    assert row["file"] == f"{row['coco_id']:012d}.jpg"
    with Image.open(path) as image:
        image.load()
        assert image.format == "JPEG"
        assert max(image.size) <= 640


@pytest.mark.parametrize("row", load("attribution.json"), ids=lambda row: str(row["file"]))
def test_a_picture_has_an_origin_and_a_licence_that_lets_it_stand_here(row: dict[str, Any]) -> None:
    assert LICENCES[row["licence"]] == row["licence_url"]
    assert re.fullmatch(r"http://farm\d+\.staticflickr\.com/\d+/\d+_[0-9a-f]+_z\.jpg", row["flickr_url"])


@pytest.mark.parametrize("row", load("attribution.json"), ids=lambda row: str(row["file"]))
def test_the_attribution_page_says_the_same_as_the_attribution_file(row: dict[str, Any]) -> None:
    page = (IMAGES / "ATTRIBUTION.md").read_text(encoding="utf-8")
    line = next(line for line in page.splitlines() if line.startswith(f"| `{row['file']}` |"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == [
        f"`{row['file']}`",
        str(row["coco_id"]),
        f"<{row['flickr_url']}>",
        f"[{row['licence']}]({row['licence_url']})",
        row["changes"],
    ]


def test_the_captions_are_of_19_of_the_pictures_and_chinese() -> None:
    captions = load("captions.json")
    names = [row["image_id"] for row in captions]
    assert len(names) == len(set(names)) == 19
    assert set(names) <= pictures()
    for row in captions:
        assert row["caption"], row["image_id"]
        assert all(re.search(r"[\u4e00-\u9fff]{4}", caption) for caption in row["caption"]), row["image_id"]


def test_training_and_held_out_captions_share_no_picture_and_are_all_the_captions() -> None:
    train, held_out = load("captions_train.json"), load("captions_val.json")
    assert (len(train), len(held_out)) == (12, 7)
    together = sorted(train + held_out, key=lambda row: str(row["image_id"]))
    assert together == sorted(load("captions.json"), key=lambda row: str(row["image_id"]))
