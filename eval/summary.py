"""Scores as the terminal shows them."""

import unicodedata
from collections.abc import Iterator, Sequence

from eval.evaluation import Evaluation
from eval.metrics import METRIC_TITLES


def summary_lines(evaluation: Evaluation) -> Iterator[str]:
    """What was counted and left out, a table for each protocol, and how each protocol counts."""
    n_references = sum(map(len, evaluation.references.values()))
    yield f"{len(evaluation.references)} pictures, {n_references} references"
    for system in evaluation.systems:
        if system.missing:
            yield f"LEFT OUT: {len(system.missing)} reference pictures without a caption of {system.name}"
        if system.extra:
            yield f"left out: {len(system.extra)} captions of {system.name} without references"
    rows = [row for index in range(len(evaluation.systems[0].scores)) for row in _rows(evaluation, index)]
    yield from aligned(rows)
    yield "BLEU and ROUGE-L lie in 0..1, CIDEr in 0..10. Words and characters cannot be compared."
    for scores in evaluation.systems[0].scores:
        yield f"{scores.protocol}: {', '.join(scores.steps)}; {scores.version}"


def _rows(evaluation: Evaluation, protocol: int) -> Iterator[list[str]]:
    """Cells of one protocol's table: its name and the metrics', then a row a system."""
    first = evaluation.systems[0].scores[protocol]
    yield [f"{first.protocol} ({first.unit})", *(METRIC_TITLES[name] for name in first.overall)]
    for system in evaluation.systems:
        yield [system.name, *(f"{number:.4f}" for number in system.scores[protocol].overall.values())]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [
                row[0] + " " * (widths[0] - width(row[0])),
                *(
                    " " * (columns - width(cell)) + cell
                    for cell, columns in zip(row[1:], widths[1:], strict=True)
                ),
            ]
        )
        for row in rows
    ]


def width(text: str) -> int:
    """Columns of a terminal that the text takes; Chinese characters take two."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
