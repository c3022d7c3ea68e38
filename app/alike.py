"""Captions that nearly repeat each other: how many there are of each, without looking at any two of them.

Compared are sets of words; order and repetition do not count. Two sets are alike where their Jaccard index is
0.8 or more and they differ by no more than one word on either side: the same words, one more (of four or
more), or one in place of another (of nine or more).

A set is known by the sum of random numbers, one a word. Two sets that differ by one word have the same sum
once each is without its own word, so that equal sums among a caption's words less one are all there is to
count: time grows with the number of words, as in the deletion neighbourhoods of FastSS (Bocek et al., 2007).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

LEAST_TO_ADD = 4
"""Words of the smaller of two sets, of which one has a word more: 4 / 5 is 0.8."""
LEAST_TO_REPLACE = 9
"""Words of two sets, each with a word of its own: 8 / 10 is 0.8."""

_Sums = NDArray[np.uint64]


def count_alike(words: pa.ListArray) -> NDArray[np.int32]:
    """(N,) how many other captions have nearly the same words; 0 of one without a word."""
    parents = pc.list_parent_indices(words).to_numpy().astype(np.int64)
    flat = words.flatten().to_numpy().astype(np.int64)
    found = np.zeros(len(words), np.int32)
    if not len(flat):
        return found
    n_words = int(flat.max()) + 1
    once = np.unique(parents * n_words + flat)  # (P,) each word of a caption once
    parents, flat = np.divmod(once, n_words)
    starts = np.flatnonzero(np.diff(parents, prepend=-1))
    sizes = np.diff(starts, append=len(flat))  # (C,) of the captions that have words
    numbers = np.random.default_rng(0).integers(2**64, size=n_words, dtype=np.uint64)[flat]  # (P,)
    found[parents[starts]] = _count(numbers, starts, sizes) - 1  # less the caption itself
    return found


def _count(numbers: _Sums, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """(C,) captions like each one, itself among them."""
    whole = np.add.reduceat(numbers, starts)  # (C,) modulo 2 ** 64
    less_one = np.repeat(whole, sizes) - numbers  # (P,) without each of the words
    same = _occurrences(whole, whole)
    longer = _occurrences(whole, less_one) * (sizes >= LEAST_TO_ADD)
    shorter = np.add.reduceat(_occurrences(less_one, whole), starts) * (sizes > LEAST_TO_ADD)
    shared = np.add.reduceat(_occurrences(less_one, less_one), starts)
    replaced = (shared - sizes * same) * (sizes >= LEAST_TO_REPLACE)  # the same set is found by each word
    return same + longer + shorter + replaced


def _occurrences(wanted: _Sums, among: _Sums) -> NDArray[Any]:
    """How often each wanted sum is among others."""
    ascending = np.sort(among)
    return ascending.searchsorted(wanted, "right") - ascending.searchsorted(wanted, "left")
