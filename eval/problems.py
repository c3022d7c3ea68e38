"""What is wrong with a file: every problem is collected, then all are told at once."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROBLEMS_SHOWN = 20
ABSENT = object()
"""Stands for the value of a field that a record does not have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong: where, what was found, what was wanted."""

    path: Path
    found: str
    """What stands there."""
    wanted: str
    """What should stand there, and what to do where that is not plain."""
    record: int | None = None
    """Number of the record, from 1; None when the whole file is meant."""
    part: str = "record"
    """What ``record`` counts: record, line, image, annotation."""
    field: str | None = None
    """Key or column."""

    def __str__(self) -> str:
        """One line, as in ``captions.json, record 2, field 'caption': found null, wanted a sentence``."""
        place = [str(self.path)]
        if self.record is not None:
            place.append(f"{self.part} {self.record}")
        if self.field is not None:
            place.append(f"field {self.field!r}")
        return f"{', '.join(place)}: found {self.found}, wanted {self.wanted}"


class AnnotationError(ValueError):
    """A caption or prediction file that cannot be used; the text shows the first of its problems."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Keep all ``problems``, one or more, of one file or of several."""
        self.problems = tuple(problems)
        super().__init__(in_lines([str(problem) for problem in self.problems]))


class Problems:
    """Collects what is wrong with one file while it is read to its end."""

    def __init__(self, path: Path) -> None:
        """Start with nothing wrong."""
        self.path = path
        self.found: list[Problem] = []

    def add(
        self,
        found: str,
        wanted: str,
        *,
        record: int | None = None,
        part: str = "record",
        field: str | None = None,
    ) -> None:
        """Note a problem; the arguments are those of `Problem`."""
        problem = Problem(path=self.path, found=found, wanted=wanted, record=record, part=part, field=field)
        self.found.append(problem)

    def raise_any(self) -> None:
        """Raise `AnnotationError` with all that was noted; nothing where nothing was."""
        if self.found:
            raise AnnotationError(self.found)


def in_lines(problems: Sequence[str]) -> str:
    """One problem as it is; of several their number, and the first ones on lines of their own."""
    if len(problems) == 1:
        return problems[0]
    shown = problems[:PROBLEMS_SHOWN]
    first = f", the first {len(shown)}" if len(shown) < len(problems) else ""
    return "\n".join([f"{len(problems)} problems{first}:", *shown])


def describe(value: Any) -> str:
    """A value as a message shows it: on one line, shortened, without control characters."""
    if value is ABSENT:
        return "no such field"
    if value is None:
        return "null"
    if isinstance(value, dict):  # not its content: that may be of any size and depth
        return "an object"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, str) and not value.strip():
        return "an empty string"
    if isinstance(value, str):
        start = value[:60]
        text = json.dumps(start, ensure_ascii=False) if start.isprintable() else ascii(start)
        return text if len(value) <= 60 else f"{text[:-1]}…"
    return json.dumps(value)
