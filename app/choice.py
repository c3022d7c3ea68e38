"""Which pictures the filters leave, in which order: rows of the index."""

from __future__ import annotations

from collections.abc import Collection as Names
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from app.address import ANY, Filters, Range
from app.index import METRICS, Index, Ints, Mask, System

_CHOICES_KEPT = 32  # of 100,000 rows, 0.4 MB each


@lru_cache(maxsize=_CHOICES_KEPT)
def chosen(
    index: Index,
    system: System | None,
    filters: Filters,
    marked: frozenset[str] = frozenset(),
    against: tuple[System, ...] = (),
    also: frozenset[str] = frozenset(),
) -> Ints:
    """Rows of the pictures that pass the filters, sorted.

    Args:
        index: The pictures.
        system: Whose captions are searched and scored; without one, names and references are.
        filters: What is wanted.
        marked: Pictures that somebody marked.
        against: Systems compared, two or more: by which captions differ, and differences are sorted.
        also: Pictures that hold the text although the index does not know it: in captions made just now.
    """
    kept = np.ones(len(index), np.bool_)
    if filters.q.strip():
        kept &= holds_text(index, system, filters.q.strip(), filters.regex) | _of(index, also)
    for tag in filters.tag:
        kept &= _has_tag(index, tag)
    if filters.split:
        kept &= pc.equal(index.column("split"), filters.split).to_numpy(zero_copy_only=False)
    if filters.flag:
        kept &= flagged(index, system, filters.flag, marked)
    if system is not None:
        kept &= _within(system.numbers(filters.metric), filters.score)
        kept &= _within(system.lengths, filters.length)
    if filters.differing and len(against) > 1:
        kept &= differing(against)
    rows = np.flatnonzero(kept).astype(np.int32)
    return _sorted(rows, index, system, filters, against)


def holds_text(index: Index, system: System | None, text: str, regex: bool = False) -> Mask:
    """(N,) where name, caption or references hold the text, whatever its case."""
    found = matches(index.column("image_id"), text, regex)
    if system is not None:
        found |= matches(system.column("caption"), text, regex)
    references = index.column("references")
    hits = np.flatnonzero(matches(references.flatten(), text, regex))
    found[pc.list_parent_indices(references).to_numpy()[hits]] = True
    return found


def matches(texts: pa.Array, text: str, regex: bool = False) -> Mask:
    """(N,) where one of the texts is held, or fits; nothing fits what is no regular expression."""
    match = pc.match_substring_regex if regex else pc.match_substring
    if regex and not is_regex(text):
        return np.zeros(len(texts), np.bool_)
    return match(texts, text, ignore_case=True).fill_null(False).to_numpy(zero_copy_only=False).copy()


def is_regex(text: str) -> bool:
    """Whether RE2 takes it; whatever it takes is searched in linear time."""
    try:
        pc.match_substring_regex(pa.array([""]), text)
    except pa.ArrowInvalid:
        return False
    return True


def flagged(index: Index, system: System | None, flag: str, marked: Names[str] = ()) -> Mask:
    """(N,) where a picture is of that kind, see `app.address.FLAGS`."""
    if flag == "marked":
        return _of(index, marked)
    if system is None:
        return np.zeros(len(index), np.bool_)
    if flag == "undetected":
        return system.has_undetected
    return system.numbers(flag) > 0


def differing(systems: Sequence[System]) -> Mask:
    """(N,) where not all of the systems say the same, having a caption or none."""
    first = systems[0].column("caption").fill_null("")
    same = np.ones(len(first), np.bool_)
    for other in systems[1:]:
        same &= pc.equal(first, other.column("caption").fill_null("")).to_numpy(zero_copy_only=False)
    return ~same


def warm_up() -> None:
    """Search once for nothing: the first search of a process takes half a second more."""
    pc.match_substring(pa.array(["a"]), "a", ignore_case=True)


def neighbours(row: int | None, among: Ints) -> tuple[int | None, int | None, int | None]:
    """The rows before and after one in a list, and its place from 0; None where there is none."""
    places = np.flatnonzero(among == (-1 if row is None else row))
    if not len(places):
        return None, None, None
    at = int(places[0])
    return (
        int(among[at - 1]) if at else None,
        int(among[at + 1]) if at + 1 < len(among) else None,
        at,
    )


def pages(n_items: int, page_size: int) -> int:
    """Number of pages; 1 where there is nothing."""
    return max(1, -(-n_items // page_size))


def _of(index: Index, image_ids: Names[str]) -> Mask:
    """(N,) the pictures of those ids."""
    found = np.zeros(len(index), np.bool_)
    found[[row for image_id in image_ids if (row := index.row(image_id)) is not None]] = True
    return found


def _has_tag(index: Index, tag: str) -> Mask:
    found = np.zeros(len(index), np.bool_)
    if tag in index.meta.tags:
        tags = index.column("tags")
        hits = np.flatnonzero(tags.flatten().to_numpy() == index.meta.tags.index(tag))
        found[pc.list_parent_indices(tags).to_numpy()[hits]] = True
    return found


def _within(values: NDArray[np.float64] | Ints, wanted: Range) -> Mask:
    low, high = wanted
    kept = np.ones(len(values), np.bool_)
    if wanted == ANY:
        return kept
    if low is not None:
        kept &= values >= low
    if high is not None:
        kept &= values <= high
    return kept  # a number that is not there is in no range


def _sorted(
    rows: Ints, index: Index, system: System | None, filters: Filters, against: Sequence[System]
) -> Ints:
    keys = _sort_keys(index, system, filters.sort, against)
    if keys is None:
        return rows[::-1] if filters.descending else rows
    values = keys[rows].astype(np.float64)
    order = np.argsort(-values if filters.descending else values, kind="stable")
    known = ~np.isnan(values[order])
    return rows[np.concatenate([order[known], order[~known]])]  # those without a number come last


def _sort_keys(
    index: Index, system: System | None, sort: str, against: Sequence[System]
) -> NDArray[np.float64] | Ints | None:
    if sort == "boxes":
        return index.regions
    if sort == "difference":
        return score_difference(against) if len(against) > 1 else None
    if system is None or sort == "name":
        return None
    if sort == "alike":
        return system.numbers("alike")
    if sort == "length":
        return np.where(system.captioned, system.lengths, np.nan)
    return system.numbers(sort)


def score_difference(systems: Sequence[System]) -> NDArray[np.float64]:
    """(N,) by how much the first system's CIDEr is above the best of the others; NaN where one has none."""
    first, *others = (system.numbers(METRICS[0]) for system in systems)
    return first - np.maximum.reduce(others)
