"""What was there before."""

from __future__ import annotations

import random
import sys

import pytest

from captioning.duplicates import ExactDuplicates, NearDuplicates, NearDuplicatesAmong, grams_of, jaccard

pytest.importorskip("datasketch")


def test_grams_overlap_and_a_short_text_is_its_own() -> None:
    assert grams_of("一只狗在跑") == {"一只狗", "只狗在", "狗在跑"}
    assert grams_of("狗") == {"狗"}
    assert jaccard(grams_of("一只狗在跑"), grams_of("一只狗在")) == 2 / 3


def test_only_the_same_text_is_an_exact_duplicate() -> None:
    exact = ExactDuplicates()
    assert [exact.find(text) for text in ("狗", "狗 ", "狗", "猫")] == [None, None, "狗", None]


def test_an_exact_duplicate_is_of_the_same_group() -> None:
    exact = ExactDuplicates()
    found = [
        exact.find("狗", *among) for among in ((), ("a",), ("b",), ("a", "狗"), ("a",), ("a狗",), ("", "a"))
    ]
    assert found == [None, None, None, None, "狗", None, None]


def test_a_near_duplicate_within_a_group_names_the_first_text_that_is_alike() -> None:
    first, second = "一只狗在草地", "一只狗在草原"  # 3 of 5 grams in common
    near = NearDuplicatesAmong(0.6)
    assert [near.find(first, "a"), near.find(second, "a"), near.find(second, "b")] == [None, first, None]
    near = NearDuplicatesAmong(0.61)
    assert [near.find(first, "a"), near.find(second, "a")] == [None, None]


def test_a_near_duplicate_names_the_first_text_that_is_alike() -> None:
    near = NearDuplicates(0.4)
    texts = ["一只狗在草地上奔跑", "一只狗在草地上玩耍", "一只狗在草地上奔跑着", "两个人"]
    assert [near.find(text) for text in texts] == [None, texts[0], texts[0], None]


def test_of_several_texts_that_are_alike_the_first_is_named() -> None:
    first, second = "两只黄色的大狗在草地上奔跑着玩", "一只黄色的大狗在草地上奔跑着闹"
    between = "一只黄色的大狗在草地上奔跑着玩"
    near = NearDuplicates(0.8)
    assert [near.find(text) for text in (first, second, between)] == [None, None, first]


def test_exactly_the_similarity_is_alike_and_less_is_not() -> None:
    first, second = "一只狗在草地", "一只狗在草原"  # 3 of 5 grams in common
    assert NearDuplicates(0.6).find(first) is None
    for similarity, wanted in ((0.6, first), (0.61, None)):
        near = NearDuplicates(similarity)
        near.find(first)
        assert near.find(second) == wanted


@pytest.mark.parametrize("similarity", [0.5, 0.8])
def test_nearly_all_that_a_full_comparison_finds_is_found_and_nothing_else(similarity: float) -> None:
    draw = random.Random(5)
    texts = []
    for _ in range(300):
        text = "".join(draw.choices("一只狗猫在草地上跑玩人红色的", k=20))
        texts += [text, text[: draw.randrange(12, 20)] + "".join(draw.choices("车船", k=draw.randrange(3)))]
    near = NearDuplicates(similarity)
    found = {text for text in texts if near.find(text) is not None}
    grams = [grams_of(text) for text in texts]
    alike = {
        text
        for place, text in enumerate(texts)
        if any(jaccard(grams[place], other) >= similarity for other in grams[:place])
    }
    assert found <= alike
    assert len(found) >= 0.95 * len(alike) > 50


def test_without_datasketch_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tushuo\[cleaning\]', or duplicates=exact"):
        NearDuplicates(0.8)
