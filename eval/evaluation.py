"""Two files in, one `Evaluation` out: what `python -m eval` prints, writes and reports."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eval.annotations import PredictedCaption, read_predictions, read_reference_file
from eval.matching import Matches, match_ids
from eval.metrics import Scores, evaluate

NAMES_SHOWN = 10
DEFAULT_PROTOCOLS = ("aic-icc", "chars")
"""The headline, and beside it the one without a dictionary."""


class PicturesDiffer(ValueError):
    """Predictions and references do not name the same pictures."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file that was scored or scored against."""

    path: str
    sha256: str
    n_images: int
    n_captions: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores, and everything they rest on."""

    scores: tuple[Scores, ...]
    """One for each protocol, over the same pictures."""
    captions: dict[str, PredictedCaption]
    """Scored picture, by the references' id -> its prediction."""
    references: dict[str, tuple[str, ...]]
    """Scored picture -> its human captions."""
    missing: tuple[str, ...]
    """Reference pictures left out because they have no prediction."""
    extra: tuple[str, ...]
    """Predictions left out because they have no reference."""
    predictions_file: Source
    references_file: Source

    def to_json(self) -> dict[str, Any]:
        """The content of scores.json."""
        return {
            "scorer": f"pycocoevalcap {version('pycocoevalcap')} (BLEU, ROUGE-L), eval.cider (CIDEr)",
            "ranges": {"bleu": [0, 1], "rouge-l": [0, 1], "cider": [0, 10]},
            "predictions": asdict(self.predictions_file),
            "references": asdict(self.references_file),
            "n_images": len(self.captions),
            "n_references": sum(len(texts) for texts in self.references.values()),
            "missing": list(self.missing),
            "extra": list(self.extra),
            "scores": {scores.protocol: asdict(scores) for scores in self.scores},
        }


def evaluate_files(
    predictions: Path,
    references: Path,
    protocols: Sequence[str] = DEFAULT_PROTOCOLS,
    *,
    allow_missing: bool = False,
    allow_extra: bool = False,
) -> Evaluation:
    """Score a prediction file against a reference file.

    Args:
        predictions: Any prediction format of `eval.annotations.FORMATS`.
        references: Any reference format.
        protocols: Names in `eval.protocols.PROTOCOLS`.
        allow_missing: Leave out reference pictures that have no prediction, instead of refusing.
        allow_extra: Leave out predictions for pictures without references, instead of refusing.

    Raises:
        AnnotationError: A file cannot be used.
        PicturesDiffer: The files name different pictures and that was not allowed, or share none.
        ValueError: An id is ambiguous, or a protocol unknown.
    """
    predicted = read_predictions(predictions)
    wanted = read_reference_file(references)
    matches = match_ids(predicted, wanted.captions, wanted.numbers)
    unwanted = Matches(
        matches.references,
        missing=() if allow_missing else matches.missing,
        extra=() if allow_extra else matches.extra,
    )
    _refuse_difference(unwanted, predictions, list(predicted), references, list(wanted.captions))
    captions = {reference: predicted[image_id] for image_id, reference in matches.references.items()}
    texts = {image_id: caption.caption for image_id, caption in captions.items()}
    chosen = {image_id: wanted.captions[image_id] for image_id in captions}
    return Evaluation(
        scores=tuple(evaluate(texts, chosen, protocol) for protocol in protocols),
        captions=captions,
        references=chosen,
        missing=matches.missing,
        extra=matches.extra,
        predictions_file=_source(predictions, len(predicted), len(predicted)),
        references_file=_source(references, len(wanted.captions), sum(map(len, wanted.captions.values()))),
    )


def _refuse_difference(
    matches: Matches, predictions: Path, predicted: list[str], references: Path, wanted: list[str]
) -> None:
    """Raise `PicturesDiffer` for every missing and extra picture at once."""
    problems = []
    if matches.missing:
        problems.append(
            f"{predictions} has no caption for {len(matches.missing)} of the {len(wanted)} pictures in "
            f"{references}: {_names(matches.missing)}. Caption them, or score the rest with --allow_missing."
        )
    if matches.extra:
        problems.append(
            f"{references} has no reference for {len(matches.extra)} of the {len(predicted)} pictures in "
            f"{predictions}: {_names(matches.extra)}. Take them out, or pass over them with --allow_extra."
        )
    if not matches.references:
        example = f"{predicted[0]!r} and {wanted[0]!r}"
        problems = [f"{predictions} and {references} have no picture in common: ids are like {example}"]
    if problems:
        raise PicturesDiffer("\n".join(problems))


def _names(image_ids: Sequence[str]) -> str:
    shown = ", ".join(repr(image_id) for image_id in image_ids[:NAMES_SHOWN])
    return shown + (", …" if len(image_ids) > NAMES_SHOWN else "")


def _source(path: Path, n_images: int, n_captions: int) -> Source:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Source(path=str(path), sha256=digest, n_images=n_images, n_captions=n_captions)
