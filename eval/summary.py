"""An evaluation as the terminal shows it."""

import unicodedata
from collections.abc import Iterator, Sequence

from eval.diversity import Diversity
from eval.evaluation import Evaluation
from eval.metrics import METRIC_TITLES
from eval.report_text import TEXTS
from eval.shown import shown
from eval.tables import SIGNIFICANCE, Cell, ScoreTable, score_tables, source_lines

LONGEST_NAME = 40
"""Characters of a system's name that are shown."""


def summary_lines(evaluation: Evaluation) -> Iterator[str]:
    """What was counted and left out, the tables of each protocol, and how each protocol counts."""
    n_references = sum(map(len, evaluation.references.values()))
    yield f"{len(evaluation.references)} pictures, {n_references} references"
    for system in evaluation.systems:
        name = shown(system.name, LONGEST_NAME)
        if system.missing:
            yield f"LEFT OUT: {len(system.missing)} reference pictures without a caption of {name}"
        if system.extra:
            yield f"left out: {len(system.extra)} captions of {name} without references"
    tables = score_tables(evaluation)
    yield from ("", *aligned([row for table in tables for row in _score_rows(table)]))
    yield from ("", *_legend(evaluation, tables))
    varieties = [row for index in range(len(tables)) for row in _diversity_rows(evaluation, index)]
    yield from ("", *aligned(varieties))
    yield from ("", *_tag_lines(evaluation), *_origins(evaluation))


def _score_rows(table: ScoreTable) -> Iterator[list[str]]:
    """Cells: the protocol and its metrics; for each system its numbers, and below them their intervals."""
    yield [
        f"{table.scores.protocol} ({table.scores.unit})",
        *(METRIC_TITLES[metric] for metric in table.metrics),
    ]
    for name, cells in table.rows:
        # The blank stands where others have a mark, and keeps the points in line.
        numbers = (f"{cell.value:.4f}{'*' if cell.differs else ' '}" for cell in cells.values())
        yield [shown(name, LONGEST_NAME), *numbers]
        if any(cell.interval for cell in cells.values()):
            yield ["", *map(_interval, cells.values())]


def _interval(cell: Cell) -> str:
    return f"{cell.interval.low:.3f}–{cell.interval.high:.3f}" if cell.interval else ""


def _legend(evaluation: Evaluation, tables: Sequence[ScoreTable]) -> Iterator[str]:
    """What the numbers and marks mean."""
    yield "CIDEr lies in 0..10, the others in 0..1. Words and characters cannot be compared."
    settings = evaluation.settings
    if "meteor" in settings.metrics:
        yield TEXTS["meteor_note"][1]
    if settings.resamples:
        yield f"Below a number: {settings.confidence:.0%} interval, {settings.resamples:,} draws of pictures."
    if evaluation.comparisons:
        first = shown(evaluation.systems[0].name, LONGEST_NAME)
        test = f"paired test, p at most {SIGNIFICANCE}, corrected for the number of pairs"
        cells = [cell for table in tables for _, row in table.rows for cell in row.values()]
        marks = "*: differs" if any(cell.differs for cell in cells) else "No number differs"
        yield f"{marks} significantly from {first} ({test})."


def _diversity_rows(evaluation: Evaluation, protocol: int) -> Iterator[list[str]]:
    scores = evaluation.systems[0].scores[protocol]
    yield [
        f"{scores.protocol} ({scores.unit})",
        "length",
        "vocabulary",
        "distinct-1",
        "distinct-2",
        "self-BLEU-4",
        "different",
        "repeating",
        "with [UNK]",
    ]
    for system in evaluation.systems:
        yield [shown(system.name, LONGEST_NAME), *_diversity_cells(system.diversity[protocol])]


def _diversity_cells(diversity: Diversity) -> list[str]:
    return [
        f"{diversity.mean_length:.1f}",
        f"{diversity.vocabulary:,}",
        f"{diversity.distinct_1:.3f}",
        f"{diversity.distinct_2:.3f}",
        f"{diversity.self_bleu_4:.3f}",
        f"{diversity.distinct_captions:.1%}",
        f"{diversity.repetition:.1%}",
        f"{diversity.unknown:.1%}",
    ]


def _tag_lines(evaluation: Evaluation) -> Iterator[str]:
    for system in evaluation.systems:
        if found := system.tag_recall:
            detected = found.named + found.not_named
            yield (
                f"{shown(system.name, LONGEST_NAME)} names {found.named:,} of {detected:,} detected objects "
                f"({_percent(found.recall)}) and {found.not_detected:,} that were not detected "
                f"({_percent(found.not_detected_share)} of those named); {shown(found.source)}"
            )


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{share:.1%}"


def _origins(evaluation: Evaluation) -> Iterator[str]:
    """How to get the same numbers again: what was done to the captions of which files."""
    for scores in evaluation.systems[0].scores:
        yield f"{scores.protocol}: {', '.join(scores.steps)}; {scores.version}"
    yield from source_lines(evaluation)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right, no blanks at the end."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        blanks = [" " * (wanted - width(cell)) for cell, wanted in zip(row, widths, strict=True)]
        numbers = [blank + cell for cell, blank in zip(row[1:], blanks[1:], strict=True)]
        lines.append("  ".join([row[0] + blanks[0], *numbers]).rstrip())
    return lines


def width(text: str) -> int:
    """Columns of a terminal that the text takes; Chinese characters take two, combining marks none."""
    drawn = [each for each in text if unicodedata.category(each) not in ("Mn", "Me")]
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in drawn)
