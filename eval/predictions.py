"""What captioning systems said: records to one caption a picture."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from eval.lines import json_lines, table_rows
from eval.problems import Problems
from eval.records import Record, records_of


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


Predictions = dict[str, PredictedCaption]


def read_results(content: list[Any], problems: Problems) -> Predictions:
    """A list of records: COCO results, and submissions to AI Challenger."""
    return _collect(records_of(enumerate(content, start=1), problems), problems)


def read_lines(text: str, problems: Problems) -> Predictions:
    """A record a line."""
    return _collect(json_lines(text, problems), problems)


def read_table(text: str, problems: Problems) -> Predictions:
    """A table with a header."""
    return _collect(map(_from_cells, table_rows(text, problems)), problems)


def _from_cells(row: Record) -> Record:
    """A row with numbers and lists in place of their text."""
    values = {
        **row.values,
        "log_prob": row.number_in_cell("log_prob"),
        "score": row.number_in_cell("score"),
        "tags": list(_parts(row.values.get("tags", ""))),
        "alternatives": [{"caption": text} for text in _parts(row.values.get("alternatives", ""))],
    }
    return replace(row, values=values)


def _parts(cell: str) -> Iterator[str]:
    return (part.strip() for part in cell.split("|") if part.strip())


def _has(record: Record, field: str) -> bool:
    """Whether an optional list is there: absent, null and empty are alike."""
    return record.values.get(field) not in (None, [])


def _collect(records: Iterable[Record], problems: Problems) -> Predictions:
    predictions: Predictions = {}
    for record in records:
        predicted = PredictedCaption(
            image_id=record.identifier("image_id"),
            caption=record.sentence("caption"),
            log_prob=record.number("log_prob"),
            score=record.number("score"),
            alternatives=tuple(
                ScoredCaption(other.sentence("caption"), other.number("log_prob"), other.number("score"))
                for other in (record.objects("alternatives") if _has(record, "alternatives") else ())
            ),
            tags=record.sentences("tags") if _has(record, "tags") else (),
        )
        if predicted.image_id and predicted.image_id in predictions:
            record.report("image_id", f"{predicted.image_id!r} a second time", "one caption a picture")
        predictions[predicted.image_id] = predicted
    if not predictions and not problems.found:
        problems.add("no record", "one or more captions")
    return predictions
