from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from app.cache import CacheFolder
from app.data import Collection
from app.thumbnails import picture, thumbnail
from features.images import ImageError
from tests.app.small_index import small_index


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (1000, 500), "green").save(tmp_path / "pictures" / "large.png")
    (tmp_path / "pictures" / "broken.png").write_bytes(b"broken")
    index = small_index(["broken.png", "large.png"])
    return Collection(tmp_path / "pictures", index, CacheFolder(path=tmp_path / "cache"))


def test_thumbnails_are_small_jpegs_and_pictures_at_most_a_screen(collection: Collection) -> None:
    for data, size in (
        (thumbnail(collection, "large.png"), (320, 160)),
        (picture(collection, "large.png"), (1000, 500)),
    ):
        with Image.open(BytesIO(data)) as opened:
            assert (opened.format, opened.size) == ("JPEG", size)


def test_a_thumbnail_is_made_once_and_again_when_its_picture_changes(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = thumbnail(collection, "large.png")
    monkeypatch.setattr("app.thumbnails.jpeg", lambda *_: b"another")
    assert thumbnail(collection, "large.png") == first
    os.utime(collection.root / "large.png", (1, 1))
    assert thumbnail(collection, "large.png") == b"another"


def test_a_broken_picture_says_why_and_leaves_nothing(collection: Collection) -> None:
    with pytest.raises(ImageError, match="not a picture in a known format"):
        thumbnail(collection, "broken.png")
    assert not list((collection.root.parent / "cache").rglob("*.part"))


def test_where_nothing_can_be_kept_thumbnails_are_made_all_the_same(collection: Collection) -> None:
    (collection.root.parent / "cache").write_text("a file is in the way")
    assert thumbnail(collection, "large.png").startswith(b"\xff\xd8")


def test_a_picture_that_is_not_ours_has_no_thumbnail(collection: Collection) -> None:
    with pytest.raises(ValueError, match="no picture '../cache'"):
        thumbnail(collection, "../cache")
