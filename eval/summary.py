"""An evaluation as the terminal shows it."""

import math
import unicodedata
from collections.abc import Iterator, Sequence

from eval.diversity import Diversity
from eval.evaluation import Evaluation
from eval.method import confidence_text, method_lines
from eval.metrics import METRIC_NOTES, METRIC_TITLES
from eval.shown import counted, shown
from eval.tables import SIGNIFICANCE, ScoreTable, score_tables, source_lines

LONGEST_NAME = 40
"""Characters of a system's name that are shown."""
VARIETY_LEGEND = (
    "length: mean; dist-1, dist-2: different tokens and pairs, of all; self-BLEU:",
    "BLEU-4 against the other captions; distinct, repeat, [UNK]: captions different",
    "from each other, that repeat themselves, with [UNK].",
)


def summary_lines(evaluation: Evaluation) -> Iterator[str]:
    """What was counted and left out, the tables of each protocol, and how each protocol counts."""
    n_references = sum(map(len, evaluation.references.values()))
    yield f"{counted(len(evaluation.references), 'picture')}, {counted(n_references, 'reference')}"
    for system in evaluation.systems:
        name = shown(system.name, LONGEST_NAME)
        if system.missing:
            yield f"LEFT OUT: {counted(len(system.missing), 'reference picture')} without a caption of {name}"
        if system.extra:
            yield f"left out: {counted(len(system.extra), 'caption')} of {name} without references"
    yield from map(str, evaluation.cautions)
    tables = score_tables(evaluation)
    yield from ("", *aligned([row for table in tables for row in _score_rows(table)]))
    yield from ("", *_legend(evaluation, tables))
    varieties = [row for index in range(len(tables)) for row in _diversity_rows(evaluation, index)]
    yield from ("", *aligned(varieties), "", *VARIETY_LEGEND)
    yield from ("", *_tag_lines(evaluation), *_origins(evaluation))


def _score_rows(table: ScoreTable) -> Iterator[list[str]]:
    """Cells: the protocol and its metrics; for each system its numbers, and below them their intervals.

    An end of an interval has a line of its own, so that six numbers fit into 80 columns.
    """
    yield [
        f"{table.scores.protocol} ({table.scores.unit})",
        *(METRIC_TITLES[metric] for metric in table.metrics),
    ]
    for name, cells in table.rows:
        # Blanks stand where others have a mark or one digit more, and keep the points in line.
        numbers = (f"{cell.value:.4f}{'*' if cell.differs else ' '}" for cell in cells.values())
        yield [shown(name, LONGEST_NAME), *numbers]
        intervals = [cell.interval for cell in cells.values() if cell.interval]
        if intervals:
            yield ["  from", *(f"{interval.low:.3f}  " for interval in intervals)]
            yield ["  to", *(f"{interval.high:.3f}  " for interval in intervals)]


def _legend(evaluation: Evaluation, tables: Sequence[ScoreTable]) -> Iterator[str]:
    """What the numbers and marks mean."""
    yield "CIDEr is 0..10, the others 0..1. Words and characters cannot be compared."
    settings = evaluation.settings
    yield from (f"{METRIC_NOTES[metric]}." for metric in tables[0].metrics if metric in METRIC_NOTES)
    if settings.resamples:
        confidence = confidence_text(settings.confidence)
        yield f"from, to: {confidence} interval, {settings.resamples:,} draws of pictures."
    if evaluation.comparisons:
        n_pairs = math.comb(len(evaluation.systems), 2)
        yield from _test_legend(evaluation.systems[0].name, n_pairs, settings.resamples, tables)


def _test_legend(first: str, n_pairs: int, resamples: int, tables: Sequence[ScoreTable]) -> Iterator[str]:
    cells = [cell for table in tables for _, row in table.rows for cell in row.values()]
    marks = "*: differs" if any(cell.differs for cell in cells) else "No number differs"
    yield f"{marks} significantly from {shown(first, LONGEST_NAME)}"
    yield f"(paired test, p at most {SIGNIFICANCE}, corrected for the number of pairs)."
    if n_pairs / (resamples + 1) > SIGNIFICANCE:
        wanted = math.ceil(n_pairs / SIGNIFICANCE)
        yield f"{resamples:,} draws are too few to find any difference; take --resamples {wanted} or more."


def _diversity_rows(evaluation: Evaluation, protocol: int) -> Iterator[list[str]]:
    scores = evaluation.systems[0].scores[protocol]
    yield [
        scores.protocol,
        "length",
        "vocab.",
        "dist-1",
        "dist-2",
        "self-BLEU",
        "distinct",
        "repeat",
        "[UNK]",
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
    """How to get the same numbers again: what was done to the captions of which files, and computed how."""
    for scores in evaluation.systems[0].scores:
        yield f"{scores.protocol}: {', '.join(scores.steps)}; {scores.version}"
    yield from method_lines(evaluation)
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
