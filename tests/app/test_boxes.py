from __future__ import annotations

import pytest

from app.boxes import best_tags, filter_rows, region_names, select_rows
from features.tags import Lexicon, Tag
from tests.app.small_collection import DOG, PERSON, VOCABULARY, regions

NAMES = [Tag("狗", "dog", 0.9), Tag("人", "person", 0.6), Tag("狗", "dog", 0.1)]


def test_regions_are_named_in_chinese_else_in_english() -> None:
    found = regions("a.jpg", [DOG, PERSON, DOG], [0.9, 0.6, 0.1])
    lexicon = Lexicon.load("zh", "voc-20")
    assert [tag.text for tag in region_names(found, lexicon, VOCABULARY)] == ["狗", "人", "狗"]
    assert [tag.text for tag in region_names(found, None, VOCABULARY)] == ["dog", "person", "dog"]


def test_boxes_are_chosen_by_score_and_tag() -> None:
    assert filter_rows(NAMES, 0.0, []) == [0, 1, 2]
    assert filter_rows(NAMES, 0.6, []) == [0, 1]
    assert filter_rows(NAMES, 0.0, ["狗"]) == [0, 2]
    assert filter_rows(NAMES, 1.0, []) == []


def test_tags_are_listed_once_with_their_best_score() -> None:
    assert [(tag.text, tag.score) for tag in best_tags(list(reversed(NAMES)), 0.0)] == [
        ("狗", 0.9),
        ("人", 0.6),
    ]


def test_selected_rows_keep_box_and_score_together() -> None:
    found = select_rows(regions("a.jpg", [DOG, PERSON, DOG], [0.9, 0.6, 0.1]), [2, 1])
    assert found.boxes[:, 0].tolist() == [125.0, 65.0]
    assert found.object_scores.tolist() == pytest.approx([0.1, 0.6])
