"""Given captions under the model."""

from typing import cast

import pytest
import torch

from oscar.configuration import OscarConfig
from oscar.decoding import generate
from oscar.scoring import score_captions
from tests.oscar.test_decoding import SEP, make_model, make_pictures, next_logits


@pytest.mark.parametrize("width", [1, 4])
def test_found_captions_score_what_the_search_gave_them(width: int) -> None:
    model = make_model(4, 0.3, vocab_size=30)
    prefix = make_pictures(cast(OscarConfig, model.config), 4).prefix(model)
    found = generate(model, prefix, beam_width=width, n_best=width, max_pieces=10)
    with torch.no_grad():
        scores = score_captions(model, prefix, [[h.piece_ids for h in best] for best in found])
    expected = [h.log_prob for best in found for h in best]
    assert scores.sum(dim=1).tolist() == pytest.approx(expected, abs=1e-9)


@torch.no_grad()
def test_every_piece_has_the_log_probability_of_a_whole_sequence() -> None:
    model = make_model(5, 0.3, vocab_size=30)
    pictures = make_pictures(cast(OscarConfig, model.config), 5)
    captions: list[list[list[int]]] = [[[7, 1, 7], []], [], [[29, 8, 9, 5, 6, 7, 8, 9, 10, 11]]]
    scores = score_captions(model, pictures.prefix(model), captions)
    assert scores.shape == (3, 11)
    for row, (i, words) in zip(scores, [(0, [7, 1, 7]), (0, []), (2, captions[2][0])], strict=True):
        for n, piece in enumerate([*words, SEP]):
            logits = next_logits(model, pictures, i, [words[:n]])[0]
            assert row[n].item() == pytest.approx(logits.log_softmax(0)[piece].item(), abs=1e-9)
        assert not row[len(words) + 1 :].any()


@torch.no_grad()
def test_a_later_piece_changes_no_earlier_score_at_all() -> None:
    model = make_model(7, 0.3, vocab_size=30)
    prefix = make_pictures(cast(OscarConfig, model.config), 7).prefix(model)
    one = score_captions(model, prefix, [[[5, 6, 7, 8]], [[9, 9, 9, 9]], [[8, 7, 6, 5]]])
    other = score_captions(model, prefix, [[[5, 6, 20, 21]], [[9, 9, 22, 23]], [[8, 7, 24, 25]]])
    assert (one[:, :2] - other[:, :2]).abs().max() == 0.0
    assert (one[:, 2:] - other[:, 2:]).abs().min() > 0.0


def test_gradients_reach_the_evidence() -> None:
    model = make_model(6, 0.3)
    pictures = make_pictures(cast(OscarConfig, model.config), 6)
    score_captions(model, pictures.prefix(model), [[[5]], [[6, 7]], [[8]]]).sum().backward()
    gradient = model.bert.img_embedding.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_captions_that_cannot_be_scored_are_refused() -> None:
    model = make_model(0)
    prefix = make_pictures(cast(OscarConfig, model.config)).prefix(model)
    with pytest.raises(ValueError, match="captions of 2 pictures were given for a prefix of 3"):
        score_captions(model, prefix, [[[5]], [[6]]])
    with pytest.raises(ValueError, match="no caption was given"):
        score_captions(model, prefix, [[], [], []])
    with pytest.raises(ValueError, match="has 11 pieces, the model reads at most 10"):
        score_captions(model, prefix, [[[5]], [[6] * 11], []])
