from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from app.live import LiveCaptioner, NoCaptioner
from app.settings import AppConfig
from captioning.captioner import Captioner
from features.images import ImageError
from tests.app.small_index import small_folder
from tests.captioning.small_captioner import SmallExtractor, write_small_checkpoint


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LiveCaptioner:
    monkeypatch.setattr(Captioner, "extractor", SmallExtractor())
    return LiveCaptioner(AppConfig(checkpoint=str(write_small_checkpoint(tmp_path / "small"))))


def png(side: int) -> bytes:
    file = BytesIO()
    Image.new("RGB", (side, side)).save(file, "PNG")
    return file.getvalue()


def test_an_upload_gets_caption_alternatives_regions_names_and_time(live: LiveCaptioner) -> None:
    tried = live.try_picture(png(20))
    assert tried.made.said.caption
    assert len(tried.made.said.alternatives) == 3  # the small checkpoint's beam_width
    assert len(tried.made.names) == len(tried.made.regions.boxes) == 3
    assert tried.picture.startswith(b"\xff\xd8")
    assert 0 < tried.seconds < 60


def test_an_upload_that_is_no_picture_says_why(live: LiveCaptioner) -> None:
    with pytest.raises(ImageError, match="not a picture in a known format"):
        live.try_picture(b"<script>alert(1)</script>")


def test_captions_are_made_once_and_broken_pictures_left_out(
    live: LiveCaptioner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(png(8))
    (tmp_path / "b.png").write_bytes(b"broken")
    collection = small_folder(tmp_path, ["a.png", "b.png"])
    made = live.captions(collection, ["a.png", "b.png"])
    assert list(made) == ["a.png"]
    assert live.texts() == {"a.png": made["a.png"].said.caption}
    monkeypatch.setattr(Captioner, "caption_many", lambda *_, **__: iter(()))
    assert live.captions(collection, ["b.png", "a.png"])["a.png"] is made["a.png"]


def test_without_a_checkpoint_the_reason_is_given_every_time(tmp_path: Path) -> None:
    live = LiveCaptioner(AppConfig(checkpoint=str(tmp_path / "nowhere")))
    for _ in range(2):
        with pytest.raises(NoCaptioner, match="nowhere: no such checkpoint"):
            live.try_picture(png(8))
