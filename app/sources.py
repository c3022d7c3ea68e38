"""Caption files and references, read and joined with the pictures of a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.annotations import PredictedCaption, read_predictions, read_reference_file
from eval.matching import match_ids


@dataclass(frozen=True, kw_only=True)
class References:
    """What people said, by picture of the folder."""

    captions: Mapping[str, tuple[str, ...]]
    """Picture id -> captions."""
    numbers: Mapping[str, str]
    """Number in a COCO file -> picture id."""
    splits: Mapping[str, str]
    """Picture id -> split, as far as the file has any."""


@dataclass(frozen=True, kw_only=True)
class Captions:
    """What one file says, by picture of the folder."""

    name: str
    """Of the file, made unique."""
    predictions: Mapping[str, PredictedCaption]
    """Picture id -> caption."""
    unknown: int
    """Captions of pictures that are not in the folder."""


def read_references(path: Path | None, image_ids: Sequence[str]) -> References:
    """The references; none without a file.

    Raises:
        ValueError: The file cannot be used, or an id could be several pictures.
    """
    if path is None:
        return References(captions={}, numbers={}, splits={})
    read = read_reference_file(path)
    try:
        theirs = match_ids(image_ids, read.captions).references
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    ours = {name: image_id for image_id, name in theirs.items()}
    return References(
        captions={image_id: read.captions[name] for image_id, name in theirs.items()},
        numbers={number: ours[name] for number, name in read.numbers.items() if name in ours},
        splits={ours[name]: split for name, split in read.splits.items() if name in ours},
    )


def read_systems(
    paths: Sequence[Path], image_ids: Sequence[str], numbers: Mapping[str, str]
) -> Iterator[Captions]:
    """One system a file, each read when it is asked for.

    Raises:
        ValueError: A file cannot be used, an id could be several pictures, or none of a file's pictures is in
            the folder.
    """
    names: list[str] = []
    for path in paths:
        names.append(_unique(path.stem, names))
        yield _read_system(path, names[-1], image_ids, numbers)


def _read_system(path: Path, name: str, image_ids: Sequence[str], numbers: Mapping[str, str]) -> Captions:
    predictions = read_predictions(path)
    try:
        matches = match_ids(predictions, image_ids, numbers)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not matches.references:
        first = ", ".join(map(repr, list(predictions)[:3]))
        raise ValueError(
            f"{path}: none of its pictures ({first}, …) is in the folder, which holds {image_ids[0]!r}, …; "
            "give the folder that the captions are of: --images DIR"
        )
    return Captions(
        name=name,
        predictions={ours: predictions[theirs] for theirs, ours in matches.references.items()},
        unknown=len(matches.extra),
    )


def _unique(name: str, taken: Sequence[str]) -> str:
    names = [name, *(f"{name} ({number})" for number in range(2, len(taken) + 2))]
    return next(each for each in names if each not in taken)
