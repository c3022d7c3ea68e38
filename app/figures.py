"""Numbers behind the charts: how scores, lengths, words and tags are spread over some pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from app.index import Index, Ints, System

N_BINS = 30
MOST = 20
"""Words, and tags, that are shown."""


@dataclass(frozen=True)
class Bin:
    """Pictures with a number from ``low`` to below ``high``."""

    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Count:
    """Captions, or pictures, that have something."""

    text: str
    count: int


@dataclass(frozen=True)
class Mean:
    """What pictures of one kind score in the mean."""

    value: int
    mean: float
    count: int


def score_bins(system: System, metric: str, rows: Ints) -> list[Bin]:
    """Scores of the rows that have one; the scale is that of all pictures, so that it stays where it is."""
    values = system.numbers(metric)
    top = float(np.nanmax(values, initial=0.0)) if system.meta.scored else 0.0
    return _bins(values[rows], max(1.0, np.ceil(top * 10) / 10), N_BINS)


def length_bins(system: System, rows: Ints) -> list[Bin]:
    """Words of the captions of the rows, a bin each number; of long ones, several."""
    longest = int(system.lengths.max(initial=1)) + 1
    step = -(-longest // (2 * N_BINS))
    n_bins = -(-longest // step)
    return _bins(system.lengths[rows][system.captioned[rows]], float(n_bins * step), n_bins)


def word_counts(index: Index, system: System, rows: Ints) -> list[Count]:
    """The words that most captions of the rows hold."""
    words = system.column("words").take(rows)
    parents = pc.list_parent_indices(words).to_numpy()
    flat = words.flatten().to_numpy().astype(np.int64)
    if not len(flat):
        return []
    once = np.unique(parents * len(index.words) + flat) % len(index.words)  # a word counts once a caption
    return _most(np.bincount(once, minlength=len(index.words)), index.words.to_pylist())


def tag_counts(index: Index, rows: Ints) -> list[Count]:
    """The tags that most pictures of the rows have."""
    flat = index.column("tags").take(rows).flatten().to_numpy()
    return _most(np.bincount(flat, minlength=len(index.meta.tags)), index.meta.tags)


def score_by_boxes(index: Index, system: System, metric: str, rows: Ints) -> list[Mean]:
    """Mean score of pictures with so many boxes."""
    boxes, scores = index.regions[rows], system.numbers(metric)[rows]
    known = (boxes >= 0) & ~np.isnan(scores)
    counts = np.bincount(boxes[known])
    sums = np.bincount(boxes[known], scores[known])
    return [Mean(int(at), float(sums[at] / counts[at]), int(counts[at])) for at in np.flatnonzero(counts)]


def _bins(values: NDArray[np.float64] | Ints, top: float, n_bins: int) -> list[Bin]:
    counts, edges = np.histogram(values[~np.isnan(values)], n_bins, (0.0, top))
    return [
        Bin(round(float(low), 6), round(float(high), 6), int(count))
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
    ]


def _most(counts: NDArray[np.int64], names: Sequence[str]) -> list[Count]:
    order = np.argsort(-counts, kind="stable")[:MOST]
    return [Count(names[at], int(counts[at])) for at in order if counts[at]]
