"""Which prediction belongs to which reference picture.

Ids are compared as strings. The same string is the same picture. Otherwise an id may be a shorter form of
the other: without folders, without the suffix, or without both ("val/a.jpg", "a.jpg", "val/a", "a"); "a.png"
is not "a.jpg" and "train/a.jpg" not "val/a.jpg". A COCO file's own number stands for its file name. An id
that could be several pictures, and two ids that are one picture, are errors: nothing is guessed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

PICTURE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class Matches:
    """Predictions and references side by side."""

    references: dict[str, str]
    """Prediction's id -> reference's id, in the order of the predictions."""
    missing: tuple[str, ...]
    """References without a prediction, in their order."""
    extra: tuple[str, ...]
    """Predictions without a reference, in their order."""


def shorter_forms(image_id: str) -> set[str]:
    """The id without its folders, without its picture suffix, without both; never the id itself."""
    path = PurePosixPath(image_id)
    forms = {path.name}
    if path.suffix.lower() in PICTURE_SUFFIXES:
        forms |= {str(path.with_suffix("")), path.stem}
    return forms - {image_id}


def match_ids(
    predicted: Iterable[str], referenced: Iterable[str], numbers: Mapping[str, str] | None = None
) -> Matches:
    """Pair the ids of two files.

    Args:
        predicted: Ids of the predictions.
        referenced: Ids of the references.
        numbers: COCO number -> reference id.

    Raises:
        ValueError: An id fits several pictures, or two ids fit one.
    """
    known = dict.fromkeys(referenced)
    longer: dict[str, set[str]] = {}
    for image_id in known:
        for form in shorter_forms(image_id):
            longer.setdefault(form, set()).add(image_id)
    for number, image_id in (numbers or {}).items():
        if image_id in known:
            longer.setdefault(number, set()).add(image_id)
    references: dict[str, str] = {}
    extra = []
    taken: dict[str, str] = {}
    for image_id in predicted:
        found = (
            {image_id}
            if image_id in known
            else longer.get(image_id, set()) | (shorter_forms(image_id) & known.keys())
        )
        if not found:
            extra.append(image_id)
            continue
        if len(found) > 1:
            raise ValueError(f"image id {image_id!r} could be any of {sorted(found)[:10]}; write it in full")
        reference = found.pop()
        if reference in taken:
            raise ValueError(f"image ids {taken[reference]!r} and {image_id!r} both name {reference!r}")
        taken[reference] = image_id
        references[image_id] = reference
    missing = tuple(image_id for image_id in known if image_id not in taken)
    return Matches(references, missing, tuple(extra))
