from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.words import Word, attention_by_word, heat, importance_by_word, words_of
from captioning.attending import Attention, Importance

WORDS = [Word("一只", 0, 2), Word("狗", 2, 3), Word("。", 3, 4)]
PLACES = ((0, 1), (1, 2), (2, 3))
VALUES = np.array([[0.2, 0.0], [0.4, 0.2], [0.1, 0.6]], np.float32)
NONE = np.zeros(3, np.float32)


def test_words_stand_where_the_caption_has_them() -> None:
    assert words_of("一只 狗。") == [Word("一只", 0, 2), Word("狗", 3, 4), Word("。", 4, 5)]
    assert words_of("") == []


@given(st.text(max_size=30))
def test_the_words_of_any_caption_are_parts_of_it_in_order(text: str) -> None:
    words = words_of(text)
    assert all(text[word.start : word.end] == word.text != "" for word in words)
    assert [word.start for word in words] == sorted(word.start for word in words)


def test_attention_of_a_word_is_the_mean_of_its_pieces() -> None:
    found = attention_by_word(WORDS, Attention(places=PLACES, regions=VALUES, picture=NONE, tags=NONE))
    np.testing.assert_allclose(found, [[0.3, 0.1], [0.1, 0.6], [0, 0]], atol=1e-7)


def test_importance_of_a_word_is_the_sum_of_its_pieces() -> None:
    found = importance_by_word(WORDS, Importance(places=PLACES, regions=VALUES))
    np.testing.assert_allclose(found, [[0.6, 0.2], [0.1, 0.6], [0, 0]], atol=1e-7)


def test_attention_shows_what_is_above_the_mean_and_importance_what_is_above_nothing() -> None:
    values = np.array([0.1, 0.2, 0.6], np.float32)
    assert heat(values, "attention") == pytest.approx([0, 0, 1])
    assert heat(values, "importance") == pytest.approx([1 / 6, 1 / 3, 1])
    assert heat(-values, "importance") == [0, 0, 0]
    assert heat(np.full(3, 0.2, np.float32), "attention") == [0, 0, 0]
    assert heat(np.zeros(0, np.float32), "attention") == []
