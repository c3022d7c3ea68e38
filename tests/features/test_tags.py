from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from torchvision.models import EfficientNet_B0_Weights
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from features import tags
from features.schema import Regions
from features.tags import Lexicon, LexiconError, Tag, tags_of
from features.vocabularies import CLASS_LISTS, COCO_CLASSES, VOC_CLASSES, load_vocabulary
from tests.features.fake import make_regions

HEAD = "# Test lexicon, version 3\nvocab\tid\ten\tzh\tcanonical_id\tdrop\n"
ROWS = "t-3\t0\tman\t男人\t0\t0\nt-3\t1\tguy\t家伙\t0\t0\nt-3\t2\tpart\t\t2\t1\n"
LEXICONS = sorted(Path(tags.__file__).with_name("lexicons").glob("*.tsv"))
OBJECTS = [path for path in LEXICONS if path.stem != "attributes"]
LATIN = {"CD播放机", "DVD播放机", "T恤", "V领"}
"""The names that are not Chinese characters throughout."""
KNOWN_WRONG = {
    "remote": "遥远的",
    "sink": "下沉",
    "monitor": "班长",
    "console": "安慰",
    "back": "返回",
    "background": "出身背景",
    "sign": "签名",
    "mouse": "老鼠",
    "orange": "橙色",
    "fan": "迷",
    "court": "法院",
    "star": "明星",
    "can": "可以",
    "suit": "适合",
    "blind": "失明的",
    "vanity": "自负",
    "tank": "坦克",
    "stick": "粘贴",
    "short": "短的",
    "watch": "看",
    "letter": "信",
    "bar": "酒吧",
}
"""Dictionary senses that pictures do not have, as the word list of Mengzi-Oscar gives them."""
SENSES = {
    "can": "罐头",
    "court": "球场",
    "fan": "风扇",
    "glass": "玻璃杯",
    "glasses": "眼镜",
    "match": "比赛",  # of tennis: Visual Genome shows hardly a matchstick
    "monitor": "显示器",
    "mouse": "鼠标",
    "orange": "橙子",
    "remote": "遥控器",
    "seal": "海豹",
    "shorts": "短裤",
    "sign": "标志牌",
    "sink": "水槽",
    "star": "星星",
    "stick": "棍子",
    "suit": "西装",
    "tank": "水箱",
    "turkey": "火鸡",
    "watch": "手表",
    "dvd player": "DVD播放机",
    "background": None,
    "reflection": None,
}


def read_rows(path: Path) -> list[dict[str, str]]:
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def with_objects(ids: list[int], scores: list[float]) -> Regions:
    return dataclasses.replace(
        make_regions("a.jpg", len(ids)),
        object_ids=np.array(ids, np.int32),
        object_scores=np.array(scores, np.float32),
    )


@pytest.mark.parametrize(("vocabulary_id", "classes"), [("voc-20", VOC_CLASSES), ("coco-80", COCO_CLASSES)])
def test_every_class_of_our_detectors_has_a_chinese_name_of_its_own(
    vocabulary_id: str, classes: tuple[str, ...]
) -> None:
    lexicon = Lexicon.load("zh", vocabulary_id, classes)
    assert lexicon.english == classes
    assert len(set(lexicon.texts)) == len(classes)
    assert None not in lexicon.texts


@pytest.mark.parametrize("path", LEXICONS, ids=lambda path: path.stem)
def test_a_class_has_a_name_in_chinese_without_spaces(path: Path) -> None:
    for row in read_rows(path):
        assert row["zh"] in LATIN or re.fullmatch(r"[\u3400-\u4dbf\u4e00-\u9fff]+", row["zh"]), row


@pytest.mark.parametrize("path", OBJECTS, ids=lambda path: path.stem)
def test_no_class_is_called_what_pictures_do_not_show(path: Path) -> None:
    wrong = set(KNOWN_WRONG.items())
    if path.stem == "imagenet-1000":
        wrong.discard(("tank", "坦克"))  # ImageNet's is the military one
    assert not wrong & {(row["en"], row["zh"]) for row in read_rows(path)}


@pytest.mark.parametrize("path", LEXICONS, ids=lambda path: path.stem)
def test_classes_share_a_canonical_class_exactly_if_they_share_a_name(path: Path) -> None:
    rows = read_rows(path)
    canonical_of: dict[str, str] = {}
    for row in rows:
        canonical = rows[int(row["canonical_id"])]
        assert canonical["canonical_id"] == canonical["id"], row
        assert canonical["drop"] == row["drop"], row
        if row["drop"] == "0":
            assert canonical["zh"] == row["zh"], row
            assert canonical_of.setdefault(row["zh"], canonical["id"]) == canonical["id"], row


@pytest.mark.parametrize("stem", ["attributes", "objects"])
def test_a_glossary_is_sorted_and_belongs_to_no_class_list(stem: str) -> None:
    rows = read_rows(next(path for path in LEXICONS if path.stem == stem))
    names = [row["en"] for row in rows]
    assert names == sorted(names)
    assert {row["vocab"] for row in rows} == {"words"}


@pytest.mark.parametrize(("name", "text"), SENSES.items())
def test_a_word_of_visual_genome_is_translated_in_the_sense_of_its_pictures(
    name: str, text: str | None
) -> None:
    assert Lexicon.load("zh", "vg-1600", [name]).texts == (text,)


@pytest.mark.parametrize(
    "names",
    [
        "man guy men gentleman male",
        "boy boys",
        "television tv",
        "couch sofa",
        "woman lady ladies women",
        "cow ox",
    ],
)
def test_synonyms_and_plurals_of_visual_genome_are_one_tag(names: str) -> None:
    assert len(set(Lexicon.load("zh", "vinvl-1594", names.split()).texts)) == 1


def test_coco_ids_count_torchvisions_named_categories_without_gaps() -> None:
    categories = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    assert len(COCO_CLASSES) == 80
    assert list(COCO_CLASSES) == [name for name in categories[1:] if name != "N/A"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mouse", "鼠标"),
        ("remote", "遥控器"),
        ("hot dog", "热狗"),
        ("tv", "电视"),
        ("sink", "水槽"),
        ("kite", "风筝"),
    ],
)
def test_a_word_is_translated_in_the_sense_of_pictures(name: str, text: str) -> None:
    assert Lexicon.load("zh", "coco-80").chinese(COCO_CLASSES.index(name)) == text


def test_synonyms_share_a_name_and_dropped_classes_have_none(tmp_path: Path) -> None:
    path = write(tmp_path / "t.tsv", HEAD + ROWS)
    lexicon = Lexicon.load(path, "t-3")
    assert lexicon.texts == ("男人", "男人", None)
    assert (lexicon.version, lexicon.english) == (3, ("man", "guy", "part"))
    assert lexicon.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_tags_are_the_best_of_each_word_in_the_order_of_their_scores(tmp_path: Path) -> None:
    lexicon = Lexicon.load(write(tmp_path / "t.tsv", HEAD + ROWS + "t-3\t3\tdog\t狗\t3\t0\n"), "t-3")
    regions = with_objects([3, 1, 2, 0, 3], [0.9, 0.75, 0.5, 0.25, 0.125])
    assert tags_of(regions, lexicon) == [Tag("狗", "dog", pytest.approx(0.9)), Tag("男人", "guy", 0.75)]
    assert [t.text for t in tags_of(regions, lexicon, keep_duplicates=True)] == ["狗", "男人", "男人"]
    assert [t.text for t in tags_of(regions, lexicon, min_score=0.1, keep_duplicates=True)][-1] == "狗"
    assert [t.text for t in tags_of(regions, lexicon, max_tags=1)] == ["狗"]
    assert tags_of(with_objects([], []), lexicon) == []


def test_an_unknown_vocabulary_is_answered_with_those_that_exist() -> None:
    with pytest.raises(LexiconError, match="vocabulary 'lvis'; there are coco-80, .*vg-1600, .*voc-20$"):
        Lexicon.load("zh", "lvis")


def test_a_glossary_is_read_in_the_order_of_the_classes() -> None:
    lexicon = Lexicon.load("zh", "vg-1600", ["dog", "yolk", "dogs"])
    assert lexicon.english == ("dog", "yolk", "dogs")
    assert lexicon.texts == ("狗", "蛋黄", "狗")


def test_a_glossary_names_nothing_without_the_classes() -> None:
    with pytest.raises(LexiconError, match="knows the words of vg-1600 but not their order; give the class"):
        Lexicon.load("zh", "vg-1600")


@pytest.mark.parametrize("vocabulary_id", ["vg-1600", "vg-400-attributes", "vinvl-1594"])
def test_every_class_of_a_published_list_has_a_word(vocabulary_id: str) -> None:
    if not CLASS_LISTS[vocabulary_id].path.is_file():
        pytest.skip("the published list is not on this machine")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Lexicon.load("zh", vocabulary_id, load_vocabulary(vocabulary_id))


def test_attributes_have_the_form_that_stands_before_a_noun() -> None:
    names = ["gray", "wooden", "standing", "orange", "short"]
    lexicon = Lexicon.load("zh", "vg-400-attributes", names)
    assert lexicon.texts == ("灰色", "木制", "站立", "橙色", "短")
    rows = read_rows(next(path for path in LEXICONS if path.stem == "attributes"))
    assert not [row for row in rows if row["zh"].endswith("的")]


def test_imagenet_ids_are_those_of_torchvisions_classifiers() -> None:
    categories = EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"]
    lexicon = Lexicon.load("zh", "imagenet-1000", categories)
    names = dict(zip(categories, lexicon.texts, strict=True))
    assert names["crane"] != names["crane bird"]
    assert names["maillot"] == names["maillot tank suit"]
    assert (names["mouse"], names["remote control"], names["matchstick"]) == ("鼠标", "遥控器", "火柴")
    assert (names["pirate"], names["file"], names["muzzle"]) == ("海盗船", "文件柜", "口套")


def test_a_class_that_a_glossary_lacks_keeps_its_english_name_and_is_warned_about() -> None:
    classes = ["dog", *(f"gadget {number}" for number in range(6))]
    with pytest.warns(UserWarning, match="no word for 6 of 7 classes of vg-1600 .gadget 0, .*gadget 4, ….:"):
        lexicon = Lexicon.load("zh", "vg-1600", classes)
    assert lexicon.texts == ("狗", *classes[1:])


def test_the_word_list_of_mengzi_oscar_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "chinese_label.json", json.dumps({"sink": "下沉", "dog": "狗", "cat": "猫 "}))
    lexicon = Lexicon.load(path, "vinvl-1594", ["dog", "cat", "sink"])
    assert lexicon.texts == ("狗", "猫", "下沉")
    assert (lexicon.name, lexicon.version) == (str(path), 0)
    assert lexicon.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON (Expecting property name"),
        ("[]", "not a lexicon; wanted is one JSON object of English: Chinese"),
        ('{"dog": " "}', "'dog' is called ' '; wanted is a Chinese name"),
        ('{"dog": 3}', "'dog' is called 3; wanted is a Chinese name"),
    ],
)
def test_a_broken_word_list_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(LexiconError, match=re.escape(reason)):
        Lexicon.load(write(tmp_path / "t.json", text), "t-3", ["dog"])


def test_a_lexicon_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_bytes("狗".encode("gb18030"))
    with pytest.raises(LexiconError, match="t.tsv: not UTF-8 .* at byte 0"):
        Lexicon.load(path, "t-3")


def test_a_missing_file_is_answered_with_what_is_included(tmp_path: Path) -> None:
    with pytest.raises(LexiconError, match="mengzi: no such lexicon file; 'zh' is the one"):
        Lexicon.load(tmp_path / "mengzi", "voc-20")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a lexicon; wanted is a first line"),
        (ROWS, "not a lexicon; wanted is a first line"),
        (HEAD + "t-3\t0\tman\t男人\t0\n", "line 3: wanted are 6 columns"),
        (HEAD + "t-3\t0\tman\t男人\t0\tyes\n", "line 3: wanted are 6 columns, drop being 0 or 1"),
        (
            HEAD + ROWS.replace("\t1\tguy", "\t5\tguy"),
            "line 4: found class 5 of 't-3', wanted class 1 of 't-3'",
        ),
        (
            HEAD + ROWS.replace("t-3\t2", "voc-20\t2"),
            "line 5: found class 2 of 'voc-20', wanted class 2 of 't-3'",
        ),
        (HEAD + ROWS.replace("家伙\t0", "家伙\t9"), "line 4: canonical_id '9' is no class"),
        (HEAD + ROWS.replace("男人", ""), "line 3: class 'man' has no Chinese name"),
        (HEAD + ROWS.replace("guy", "man"), "line 4: class 'man' is named a second time"),
    ],
)
def test_a_broken_lexicon_is_refused_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(LexiconError, match=re.escape(reason)):
        Lexicon.load(write(tmp_path / "t.tsv", text), "t-3")


def test_a_lexicon_of_other_classes_is_refused() -> None:
    with pytest.raises(LexiconError, match="names 20 classes .voc-20., the regions have 80"):
        Lexicon.load("zh", "voc-20", COCO_CLASSES)
    with pytest.raises(LexiconError, match="calls class 1 'bicycle', the regions call it 'bike'"):
        Lexicon.load("zh", "voc-20", [VOC_CLASSES[0], "bike", *VOC_CLASSES[2:]])
