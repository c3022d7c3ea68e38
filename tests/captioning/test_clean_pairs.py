"""The cleaning of pairs as JSON lines, by the command and line by line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.clean import main
from captioning.cleaning import Cleaner, CleaningConfig
from captioning.records import read_records
from captioning.validate import main as validate
from tests.captioning.corpus_files import write_corpus
from tests.captioning.test_cleaning import TEXTS

pytest.importorskip("opencc")
pytest.importorskip("datasketch")

SENTENCES = TEXTS.filter(str.strip)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
TAGS = st.none() | st.lists(WORDS, max_size=2)
LINES = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {
                "image_id": st.sampled_from(["a.jpg", "b.jpg", 7]),
                "caption": SENTENCES | st.lists(SENTENCES, min_size=1, max_size=3),
            },
            optional={"tags": TAGS, "url": TEXTS},
        ),
        st.fixed_dictionaries(
            {
                "image_id": st.sampled_from(["a.jpg", 7]),
                "question": SENTENCES,
                "answer": SENTENCES,
            },
            optional={"tags": TAGS, "id": st.integers()},
        ),
    ),
    max_size=8,
)


def cleaned(lines: Sequence[dict[str, Any]], **wanted: Any) -> list[dict[str, Any] | None]:
    return [line for _, line in Cleaner(CleaningConfig(**wanted)).pairs(lines)]


def run(folder: Path, lines: Sequence[dict[str, Any]], *flags: str) -> tuple[int, list[dict[str, Any]]]:
    source, out = folder / "in.jsonl", folder / "out.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    code = main([str(source), str(out), *flags])
    return code, [json.loads(line) for line in out.read_text("utf-8").splitlines()] if out.exists() else []


def caption(text: str | list[str], tags: list[str] | None = None, image_id: str = "a.jpg") -> dict[str, Any]:
    return {"image_id": image_id, "caption": text} | ({} if tags is None else {"tags": tags})


def question(text: str, answer: str, image_id: str = "a.jpg") -> dict[str, Any]:
    return {"image_id": image_id, "question": text, "answer": answer}


def test_all_texts_of_pairs_are_cleaned_and_all_else_stays_as_it_was(tmp_path: Path) -> None:
    code, lines = run(
        tmp_path,
        [
            {"url": "https://a.cn", "image_id": 7, "caption": "<b>一隻狗</b>", "tags": ["hot dog", "貓"]},
            {"image_id": "a.jpg", "question": "幾隻狗😀？", "answer": "兩&nbsp;隻", "id": [1.5, None]},
            {"image_id": 7, "caption": ["一只<br>猫", "兩隻貓"], "tags": None},
        ],
    )
    assert code == 0
    assert lines == [
        {"url": "https://a.cn", "image_id": 7, "caption": "一只狗", "tags": ["hot dog", "貓"]},
        {"image_id": "a.jpg", "question": "几只狗？", "answer": "两 只", "id": [1.5, None]},
        {"image_id": 7, "caption": ["一只 猫", "两只猫"], "tags": None},
    ]
    assert [list(line)[0] for line in lines] == ["url", "image_id", "image_id"]


def test_fields_that_nobody_reads_may_hold_what_is_no_unicode(tmp_path: Path) -> None:
    line = {"image_id": "a.jpg", "caption": "狗", "note": "\ud800猫"}
    assert run(tmp_path, [line]) == (0, [line])


def test_json_lines_without_tags_stay_json_lines(tmp_path: Path) -> None:
    lines = [caption("狗"), caption(["猫", "狗"], image_id="b.jpg")]
    assert run(tmp_path, lines) == (0, lines)


def test_what_validate_converts_trains_the_same_after_cleaning_if_it_was_clean(tmp_path: Path) -> None:
    pairs, out = tmp_path / "pairs.jsonl", tmp_path / "out.jsonl"
    assert validate([str(write_corpus(tmp_path)), "--tags", "gt", "--convert", str(pairs)]) == 0
    assert main([str(pairs), str(out)]) == 0
    assert out.read_bytes() == pairs.read_bytes()
    assert any(second for record in read_records(out, "train") for second in record.seconds)


def test_equal_pairs_are_left_out_of_the_same_picture_alone() -> None:
    lines = [
        caption("一只狗", ["狗"]),
        caption("<b>一隻狗</b>", ["狗"]),
        caption("一只狗", ["猫"]),
        caption("一只狗"),
        caption("一只狗", []),
        caption("一只狗", ["狗"], "b.jpg"),
        question("一只狗", "狗"),
        question("一只狗", "<b>狗</b>"),
        question("一只狗", "猫"),
        question("一只狗", "狗", "b.jpg"),
    ]
    kept = [place for place, line in enumerate(cleaned(lines)) if line is not None]
    assert kept == [0, 2, 3, 5, 6, 8, 9]
    assert None not in cleaned(lines, duplicates="keep")


def test_nearly_equal_pairs_are_left_out_of_the_same_picture_if_wanted() -> None:
    first, second = "一只棕色的狗在绿色的草地上奔跑", "一只棕色的狗在绿色的草地上奔跑。"
    lines = [
        caption(first, ["狗"]),
        caption(second, ["狗"]),
        caption(second, ["猫"]),
        caption(second, ["狗"], "b.jpg"),
        question(first, "是"),
        question(second, "是"),
        question(second, "不是"),
    ]
    kept = [place for place, line in enumerate(cleaned(lines, duplicates="near")) if line is not None]
    assert kept == [0, 2, 3, 4, 6]
    assert None not in cleaned(lines)


def test_of_a_list_of_captions_only_those_that_are_left_stay() -> None:
    lines = [caption(["狗", "😀", "<b>狗</b>", "猫"], ["狗"]), caption(["<br>", "狗"], ["狗"])]
    assert cleaned(lines) == [caption(["狗", "猫"], ["狗"]), None]


def test_a_question_goes_with_its_answer_and_counts_once() -> None:
    cleaner = Cleaner(CleaningConfig())
    lines = [question("<b>幾隻？</b>", "<b>兩隻</b>"), question("几只？", "😀"), question("<br>", "两只")]
    assert [line for _, line in cleaner.pairs(lines)] == [question("几只？", "两只"), None, None]
    assert (cleaner.n_read, cleaner.n_kept, cleaner.n_changed) == (3, 1, 1)
    assert cleaner.left_out["empty"].texts == 2
    assert (cleaner.changed["simplified"].texts, cleaner.changed["emoji"].texts) == (2, 1)


def test_the_report_counts_pairs_and_names_pictures_that_have_none_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    lines = [caption("😀", image_id="b.jpg"), caption("😀"), caption("狗", ["狗"]), caption("狗", ["狗"])]
    code, left = run(tmp_path, lines, "--report", str(report))
    account = json.loads(report.read_text(encoding="utf-8"))
    assert (code, left) == (0, [caption("狗", ["狗"])])
    assert account["kind"] == "pairs"
    assert account["images_without_captions"] == ["b.jpg"]
    assert {name: count["texts"] for name, count in account["left_out"].items()} == {
        "empty": 2,
        "exact_duplicates": 1,
    }
    printed = capsys.readouterr().out
    assert printed.startswith("4 pairs read, 1 kept, 0 changed\n")
    assert "1 pictures have no text left, and are left out" in printed


def test_a_dry_run_counts_pairs_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"image_id": 1, "question": "😀", "answer": "是"}\n', encoding="utf-8")
    assert main([str(source), "--dry_run"]) == 0
    assert "1 pairs read, 0 kept" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            [question("狗？", "是"), {"image_id": 1, "question": "狗？"}],
            "line 2, field 'answer': found no such",
        ),
        (
            [caption("狗"), caption("狗") | {"tags": "狗"}],
            "line 2, field 'tags': found \"狗\", wanted a list",
        ),
        ([question("狗？", "是") | {"caption": "狗"}], "found one beside a caption, wanted a line for each"),
        ([caption("😀", ["狗"])], "no pair is left; nothing was written"),
    ],
    ids=["no answer", "tags that are a text", "both", "nothing left"],
)
def test_pairs_that_cannot_be_cleaned_are_refused_for_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: list[dict[str, Any]], message: str
) -> None:
    assert run(tmp_path, lines) == (1, [])
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize("duplicates", ["keep", "exact", "near"])
@settings(deadline=None, max_examples=50)
@given(lines=LINES)
def test_cleaned_pairs_stay_as_they_are(duplicates: str, lines: list[dict[str, Any]]) -> None:
    once = [line for line in cleaned(lines, duplicates=duplicates, similarity=0.5) if line is not None]
    assert cleaned(once, duplicates=duplicates, similarity=0.5) == once


@settings(deadline=None, max_examples=50)
@given(lines=LINES)
def test_cleaning_changes_no_field_but_the_texts(lines: list[dict[str, Any]]) -> None:
    texts = ("caption", "question", "answer")
    for before, after in zip(lines, cleaned(lines), strict=True):
        if after is not None:
            assert list(after) == list(before)
            assert [after[key] for key in after if key not in texts] == [
                before[key] for key in before if key not in texts
            ]
