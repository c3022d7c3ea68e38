"""What is plain text and what is refused."""

from __future__ import annotations

import gzip
import io
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from captioning.clean import main
from captioning.plain_text import plain_lines
from captioning.validate import main as validate
from tests.captioning.corpus_files import write_corpus

pytest.importorskip("opencc")

CORPUS_LINE = "coco_train_42\tcoco_train_42\t一只狗\n"
CAPTION_YAML = "img: train.img.tsv\nfeature: train.feature.tsv\ncaption: train_caption.json\n"


def refusal(source: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The message of the command, which refuses and writes nothing."""
    before = set(source.parent.iterdir())
    assert main([str(source), str(source.parent / "out")]) == 1
    assert set(source.parent.iterdir()) == before
    return capsys.readouterr().err


def command_in(message: str) -> list[str]:
    """The arguments of captioning.validate."""
    command = message.split("python -m captioning.validate ", 1)[1]
    return shlex.split(command.split(" (a corpus")[0])


@pytest.mark.parametrize("name", ["corpus.tsv", "corpus.yaml"])
def test_a_corpus_of_oscar_is_refused_with_the_command_that_makes_pairs_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    folder = tmp_path / "my corpora"
    write_corpus(folder)
    (folder / "another.yaml").write_text("corpus: gqa\ncorpus_file: gqa.tsv\n", encoding="utf-8")
    (folder / "broken.yaml").write_text("corpus: [", encoding="utf-8")
    message = refusal(folder / name, capsys)
    assert "wanted pairs as JSON lines" in message
    pairs = folder / "corpus.jsonl"
    assert command_in(message) == [str(folder / "corpus.yaml"), "--convert", str(pairs)]
    assert validate(command_in(message)) == 0
    assert main([str(pairs), str(tmp_path / "out.jsonl")]) == 0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("broken\n\n" + CORPUS_LINE, 'line 3: found TSV of an Oscar+ corpus ("coco_train_42")'),
        ("# VinVL\n" * 30 + CAPTION_YAML, "line 32: found YAML of Oscar or VinVL"),
        ('42\t{"objects": []}\n7\t{"objects": []}\n', "line 1: found a table of keys and what stands"),
        ("a.jpg\t一只狗\n猫.jpg\t一只猫\n", 'found a table of keys and what stands behind a tab ("a.jpg")'),
    ],
    ids=["corpus", "captions", "labels", "captions in a table"],
)
def test_files_of_oscar_and_tables_are_no_plain_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, found: str
) -> None:
    source = tmp_path / "in"
    source.write_text(text, encoding="utf-8")
    message = refusal(source, capsys)
    assert found in message
    assert "python -m captioning.validate" in message


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (CORPUS_LINE, "found TSV of an Oscar+ corpus"),
        ("corpus: coco\ncorpus_file: coco.tsv\n", "found YAML of Oscar or VinVL"),
        ('{"image_id": "a.jpg", "question": "狗？", "answer": "是"}\n', "found JSON with captions"),
        ('[\n {\n  "image_id": "a.jpg",\n  "caption": ["狗"]\n', "line 3: found JSON with captions"),
    ],
    ids=["corpus", "yaml", "pairs", "captions"],
)
def test_what_is_packed_or_piped_is_looked_into_as_well(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    found: str,
) -> None:
    packed = tmp_path / "in.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert found in refusal(packed, capsys)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    assert main(["-", str(tmp_path / "out")]) == 1
    assert found in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "注意：\t一只狗\n两只\t猫\n",
        "a.jpg\t一只狗\n这一行没有制表符\n",
        "Note: a dog\ncaption: 一只狗\nlabel: 狗\n",
        "[1] 三只鸟\n{一} 三只鸟\n",
        '字段 "image_id": 图片的名字\n',
        "# 标题\n",
        "",
    ],
    ids=["tabs", "one tab", "keys", "brackets", "about JSON", "comment", "empty"],
)
def test_text_that_only_resembles_them_is_text(tmp_path: Path, text: str) -> None:
    source = tmp_path / "in"
    source.write_text(text, encoding="utf-8")
    with plain_lines(source) as lines:
        assert [line + "\n" for line in lines] == text.splitlines(keepends=True)


def test_lines_behind_those_that_were_looked_at_come_in_order(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.write_text("".join(f"第{n}只狗\n" for n in range(250)), encoding="utf-8")
    with plain_lines(source) as lines:
        assert list(lines) == [f"第{n}只狗" for n in range(250)]
