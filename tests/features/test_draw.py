from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from features.draw import (
    boxes_svg,
    cjk_font,
    class_colour,
    contact_sheet,
    draw_boxes,
    region_labels,
    with_text,
)
from features.tags import Lexicon
from tests.features.fake import make_regions

SVG = "{http://www.w3.org/2000/svg}"


def test_every_box_has_a_rectangle_a_title_and_a_label() -> None:
    regions = make_regions("a.jpg", 3)
    root = ElementTree.fromstring(boxes_svg(regions, ["狗", "猫", "人"]))
    assert root.tag == f"{SVG}svg"
    assert root.get("viewBox") == "0 0 200 100"
    assert (root.get("role"), root.get("aria-label")) == ("img", "检测到的区域: 3")
    groups = list(root)
    titles = [group.findtext(f"{SVG}title") for group in groups]
    assert (
        titles
        == [f"{name} {score:.2f}" for name, score in zip("狗猫人", regions.object_scores, strict=True)][::-1]
    )
    assert [group.findtext(f"{SVG}text") for group in groups] == ["人", "猫", "狗"]  # the best on top
    rectangle = groups[-1].find(f"{SVG}rect")
    assert rectangle is not None
    found = [float(rectangle.get(name, "nan")) for name in ("x", "y", "width", "height")]
    x1, y1, x2, y2 = regions.boxes[0]
    np.testing.assert_allclose(found, [x1, y1, x2 - x1, y2 - y1], atol=0.051)


def test_text_cannot_become_markup() -> None:
    evil = "</text><script>alert('x')</script>\"&"
    svg = boxes_svg(make_regions("a.jpg", 1), [evil], description=f'">{evil}')
    assert "<script" not in svg
    assert ElementTree.fromstring(svg).findtext(f"{SVG}g/{SVG}text") == evil


def test_boxes_can_be_limited_by_number_and_score() -> None:
    regions = dataclasses.replace(
        make_regions("a.jpg", 3), object_scores=np.array([0.9, 0.5, 0.1], np.float32)
    )
    assert boxes_svg(regions).count("<rect") == 3
    assert boxes_svg(regions, max_boxes=1).count("<rect") == 1
    assert boxes_svg(regions, min_score=0.4).count("<rect") == 2
    assert "<text" not in boxes_svg(regions)
    assert boxes_svg(make_regions("a.jpg", 0)).count("<g") == 0


def test_weights_fill_boxes_and_take_faint_ones_their_labels() -> None:
    svg = boxes_svg(make_regions("a.jpg", 3), ["狗", "猫", "人"], weights=[0.05, 0.5, 2.0])
    groups = list(ElementTree.fromstring(svg))[::-1]
    filled = [float(group.find(f"{SVG}rect").get("fill-opacity")) for group in groups]
    assert filled[1] == pytest.approx(filled[2] / 2)  # weights beyond 1 count as 1
    assert filled[0] < filled[1]
    assert [group.findtext(f"{SVG}text") for group in groups] == [None, "猫", "人"]
    assert [group.findtext(f"{SVG}title", "")[:1] for group in groups] == ["狗", "猫", "人"]


def test_titles_say_more_than_labels() -> None:
    svg = boxes_svg(make_regions("a.jpg", 1), ["狗"], titles=["狗 / dog"])
    assert ElementTree.fromstring(svg).findtext(f"{SVG}g/{SVG}title").startswith("狗 / dog 0.")


def test_labels_are_one_a_region() -> None:
    with pytest.raises(ValueError, match="2 labels for 3 regions; one each is wanted"):
        boxes_svg(make_regions("a.jpg", 3), ["狗", "猫"])
    with pytest.raises(ValueError, match="1 labels for 2 boxes"):
        draw_boxes(Image.new("RGB", (9, 9)), np.zeros((2, 4)), ["狗"])


def test_labels_are_chinese_or_english() -> None:
    lexicon = Lexicon.load("zh", "voc-20")
    regions = dataclasses.replace(make_regions("a.jpg", 2), object_ids=np.array([11, 19], np.int32))
    assert region_labels(regions, lexicon) == ["狗", "电视"]
    assert region_labels(regions, lexicon, english=True) == ["dog", "tvmonitor"]


def test_a_class_keeps_its_colour_and_neighbours_differ() -> None:
    colours = [class_colour(number) for number in range(20)]
    assert colours == [class_colour(number) for number in range(20)]
    assert len(set(colours)) == 20
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)


def test_boxes_are_drawn_into_a_copy() -> None:
    image = Image.new("RGB", (100, 80), "white")
    drawn = draw_boxes(image, np.array([[10, 20, 60, 70]]), ["dog"], object_ids=[3])
    assert np.asarray(image).min() == 255
    assert "#{:02x}{:02x}{:02x}".format(*drawn.getpixel((10, 65))) == class_colour(3)  # type: ignore[misc]
    assert drawn.getpixel((80, 75)) == (255, 255, 255)


def test_without_a_chinese_font_labels_are_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.draw.cjk_font", lambda: None)
    image, boxes = Image.new("RGB", (100, 80), "white"), np.array([[10, 20, 60, 70]])
    fallback = draw_boxes(image, boxes, ["狗"], english=["dog"])
    assert fallback == draw_boxes(image, boxes, ["dog"])
    assert fallback != draw_boxes(image, boxes, ["狗"])


def test_a_chinese_font_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.draw._FONT_FOLDERS", (str(tmp_path / "none"), str(tmp_path)))
    cjk_font.cache_clear()
    assert cjk_font() is None
    (tmp_path / "truetype").mkdir()
    font = tmp_path / "truetype" / "wqy-zenhei.ttc"
    font.write_bytes(b"")
    cjk_font.cache_clear()
    try:
        assert cjk_font() == font
    finally:
        cjk_font.cache_clear()


def test_a_contact_sheet_holds_every_picture_in_rows() -> None:
    red, blue = Image.new("RGB", (720, 360), "red"), Image.new("RGB", (36, 72), "blue")
    sheet = contact_sheet([red, blue, red], ["狗", "", ""], columns=2, side=360)

    assert sheet.size == (15 + 2 * 375, 15 + 2 * (360 + 3 * 18 + 15))
    assert sheet.getpixel((15 + 180, 15 + 355)) == (255, 0, 0)  # scaled down, at the foot of its cell
    assert sheet.getpixel((15 + 180, 15 + 170)) == (255, 255, 255)
    assert sheet.getpixel((15 + 375 + 180, 15 + 355)) == (0, 0, 255)  # small pictures keep their size
    assert sheet.getpixel((15 + 180, sheet.height - 15 - 54 - 5)) == (255, 0, 0)
    under = np.asarray(sheet.crop((15, 15 + 360, 15 + 360, 15 + 360 + 54)))
    assert under.min() < 100  # something is written there


needs_font = pytest.mark.skipif(
    cjk_font() is None, reason="needs a Chinese font: sudo apt-get install fonts-wqy-zenhei"
)


@needs_font
def test_long_text_below_a_picture_is_broken_and_loses_no_letter() -> None:
    picture = Image.new("RGB", (200, 50), "white")
    short, long = (with_text(picture, [("一只狗" * n, "black")], size=24) for n in (1, 20))
    assert short.width == long.width == 16 * 24
    assert long.height > short.height
    ink = [int((np.asarray(page) < 128).sum()) for page in (short, long)]
    assert ink[1] == pytest.approx(20 * ink[0], rel=0.05)


@needs_font
def test_a_full_stop_stays_on_the_line_of_its_sentence() -> None:
    picture = Image.new("RGB", (200, 50), "white")
    heights = {
        n: [with_text(picture, [("狗" * n + end, "black")], size=24).height for end in ("", "。")]
        for n in range(1, 30)
    }
    assert all(without == with_stop for without, with_stop in heights.values())
    assert heights[29][0] > heights[1][0]


def test_chinese_is_left_out_below_a_picture_where_there_is_no_font_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("features.draw.cjk_font", lambda: None)
    picture = Image.new("RGB", (400, 50), "teal")
    assert with_text(picture, [("一只狗", "black")]).size == (400, 50)
    assert with_text(picture, [("a dog", "black")]).height > 50
