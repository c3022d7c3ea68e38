"""The numbers behind the report's charts: distributions, lengths, words, and what stands beside each."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from markupsafe import Markup

from eval import charts
from eval.evaluation import Evaluation
from eval.metrics import METRIC_TITLES
from eval.protocols import Protocol
from eval.significance import Interval
from eval.tag_recall import TagRecall

HEADLINES = ("cider", "bleu-4", "rouge-l")
"""Metrics whose distributions are drawn."""
N_BINS = 24
TALL, LOW = 120, 72
"""Heights of a chart alone and of one among others; the width is `eval.charts.WIDTH`."""
OPEN_END = 0.99
"""CIDEr's scale ends near this share of the pictures; a few reach ten times the mean."""
SHOWN_AS_ZERO = 0.0005
"""BLEU of no match is a number just above 0."""
SAMPLE = 2000
"""Pictures whose words are counted; cutting all sentences of a large set again would take a minute."""
WORDS = 12
"""Words said most above, and most below, what people say."""


RECALL = ("recall", "not_detected_share", "images_not_detected")
"""Fields of `TagRecall` that are shares."""
VARIETY = {
    "mean_length": "{:.1f}",
    "vocabulary": "{}",
    "distinct_1": "{:.3f}",
    "distinct_2": "{:.3f}",
    "self_bleu_4": "{:.3f}",
    "distinct_captions": "{:.1%}",
    "repetition": "{:.1%}",
    "unknown": "{:.1%}",
}
"""Field of `Diversity` -> how it is written."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One metric over the pictures, for one system."""

    name: str
    value: float
    interval: Interval | None
    median: float
    zero: float
    """Share of pictures that score 0."""
    chart: Markup


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One metric under the first protocol."""

    metric: str
    title: str
    strip: Markup
    spreads: tuple[Spread, ...]


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """How long the captions of one system, or of people, are."""

    name: str
    """Empty for people."""
    mean: float
    """Tokens."""
    chart: Markup


@dataclass(frozen=True, kw_only=True)
class Word:
    """A token and the share of captions that hold it."""

    text: str
    people: float
    systems: tuple[float, ...]

    @property
    def excess(self) -> float:
        """How much more often the systems say it than people, -1..1."""
        return fmean(self.systems) - self.people


@dataclass(frozen=True, kw_only=True)
class Wording:
    """What the captions of a sample of pictures are made of."""

    n_pictures: int
    lengths: tuple[Lengths, ...]
    more: tuple[Word, ...]
    """Words that the systems say more often than people, the most first."""
    less: tuple[Word, ...]
    """Words that they say less often."""

    @property
    def widest(self) -> float:
        """The largest share, for the scale of the bars."""
        return max(
            (share for word in (*self.more, *self.less) for share in (word.people, *word.systems)),
            default=1.0,
        )


@dataclass(frozen=True, kw_only=True)
class ObjectCounts:
    """One object in the pictures of one system."""

    name: str
    named: int
    not_named: int
    """Detected, but not named."""
    not_detected: int
    """Named, though not detected."""


def object_counts(recall: TagRecall) -> tuple[ObjectCounts, ...]:
    """The objects met most often, detected or named."""
    named = Counter(name for each in recall.per_image.values() for name in each.named)
    not_named = Counter(name for each in recall.per_image.values() for name in each.not_named)
    not_detected = Counter(name for each in recall.per_image.values() for name in each.not_detected)
    met = named + not_named + not_detected
    return tuple(
        ObjectCounts(name=name, named=named[name], not_named=not_named[name], not_detected=not_detected[name])
        for name in sorted(met, key=lambda name: (-met[name], name))[:WORDS]
    )


def tiles(evaluation: Evaluation) -> tuple[Tile, ...]:
    """The headline metrics that were measured."""
    measured = evaluation.systems[0].scores[0].overall
    return tuple(_tile(evaluation, metric) for metric in HEADLINES if metric in measured)


def wording(evaluation: Evaluation, protocol: Protocol) -> Wording:
    """Lengths and words of captions and references, cut by the first protocol."""
    image_ids = _sample(sorted(evaluation.references))
    people = [protocol.cut(text) for image_id in image_ids for text in evaluation.references[image_id]]
    systems = [
        [protocol.cut(system.captions[image_id].caption) for image_id in image_ids]
        for system in evaluation.systems
    ]
    more, less = _words(people, systems)
    names = ["", *(system.name for system in evaluation.systems)]
    lengths = [Counter(map(len, people)), *(system.diversity[0].lengths for system in evaluation.systems)]
    return Wording(
        n_pictures=len(image_ids),
        lengths=_lengths(names, [sorted(Counter(counts).elements()) for counts in lengths]),
        more=more,
        less=less,
    )


def _tile(evaluation: Evaluation, metric: str) -> Tile:
    scores = [system.scores[0] for system in evaluation.systems]
    values = [[each[metric] for each in system.per_image.values()] for system in scores]
    high = _scale_end(values) if metric == "cider" else 1.0
    counts = [charts.bin_counts(each, 0, high, N_BINS) for each in values]
    overall = [system.overall[metric] for system in scores]
    intervals = [system.intervals.get(metric) for system in scores]
    return Tile(
        metric=metric,
        title=METRIC_TITLES[metric],
        strip=charts.interval_strip(overall, intervals),
        spreads=tuple(
            Spread(
                name=system.name,
                value=overall[index],
                interval=intervals[index],
                median=median(values[index]),
                zero=sum(value < SHOWN_AS_ZERO for value in values[index]) / len(values[index]),
                chart=charts.histogram(
                    counts[index],
                    low=0,
                    high=high,
                    top=max(map(max, counts)),
                    height=TALL if len(counts) == 1 else LOW,
                    css=charts.colour_class(index),
                    labelled_by=f"{metric}-{index}",
                    open_end=max(values[index]) > high,
                ),
            )
            for index, system in enumerate(evaluation.systems)
        ),
    )


def _scale_end(values: Sequence[Sequence[float]]) -> float:
    """Where nearly all values of all systems end; 1 at least."""
    ends = [sorted(each)[int(OPEN_END * (len(each) - 1))] for each in values]
    return charts.nice_limit(max(1.0, *ends))


def _sample(image_ids: Sequence[str]) -> Sequence[str]:
    """At most `SAMPLE` of them, at even distances."""
    if len(image_ids) <= SAMPLE:
        return image_ids
    return [image_ids[i * len(image_ids) // SAMPLE] for i in range(SAMPLE)]


def _lengths(names: Sequence[str], lengths: Sequence[Sequence[int]]) -> tuple[Lengths, ...]:
    """One chart for each name and its sorted lengths; heights are shares, as people wrote more captions."""
    longest = max(each[int(OPEN_END * (len(each) - 1))] for each in lengths)
    high = 4 * (longest // 4 + 1)  # the axis has four parts
    n_bins = min(high, 2 * N_BINS)
    counts = [charts.bin_counts(each, 0, high, n_bins) for each in lengths]
    top = max(max(each) / sum(each) for each in counts)
    return tuple(
        Lengths(
            name=name,
            mean=fmean(lengths[index]),
            chart=charts.histogram(
                counts[index],
                low=0,
                high=high,
                top=top * sum(counts[index]),
                height=LOW,
                css=charts.colour_class(index - 1) if index else "human",
                labelled_by=f"length-{index}",
                open_end=max(lengths[index]) >= high,
            ),
        )
        for index, name in enumerate(names)
    )


def _words(
    people: Sequence[list[str]], systems: Sequence[Sequence[list[str]]]
) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    """The words whose shares differ most from people's: those said more often, those said less."""
    by_people, *by_systems = (_shares(sentences) for sentences in (people, *systems))
    words = [
        Word(
            text=text,
            people=by_people.get(text, 0.0),
            systems=tuple(shares.get(text, 0.0) for shares in by_systems),
        )
        for text in set().union(by_people, *by_systems)
    ]
    words.sort(key=lambda word: (word.excess, word.text))
    return (
        tuple(word for word in words[: -WORDS - 1 : -1] if word.excess > 0),
        tuple(word for word in words[:WORDS] if word.excess < 0),
    )


def _shares(sentences: Iterable[list[str]]) -> dict[str, float]:
    """Token -> share of the sentences that hold it."""
    holds: Counter[str] = Counter()
    n_sentences = 0
    for tokens in sentences:
        holds.update(set(tokens))
        n_sentences += 1
    return {token: count / n_sentences for token, count in holds.items()}
