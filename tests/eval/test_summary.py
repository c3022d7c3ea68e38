"""What the terminal shows: every number in its column, whatever a system is called."""

import json
from pathlib import Path
from typing import Any

import pytest

from eval.evaluation import Evaluation, Settings, evaluate_files
from eval.method import method_lines
from eval.metrics import METRICS, Score
from eval.summary import aligned, summary_lines, width

PEOPLE = {
    f"{number}.jpg": [f"{number}只狗在雪地里玩耍", f"雪地里有{number}只狗"]
    for number in "一两三四五六七八九十"
}
TITLES = ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"]


def evaluated(folder: Path, captions: dict[str, dict[str, Any]], **settings: Any) -> Evaluation:
    for name, records in captions.items():
        listed = [{"image_id": image_id, **record} for image_id, record in records.items()]
        (folder / f"{name}.json").write_text(json.dumps(listed), encoding="utf-8")
    people = [{"image_id": image_id, "caption": texts} for image_id, texts in PEOPLE.items()]
    (folder / "people.json").write_text(json.dumps(people), encoding="utf-8")
    paths = [folder / f"{name}.json" for name in captions]
    return evaluate_files(paths, folder / "people.json", Settings(**settings))


def captions(text: str, **more: Any) -> dict[str, dict[str, Any]]:
    return {image_id: {"caption": text.format(image_id[0]), **more} for image_id in PEOPLE}


GOOD, BAD = captions("{}只狗在雪地里奔跑"), captions("一个[UNK]")


def table(lines: list[str], title: str, n_systems: int, rows: int) -> list[str]:
    start = next(index for index, line in enumerate(lines) if line.startswith(title))
    return lines[start : start + 1 + n_systems * rows]


def test_systems_stand_below_each_other_with_intervals_below_their_numbers(tmp_path: Path) -> None:
    evaluation = evaluated(tmp_path, {"好": GOOD, "a worse one": BAD}, protocols=("chars",), resamples=100)
    title, *rows = table(list(summary_lines(evaluation)), "chars (characters)", 2, 3)
    assert title.split()[2:] == TITLES
    assert (rows[0][0], rows[3][:11]) == ("好", "a worse one")
    scores = evaluation.systems[0].scores[0]
    assert rows[0].split()[1:] == [f"{number:.4f}" for number in scores.overall.values()]
    assert rows[1].split() == ["from", *(f"{each.low:.3f}" for each in scores.intervals.values())]
    assert rows[2].split() == ["to", *(f"{each.high:.3f}" for each in scores.intervals.values())]
    assert len({width(row[: row.index(".")]) for row in rows}) == 1


def test_the_tables_fit_into_80_columns(tmp_path: Path) -> None:
    evaluation = evaluated(tmp_path, {"baseline": GOOD, "ours": BAD}, resamples=100)
    lines = list(summary_lines(evaluation))
    start = next(index for index, line in enumerate(lines) if line.startswith("aic-icc (words)"))
    end = next(index for index, line in enumerate(lines) if line.startswith("aic-icc: "))
    assert max(map(width, lines[start:end])) <= 80


def test_columns_end_together_in_spite_of_wide_names(tmp_path: Path) -> None:
    evaluation = evaluated(tmp_path, {"图说·大模型": GOOD, "m": BAD}, protocols=("chars",), resamples=0)
    rows = table(list(summary_lines(evaluation)), "chars (characters)", 2, 1)
    assert len({width(row.rstrip()) for row in rows[1:]}) == 1
    assert width(rows[1][: rows[1].index("0.")]) == width(rows[2][: rows[2].index("0.")])


def test_a_star_is_at_numbers_that_differ_from_the_first_system_s(tmp_path: Path) -> None:
    evaluation = evaluated(tmp_path, {"good": GOOD, "same": GOOD, "bad": BAD}, resamples=200)
    lines = list(summary_lines(evaluation))
    rows = table(lines, "chars (characters)", 3, 3)
    assert [row.count("*") for row in rows] == [0, 0, 0, 0, 0, 0, 0, 6, 0, 0]
    assert "*: differs significantly from good" in lines


def test_systems_that_do_not_differ_are_said_not_to(tmp_path: Path) -> None:
    lines = list(summary_lines(evaluated(tmp_path, {"good": GOOD, "same": GOOD}, resamples=100)))
    assert "No number differs significantly from good" in lines
    assert "*" not in "\n".join(lines)
    assert "too few" not in "\n".join(lines)


def test_too_few_draws_for_any_significance_are_said_to_be_so(tmp_path: Path) -> None:
    systems = {"good": GOOD, "bad": BAD, "same": GOOD, "equal": GOOD}
    lines = list(summary_lines(evaluated(tmp_path, systems, resamples=100)))
    assert "100 draws are too few to find any difference; take --resamples 120 or more." in lines
    assert "*" not in "\n".join(lines)
    lines = list(summary_lines(evaluated(tmp_path, systems, resamples=120)))
    assert "too few" not in "\n".join(lines)


def test_one_system_is_compared_with_none(tmp_path: Path) -> None:
    assert "*" not in "\n".join(summary_lines(evaluated(tmp_path, {"good": GOOD}, resamples=100)))


def test_diversity_has_a_line_a_system(tmp_path: Path) -> None:
    lines = list(summary_lines(evaluated(tmp_path, {"good": GOOD, "bad": BAD}, resamples=0)))
    start = next(index for index, line in enumerate(lines) if "self-BLEU" in line)
    assert lines[start].startswith("aic-icc ")
    assert lines[start + 1].split()[0] == "good"
    assert lines[start + 2].split()[0] == "bad"
    assert lines[start + 2].endswith("100.0%")
    assert lines[start + 2].split()[-3] == "10.0%"


def test_what_was_detected_and_named_is_said(tmp_path: Path) -> None:
    lines = list(
        summary_lines(evaluated(tmp_path, {"good": captions("{}只狗", tags=["狗", "雪"])}, resamples=0))
    )
    told = [line for line in lines if "detected objects" in line]
    assert told == [
        "good names 10 of 20 detected objects (50.0%) and 0 that were not detected (0.0% of those named); "
        "tags in the predictions"
    ]


def test_protocol_versions_and_files_end_the_page(tmp_path: Path) -> None:
    evaluation = evaluated(tmp_path, {"good": GOOD}, resamples=0)
    words, characters, *method, predictions, references = list(summary_lines(evaluation))[-8:]
    assert method == method_lines(evaluation)
    assert words.startswith(
        "aic-icc: NFC, strip, remove 。, drop spaces between Chinese characters, jieba precise mode, HMM"
    )
    assert "; jieba 0.42.1, dict.txt sha256 7197c3211ddd9896" in words
    assert characters.startswith("chars: NFC, strip, remove 。")
    assert predictions.endswith(
        f"good.json: 10 captions of 10 pictures, sha256 {evaluation.systems[0].source.sha256}"
    )
    assert references.endswith(
        f"people.json: 20 captions of 10 pictures, sha256 {evaluation.references_source.sha256}"
    )


def test_a_name_cannot_move_the_terminal_s_cursor(tmp_path: Path) -> None:
    text = "\n".join(summary_lines(evaluated(tmp_path, {"a\x1b[2J\u202eb": GOOD}, resamples=0)))
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize(
    ("text", "columns"),
    [("", 0), ("abc", 3), ("图说", 4), ("ｆｕｌｌ", 8), ("e\u0301", 1), ("。", 2), ("·", 1)],
)
def test_the_width_of_text_is_that_of_its_characters(text: str, columns: int) -> None:
    assert width(text) == columns


def test_a_table_s_first_column_is_to_the_left_and_the_others_to_the_right() -> None:
    assert aligned([["", "n"], ["图", "10"], ["abc", "1.5"]]) == ["       n", "图    10", "abc  1.5"]


def test_what_meteor_does_to_chinese_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "meteor", lambda *_: Score.of_means({"meteor": [0.5] * 10}))  # needs Java
    evaluation = evaluated(tmp_path, {"good": GOOD}, metrics=("meteor",), resamples=0)
    assert any(line.startswith("METEOR splits Chinese into characters") for line in summary_lines(evaluation))
