"""The words of a caption, and which regions each of them rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.address import Basis
from eval.overlap import token_places
from eval.segmenters import SEGMENTERS

if TYPE_CHECKING:
    from captioning.captioner import Attention, Importance


@dataclass(frozen=True)
class Word:
    """A word and where it stands in its caption: first character, the one after the last."""

    text: str
    start: int
    end: int


def words_of(caption: str) -> list[Word]:
    """The words of a caption as it is written, in order; punctuation stands alone."""
    tokens = SEGMENTERS["jieba"].cut(caption)
    places = token_places(caption, tokens)
    return [Word(caption[place[0] : place[1]], *place) for place in places if place is not None]


def attention_by_word(words: Sequence[Word], found: Attention) -> NDArray[np.float32]:
    """(W, R) share of attention, the mean of the pieces of each word."""
    sums, counts = _gathered(words, found.places, found.regions)
    return (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)


def importance_by_word(words: Sequence[Word], found: Importance) -> NDArray[np.float32]:
    """(W, R) log-probability that each word loses, the sum over its pieces."""
    return _gathered(words, found.places, found.regions)[0]


def heat(values: NDArray[np.float32], basis: Basis) -> list[float]:
    """How much each region is filled, 0 to 1; nothing where no region stands out.

    Attention is spread over all regions, so that what is above their mean is shown; of importance, what is
    above nothing. The largest is 1.
    """
    above = values - (values.mean() if basis == "attention" and len(values) else 0.0)
    largest = float(above.max(initial=0.0))
    return [max(0.0, float(value)) / largest if largest > 1e-9 else 0.0 for value in above]


def _gathered(
    words: Sequence[Word], places: Sequence[tuple[int, int]], values: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Sums over the pieces that begin in each word, (W, R), and how many they are, (W,)."""
    sums = np.zeros((len(words), values.shape[1]), np.float32)
    counts = np.zeros(len(words), np.int64)
    for (start, _), piece in zip(places, values, strict=True):
        at = next((at for at, word in enumerate(words) if word.start <= start < word.end), None)
        if at is not None:
            sums[at] += piece
            counts[at] += 1
    return sums, counts
