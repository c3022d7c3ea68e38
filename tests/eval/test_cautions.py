"""Numbers that do not mean what they seem to are preceded by a sentence that says so."""

import json
from pathlib import Path

import pytest

from eval.__main__ import main
from eval.cautions import few_pictures, unsegmented
from eval.protocols import PROTOCOLS

RAW = ["两只狗在雪地里玩耍", "一个男人骑着自行车", "孩子们在海边放风筝"]
GIVEN = ["两只 狗 在 雪地 里 玩耍", "一个 男人 骑着 自行车", "孩子们 在 海边 放 风筝"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, texts in (("raw", RAW), ("given", GIVEN)):
        records = [{"image_id": f"{i}.jpg", "caption": text} for i, text in enumerate(texts)]
        Path(f"{name}.json").write_text(json.dumps(records), encoding="utf-8")
        people = [{**record, "caption": [record["caption"]]} for record in records]
        Path(f"{name}-people.json").write_text(json.dumps(people), encoding="utf-8")


@pytest.mark.parametrize("protocol", ["coco-cn", "coco-en"])
@pytest.mark.parametrize(("captions", "people"), [("raw", "given"), ("given", "raw")])
def test_a_file_of_chinese_that_was_not_cut_is_named(
    protocol: str, captions: str, people: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [f"{captions}.json", f"{people}-people.json"]
    assert main([*files, "--protocols", protocol, "--out", "s.json", "--report", "r.html"]) == 0
    raw = files[captions == "given"]
    sentence = (
        f"LOOKS UNSEGMENTED: under {protocol}, sentences of {raw} have 1.0 tokens on average, but 9.0 "
        "Chinese characters. Score them under aic-icc or chars."
    )
    assert capsys.readouterr().out.splitlines()[1] == sentence
    assert json.loads(Path("s.json").read_text(encoding="utf-8"))["warnings"] == [sentence]
    assert sentence in Path("r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["raw", "given"])
def test_words_and_characters_are_no_reason_for_a_warning(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"{name}.json", f"{name}-people.json", "--out", "s.json", "--report", "r.html"]) == 0
    assert json.loads(Path("s.json").read_text(encoding="utf-8"))["warnings"] == []
    assert "UNSEGMENTED" not in capsys.readouterr().out


@pytest.mark.parametrize("sentence", ["狗", "dog", "hello", "。。。。"])
def test_a_short_sentence_or_one_without_chinese_is_not_taken_for_uncut_chinese(sentence: str) -> None:
    assert [*unsegmented("a.json", [sentence], PROTOCOLS["coco-cn"])] == []


def test_fewer_than_thirty_pictures_are_told_where_others_were_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("two.json").write_text(
        json.dumps(json.loads(Path("raw.json").read_text(encoding="utf-8"))[:2]), encoding="utf-8"
    )
    assert main(["two.json", "raw-people.json", "--allow_missing", "--protocols", "chars"]) == 0
    assert (
        "TOO FEW PICTURES: 2 of 3 were scored; with fewer than 30, neither CIDEr (its document frequencies) "
        "nor intervals can be relied on."
    ) in capsys.readouterr().out.splitlines()
    assert [len([*few_pictures(*counts)]) for counts in ((29, 100), (30, 100), (3, 3))] == [1, 0, 0]
