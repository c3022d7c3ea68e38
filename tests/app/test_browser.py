"""The page's logic, run by Streamlit's own harness; how it looks is for tests/e2e/test_browser.py."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import streamlit
from streamlit.testing.v1 import AppTest

from captioning.captioner import Captioner
from tests.app.small_collection import make_collection
from tests.captioning.small_captioner import SmallExtractor, write_small_checkpoint

BROWSER = Path(__file__).resolve().parents[2] / "app" / "browser.py"
PICTURE = BROWSER.parents[1] / "examples" / "images" / "000000165518.jpg"


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return make_collection(tmp_path_factory.mktemp("collection"))


@pytest.fixture
def page(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(sys, "argv", ["browser.py", *arguments, "--language", "zh"])
    return AppTest.from_file(str(BROWSER), default_timeout=120)


def text(page: AppTest) -> str:
    """All the HTML and Markdown of the page."""
    assert not page.exception, page.exception
    return "\n".join(element.proto.body for kind in ("html", "markdown") for element in page.get(kind))


def test_the_gallery_shows_each_picture_with_its_caption_and_score(page: AppTest) -> None:
    shown = text(page.run())
    assert shown.count('<div class="ts-card">') == 3
    assert "一只狗在草地上奔跑" in shown
    assert "（没有描述）" in shown  # the third picture
    assert shown.count('class="ts-chip') == 2  # those with references
    assert "3 / 3 张图片" in shown


def test_a_click_on_a_card_opens_the_picture_and_back_returns(page: AppTest) -> None:
    page.run().button(key="view-0").click().run()
    assert page.query_params["picture"] == "a.jpg"
    assert "<svg" in text(page)
    page.button(key="back").click().run()
    assert "picture" not in page.query_params
    assert '<div class="ts-card">' in text(page)


def test_an_address_opens_a_picture_with_all_that_is_known(page: AppTest) -> None:
    page.query_params["picture"] = "a.jpg"
    shown = text(page.run())
    assert shown.count("<rect") == 2  # the third box scores 0.1, below the threshold
    for expected in ("狗 0.90", "人 0.60", "两只狗在玩耍", "-6.250", "草地上有一只狗", "CIDEr", "second"):
        assert expected in shown


def test_the_threshold_and_the_tags_choose_the_boxes(page: AppTest) -> None:
    page.query_params["picture"] = "a.jpg"
    page.run().slider(key="min-score").set_value(0.0).run()
    assert text(page).count("<rect") == 3
    page.multiselect(key="tags-a.jpg").set_value(["狗"]).run()
    assert text(page).count("<rect") == 2
    page.toggle(key="show-boxes").set_value(False).run()
    assert "<svg" not in text(page)


def test_previous_and_next_follow_the_search(page: AppTest) -> None:
    page.query_params["q"] = "狗"
    page.query_params["picture"] = "a.jpg"
    page.run()
    assert page.button(key="previous").disabled
    page.button(key="next").click().run()
    assert page.query_params["picture"] == "inner/狗.jpg"
    assert "区域文件中没有这张图片" in text(page)


def test_search_filters_and_is_part_of_the_address(page: AppTest) -> None:
    page.run().text_input(key="search").set_value("自行车").run()
    assert text(page).count('<div class="ts-card">') == 1
    assert page.query_params["q"] == "自行车"
    page.text_input(key="search").set_value("没有这样的").run()
    assert page.info[0].value == "没有匹配的图片。换个词试试。"


def test_another_system_is_chosen_and_is_part_of_the_address(page: AppTest) -> None:
    page.run().selectbox(key="system").set_value("second").run()
    assert page.query_params["system"] == "second"
    assert text(page).count("一个人在骑自行车") == 6  # text and alternative text of three cards


@pytest.mark.parametrize("address", ["../secret.jpg", "/etc/passwd", "inner/../../secret.jpg", "<script>"])
def test_an_address_that_names_no_picture_shows_none(page: AppTest, address: str) -> None:
    page.query_params["picture"] = address
    shown = text(page.run())
    assert page.warning[0].value == "没有这张图片。"
    assert "<img" not in shown


def test_hostile_captions_are_text(page: AppTest) -> None:
    page.query_params["picture"] = "b.jpg"
    shown = text(page.run())
    assert "<script>" not in shown
    assert "&lt;script&gt;window.pwned=1&lt;/script&gt; **粗** $x$ :red[红] \ufffd倒" in shown


def test_the_page_speaks_english_on_request(page: AppTest) -> None:
    page.run().selectbox(key="language").set_value("en").run()
    assert "3 of 3 pictures" in text(page)
    assert page.text_input(key="search").label == "Search"


def upload(page: AppTest, monkeypatch: pytest.MonkeyPatch, data: bytes) -> AppTest:
    """The Try it page with a file in its uploader, which the harness cannot fill."""
    monkeypatch.setattr(streamlit, "file_uploader", lambda *_, **__: SimpleNamespace(getvalue=lambda: data))
    page.query_params["view"] = "try"
    return page.run()


def test_trying_a_file_that_is_no_picture_says_why(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(page, monkeypatch, b"<script>")
    assert page.warning[0].value == "这张图片不能使用："
    assert "not a picture in a known format" in text(page)


def test_trying_a_file_that_is_too_large_says_so(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(page, monkeypatch, bytes((20 << 20) + 1))
    assert "20971521 bytes &gt; 20 MB" in text(page)


def test_trying_without_a_checkpoint_says_why(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(page, monkeypatch, PICTURE.read_bytes())
    assert page.warning[0].value == "模型无法载入："
    assert "no such checkpoint" in text(page)


def test_a_tried_picture_shows_boxes_tags_and_captions_and_is_captioned_once(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Captioner, "extractor", SmallExtractor())
    checkpoint = write_small_checkpoint(tmp_path / "small")
    loaded: list[object] = []
    read = Captioner.from_pretrained
    monkeypatch.setattr(Captioner, "from_pretrained", lambda *a, **k: loaded.append(a) or read(*a, **k))
    words = [*arguments[: arguments.index("--checkpoint")], "--checkpoint", str(checkpoint)]
    monkeypatch.setattr(sys, "argv", ["browser.py", *words])
    page = upload(AppTest.from_file(str(BROWSER), default_timeout=120), monkeypatch, PICTURE.read_bytes())
    shown = text(page)
    assert shown.count("<rect") == 3
    assert "用时" in shown
    assert shown.count("<tr>") == 4  # a head and the three captions of the small beam
    page.slider(key="min-score").set_value(0.8).run()
    assert text(page).count("<rect") == 1
    assert "用时" in text(page)
    assert len(loaded) == 1, "a click loads the model again"
