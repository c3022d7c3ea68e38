"""How much of a batch is text and picture, and how much is padding."""

from __future__ import annotations

from dataclasses import dataclass

from captioning.batches import Batch, CaptionBatch, PairBatch, PrefixBatch


@dataclass(frozen=True, kw_only=True)
class BatchContents:
    """Counts of a batch; those of all processes' batches add up."""

    captions: int
    pieces: int
    """Word pieces of captions and tags, padding not counted; [MASK] queries beside a caption neither."""
    filled: int
    """Positions that hold a piece or a region."""
    positions: int
    """All positions of the padded tensors."""


def contents_of(batch: Batch, drawn_pieces: float = 0.0) -> BatchContents:
    """Counts what is in a batch.

    Args:
        batch: on the CPU, where counting waits for nothing.
        drawn_pieces: mean length of the captions that a self-critical step drew itself.
    """
    if isinstance(batch, PairBatch):
        regions = batch.region_mask[batch.picture]
        pieces = int(batch.real.sum())
        return BatchContents(
            captions=batch.n_captions,
            pieces=pieces,
            filled=pieces + int(regions.sum()),
            positions=batch.real.numel() + regions.numel(),
        )
    prefix: PrefixBatch = batch.prefix
    pieces = int(prefix.tag_mask.sum())
    positions = prefix.tag_mask.numel() + prefix.region_mask.numel()
    if isinstance(batch, CaptionBatch):
        pieces += int(batch.captions.real.sum())
        positions += batch.captions.real.numel()
    else:
        drawn = round(drawn_pieces * batch.n_captions)
        pieces, positions = pieces + drawn, positions + drawn
    return BatchContents(
        captions=batch.n_captions,
        pieces=pieces,
        filled=pieces + int(prefix.region_mask.sum()),
        positions=positions,
    )
