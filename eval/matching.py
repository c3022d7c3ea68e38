"""Which prediction belongs to which reference picture.

Ids are compared as strings. The same string is the same picture. Otherwise an id may be a shorter form of
the other: without folders, without the suffix, or without both ("val/a.jpg", "a.jpg", "val/a", "a"); "a.png"
is not "a.jpg" and "train/a.jpg" not "val/a.jpg". The number that a file gives a picture stands for its
name. What is not paired so far is paired by COCO's number of a picture, which all its releases share:
"COCO_val2014_000000000042.jpg", "train2017/000000000042.jpg", "000000000042" and 42 are one picture; but a
bare 42 is not where the references have numbers of their own. An id that could be several pictures, and two
ids that are one picture, are errors: nothing is guessed.
"""

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from eval.problems import in_lines

PICTURE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_SPLIT = r"(?:train|val|test|unlabeled)20\d\d"
_COCO_NAME = re.compile(rf"(?:(?:.*/)?(?:COCO_{_SPLIT}_|{_SPLIT}/))?(\d{{12}})(?:\.jpg)?", re.ASCII)
_BARE_NUMBER = re.compile(r"0|[1-9]\d{0,11}", re.ASCII)


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
    forms = {image_id, posixpath.basename(image_id)}
    if posixpath.splitext(image_id)[1].lower() in PICTURE_SUFFIXES:
        forms |= {posixpath.splitext(form)[0] for form in forms}
    return forms - {image_id}


def coco_number(image_id: str) -> str | None:
    """The number in a name of COCO, or the id where it is a bare number; None of other ids."""
    if name := _COCO_NAME.fullmatch(image_id):
        return name[1].lstrip("0") or "0"
    return image_id if _BARE_NUMBER.fullmatch(image_id) else None


def match_ids(
    predicted: Iterable[str], referenced: Iterable[str], numbers: Mapping[str, str] | None = None
) -> Matches:
    """Pair the ids of two files.

    Args:
        predicted: Ids of the predictions.
        referenced: Ids of the references.
        numbers: The references' own numbers of pictures -> reference id.

    Raises:
        ValueError: Ids fit several pictures, or several ids fit one; the message has them all.
    """
    known = dict.fromkeys(referenced)
    longer: dict[str, set[str]] = {}
    by_number: dict[str, set[str]] = {}
    for image_id in known:
        for form in shorter_forms(image_id):
            longer.setdefault(form, set()).add(image_id)
        if number := coco_number(image_id):
            by_number.setdefault(number, set()).add(image_id)
    for number, image_id in (numbers or {}).items():
        if image_id in known:
            longer.setdefault(number, set()).add(image_id)
    references: dict[str, str] = {}
    extra = []
    problems = []
    taken: dict[str, str] = {}
    for image_id in predicted:
        found = (
            {image_id}
            if image_id in known
            else longer.get(image_id, set()) | (shorter_forms(image_id) & known.keys())
        )
        if not found and not (numbers and _BARE_NUMBER.fullmatch(image_id)):
            found = by_number.get(coco_number(image_id) or "", set())
        if not found:
            extra.append(image_id)
        elif len(found) > 1:
            choices = sorted(found)[:10]
            problems.append(f"image id {image_id!r} could be any of {choices}; write it in full")
        else:
            (reference,) = found
            if reference in taken:
                problems.append(f"image ids {taken[reference]!r} and {image_id!r} both name {reference!r}")
            taken[reference] = image_id
            references[image_id] = reference
    if problems:
        raise ValueError(in_lines(problems))
    missing = tuple(image_id for image_id in known if image_id not in taken)
    return Matches(references, missing, tuple(extra))
