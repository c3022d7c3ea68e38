"""What people said about pictures: the annotation formats of captioning data sets."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from eval.lines import json_lines, lines_of, table_rows
from eval.problems import ABSENT, Problems, describe
from eval.records import Record, record_of, records_of

CAPTION_LINE = re.compile(r"(?P<key>(?P<name>\S+?)(?:#[A-Za-z]\w*)?#\d+)(?:\s+(?P<caption>.*))?")
"""``a.jpg#0 caption`` or ``a.jpg#zhc#0 caption``: picture, who wrote (not kept), which of their captions."""


@dataclass(frozen=True)
class ReferenceFile:
    """The human captions of a set of pictures."""

    captions: dict[str, tuple[str, ...]]
    """Image id -> its captions, one or more, in the order of the file."""
    numbers: dict[str, str] = field(default_factory=dict)
    """The number that the file gives a picture -> its image id (its file name); empty where it gives none."""
    splits: dict[str, str] = field(default_factory=dict)
    """Image id -> its split as a Karpathy file has it (train, restval, val, test); else empty."""


def read_coco_captions(content: dict[str, Any], problems: Problems) -> ReferenceFile:
    """COCO captions: a list of pictures, where there is one, and a list of single captions."""
    whole = record_of(content, problems)
    names: dict[str, str] = {}  # number -> image id
    owners: dict[str, str] = {}  # image id -> number
    numbers: dict[str, str] = {}
    for image in _objects(whole, "images", "image") if "images" in content else ():
        number = image.identifier("id")
        name = image.identifier("file_name") if "file_name" in image.values else number
        if not number or not name:
            continue
        if names.setdefault(number, name) != name:
            image.report("id", f"{number!r} for a second file", "one number a file")
        elif owners.setdefault(name, number) != number:
            image.report("file_name", f"{name!r} under a second id", "one id a file")
        if "file_name" in image.values:
            numbers[number] = name
    listed = names.keys() if names and not problems.found else None
    captions: dict[str, list[str]] = {}
    for annotation in _objects(whole, "annotations", "annotation"):
        image_id = annotation.identifier("image_id")
        if image_id and listed is not None and image_id not in listed:
            annotation.report("image_id", repr(image_id), "an id of the list 'images'")
        captions.setdefault(names.get(image_id, image_id), []).append(annotation.sentence("caption"))
    return _reference_file(captions, problems, numbers=numbers)


def read_karpathy(content: dict[str, Any], problems: Problems) -> ReferenceFile:
    """Karpathy's splits of COCO, Flickr8k and Flickr30k: pictures with their sentences."""
    captions: dict[str, list[str]] = {}
    numbers: dict[str, str] = {}
    splits: dict[str, str] = {}
    for image in _objects(record_of(content, problems), "images", "image"):
        image_id = image.identifier("filename")
        if image_id and "filepath" in image.values:
            image_id = f"{image.identifier('filepath')}/{image_id}"
        if "cocoid" in image.values:
            number = image.identifier("cocoid")
            if numbers.setdefault(number, image_id) != image_id:
                image.report("cocoid", f"{number!r} for a second file", "one number a file")
        if "split" in image.values:
            splits[image_id] = image.sentence("split")
        texts = [each.sentence("raw") for each in image.objects("sentences")]
        _add_picture(captions, image_id, texts, image, "filename")
    return _reference_file(captions, problems, numbers=numbers, splits=splits)


def read_aic_icc(content: list[Any], problems: Problems) -> ReferenceFile:
    """AI Challenger: a record a picture with the list of its captions."""
    captions: dict[str, list[str]] = {}
    for record in records_of(enumerate(content, start=1), problems):
        image_id = record.identifier("image_id")
        _add_picture(captions, image_id, record.sentences("caption"), record, "image_id")
    return _reference_file(captions, problems)


def read_caption_list(content: list[Any], problems: Problems) -> ReferenceFile:
    """A record a caption, of which several may be of one picture: the caption files of Oscar and VinVL."""
    return _gather(records_of(enumerate(content, start=1), problems), problems)


def read_lines(text: str, problems: Problems) -> ReferenceFile:
    """JSON lines, each with a caption or a list of captions; several lines may be of one picture."""
    return _gather(json_lines(text, problems), problems)


def read_table(text: str, problems: Problems) -> ReferenceFile:
    """A table with a caption a row."""
    return _gather(table_rows(text, problems), problems)


def read_caption_lines(text: str, problems: Problems) -> ReferenceFile:
    """A caption a line behind its key: Flickr8k, Flickr8k-CN, COCO-CN."""
    captions: dict[str, list[str]] = {}
    seen: dict[str, int] = {}
    for number, line in enumerate(lines_of(text), start=1):
        if not line.strip():
            continue
        match = CAPTION_LINE.fullmatch(line.strip())
        if match is None:
            wanted = "a key such as a.jpg#0, a tab or a space, and a caption"
            problems.add(describe(line.strip()), wanted, record=number, part="line")
            continue
        record = Record(values=match.groupdict(), problems=problems, position=number, part="line")
        first = seen.setdefault(match["key"], number)
        if first != number:
            record.report("key", f"{match['key']!r} as on line {first}", "a key for every caption")
        captions.setdefault(match["name"], []).append(record.sentence("caption"))
    return _reference_file(captions, problems)


def _objects(whole: Record, field: str, part: str) -> Iterable[Record]:
    """The objects of a list that the file holds, numbered; a problem where it holds none."""
    value = whole.values.get(field, ABSENT)
    if isinstance(value, list):
        return records_of(enumerate(value, start=1), whole.problems, part)
    whole.report(field, describe(value), "a list")
    return ()


def _add_picture(
    captions: dict[str, list[str]], image_id: str, texts: Iterable[str], record: Record, field: str
) -> None:
    """Add all captions of a picture; it must not have been seen before."""
    if image_id and image_id in captions:
        record.report(field, f"{image_id!r} a second time", "one record a picture")
    captions.setdefault(image_id, []).extend(texts)


def _gather(records: Iterable[Record], problems: Problems) -> ReferenceFile:
    captions: dict[str, list[str]] = {}
    for record in records:
        several = isinstance(record.values.get("caption"), list)
        texts = record.sentences("caption") if several else (record.sentence("caption"),)
        captions.setdefault(record.identifier("image_id"), []).extend(texts)
    return _reference_file(captions, problems)


def _reference_file(
    captions: dict[str, list[str]],
    problems: Problems,
    *,
    numbers: dict[str, str] | None = None,
    splits: dict[str, str] | None = None,
) -> ReferenceFile:
    if not captions and not problems.found:
        problems.add("no caption", "one or more captions")
    return ReferenceFile(
        {image_id: tuple(texts) for image_id, texts in captions.items()}, numbers or {}, splits or {}
    )
