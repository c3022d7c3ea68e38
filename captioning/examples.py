"""A picture's regions and tags, and its captions, as the numbers that the model reads.

The layout is Oscar's (arXiv:2004.06165): ``[CLS] caption [SEP] | tags [SEP] | regions``. Masking and
swapping follow microsoft/Oscar (run_captioning.py, run_oscarplus_pretrain.py); every draw comes from
``draws(seed, stream, epoch, index)``, so an example never depends on its batch, its process or the past.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from captioning.config import LossConfig, PrefixConfig
from captioning.tokenizer import CaptionTokenizer
from features.store import GLOBAL_GEOMETRY, Regions
from features.tags import Lexicon, Tag, tags_of

IGNORED = -100
"""Target of a position that is not predicted, as in torch's cross entropy."""

GEOMETRY_WIDTH = 6
"""Numbers that place a region, after its appearance: x1/W y1/H x2/W y2/H w/W h/H."""


class Match(IntEnum):
    """Label of a pre-training example, in the order of the Oscar+ code (not of the paper)."""

    TRUE = 0
    WRONG_SECOND = 1
    WRONG_FIRST = 2


class Stream(IntEnum):
    """What a sequence of draws is for; two streams of one index never overlap."""

    ORDER = 0
    CHOICE = 1
    MASK = 2
    SWAP = 3
    DROPOUT = 4
    SAMPLE = 5
    PASS = 6
    WINDOW = 7


def draws(seed: int, stream: Stream, epoch: int, index: int) -> np.random.Generator:
    """Random numbers that depend on nothing but these four (Philox counter-based generator)."""
    return np.random.Generator(np.random.Philox(key=[seed, int(stream)], counter=[0, 0, epoch, index]))


@dataclass(frozen=True, kw_only=True)
class PrefixExample:
    """What the model reads of one picture: (G,) tag pieces with [SEP] and (R, F) float32 regions."""

    tag_ids: NDArray[np.int64]
    region_features: NDArray[np.float32]


def prefix_example(
    regions: Regions, lexicon: Lexicon, tokenizer: CaptionTokenizer, config: PrefixConfig
) -> PrefixExample:
    """Regions of a picture as the model reads them, in training and in captioning alike."""
    return PrefixExample(
        tag_ids=tag_pieces(regions, lexicon, tokenizer, config),
        region_features=region_rows(regions, config.max_regions),
    )


def read_tags(regions: Regions, lexicon: Lexicon, config: PrefixConfig) -> list[Tag]:
    """The tags that a picture is given, best first; those that do not fit into the tag slots too."""
    return tags_of(
        regions,
        lexicon,
        min_score=config.tag_min_score,
        max_tags=config.max_tags,
        keep_duplicates=config.keep_duplicate_tags,
    )


def tag_pieces(
    regions: Regions, lexicon: Lexicon, tokenizer: CaptionTokenizer, config: PrefixConfig
) -> NDArray[np.int64]:
    """(G,) pieces of the Chinese tags, best first, whole tags only, closed by [SEP]."""
    pieces: list[int] = []
    for tag in read_tags(regions, lexicon, config):
        ids = tokenizer.encode(tag.text)
        if len(pieces) + len(ids) >= config.max_tag_pieces:
            break
        pieces += ids
    return np.array([*pieces, tokenizer.sep_id], dtype=np.int64)


def region_rows(regions: Regions, max_regions: int) -> NDArray[np.float32]:
    """(R, F) appearance and geometry, best region first; the whole picture, where known, before them all."""
    kept = min(max_regions, len(regions.features))
    first = 0 if regions.global_feature is None else 1
    appearance = regions.features.shape[1]
    rows = np.empty((first + kept, appearance + GEOMETRY_WIDTH), dtype=np.float32)
    if regions.global_feature is not None:
        rows[0, :appearance] = regions.global_feature
        rows[0, appearance:] = GLOBAL_GEOMETRY
    rows[first:, :appearance] = regions.features[:kept]
    rows[first:, appearance:] = regions.geometry[:kept]
    return rows


def caption_pieces(text: str, tokenizer: CaptionTokenizer, max_caption_pieces: int) -> NDArray[np.int64]:
    """(n,) pieces of a caption without [CLS] and [SEP], cut so that both still fit."""
    return np.array(tokenizer.encode(text)[: max_caption_pieces - 2], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class CaptionExample:
    """One caption to be learned: the (T,) pieces read and the (T,) targets, IGNORED where none.

    Sparse: pieces are ``[CLS] caption [SEP]``, some masked; the target stands at the masked position.
    Dense: pieces are ``[CLS] caption``; target i is the piece that follows piece i, predicted by a [MASK]
    query at position i + 1.
    """

    pieces: NDArray[np.int64]
    targets: NDArray[np.int64]


def dense_example(pieces: NDArray[np.int64], tokenizer: CaptionTokenizer) -> CaptionExample:
    """Every piece and the closing [SEP] is a target."""
    return CaptionExample(
        pieces=np.concatenate(([tokenizer.cls_id], pieces)),
        targets=np.concatenate((pieces, [tokenizer.sep_id])),
    )


def sparse_example(
    pieces: NDArray[np.int64], tokenizer: CaptionTokenizer, config: LossConfig, rng: np.random.Generator
) -> CaptionExample:
    """Oscar's masking: 15 % of the pieces, at least 1 and at most 3, [SEP] among them, never [CLS]."""
    sequence = np.concatenate(([tokenizer.cls_id], pieces, [tokenizer.sep_id]))
    n_masked = min(max(round(config.mask_share * len(sequence)), 1), config.max_masked, len(sequence) - 1)
    chosen = np.sort(rng.permutation(np.arange(1, len(sequence)))[:n_masked])
    targets = np.full(len(sequence), IGNORED, dtype=np.int64)
    targets[chosen] = sequence[chosen]
    return CaptionExample(pieces=_corrupt(sequence, chosen, tokenizer, rng), targets=targets)


@dataclass(frozen=True, kw_only=True)
class PairExample:
    """One pre-training example over ``[CLS] first [SEP] second [SEP]``; every array is (T + G,).

    The texts are a caption and tags, a question and its answer, or whatever pairs a corpus has.
    """

    pieces: NDArray[np.int64]
    segments: NDArray[np.int64]
    """0 on the first text's side, 1 on the second's."""
    targets: NDArray[np.int64]
    match: Match


def draw_match(config: LossConfig, rng: np.random.Generator) -> Match:
    """Whether an example keeps its pair, gets other tags (or another answer), or another caption."""
    u = rng.random()
    if u < config.swap_caption:
        return Match.WRONG_FIRST
    if u < config.swap_caption + config.swap_tags:
        return Match.WRONG_SECOND
    return Match.TRUE


def draw_other(n: int, own: int, rng: np.random.Generator) -> int:
    """A number below n but for ``own``, all others equally likely.

    Raises:
        ValueError: there is no other.
    """
    if n < 2:
        raise ValueError(
            "swapped captions and tags need 2 or more pictures; set swap_caption=0 and swap_tags=0"
        )
    other = int(rng.integers(n - 1))
    return other + (other >= own)


def cut_pair(
    first: NDArray[np.int64], second: NDArray[np.int64], limit: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two texts without their special pieces, cut so that with [CLS] and two [SEP] they fit.

    Pieces are taken from the end of the longer text, of the second where both are as long, as in
    BERT and Oscar+ (``_truncate_seq_pair``).
    """
    n_first, n_second = len(first), len(second)
    while limit is not None and n_first + n_second + 3 > limit:
        if n_first > n_second:
            n_first -= 1
        else:
            n_second -= 1
    return first[:n_first], second[:n_second]


def pair_example(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    match: Match,
    tokenizer: CaptionTokenizer,
    config: LossConfig,
    rng: np.random.Generator,
) -> PairExample:
    """Masks each piece of both texts with probability 15 %, never [CLS] or [SEP].

    Args:
        first: (n,) pieces of a caption or question, without [CLS] and [SEP].
        second: (m,) pieces of tags or an answer, without [SEP].
        match: what was swapped. The masks are laid all the same; whether their pieces are predicted
            ``config.mask_mismatched`` says.
        tokenizer: names the special pieces.
        config: the share of masks.
        rng: the example's own draws.
    """
    sep = [tokenizer.sep_id]
    pieces = np.concatenate(([tokenizer.cls_id], first, sep, second, sep)).astype(np.int64)
    segments = (np.arange(len(pieces)) >= len(first) + 2).astype(np.int64)
    fixed = np.zeros(len(pieces), dtype=bool)
    fixed[[0, len(first) + 1, len(pieces) - 1]] = True
    chosen = np.flatnonzero((rng.random(len(pieces)) < config.mask_share) & ~fixed)
    targets = np.full(len(pieces), IGNORED, dtype=np.int64)
    if match == Match.TRUE or config.mask_mismatched:
        targets[chosen] = pieces[chosen]
    return PairExample(
        pieces=_corrupt(pieces, chosen, tokenizer, rng), segments=segments, targets=targets, match=match
    )


def _corrupt(
    pieces: NDArray[np.int64],
    chosen: NDArray[np.int64],
    tokenizer: CaptionTokenizer,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """BERT's 80 % [MASK], 10 % any piece, 10 % unchanged, on the chosen positions."""
    u = rng.random(len(chosen))
    other = rng.integers(len(tokenizer), size=len(chosen))
    corrupted = pieces.copy()
    corrupted[chosen] = np.where(u < 0.8, tokenizer.mask_id, np.where(u < 0.9, other, pieces[chosen]))
    return corrupted


def choose_captions(n_captions: int, kept: int, rng: np.random.Generator) -> Sequence[int]:
    """Which of a picture's captions an epoch uses: all where they fit, else a fresh choice, in order."""
    if n_captions <= kept:
        return range(n_captions)
    return sorted(int(index) for index in rng.permutation(n_captions)[:kept])
