"""Files of lines to records: JSON lines and tables."""

import csv
from collections import Counter
from collections.abc import Iterator
from typing import Any

from eval.problems import AnnotationError, Problems
from eval.records import Record, parse_json, records_of

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_COLUMNS_WANTED = ("image_id", "caption")


def lines_of(text: str) -> Iterator[str]:
    """Lines with their ends, one at a time: no second copy of a large text."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


def json_lines(text: str, problems: Problems) -> Iterator[Record]:
    """A record a line; empty lines are passed over, lines that are no JSON object reported."""
    return records_of(_json_values(text, problems), problems, part="line")


def _json_values(text: str, problems: Problems) -> Iterator[tuple[int, Any]]:
    """(line, value), for the lines that are JSON."""
    for number, line in enumerate(lines_of(text), start=1):
        if line.strip():
            try:
                yield number, parse_json(problems.path, line, line=number)
            except AnnotationError as error:
                problems.found.extend(error.problems)


def table_rows(text: str, problems: Problems) -> Iterator[Record]:
    """The rows of a CSV file as records of text cells, each numbered by the line on which it begins.

    The apostrophe that keeps a spreadsheet from calculating a cell is taken off.
    """
    table = csv.reader(lines_of(text), strict=True)
    end = 0
    try:
        columns = next(filter(None, table))  # after empty lines, which are not counted as rows
        if not _has_columns(columns, table.line_num, problems):
            return
        end = table.line_num
        for cells in table:
            begin, end = end + 1, table.line_num
            if len(cells) > len(columns):
                found = f"{len(cells)} cells"
                wanted = f"{len(columns)}; quote a caption that holds a comma"
                problems.add(found, wanted, record=begin, part="line")
            elif cells:
                values = dict(zip(columns, map(plain_cell, cells), strict=False))
                yield Record(values=values, problems=problems, position=begin, part="line")
    except csv.Error as error:
        problems.add(f"broken CSV ({error})", "comma-separated cells", record=end + 1, part="line")


def _has_columns(columns: list[str], line: int, problems: Problems) -> bool:
    """Whether a header names image_id and caption, and nothing twice; else that is reported."""
    n_before = len(problems.found)
    if len(columns) == 1:
        for mark, name in _OTHER_SEPARATORS.items():
            if mark in columns[0]:
                problems.add(f"columns separated by {name}", "commas between them", record=line, part="line")
                return False
    for column, count in Counter(columns).items():
        if count > 1:
            problems.add("the column more than once", "it once", record=line, part="line", field=column)
    for column in _COLUMNS_WANTED:
        if column not in columns:
            found = f"only the columns {', '.join(map(repr, columns))}"
            problems.add(found, "it too", record=line, part="line", field=column)
    return len(problems.found) == n_before


def cell_text(text: str) -> str:
    """Text that a spreadsheet shows and never calculates: what looks like a formula gets an apostrophe.

    So does a formula behind apostrophes of its own, for `plain_cell` takes one off.
    """
    return "'" + text if text.lstrip("'").startswith(_FORMULA_STARTS) else text


def plain_cell(cell: str) -> str:
    """The text of which `cell_text` made a cell."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA_STARTS) else cell
