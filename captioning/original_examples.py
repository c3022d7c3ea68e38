"""Training examples with the random draws of the original Oscar, for comparison with it.

Training here draws from (seed, epoch, index): see `captioning.examples`. The original draws from the one
stream of Python's ``random``, so an example depends on all those that its process made before it, and a run
that stops cannot go on with the same draws. Therefore this is no setting of a run: the functions are for
whoever checks a model against the original's tensors, or repeats its examples. They follow microsoft/Oscar at
commit 266075f, run_captioning.py (``CaptionTensorizer``) and run_oscarplus_pretrain.py
(``convert_example_to_features``), draw for draw.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captioning.tokenizer import CaptionTokenizer

ORIGINAL_IGNORED = -1
"""Label of a position that is not predicted; here it is `captioning.examples.IGNORED`."""


@dataclass(frozen=True, kw_only=True)
class CaptionSlots:
    """Sizes of a captioning example: T text slots, of which A for the caption, and R region slots."""

    text: int = 70
    caption: int = 40
    """Counts [CLS] and [SEP]."""
    regions: int = 50
    mask_share: float = 0.15
    max_masked: int = 3


@dataclass(frozen=True, kw_only=True)
class OriginalCaptionExample:
    """Tensors of one captioning example.

    Attributes:
        input_ids: (T,) caption, tags from slot A on, padding.
        segment_ids: (T,) 1 on the tags and their [SEP].
        attention_mask: (T + R, T + R) uint8, 1 where the row reads the column.
        masked_pos: (T,) int32, 1 where a caption piece is to be predicted; all 1 without training.
        masked_ids: (max_masked,) the pieces to be predicted, then padding; None without training.
    """

    input_ids: NDArray[np.int64]
    segment_ids: NDArray[np.int64]
    attention_mask: NDArray[np.uint8]
    masked_pos: NDArray[np.int32]
    masked_ids: NDArray[np.int64] | None


def original_caption_example(
    caption: str | None,
    tags: str | None,
    n_regions: int,
    tokenizer: CaptionTokenizer,
    slots: CaptionSlots,
    rng: random.Random,
) -> OriginalCaptionExample:
    """One example of the original's captioner.

    Args:
        caption: the text to be learned; None fills all of its slots with [MASK], as before generation.
        tags: all tags in one text; None or empty if there are none.
        n_regions: of the picture; those above R are cut.
        tokenizer: the vocabulary.
        slots: the sizes.
        rng: ``random.Random(seed)`` draws what the original does after ``random.seed(seed)``.

    Raises:
        ValueError: there are tags, but no slots for them.
    """
    if tags and slots.text <= slots.caption:
        raise ValueError(
            f"tags need text slots above the {slots.caption} of the caption, there are {slots.text} in all"
        )
    if caption is None:
        pieces = [tokenizer.mask_id] * (slots.caption - 2)
    else:
        pieces = tokenizer.encode(caption)[: slots.caption - 2]
    ids = [tokenizer.cls_id, *pieces, tokenizer.sep_id]
    n_caption, n_tags = len(ids), 0
    if tags:
        ids += [tokenizer.pad_id] * (slots.caption - n_caption)
        ids += [*tokenizer.encode(tags)[: slots.text - slots.caption - 1], tokenizer.sep_id]
        n_tags = len(ids) - slots.caption
    masked_pos, masked_ids = np.ones(slots.text, dtype=np.int32), None
    if caption is not None:
        chosen = _choose_masked(n_caption, slots, rng)
        masked_pos = np.zeros(slots.text, dtype=np.int32)
        masked_pos[chosen] = 1
        masked_ids = _padded([ids[index] for index in chosen], slots.max_masked, tokenizer.pad_id)
        for index in chosen:
            ids[index] = _corrupt_caption_piece(ids[index], tokenizer, rng)
    segments = np.zeros(slots.text, dtype=np.int64)
    segments[slots.caption : slots.caption + n_tags] = 1
    return OriginalCaptionExample(
        input_ids=_padded(ids, slots.text, tokenizer.pad_id),
        segment_ids=segments,
        attention_mask=_caption_attention(n_caption, n_tags, min(n_regions, slots.regions), slots),
        masked_pos=masked_pos,
        masked_ids=masked_ids,
    )


def _choose_masked(n_caption: int, slots: CaptionSlots, rng: random.Random) -> list[int]:
    """Positions to predict, [SEP] among the candidates; ``round`` rounds halves to even, as there."""
    candidates = list(range(1, n_caption))
    rng.shuffle(candidates)
    return sorted(candidates[: min(max(round(slots.mask_share * n_caption), 1), slots.max_masked)])


def _corrupt_caption_piece(piece: int, tokenizer: CaptionTokenizer, rng: random.Random) -> int:
    """80 % [MASK], 10 % any piece, 10 % unchanged; "any" may be one past the last, which is [UNK]."""
    if rng.random() <= 0.8:
        return tokenizer.mask_id
    if rng.random() <= 0.5:
        other = rng.randint(0, len(tokenizer))
        return other if other < len(tokenizer) else tokenizer.unk_id
    return piece


def _caption_attention(n_caption: int, n_tags: int, n_regions: int, slots: CaptionSlots) -> NDArray[np.uint8]:
    """The caption reads itself up to each piece, tags and regions; these read each other; padding nothing."""
    total = slots.text + slots.regions
    mask = np.zeros((total, total), dtype=np.uint8)
    mask[:n_caption, :n_caption] = np.tri(n_caption, dtype=np.uint8)
    picture = np.zeros(total, dtype=bool)
    picture[slots.caption : slots.caption + n_tags] = True
    picture[slots.text : slots.text + n_regions] = True
    mask[:n_caption, picture] = 1
    mask[np.ix_(picture, picture)] = 1
    return mask


@dataclass(frozen=True, kw_only=True)
class OriginalPairExample:
    """Tensors of one pre-training example.

    Attributes:
        input_ids: (T,) ``[CLS] first [SEP] second [SEP]``, padding.
        segment_ids: (T,) 1 on the second text and its [SEP].
        attention_mask: (T + R,) 1 on what may be read.
        labels: (T + R,) the pieces to be predicted, `ORIGINAL_IGNORED` elsewhere.
    """

    input_ids: NDArray[np.int64]
    segment_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    labels: NDArray[np.int64]


def original_pair_example(
    first: str,
    second: str,
    n_regions: int,
    tokenizer: CaptionTokenizer,
    rng: random.Random,
    *,
    text_slots: int = 35,
    region_slots: int = 50,
) -> OriginalPairExample:
    """One example of the original's pre-training; the longer text is cut until both fit.

    Args:
        first: caption or question.
        second: tags or answer; where empty, its [SEP] is left out too.
        n_regions: of the picture; those above ``region_slots`` are cut.
        tokenizer: the vocabulary.
        rng: as in `original_caption_example`.
        text_slots: T.
        region_slots: R.
    """
    texts = [tokenizer.encode(first)]
    if pieces_of_second := tokenizer.encode(second):
        texts.append(pieces_of_second)
    while sum(map(len, texts)) > text_slots - 1 - len(texts):
        max(reversed(texts), key=len).pop()  # of two of one length, the second
    ids, labels = [tokenizer.cls_id], [ORIGINAL_IGNORED]
    for pieces in texts:
        for piece in pieces:
            read, label = _corrupt_pair_piece(piece, tokenizer, rng)
            ids.append(read)
            labels.append(label)
        ids.append(tokenizer.sep_id)
        labels.append(ORIGINAL_IGNORED)
    segments = np.zeros(text_slots, dtype=np.int64)
    segments[len(texts[0]) + 2 : len(ids)] = 1
    readable = np.zeros(text_slots + region_slots, dtype=np.int64)
    readable[: len(ids)] = 1
    readable[text_slots : text_slots + min(n_regions, region_slots)] = 1
    return OriginalPairExample(
        input_ids=_padded(ids, text_slots, tokenizer.pad_id),
        segment_ids=segments,
        attention_mask=readable,
        labels=_padded(labels, text_slots + region_slots, ORIGINAL_IGNORED),
    )


def _corrupt_pair_piece(piece: int, tokenizer: CaptionTokenizer, rng: random.Random) -> tuple[int, int]:
    """What is read and what is to be predicted in place of a piece; one draw decides, another the piece."""
    share = rng.random() / 0.15
    if share >= 1:
        return piece, ORIGINAL_IGNORED
    if share < 0.8:
        return tokenizer.mask_id, piece
    if share < 0.9:
        return rng.choice(range(len(tokenizer))), piece
    return piece, piece


def _padded(values: list[int], length: int, padding: int) -> NDArray[np.int64]:
    """(length,) the values, then padding."""
    return np.array(values + [padding] * (length - len(values)), dtype=np.int64)
