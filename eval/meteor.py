"""METEOR 1.5 (Denkowski and Lavie, W14-3348): the program of its authors, as pycocoevalcap calls it.

It aligns a caption with each reference, word by word, and weighs precision, recall and how broken the order
is; the reference that fits best counts. It runs with ``-l en -norm``, as published numbers do. **Chinese it
splits into characters**, whatever the protocol cut, and matches them by equality alone: its stems, synonyms
and paraphrases are English. So it is a character metric under every Chinese protocol.

Like BLEU it belongs to a whole corpus: overall is computed from the added counts of all pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from eval.java import failure, jar, run_jar
from eval.metrics import Score, Tokens

NAME = "meteor"
N_TOLD = 23

# Parameters for English in version 1.5: recall against precision, breaks in the order (exponent and weight),
# content words against function words; then the four ways to match: exact, stem, synonym, paraphrase.
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
MATCHERS = np.array([1.0, 0.6, 0.8, 0.6])

STARTING_SECONDS = 900
"""It starts in 7 s; a machine may be busy."""
SECONDS_PER_SENTENCE = 0.1
"""Measured: 1 ms."""

Floats = NDArray[np.float64]


def meteor(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> "MeteorScore":
    """METEOR, in 0 to 1; overall is of the whole corpus, not a mean.

    Raises:
        MetricUnavailable: There is no Java.
        ChildProcessError: The program failed.
        TimeoutError: It took too long.
    """
    lines = [
        " ||| ".join(["SCORE", *map(_plain, sentences), _plain(tokens)])
        for tokens, sentences in zip(candidates, references, strict=True)
    ]
    n_sentences = len(lines) + sum(map(len, references))
    answer = run_jar(
        "METEOR",
        jar("meteor", "meteor-1.5.jar"),
        ["-", "-", "-stdio", "-l", "en", "-norm"],
        memory="2G",
        seconds=STARTING_SECONDS + SECONDS_PER_SENTENCE * n_sentences,
        text="".join(f"{line}\n" for line in lines),
    )
    try:
        told = np.array([line.split() for line in answer.splitlines() if line], dtype=np.float64)
        return MeteorScore.of_counts(_counts(told.reshape(len(lines), N_TOLD)))
    except ValueError as error:
        found = f"wanted {len(lines)} lines of {N_TOLD} numbers, found {answer[:200]!r}"
        raise failure("METEOR", found) from error


@dataclass(frozen=True)
class MeteorScore(Score):
    """METEOR with what it was computed from."""

    counts: Floats = field(compare=False, repr=False)
    """(N, 6): matched words of caption and of reference, and all their words, weighted; stretches of matched
    words in the same order, 0 where caption and reference are the same; matched words."""

    @classmethod
    def of_counts(cls, counts: Floats) -> "MeteorScore":
        """The score of N captions."""
        return cls(
            {NAME: float(_meteor(counts.sum(axis=0)))}, {NAME: _meteor(counts).tolist()}, counts=counts
        )

    def resampled(self, weights: Floats) -> dict[str, Floats]:
        """See `Score.resampled`: the counts are weighted, not the pictures' METEOR."""
        return {NAME: _meteor(weights @ self.counts)}

    def joined(self, other: Score) -> "MeteorScore":
        """See `Score.joined`."""
        if not isinstance(other, MeteorScore):
            raise TypeError(f"METEOR can be joined with METEOR only, not with {', '.join(other.overall)}")
        return MeteorScore.of_counts(np.concatenate([self.counts, other.counts]))


def _counts(told: Floats) -> Floats:
    """The counts of `MeteorScore` from what the program tells of each caption.

    Args:
        told: (N, 23): words of caption and reference; function words of both; for each matcher, matched
            content words of both and matched function words of both; stretches; matched words of both.
    """
    words, function_words = told[:, 0:2], told[:, 2:4]
    matched = told[:, 4:20].reshape(-1, len(MATCHERS), 2, 2)  # matcher, content or function, side
    stretches, matched_words = told[:, 20], told[:, 21:23]
    # the program adds no stretch of a caption that equals its reference to those of the corpus
    is_whole = (matched.sum(axis=(1, 2)) == words).all(axis=1) & (stretches == 1)
    return np.column_stack(
        [
            np.einsum("nmks,m,k->ns", matched, MATCHERS, [DELTA, 1 - DELTA]),
            DELTA * (words - function_words) + (1 - DELTA) * function_words,
            np.where(is_whole, 0, stretches),
            matched_words.mean(axis=1),
        ]
    )


def _meteor(counts: Floats) -> Floats:
    """(…, 6) counts -> (…) METEOR."""
    matched, words, stretches, matched_words = np.split(counts, [2, 4, 5], axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):  # without words or matches: 0
        precision, recall = np.moveaxis(matched / words, -1, 0)
        mean = 1 / ((1 - ALPHA) / precision + ALPHA / recall)
        penalty = GAMMA * (stretches / matched_words)[..., 0] ** BETA
        return np.nan_to_num(np.maximum(0, mean * (1 - penalty)))


def _plain(tokens: Tokens) -> str:
    """A sentence on one line, without the program's own separator."""
    return " ".join(" ".join(tokens).replace("|||", " ").split())
