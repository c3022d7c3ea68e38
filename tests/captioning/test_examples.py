from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from captioning.config import LossConfig, PrefixConfig
from captioning.examples import (
    IGNORED,
    Match,
    Stream,
    choose_captions,
    dense_example,
    draw_match,
    draw_other,
    draws,
    pair_example,
    prefix_example,
    sparse_example,
    tag_pieces,
)
from captioning.tokenizer import CaptionTokenizer
from tests.captioning.small_captioner import LEXICON, WIDTH, small_regions

TOKENIZER = CaptionTokenizer.build(["一二三四五六七八九十"], [text for text in LEXICON.texts if text])
CLS, SEP, MASK = TOKENIZER.cls_id, TOKENIZER.sep_id, TOKENIZER.mask_id
CAPTION = np.array(TOKENIZER.encode("一二三四五六七八九十"))


def test_the_whole_picture_comes_before_its_regions() -> None:
    regions = small_regions("a.jpg", n_regions=3)
    example = prefix_example(regions, LEXICON, TOKENIZER, PrefixConfig(max_regions=2))
    assert example.region_features.shape == (3, WIDTH + 6)
    assert regions.global_feature is not None
    assert np.array_equal(example.region_features[0, :WIDTH], regions.global_feature.astype(np.float32))
    assert example.region_features[0, WIDTH:].tolist() == [0, 0, 1, 1, 1, 1]
    assert np.array_equal(example.region_features[1:, WIDTH:], regions.geometry[:2])


def test_tags_are_distinct_whole_and_closed() -> None:
    regions = small_regions("a.jpg", n_regions=12)
    full = prefix_example(regions, LEXICON, TOKENIZER, PrefixConfig(max_tag_pieces=60)).tag_ids
    short = prefix_example(regions, LEXICON, TOKENIZER, PrefixConfig(max_tag_pieces=6)).tag_ids
    assert full[-1] == short[-1] == SEP
    assert len(short) <= 6
    assert np.array_equal(short[:-1], full[: len(short) - 1])
    names = {LEXICON.chinese(int(index)) for index in regions.object_ids}
    assert len(full) - 1 == sum(len(TOKENIZER.encode(name)) for name in names if name)


def test_duplicate_tags_are_dropped_unless_asked_for() -> None:
    regions = replace(small_regions("a.jpg", n_regions=2), object_ids=np.array([3, 3]))
    tag = TOKENIZER.encode(LEXICON.chinese(3) or "")
    for keep, times in ((False, 1), (True, 2)):
        config = PrefixConfig(keep_duplicate_tags=keep, tag_min_score=0)
        assert tag_pieces(regions, LEXICON, TOKENIZER, config).tolist() == [*tag * times, SEP]


def test_a_picture_without_tags_has_the_closing_piece_alone() -> None:
    config = PrefixConfig(tag_min_score=1.0)
    assert prefix_example(small_regions("a.jpg"), LEXICON, TOKENIZER, config).tag_ids.tolist() == [SEP]


def test_a_dense_example_predicts_every_next_piece() -> None:
    example = dense_example(np.array([7, 8]), TOKENIZER)
    assert example.pieces.tolist() == [CLS, 7, 8]
    assert example.targets.tolist() == [7, 8, SEP]


@pytest.mark.parametrize(("length", "masked"), [(1, 1), (8, 2), (15, 3), (38, 3)])
def test_a_sparse_example_masks_fifteen_percent_at_most_three(length: int, masked: int) -> None:
    pieces = np.resize(CAPTION, length)  # 0.15 x (8 + 2) = 1.5 rounds to 2, 0.15 x 17 = 2.55 to 3
    example = sparse_example(pieces, TOKENIZER, LossConfig(), draws(1, Stream.MASK, 0, 0))
    sequence = np.array([CLS, *pieces, SEP])
    chosen = np.flatnonzero(example.targets != IGNORED)
    assert len(chosen) == masked
    assert 0 not in chosen
    assert np.array_equal(example.targets[chosen], sequence[chosen])
    untouched = np.delete(np.arange(length + 2), chosen)
    assert np.array_equal(example.pieces[untouched], sequence[untouched])


def test_sparse_masks_fall_on_the_closing_piece_too_and_are_80_10_10() -> None:
    rngs = [draws(1, Stream.MASK, 0, i) for i in range(3000)]
    examples = [sparse_example(CAPTION, TOKENIZER, LossConfig(), rng) for rng in rngs]
    targets = np.stack([example.targets for example in examples])
    pieces = np.stack([example.pieces for example in examples])
    chosen = targets != IGNORED
    assert not chosen[:, 0].any()
    assert chosen[:, 1:].mean(axis=0) == pytest.approx(2 / 11, abs=0.03)
    assert (pieces[chosen] == MASK).mean() == pytest.approx(0.8, abs=0.03)
    assert (pieces[chosen] == targets[chosen]).mean() == pytest.approx(0.1, abs=0.03)


def test_pairs_are_masked_in_caption_and_tags_but_never_at_special_pieces() -> None:
    tags = np.array(TOKENIZER.encode("二三"))
    examples = [
        pair_example(CAPTION, tags, Match.TRUE, TOKENIZER, LossConfig(), draws(1, Stream.MASK, 0, i))
        for i in range(2000)
    ]
    rate = (np.stack([example.targets for example in examples]) != IGNORED).mean(axis=0)
    special = [0, 11, 14]
    assert rate[special].tolist() == [0, 0, 0]
    assert np.delete(rate, special) == pytest.approx(0.15, abs=0.04)
    assert examples[0].segments.tolist() == [0] * 12 + [1] * 3


def test_swaps_come_with_the_shares_of_oscar_plus() -> None:
    matches = [draw_match(LossConfig(), draws(1, Stream.SWAP, 0, i)) for i in range(4000)]
    shares = [matches.count(match) / 4000 for match in Match]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.03)
    two = LossConfig(swap_caption=0, swap_tags=0.5)
    assert {draw_match(two, draws(1, Stream.SWAP, 0, i)) for i in range(50)} == {
        Match.TRUE,
        Match.WRONG_SECOND,
    }


def test_a_donor_is_any_picture_but_the_own_one() -> None:
    donors = [draw_other(5, 2, draws(1, Stream.SWAP, 0, i)) for i in range(400)]
    assert set(donors) == {0, 1, 3, 4}
    with pytest.raises(ValueError, match="need 2 or more pictures"):
        draw_other(1, 0, draws(1, Stream.SWAP, 0, 0))


def test_draws_depend_on_seed_stream_epoch_and_index_and_on_nothing_else() -> None:
    first = draws(1, Stream.MASK, 2, 3).random(4).tolist()
    assert draws(1, Stream.MASK, 2, 3).random(4).tolist() == first
    others = [(2, Stream.MASK, 2, 3), (1, Stream.SWAP, 2, 3), (1, Stream.MASK, 3, 3), (1, Stream.MASK, 2, 4)]
    assert all(draws(*other).random(4).tolist() != first for other in others)


def test_a_picture_with_many_captions_gives_a_sorted_choice() -> None:
    assert list(choose_captions(2, 5, draws(1, Stream.CHOICE, 0, 0))) == [0, 1]
    chosen = [tuple(choose_captions(6, 3, draws(1, Stream.CHOICE, epoch, 0))) for epoch in range(30)]
    assert len(set(chosen)) > 5
    assert all(list(choice) == sorted(set(choice)) and len(choice) == 3 for choice in chosen)
