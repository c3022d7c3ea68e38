"""The HTML report: complete, self-contained, and safe with hostile text."""

import base64
import json
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval.evaluation import Evaluation, Settings, evaluate_files
from eval.report import render_report, spaced, write_report
from features.schema import Regions, StoreMeta, box_geometry
from features.shards import write_shard

HOSTILE = """<script>alert(1)</script>"'><img src=x onerror=alert(2)>{{ 7*7 }}\u202e&amp;"""


class Page(HTMLParser):
    """Elements, their attributes and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def evaluated(
    folder: Path, predictions: list[dict[str, Any]], references: dict[str, list[str]]
) -> Evaluation:
    (folder / "p.json").write_text(json.dumps(predictions), encoding="utf-8")
    listed = [{"image_id": image_id, "caption": captions} for image_id, captions in references.items()]
    (folder / "r.json").write_text(json.dumps(listed), encoding="utf-8")
    settings = Settings(allow_missing=True, allow_extra=True)
    return evaluate_files([folder / "p.json"], folder / "r.json", settings)


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    predictions: list[dict[str, Any]] = [
        {"image_id": "a.jpg", "caption": "一只猫在桌子上", "tags": ["猫", "桌子"]},
        {
            "image_id": "b.jpg",
            "caption": "两只狗在雪地里玩耍",
            "alternatives": [{"caption": "两只狗在雪地里玩耍", "log_prob": -3.25}, {"caption": "两只狗在玩"}],
        },
        {"image_id": "c.jpg", "caption": "孩子们在放风筝"},
        {"image_id": "x.jpg", "caption": "没有参考"},
    ]
    references = {
        "a.jpg": ["一个男人骑着自行车"],
        "b.jpg": ["两只狗在雪地里玩耍", "雪地里的狗"],
        "c.jpg": ["孩子们在海边放风筝"],
        "d.jpg": ["没有描述"],
    }
    return evaluated(tmp_path, predictions, references)


def test_pictures_stand_in_the_order_of_their_cider(evaluation: Evaluation) -> None:
    html = render_report(evaluation)
    assert re.findall(r"<bdi>(\w\.jpg)</bdi>", html) == ["b.jpg", "c.jpg", "a.jpg"]


def test_the_page_shows_captions_references_tags_and_hypotheses(evaluation: Evaluation) -> None:
    text = Page(render_report(evaluation)).text
    for wanted in [
        "一只猫在桌子上",
        "一个男人骑着自行车",
        "雪地里的狗",
        "桌子",
        "两只狗在玩",
        "2 hypotheses",
    ]:
        assert wanted in text
    assert " (-3.25)" in text


def test_the_page_gives_scores_with_protocol_versions_and_hashes(evaluation: Evaluation) -> None:
    text = " ".join(Page(render_report(evaluation, title="第一次评测")).text)
    for scores in evaluation.systems[0].scores:
        assert f"{scores.protocol} ({scores.unit})" in text
        assert scores.version in text
        for value in scores.overall.values():
            assert f"{value:.4f}" in text
    assert evaluation.systems[0].source.sha256 in text
    assert evaluation.references_source.sha256 in text
    assert "第一次评测" in text


def test_left_out_pictures_are_announced(evaluation: Evaluation) -> None:
    text = "".join(Page(render_report(evaluation)).text)
    assert "1 of 4 reference pictures have no caption and were left out, not counted as 0." in text
    assert "1 captions belong to pictures without references" in text


def test_text_from_files_is_never_markup(tmp_path: Path) -> None:
    predictions = [
        {
            "image_id": HOSTILE,
            "caption": HOSTILE,
            "tags": [HOSTILE],
            "alternatives": [{"caption": HOSTILE}, {"caption": "狗"}],
        }
    ]
    hostile = evaluated(tmp_path, predictions, {HOSTILE: [HOSTILE]})
    page = Page(render_report(hostile, title=HOSTILE, images=tmp_path))
    harmless = Page(render_report(evaluated(tmp_path, [{"image_id": "a", "caption": "狗"}], {"a": ["狗"]})))
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in harmless.elements} | {"details", "summary"}
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert page.text.count(HOSTILE) == 7  # title twice, id, caption, reference, tag, hypothesis


def test_the_page_asks_for_nothing_from_outside(evaluation: Evaluation, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.jpg")
    html = render_report(evaluation, images=tmp_path)
    addresses = re.findall(r"""(?:src|href|action)\s*=\s*["']([^"']*)|url\(([^)]*)\)|@import""", html)
    assert [source[:22] for source, _ in addresses] == ["data:image/jpeg;base64"]
    assert "default-src 'none'; img-src data:" in html


def test_thumbnails_are_small_jpegs_of_the_pictures(evaluation: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    Image.new("RGB", (1200, 900), (200, 30, 30)).save(tmp_path / "sub" / "b.jpg")
    images = Page(render_report(evaluation, images=tmp_path)).all("img")
    assert [image["alt"] for image in images] == ["两只狗在雪地里玩耍"]
    data = base64.b64decode((images[0]["src"] or "").partition(",")[2])
    with Image.open(BytesIO(data)) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (360, 270))
        assert thumbnail.convert("RGB").getpixel((180, 135)) == pytest.approx((200, 30, 30), abs=4)


def test_a_broken_or_missing_picture_costs_its_thumbnail_only(evaluation: Evaluation, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    html = render_report(evaluation, images=tmp_path)
    page = Page(html)
    assert len(page.all("img")) == 1
    assert len(page.all("article")) == 3
    reasons = re.findall(r'<div class="frame nopicture soft">(.+)</div>', html)
    assert len(reasons) == 2
    assert reasons[1] == "not in the folder of pictures"


def test_boxes_of_a_regions_file_lie_over_the_pictures(evaluation: Evaluation, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (400, 300)).save(tmp_path / name)
    boxes = np.array([[10, 20, 110, 220], [0, 0, 40, 30]], np.float32)
    regions = Regions(
        image_id="b.jpg",
        width=400,
        height=300,
        features=np.zeros((2, 4), np.float16),
        boxes=boxes,
        geometry=box_geometry(boxes, 400, 300),
        object_ids=np.array([1, 0], np.int32),
        object_scores=np.array([0.9, 0.1], np.float32),
        global_feature=None,
    )
    meta = StoreMeta(
        backend="test", description={}, vocabulary=("cat", "<dog>"), vocabulary_id="own", feature_dim=4
    )
    write_shard(tmp_path / "regions.h5", [regions], meta)
    page = Page(render_report(evaluation, images=tmp_path, regions=tmp_path / "regions.h5"))
    assert [svg["viewbox"] for svg in page.all("svg")] == ["0 0 400 300"]
    assert [(box["x"], box["y"], box["width"]) for box in page.all("rect")] == [("10.0", "20.0", "100.0")]
    assert "<dog> 0.90" in page.text


def test_no_picture_outside_the_folder_is_shown(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "secret.jpg")
    escaping = evaluated(
        tmp_path, [{"image_id": "../secret.jpg", "caption": "狗"}], {"../secret.jpg": ["狗"]}
    )
    assert Page(render_report(escaping, images=tmp_path / "in")).all("img") == []


def test_of_many_pictures_the_best_and_the_worst_are_among_those_shown(evaluation: Evaluation) -> None:
    html = render_report(evaluation, max_pictures=2)
    assert re.findall(r"<bdi>(\w\.jpg)</bdi>", html) == ["b.jpg", "a.jpg"]
    assert "2 of 3 pictures, at even distances from the best to the worst." in html


@pytest.mark.parametrize(
    ("n", "shown"), [(2, [0, 10]), (3, [0, 5, 10]), (6, [0, 2, 4, 6, 8, 10]), (20, range(11))]
)
def test_shown_ranks_are_evenly_spaced(n: int, shown: list[int]) -> None:
    ranked = [(rank, str(rank)) for rank in range(11)]
    assert [rank for rank, _ in spaced(ranked, n)] == list(shown)


def test_the_report_is_written_as_utf8(evaluation: Evaluation, tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", evaluation, title="图说")
    assert '<meta charset="utf-8">' in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "图说" in (tmp_path / "r.html").read_bytes().decode("utf-8")
