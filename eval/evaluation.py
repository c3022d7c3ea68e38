"""Files in, one `Evaluation` out: what `python -m eval` prints, writes and reports."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.annotations import PredictedCaption
from eval.inputs import Inputs, Predictions, Source, read_inputs
from eval.metrics import DEFAULT_METRICS, Scores, check_metrics
from eval.protocols import Protocol, find_protocol
from eval.scorer import Scorer
from eval.segmentation import SegmentationCache, already_cut

DEFAULT_PROTOCOLS = ("aic-icc", "chars")
"""The headline, and beside it the one without a dictionary."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured, and how."""

    protocols: tuple[str, ...] = DEFAULT_PROTOCOLS
    """How captions are cut and counted: aic-icc (jieba words, the headline), chars, coco-cn (words as the
    files separate them)."""
    segmenter: str = ""
    """Segmenter for the protocols that count words, instead of their own; their names then say so."""
    metrics: tuple[str, ...] = DEFAULT_METRICS
    """What is measured."""
    allow_missing: bool = False
    """Score the pictures that every system has a caption for when some have none; the rest are left out, not
    counted as 0."""
    allow_extra: bool = False
    """Pass over captions of pictures without references."""

    def __post_init__(self) -> None:
        """Check what can be checked before any file is read."""
        self.found_protocols()
        check_metrics(self.metrics)

    def found_protocols(self) -> tuple[Protocol, ...]:
        """The protocols, with the other segmenter where one is set.

        Raises:
            ValueError: A name is unknown, or there is another segmenter and no protocol that counts words.
        """
        protocols = tuple(find_protocol(name) for name in self.protocols)
        if not self.segmenter:
            return protocols
        if all(protocol.unit != "words" for protocol in protocols):
            raise ValueError(
                f"--segmenter {self.segmenter}: none of the protocols {self.protocols} counts words"
            )
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


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of one or more systems over the same pictures, and everything they rest on."""

    systems: tuple[System, ...]
    """In the order of the files."""
    references: dict[str, tuple[str, ...]]
    """Scored picture -> its human captions."""
    references_source: Source
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
            was not allowed, or they share none.
    """
    settings = settings or Settings()
    inputs = read_inputs(
        predictions, references, allow_missing=settings.allow_missing, allow_extra=settings.allow_extra
    )
    protocols = [
        already_cut(protocol, _sentences(inputs), known=known, processes=processes)
        for protocol in settings.found_protocols()
    ]
    scorers = [Scorer(inputs.references, protocol, settings.metrics) for protocol in protocols]
    return Evaluation(
        systems=tuple(_system(each, inputs.references, scorers) for each in inputs.systems),
        references=inputs.references,
        references_source=inputs.references_source,
        settings=settings,
    )


def _sentences(inputs: Inputs) -> list[set[str]]:
    """What has to be cut, by file."""
    of_systems = [
        {system.captions[image_id].caption for image_id in inputs.references} for system in inputs.systems
    ]
    return [{text for texts in inputs.references.values() for text in texts}, *of_systems]


def _system(predictions: Predictions, image_ids: Iterable[str], scorers: Sequence[Scorer]) -> System:
    captions = {image_id: predictions.captions[image_id] for image_id in image_ids}
    texts = {image_id: predicted.caption for image_id, predicted in captions.items()}
    return System(
        name=predictions.name,
        source=predictions.source,
        captions=captions,
        scores=tuple(scorer.score(texts) for scorer in scorers),
        missing=predictions.missing,
        extra=predictions.extra,
    )
