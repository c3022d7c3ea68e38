"""Files of predictions and one of references, put side by side; all their problems told at once."""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.annotations import (
    AnnotationError,
    PredictedCaption,
    ReferenceFile,
    read_predictions,
    read_reference_file,
)
from eval.matching import match_ids

NAMES_SHOWN = 10


class FilesRefused(ValueError):
    """Files that cannot be scored; the message has a line for every problem of every file."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file that was scored or scored against."""

    path: str
    sha256: str
    n_images: int
    n_captions: int


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What one system wrote about the pictures of a file of references."""

    name: str
    """Of the system, by its file."""
    source: Source
    captions: dict[str, PredictedCaption]
    """Picture, by the references' id -> its prediction."""
    missing: tuple[str, ...]
    """Pictures of the references that have no prediction."""
    extra: tuple[str, ...]
    """Ids of predictions that have no references."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All that is scored."""

    systems: tuple[Predictions, ...]
    references: dict[str, tuple[str, ...]]
    """Picture that every system wrote about -> its human captions."""
    references_source: Source


def read_inputs(
    predictions: Sequence[Path], references: Path, *, allow_missing: bool = False, allow_extra: bool = False
) -> Inputs:
    """Read and match all files.

    Args:
        predictions: Any prediction format of `eval.annotations.FORMATS`; a file a system.
        references: Any reference format.
        allow_missing: Leave out reference pictures that a system has no prediction for, instead of refusing.
        allow_extra: Leave out predictions for pictures without references, instead of refusing.

    Raises:
        FilesRefused: A file cannot be used, an id is ambiguous, the files name different pictures and that
            was not allowed, or they have no picture in common.
    """
    problems: list[str] = []
    wanted = None
    try:
        wanted = read_reference_file(references)
    except AnnotationError as error:
        problems.append(str(error))
    systems = []
    for path, name in zip(predictions, system_names(predictions), strict=True):
        try:
            predicted = read_predictions(path)
            if wanted:
                system = _matched(name, path, predicted, wanted)
                problems += _differences(system, references, wanted.captions, allow_missing, allow_extra)
                systems.append(system)
        except AnnotationError as error:
            problems.append(str(error))
        except ValueError as error:  # of `match_ids`, which knows no files
            problems.append(f"{path}: {error}")
    if problems or wanted is None:
        raise FilesRefused("\n".join(problems))
    shared = [
        image_id for image_id in wanted.captions if all(image_id in system.captions for system in systems)
    ]
    if not shared:
        raise FilesRefused(f"no picture of {references} has a caption in each of the {len(systems)} files")
    return Inputs(
        systems=tuple(systems),
        references={image_id: wanted.captions[image_id] for image_id in sorted(shared)},
        references_source=_source(references, len(wanted.captions), sum(map(len, wanted.captions.values()))),
    )


def system_names(paths: Sequence[Path]) -> list[str]:
    """A name for each file: its own without the suffix, with the folders that tell it from the others.

    Raises:
        FilesRefused: A file is given twice.
    """
    whole = [path.absolute() for path in paths]
    for path in whole:
        if whole.count(path) > 1:
            raise FilesRefused(f"{path} is given twice; wanted a file a system")
    for depth in range(1, max(len(path.parts) for path in whole)):
        names = ["/".join(path.with_suffix("").parts[-depth:]) for path in whole]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in whole]  # a.json and a.csv of one folder


def _matched(
    name: str, path: Path, predicted: dict[str, PredictedCaption], wanted: ReferenceFile
) -> Predictions:
    matches = match_ids(predicted, wanted.captions, wanted.numbers)
    captions = {reference: predicted[image_id] for image_id, reference in matches.references.items()}
    return Predictions(
        name=name,
        source=_source(path, len(predicted), len(predicted)),
        captions=captions,
        missing=matches.missing,
        extra=matches.extra,
    )


def _differences(
    system: Predictions, references: Path, wanted: Collection[str], allow_missing: bool, allow_extra: bool
) -> Iterator[str]:
    """What is wrong between a file of predictions and the references, in sentences."""
    path = system.source.path
    if not system.captions:
        example = f"{system.extra[0]!r} and {next(iter(wanted))!r}"
        yield f"{path} and {references} have no picture in common: ids are like {example}"
        return
    if system.missing and not allow_missing:
        yield (
            f"{path} has no caption for {len(system.missing)} of the {len(wanted)} pictures in {references}: "
            f"{_shown(system.missing)}. Caption them, or score the rest with --allow_missing."
        )
    if system.extra and not allow_extra:
        yield (
            f"{references} has no reference for {len(system.extra)} of the "
            f"{system.source.n_captions} pictures in {path}: {_shown(system.extra)}. "
            "Take them out, or pass over them with --allow_extra."
        )


def _shown(image_ids: Sequence[str]) -> str:
    shown = ", ".join(repr(image_id) for image_id in image_ids[:NAMES_SHOWN])
    return shown + (", …" if len(image_ids) > NAMES_SHOWN else "")


def _source(path: Path, n_images: int, n_captions: int) -> Source:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Source(path=str(path), sha256=digest, n_images=n_images, n_captions=n_captions)
