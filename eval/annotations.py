"""Every caption and prediction file of the project is parsed here, once.

The format is recognised by content, never by the file's name; `FORMATS` lists them with a sample. Files are
UTF-8, with or without a byte order mark, or UTF-16 with one. Captions come out NFC. Image ids come out as
strings: JSON numbers as their digits, file names as they stand; `eval.matching` says which ids are one
picture. All problems of a file are told at once, in one `AnnotationError`.

A prediction record, in JSON and JSONL (other keys are ignored)::

    {"image_id": "a.jpg", "caption": "一只狗在草地上奔跑", "log_prob": -7.31, "score": -0.66, "tags": ["狗"],
     "alternatives": [{"caption": "一只狗在草地上", "log_prob": -7.9, "score": -0.88}]}

Only ``image_id`` and ``caption`` are required. ``log_prob`` is the natural logarithm of the caption's
probability, ``score`` what the search ranked it by. In CSV ``tags`` and the captions in ``alternatives`` are
separated by ``|``; the apostrophe that keeps a spreadsheet from calculating a cell (``'=``, ``'+``, ``'-``,
``'@``) is taken off.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from eval import predictions, references
from eval.lines import lines_of
from eval.predictions import PredictedCaption, ScoredCaption
from eval.problems import AnnotationError, Problem, Problems
from eval.records import encoding_of, parse_json, read_text
from eval.references import CAPTION_LINE, ReferenceFile

__all__ = [
    "FORMATS",
    "AnnotationError",
    "Format",
    "PredictedCaption",
    "Problem",
    "Recognised",
    "ReferenceFile",
    "ScoredCaption",
    "looks_like_captions",
    "parse_references",
    "read_predictions",
    "read_reference_file",
    "read_references",
    "recognise",
]

Role = Literal["predictions", "references"]
LINES_LOOKED_AT = 10
"""Of a file of lines, one of the first so many must be in order for its format to be recognised."""
BYTES_LOOKED_AT = 1 << 16
_JSON_START = re.compile(r"\[\s*[{\]]|\{\s*[\"}]")
"""Objects in a list or an object; ``[`` and ``{`` alone may open a sentence."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """One kind of file and the functions that read it, from parsed JSON or from text."""

    sample: str
    predictions: Callable[[Any, Problems], dict[str, PredictedCaption]] | None = None
    """None where the format holds no predictions."""
    references: Callable[[Any, Problems], ReferenceFile] | None = None
    """None where the format holds no references."""


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """A file whose format is known."""

    path: Path
    format: str
    """A key of `FORMATS`."""
    content: Any
    """Parsed JSON, or the text of formats of lines."""


def read_references(path: Path) -> dict[str, tuple[str, ...]]:
    """Human captions by image id: the file name where the file has it, else the number as a string.

    Raises:
        AnnotationError: The file cannot be read, is of no known format, or some of its records are wrong.
    """
    return read_reference_file(path).captions


def read_reference_file(path: Path) -> ReferenceFile:
    """`read_references`, with the numbers by which predictions may name the pictures, and the splits."""
    return parse_references(recognise(Path(path), "references"))


def read_predictions(path: Path) -> dict[str, PredictedCaption]:
    """One caption a picture, by image id, in the order of the file.

    Raises:
        AnnotationError: The file cannot be read, is of no known format, some of its records are wrong,
            captions are empty, or pictures occur twice.
    """
    return _parse(recognise(Path(path), "predictions"), "predictions")


def looks_like_captions(path: Path) -> bool:
    """Whether a file begins as one of `FORMATS` does. If not, it may be plain text of any length.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(BYTES_LOOKED_AT)
    start = head.decode(encoding_of(head), errors="ignore").lstrip("\ufeff").lstrip()
    return bool(_JSON_START.match(start) or _line_format(list(islice(lines_of(start), LINES_LOOKED_AT))))


def parse_references(file: Recognised) -> ReferenceFile:
    """The human captions of a file whose format is known.

    Raises:
        AnnotationError: It holds predictions, or some of its records are wrong.
    """
    return _parse(file, "references")


def _parse(file: Recognised, role: Role) -> Any:
    read = getattr(FORMATS[file.format], role)
    if read is None:
        found = f"{'references' if role == 'predictions' else 'predictions'} (format {file.format})"
        wanted = f"{role} (format {', '.join(_formats_of(role))}); python -m eval takes the references last"
        raise AnnotationError([Problem(path=file.path, found=found, wanted=wanted)])
    problems = Problems(file.path)
    result = read(file.content, problems)
    problems.raise_any()
    return result


def recognise(path: Path, role: Role) -> Recognised:
    """The format of a file, and its content as the readers of the format take it.

    Raises:
        AnnotationError: The file cannot be read, or is of no known format.
    """
    name, content = _recognise(path, read_text(path), role)
    return Recognised(path=path, format=name, content=content)


def _recognise(path: Path, text: str, role: Role) -> tuple[str, Any]:
    start = text.lstrip()
    first_lines = list(islice(lines_of(start), LINES_LOOKED_AT))
    if start.startswith(("[", "{")):
        try:
            content = parse_json(path, text)
        except AnnotationError:  # lines, each of them JSON, are no JSON together
            if any(_is_record(line) for line in first_lines):
                return "jsonl", text
            raise
        if isinstance(content, dict) and "image_id" in content:
            return "jsonl", start.replace("\n", " ")  # one record, which may be written over several lines
        if name := _json_format(content, role):
            return name, content
    elif name := _line_format(first_lines):
        return name, text
    found = f"text that starts with {start[:40]!r}" if start else "an empty file"
    samples = "; ".join(f"{name}: {each.sample}" for name, each in _formats_of(role).items())
    raise AnnotationError([Problem(path=path, found=found, wanted=f"{role} in one of the formats {samples}")])


def _line_format(first_lines: Sequence[str]) -> str | None:
    """The format of lines that are not JSON; None where they are of none."""
    have_keys = [bool(CAPTION_LINE.fullmatch(line.strip())) for line in first_lines]
    if have_keys and not have_keys[0] and "image_id" in first_lines[0]:  # a caption may hold any word
        return "csv"
    return "caption-lines" if any(have_keys) else None


def _json_format(content: Any, role: Role) -> str | None:
    """The format of parsed JSON; None where it is of none."""
    if isinstance(content, list):
        records = [each for each in content if isinstance(each, dict)]
        kinds = {type(each.get("caption")) for each in records} & {str, list}
        if role == "references" and kinds == {str} and any("id" in each for each in records):
            return "caption-list"  # predictions number no captions
        several = role == "references" if len(kinds) != 1 else kinds == {list}  # mixed: some are mistakes
        return "aic-icc" if several else "coco-results"
    if "annotations" in content:
        return "coco-captions"
    images = content.get("images")
    if isinstance(images, list) and any(isinstance(each, dict) and "sentences" in each for each in images):
        return "karpathy"
    return None


def _is_record(line: str) -> bool:
    """Whether a line is by itself a JSON object that names a picture, as every line of JSONL is."""
    try:
        content = parse_json(Path(), line)
    except AnnotationError:
        return False
    return isinstance(content, dict) and "image_id" in content


def _formats_of(role: Role) -> dict[str, Format]:
    return {name: each for name, each in FORMATS.items() if getattr(each, role)}


FORMATS: dict[str, Format] = {
    "coco-captions": Format(
        sample='{"images": [{"id": 1, "file_name": "a.jpg"}], '
        '"annotations": [{"image_id": 1, "caption": "…"}]}',
        references=references.read_coco_captions,
    ),
    "karpathy": Format(
        sample='{"images": [{"filename": "a.jpg", "split": "test", "sentences": [{"raw": "…"}]}]}',
        references=references.read_karpathy,
    ),
    "aic-icc": Format(
        sample='[{"image_id": "a.jpg", "caption": ["…", "…"]}]',
        references=references.read_aic_icc,
    ),
    "caption-list": Format(
        sample='[{"image_id": "a.jpg", "id": 1, "caption": "…"}]',
        references=references.read_caption_list,
    ),
    "caption-lines": Format(
        sample="a line a.jpg#0 … or a.jpg#zhc#0 … a caption (Flickr8k, Flickr8k-CN, COCO-CN)",
        references=references.read_caption_lines,
    ),
    "coco-results": Format(
        sample='[{"image_id": "a.jpg", "caption": "…"}]',
        predictions=predictions.read_results,
    ),
    "jsonl": Format(
        sample='a line {"image_id": "a.jpg", "caption": "…"} a caption',
        predictions=predictions.read_lines,
        references=references.read_lines,
    ),
    "csv": Format(
        sample="a first line image_id,caption and one line a caption",
        predictions=predictions.read_table,
        references=references.read_table,
    ),
}
