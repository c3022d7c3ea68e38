"""What a metric is: tokens of captions and of human captions in, a `Score` out.

`METRICS` names all there are. They compute what the COCO caption code computes, whose package pycocoevalcap
they equal within 1e-9, overall and for every picture; CIDEr there is CIDEr-D. BLEU and ROUGE-L lie in 0..1,
CIDEr in 0..10. Each is described in its own file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from eval.significance import Interval

Tokens = list[str]


@dataclass(frozen=True)
class Score:
    """The numbers of one metric; BLEU has four names, the others one.

    Overall is the mean of the pictures, except where a subclass says otherwise, as BLEU's does.
    """

    overall: dict[str, float]
    per_image: dict[str, list[float]]
    """Name -> one number a picture, in the order of the candidates."""

    @classmethod
    def of_means(cls, per_image: Mapping[str, list[float]]) -> Score:
        """The score whose overall numbers are the means of these."""
        return cls({name: fmean(values) for name, values in per_image.items()}, dict(per_image))

    def resampled(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """The overall numbers if pictures counted otherwise than once each.

        CIDEr's document frequencies stay those of the whole set: the weight of a word belongs to the measure,
        not to the draw.

        Args:
            weights: (K, N), how often each of N pictures counts, K times over. No row sums to 0.

        Returns:
            Name -> (K,) numbers.
        """
        totals = weights.sum(axis=1)
        return {name: weights @ values / totals for name, values in self.per_image.items()}

    def joined(self, other: Score) -> Score:
        """The score of this one's pictures and another's by the same metric, in this order."""
        return Score.of_means(
            {name: values + other.per_image[name] for name, values in self.per_image.items()}
        )


@dataclass(frozen=True, kw_only=True)
class Scores:
    """All that `eval.scorer.Scorer` found out, with what a reader needs to repeat it."""

    protocol: str
    segmenter: str
    unit: str
    """What is counted: words, characters, given words."""
    version: str
    """Of the segmenter, with its dictionary."""
    steps: tuple[str, ...]
    """From a sentence to its tokens."""
    n_images: int
    n_references: int
    overall: dict[str, float]
    per_image: dict[str, dict[str, float]]
    """Image id -> metric name -> number, in the order of the ids."""
    by_metric: tuple[Score, ...]
    """What ``overall`` and ``per_image`` were taken from, pictures in the same order."""
    intervals: dict[str, Interval] = field(default_factory=dict)
    """Of the overall numbers; empty where none were asked for."""


Metric = Callable[[Sequence[Tokens], Sequence[Sequence[Tokens]]], Score]
"""Takes a caption and one or more references for each picture, all cut by the same protocol."""


def _from(module: str, name: str) -> Metric:
    """A metric whose file, and what that needs, is loaded when it is first used."""

    def score(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> Score:
        return getattr(import_module(module), name)(candidates, references)

    return score


METRICS: dict[str, Metric] = {
    "bleu": _from("eval.bleu", "bleu"),
    "rouge": _from("eval.rouge", "rouge"),
    "cider": _from("eval.cider", "cider"),
    "cider-unclipped": _from("eval.cider", "cider_unclipped"),
    "meteor": _from("eval.meteor", "meteor"),
    "spice": _from("eval.spice", "spice"),
}
DEFAULT_METRICS = ("bleu", "rouge", "cider")
METRIC_TITLES = {
    "bleu-1": "BLEU-1",
    "bleu-2": "BLEU-2",
    "bleu-3": "BLEU-3",
    "bleu-4": "BLEU-4",
    "rouge-l": "ROUGE-L",
    "cider": "CIDEr",
    "cider-unclipped": "CIDEr (unclipped)",
    "meteor": "METEOR",
    "spice": "SPICE",
}
"""Name in `Scores` -> name in tables, in their order."""
METRIC_NOTES = {
    "meteor": "METEOR splits Chinese into characters and has no Chinese resources; for comparison only",
}
"""Name in `Scores` -> what stands beside the number wherever it is shown or written."""


def check_metrics(names: Sequence[str]) -> None:
    """Refuse what is no list of one or more names in `METRICS`.

    Raises:
        TypeError: A single string was given.
        ValueError: There is no name, or one that `METRICS` lacks; those it has are told.
    """
    if isinstance(names, str):
        raise TypeError(f"metrics: wanted a list of names, such as [{names!r}], got the string {names!r}")
    if not names:
        raise ValueError(f"metrics: wanted one or more of {', '.join(sorted(METRICS))}, got none")
    for name in names:
        if name not in METRICS:
            raise ValueError(f"unknown metric {name!r}; choose from {', '.join(sorted(METRICS))}")
