"""Markdown and LaTeX tables: numbers with their protocol, bold only where it is earned, names as text."""

import re
from types import SimpleNamespace
from typing import Any

import pytest

from eval.evaluation import Settings
from eval.inputs import Source
from eval.method import confidence_text
from eval.protocols import PROTOCOLS
from eval.significance import Comparison, Interval, PairedTest
from eval.tables import (
    escape_latex,
    escape_markdown,
    latex_tables,
    markdown_tables,
    score_tables,
)

HASH = "7197c3211ddd98962b036cdf40324d1ea2bfaa12bd028e68faa70111a88e12a8"
HOSTILE = "a|b_c*d*`e`<b>[x](y)\\input{f}%$&#~^\"'--\u202e\n"


def scored(cider: float, *, intervals: bool = True) -> SimpleNamespace:
    return SimpleNamespace(
        protocol="aic-icc",
        unit="words",
        version=f"jieba 0.42.1, dict.txt sha256 {HASH}",
        steps=("NFC", "jieba precise mode"),
        n_images=1000,
        n_references=5000,
        overall={"cider": cider, "bleu-4": 0.25},
        intervals={"cider": Interval(cider - 0.01, cider + 0.02)} if intervals else {},
    )


def paired(first: str, second: str, difference: float, p_value: float) -> Comparison:
    def test(difference: float, p_value: float) -> PairedTest:
        return PairedTest(
            difference=difference,
            interval=Interval(0, 0),
            p_value=p_value,
            holm_p_value=p_value,
            wins=0,
            ties=0,
            losses=0,
        )

    tests = {"cider": test(difference, p_value), "bleu-4": test(0.0, 1.0)}
    return Comparison(first=first, second=second, protocol="aic-icc", tests=tests)


def source(path: str) -> Source:
    return Source(path=path, sha256=HASH[::-1], n_images=1000, n_captions=5000)


def evaluation(systems: dict[str, float], comparisons: tuple[Comparison, ...] = (), **options: bool) -> Any:
    return SimpleNamespace(
        systems=tuple(
            SimpleNamespace(name=name, scores=(scored(cider, **options),), source=source(f"{name[:80]}.json"))
            for name, cider in systems.items()
        ),
        references_source=source("refs.json"),
        comparisons=comparisons,
        settings=Settings(),
    )


THREE = {"one": 0.5, "two": 0.7, "three": 0.6}
"""By CIDEr two is better than both others, and three than one."""
THREE_TESTED = (
    paired("one", "two", -0.2, 0.001),
    paired("one", "three", -0.1, 0.2),
    paired("two", "three", 0.1, 0.05),
)


def test_a_table_has_the_numbers_in_the_order_of_the_metrics() -> None:
    table = score_tables(evaluation({"mini": 0.5}))[0]
    assert table.metrics == ("bleu-4", "cider")
    assert [cell.value for cell in table.rows[0][1].values()] == [0.25, 0.5]


def test_a_single_system_is_the_best_of_nothing() -> None:
    text = markdown_tables(evaluation({"mini": 0.5}))
    assert "| mini | 0.250 | 0.500 (0.490–0.520) |" in text
    assert "**" not in text
    assert "bold" not in text


def test_the_best_is_bold_where_it_is_significantly_better_than_all_others() -> None:
    rows = {name: cells["cider"] for name, cells in score_tables(evaluation(THREE, THREE_TESTED))[0].rows}
    assert {name: cell.best for name, cell in rows.items()} == {"one": False, "two": True, "three": False}
    assert "**0.700**" in markdown_tables(evaluation(THREE, THREE_TESTED))
    assert "\\textbf{0.700}" in latex_tables(evaluation(THREE, THREE_TESTED))


def test_nothing_is_bold_if_the_best_may_equal_another() -> None:
    unsure = (*THREE_TESTED[:2], paired("two", "three", 0.1, 0.051))
    cells = [row["cider"] for _, row in score_tables(evaluation(THREE, unsure))[0].rows]
    assert not any(cell.best for cell in cells)


def test_stars_are_at_systems_that_differ_from_the_first() -> None:
    rows = score_tables(evaluation(THREE, THREE_TESTED))[0].rows
    assert {name: cells["cider"].differs for name, cells in rows} == {
        "one": False,
        "two": True,
        "three": False,
    }


def test_comparisons_of_another_protocol_do_not_count() -> None:
    other = tuple(
        Comparison(first=each.first, second=each.second, protocol="chars", tests=each.tests)
        for each in THREE_TESTED
    )
    table = score_tables(evaluation(THREE, other))[0]
    assert not table.tested
    assert not any(cells["cider"].best for _, cells in table.rows)


@pytest.mark.parametrize("tables", [markdown_tables, latex_tables])
def test_no_table_leaves_without_its_protocol(tables: Any) -> None:
    text = tables(evaluation({"mini": 0.5})).replace("{-}", "-")
    for wanted in ("aic-icc", "words, jieba 0.42.1", HASH[:12], "jieba precise mode", "1000 pictures"):
        assert wanted in text
    assert HASH not in text  # it would break the lines of a paper; the first digits tell it from any other


@pytest.mark.parametrize(("tables", "start"), [(markdown_tables, "- "), (latex_tables, "% ")])
def test_no_table_leaves_without_its_files(tables: Any, start: str) -> None:
    lines = tables(evaluation({"mini": 0.5, "base": 0.6})).splitlines()
    for file in ("mini.json", "base.json", "refs.json"):
        assert f"{start}{file}: 5000 captions of 1000 pictures, sha256 {HASH[::-1]}" in lines


def test_what_meteor_does_to_chinese_stands_beside_it() -> None:
    measured = evaluation({"mini": 0.5})
    note = "METEOR splits Chinese into characters"
    assert note not in markdown_tables(measured)
    measured.systems[0].scores[0].overall["meteor"] = 0.3
    assert note in markdown_tables(measured)
    assert note in latex_tables(measured)


def test_without_intervals_there_is_no_row_and_no_word_of_them() -> None:
    assert "(0." not in markdown_tables(evaluation({"mini": 0.5}, intervals=False))
    text = latex_tables(evaluation({"mini": 0.5}, intervals=False))
    assert "scriptsize" not in text
    assert "Intervals" not in text


def test_a_hostile_name_is_one_cell_of_markdown() -> None:
    lines = markdown_tables(evaluation({HOSTILE: 0.5})).splitlines()
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in lines[2:5]] == [4, 4, 4]
    assert not re.findall(r"(?<!\\)[*_`<>\[\]$&~]", lines[4])
    assert "\u202e" not in lines[4]


def test_a_markdown_table_has_a_heading_and_a_title_for_every_column() -> None:
    lines = markdown_tables(evaluation({"mini": 0.5})).splitlines()
    assert lines[:3] == ["### aic-icc (words)", "", "| system | BLEU-4 | CIDEr |"]


def test_latex_is_ascii_where_names_are() -> None:
    measured = evaluation({"mini": 0.5, "base": 0.6}, (paired("mini", "base", -0.1, 0.01),))
    measured.systems[0].scores[0].steps = PROTOCOLS["aic-icc"].steps
    text = latex_tables(measured)
    assert "".join(line for line in text.splitlines() if not line.startswith("%")).isascii()
    assert "remove full stop (U+3002)" in text.replace("{-}", "-")


def test_a_latex_table_has_a_short_caption_a_label_and_a_note() -> None:
    lines = latex_tables(evaluation({"mini": 0.5})).replace("{-}", "-").splitlines()
    assert "\\caption{Caption scores by aic-icc (words): 1000 pictures, 5000 references.}" in lines
    assert "\\label{tab:caption-scores-aic-icc}" in lines
    [note] = [
        line for line in lines if line.startswith("\\parbox{\\linewidth}{\\footnotesize Protocol aic-icc:")
    ]
    assert lines.index(note) > lines.index("\\end{tabular}")
    assert "CIDEr-D as the COCO server computes it" in note


def test_hostile_text_is_text_in_latex() -> None:
    text = escape_latex(HOSTILE)
    commands = set(re.findall(r"\\([a-zA-Z]+)", text))
    assert commands <= {
        "textbackslash",
        "textless",
        "textgreater",
        "textbar",
        "textasciitilde",
        "textasciicircum",
        "textasciigrave",
        "symbol",
    }
    assert not re.findall(r"(?<!\\)[%$&#_]|--|\u202e|\n", text)
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0


@pytest.mark.parametrize("name", ["*", "[2pt]"])
def test_a_name_is_not_taken_for_an_option_of_the_line_before(name: str) -> None:
    assert escape_latex(name).startswith("{")


def test_very_long_names_are_cut() -> None:
    long, short = evaluation({"x" * 10_000: 0.5}), evaluation({"x": 0.5})
    for tables in (markdown_tables, latex_tables):
        assert len(tables(long)) - len(tables(short)) < 200


def test_plain_names_stay_as_they_are() -> None:
    assert escape_markdown("图说 mini (beam 5)") == "图说 mini (beam 5)"
    assert escape_latex("图说 mini (beam 5)") == "图说 mini (beam 5)"


def test_latex_says_what_chinese_needs() -> None:
    head = latex_tables(evaluation({"mini": 0.5})).splitlines()[:2]
    assert all(line.startswith("% ") for line in head)
    assert "booktabs" in head[0]
    assert "xeCJK" in head[1]


@pytest.mark.parametrize(
    ("confidence", "text"),
    [(0.95, "95%"), (0.995, "99.5%"), (0.57, "57%"), (0.999, "99.9%"), (0.9999999, "99.99999%")],
)
def test_no_digit_of_a_confidence_is_lost(confidence: float, text: str) -> None:
    assert confidence_text(confidence) == text
