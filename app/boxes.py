"""Regions of one picture: what they are called, and which of them are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from features.store import Regions, RegionStore
from features.tags import Lexicon, LexiconError, Tag


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a detector found in a picture."""

    regions: Regions
    names: Sequence[Tag]
    """One a region."""
    stored: bool
    """From the regions file, not found just now."""


def find_lexicon(store: RegionStore) -> Lexicon | None:
    """The Chinese lexicon of a store's vocabulary; None where there is none, and names stay English."""
    try:
        return Lexicon.load("zh", store.vocabulary_id, store.vocabulary)
    except LexiconError:
        return None


def region_names(regions: Regions, lexicon: Lexicon | None, vocabulary: Sequence[str]) -> list[Tag]:
    """What each region is called, in the order of the regions; English where there is no Chinese name."""
    names = []
    for object_id, score in zip(regions.object_ids.tolist(), regions.object_scores.tolist(), strict=True):
        english = vocabulary[object_id]
        chinese = lexicon.chinese(object_id) if lexicon is not None else None
        names.append(Tag(text=chinese or english, name=english, score=score))
    return names


def filter_rows(names: Sequence[Tag], min_score: float, only: Sequence[str]) -> list[int]:
    """Rows of the regions that score enough and, where ``only`` names any, are called so."""
    return [
        row for row, name in enumerate(names) if name.score >= min_score and (not only or name.text in only)
    ]


def select_rows(regions: Regions, rows: Sequence[int]) -> Regions:
    """The same picture with some of its regions."""
    kept = list(rows)
    return replace(
        regions,
        features=regions.features[kept],
        boxes=regions.boxes[kept],
        geometry=regions.geometry[kept],
        object_ids=regions.object_ids[kept],
        object_scores=regions.object_scores[kept],
    )


def best_tags(names: Sequence[Tag], min_score: float) -> list[Tag]:
    """One tag a text, with its best score, best first."""
    best: dict[str, Tag] = {}
    for name in sorted(names, key=lambda tag: -tag.score):
        if name.score >= min_score:
            best.setdefault(name.text, name)
    return list(best.values())
