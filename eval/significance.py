"""How sure a score is, and whether one system is really better than another.

**Intervals** are percentile bootstrap intervals over pictures (Efron, Annals of Statistics 1979): as many
pictures as there are, drawn with replacement, are scored again and again. They tell what other pictures of
the same kind might have given, and nothing of another training run, other annotators or another domain.
CIDEr's document frequencies stay those of the whole set: the weight of a word belongs to the measure, not to
the draw. BLEU and METEOR, which are no means, are computed anew from the counts of the drawn pictures.

**Tests** are paired, as both systems wrote about the same pictures. The p-value is that of approximate
randomisation (Noreen 1989; Riezler and Maxwell, W05-0908): were the systems equally good, their captions of
any picture could change sides, so how often does changing sides at random make a difference as large, of
either sign? This assumes nothing about how scores are distributed and holds for few pictures too, where the
paired bootstrap (Koehn, W04-3250) finds differences too readily. The interval of the difference, which
changing sides cannot give, is the paired bootstrap's.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from eval.metrics import Score

RESAMPLES = 1000
SEED = 0
CONFIDENCE = 0.95

_CHUNK = 2_000_000
"""Weights held at once: 16 MB as float64."""
_ROUNDING = 1e-12
"""A difference no larger comes from the order in which numbers were added."""
WIN = 0.001
"""Least difference of a picture's numbers that is not a tie: what three decimals show. BLEU-4 of a picture
without a common run of four words is not 0 but some small number, and whose is larger means nothing."""

_Numbers = dict[str, "np.ndarray"]
"""Metric name -> (K,) overall numbers of K draws."""


@dataclass(frozen=True)
class Interval:
    """Where a number lies, with the confidence that was asked for."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """Two systems by one metric."""

    difference: float
    """The first system's overall number less the second's."""
    interval: Interval
    """Of the difference."""
    p_value: float
    """Two-sided; no smaller than 1 / (resamples + 1)."""
    holm_p_value: float
    """Corrected for the number of pairs of systems that were compared; of two systems, the same."""
    wins: int
    """Pictures on which the first system's number is higher by 0.001 or more."""
    ties: int
    """Pictures on which the numbers differ by less than 0.001."""
    losses: int
    """Pictures on which the second system's number is higher by 0.001 or more."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two systems under one protocol."""

    first: str
    second: str
    protocol: str
    tests: dict[str, PairedTest]
    """By the name of the number: bleu-1, cider."""


def intervals(
    *scores: "Score", resamples: int = RESAMPLES, seed: int = SEED, confidence: float = CONFIDENCE
) -> dict[str, Interval]:
    """Percentile bootstrap interval of every overall number.

    Args:
        scores: Of one system over the same pictures; a draw of pictures serves all of them.
        resamples: K, draws of pictures.
        seed: The same seed draws the same pictures.
        confidence: Share of the draws between the ends.

    Raises:
        ValueError: ``resamples`` is below 1, or ``confidence`` not between 0 and 1.
    """
    _check(resamples, confidence)
    n_images = _n_images(scores)
    drawn = _joined(_resampled(scores, weights) for weights in _draws(n_images, resamples, seed))
    return {name: _percentiles(values, confidence) for name, values in drawn.items()}


def compare(
    systems: Mapping[str, Sequence["Score"]],
    *,
    protocol: str,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    confidence: float = CONFIDENCE,
) -> tuple[Comparison, ...]:
    """Test every pair of systems by every metric.

    Args:
        systems: Name -> scores by the same metrics, over the same pictures in the same order.
        protocol: Under which all were scored.
        resamples: K, draws of pictures, and as many exchanges of captions.
        seed: The same seed gives the same numbers.
        confidence: Of the intervals.

    Returns:
        One comparison a pair, in the order of ``systems``; none of a single system.

    Raises:
        ValueError: Systems have other metrics or another number of pictures, ``resamples`` is below 1, or
            ``confidence`` not between 0 and 1.
    """
    _check(resamples, confidence)
    pairs = list(combinations(systems, 2))
    tests = [
        _paired_tests(systems[first], systems[second], resamples, seed, confidence) for first, second in pairs
    ]
    corrected = {name: holm([each[name].p_value for each in tests]) for each in tests[:1] for name in each}
    return tuple(
        Comparison(
            first=first,
            second=second,
            protocol=protocol,
            tests={name: replace(test, holm_p_value=corrected[name][i]) for name, test in tests[i].items()},
        )
        for i, (first, second) in enumerate(pairs)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of several tests, each such that a bound on it bounds the chance of any false finding.

    Holm, Scandinavian Journal of Statistics 1979. Returned in the order given.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def _paired_tests(
    first: Sequence["Score"], second: Sequence["Score"], resamples: int, seed: int, confidence: float
) -> dict[str, PairedTest]:
    """Two systems by every metric; the correction for further systems is still to be made."""
    import numpy as np

    n_images = _n_images([*first, *second])
    if [list(score.overall) for score in first] != [list(score.overall) for score in second]:
        raise ValueError("the systems were scored by different metrics; score them by the same")
    both = [ours.joined(theirs) for ours, theirs in zip(first, second, strict=True)]
    observed = _difference(
        {name: np.array(value) for score in first for name, value in score.overall.items()},
        {name: np.array(value) for score in second for name, value in score.overall.items()},
    )
    drawn = _joined(
        _difference(_resampled(first, weights), _resampled(second, weights))
        for weights in _draws(n_images, resamples, seed)
    )
    exchanged = _joined(
        _difference(_resampled(both, weights), _resampled(both, 1 - weights))
        for weights in _exchanges(n_images, resamples, seed)
    )
    per_image = {
        name: np.subtract(ours.per_image[name], theirs.per_image[name])
        for ours, theirs in zip(first, second, strict=True)
        for name in ours.per_image
    }
    return {
        name: PairedTest(
            difference=float(difference),
            interval=_percentiles(drawn[name], confidence),
            p_value=(p_value := _p_value(float(difference), exchanged[name])),
            holm_p_value=p_value,
            wins=int((per_image[name] >= WIN - _ROUNDING).sum()),
            ties=int((np.abs(per_image[name]) < WIN - _ROUNDING).sum()),
            losses=int((per_image[name] <= _ROUNDING - WIN).sum()),
        )
        for name, difference in observed.items()
    }


def _p_value(difference: float, exchanged: "np.ndarray") -> float:
    """How often chance makes a difference as large; the given one is counted, so that none is 0."""
    import numpy as np

    hits = int((np.abs(exchanged) >= abs(difference) - _ROUNDING).sum())
    return (hits + 1) / (len(exchanged) + 1)


def _draws(n_images: int, resamples: int, seed: int) -> Iterator["np.ndarray"]:
    """(k, N) float64, how often each picture is drawn; all chunks together have K rows."""
    import numpy as np

    generator = np.random.default_rng(seed)
    for rows in _chunks(n_images, resamples):
        weights = np.empty((rows, n_images))
        for row in weights:  # drawn one by one, so that the size of a chunk changes nothing
            row[:] = np.bincount(generator.integers(n_images, size=n_images), minlength=n_images)
        yield weights


def _exchanges(n_images: int, resamples: int, seed: int) -> Iterator["np.ndarray"]:
    """(k, 2 N) float64, 1 for the captions on the first side: N of the first system, N of the second."""
    import numpy as np

    generator = np.random.default_rng(seed)
    for rows in _chunks(2 * n_images, resamples):
        kept = np.stack([generator.random(n_images) < 0.5 for _ in range(rows)])
        yield np.hstack([kept, ~kept]).astype(np.float64)


def _chunks(width: int, resamples: int) -> Iterator[int]:
    """Numbers of rows that add up to ``resamples``; so many of this width are held at once."""
    most = max(1, _CHUNK // width)
    for done in range(0, resamples, most):
        yield min(most, resamples - done)


def _resampled(scores: Sequence["Score"], weights: "np.ndarray") -> _Numbers:
    return {name: values for score in scores for name, values in score.resampled(weights).items()}


def _difference(first: _Numbers, second: _Numbers) -> _Numbers:
    return {name: first[name] - second[name] for name in first}


def _joined(chunks: Iterable[_Numbers]) -> _Numbers:
    import numpy as np

    parts = list(chunks)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _percentiles(values: "np.ndarray", confidence: float) -> Interval:
    import numpy as np

    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def _n_images(scores: Sequence["Score"]) -> int:
    counts = {len(values) for score in scores for values in score.per_image.values()}
    if len(counts) != 1:
        raise ValueError(f"scores over {sorted(counts)} pictures; wanted are scores over the same ones")
    return counts.pop()


def _check(resamples: int, confidence: float) -> None:
    if resamples < 1:
        raise ValueError(f"resamples must be 1 or more, got {resamples}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
