from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.training import card, differences, find_runs, read_run, without_pictures


def make_run(folder: Path, lines: list[object], settings: str = "") -> Path:
    folder.mkdir(parents=True)
    text = "".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in lines)
    (folder / "log.jsonl").write_text(text + '{"event": "step", "st', encoding="utf-8")
    (folder / "config.yaml").write_text(settings, encoding="utf-8")
    return folder


LINES = [
    {"event": "note", "message": "hello"},
    {"event": "step", "step": 10, "steps": 100, "eta_seconds": 5, "loss": 2.0},
    {"event": "step", "step": 20, "loss": 1.5},
    {"event": "validation", "step": 20, "best": True, "cider": 0.4, "captions": {"a": "狗"}},
    {"event": "step", "step": 20, "loss": 1.4},
    "not JSON",
    "[1]",
    {"event": "step", "step": "30", "loss": 1.0},
    {"event": "step", "step": 40, "loss": float("nan")},
]


def test_curves_are_read_as_far_as_they_are_told_and_the_last_word_counts(tmp_path: Path) -> None:
    run = read_run("x", make_run(tmp_path / "x", LINES, "a: 1\nb: {c: [1, 2], d: 狗}\n"))
    assert run.training == {"loss": [(10, 2.0), (20, 1.4)]}
    assert run.validation == {"cider": [(20, 0.4)]}
    assert run.settings == {"a": "1", "b.c": "[1, 2]", "b.d": '"狗"'}


def test_runs_are_found_where_they_are_and_below_and_told_apart(tmp_path: Path) -> None:
    for name in ("one", "more/two", "more/one"):
        make_run(tmp_path / name, [])
    runs = find_runs([tmp_path / "one", tmp_path])
    assert runs == {"one": tmp_path / "one", "more/one": tmp_path / "more/one", "two": tmp_path / "more/two"}
    assert find_runs([tmp_path / "nowhere"]) == {}


def test_only_settings_that_differ_are_listed(tmp_path: Path) -> None:
    one = read_run("one", make_run(tmp_path / "one", [], "a: 1\nb: 2\n"))
    two = read_run("two", make_run(tmp_path / "two", [], "a: 1\nb: 3\nc: 4\n"))
    assert differences([one, two]) == [("b", "2", "3"), ("c", "", "4")]
    assert differences([one]) == []


@pytest.mark.parametrize("settings", ["[", "!!python/object/apply:os.system ['touch x']", "- a"])
def test_settings_that_are_none_are_passed_over_and_run_nothing(tmp_path: Path, settings: str) -> None:
    assert read_run("x", make_run(tmp_path / "x", [], settings)).settings == {}
    assert not Path("x").exists()


def test_the_card_of_the_bundled_captioner_is_there_and_others_may_have_none(tmp_path: Path) -> None:
    text, record = card("mini")
    assert text.startswith("# Mini captioner")
    assert json.loads(record)["objective"] == "caption"
    assert card(str(tmp_path)) == card("someone/oscar-zh") == ("", "")


def test_pictures_of_a_card_are_not_fetched() -> None:
    assert "![" not in without_pictures("![a](http://x/y.png) \\![b][c] ![[d]")
