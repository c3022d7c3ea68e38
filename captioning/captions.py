"""What a captioner gives: captions with their scores, tags and regions, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from features.store import Regions
from features.tags import Tag


@dataclass(frozen=True, kw_only=True)
class ScoredText:
    """A caption that the search found, or that was given, and what the model thinks of it.

    Attributes:
        text: Ready to be read.
        score: What the search ranks by: ``log_prob`` over the number of pieces to the power of
            ``length_penalty``; by default, and where nothing was searched for, the mean log-probability a
            piece.
        log_prob: Natural logarithm of its probability; of a drawn caption, in what it was drawn from.
    """

    text: str
    score: float
    log_prob: float


@dataclass(frozen=True, kw_only=True)
class Caption:
    """What the model says about one picture.

    Attributes:
        image_id: The picture's file name, its id in the regions file, or "" for a decoded picture.
        text: The best caption, or the first one drawn.
        score: See `ScoredText`.
        log_prob: See `ScoredText`.
        alternatives: The n best captions, or all that were drawn, ``text`` being the first.
        tags: What the model read as tags, best first.
        regions: What it read as regions.
    """

    image_id: str
    text: str
    score: float
    log_prob: float
    alternatives: tuple[ScoredText, ...]
    tags: tuple[Tag, ...]
    regions: Regions


@dataclass(frozen=True, kw_only=True)
class CaptionFailure:
    """A picture without a caption, and why."""

    image_id: str
    reason: str
