"""Marks lie on the characters that an n-gram in common covers, whatever the protocol did to the text."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.overlap import Mark, overlap_marks, token_places

WORDS = st.lists(st.sampled_from("猫狗看见追跑"), max_size=12)


def marked(text: str, tokens: list[str], *others: list[str]) -> list[tuple[str, int]]:
    return [(text[mark.start : mark.end], mark.n) for mark in overlap_marks(text, tokens, others)]


def test_the_longest_ngram_in_common_is_marked_as_one() -> None:
    text, tokens = "一只狗在草地上奔跑", ["一只", "狗", "在", "草地", "上", "奔跑"]
    reference = ["草地", "上", "一只", "狗", "在", "玩耍"]
    assert marked(text, tokens, reference) == [("一只狗在", 3), ("草地上", 2)]


def test_what_no_reference_holds_carries_no_mark() -> None:
    assert overlap_marks("一只猫", ["一只", "猫"], [["狗"], []]) == ()
    assert overlap_marks("一只猫", ["一只", "猫"], []) == ()
    assert overlap_marks("", [], [["狗"]]) == ()


def test_each_reference_adds_its_matches() -> None:
    assert marked("黑狗追猫", ["黑", "狗", "追", "猫"], ["黑", "狗"], ["追", "猫"]) == [
        ("黑狗", 2),
        ("追猫", 2),
    ]


def test_words_side_by_side_that_the_reference_has_apart_are_marked_apart() -> None:
    assert marked("狗猫", ["狗", "猫"], ["猫", "追", "狗"]) == [("狗", 1), ("猫", 1)]


def test_a_repeated_word_is_marked_as_often_as_one_reference_has_it() -> None:
    assert marked("狗狗狗", ["狗"] * 3, ["狗", "和", "狗"]) == [("狗", 1), ("狗", 1)]
    assert overlap_marks("狗狗狗", ["狗"] * 3, [["狗"], ["狗"]]) == (Mark(0, 1, 1),)


def test_a_repeated_word_is_marked_where_it_stands_in_the_longer_match() -> None:
    assert overlap_marks("狗看一只狗", ["狗", "看", "一只", "狗"], [["一只", "狗"]]) == (Mark(2, 5, 2),)


def test_matches_longer_than_four_tokens_are_one_mark_of_four() -> None:
    tokens = list("甲乙丙丁戊己")
    assert overlap_marks("甲乙丙丁戊己", tokens, [tokens]) == (Mark(0, 6, 4),)


@pytest.mark.parametrize(
    ("text", "tokens", "places"),
    [
        ("一只 狗", ["一只", "狗"], [(0, 2), (3, 4)]),
        ("“狗”，跑。", ["狗", "，", "跑"], [(1, 2), (3, 4), (4, 5)]),
        ("你。好", ["你好"], [(0, 3)]),
        ("TV和tv", ["tv", "和", "tv"], [(0, 2), (2, 3), (3, 5)]),
        ("cafe\u0301 x", ["caf\u00e9", "x"], [(0, 5), (6, 7)]),
        ("caf\u00e9 x", ["caf\u00e9", "x"], [(0, 4), (5, 6)]),
        ("Straße", ["straße"], [(0, 6)]),
        ("a (b)", ["a", "-lrb-", "b", "-rrb-"], [(0, 1), None, (3, 4), None]),
        ("😀狗", ["😀", "狗"], [(0, 1), (1, 2)]),
    ],
)
def test_tokens_are_found_in_their_text(
    text: str, tokens: list[str], places: list[tuple[int, int] | None]
) -> None:
    assert token_places(text, tokens) == places


def test_markup_in_a_caption_is_text_to_the_marks() -> None:
    text = "<b>狗</b>&amp;"
    assert marked(text, ["<b>", "狗", "</b>", "&", "amp", ";"], ["狗", "</b>"]) == [("狗</b>", 2)]


@settings(deadline=None)
@given(text=st.text(max_size=20), other=st.text(max_size=20))
def test_marks_are_in_order_apart_and_inside_the_text(text: str, other: str) -> None:
    marks = overlap_marks(text, list("".join(text.lower().split())), [list(other.lower())])
    borders = [border for mark in marks for border in (mark.start, mark.end)]
    assert borders == sorted(borders)
    assert all(mark.start < mark.end and 1 <= mark.n <= 4 for mark in marks)
    assert not borders or (borders[0] >= 0 and borders[-1] <= len(text))


@settings(deadline=None)
@given(tokens=WORDS, others=st.lists(WORDS, max_size=1))
def test_every_word_that_bleu_1_counts_is_marked_and_none_that_no_reference_holds(
    tokens: list[str], others: list[list[str]]
) -> None:
    other = others[0] if others else []
    words = Counter("".join(part for part, _ in marked("".join(tokens), tokens, other)))
    assert words >= Counter(tokens) & Counter(other)
    assert words.keys() <= set(other)


def test_a_word_that_two_matches_share_is_marked_in_both() -> None:
    assert marked("狗猫猫狗", list("狗猫猫狗"), list("狗猫狗")) == [("狗猫", 2), ("猫狗", 2)]
