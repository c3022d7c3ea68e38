"""What rules do to logits, against transformers' processors of the same names."""

import pytest
import torch
from transformers import (
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from oscar.rules import PieceRules, filter_logits, forbid_repeats, penalise_repetition
from tests.oscar.test_decoding import CLS, CONTROL, SEP, make_model


def random_step(seed: int, n_pieces: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (3, 2, 12) and pieces already written (3, 2, n), few enough to repeat themselves."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(3, 2, 12, generator=draw), torch.randint(5, 8, (3, 2, n_pieces), generator=draw)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_ngrams_that_would_come_again_are_forbidden(n: int) -> None:
    for n_pieces in range(8):
        scores, written = random_step(n_pieces, n_pieces)
        theirs = NoRepeatNGramLogitsProcessor(n)(written.flatten(0, 1), scores.flatten(0, 1))
        forbid_repeats(scores, written, n)
        assert torch.equal(scores.flatten(0, 1), theirs)


@pytest.mark.parametrize("penalty", [1.0, 1.3, 0.8])
def test_written_pieces_are_penalised(penalty: float) -> None:
    logits, written = random_step(1)
    theirs = RepetitionPenaltyLogitsProcessor(penalty)(written.flatten(0, 1), logits.flatten(0, 1))
    assert torch.equal(penalise_repetition(logits, written, penalty).flatten(0, 1), theirs)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("top_k", [0, 1, 5, 40])
@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.3, 0.01])
def test_distributions_are_narrowed_by_temperature_then_top_k_then_top_p(
    temperature: float, top_k: int, top_p: float
) -> None:
    logits, written = random_step(2)
    theirs, ids = logits.flatten(0, 1), written.flatten(0, 1)
    theirs = TemperatureLogitsWarper(temperature)(ids, theirs)
    if top_k:
        theirs = TopKLogitsWarper(top_k)(ids, theirs)
    theirs = TopPLogitsWarper(top_p)(ids, theirs)
    assert torch.equal(filter_logits(logits, temperature, top_k, top_p).flatten(0, 1), theirs)


def test_forbidden_words_are_broken_off_before_their_last_piece() -> None:
    words = [(5,), (6, 7), (5, 6, 9), (7, 7, 7, 8)]
    config = make_model(0, vocab_size=12).config
    rules = PieceRules(min_pieces=0, forbidden_words=frozenset(words))
    for n_pieces in range(6):
        scores, written = random_step(n_pieces + 10, n_pieces)
        bad = [list(word) for word in words] + [[piece] for piece in CONTROL]
        before = torch.cat([torch.full((6, 1), CLS), written.flatten(0, 1)], dim=1)  # theirs want a beginning
        theirs = NoBadWordsLogitsProcessor(bad, eos_token_id=SEP)(before, scores.flatten(0, 1))
        rules.forbid(scores, written, config)
        assert torch.equal(scores.flatten(0, 1), theirs)


def test_a_caption_does_not_end_before_its_shortest_length() -> None:
    config = make_model(0, vocab_size=12).config
    for n_pieces, ends in ((0, False), (1, False), (2, True)):
        scores, written = random_step(0, n_pieces)
        PieceRules(min_pieces=2).forbid(scores, written, config)
        assert scores[..., SEP].isfinite().all() == ends
