"""The command that counts a training split's n-grams."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from captioning.count_ngrams import main
from captioning.frequencies import read_frequencies, reward_protocol
from tests.captioning.small_run import CAPTIONS, write_captions
from tests.captioning.test_records import KARPATHY

ROOT = Path(__file__).parents[2]


def test_every_picture_counts_once_over_all_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write_captions(tmp_path / "first.json", CAPTIONS)
    second = tmp_path / "second.txt"
    second.write_text("a.jpg#0\t一只狗\nz.jpg#0\t一只猫\n", encoding="utf-8")
    out = tmp_path / "new" / "ngrams.json.gz"
    assert main(["--captions", str(first), str(second), "--segmenter", "jieba", "--out", str(out)]) == 0
    read = read_frequencies(out, reward_protocol("jieba"))
    assert read.n_images == 6
    assert read.counts[("一只",)] == 2  # a.jpg has it in both files
    assert read.counts[("<eos>",)] == 6
    said = capsys.readouterr().out
    assert said.startswith(f"{out}: 6 pictures with 10 captions, ")
    assert "n-grams of 1 to 4 words" in said
    assert "protocol aic-icc (jieba 0.42.1, dict.txt sha256" in said


def test_of_a_file_with_splits_the_wanted_ones_count_and_questions_never_do(tmp_path: Path) -> None:
    karpathy = tmp_path / "k.json"
    karpathy.write_text(json.dumps(KARPATHY), encoding="utf-8")
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(
        '{"image_id": "x", "question": "第几张？", "answer": "一"}\n{"image_id": "y", "caption": "第1张"}\n',
        encoding="utf-8",
    )
    out = tmp_path / "ngrams.json.gz"
    words = ["--captions", f"{karpathy}#train+restval", str(pairs), "--segmenter", "chars", "--out", str(out)]
    assert main(words) == 0
    read = read_frequencies(out, reward_protocol("chars"))
    assert read.n_images == 4
    assert read.counts[("第",)] == 4
    assert ("？",) not in read.counts


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--segmenter", "words"], "unknown segmenter 'words'; choose from chars, jieba"),
        (["--processes", "-1"], "processes must be 0 or more, got -1"),
        (["--captions", "a.json", "./a.json"], "captions: a.json is named twice"),
        (["--out", "a.json"], "out: a.json holds captions; name another file"),
    ],
)
def test_wrong_flags_are_usage_errors(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--captions", "a.json", "--out", "f.gz", *words])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_captions_that_cannot_be_read_are_named_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.json").write_text('[{"image_id": "a", "caption": [1]}]', encoding="utf-8")
    assert main(["--captions", str(tmp_path / "a.json"), "--out", str(tmp_path / "f.gz")]) == 1
    assert "a.json, record 1, field 'caption[0]'" in capsys.readouterr().err
    assert not (tmp_path / "f.gz").exists()


def test_counting_loads_no_torch() -> None:
    program = "import sys, captioning.count_ngrams; print('torch' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "False\n"
