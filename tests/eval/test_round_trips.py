"""Whatever is written in a format is read back as it was."""

import csv
import io
import json
import tempfile
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.annotations import (
    PredictedCaption,
    ReferenceFile,
    ScoredCaption,
    read_predictions,
    read_reference_file,
)

CAPTIONS = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    .map(lambda text: unicodedata.normalize("NFC", text))
    .filter(str.strip)
)
ONE_LINE = CAPTIONS.map(lambda text: text.replace("\n", " ").strip())
CELL_PARTS = CAPTIONS.map(lambda text: text.replace("|", "/").strip())
NAMES = st.from_regex(r"[0-9A-Za-z_/猫-]{1,12}(\.jpg)?", fullmatch=True)
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
REFERENCES = st.dictionaries(
    NAMES, st.lists(CAPTIONS, min_size=1, max_size=3).map(tuple), min_size=1, max_size=4
)
LINES = st.dictionaries(NAMES, st.lists(ONE_LINE, min_size=1, max_size=3).map(tuple), min_size=1, max_size=4)
Captions = dict[str, tuple[str, ...]]


def predictions(
    tags: st.SearchStrategy[str], alternatives: st.SearchStrategy[ScoredCaption]
) -> st.SearchStrategy[list[PredictedCaption]]:
    records = st.builds(
        PredictedCaption,
        image_id=NAMES,
        caption=CAPTIONS,
        log_prob=NUMBERS,
        score=NUMBERS,
        alternatives=st.lists(alternatives, max_size=2).map(tuple),
        tags=st.lists(tags, max_size=2).map(tuple),
    )
    return st.lists(records, min_size=1, max_size=4, unique_by=lambda record: record.image_id)


def through_file(text: str, read: Callable[[Path], Any]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "captions")
        path.write_bytes(text.encode("utf-8"))
        return read(path)


def as_json(record: PredictedCaption) -> dict[str, Any]:
    return {**vars(record), "alternatives": [vars(other) for other in record.alternatives]}


def as_json_lines(records: Iterable[Any]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def as_table(rows: Iterable[Iterable[Any]]) -> str:
    """CSV whose cells no spreadsheet calculates."""
    file = io.StringIO(newline="")
    csv.writer(file).writerows([[guarded(cell) for cell in row] for row in rows])
    return file.getvalue()


def guarded(cell: Any) -> Any:
    is_formula = isinstance(cell, str) and cell.lstrip("'").startswith(tuple("=+-@\t\r"))
    return f"'{cell}" if is_formula else cell


@settings(deadline=None)
@given(predictions(CAPTIONS, st.builds(ScoredCaption, CAPTIONS, NUMBERS, NUMBERS)))
def test_predictions_in_json_and_json_lines(records: list[PredictedCaption]) -> None:
    values = [as_json(record) for record in records]
    for text in (json.dumps(values), json.dumps(values, indent=1, ensure_ascii=False), as_json_lines(values)):
        assert list(through_file(text, read_predictions).values()) == records


@settings(deadline=None)
@given(predictions(CELL_PARTS, st.builds(ScoredCaption, CELL_PARTS)))
def test_predictions_in_a_table(records: list[PredictedCaption]) -> None:
    columns = ("image_id", "caption", "log_prob", "score", "tags", "alternatives")
    rows = [
        (
            *(record.image_id, record.caption, record.log_prob, record.score),
            *("|".join(record.tags), "|".join(other.caption for other in record.alternatives)),
        )
        for record in records
    ]
    assert list(through_file(as_table([columns, *rows]), read_predictions).values()) == records


def coco_captions(captions: Captions) -> str:
    images = [{"id": number, "file_name": name} for number, name in enumerate(captions)]
    annotations = [
        {"image_id": number, "caption": text}
        for number, texts in enumerate(captions.values())
        for text in texts
    ]
    return json.dumps({"images": images, "annotations": annotations})


def karpathy(captions: Captions) -> str:
    images = [
        {"filename": name, "cocoid": number, "split": "val", "sentences": [{"raw": text} for text in texts]}
        for number, (name, texts) in enumerate(captions.items())
    ]
    return json.dumps({"images": images})


@settings(deadline=None)
@given(REFERENCES)
def test_references_in_files_that_number_their_pictures(captions: Captions) -> None:
    numbers = {str(number): name for number, name in enumerate(captions)}
    assert through_file(coco_captions(captions), read_reference_file) == ReferenceFile(captions, numbers)
    splits = dict.fromkeys(captions, "val")
    assert through_file(karpathy(captions), read_reference_file) == ReferenceFile(captions, numbers, splits)


WRITERS: dict[str, Callable[[Captions], str]] = {
    "aic-icc": lambda captions: json.dumps(
        [{"url": "", "image_id": name, "caption": texts} for name, texts in captions.items()]
    ),
    "jsonl, a list a line": lambda captions: as_json_lines(
        {"image_id": name, "caption": texts} for name, texts in captions.items()
    ),
    "jsonl, a caption a line": lambda captions: as_json_lines(
        {"image_id": name, "caption": text} for name, texts in captions.items() for text in texts
    ),
    "csv": lambda captions: as_table(
        [("image_id", "caption"), *((name, text) for name, texts in captions.items() for text in texts)]
    ),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@settings(deadline=None)
@given(captions=REFERENCES)
def test_references(write: Callable[[Captions], str], captions: Captions) -> None:
    assert through_file(write(captions), read_reference_file) == ReferenceFile(captions)


@pytest.mark.parametrize("separator", ["\t", " "])
@pytest.mark.parametrize("author", ["", "#zhc"])
@settings(deadline=None)
@given(captions=LINES)
def test_references_in_lines_of_keys_and_captions(author: str, separator: str, captions: Captions) -> None:
    lines = [
        f"{name}{author}#{place}{separator}{text}\n"
        for name, texts in captions.items()
        for place, text in enumerate(texts)
    ]
    assert through_file("".join(lines), read_reference_file) == ReferenceFile(captions)
