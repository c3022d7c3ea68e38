"""Rewards worked by hand, and what decides them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from captioning.frequencies import reward_protocol, reward_tokens, write_frequencies
from captioning.records import CaptionRecord
from captioning.rewards import Rewards
from captioning.scst_config import ScstConfig
from eval.ngrams import DocumentFrequencies

CHARS = ScstConfig(segmenter="chars")


def records(**captions: list[str]) -> list[CaptionRecord]:
    return [
        CaptionRecord(image_id=name, captions=tuple(texts), split="train") for name, texts in captions.items()
    ]


def test_rewards_of_two_pictures_by_hand() -> None:
    rewards = Rewards(records(a=["狗"], b=["猫"]), CHARS)
    # 狗 <eos>: one word and one pair, each in one picture of two; <eos> alone is in both and weighs nothing.
    right = 10 * (1 + 1) / 4
    # 狗 狗 <eos>: two words, one of which counts; two pairs, one of which is right; one token too many.
    twice = 10 * (1 / 2 + 1 / math.sqrt(2)) / 4 * math.exp(-1 / 72)
    scores = rewards.score(["b", "a"], [["猫", "狗"], ["狗", "狗狗", "猫", "", "狗"]])
    assert scores[0] == pytest.approx([right, 0])
    assert scores[1] == pytest.approx([right, twice, 0, 0, right])


def test_the_end_of_a_caption_is_rewarded() -> None:
    rewards = Rewards(records(a=["狗在跑"], b=["猫"], c=["天"]), CHARS)
    [[whole, broken_off]] = rewards.score(["a"], [["狗在跑", "狗在"]])
    # Of 狗 在 <eos> one pair of two is in the reference, and no run of three.
    assert whole == pytest.approx(10)
    assert broken_off == pytest.approx(
        10 * (math.sqrt(2 / 3) + 1 / math.sqrt(2) / math.sqrt(3)) / 4 * math.exp(-1 / 72)
    )


def test_words_are_rewarded_unless_characters_are_asked_for() -> None:
    pictures = records(a=["自行车"], b=["猫"])
    assert Rewards(pictures, CHARS).score(["a"], [["自行"]])[0][0] > 0
    assert Rewards(pictures, ScstConfig()).score(["a"], [["自行"]]) == [[0]]


def test_document_frequencies_of_a_file_weigh_the_n_grams(tmp_path: Path) -> None:
    protocol = reward_protocol("chars")
    counted = DocumentFrequencies.of([reward_tokens(protocol, [text]) for text in ("狗", "狗", "猫", "天")])
    write_frequencies(tmp_path / "f.gz", counted, protocol, [])
    pictures = records(a=["狗跑"], b=["猫"])
    own = Rewards(pictures, CHARS)
    given = Rewards(pictures, ScstConfig(segmenter="chars", frequencies=tmp_path / "f.gz"))
    # 狗 is in two pictures of four, 跑 in none, which weighs as much as one: log 2 and log 4.
    cosine = math.log(2) / math.hypot(math.log(2), math.log(4))
    [[reward]] = given.score(["a"], [["狗"]])
    pair = 0  # 狗 <eos> is not in 狗 跑 <eos>
    assert reward == pytest.approx(10 * (cosine + pair) / 4 * math.exp(-1 / 72))
    assert own.score(["a"], [["狗"]]) != [[reward]]
    assert "document frequencies of 4 pictures" in str(given)
    assert own.identity != given.identity


def test_document_frequencies_for_another_segmenter_are_refused(tmp_path: Path) -> None:
    write_frequencies(
        tmp_path / "f.gz", DocumentFrequencies(counts={}, n_images=1), reward_protocol("chars"), []
    )
    with pytest.raises(ValueError, match="counted under protocol 'chars', captions are cut under 'aic-icc'"):
        Rewards(records(a=["狗"]), ScstConfig(frequencies=tmp_path / "f.gz"))
