"""Diversity of captions against figures worked by hand and a scorer that compares all with all."""

import math
import random
from collections import Counter

import pytest

from eval.diversity import Diversity, measure_diversity, repeats, self_bleu

NEAR = pytest.approx


def measured(*captions: str, unit: str = "words") -> Diversity:
    return measure_diversity(captions, [caption.split() for caption in captions], unit)


def test_distinct_n_is_different_n_grams_over_all_n_grams() -> None:
    # words a b a | a b: 2 of 5; pairs ab ba | ab: 2 of 3, none across captions
    found = measured("a b a", "a b")
    assert (found.n_captions, found.n_tokens, found.vocabulary) == (2, 5, 2)
    assert (found.distinct_1, found.distinct_2) == (2 / 5, 2 / 3)


def test_self_bleu_is_the_mean_of_captions_against_the_others() -> None:
    # "a b c d e": 4/5, 3/4, 2/3, 1/2; "a b c d f" likewise
    assert measured("a b c d e", "a b c d f").self_bleu_4 == NEAR((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4))


def test_self_bleu_counts_an_order_without_a_match_as_a_tenth_of_one() -> None:
    # "a b": 1 of 2 words, no pair of 1; there are no longer n-grams, each order as if one of one had failed
    expected = (1 / 2 * 0.1 * 0.1 * 0.1) ** (1 / 4)
    assert measured("a b", "a c").self_bleu_4 == NEAR(expected)


def test_self_bleu_punishes_a_caption_shorter_than_the_closest_other() -> None:
    full = measured("a b c d", "a b c d e", "a b c d e f g")
    # only "a b c d" is shorter than its closest neighbour, of 5 tokens: exp(1 - 5/4)
    second = 1.0  # "a b c d e" stands in the third caption, and a shorter caption is closest
    third = (5 / 7 * 4 / 6 * 3 / 5 * 2 / 4) ** (1 / 4)
    assert full.self_bleu_4 == NEAR((math.exp(-1 / 4) + second + third) / 3)


def brute_self_bleu(captions: list[list[str]]) -> float:
    """Every caption against every other, as the definition has it."""

    def counted(tokens: list[str], n: int) -> Counter[tuple[str, ...]]:
        return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))

    scores = []
    for index, tokens in enumerate(captions):
        others = captions[:index] + captions[index + 1 :]
        product = 1.0
        for n in range(1, 5):
            most: Counter[tuple[str, ...]] = Counter()
            for other in others:
                most |= counted(other, n)
            own = counted(tokens, n)
            product *= ((own & most).total() or 0.1) / max(1, own.total())
        closest = min((abs(len(other) - len(tokens)), len(other)) for other in others)[1]
        brevity = math.exp(min(0.0, 1 - closest / len(tokens))) if tokens else 0.0
        scores.append(brevity * product ** (1 / 4))
    return sum(scores) / len(scores)


@pytest.mark.parametrize("seed", range(50))
def test_self_bleu_is_that_of_comparing_all_with_all(seed: int) -> None:
    rng = random.Random(seed)
    captions = [rng.choices("abc", k=rng.randint(0, 9)) for _ in range(rng.randint(2, 8))]
    assert self_bleu(captions) == NEAR(brute_self_bleu(captions), abs=1e-12)


def test_equal_captions_are_wholly_alike() -> None:
    found = measured(*["a b c d e"] * 3)
    assert found.self_bleu_4 == NEAR(1)
    assert found.distinct_captions == 1 / 3


def test_a_single_caption_resembles_no_other() -> None:
    found = measured("a b c")
    assert (found.self_bleu_4, found.distinct_captions) == (0, 1)
    assert set(found.length_percentiles.values()) == {3}


def test_empty_captions_are_measured_too() -> None:
    found = measured("", "")
    assert (found.n_tokens, found.distinct_1, found.distinct_2, found.self_bleu_4) == (0, 0, 0, 0)
    assert found.lengths == {0: 2}


def test_captions_are_the_same_by_their_tokens() -> None:
    assert measured("a b", "a  b ", "b a").distinct_captions == 2 / 3


def test_lengths_are_counted_and_their_percentiles_interpolated() -> None:
    found = measured("a", "a b", "a b", "a b c d")
    assert found.lengths == {1: 1, 2: 2, 4: 1}
    assert found.mean_length == 9 / 4
    # places 0, 1, 2, 3 hold 1, 2, 2, 4
    wanted = {5: 1 + 0.15, 25: 1 + 0.75, 50: 2.0, 75: 2 + 2 * 0.25, 95: 2 + 2 * 0.85}
    assert found.length_percentiles == NEAR(wanted)


@pytest.mark.parametrize(
    "caption",
    ["两个 还 在 在 海滩 上", "有 三台 电脑 和 一台 打印机 一台 打印机", "a b c d a b c d"],
)
def test_an_n_gram_followed_by_itself_is_a_repetition(caption: str) -> None:
    assert repeats(caption.split())


@pytest.mark.parametrize("caption", ["", "狗", "一个 男人 和 一个 女人", "a b c d e a b c d e"])
def test_an_n_gram_that_comes_again_later_or_has_five_tokens_is_none(caption: str) -> None:
    assert not repeats(caption.split())


def test_a_doubled_character_is_no_repetition_but_a_doubled_word_is() -> None:
    texts = ["高高的楼", "一个一个人"]
    by_character = measure_diversity(texts, [list(text) for text in texts], "characters")
    assert by_character.repetition == 1 / 2
    assert measured("高 高 的 楼", "一 个 一 个 人").repetition == 1


def test_unknown_characters_are_found_in_the_text_however_it_is_cut() -> None:
    texts = ["一只[UNK]", "一只狗"]
    assert measure_diversity(texts, [list(text) for text in texts], "characters").unknown == 1 / 2


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(ValueError, match="no captions to measure"):
        measured()
