"""The page's logic, run by Streamlit's own harness; how it looks is for tests/e2e/test_browser.py."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import streamlit
from streamlit.testing.v1 import AppTest

from app.address import VIEWS
from captioning.captioner import Captioner
from tests.app.small_collection import make_collection
from tests.app.test_data import TRAVERSALS
from tests.captioning.small_captioner import SmallExtractor, write_small_checkpoint

BROWSER = Path(__file__).resolve().parents[2] / "app" / "browser.py"
PICTURE = BROWSER.parents[1] / "examples" / "images" / "000000165518.jpg"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("collection")


@pytest.fixture(scope="module")
def arguments(folder: Path) -> list[str]:
    return make_collection(folder)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


@pytest.fixture
def page(arguments: list[str], notes: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    words = [*arguments, "--language", "zh", "--notes", str(notes)]
    monkeypatch.setattr(sys, "argv", ["browser.py", *words])
    return AppTest.from_file(str(BROWSER), default_timeout=120)


def text(page: AppTest) -> str:
    """All the HTML and Markdown of the page but its style sheet and script."""
    assert not page.exception, page.exception
    bodies = (element.proto.body for kind in ("html", "markdown") for element in page.get(kind))
    return "\n".join(body for body in bodies if not body.startswith(("<style>", "<script>")))


def n_cards(page: AppTest) -> int:
    return text(page).count('<div class="ts-card">')


def test_the_gallery_shows_each_picture_with_its_caption_and_score(page: AppTest) -> None:
    shown = text(page.run())
    assert n_cards(page) == 3
    assert "一只狗在草地上奔跑" in shown
    assert "（没有描述）" in shown  # the third picture
    assert shown.count("CIDEr ") - shown.count("CIDEr <") >= 2  # those with references
    assert "3 / 3 张图片" in shown


def test_a_click_on_a_card_opens_the_picture_and_back_returns(page: AppTest) -> None:
    page.run().button(key="view-0").click().run()
    assert page.query_params["picture"] == "a.jpg"
    assert "<svg" in text(page)
    page.button(key="back").click().run()
    assert "picture" not in page.query_params
    assert n_cards(page) == 3


def test_an_address_opens_a_picture_with_all_that_is_known(page: AppTest) -> None:
    page.query_params["picture"] = "a.jpg"
    shown = text(page.run())
    assert shown.count("<rect") == 2  # the third box scores 0.1, below the threshold
    for expected in ("<title>狗 dog 0.90</title>", "人 0.60", "两只狗在玩耍", "-6.250", "CIDEr", "second"):
        assert expected in shown
    assert '<mark class="n n4" title="4-gram">一只狗在草地上奔跑</mark>' in shown
    assert '<mark class="n n1" title="1-gram">草地</mark>' in shown or "草地上" in shown


def test_the_threshold_and_the_tags_choose_the_boxes_and_are_part_of_the_address(page: AppTest) -> None:
    page.query_params["picture"] = "a.jpg"
    page.run().slider(key="least").set_value(0.0).run()
    assert text(page).count("<rect") == 3
    page.multiselect(key="only").set_value(["狗"]).run()
    assert text(page).count("<rect") == 2
    assert (page.query_params["least"], page.query_params["only"]) == ("0.0", "狗")
    page.toggle(key="boxes").set_value(False).run()
    assert "<svg" not in text(page)


def test_previous_and_next_follow_the_filters(page: AppTest) -> None:
    page.query_params["q"] = "狗"
    page.query_params["picture"] = "a.jpg"
    page.run()
    assert page.button(key="previous").disabled
    page.button(key="next").click().run()
    assert page.query_params["picture"] == "inner/狗.jpg"
    assert "区域文件中没有这张图片" in text(page)


def test_filters_are_part_of_the_address_and_are_cleared_together(page: AppTest) -> None:
    page.run().text_input(key="q").set_value("自行车").run()
    assert n_cards(page) == 1
    page.multiselect(key="tag").set_value(["人"]).run()
    page.slider(key="length").set_value((1.0, 50.0)).run()
    assert page.query_params["q"] == "自行车"
    assert page.query_params["tag"] == "人"
    page.text_input(key="q").set_value("没有这样的").run()
    assert page.info[0].value == "没有匹配的图片。换个条件试试。"
    page.button(key="clear").click().run()
    assert n_cards(page) == 3
    assert not {"q", "tag", "length"} & set(page.query_params)


def test_a_search_by_regular_expression_is_part_of_the_address_and_a_wrong_one_is_told(page: AppTest) -> None:
    page.run().toggle(key="regex").set_value(True).run()
    page.text_input(key="q").set_value("(草地|没有).*跑$").run()
    assert page.query_params["regex"] == "1"
    assert n_cards(page) == 1
    page.text_input(key="q").set_value("(").run()
    assert page.warning[0].value == "搜索的内容不是正则表达式。"
    assert n_cards(page) == 0


def test_an_address_with_filters_shows_them_in_the_widgets(page: AppTest) -> None:
    page.query_params.update(
        {"q": "狗", "score": "0.5-", "sort": "cider", "descending": "1", "flag": "marked"}
    )
    page.run()
    assert page.text_input(key="q").value == "狗"
    assert page.slider(key="score").value[0] == 0.5
    assert page.selectbox(key="sort").value == "cider"
    assert page.selectbox(key="flag").value == "marked"
    assert n_cards(page) == 0


def test_the_best_come_first_where_they_are_sorted_so(page: AppTest) -> None:
    page.query_params.update({"sort": "cider", "descending": "1", "system": "second"})
    shown = text(page.run())
    assert page.query_params["system"] == "second"
    assert shown.count("一个人在骑自行车") == 6  # text and alternative text of three cards
    page.button(key="view-0").click().run()
    assert page.query_params["picture"] == "b.jpg"


def test_pages_follow_each_other_and_are_part_of_the_address(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.views.cards.pages", lambda *_: 2)
    monkeypatch.setattr("app.address.SIZES", (2, 60))
    page.run().button(key="next_page").click().run()
    assert page.query_params["page"] == "2"
    page.number_input(key="page").set_value(1).run()
    assert "page" not in page.query_params


@pytest.mark.parametrize("address", [*TRAVERSALS[:6], "<script>", "x" * 5000])
def test_an_address_that_names_no_picture_shows_none(page: AppTest, address: str) -> None:
    page.query_params["picture"] = address
    shown = text(page.run())
    assert page.warning[0].value == "没有这张图片。"
    assert "<img" not in shown


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_view_shows_something_in_both_languages(page: AppTest, view: str, language: str) -> None:
    page.query_params.update({"view": view, "lang": language})
    shown = text(page.run())
    assert page.segmented_control(key="view").value == view
    assert len(shown) > 200
    assert "tushuo" in shown if language == "en" else "图说" in shown


def test_hostile_captions_are_text_in_html_and_in_labels(page: AppTest) -> None:
    page.query_params["picture"] = "b.jpg"
    shown = text(page.run())
    assert "<script>" not in shown
    assert "&lt;script&gt;window.pwned=1&lt;/script&gt; **粗** $x$ :red[红] \ufffd倒" in shown
    labels = [option.content for option in page.pills(key="word").proto.options]
    assert labels[:4] == [r"\<", "img", "src", r"\="]
    assert all(re.fullmatch(r"([^!-/:-@\[-`{-~]|\\.)*", each) for each in labels)


def test_a_marked_picture_is_found_by_its_mark(page: AppTest, notes: Path) -> None:
    page.query_params["picture"] = "b.jpg"
    page.run().button(key="mark").click().run()
    assert json.loads((notes / "marked.json").read_text("utf-8")) == ["b.jpg"]
    page.button(key="back").click().run()
    page.selectbox(key="flag").set_value("marked").run()
    assert n_cards(page) == 1
    page.button(key="view-0").click().run().button(key="mark").click().run()
    assert json.loads((notes / "marked.json").read_text("utf-8")) == []


def test_a_correction_is_kept_beside_the_original(page: AppTest, folder: Path, notes: Path) -> None:
    before = (folder / "first.json").read_bytes()
    page.query_params["picture"] = "a.jpg"
    page.run()
    area = next(each for each in page.text_area if each.value == "一只狗在草地上奔跑")
    area.set_value("一只黄狗在草地上奔跑")
    next(each for each in page.button if each.label == "保存").click().run()
    assert "修改过的描述：first" in [each.label for each in page.expander]
    assert [each.value for each in page.toast] == ["已保存"]
    (record,) = json.loads((notes / "corrections" / "first.json").read_text("utf-8"))
    assert record["image_id"] == "a.jpg"
    assert record["caption"] == "一只黄狗在草地上奔跑"
    assert record["original"] == "一只狗在草地上奔跑"
    assert (folder / "first.json").read_bytes() == before


def test_each_correction_names_the_system_whose_caption_it_is(page: AppTest) -> None:
    page.query_params["picture"] = "a.jpg"
    labels = [each.label for each in page.run().expander]
    assert [label for label in labels if label.startswith("修改描述")] == [
        "修改描述：first",
        "修改描述：second",
    ]


def test_a_view_is_saved_opened_and_deleted(page: AppTest) -> None:
    page.query_params.update({"view": "errors", "fault": "longest"})
    page.run().text_input(key="view-name").set_value("最长的").run()
    page.button(key="save-view").click().run()
    page.segmented_control(key="view").set_value("gallery").run()
    page.selectbox(key="saved-view").set_value("最长的").run().button(key="open-view").click().run()
    assert page.query_params["view"] == "errors"
    assert page.query_params["fault"] == "longest"
    page.button(key="forget-view").click().run()
    assert not [each for each in page.selectbox if each.key == "saved-view"]


def test_notes_that_cannot_be_read_are_told_and_nothing_is_overwritten(page: AppTest, notes: Path) -> None:
    notes.mkdir()
    (notes / "views.json").write_text("[", "utf-8")
    page.run()
    assert page.warning[0].value == "保存过的内容无法读取："
    assert "views.json: broken JSON" in text(page)


def test_a_vote_is_kept_and_leads_to_the_next_picture(page: AppTest, notes: Path) -> None:
    page.query_params.update({"view": "compare", "picture": "a.jpg"})
    page.run().button(key="vote-2").click().run()
    page.button(key="vote-0").click().run()
    assert (notes / "votes.csv").read_text("utf-8").splitlines() == [
        "image_id,best,systems",
        "a.jpg,second,first|second",
        "b.jpg,tie,first|second",
    ]
    assert page.query_params["picture"] == "inner/狗.jpg"
    assert "second: 1" in text(page)


def test_compared_systems_differ_and_win_and_lose(page: AppTest) -> None:
    page.query_params["view"] = "compare"
    shown = text(page.run())
    assert "3 张图片中有 3 张描述不同" in shown
    assert "first 对 second（CIDEr）：胜 1，平 0，负 1" in shown
    assert "Δ CIDEr +" in shown


def test_compared_systems_stand_in_the_order_of_the_address(page: AppTest) -> None:
    page.query_params.update({"view": "compare", "against": ["second", "first"]})
    shown = text(page.run())
    assert "second 对 first（CIDEr）：胜 1，平 0，负 1" in shown
    assert "1. 一个人在骑自行车" in shown
    assert shown.count("1. CIDEr") == shown.count("2. CIDEr") == 2
    assert page.multiselect(key="against").value == ["second", "first"]


def test_mistakes_are_searched_and_without_scores_the_longest_captions_are_listed(
    page: AppTest, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    unscored = arguments[: arguments.index("--references")]
    monkeypatch.setattr(sys, "argv", ["browser.py", *unscored, "--language", "zh"])
    page.query_params["view"] = "errors"
    shown = text(page.run())
    assert page.segmented_control(key="fault").value == "longest"
    assert shown.index("&lt;script&gt;") < shown.index("一只狗在草地上奔跑")
    page.text_input(key="q").set_value("奔跑").run()
    assert n_cards(page) == 1


def test_mistakes_are_counted_by_kind_and_listed(page: AppTest) -> None:
    page.query_params.update({"view": "errors", "system": "second"})
    page.run()
    assert n_cards(page) == 3
    labels = [option.content for option in page.segmented_control(key="fault").proto.options]
    assert "与其他图片雷同 (3)" in labels
    page.segmented_control(key="fault").set_value("alike").run()
    assert text(page).count("另有 2 张雷同") == 3


def test_words_light_up_the_regions_that_they_rest_on(
    arguments: list[str], notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = write_small_checkpoint(tmp_path / "small")
    monkeypatch.setattr(Captioner, "check_store", lambda *_: None)
    monkeypatch.setattr(Captioner, "_check_width", lambda *_: None)
    monkeypatch.setattr("app.live.LiveCaptioner.rests_on", rests_on_second_box)
    words = [
        *arguments[: arguments.index("--checkpoint")],
        "--checkpoint",
        str(checkpoint),
        "--notes",
        str(notes),
    ]
    monkeypatch.setattr(sys, "argv", ["browser.py", *words])
    page = AppTest.from_file(str(BROWSER), default_timeout=120)
    page.query_params["picture"] = "a.jpg"
    assert 'fill="#ffa200"' not in text(page.run())
    page.query_params["word"] = "1"
    shown = text(page.run())
    assert shown.count('fill="#ffa200"') == 3, "all boxes are shown, also those below the threshold"
    assert shown.count('fill-opacity="0.65"') == 1


def rests_on_second_box(*_: object) -> object:
    import numpy as np

    return np.array([[0, 0, 0], [0.1, 0.8, 0]] * 6, np.float32)


def test_what_a_word_rests_on_cannot_be_told_without_a_checkpoint(page: AppTest) -> None:
    page.query_params.update({"picture": "a.jpg", "word": "1"})
    page.run()
    assert page.warning[0].value == "无法计算："
    assert "no such checkpoint" in text(page)


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
    assert shown.partition("ts-scroll")[2].count("<tr>") == 4  # a head and three captions
    page.slider(key="least").set_value(0.8).run()
    assert text(page).count("<rect") == 1
    assert "用时" in text(page)
    page.query_params["word"] = "0"
    page.run()
    assert 'fill="#ffa200"' in text(page)
    page.segmented_control(key="by").set_value("importance").run()
    assert 'fill="#ffa200"' in text(page)
    assert len(loaded) == 1, "a click loads the model again"
