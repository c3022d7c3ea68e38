"""Captions to a file: COCO results, JSON lines or CSV, by suffix; `eval.annotations` reads all three back.

A file is written under another name, a record at a time, and renamed when it is complete.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from captioning.folders import file_written_aside
from eval.lines import cell_text

if TYPE_CHECKING:
    from captioning.captions import Caption

Record = Mapping[str, Any]
Write = Callable[[Record], None]
_COLUMNS = ("image_id", "caption", "score", "log_prob", "tags", "alternatives")


def record_of(caption: Caption) -> Record:
    """A caption as a prediction record of `eval.annotations`."""
    return {
        "image_id": caption.image_id,
        "caption": caption.text,
        "score": round(caption.score, 6),
        "log_prob": round(caption.log_prob, 6),
        "alternatives": [
            {"caption": other.text, "score": round(other.score, 6), "log_prob": round(other.log_prob, 6)}
            for other in caption.alternatives
        ],
        "tags": [tag.text for tag in caption.tags],
    }


@contextmanager
def prediction_file(path: Path) -> Iterator[Write]:
    """Gives the function that adds a record; the file is under its name once the block ends well.

    Raises:
        ValueError: A suffix that names no format.
        OSError: The disk; what was under ``path`` before is untouched.
    """
    with replaced_file(path) as file, WRITERS[check_suffix(path)](file) as write:
        yield write


def check_suffix(path: Path) -> str:
    """The suffix, or a ValueError which lists those there are."""
    suffix = path.suffix.lower()
    if suffix not in WRITERS:
        raise ValueError(f"{path}: captions are written as {', '.join(WRITERS)}; give a name that ends so")
    return suffix


@contextmanager
def replaced_file(path: Path) -> Iterator[TextIOWrapper]:
    """A UTF-8 text file that takes the place of ``path`` when the block ends well, and is gone otherwise."""
    with file_written_aside(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        yield file


def write_failures(path: Path, failures: Sequence[tuple[str, str]]) -> None:
    """A CSV table of the pictures without a caption, and why."""
    with replaced_file(path) as file:
        table = csv.writer(file)
        table.writerow(("image_id", "reason"))
        table.writerows((cell_text(image_id), cell_text(reason)) for image_id, reason in failures)


def json_line(value: Mapping[str, Any]) -> str:
    """JSON without line breaks; Chinese stays readable."""
    return json.dumps(value, ensure_ascii=False)


@contextmanager
def _json_list(file: IO[str]) -> Iterator[Write]:
    separator = "["

    def write(record: Record) -> None:
        nonlocal separator
        file.write(separator + "\n" + json_line(record))
        separator = ","

    yield write
    file.write("[]\n" if separator == "[" else "\n]\n")


@contextmanager
def _json_lines(file: IO[str]) -> Iterator[Write]:
    def write(record: Record) -> None:
        file.write(json_line(record) + "\n")

    yield write


@contextmanager
def _table(file: IO[str]) -> Iterator[Write]:
    table = csv.writer(file)
    table.writerow(_COLUMNS)

    def write(record: Record) -> None:
        texts = "|".join(record["tags"]), " | ".join(other["caption"] for other in record["alternatives"])
        table.writerow(
            (
                cell_text(record["image_id"]),
                cell_text(record["caption"]),
                record["score"],
                record["log_prob"],
                *map(cell_text, texts),
            )
        )

    yield write


WRITERS = {".json": _json_list, ".jsonl": _json_lines, ".csv": _table}
"""Suffix -> how an open file is filled."""
