"""BLEU-1..4 (Papineni et al., ACL 2002) with the closest reference length, as pycocoevalcap computes it.

BLEU-n is the geometric mean of the clipped precisions of 1-grams to n-grams, times a penalty for captions
shorter than their references. It belongs to a whole corpus: the counts of all pictures are added before any
is divided. What stands beside a single picture is BLEU of that picture alone, without smoothing, so that
BLEU-4 of most pictures is close to 0; their mean is not the overall score.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from eval.metrics import Score, Tokens
from eval.ngrams import MAX_N, Ints, References, Sentences

NAMES = tuple(f"bleu-{n}" for n in range(1, MAX_N + 1))

# Of pycocoevalcap: they keep a caption without n-grams from dividing by zero, and one without matches at 0.
TINY = 1e-15
SMALL = 1e-9

Floats = NDArray[np.float64]


def bleu(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> "BleuScore":
    """BLEU-1..4, in 0 to 1; overall is of the whole corpus, not a mean. An empty caption scores 0."""
    wanted = References.of(references)
    captions = Sentences(candidates)
    correct = np.zeros((len(captions), MAX_N))
    for n, found in enumerate(wanted.find(captions, np.arange(len(wanted)))):
        ngrams, held = captions.ngrams[n], wanted.held[n]
        hit = np.flatnonzero(found.pair >= 0)
        most = _maxima(wanted.sentences.ngrams[n].count, held.first)  # in one reference of the picture
        clipped = np.minimum(ngrams.count[hit], most[found.pair[hit]])
        correct[:, n] = np.bincount(ngrams.sentence[hit], clipped, minlength=len(captions))
    written = np.maximum(0, captions.lengths[:, None] - np.arange(MAX_N))
    closest = _closest_lengths(captions.lengths, wanted)
    return BleuScore.of_counts(np.column_stack([correct, written, closest]))


@dataclass(frozen=True)
class BleuScore(Score):
    """BLEU with what it was computed from."""

    counts: Floats = field(compare=False, repr=False)
    """(N, 9): n-grams of the caption that a reference holds too, for n of 1 to 4; all n-grams of the caption,
    for n of 1 to 4; length of the closest reference."""

    @classmethod
    def of_counts(cls, counts: Floats) -> "BleuScore":
        """The score of N captions."""
        overall = _bleu(counts.sum(axis=0)).tolist()
        per_image = _bleu(counts).T.tolist()
        return cls(
            dict(zip(NAMES, overall, strict=True)), dict(zip(NAMES, per_image, strict=True)), counts=counts
        )

    def resampled(self, weights: Floats) -> dict[str, Floats]:
        """See `Score.resampled`: the counts are weighted, not the pictures' BLEU."""
        return dict(zip(NAMES, _bleu(weights @ self.counts).T, strict=True))

    def joined(self, other: Score) -> "BleuScore":
        """See `Score.joined`."""
        if not isinstance(other, BleuScore):
            raise TypeError(f"BLEU can be joined with BLEU only, not with {', '.join(other.overall)}")
        return BleuScore.of_counts(np.concatenate([self.counts, other.counts]))


def _bleu(counts: Floats) -> Floats:
    """(…, 9) counts -> (…, 4) BLEU-1..4."""
    correct, written, closest = counts[..., :MAX_N], counts[..., MAX_N:-1], counts[..., -1:]
    precisions = (correct + TINY) / (written + SMALL)
    means = precisions.cumprod(axis=-1) ** (1 / np.arange(1, MAX_N + 1))
    length = written[..., :1]
    ratio = (length + TINY) / (closest + SMALL)
    return means * np.exp(np.minimum(0, 1 - 1 / ratio))


def _closest_lengths(lengths: Ints, references: References) -> Ints:
    """(N,) of the reference whose length is closest to the caption's; of two, the shorter."""
    wanted = references.sentences.lengths
    beyond = wanted.max(initial=0) + 1
    distance = np.abs(wanted - np.repeat(lengths, references.sizes))
    return np.minimum.reduceat(distance * beyond + wanted, references.first) % beyond


def _maxima(values: Ints, first: Ints) -> Ints:
    """The largest of each stretch; the last of ``first`` is the end."""
    return np.maximum.reduceat(values, first[:-1]) if len(values) else values
