"""The command that checks, counts and converts training data."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from captioning.records import read_records
from captioning.validate import main
from tests.captioning.corpus_files import write_corpus
from tests.captioning.small_captioner import write_small_store
from tests.captioning.small_run import CAPTIONS, write_captions
from tests.captioning.test_records import KARPATHY

ROOT = Path(__file__).parents[2]


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    return write_captions(tmp_path / "train.json", CAPTIONS)


def run(capsys: pytest.CaptureFixture[str], *words: Any, code: int = 0) -> list[str]:
    assert main([str(word) for word in words]) == code
    return capsys.readouterr().out.splitlines()


def test_a_good_file_is_counted(captions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, captions) == [
        f"{captions} (aic-icc): 5 pictures, 8 captions",
        "  captions a picture: 1.6 on average, 1 to 3, 99 of 100 at most 3",
        "  characters: 8.5 on average, 5 to 13, 99 of 100 at most 13",
        "  pieces: 8.5 on average, 5 to 13, 99 of 100 at most 13",
        "nothing has to be put right",
    ]


def test_all_problems_of_all_files_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.json", "b.json"):
        rows = [{"image_id": "x.jpg", "caption": [""]}] * 60
        (tmp_path / name).write_text(json.dumps(rows))
    said = run(capsys, tmp_path / "a.json", tmp_path / "b.json", tmp_path / "none.json", code=1)
    assert said[0] == f"{tmp_path / 'a.json'}: 119 problems"
    assert said[120] == f"{tmp_path / 'b.json'}: 119 problems"
    assert said[
        -4
    ] == f"  {tmp_path / 'b.json'}, record 60, field 'image_id': found 'x.jpg' a second time, " + (
        "wanted one record a picture"
    )
    assert said[-3:] == [
        f"{tmp_path / 'none.json'}: 1 problem",
        f"  {tmp_path / 'none.json'}: found no such file or directory, wanted a readable file",
        "there are problems, see above",
    ]


def test_what_training_would_cut_or_read_twice_is_counted_and_no_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_captions(tmp_path / "a.json", {"a.jpg": ["狗" * 9, "狗" * 9, "狗"], "b.jpg": ["猫" * 8]})
    said = run(capsys, path, "--max_caption_pieces", "9")
    assert "  1 repeat a caption of the same picture: a.jpg" in said
    assert "  3 are too long and will be cut: a.jpg, b.jpg" in said


def test_characters_that_a_vocabulary_lacks_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_captions(tmp_path / "a.json", {"a.jpg": ["一只囧囧狗", "一只狗"]})
    assert "  1 hold what the vocabulary lacks, 1 character: 囧 (2)" in run(
        capsys, path, "--checkpoint", "mini"
    )


def test_pictures_missing_on_either_side_are_counted_and_all_written(
    tmp_path: Path, captions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write_small_store(tmp_path / "1.h5", ["train/a.jpg", "x.jpg"])
    second = write_small_store(tmp_path / "2.h5", ["b.jpg"])
    (tmp_path / "pictures").mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg", "y.png"):
        (tmp_path / "pictures" / name).touch()
    more = write_captions(tmp_path / "more.json", {"a.jpg": ["狗"], "broken.jpg": ["坏"]})
    out = tmp_path / "missing.csv"

    said = run(
        capsys,
        *(captions, more, "--regions", first, second, "--images", tmp_path / "pictures", "--missing", out),
        code=1,
    )

    assert said[-8:-1] == [
        f"{captions}: 3 captioned pictures have no regions: c.jpg, d.jpg, e.jpg",
        f"{more}: 1 captioned pictures have no regions: broken.jpg (truncated)",
        f"{first} + {second}: 1 pictures have no captions: x.jpg",
        f"{captions}: 1 captioned pictures are not in the folder: e.jpg",
        f"{more}: 1 captioned pictures are not in the folder: broken.jpg",
        f"{tmp_path / 'pictures'}: 1 pictures have no captions: y.png",
        "1 pictures are in several files (a leak, where one is for validation): a.jpg",
    ]
    with out.open(encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["image_id", "lacks", "where", "reason"]
    assert rows[4] == ["broken.jpg", "regions", str(more), "truncated"]
    assert len(rows) == 1 + 3 + 1 + 1 + 1 + 1 + 1


def test_pictures_without_captions_are_no_problem(
    tmp_path: Path, captions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = write_small_store(tmp_path / "r.h5", [*CAPTIONS, *(f"{n:02}.jpg" for n in range(12))])
    said = run(capsys, captions, "--regions", store)
    assert said[-2].startswith(f"{store}: 12 pictures have no captions: 00.jpg, 01.jpg")
    assert said[-2].endswith("09.jpg, …")


def test_ids_that_fit_several_pictures_are_all_named(
    tmp_path: Path, captions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = [f"{folder}/{name}" for folder in ("x", "y") for name in CAPTIONS]
    said = run(capsys, captions, "--regions", write_small_store(tmp_path / "r.h5", pictures), code=1)
    assert (
        f"{captions} and {tmp_path / 'r.h5'}: image id 'a.jpg' could be any of ['x/a.jpg', 'y/a.jpg']; "
        + ("write it in full")
        in said
    )
    assert sum("could be any of" in line for line in said) == 5


def test_pictures_of_several_files_are_said_to_be_a_leak(
    tmp_path: Path, captions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held_out = write_captions(tmp_path / "val.json", {"e.jpg": ["人"], "z.jpg": ["人"]})
    said = run(capsys, captions, held_out)
    assert said[-2] == "1 pictures are in several files (a leak, where one is for validation): e.jpg"


@pytest.mark.parametrize("words", [("--split", "train"), ()])
def test_a_split_is_taken_of_every_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    path = tmp_path / "k.json"
    path.write_text(json.dumps(KARPATHY))
    said = run(capsys, path if words else f"{path}#train", *words)
    assert said[0] == f"{path}#train (karpathy): 2 pictures, 2 captions"
    assert said[1] == f"  {path}: 2 of 5 pictures are of the split train"


def test_everything_is_converted_into_one_file_of_pairs(
    tmp_path: Path, captions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "new" / "all.jsonl"
    said = run(capsys, captions, corpus, "--tags", "labels", "--convert", out)
    assert (
        f"{corpus} (oscar-corpus): 4 pictures, 6 captions (2 of them questions with an answer, "
        + ("3 of them with tags of their own)")
        in said
    )
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert lines[0] == {"image_id": "a.jpg", "caption": "一只狗在草地上奔跑。"}
    assert lines[8] == {"image_id": "42", "caption": "一只狗在草地上", "tags": ["狗", "草地"]}
    assert lines[10] == {"image_id": "42", "question": "狗在做什么？", "answer": "奔跑"}
    assert [record.image_id for record in read_records(out, "train")] == [
        *CAPTIONS,
        *("42", "7", "000123", "99"),
    ]


def test_nothing_is_converted_where_there_are_problems_and_nothing_replaced_unasked(
    tmp_path: Path, captions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "all.jsonl"
    assert main([str(captions), str(tmp_path / "none.json"), "--convert", str(out)]) == 1
    assert f"captioning.validate: {out} is not written: there are problems" in capsys.readouterr().err
    assert not out.exists()
    out.write_text("mine")
    assert main([str(captions), "--convert", str(out)]) == 1
    assert f"{out}: exists; give another name, or --overwrite" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main([str(captions), "--convert", str(out), "--overwrite"]) == 0
    assert out.read_text(encoding="utf-8").count("\n") == 8


def test_findings_are_told_to_programs(
    tmp_path: Path, captions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('[{"image_id": "x.jpg", "caption": [null]}]')
    store = write_small_store(tmp_path / "r.h5", ["a.jpg"])
    assert main([str(captions), str(bad), "--regions", str(store), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["good"]) == (1, False)
    assert found["files"][0]["counts"]["captions"] == 8
    assert found["files"][1]["problems"] == [
        {
            "path": str(bad),
            "found": "null",
            "wanted": "a sentence",
            "record": 1,
            "part": "record",
            "field": "caption[0]",
        }
    ]
    assert found["lacks"][0]["image_ids"] == ["b.jpg", "c.jpg", "d.jpg", "e.jpg"]


def test_names_in_a_file_cannot_command_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_captions(tmp_path / "a.json", {"\x1b[31m.jpg": ["狗"], "a.jpg": ["狗"]})
    said = run(capsys, path, "--regions", write_small_store(tmp_path / "r.h5", ["a.jpg"]), code=1)
    assert not any("\x1b" in line for line in said)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "FILE"),
        (["a.json", "--convert", "a.json"], "FILE, --convert and --missing must be different files"),
        (["a.json", "--missing", "m.csv"], "--missing wants --regions or --images"),
        (["a.json", "--max_caption_pieces", "2"], "max_caption_pieces must be 3 or more, got 2"),
        (["a.json", "--tags", "mine"], "tags"),
    ],
)
def test_wrong_flags_are_usage_errors(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--regions", "none.h5"], "none.h5: no such regions file"),
        (["--images", "none"], "none: a folder of pictures is wanted"),
        (["--checkpoint", "none"], "none: no such checkpoint"),
    ],
)
def test_what_captions_cannot_be_compared_with_is_named(
    captions: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main([str(captions), *words]) == 1
    assert f"captioning.validate: {message}" in capsys.readouterr().err


def test_validation_loads_no_torch() -> None:
    program = "import sys, captioning.validate; print('torch' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "False\n"
