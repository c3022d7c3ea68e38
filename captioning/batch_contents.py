"""How much of a step is text and picture, and how much is padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from captioning.batches import Batch, SampleBatch
from captioning.config import Objective


@dataclass(frozen=True, kw_only=True)
class BatchContents:
    """Counts of a process's share of a step."""

    captions: int
    """Read or drawn for the main objective."""
    pieces: int
    """Word pieces of captions and tags, padding not counted; [MASK] queries beside a caption neither."""
    filled: int
    """Positions that hold a piece or a region."""
    positions: int
    """All positions of the padded tensors."""


def contents_of(parts: Sequence[Mapping[Objective, Batch]], drawn_pieces: float = 0.0) -> BatchContents:
    """Counts what is in the parts of a step.

    Args:
        parts: of one process, the main objective's batch first in each; on the CPU, where counting waits for
            nothing.
        drawn_pieces: mean length of the captions that a self-critical step drew itself.
    """
    pieces = regions = positions = 0
    for batch in (batch for part in parts for batch in part.values()):
        *text, last = batch.masks
        drawn = round(drawn_pieces * batch.n_captions) if isinstance(batch, SampleBatch) else 0
        pieces += sum(int(mask.sum()) for mask in text) + drawn
        positions += sum(mask.numel() for mask in batch.masks) + drawn
        regions += int(last.sum())
    return BatchContents(
        captions=sum(next(iter(part.values())).n_captions for part in parts),
        pieces=pieces,
        filled=pieces + regions,
        positions=positions,
    )
