"""Captions drawn at random."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch

from oscar.configuration import OscarConfig
from oscar.modeling import OscarForCaptioning
from oscar.sampling import draw, sample
from tests.oscar.test_decoding import CONTROL, SEP, make_model, make_pictures, next_logits


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_the_same_generators_draw_the_same_captions_alone_and_in_a_batch() -> None:
    model = make_model(1, 0.3)
    prefix = make_pictures(cast(OscarConfig, model.config), 1).prefix(model)
    together = sample(model, prefix, generators(5, 6, 7), samples=6, max_pieces=8)
    for i, drawn in enumerate(together):
        (alone,) = sample(model, prefix.select(torch.tensor([i])), generators(5 + i), samples=6, max_pieces=8)
        assert [h.piece_ids for h in alone] == [h.piece_ids for h in drawn]
        assert [h.log_prob for h in alone] == pytest.approx([h.log_prob for h in drawn], abs=1e-9)
    others = sample(model, prefix, generators(8, 9, 10), samples=6, max_pieces=8)
    assert [h.piece_ids for h in others[0]] != [h.piece_ids for h in together[0]]


def test_captions_come_as_often_as_their_log_probability_says() -> None:
    model = make_model(2, 0.4, vocab_size=8)
    prefix = make_pictures(cast(OscarConfig, model.config), 2).prefix(model).select(torch.tensor([1]))
    n = 4000
    (drawn,) = sample(model, prefix, generators(0), samples=n, max_pieces=3, temperature=0.8)
    log_probs = {h.piece_ids: h.log_prob for h in drawn if h.finished}
    counts = Counter(h.piece_ids for h in drawn)
    assert len(log_probs) > 5
    for words, log_prob in log_probs.items():
        p = math.exp(log_prob)
        assert abs(counts[words] - n * p) < 5 * math.sqrt(n * p * (1 - p)) + 1


@pytest.mark.parametrize(
    "narrowing", [{}, {"temperature": 0.7}, {"top_k": 3}, {"top_p": 0.6}, {"top_k": 4, "top_p": 0.7}]
)
def test_log_probabilities_are_those_of_the_narrowed_distribution(narrowing: dict[str, Any]) -> None:
    model = make_model(3, 0.3, vocab_size=12)
    pictures = make_pictures(cast(OscarConfig, model.config), 3)
    every = sample(model, pictures.prefix(model), generators(1, 2, 3), samples=5, max_pieces=5, **narrowing)
    for i, drawn in enumerate(every):
        for h in drawn:
            total, pieces = 0.0, [*h.piece_ids, SEP] if h.finished else h.piece_ids
            for n, piece in enumerate(pieces):
                logits = next_logits(model, pictures, i, [h.piece_ids[:n]])[0]
                logits[list(CONTROL) if n else [*CONTROL, SEP]] = -torch.inf  # one piece at least
                probs = (logits / narrowing.get("temperature", 1.0)).softmax(0)
                ranked = sorted(range(12), key=lambda p: -float(probs[p]))[: narrowing.get("top_k") or 12]
                of_kept = probs[ranked] / probs[ranked].sum()
                before = of_kept.cumsum(0) - of_kept
                kept = [
                    p for p, b in zip(ranked, before.tolist(), strict=True) if b <= narrowing.get("top_p", 1)
                ]
                assert piece in kept
                total += math.log(probs[piece] / probs[kept].sum())
            assert h.log_prob == pytest.approx(total, abs=1e-9)
            assert h.score == pytest.approx(total / len(pieces), abs=1e-9)


def test_drawn_captions_keep_the_rules_of_every_search() -> None:
    model = make_model(4, 0.3, vocab_size=12)
    prefix = make_pictures(cast(OscarConfig, model.config), 4).prefix(model)
    rules: dict[str, Any] = {"max_pieces": 7, "min_pieces": 3, "no_repeat_ngram": 2, "forbidden_ids": [1, 9]}
    every = sample(
        model, prefix, generators(1, 2, 3), samples=30, temperature=2.0, forbidden_words=[[5, 6]], **rules
    )
    for h in (h for drawn in every for h in drawn):
        pairs = list(zip(h.piece_ids, h.piece_ids[1:], strict=False))
        assert 3 <= len(h.piece_ids) <= 7
        assert not {*CONTROL, 1, 9} & {*h.piece_ids}
        assert len(set(pairs)) == len(pairs)
        assert (5, 6) not in pairs
    assert {len(h.piece_ids) for drawn in every for h in drawn} == {3, 4, 5, 6, 7}


def test_some_piece_is_drawn_whatever_the_noise() -> None:
    log_probs = torch.tensor([-torch.inf, 0.3, 0.7, -torch.inf]).log_softmax(0)[None, None].expand(1, 3, -1)
    almost_one = 1 - 2**-24
    assert draw(log_probs, torch.tensor([[0.0, 0.41, almost_one]])).tolist() == [[1, 2, 2]]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"samples": 0}, "samples must be 1 or more, got 0"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"top_k": -1}, r"top_k must be 0 \(all pieces\) or more, got -1"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, got 0.0"),
        ({"forbidden_words": [[5], []]}, "forbidden_words holds a word without pieces"),
        ({"forbidden_words": [[5, SEP]]}, r"holds \[SEP\] \(3\), no caption could end"),
    ],
)
def test_rules_that_cannot_be_kept_are_refused(
    rules: dict[str, Any], message: str, make_captioner: Callable[..., OscarForCaptioning]
) -> None:
    model = make_captioner()
    prefix = make_pictures(cast(OscarConfig, model.config), dtype=torch.float32).prefix(model)
    with pytest.raises(ValueError, match=message):
        sample(model, prefix, generators(1, 2, 3), max_pieces=4, **rules)
    with pytest.raises(ValueError, match="2 generators were given for 3 pictures"):
        sample(model, prefix, generators(1, 2), max_pieces=4)
