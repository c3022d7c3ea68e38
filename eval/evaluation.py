"""Files in, one `Evaluation` out: what `python -m eval` prints, writes and reports."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from eval.annotations import PredictedCaption
from eval.cautions import Caution, few_pictures, unsegmented
from eval.diversity import Diversity, measure_diversity
from eval.inputs import FilesRefused, Inputs, Predictions, Source, read_inputs
from eval.metrics import DEFAULT_METRICS, Scores, check_metrics
from eval.protocols import Protocol, find_protocol
from eval.scorer import Scorer
from eval.segmentation import SegmentationCache, already_cut
from eval.significance import CONFIDENCE, RESAMPLES, Comparison, compare, intervals
from eval.tag_recall import (
    Detections,
    TagRecall,
    detections_of_predictions,
    detections_of_regions,
    measure_tag_recall,
)

DEFAULT_PROTOCOLS = ("aic-icc", "chars")
"""The headline, and beside it the one without a dictionary."""

FEWEST_RESAMPLES = 100
"""Draws, of which 95% intervals leave out 5."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured, and how."""

    protocols: tuple[str, ...] = DEFAULT_PROTOCOLS
    """How captions are cut and counted: aic-icc (jieba words, the headline), chars, coco-cn (words as the
    files separate them), coco-en (English words)."""
    segmenter: str = ""
    """Segmenter for the protocols that cut words themselves (aic-icc), instead of their own: jieba, chars,
    whitespace, ptb or that of an installed package. Their names then say so."""
    metrics: tuple[str, ...] = DEFAULT_METRICS
    """What is measured: bleu, rouge, cider (CIDEr-D, as the COCO server), cider-unclipped; with Java, meteor
    and spice."""
    allow_missing: bool = False
    """Score the pictures that every system has a caption for when some have none; the rest are left out, not
    counted as 0."""
    allow_extra: bool = False
    """Pass over captions of pictures without references."""
    resamples: int = RESAMPLES
    """Random draws of pictures behind intervals and tests of significance, 100 or more; 0 for neither."""
    confidence: float = CONFIDENCE
    """Confidence of the intervals, between 0 and 1."""
    regions: Path | None = None
    """Regions file: which of its objects Chinese captions name, and boxes for the report's pictures. Without
    it, the tags beside the captions are what was detected."""

    def __post_init__(self) -> None:
        """Check what can be checked before any file is read."""
        for names, what in ((self.protocols, "protocols"), (self.metrics, "metrics")):
            if not names or len(set(names)) < len(names):
                raise ValueError(
                    f"{what}: wanted one or more different ones, got {', '.join(names) or 'none'}"
                )
        self.found_protocols()
        check_metrics(self.metrics)
        if self.resamples < 0 or 0 < self.resamples < FEWEST_RESAMPLES:
            raise ValueError(
                f"resamples must be 0, for neither intervals nor tests, or {FEWEST_RESAMPLES} or more, got "
                f"{self.resamples}: of fewer draws the ends of an interval are chance, and no p-value falls "
                f"below 1 / (draws + 1)"
            )
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, got {self.confidence}")

    @property
    def is_english(self) -> bool:
        """Whether every protocol counts English words."""
        return all(protocol.unit == "English words" for protocol in self.found_protocols())

    def found_protocols(self) -> tuple[Protocol, ...]:
        """The protocols, with the other segmenter where one is set.

        Raises:
            ValueError: A name is unknown, or there is another segmenter and no protocol that counts words.
        """
        protocols = tuple(find_protocol(name) for name in self.protocols)
        if not self.segmenter:
            return protocols
        if all(protocol.unit != "words" for protocol in protocols):
            names = ", ".join(self.protocols)
            raise ValueError(f"--segmenter {self.segmenter}: none of the protocols {names} counts words")
        return tuple(
            find_protocol(name, self.segmenter if protocol.unit == "words" else "")
            for name, protocol in zip(self.protocols, protocols, strict=True)
        )


@dataclass(frozen=True, kw_only=True)
class System:
    """What wrote one file of predictions, and how well it did."""

    name: str
    source: Source
    captions: dict[str, PredictedCaption]
    """Scored picture, by the references' id -> its prediction."""
    scores: tuple[Scores, ...]
    """One for each protocol, in the order of the settings."""
    missing: tuple[str, ...]
    """Reference pictures that it has no prediction for."""
    extra: tuple[str, ...]
    """Its predictions that were passed over because they have no reference."""
    diversity: tuple[Diversity, ...]
    """One for each protocol."""
    tag_recall: TagRecall | None
    """None where nobody says what was detected, and of English captions."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of one or more systems over the same pictures, and everything they rest on."""

    systems: tuple[System, ...]
    """In the order of the files."""
    references: dict[str, tuple[str, ...]]
    """Scored picture -> its human captions."""
    references_source: Source
    comparisons: tuple[Comparison, ...]
    """Every pair of systems under every protocol."""
    cautions: tuple[Caution, ...]
    """What must be said before the numbers."""
    settings: Settings


def evaluate_files(
    predictions: Sequence[Path],
    references: Path,
    settings: Settings | None = None,
    *,
    known: SegmentationCache | None = None,
    processes: int = 1,
) -> Evaluation:
    """Score files of predictions, one a system, against a file of references.

    Args:
        predictions: Any prediction format of `eval.annotations.FORMATS`.
        references: Any reference format.
        settings: By default, as `Settings` has them.
        known: Sentences that were cut before.
        processes: How many may cut sentences at a time; see `eval.segmentation.already_cut`.

    Raises:
        FilesRefused: A file cannot be used, an id is ambiguous, the files name different pictures and that
            was not allowed, they share none, or references hold no token.
        ValueError: The regions file cannot be used or holds none of the pictures.
    """
    settings = settings or Settings()
    inputs = read_inputs(
        predictions, references, allow_missing=settings.allow_missing, allow_extra=settings.allow_extra
    )
    detected = _detected(settings, inputs)  # before anything is scored: the file may be of other pictures
    texts = {system.name: _texts(system, inputs) for system in inputs.systems}
    # The order of the human captions of a picture must not change the last bit of its score.
    people = {image_id: sorted(captions) for image_id, captions in inputs.references.items()}
    sentences = [[*chain.from_iterable(people.values())], *(each.values() for each in texts.values())]
    protocols = [
        already_cut(protocol, sentences, known=known, processes=processes)
        for protocol in settings.found_protocols()
    ]
    scores: dict[str, list[Scores]] = {name: [] for name in texts}
    for protocol in protocols:
        scorer = _scorer(people, protocol, settings, references)
        for name, captions in texts.items():
            scores[name].append(_with_intervals(scorer.score(captions), settings))
    return Evaluation(
        systems=tuple(
            System(
                name=system.name,
                source=system.source,
                captions={image_id: system.captions[image_id] for image_id in inputs.references},
                scores=tuple(scores[system.name]),
                missing=system.missing,
                extra=system.extra,
                diversity=tuple(_diversity(texts[system.name], protocol) for protocol in protocols),
                tag_recall=None
                if settings.is_english
                else _tag_recall(system, texts[system.name], detected, protocols),
            )
            for system in inputs.systems
        ),
        references=inputs.references,
        references_source=inputs.references_source,
        comparisons=_comparisons(scores, settings),
        cautions=tuple(_cautions(inputs, texts, people, protocols)),
        settings=settings,
    )


def _cautions(
    inputs: Inputs,
    texts: Mapping[str, Mapping[str, str]],
    people: Mapping[str, Sequence[str]],
    protocols: Sequence[Protocol],
) -> Iterator[Caution]:
    files = {system.source.path: [*texts[system.name].values()] for system in inputs.systems}
    files[inputs.references_source.path] = [*chain.from_iterable(people.values())]
    for protocol in protocols:
        for path, sentences in files.items():
            yield from unsegmented(path, sentences, protocol)
    yield from few_pictures(len(inputs.references), inputs.references_source.n_images)


def _scorer(
    people: Mapping[str, Sequence[str]], protocol: Protocol, settings: Settings, path: Path
) -> Scorer:
    try:
        return Scorer(people, protocol, settings.metrics)
    except ValueError as error:  # references without a token; it knows no files
        raise FilesRefused(f"{path}: {error}") from error


def _texts(system: Predictions, inputs: Inputs) -> dict[str, str]:
    return {image_id: system.captions[image_id].caption for image_id in inputs.references}


def _with_intervals(scores: Scores, settings: Settings) -> Scores:
    if not settings.resamples:
        return scores
    found = intervals(*scores.by_metric, resamples=settings.resamples, confidence=settings.confidence)
    return replace(scores, intervals=found)


def _diversity(texts: dict[str, str], protocol: Protocol) -> Diversity:
    captions = list(texts.values())
    return measure_diversity(captions, [*map(protocol.cut, captions)], protocol.unit)


def _detected(settings: Settings, inputs: Inputs) -> Detections | None:
    """The objects of the regions file; None without one, and of English captions, which cannot name them."""
    if settings.regions is None or settings.is_english:
        return None
    return detections_of_regions(settings.regions, inputs.references)


def _tag_recall(
    system: Predictions, texts: dict[str, str], detected: Detections | None, protocols: Sequence[Protocol]
) -> TagRecall | None:
    """By the regions file, else by the tags beside the captions; None without either."""
    detected = detected or detections_of_predictions({each: system.captions[each] for each in texts})
    if not detected:
        return None
    known = next((protocol.cut for protocol in protocols if protocol.name == "aic-icc"), None)
    return measure_tag_recall(texts, detected, known)


def _comparisons(scores: Mapping[str, Sequence[Scores]], settings: Settings) -> tuple[Comparison, ...]:
    """Every pair of systems under every protocol; none without draws."""
    if not settings.resamples:
        return ()
    return tuple(
        comparison
        for of_systems in zip(*scores.values(), strict=True)
        for comparison in compare(
            {name: each.by_metric for name, each in zip(scores, of_systems, strict=True)},
            protocol=of_systems[0].protocol,
            resamples=settings.resamples,
            confidence=settings.confidence,
        )
    )
