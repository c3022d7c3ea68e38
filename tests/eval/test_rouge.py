"""The longest common subsequence by bits is that of the table."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from eval.metrics import Tokens
from eval.rouge import common_lengths, rouge

SENTENCES = st.lists(st.sampled_from("abcd"), max_size=80)


def plain_common_length(first: Tokens, second: Tokens) -> int:
    """Dynamic programming, row by row."""
    row = [0] * (len(second) + 1)
    for token in first:
        diagonal = 0
        for index, other in enumerate(second, 1):
            above = row[index]
            row[index] = diagonal + 1 if token == other else max(above, row[index - 1])
            diagonal = above
    return row[-1]


@settings(deadline=None)
@given(SENTENCES, st.lists(SENTENCES, max_size=3))
def test_common_lengths_are_those_of_dynamic_programming(candidate: Tokens, references: list[Tokens]) -> None:
    wanted = [plain_common_length(candidate, reference) for reference in references]
    assert common_lengths(candidate, references) == wanted


def test_a_caption_of_ten_thousand_characters_is_scored() -> None:
    rng = random.Random(0)
    caption = rng.choices("天地玄黄宇宙洪荒", k=10_000)
    half = caption[::2]
    # all of the reference, half of the caption
    assert rouge([caption], [[half]]).overall["rouge-l"] == (1 + 1.44) * 0.5 / (1 + 1.44 * 0.5)


def test_a_caption_and_a_reference_without_tokens_share_nothing() -> None:
    assert rouge([[], ["a"]], [[["a"], []], [["a"], []]]).per_image["rouge-l"] == [0, 1]
