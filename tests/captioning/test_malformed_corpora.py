"""What is said about every kind of mistake in YAML files, corpora and pairs, and in Oscar's caption files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from captioning.records import read_records
from captioning.validate import main
from eval.annotations import AnnotationError
from tests.captioning.corpus_files import LINES, SETTINGS, write_corpus, write_rows

CAPTIONS = "caption: c.json\n"
GOOD: list[dict[str, Any]] = [
    {"image_id": "1", "id": 1, "caption": "狗"},
    {"image_id": "1", "id": 2, "caption": "猫"},
]
PAIR = '{"image_id": "a", "caption": "狗"}\n'
SENTENCE = "wanted a sentence"
ID = "wanted a file name or a whole number"
INSIDE = "wanted a path that stays inside the folder of this file"

BAD_YAML: dict[str, tuple[str | bytes, str]] = {
    "caption without value": ("caption:\n", "F, field 'caption': found null, wanted a path relative to"),
    "no caption": (
        "feature: f.tsv\nlabel: l.tsv\n",
        "F, field 'caption': found no such field, wanted a path",
    ),
    "caption list": ("caption: [c.json]\n", "F, field 'caption': found a list, wanted a path relative to"),
    "caption date": ("caption: 2021-04-15\n", "F, field 'caption': found \"2021-04-15\", wanted a path"),
    "caption elsewhere": ("caption: ../c.json\n", f"F, field 'caption': found \"../c.json\", {INSIDE}"),
    "absolute caption": ("caption: /etc/passwd\n", f"F, field 'caption': found \"/etc/passwd\", {INSIDE}"),
    "caption through a link": (
        "caption: out/c.json\n",
        f"F, field 'caption': found \"out/c.json\", {INSIDE}",
    ),
    "NUL": ('caption: "c\\0.json"\n', r"F, field 'caption': found 'c\x00.json', wanted a path that stays"),
    "no such caption file": ("caption: none.json\n", "none.json: found no such file or directory, wanted"),
    "a folder": ("caption: folder\n", "folder: found is a directory, wanted a readable file"),
    "key twice": ("caption: c.json\ncaption: c.json\n", "F, field 'caption': found the key more than once"),
    "not YAML": ("caption: [c.json\n", "F, line 2: found broken YAML (expected ',' or ']', but got"),
    "tab": ("caption:\tc.json\n\tlabel: x\n", "F, line 1: found broken YAML (found character '\\t' that"),
    "tag": (
        "caption: !!python/object/apply:os.system ['touch canary']\n",
        "F, line 1: found broken YAML (could not determine a constructor for the tag",
    ),
    "alias": ("a: &x [1]\nb: *x\ncaption: c.json\n", "F: found an alias (*), wanted YAML without aliases"),
    "bad date": ("a: 2021-13-13\ncaption: c.json\n", "F: found broken YAML (month must be in 1..12"),
    "too deep": ("caption: " + "[" * 10_000, "F: found YAML nested too deep, wanted keys with values"),
    "too long": ("caption: c.json\n" + "# more\n" * 200_000, "F: found 1,400,016 characters, wanted a few"),
    "two documents": ("caption: c.json\n---\ncaption: c.json\n", "F, line 2: found broken YAML (but found"),
    "GBK": ("caption: 描述.json\n".encode("gbk"), "F, line 1: found bytes that are not UTF-8 at offset 9"),
    "a part of captions": (
        CAPTIONS,
        "F: found no splits (format oscar-captions), wanted the path without #x",
    ),
}
BAD_CAPTION_LISTS: dict[str, tuple[Any, str]] = {
    "empty": ("", "c.json: found an empty file, wanted references in one of the formats"),
    "empty list": ([], "c.json: found no caption, wanted one or more captions"),
    "truncated": ('[{"image_id": "1",\n "cap', "c.json, line 2: found broken JSON (Unterminated string"),
    "null caption": (
        [*GOOD, {"image_id": "2", "id": 3, "caption": None}],
        f"c.json, record 3, field 'caption': found null, {SENTENCE}",
    ),
    "no picture": (
        [*GOOD, {"id": 3, "caption": "狗"}],
        f"c.json, record 3, field 'image_id': found no such field, {ID}",
    ),
    "no record": ([*GOOD, "狗"], 'c.json, record 3: found "狗", wanted an object with named fields'),
    "NaN": (
        [*GOOD, {"image_id": float("nan"), "id": 3, "caption": "狗"}],
        f"c.json, record 3, field 'image_id': found NaN, {ID}",
    ),
    "key twice": (
        '[{"image_id": "1", "id": 1, "id": 2, "caption": "狗"}]',
        "c.json, record 1, field 'id': found the key more than once, wanted it once",
    ),
    "too deep": ("[" * 10_000, "c.json: found JSON nested too deep, wanted flat records"),
    "10,001 characters": (
        [{"image_id": "1", "id": 1, "caption": "狗" * 10_001}],
        "c.json, record 1, field 'caption': found 10,001 characters, wanted a sentence of 10,000 at most",
    ),
}
BAD_PAIRS: dict[str, tuple[str | bytes, str]] = {
    "no answer": (
        PAIR + '{"image_id": "a", "question": "谁？"}\n',
        f"F, line 2, field 'answer': found no such field, {SENTENCE}",
    ),
    "null answer": (
        '{"image_id": "a", "question": "谁？", "answer": null}\n',
        f"F, line 1, field 'answer': found null, {SENTENCE}",
    ),
    "empty question": (
        '{"image_id": "a", "question": "", "answer": "人"}\n',
        f"F, line 1, field 'question': found an empty string, {SENTENCE}",
    ),
    "caption and question": (
        '{"image_id": "a", "caption": "狗", "question": "谁？", "answer": "人"}\n',
        "F, line 1, field 'question': found one beside a caption, wanted a line for each of them",
    ),
    "tags as text": (
        '{"image_id": "a", "caption": "狗", "tags": "狗 草地"}\n',
        "F, line 1, field 'tags': found \"狗 草地\", wanted a list of one or more strings",
    ),
    "null tag": (
        '{"image_id": "a", "caption": "狗", "tags": ["狗", null]}\n',
        f"F, line 1, field 'tags[1]': found null, {SENTENCE}",
    ),
    "neither": (PAIR + '{"image_id": "a"}\n', f"F, line 2, field 'caption': found no such field, {SENTENCE}"),
    "no picture": (
        PAIR + '{"question": "谁？", "answer": "人"}\n',
        f"F, line 2, field 'image_id': found no such field, {ID}",
    ),
    "broken line": (PAIR + "{\n" + PAIR, "F, line 2: found broken JSON (Expecting property name"),
    "GBK": (
        PAIR.encode() + '{"image_id": "b", "caption": "一条狗在跑"}\n'.encode("gbk"),
        "F, line 2: found bytes that are not UTF-8",
    ),
    "half a surrogate": (
        PAIR + '{"image_id": "b", "caption": "\\ud83d"}\n',
        r"F, line 2, field 'caption': found half a surrogate pair in '\ud83d', wanted Unicode text",
    ),
}


def corpus(**changes: str | None) -> str:
    """The settings with keys replaced, or taken out by None."""
    lines = {
        "corpus": "coco_gqa_googlecc",
        "corpus_file": "corpus.tsv",
        "image_label_path": "{coco: labels/coco, gqa: labels/gqa, googlecc: labels/googlecc}",
        **changes,
    }
    return "".join(f"{key}: {value}\n" for key, value in lines.items() if value is not None)


BAD_CORPORA: dict[str, tuple[str, str]] = {
    "no names": (corpus(corpus=None), "F, field 'corpus': found no such field, wanted names of data sets"),
    "list of names": (corpus(corpus="[coco]"), "F, field 'corpus': found a list, wanted names of data sets"),
    "no corpus file": (
        corpus(corpus_file=None),
        "F, field 'corpus_file': found no such field, wanted a path",
    ),
    "corpus file elsewhere": (
        corpus(corpus_file="../x.tsv"),
        f"F, field 'corpus_file': found \"../x.tsv\", {INSIDE}",
    ),
    "corpus file that is not there": (
        corpus(corpus_file="none.tsv"),
        "none.tsv: found no such file or directory, wanted a readable file",
    ),
    "empty corpus file": (
        corpus(corpus_file="empty.tsv"),
        "empty.tsv: found no line of a wanted data set, wanted lines of coco, googlecc, gqa",
    ),
    "labels are no folders": (
        corpus(image_label_path="labels"),
        "F, field 'image_label_path': found \"labels\", wanted a folder for each data set",
    ),
    "no label folder of a data set": (
        corpus(image_label_path="{coco: labels/coco}"),
        "F, field 'image_label_path.gqa': found no such field, wanted a path relative to this file",
    ),
    "label folder elsewhere": (
        corpus(image_label_path="{coco: labels/coco, gqa: /}"),
        f"F, field 'image_label_path.gqa': found \"/\", {INSIDE}",
    ),
    "label folder twice": (
        corpus(image_label_path="{coco: labels/coco, coco: labels/coco, gqa: labels/gqa}"),
        "F, field 'image_label_path.coco': found the key more than once, wanted it once",
    ),
    "no answers": (
        corpus(image_label_path="{coco: labels/coco, gqa: labels/googlecc}"),
        "labels/googlecc/QA_fileB.tsv: found no such file or directory, wanted a readable file",
    ),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus and a caption file, with the file F to be written."""
    root = tmp_path / "root"
    write_corpus(root)
    (tmp_path / "elsewhere").mkdir()
    for place in (root, tmp_path, tmp_path / "elsewhere"):
        (place / "c.json").write_text(json.dumps(GOOD))
    (root / "out").symlink_to(tmp_path / "elsewhere")
    (root / "folder").mkdir()
    (root / "empty.tsv").touch()
    monkeypatch.chdir(root)
    return root


def write(path: Path, content: Any) -> None:
    if not isinstance(content, str | bytes):
        content = json.dumps(content, ensure_ascii=False)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def refused(capsys: pytest.CaptureFixture[str], name: str = "F") -> list[str]:
    """The problems that the command lists."""
    assert main([name]) == 1
    first, *problems, last = capsys.readouterr().out.splitlines()
    assert first in (f"{name}: 1 problem", f"{name}: {len(problems)} problems")
    assert last == "there are problems, see above"
    return [problem.removeprefix("  ") for problem in problems]


@pytest.mark.parametrize(("content", "message"), BAD_YAML.values(), ids=BAD_YAML)
def test_a_bad_yaml_file_is_refused_with_the_place(
    folder: Path, capsys: pytest.CaptureFixture[str], content: str | bytes, message: str
) -> None:
    write(Path("F"), content)
    (problem,) = refused(capsys, "F#x" if "#x" in message else "F")
    assert problem.startswith(message)
    assert not Path("canary").exists()


@pytest.mark.parametrize(("content", "message"), BAD_CAPTION_LISTS.values(), ids=BAD_CAPTION_LISTS)
def test_a_bad_caption_file_is_refused_with_the_place(
    folder: Path, capsys: pytest.CaptureFixture[str], content: Any, message: str
) -> None:
    write(Path("F"), CAPTIONS)
    write(Path("c.json"), content)
    (problem,) = refused(capsys)
    assert problem.startswith(message)


@pytest.mark.parametrize(("content", "message"), BAD_PAIRS.values(), ids=BAD_PAIRS)
def test_bad_pairs_are_refused_with_the_place(
    folder: Path, capsys: pytest.CaptureFixture[str], content: str | bytes, message: str
) -> None:
    write(Path("F"), content)
    (problem,) = refused(capsys)
    assert problem.startswith(message)


@pytest.mark.parametrize(("content", "message"), BAD_CORPORA.values(), ids=BAD_CORPORA)
def test_a_bad_corpus_is_refused_with_the_place(
    folder: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    write(Path("F"), content)
    (problem,) = refused(capsys)
    assert problem.startswith(message)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1337\n", "QA_fileB.tsv, line 1: found broken JSON (Expecting value, column 1), wanted JSON"),
        ("1337\t[]\n", "QA_fileB.tsv, line 1: found an empty list, wanted an object with named fields"),
        ('1337\t{"labels": [1]}\n', "QA_fileB.tsv, line 1, field 'labels[0]': found 1, wanted a sentence"),
        ('1337\t{"labels": ["是"]}\n' * 2, "QA_fileB.tsv, line 2, field 'key': found \"1337\" as on line 1"),
        ('1337\t{"labels": ' + "[" * 10_000, "QA_fileB.tsv, line 1: found JSON nested too deep"),
    ],
    ids=["no JSON", "no object", "no text", "question twice", "too deep"],
)
def test_a_bad_file_of_answers_is_refused_with_the_place(folder: Path, row: str, message: str) -> None:
    Path("labels/coco/QA_fileB.tsv").write_text(row)
    with pytest.raises(AnnotationError) as caught:
        read_records(Path("corpus.yaml"), "train")
    (problem,) = map(str, caught.value.problems)
    assert problem.startswith(f"labels/coco/{message}")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("42", "{")], "predictions_gt.tsv, line 1: found broken JSON (Expecting property name"),
        ([("42", '{"image_h": 1}')], "predictions_gt.tsv, line 1, field 'objects': found no such field"),
        (
            [("42", "{}"), ("42", "{}")],
            "predictions_gt.tsv: found line 2: '42' stands on an earlier line",
        ),
    ],
    ids=["no JSON", "no objects", "picture twice"],
)
def test_a_bad_file_of_labels_is_refused_with_the_place(
    folder: Path, capsys: pytest.CaptureFixture[str], rows: list[tuple[str, str]], message: str
) -> None:
    write_rows(Path("corpus.tsv"), LINES[:2])
    write_rows(Path("labels/coco/predictions_gt.tsv"), rows)
    assert main(["corpus.yaml", "--tags", "labels"]) == 1
    assert f"  labels/coco/{message}" in capsys.readouterr().out


def test_a_byte_order_mark_is_no_mistake(folder: Path) -> None:
    for name, content in (("F", SETTINGS), ("corpus.tsv", Path("corpus.tsv").read_text())):
        Path(name).write_text(content, encoding="utf-8-sig")
    assert len(read_records(Path("F"), "train")) == 4


def test_every_line_of_pairs_is_read_before_they_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(Path("F"), "".join(PAIR.replace("狗", "狗" if number % 2 else "") for number in range(100)))
    assert len(refused(capsys)) == 50
