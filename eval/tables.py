"""Score tables for papers and pull requests: Markdown and LaTeX, each with the protocol beside it.

A number without its protocol and segmenter cannot be compared with any other, so no table leaves without
them. Bold is the best of several systems, and only where it is significantly better than each other one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from eval.evaluation import Evaluation
from eval.method import method_lines
from eval.metrics import METRIC_NOTES, METRIC_TITLES, Scores
from eval.shown import counted, shown
from eval.significance import Comparison, Interval

SIGNIFICANCE = 0.05
"""Largest p-value, corrected for the number of pairs of systems, that counts as a difference."""
LONGEST_NAME = 80

_MARKDOWN_SPECIALS = re.compile(r"([\\`*_\[\]<>|~$&#])")
_LATEX_SPECIALS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\symbol{34}",
    "`": r"\textasciigrave{}",
    "'": "{'}",
    "-": "{-}",  # two would become a dash
    "[": "{[}",  # \\ at the end of the line before would take it for its option
    "*": "{*}",
    "…": r"\ldots{}",
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of a score table."""

    value: float
    interval: Interval | None
    best: bool
    """Significantly better than each other system."""
    differs: bool
    """Significantly, from the first system."""


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """The systems under one protocol."""

    scores: Scores
    """Of the first system; the protocol, the pictures and the metrics are those of all."""
    tested: bool
    """Whether the systems were compared."""
    rows: tuple[tuple[str, dict[str, Cell]], ...]
    """Name of a system -> metric -> its number, in the order of the systems and of `METRIC_TITLES`."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.rows[0][1])


def score_tables(evaluation: Evaluation) -> tuple[ScoreTable, ...]:
    """One table a protocol, in their order."""
    return tuple(
        _score_table(evaluation, index, scores.protocol)
        for index, scores in enumerate(evaluation.systems[0].scores)
    )


def markdown_tables(evaluation: Evaluation) -> str:
    """One table a protocol, intervals in brackets, for GitHub and its like; below them method and files."""
    listed = "".join(
        f"- {escape_markdown(line)}\n" for line in (*method_lines(evaluation), *source_lines(evaluation))
    )
    return "\n".join([*map(_markdown, score_tables(evaluation)), listed])


def latex_tables(evaluation: Evaluation) -> str:
    """One booktabs table a protocol, intervals in small print under the numbers; the files in comments.

    Where names are Latin, all is ASCII outside the comments: pdfLaTeX has no Chinese full stop.
    """
    head = (
        "% \\usepackage{booktabs,textcomp}\n"
        "% Chinese names: \\usepackage{xeCJK} with XeLaTeX, or the class or package ctex; pdfLaTeX cannot.\n"
    )
    head += "".join(f"% {line}\n" for line in source_lines(evaluation))
    method = ". ".join(method_lines(evaluation)) + "."
    return head + "\n".join(_latex(table, method) for table in score_tables(evaluation))


def source_lines(evaluation: Evaluation) -> list[str]:
    """The files that were scored and, last, the one scored against, with their SHA-256."""
    sources = [*(system.source for system in evaluation.systems), evaluation.references_source]
    return [
        f"{shown(each.path)}: {counted(each.n_captions, 'caption')} of {counted(each.n_images, 'picture')}, "
        f"sha256 {each.sha256}"
        for each in sources
    ]


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it stands, in a cell of a table too."""
    return _MARKDOWN_SPECIALS.sub(r"\\\1", shown(text))


def escape_latex(text: str) -> str:
    """Text that LaTeX shows as it stands, at the start of a row too."""
    return "".join(_LATEX_SPECIALS.get(character, character) for character in shown(text))


def _score_table(evaluation: Evaluation, index: int, protocol: str) -> ScoreTable:
    systems = [(system.name, system.scores[index]) for system in evaluation.systems]
    comparisons = [each for each in evaluation.comparisons if each.protocol == protocol]
    rows = [
        (
            name,
            {
                metric: Cell(
                    value=scores.overall[metric],
                    interval=scores.intervals.get(metric),
                    best=_is_best(name, metric, comparisons, len(systems) - 1),
                    differs=_differs(name, systems[0][0], metric, comparisons),
                )
                for metric in METRIC_TITLES
                if metric in scores.overall
            },
        )
        for name, scores in systems
    ]
    return ScoreTable(
        scores=systems[0][1],
        tested=bool(comparisons),
        rows=tuple(rows),
    )


def _is_best(name: str, metric: str, comparisons: Sequence[Comparison], n_others: int) -> bool:
    """Whether a system is significantly better than all of the others, of which there is one or more."""
    n_beaten = 0
    for each in comparisons:
        test = each.tests[metric]
        ahead = each.first if test.difference > 0 else each.second
        n_beaten += ahead == name and test.holm_p_value <= SIGNIFICANCE
    return n_beaten == n_others > 0


def _differs(name: str, first: str, metric: str, comparisons: Sequence[Comparison]) -> bool:
    return any(
        {each.first, each.second} == {name, first} and each.tests[metric].holm_p_value <= SIGNIFICANCE
        for each in comparisons
    )


def _note(table: ScoreTable) -> str:
    """What a reader must know to repeat the numbers, and what the marks mean."""
    scores = table.scores
    version = re.sub(
        r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1…", scores.version
    )  # a whole hash breaks the lines
    sentences = [
        f"Protocol {scores.protocol}: {scores.unit}, {version}; {', '.join(scores.steps)}",
        f"{counted(scores.n_images, 'picture')}, {counted(scores.n_references, 'reference')}",
    ]
    sentences += [METRIC_NOTES[metric] for metric in table.metrics if metric in METRIC_NOTES]
    if table.tested:
        tests = f"paired test, p at most {SIGNIFICANCE}, corrected for the number of pairs"
        sentences.append(
            f"*: differs significantly from {shown(table.rows[0][0], LONGEST_NAME)}; "
            f"bold: significantly better than each other system ({tests})"
        )
    return ". ".join(sentences) + "."


def _markdown(table: ScoreTable) -> str:
    titles = ["system", *(METRIC_TITLES[metric] for metric in table.metrics)]
    heading = f"### {escape_markdown(f'{table.scores.protocol} ({table.scores.unit})')}"
    lines = [heading, "", _markdown_line(titles), "|:--" + "|--:" * len(table.metrics) + "|"]
    lines += [
        _markdown_line(
            [escape_markdown(shown(name, LONGEST_NAME)), *(_markdown_cell(cell) for cell in cells.values())]
        )
        for name, cells in table.rows
    ]
    return "\n".join([*lines, "", escape_markdown(_note(table)), ""])


def _markdown_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(cell: Cell) -> str:
    number = f"{cell.value:.3f}"
    number = (f"**{number}**" if cell.best else number) + ("\\*" if cell.differs else "")
    return f"{number} ({cell.interval.low:.3f}–{cell.interval.high:.3f})" if cell.interval else number


def _latex(table: ScoreTable, method: str) -> str:
    scores = table.scores
    counts = f"{counted(scores.n_images, 'picture')}, {counted(scores.n_references, 'reference')}"
    caption = f"Caption scores by {scores.protocol} ({scores.unit}): {counts}."
    note = f"{_note(table)} {method}".replace("remove 。", "remove full stop (U+3002)")
    lines = [
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{escape_latex(caption)}}}",
        f"\\label{{tab:caption-scores-{re.sub('[^A-Za-z0-9]+', '-', scores.protocol)}}}",
        f"\\begin{{tabular}}{{l{'r' * len(table.metrics)}}}",
        "\\toprule",
        _latex_line(["System", *(METRIC_TITLES[metric] for metric in table.metrics)]),
        "\\midrule",
    ]
    for name, cells in table.rows:
        lines.append(
            _latex_line([escape_latex(shown(name, LONGEST_NAME)), *map(_latex_number, cells.values())])
        )
        if any(cell.interval for cell in cells.values()):
            lines.append(_latex_line(["", *map(_latex_interval, cells.values())]))
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", *_latex_note(note), "\\end{table}", ""])


def _latex_note(text: str) -> list[str]:
    """Lines that put a text in small print below a table."""
    return ["", "\\smallskip", f"\\parbox{{\\linewidth}}{{\\footnotesize {escape_latex(text)}}}"]


def _latex_line(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _latex_number(cell: Cell) -> str:
    number = f"\\textbf{{{cell.value:.3f}}}" if cell.best else f"{cell.value:.3f}"
    return number + ("\\rlap{$^{*}$}" if cell.differs else "")  # its width must not move the column


def _latex_interval(cell: Cell) -> str:
    return f"{{\\scriptsize {cell.interval.low:.3f}--{cell.interval.high:.3f}}}" if cell.interval else ""
