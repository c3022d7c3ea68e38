from __future__ import annotations

import csv
import json
import os
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from captioning.caption import DecodeFlags, main, parse
from captioning.caption_progress import Progress, listing
from captioning.captioner import Caption, Captioner, ScoredText
from captioning.decode_config import DecodeConfig
from captioning.prediction_files import prediction_file, record_of
from eval.annotations import read_predictions
from eval.lines import cell_text
from features.tags import Tag
from tests.captioning.small_captioner import (
    META,
    SmallExtractor,
    small_regions,
    write_small_checkpoint,
    write_small_store,
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_small_checkpoint(tmp_path_factory.mktemp("checkpoints") / "small"))


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three pictures and two files that are none; the detector is the tests' own."""
    monkeypatch.setattr(Captioner, "extractor", SmallExtractor())
    folder = tmp_path / "pictures"
    (folder / "inner").mkdir(parents=True)
    for name in ("a.jpg", "b.png", "inner/狗.jpg"):
        Image.new("RGB", (20, 10)).save(folder / name)
    return folder


def caption_of(image_id: str, text: str) -> Caption:
    first = ScoredText(text=text, score=-0.5, log_prob=-3.0)
    return Caption(
        image_id=image_id,
        text=text,
        score=-0.5,
        log_prob=-3.0,
        alternatives=(first, ScoredText(text="另一句", score=-0.75, log_prob=-4.5)),
        tags=(Tag("狗", "dog", 0.9), Tag("人", "person", 0.8)),
        regions=small_regions(image_id),
    )


def test_a_folder_of_pictures_becomes_coco_results(pictures: Path, checkpoint: str, tmp_path: Path) -> None:
    out = tmp_path / "new" / "captions.json"
    assert main(["--images", str(pictures), "--checkpoint", checkpoint, "--out", str(out)]) == 0
    records = json.loads(out.read_text(encoding="utf-8"))
    assert [record["image_id"] for record in records] == ["a.jpg", "b.png", "inner/狗.jpg"]
    assert set(records[0]) == {"image_id", "caption", "score", "log_prob", "alternatives", "tags"}
    assert list(read_predictions(out)) == ["a.jpg", "b.png", "inner/狗.jpg"]
    assert os.listdir(out.parent) == ["captions.json"]


def test_pictures_and_their_regions_file_give_the_same_captions(
    pictures: Path, checkpoint: str, tmp_path: Path
) -> None:
    store = write_small_store(tmp_path / "r.h5", ["a.jpg", "b.png", "inner/狗.jpg"])
    outs = [tmp_path / "pictures.json", tmp_path / "regions.json"]
    assert main(["--images", str(pictures), "--checkpoint", checkpoint, "--out", str(outs[0])]) == 0
    assert main(["--features", str(store), "--checkpoint", checkpoint, "--out", str(outs[1])]) == 3
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_pictures_that_cannot_be_used_are_listed_and_the_rest_is_written(
    pictures: Path, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "=broken.jpg").write_bytes(b"")
    (pictures / "text.png").write_text("not a picture")
    out = tmp_path / "captions.jsonl"
    assert main(["--images", str(pictures), "--checkpoint", checkpoint, "--out", str(out)]) == 3
    assert list(read_predictions(out)) == ["a.jpg", "b.png", "inner/狗.jpg"]
    said = capsys.readouterr().err
    assert "3 captions, 2 failed" in said
    assert "'=broken.jpg': empty file (0 bytes)" in said
    with (tmp_path / "captions.jsonl.failures.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows] == ["image_id", "'=broken.jpg", "text.png"]


def test_what_extraction_could_not_use_counts_as_failed(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = write_small_store(tmp_path / "r.h5", ["a.jpg"])
    out = tmp_path / "c.json"
    assert main(["--features", str(store), "--checkpoint", checkpoint, "--out", str(out)]) == 3
    assert "1 captions, 1 failed" in capsys.readouterr().err
    assert list(read_predictions(out)) == ["a.jpg"]


def test_n_best_and_beam_width_reach_the_search(checkpoint: str, tmp_path: Path) -> None:
    store = write_small_store(tmp_path / "r.h5", ["a.jpg"])
    out = tmp_path / "c.json"
    flags = ["--decode.beam_width", "4", "--decode.n_best", "4"]
    main(["--features", str(store), "--checkpoint", checkpoint, "--out", str(out), *flags])
    (found,) = read_predictions(out).values()
    assert len(found.alternatives) == 4
    assert found.alternatives[0].caption == found.caption


def test_the_decode_flags_are_those_of_the_checkpoints_search() -> None:
    assert [each.name for each in fields(DecodeFlags)] == [each.name for each in fields(DecodeConfig)]
    config = parse(["--images", "x", "--decode.n_best", "2"])
    assert config.decode.given() == {"n_best": 2}


def test_an_existing_file_is_only_replaced_when_told_so(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = write_small_store(tmp_path / "r.h5", ["a.jpg"])
    out = tmp_path / "c.json"
    out.write_text("precious")
    words = ["--features", str(store), "--checkpoint", checkpoint, "--out", str(out)]
    assert main(words) == 1
    assert "c.json: exists; give another --out, or --overwrite" in capsys.readouterr().err
    assert out.read_text() == "precious"
    assert main([*words, "--overwrite"]) == 3
    assert list(read_predictions(out)) == ["a.jpg"]


def test_regions_of_another_detector_write_nothing(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = write_small_store(tmp_path / "r.h5", ["a.jpg"], replace(META, backend="torchvision"))
    out = tmp_path / "c.json"
    assert main(["--features", str(store), "--checkpoint", checkpoint, "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert "python -m features.extract --images 'my pictures'" in said
    assert "Traceback" not in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--images", "{tmp}/empty"], "empty: holds no picture"),
        (["--images", "{tmp}/nowhere"], "nowhere: a folder of pictures is wanted"),
        (["--features", "{tmp}/nowhere.h5"], "nowhere.h5: no such regions file"),
        (["--features", "{tmp}/text.h5"], "text.h5: not HDF5"),
        (
            ["--images", "{tmp}/one", "--checkpoint", "{tmp}/empty"],
            "empty: no checkpoint of captioning.train",
        ),
    ],
)
def test_wrong_input_is_one_message_and_exit_code_1(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "one").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "one" / "a.png")
    (tmp_path / "text.h5").write_text("no regions")
    out = tmp_path / "c.json"
    assert main([word.format(tmp=tmp_path) for word in words] + ["--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give either --images DIR or --features FILE"),
        (["--images", "a", "--features", "b"], "give either --images DIR or --features FILE"),
        (["--images", "a", "--out", "c.txt"], "written as .json, .jsonl, .csv"),
        (["--images", "a", "--no_such_flag", "1"], "no_such_flag"),
        (["--images", "a", "--device", "tpu"], "device must be auto, cpu, cuda or cuda:1, got 'tpu'"),
        (["--images", "a", "--batch_size", "0"], "batch_size must be 1 or more, got 0"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_run_in_which_every_picture_fails_writes_nothing(
    pictures: Path, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"")
    out = tmp_path / "c.json"
    assert main(["--images", str(folder), "--checkpoint", checkpoint, "--out", str(out)]) == 1
    assert "no picture could be captioned, nothing was written" in capsys.readouterr().err
    assert not list(tmp_path.glob("*c.json*"))


@pytest.mark.parametrize("name", ["c.json", "c.jsonl", "c.csv"])
def test_every_format_is_read_back_as_it_was_written(name: str, tmp_path: Path) -> None:
    captions = [caption_of("a/1.jpg", "一只狗,在“草地”上。"), caption_of("2.jpg", '他说"好"\n再见')]
    with prediction_file(tmp_path / name) as write:
        for caption in captions:
            write(record_of(caption))
    found = read_predictions(tmp_path / name)
    assert [(p.image_id, p.caption) for p in found.values()] == [(c.image_id, c.text) for c in captions]
    assert found["2.jpg"].log_prob == -3.0
    assert found["2.jpg"].score == -0.5
    assert found["2.jpg"].tags == ("狗", "人")
    if not name.endswith("csv"):
        assert [a.caption for a in found["2.jpg"].alternatives] == ['他说"好"\n再见', "另一句"]


def test_csv_cells_that_a_spreadsheet_would_calculate_are_text(tmp_path: Path) -> None:
    with prediction_file(tmp_path / "c.csv") as write:
        write(record_of(caption_of("@a.jpg", "=HYPERLINK(1)")))
    with (tmp_path / "c.csv").open(encoding="utf-8", newline="") as file:
        (row,) = list(csv.DictReader(file))
    assert row["image_id"] == "'@a.jpg"
    assert row["caption"] == "'=HYPERLINK(1)"
    assert row["log_prob"] == "-3.0"


@given(st.text())
def test_no_cell_starts_like_a_formula(text: str) -> None:
    assert not cell_text(text).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert cell_text(text) in (text, "'" + text)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    out = tmp_path / "c.json"
    out.write_text("old")
    with pytest.raises(RuntimeError, match="half way"), prediction_file(out) as write:
        write(record_of(caption_of("a.jpg", "一只狗")))
        raise RuntimeError("half way")
    assert out.read_text() == "old"
    assert os.listdir(tmp_path) == ["c.json"]


def test_long_lists_of_failures_are_cut_and_counted() -> None:
    lines = listing([(f"{n}.jpg", "empty") for n in range(25)]).splitlines()
    assert len(lines) == 21
    assert lines[0] == "  '0.jpg': empty"
    assert lines[-1] == "  and 5 more"


def test_progress_off_a_terminal_is_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    progress = Progress(4, sys.stderr)
    progress.step()
    progress.close()
    (line,) = capsys.readouterr().err.splitlines()
    event = json.loads(line)
    assert (event["event"], event["done"], event["total"]) == ("progress", 1, 4)
    assert event["eta_seconds"] >= 0
