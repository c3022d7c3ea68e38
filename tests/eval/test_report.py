"""The HTML report: complete, self-contained, and safe with hostile text."""

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval.evaluation import Evaluation, Settings, evaluate_files
from eval.overlap import Mark
from eval.report import p_value_text, render_report
from eval.report_pictures import GROUP, LONGEST_CAPTION, most_changed, picture_groups, pieces, spaced
from eval.significance import Interval, PairedTest
from eval.texts import TEXTS
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
    folder: Path,
    predictions: list[dict[str, Any]],
    references: dict[str, list[str]],
    *others: list[dict[str, Any]],
    **settings: Any,
) -> Evaluation:
    """Each list of predictions is a system: p, p1, p2 …"""
    paths = [folder / "p.json", *(folder / f"p{index}.json" for index in range(1, len(others) + 1))]
    for path, written in zip(paths, (predictions, *others), strict=True):
        path.write_text(json.dumps(written), encoding="utf-8")
    listed = [{"image_id": image_id, "caption": captions} for image_id, captions in references.items()]
    (folder / "r.json").write_text(json.dumps(listed), encoding="utf-8")
    options: dict[str, Any] = {"allow_missing": True, "allow_extra": True, "resamples": 100, **settings}
    return evaluate_files(paths, folder / "r.json", Settings(**options))


PREDICTIONS: list[dict[str, Any]] = [
    {"image_id": "a.jpg", "caption": "一只猫在桌子上", "tags": ["猫", "自行车"]},
    {
        "image_id": "b.jpg",
        "caption": "两只狗在雪地里玩耍",
        "alternatives": [{"caption": "两只狗在雪地里玩耍", "log_prob": -3.25}, {"caption": "两只狗在玩"}],
    },
    {"image_id": "c.jpg", "caption": "孩子们在放风筝"},
    {"image_id": "x.jpg", "caption": "没有参考"},
]
REFERENCES = {
    "a.jpg": ["一个男人骑着自行车"],
    "b.jpg": ["两只狗在雪地里玩耍", "雪地里的狗"],
    "c.jpg": ["孩子们在海边放风筝"],
    "d.jpg": ["没有描述"],
}
OTHERS = [{"image_id": name, "caption": "一个男人骑着自行车"} for name in ("a.jpg", "b.jpg", "c.jpg")]


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    return evaluated(tmp_path, PREDICTIONS, REFERENCES)


@pytest.fixture
def two_systems(tmp_path: Path) -> Evaluation:
    return evaluated(tmp_path, PREDICTIONS, REFERENCES, OTHERS)


def test_pictures_stand_in_the_order_of_their_cider(evaluation: Evaluation) -> None:
    html = render_report(evaluation)
    assert re.findall(r"<bdi>(\w\.jpg)</bdi>", html) == ["b.jpg", "c.jpg", "a.jpg"]


def test_the_page_shows_captions_references_tags_and_hypotheses(evaluation: Evaluation) -> None:
    text = "".join(Page(render_report(evaluation)).text)  # marks divide a caption
    for wanted in [
        "一只猫在桌子上",
        "一个男人骑着自行车",
        "雪地里的狗",
        "两只狗在玩",
        "2 hypotheses",
        "2 个候选",
        " (-3.25)",
    ]:
        assert wanted in text


def test_the_page_gives_scores_with_protocol_versions_and_hashes(evaluation: Evaluation) -> None:
    text = " ".join(Page(render_report(evaluation, title="第一次评测")).text)
    for scores in evaluation.systems[0].scores:
        assert scores.protocol in text
        assert scores.version in text
        assert " → ".join(scores.steps) in text
        for name, value in scores.overall.items():
            assert f"{value:.3f}" in text
            assert f"{scores.intervals[name].low:.3f}–{scores.intervals[name].high:.3f}" in text
    assert evaluation.systems[0].source.sha256 in text
    assert evaluation.references_source.sha256 in text
    assert "第一次评测" in text


@pytest.mark.parametrize(("language", "title"), [("zh", "图片描述评测"), ("en", "Caption scores")])
def test_a_page_without_a_title_has_one_in_its_language(
    language: str, title: str, evaluation: Evaluation
) -> None:
    html = render_report(evaluation, language=language)
    assert f"<title>{title}</title>" in html
    heading = html[html.index("<h1>") : html.index("</h1>")]
    assert [word in heading for word in ("图片描述评测", "Caption scores")] == [True, True]


def test_where_the_objects_come_from_is_said_in_both_languages(evaluation: Evaluation) -> None:
    html = render_report(evaluation)
    assert '<span class="zh" lang="zh">预测文件中的标签</span>' in html
    assert '<span class="en" lang="en">tags in the predictions</span>' in html


def test_left_out_pictures_are_announced(evaluation: Evaluation) -> None:
    text = "".join(Page(render_report(evaluation)).text)
    assert "p has no caption for 1 of 4 reference pictures. They were left out, not counted as 0." in text
    assert "p 没有描述参考文件 4 张图片中的 1 张。" in text
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
    tagged = {"image_id": "a", "caption": "狗", "tags": ["狗"], "alternatives": [{"caption": "狗"}] * 2}
    harmless = Page(render_report(evaluated(tmp_path, [tagged], {"a": ["狗"]})))
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in harmless.elements}
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    # title twice, id, caption, reference, detected object, hypothesis
    assert "".join(page.text).count(HOSTILE.replace("\u202e", "\ufffd")) == 7
    assert "\u202e" not in "".join(page.text)


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
    assert [image["alt"] for image in images] == ["两只狗在雪地里玩耍"]  # what a person says of it
    assert (images[0]["width"], images[0]["height"]) == ("360", "270")
    assert "loading" not in images[0]  # a picture that waits is missing from a screenshot of the whole page
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
    places = np.array([[10, 20, 110, 220], [0, 0, 40, 30]], np.float32)
    regions = Regions(
        image_id="b.jpg",
        width=400,
        height=300,
        features=np.zeros((2, 4), np.float16),
        boxes=places,
        geometry=box_geometry(places, 400, 300),
        object_ids=np.array([1, 0], np.int32),
        object_scores=np.array([0.9, 0.1], np.float32),
        global_feature=None,
    )
    meta = StoreMeta(
        backend="test", description={}, vocabulary=("cat", "<dog>"), vocabulary_id="own", feature_dim=4
    )
    write_shard(tmp_path / "regions.h5", [regions], meta)
    settings = replace(evaluation.settings, regions=tmp_path / "regions.h5")
    page = Page(render_report(replace(evaluation, settings=settings), images=tmp_path))
    assert [svg["viewbox"] for svg in page.all("svg") if svg["class"] == "regions"] == ["0 0 400 300"]
    boxes = [box for box in page.all("rect") if box.get("pointer-events")]
    assert [(box["x"], box["y"], box["width"]) for box in boxes] == [("10.0", "20.0", "100.0")]
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
    assert "2 of 3 pictures." in html


@pytest.mark.parametrize(
    ("n", "shown"), [(2, [0, 10]), (3, [0, 5, 10]), (6, [0, 2, 4, 6, 8, 10]), (20, range(11))]
)
def test_shown_ranks_are_evenly_spaced(n: int, shown: list[int]) -> None:
    ranked = [(rank, str(rank)) for rank in range(11)]
    assert [rank for rank, _ in spaced(ranked, n)] == list(shown)


def test_the_page_says_that_it_is_utf8(evaluation: Evaluation) -> None:
    assert '<meta charset="utf-8">' in render_report(evaluation)


def test_of_very_many_pictures_the_best_the_middle_and_the_worst_are_shown_and_some_between() -> None:
    groups = picture_groups([(rank, str(rank)) for rank in range(1, 1001)], 300)
    ranks = {group.key: [rank for rank, _ in group.pictures] for group in groups}
    assert list(ranks) == ["best", "above", "middle", "below", "worst"]
    assert ranks["best"] == list(range(1, GROUP + 1))
    assert ranks["middle"] == list(range(495, 507))
    assert ranks["worst"] == list(range(1001 - GROUP, 1001))
    everything = [rank for group in ranks.values() for rank in group]
    assert everything == sorted(set(everything))
    assert len(everything) == 300
    assert [group.key for group in groups if group.folded] == ["above", "below"]


@pytest.mark.parametrize(
    ("n", "most"), [(3, 2), (36, 300), (37, 300), (100, 5), (1000, 36), (1000, 37), (41, 40)]
)
def test_no_more_pictures_are_shown_than_asked_for_and_none_twice(n: int, most: int) -> None:
    groups = picture_groups([(rank, str(rank)) for rank in range(n)], most)
    ranks = [rank for group in groups for rank, _ in group.pictures]
    assert ranks == sorted(set(ranks))
    assert most - 1 <= len(ranks) <= most or len(ranks) == n
    assert {0, n - 1} <= set(ranks)


def test_what_caption_and_reference_share_is_marked_in_both(evaluation: Evaluation) -> None:
    html = render_report(evaluation)
    assert html.count('<mark class="n4">两只狗在雪地里玩耍</mark>') == 2
    assert '<bdi><mark class="n2">雪地里</mark>的<mark class="n1">狗</mark></bdi>' in html


def test_pieces_put_together_are_the_text() -> None:
    text = "一只狗在草地上"
    parts = pieces(text, [Mark(0, 2, 1), Mark(2, 3, 2), Mark(5, 7, 4)])
    assert parts == (("一只", 1), ("狗", 2), ("在草", 0), ("地上", 4))
    assert pieces(text, []) == ((text, 0),)
    assert pieces("", []) == ()


def test_the_page_holds_both_languages_and_opens_in_the_one_asked_for(evaluation: Evaluation) -> None:
    for language, other in (("zh", "en"), ("en", "zh")):
        page = Page(render_report(evaluation, language=language))
        assert page.all("html")[0]["lang"] == language
        chosen = {box["id"]: "checked" in box for box in page.all("input")}
        assert chosen == {language: True, other: False}
        assert {"得分", "Scores"} <= set(page.text)


def test_an_unknown_language_is_answered_with_those_there_are(evaluation: Evaluation) -> None:
    with pytest.raises(ValueError, match="unknown language 'fr'; choose from zh, en"):
        render_report(evaluation, language="fr")


@pytest.mark.parametrize("key", TEXTS)
def test_both_languages_of_a_text_take_the_same_values(key: str) -> None:
    zh, en = (sorted(re.findall(r"{(\w+)}", text)) for text in TEXTS[key])
    assert zh == en


def test_two_systems_are_compared(two_systems: Evaluation) -> None:
    html = render_report(two_systems)
    text = "".join(Page(html).text)
    assert "p against p1" in text
    test = two_systems.comparisons[0].tests["cider"]
    assert (test.wins, test.ties, test.losses) == (2, 0, 1)
    assert re.search(r"<td>2</td><td class=\"soft\">0</td><td>1</td>", html)
    assert f"+{test.difference:.3f}" in text


@pytest.mark.parametrize(
    ("p_value", "corrected", "text"),
    [
        (1 / 101, 1 / 101, "≤ 0.010"),  # no draw made as large a difference: more draws may give less
        (1 / 101, 3 / 101, "≤ 0.030"),
        (2 / 101, 2 / 101, "0.020"),
        (0.0002, 0.0006, "< 0.001"),
    ],
)
def test_a_p_value_that_more_draws_may_lower_is_given_as_a_bound(
    p_value: float, corrected: float, text: str
) -> None:
    test = PairedTest(
        difference=1.0,
        interval=Interval(0.9, 1.1),
        p_value=p_value,
        holm_p_value=corrected,
        wins=9,
        ties=0,
        losses=0,
    )
    assert p_value_text(test, resamples=100) == text


def test_the_pictures_that_systems_differ_on_most_come_first(two_systems: Evaluation) -> None:
    scores = [system.scores[0].per_image for system in two_systems.systems]
    distances = {name: abs(scores[0][name]["cider"] - scores[1][name]["cider"]) for name in scores[0]}
    assert [name for _, name in most_changed(two_systems)] == sorted(distances, key=lambda i: -distances[i])


def test_pictures_that_systems_do_not_differ_on_are_not_shown_as_changed(tmp_path: Path) -> None:
    alike = evaluated(tmp_path, PREDICTIONS, REFERENCES, PREDICTIONS)
    assert most_changed(alike) == []
    assert "Pictures the systems differ on most" not in render_report(alike)


def test_objects_are_shown_as_named_not_named_and_not_detected(evaluation: Evaluation) -> None:
    html = render_report(evaluation)
    assert '<li class="named"><bdi>猫</bdi> ✓</li>' in html
    assert "<li><bdi>自行车</bdi></li>" in html


def test_a_page_without_intervals_tests_or_cider_can_be_made(tmp_path: Path) -> None:
    bare = evaluated(tmp_path, PREDICTIONS, REFERENCES, OTHERS, resamples=0, metrics=("bleu",))
    text = "".join(Page(render_report(bare)).text)
    assert "bootstrap" not in text
    assert "significantly" not in text
    assert "Pictures by BLEU-1, best first" in text


def test_very_long_captions_and_names_do_not_make_a_long_page(tmp_path: Path) -> None:
    long = "狗" * 10_000
    predictions = [{"image_id": f"{name}{long}", "caption": long, "tags": [long]} for name in "ab"]
    references = {f"{name}{long}": [long] * 5 for name in "ab"}
    html = render_report(evaluated(tmp_path, predictions, references), title=long, command=long)
    assert len(html) < 100_000
    assert "狗" * LONGEST_CAPTION in html


def test_text_that_is_no_utf8_can_be_written(evaluation: Evaluation) -> None:
    page = render_report(evaluation, title="\udc80", command="\udc80")
    assert "\ufffd" in page.encode("utf-8").decode("utf-8")


def test_every_table_names_its_rows_and_columns(two_systems: Evaluation) -> None:
    for header in Page(render_report(two_systems)).all("th"):
        assert header["scope"] in ("row", "col", "rowgroup")
