from __future__ import annotations

import numpy as np
import pytest

from app.charts import bars, curves, dots, histogram
from app.figures import Bin, Count, Mean, length_bins, score_bins, score_by_boxes, tag_counts, word_counts
from app.index import Index
from tests.app.small_index import small_index

IDS = ["a", "b", "c", "d"]
SAID = {"a": "一只狗和一只狗", "b": "一只猫", "c": "猫"}
ALL = np.arange(4, dtype=np.int32)


@pytest.fixture(scope="module")
def index() -> Index:
    return small_index(
        IDS,
        {"one": SAID},
        {"a": ["一只狗"], "b": ["一只猫"], "c": ["狗"]},
        {"a": ["狗"], "b": ["猫", "狗"]},
        counts={"a": 2, "b": 2, "c": 5},
    )


def test_every_picture_with_a_score_is_in_a_bin(index: Index) -> None:
    bins = score_bins(index.systems[0], "cider", ALL)
    assert sum(each.count for each in bins) == 3
    assert bins[0].low == 0
    assert all(one.high == other.low for one, other in zip(bins, bins[1:], strict=False))
    top = max(index.systems[0].scores(row)["cider"] for row in range(3))
    assert bins[-1].high >= top
    assert [each.high for each in score_bins(index.systems[0], "cider", ALL[:1])] == [
        each.high for each in bins
    ]


def test_lengths_are_counted_word_by_word_and_no_caption_has_none(index: Index) -> None:
    assert index.systems[0].lengths.tolist() == [5, 2, 1, 0]
    assert [each.count for each in length_bins(index.systems[0], ALL)] == [0, 1, 1, 0, 0, 1]


def test_a_word_counts_once_a_caption_and_a_tag_once_a_picture(index: Index) -> None:
    assert word_counts(index, index.systems[0], ALL) == [
        Count("一只", 2),
        Count("猫", 2),
        Count("狗", 1),
        Count("和", 1),
    ]
    assert word_counts(index, index.systems[0], ALL[3:]) == []
    assert tag_counts(index, ALL) == [Count("狗", 2), Count("猫", 1)]
    assert tag_counts(index, ALL[1:2]) == [Count("狗", 1), Count("猫", 1)]


def test_pictures_with_as_many_boxes_are_averaged(index: Index) -> None:
    scores = [index.systems[0].scores(row)["rouge-l"] for row in range(3)]
    assert score_by_boxes(index, index.systems[0], "rouge-l", ALL) == [
        Mean(2, pytest.approx((scores[0] + scores[1]) / 2), 2),
        Mean(5, pytest.approx(scores[2]), 1),
    ]


def test_charts_are_valid_and_hold_what_they_were_given() -> None:
    charts = [
        histogram([Bin(0, 1, 3)], "CIDEr", "图片"),
        bars([Count("狗\u202e", 2)], "标签", "图片"),
        dots([Mean(2, 0.5, 3)], "x", "y", "n"),
        curves({"run": [(1, 0.5)]}, "loss", "step", "run"),
    ]
    held = [next(iter(chart.to_dict()["datasets"].values())) for chart in charts]
    assert held == [
        [{"low": 0, "high": 1, "count": 3}],
        [{"text": "狗\ufffd", "count": 2}],
        [{"value": 2, "mean": 0.5, "count": 3}],
        [{"run": "run", "step": 1, "value": 0.5}],
    ]
