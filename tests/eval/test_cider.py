"""CIDEr and CIDEr-D against their formulas, and what their settings do."""

import math
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.cider import Cider, CiderD, original_reward_tokens
from eval.metrics import Tokens
from eval.ngrams import DocumentFrequencies

SEEDS = st.integers(0, 2**32)


def draw_pictures(rng: random.Random) -> tuple[list[Tokens], list[list[Tokens]]]:
    """A caption and one to four references for each of up to six pictures; some sentences are empty."""

    def draw() -> Tokens:
        return rng.choices("abcde", k=rng.randrange(10))

    n_images = rng.randrange(1, 7)
    references = [[draw() for _ in range(rng.randrange(1, 5))] for _ in range(n_images)]
    return [draw() for _ in range(n_images)], references


def plain_scores(
    candidates: list[Tokens],
    references: list[list[Tokens]],
    counted: list[list[Tokens]],
    *,
    clipped: bool = True,
) -> list[float]:
    """The paper's formulas, one after the other; an n-gram is its tokens joined."""

    def ngrams(tokens: Tokens, n: int) -> list[str]:
        return [" ".join(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]

    def vector(tokens: Tokens, n: int) -> dict[str, float]:
        def holds(sentences: list[Tokens], ngram: str) -> bool:
            return any(ngram in ngrams(sentence, n) for sentence in sentences)

        return {
            ngram: number * math.log(len(counted) / max(1, sum(holds(s, ngram) for s in counted)))
            for ngram, number in Counter(ngrams(tokens, n)).items()
        }

    def score(candidate: Tokens, reference: Tokens, n: int) -> float:
        ours, theirs = vector(candidate, n), vector(reference, n)
        product = sum(
            min(ours[ngram], theirs[ngram] if clipped else math.inf) * theirs[ngram]
            for ngram in ours.keys() & theirs.keys()
        )
        if not product:
            return 0.0
        cosine = product / math.hypot(*ours.values()) / math.hypot(*theirs.values())
        return cosine * math.exp(-((len(candidate) - len(reference)) ** 2) / 72) if clipped else cosine

    return [
        10 * sum(score(candidate, r, n) for r in sentences for n in (1, 2, 3, 4)) / 4 / len(sentences)
        for candidate, sentences in zip(candidates, references, strict=True)
    ]


@settings(deadline=None)
@given(SEEDS)
def test_scores_are_those_of_the_plain_formulas(seed: int) -> None:
    candidates, references = draw_pictures(random.Random(seed))
    wanted = plain_scores(candidates, references, references)
    assert CiderD(references).score(candidates) == pytest.approx(wanted, abs=1e-9)


@settings(deadline=None)
@given(SEEDS)
def test_scores_with_given_document_frequencies_are_those_of_the_plain_formulas(seed: int) -> None:
    rng = random.Random(seed)
    candidates, references = draw_pictures(rng)
    _, others = draw_pictures(rng)
    scorer = CiderD(references, DocumentFrequencies.of(others))
    wanted = plain_scores(candidates, references, others)
    assert scorer.score(candidates) == pytest.approx(wanted, abs=1e-9)


@settings(deadline=None)
@given(SEEDS)
def test_unclipped_scores_are_those_of_the_plain_formulas(seed: int) -> None:
    candidates, references = draw_pictures(random.Random(seed))
    wanted = plain_scores(candidates, references, references, clipped=False)
    assert Cider(references).score(candidates) == pytest.approx(wanted, abs=1e-9)


def test_an_n_gram_counts_once_for_a_picture_however_many_references_hold_it() -> None:
    frequencies = DocumentFrequencies.of([[["a", "b"], ["a", "a", "b"]], [["b"]]], "coco-cn")
    assert frequencies.counts[("a", "b")] == frequencies.counts[("a",)] == 1
    assert frequencies.counts[("b",)] == frequencies.n_images == 2
    assert frequencies.protocol == "coco-cn"


def test_repeating_a_word_of_the_reference_is_not_rewarded() -> None:
    scorer = CiderD([[["a", "b"]], [["c", "d"]]])
    once, twice = scorer.score([["a", "x"], ["a", "a"]], [0, 0])
    # one word of two: 1/sqrt(2) x 1/sqrt(2); a a is (2, 0), clipped to 1, of length 2: 1/2 x 1/sqrt(2)
    assert (once, twice) == pytest.approx((10 / 4 * 0.5, 10 / 4 * 0.5 / math.sqrt(2)))


@settings(deadline=None)
@given(SEEDS)
def test_a_caption_has_the_same_bits_alone_and_among_others(seed: int) -> None:
    rng = random.Random(seed)
    _, references = draw_pictures(rng)
    captions = [rng.choices("abcdefghi", k=rng.randrange(12)) for _ in range(20)]  # no reference holds f to i
    pictures = rng.choices(range(len(references)), k=20)
    scorer = CiderD(references)
    alone = [
        scorer.score([caption], [picture])[0] for caption, picture in zip(captions, pictures, strict=True)
    ]
    assert scorer.score(captions, pictures) == alone


def test_without_pictures_named_there_is_one_caption_for_each() -> None:
    with pytest.raises(ValueError, match="1 captions for 2 pictures; wanted one for each"):
        CiderD([[["a"]], [["b"]]]).score([["a"]])


def test_a_picture_without_references_is_named() -> None:
    with pytest.raises(ValueError, match="picture 1 has no reference"):
        CiderD([[["a"]], []])


def test_document_frequencies_above_the_number_of_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="occurs in 3 pictures, but n_images is 2"):
        DocumentFrequencies(counts={("a",): 3}, n_images=2)


@pytest.mark.parametrize("text", ["a b.", "a b .", " a b ", "a b"])
def test_rewards_of_the_original_lose_one_full_stop_and_gain_an_end(text: str) -> None:
    assert original_reward_tokens(text) == ["a", "b", "<eos>"]
    assert original_reward_tokens("a..") == ["a.", "<eos>"]
    assert original_reward_tokens("狗 。") == ["狗", "。", "<eos>"]
