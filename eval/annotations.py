"""Every caption and prediction file of the project is parsed here, once.

The format is recognised by content, never by the file's name; `FORMATS` lists them with a sample. Files are
UTF-8, with or without a byte order mark. Captions come out NFC. Image ids come out as strings: JSON numbers
as their digits, file names as they stand. Any problem is an `AnnotationError` that says where it is.

A prediction record, in JSON and JSONL (other keys are ignored)::

    {"image_id": "a.jpg", "caption": "一只狗在草地上奔跑", "log_prob": -7.31, "score": -0.66, "tags": ["狗"],
     "alternatives": [{"caption": "一只狗在草地上", "log_prob": -7.9, "score": -0.88}]}

Only ``image_id`` and ``caption`` are required. ``log_prob`` is the natural logarithm of the caption's
probability, ``score`` what the search ranked it by. In CSV ``tags`` and the captions in ``alternatives`` are
separated by ``|``; the apostrophe that keeps a spreadsheet from calculating a cell (``'=``, ``'+``, ``'-``,
``'@``) is taken off.
"""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.records import AnnotationError, Record, parse_json, read_text

__all__ = [
    "FORMATS",
    "AnnotationError",
    "Format",
    "PredictedCaption",
    "ReferenceFile",
    "ScoredCaption",
    "read_predictions",
    "read_reference_file",
    "read_references",
]

REFERENCES = "references"
PREDICTIONS = "predictions"


@dataclass(frozen=True)
class ScoredCaption:
    """One hypothesis of the caption search."""

    caption: str
    log_prob: float | None = None
    score: float | None = None


@dataclass(frozen=True)
class PredictedCaption:
    """What a captioning system said about one picture."""

    image_id: str
    caption: str
    log_prob: float | None = None
    score: float | None = None
    alternatives: tuple[ScoredCaption, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReferenceFile:
    """The human captions of a set of pictures."""

    captions: dict[str, tuple[str, ...]]
    """Image id -> its captions, one or more, in the order of the file."""
    numbers: dict[str, str]
    """The number that a COCO file gives a picture -> its image id (its file name); else empty."""


@dataclass(frozen=True)
class Format:
    """One kind of file and the function that reads it."""

    holds: str
    sample: str
    read: Callable[[Path, Any], Any]
    """(path, parsed content) -> ReferenceFile or dict of PredictedCaption."""


def read_references(path: Path) -> dict[str, tuple[str, ...]]:
    """Human captions by image id: the file name where the file has it, else the number as a string.

    Raises:
        AnnotationError: The file cannot be read, is of no known format, or one of its records is wrong.
    """
    return read_reference_file(path).captions


def read_reference_file(path: Path) -> ReferenceFile:
    """`read_references`, with the numbers by which predictions may name the pictures."""
    return _read(Path(path), REFERENCES)


def read_predictions(path: Path) -> dict[str, PredictedCaption]:
    """One caption a picture, by image id, in the order of the file.

    Raises:
        AnnotationError: The file cannot be read, is of no known format, one of its records is wrong, a
            caption is empty, or a picture occurs twice.
    """
    return _read(Path(path), PREDICTIONS)


def _read(path: Path, wanted: str) -> Any:
    name, content = _recognise(path, read_text(path))
    file_format = FORMATS[name]
    if file_format.holds != wanted:
        choices = ", ".join(other for other, each in FORMATS.items() if each.holds == wanted)
        found = f"{file_format.holds} (format {name})"
        raise AnnotationError(path, found=found, wanted=f"{wanted} (format {choices})")
    return file_format.read(path, content)


def _recognise(path: Path, text: str) -> tuple[str, Any]:
    """Name of the format and the parsed content."""
    start = text.lstrip()
    first_line, _, rest = start.partition("\n")
    if rest.strip() and first_line.startswith("{") and _is_record(first_line):
        return "jsonl", text
    if start.startswith(("[", "{")):
        content = parse_json(path, text)
        if isinstance(content, dict) and "annotations" in content:
            return "coco-captions", content
        if isinstance(content, dict) and "image_id" in content:
            return "jsonl", text
        if isinstance(content, list):
            first = content[0] if content else None
            several = isinstance(first, dict) and isinstance(first.get("caption"), list)
            return ("aic-icc" if several else "coco-results"), content
    elif "image_id" in first_line:
        return "csv", text
    found = f"text that starts with {start[:40]!r}" if start else "an empty file"
    samples = "; ".join(f"{name}: {each.sample}" for name, each in FORMATS.items())
    raise AnnotationError(path, found=found, wanted=f"one of the formats {samples}")


def _is_record(line: str) -> bool:
    """Whether a line is by itself a JSON object that names a picture, as every line of JSONL is."""
    try:
        content = parse_json(Path(), line)
    except AnnotationError:
        return False
    return isinstance(content, dict) and "image_id" in content


def _read_coco_captions(path: Path, content: dict[str, Any]) -> ReferenceFile:
    numbers: dict[str, str] = {}
    for number, value in enumerate(_list_of(path, content, "images", default=[]), start=1):
        image = Record(path, number, value, part="image")
        coco_id = image.identifier("id")
        file_name = image.identifier("file_name") if "file_name" in image.values else coco_id
        if numbers.setdefault(coco_id, file_name) != file_name:
            raise image.error("id", f"{coco_id} for a second file", "one number a file")
    if len(set(numbers.values())) < len(numbers):
        repeated = next(name for name in numbers.values() if list(numbers.values()).count(name) > 1)
        raise AnnotationError(
            path, field="file_name", found=f"{repeated!r} under two ids", wanted="one id a file"
        )
    captions: dict[str, list[str]] = {}
    for number, value in enumerate(_list_of(path, content, "annotations"), start=1):
        annotation = Record(path, number, value, part="annotation")
        image_id = annotation.identifier("image_id")
        if numbers and image_id not in numbers:
            raise annotation.error("image_id", repr(image_id), "an id of the list 'images'")
        captions.setdefault(numbers.get(image_id, image_id), []).append(annotation.sentence("caption"))
    if not captions:
        raise AnnotationError(path, field="annotations", found="an empty list", wanted="one or more captions")
    return ReferenceFile({image_id: tuple(texts) for image_id, texts in captions.items()}, numbers)


def _list_of(path: Path, content: dict[str, Any], field: str, default: list[Any] | None = None) -> list[Any]:
    value = content.get(field, default)
    if not isinstance(value, list):
        raise AnnotationError(path, field=field, found=type(value).__name__, wanted="a list")
    return value


def _read_aic_icc(path: Path, content: list[Any]) -> ReferenceFile:
    captions: dict[str, tuple[str, ...]] = {}
    for number, value in enumerate(content, start=1):
        record = Record(path, number, value)
        image_id = record.identifier("image_id")
        if image_id in captions:
            raise record.error("image_id", f"{image_id!r} a second time", "one record a picture")
        captions[image_id] = record.sentences("caption")
    return ReferenceFile(captions, numbers={})


def _read_coco_results(path: Path, content: list[Any]) -> dict[str, PredictedCaption]:
    return _collect([Record(path, number, value) for number, value in enumerate(content, start=1)], path)


def _read_jsonl(path: Path, text: str) -> dict[str, PredictedCaption]:
    records = []
    if isinstance(whole := _try_json(text), dict):  # one record, written over several lines
        return _collect([Record(path, 1, whole)], path)
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            records.append(Record(path, number, parse_json(path, line, line=number), part="line"))
    return _collect(records, path)


def _try_json(text: str) -> Any:
    try:
        return parse_json(Path(), text)
    except AnnotationError:
        return None


def _read_csv(path: Path, text: str) -> dict[str, PredictedCaption]:
    table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    records = []
    try:
        for row in table:
            record = Record(path, table.line_num, row, part="line")
            if None in row:
                wanted = f"{len(table.fieldnames or [])} cells; quote a caption that holds a comma"
                raise record.error(None, f"{len(row[None])} cells too many", wanted)
            values: dict[str, Any] = {key: _cell(cell) for key, cell in row.items() if cell}
            for number in {"log_prob", "score"} & values.keys():
                values[number] = record.number_in(number)
            values["tags"] = _parts(values.get("tags", ""))
            values["alternatives"] = [{"caption": text} for text in _parts(values.get("alternatives", ""))]
            records.append(Record(path, table.line_num, values, part="line"))
    except csv.Error as error:
        line = table.reader.line_num
        found = f"broken CSV ({error})"
        raise AnnotationError(
            path, record=line, part="line", found=found, wanted="comma-separated cells"
        ) from error
    return _collect(records, path)


def _cell(text: str) -> str:
    """A cell without the apostrophe that guards what looks like a formula."""
    return text[1:] if text[0] == "'" and text[1:2] in tuple("=+-@\t\r") else text


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split("|") if part.strip()]


def _collect(records: list[Record], path: Path) -> dict[str, PredictedCaption]:
    predictions: dict[str, PredictedCaption] = {}
    for record in records:
        predicted = PredictedCaption(
            image_id=record.identifier("image_id"),
            caption=record.sentence("caption"),
            log_prob=record.number("log_prob"),
            score=record.number("score"),
            alternatives=tuple(
                ScoredCaption(other.sentence("caption"), other.number("log_prob"), other.number("score"))
                for other in record.children("alternatives")
            ),
            tags=record.sentences("tags") if record.values.get("tags") else (),
        )
        if predicted.image_id in predictions:
            raise record.error("image_id", f"{predicted.image_id!r} a second time", "one caption a picture")
        predictions[predicted.image_id] = predicted
    if not predictions:
        raise AnnotationError(path, found="no record", wanted="one or more captions")
    return predictions


FORMATS: dict[str, Format] = {
    "coco-captions": Format(
        REFERENCES,
        '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "caption": "…"}]}',
        _read_coco_captions,
    ),
    "aic-icc": Format(REFERENCES, '[{"image_id": "a.jpg", "caption": ["…", "…"]}]', _read_aic_icc),
    "coco-results": Format(PREDICTIONS, '[{"image_id": "a.jpg", "caption": "…"}]', _read_coco_results),
    "jsonl": Format(PREDICTIONS, 'a line {"image_id": "a.jpg", "caption": "…"} a picture', _read_jsonl),
    "csv": Format(PREDICTIONS, "a first line image_id,caption and one line a picture", _read_csv),
}
