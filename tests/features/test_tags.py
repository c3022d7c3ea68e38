from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from features.backends.mini import VOC_CLASSES
from features.backends.torchvision_fpn import COCO_CLASSES
from features.schema import Regions
from features.tags import Lexicon, LexiconError, Tag, tags_of
from tests.features.fake import make_regions

HEAD = "# Test lexicon, version 3\nvocab\tid\ten\tzh\tcanonical_id\tdrop\n"
ROWS = "t-3\t0\tman\t男人\t0\t0\nt-3\t1\tguy\t家伙\t0\t0\nt-3\t2\tpart\t\t2\t1\n"
KNOWN_WRONG = ("老鼠", "遥远", "班长", "下沉", "热的狗", "迷", "橙色")
"""Dictionary senses that pictures do not have, as the word list of Mengzi-Oscar gives them."""


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
    lexicon = Lexicon.load("zh", vocabulary_id)
    lexicon.check(classes)
    assert len(set(lexicon.texts)) == len(classes)
    for text in lexicon.texts:
        assert text is not None
        assert re.fullmatch(r"[\u4e00-\u9fff]+", text)
        assert not any(wrong in text for wrong in KNOWN_WRONG)


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
    with pytest.raises(LexiconError, match="vocabulary 'vg-1600'; there are coco-80, voc-20$"):
        Lexicon.load("zh", "vg-1600")


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
    ],
)
def test_a_broken_lexicon_is_refused_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(LexiconError, match=re.escape(reason)):
        Lexicon.load(write(tmp_path / "t.tsv", text), "t-3")


def test_a_lexicon_of_other_classes_is_refused() -> None:
    lexicon = Lexicon.load("zh", "voc-20")
    with pytest.raises(LexiconError, match="names 20 classes .voc-20., the regions have 80"):
        lexicon.check(COCO_CLASSES)
    with pytest.raises(LexiconError, match="calls class 1 'bicycle', the regions call it 'bike'"):
        lexicon.check([VOC_CLASSES[0], "bike", *VOC_CLASSES[2:]])
