"""Which prediction belongs to which reference picture.

Ids are compared as strings. The same string is the same picture. Otherwise an id may be a shorter form of
the other: without folders, without the suffix, or without both ("val/a.jpg", "a.jpg", "val/a", "a"); "a.png"
is not "a.jpg" and "train/a.jpg" not "val/a.jpg". The number that a file gives a picture stands for its
name. What is not paired so far is paired by COCO's number of a picture, which all its releases share:
"COCO_val2014_000000000042.jpg", "train2017/000000000042.jpg", "000000000042" and 42 are one picture; but a
bare 42 is not where the references have numbers of their own. An id that could be several pictures, and two
ids that are one picture, are errors: nothing is guessed.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from eval.problems import in_lines

PICTURE_SUFFIXES = frozenset(
    f".{each}"
    for each in (
        *("apng", "avif", "bmp", "dib", "gif", "heic", "heif", "jfif", "jpe", "jpeg", "jpg"),
        *("pbm", "pgm", "png", "pnm", "ppm", "tif", "tiff", "webp"),
    )
)
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
    problems: tuple[str, ...] = ()
    """Ids that fit several pictures, or several ids that fit one, in sentences."""


def shorter_forms(image_id: str) -> set[str]:
    """The id without its folders, without its picture suffix, without both; never the id itself."""
    name = image_id[image_id.rfind("/") + 1 :]  # as posixpath has it, at a third of its time
    forms = {name}
    stem, dot, suffix = name.rpartition(".")
    if stem.strip(".") and dot + suffix.lower() in PICTURE_SUFFIXES:
        forms |= {stem, image_id[: -len(suffix) - 1]}
    forms.discard(image_id)
    return forms


def coco_number(image_id: str) -> str | None:
    """The number in a name of COCO, or the id where it is a bare number; None of other ids."""
    if name := _COCO_NAME.fullmatch(image_id):
        return name[1].lstrip("0") or "0"
    return image_id if _BARE_NUMBER.fullmatch(image_id) else None


def match_ids(
    predicted: Iterable[str], referenced: Iterable[str], numbers: Mapping[str, str] | None = None
) -> Matches:
    """Pair the ids of two files, of which each can be paired with one at most.

    Raises:
        ValueError: Some cannot; the message has the first of them.
    """
    matches = compare_ids(predicted, referenced, numbers)
    if matches.problems:
        raise ValueError(in_lines(matches.problems))
    return matches


def compare_ids(
    predicted: Iterable[str], referenced: Iterable[str], numbers: Mapping[str, str] | None = None
) -> Matches:
    """Pair the ids of two files; what cannot be decided is among the problems, and in none of the others.

    Args:
        predicted: Ids of the predictions.
        referenced: Ids of the references.
        numbers: The references' own numbers of pictures -> reference id.
    """
    known = dict.fromkeys(referenced)
    ids = list(predicted)
    differ = any(image_id not in known for image_id in ids)  # else no other form has to be known
    longer, by_number = _other_forms(known if differ else {}, numbers or {})
    references: dict[str, str] = {}
    extra = []
    problems = []
    taken: dict[str, str] = {}
    for image_id in ids:
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
                continue
            taken[reference] = image_id
            references[image_id] = reference
    missing = tuple(image_id for image_id in known if image_id not in taken)
    return Matches(references, missing, tuple(extra), tuple(problems))


def _other_forms(
    known: Mapping[str, None], numbers: Mapping[str, str]
) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Shorter forms and own numbers -> the ids that have them; COCO's numbers -> ids."""
    longer: dict[str, set[str]] = {}
    by_number: dict[str, set[str]] = {}
    for image_id in known:
        for form in shorter_forms(image_id):
            longer.setdefault(form, set()).add(image_id)
        if number := coco_number(image_id):
            by_number.setdefault(number, set()).add(image_id)
    for number, image_id in numbers.items():
        if image_id in known:
            longer.setdefault(number, set()).add(image_id)
    return longer, by_number
