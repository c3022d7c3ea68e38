"""What a set of captions holds, counted: how many, how long, how often the same, what a vocabulary lacks."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from captioning.caption_record import CaptionRecord
from captioning.tokenizer import CaptionTokenizer


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Some whole numbers, in five."""

    least: int
    median: int
    mean: float
    high: int
    """99 in 100 are not greater."""
    most: int

    @classmethod
    def of(cls, numbers: Iterable[int]) -> Spread:
        """Of one or more numbers."""
        ordered = sorted(numbers)
        return cls(
            least=ordered[0],
            median=ordered[(len(ordered) - 1) // 2],
            mean=statistics.fmean(ordered),
            high=ordered[-(-99 * len(ordered) // 100) - 1],
            most=ordered[-1],
        )

    def __str__(self) -> str:
        return f"{self.mean:.1f} on average, {self.least} to {self.most}, 99 of 100 at most {self.high}"


@dataclass(frozen=True, kw_only=True)
class CaptionCounts:
    """What a file holds; captions include questions, pictures are named by their ids."""

    pictures: int
    captions: int
    questions: int
    """Of the captions, those that are questions with an answer."""
    tagged: int
    """Of the captions, those that have tags of their own."""
    captions_a_picture: Spread
    characters: Spread
    """Of captions, without white space at their ends."""
    pieces: Spread
    """Of captions, without [CLS] and [SEP]."""
    repeated: dict[str, int] = field(default_factory=dict)
    """Picture -> captions that it has already had."""
    too_long: dict[str, int] = field(default_factory=dict)
    """Picture -> captions with more pieces than the model reads; the rest of them is cut off."""
    unknown: dict[str, int] = field(default_factory=dict)
    """Character that the vocabulary lacks -> how often it occurs, most frequent first."""
    with_unknown: int = 0
    """Captions of which the model reads [UNK]."""


def count_captions(
    records: Sequence[CaptionRecord], tokenizer: CaptionTokenizer, max_pieces: int
) -> CaptionCounts:
    """Counts of one or more records.

    Args:
        records: of ``captioning.records``.
        tokenizer: the vocabulary that the model reads captions with.
        max_pieces: longest caption, in pieces without [CLS] and [SEP].
    """
    pieces: list[int] = []
    repeated: dict[str, int] = {}
    too_long: dict[str, int] = {}
    characters: Counter[str] = Counter()
    with_unknown = 0
    for record in records:
        lengths = []
        for caption in record.captions:
            ids = tokenizer.encode(caption)
            lengths.append(len(ids))
            if tokenizer.unk_id in ids:
                with_unknown += 1
                characters.update(caption)
        pieces += lengths
        texts = set(record.texts())
        if len(texts) < len(record.captions):
            repeated[record.image_id] = len(record.captions) - len(texts)
        if longer := sum(length > max_pieces for length in lengths):
            too_long[record.image_id] = longer
    unknown = {c: n for c, n in characters.most_common() if tokenizer.unk_id in tokenizer.encode(c)}
    kinds = Counter(second.is_answer for r in records for _, second in r.texts() if second is not None)
    return CaptionCounts(
        pictures=len(records),
        captions=len(pieces),
        questions=kinds[True],
        tagged=kinds[False],
        captions_a_picture=Spread.of(len(record.captions) for record in records),
        characters=Spread.of(len(caption) for record in records for caption in record.captions),
        pieces=Spread.of(pieces),
        repeated=repeated,
        too_long=too_long,
        unknown=unknown,
        with_unknown=with_unknown,
    )
