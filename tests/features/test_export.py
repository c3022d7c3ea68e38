from __future__ import annotations

import base64
import dataclasses
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from features.export import main
from features.export_formats import picture_numbers
from features.schema import Regions
from features.store import write_shard
from tests.features.fake import META, make_regions, with_options


def regions_file(folder: Path, *records: Regions) -> Path:
    path = folder / "regions.h5"
    write_shard(path, records, META)
    return path


@pytest.fixture
def three(tmp_path: Path) -> Path:
    return regions_file(
        tmp_path, make_regions("a.jpg", 3), make_regions("空.jpg", 0), make_regions("子/b.png", 5)
    )


def original_rows(tsv: Path) -> list[list[str]]:
    """Rows as the original's TSVFile finds them: line i begins at the i-th number of NAME.lineidx."""
    rows = []
    with tsv.open(encoding="utf-8") as file:
        for place in tsv.with_suffix(".lineidx").read_text().split():
            file.seek(int(place))
            rows.append([column.strip() for column in file.readline().split("\t")])
    return rows


def original_features(column: str) -> np.ndarray:
    """Vectors as the original's captioning dataset decodes them."""
    info = json.loads(column)
    flat = np.frombuffer(base64.b64decode(info["features"]), np.float32)
    return flat.reshape((info["num_boxes"], -1 if len(flat) else 0))


def test_the_originals_reader_finds_vectors_and_labels(three: Path, tmp_path: Path) -> None:
    out = tmp_path / "tsv"

    assert main([str(three), str(out), "--format", "oscar"]) == 0

    rows = [f"{name}.{suffix}" for name in ("feature", "hw", "label") for suffix in ("lineidx", "tsv")]
    assert sorted(path.name for path in out.iterdir()) == sorted([*rows, "imageid2idx.json"])
    features, labels, sizes = (original_rows(out / f"{name}.tsv") for name in ("feature", "label", "hw"))
    assert [row[0] for row in features] == [row[0] for row in labels] == ["a.jpg", "子/b.png", "空.jpg"]
    assert json.loads((out / "imageid2idx.json").read_text("utf-8")) == {
        "a.jpg": 0,
        "子/b.png": 1,
        "空.jpg": 2,
    }
    for row, wanted in enumerate((make_regions("a.jpg", 3), make_regions("子/b.png", 5))):
        vectors = original_features(features[row][1])
        assert vectors.shape == (len(wanted.boxes), META.feature_dim + 6)
        np.testing.assert_array_equal(vectors[:, :-6], wanted.features)
        np.testing.assert_array_equal(vectors[:, -6:], wanted.geometry)
        objects = json.loads(labels[row][1])
        assert [o["class"] for o in objects] == [META.vocabulary[i] for i in wanted.object_ids]
        np.testing.assert_array_equal(np.array([o["rect"] for o in objects], np.float32), wanted.boxes)
        np.testing.assert_array_equal(
            np.array([o["conf"] for o in objects], np.float32), wanted.object_scores
        )
        assert json.loads(sizes[row][1]) == [{"height": 100, "width": 200}]
    assert original_features(features[2][1]).shape == (0, 0)
    assert labels[2][1] == "[]"


@pytest.mark.parametrize("image_id", ["a\tb.jpg", "a\nb.jpg", " a.jpg", "a.jpg\u3000"])
def test_names_that_break_a_tsv_are_left_out_and_listed(
    image_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = regions_file(tmp_path, make_regions(image_id), make_regions("z.jpg"))

    assert main([str(source), str(tmp_path / "tsv")]) == 3

    assert [row[0] for row in original_rows(tmp_path / "tsv" / "feature.tsv")] == ["z.jpg"]
    said = capsys.readouterr().out
    assert "a TSV key cannot hold tabs and line breaks" in said
    assert "1 pictures written / 1 left out" in said


def test_m2_finds_a_picture_by_its_number(tmp_path: Path) -> None:
    wanted = make_regions("COCO_val2014_000000391895.jpg")
    source = regions_file(tmp_path, wanted, make_regions("COCO_val2014_000000000042.jpg", 0))

    assert main([str(source), str(tmp_path / "m2.hdf5"), "--format", "m2"]) == 0

    with h5py.File(tmp_path / "m2.hdf5", "r") as file:
        vectors, boxes = file["391895_features"][()], file["391895_boxes"][()]
        assert vectors.dtype == boxes.dtype == np.float32
        np.testing.assert_array_equal(vectors, wanted.features)
        np.testing.assert_array_equal(boxes, wanted.boxes)
        assert file["42_features"].shape == (0, META.feature_dim)
        assert dict(
            zip(file["image_ids"].asstr()[...], file["image_numbers"][...].tolist(), strict=True)
        ) == {
            "COCO_val2014_000000000042.jpg": 42,
            "COCO_val2014_000000391895.jpg": 391895,
        }


def test_m2_gets_the_classes_that_were_kept_behind_the_background(tmp_path: Path) -> None:
    regions = dataclasses.replace(
        with_options(make_regions("7.jpg", 2)),
        class_ids=np.array([[2, 0], [1, 2]], np.int32),
        class_scores=np.array([[0.5, 0.25], [0.75, 0.125]], np.float16),
    )

    assert main([str(regions_file(tmp_path, regions)), str(tmp_path / "m2.hdf5"), "--format", "m2"]) == 0

    with h5py.File(tmp_path / "m2.hdf5", "r") as file:
        found = file["7_cls_prob"][()]
    np.testing.assert_array_equal(found, np.array([[0, 0.25, 0, 0.5], [0, 0, 0.75, 0.125]], np.float32))


@pytest.mark.parametrize(
    ("image_ids", "numbers"),
    [
        (["000007.jpg", "x/12.png"], [7, 12]),
        (["7.jpg", "007.png"], [1, 0]),  # the same number twice
        (["1.jpg", "dog.jpg"], [0, 1]),  # one without a number
        ([], []),
    ],
)
def test_pictures_keep_their_numbers_where_all_have_their_own(
    image_ids: list[str], numbers: list[int]
) -> None:
    assert picture_numbers(image_ids) == dict(zip(image_ids, numbers, strict=True))


def test_npz_files_hold_arrays_only(three: Path, tmp_path: Path) -> None:
    assert main([str(three), str(tmp_path / "npz"), "--format", "npz"]) == 0

    wanted = make_regions("子/b.png", 5)
    with np.load(tmp_path / "npz" / "子" / "b.png.npz", allow_pickle=False) as found:
        assert sorted(found) == ["bbox", "image_h", "image_w", "num_bbox", "objects_conf", "objects_id", "x"]
        np.testing.assert_array_equal(found["x"], wanted.features)
        assert found["x"].dtype == np.float32
        np.testing.assert_array_equal(found["bbox"], wanted.boxes)
        np.testing.assert_array_equal(found["objects_id"], wanted.object_ids)
        np.testing.assert_array_equal(found["objects_conf"], wanted.object_scores)
        assert (found["image_h"], found["image_w"], found["num_bbox"]) == (100, 200, 5)


def test_attributes_go_along_where_they_were_kept(tmp_path: Path) -> None:
    regions = with_options(make_regions("a.jpg"))

    assert main([str(regions_file(tmp_path, regions)), str(tmp_path / "npz"), "--format", "npz"]) == 0

    with np.load(tmp_path / "npz" / "a.jpg.npz", allow_pickle=False) as found:
        np.testing.assert_array_equal(found["attrs_id"], regions.attribute_ids)
        np.testing.assert_array_equal(found["attrs_conf"], regions.attribute_scores)


@pytest.mark.parametrize(
    ("image_id", "reason"), [("../x.jpg", "does not name a file inside"), ("x" * 254, "its name is too long")]
)
def test_npz_never_leaves_its_folder_and_says_what_has_no_name(
    image_id: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = regions_file(tmp_path, make_regions(image_id), make_regions("ok.jpg"))

    assert main([str(source), str(tmp_path / "npz"), "--format", "npz"]) == 3

    assert [path.name for path in (tmp_path / "npz").rglob("*")] == ["ok.jpg.npz"]
    assert reason in capsys.readouterr().out


@pytest.mark.parametrize("form", ["oscar", "m2", "npz"])
def test_what_is_there_is_never_replaced(
    form: str, three: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("mine")

    assert main([str(three), str(tmp_path / "out"), "--format", form]) == 1

    assert (tmp_path / "out").read_text() == "mine"
    assert "out: is there already and is not replaced" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["oscar", "m2", "npz"])
def test_a_full_disk_leaves_nothing_behind(
    form: str, three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / ".out.unfinished").mkdir()  # of a run that was killed
    monkeypatch.setattr("os.fsync", full)

    assert main([str(three), str(tmp_path / "out"), "--format", form]) == 1

    assert [path.name for path in tmp_path.iterdir()] == ["regions.h5"]


def test_a_disk_that_is_full_in_the_middle_of_an_hdf5_file_is_told_once_in_words(
    three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(_descriptor: int, _data: object, _offset: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)

    assert main([str(three), str(tmp_path / "out"), "--format", "m2"]) == 1

    said = capfd.readouterr().err
    assert said == f"error: [Errno 28] No space left on device: '{tmp_path / '.out.unfinished'}'\n"
    assert [path.name for path in tmp_path.iterdir()] == ["regions.h5"]


def test_a_missing_file_and_an_unknown_format_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none.h5"), str(tmp_path / "out")]) == 1
    assert "none.h5: no such regions file" in capsys.readouterr().err

    with pytest.raises(SystemExit, match="2"):
        main(["a.h5", "b", "--format", "lmdb"])
    assert "unknown format 'lmdb'; choose from oscar, m2, npz" in capsys.readouterr().err


def test_an_unfinished_extraction_is_exported_from_its_shards(tmp_path: Path) -> None:
    shards = tmp_path / "regions.h5.parts"
    shards.mkdir()
    for number, name in enumerate(("b.jpg", "a.jpg")):
        write_shard(shards / f"shard-{number:05d}.h5", [make_regions(name)], META)

    assert main([str(shards), str(tmp_path / "tsv")]) == 0

    assert [row[0] for row in original_rows(tmp_path / "tsv" / "feature.tsv")] == ["a.jpg", "b.jpg"]


def test_every_float32_survives_its_decimals(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    wanted: Any = make_regions("a.jpg", 200)
    wanted = dataclasses.replace(
        wanted, boxes=(random.random((200, 4)) * 10.0 ** random.integers(-6, 4, (200, 4))).astype(np.float32)
    )

    assert main([str(regions_file(tmp_path, wanted)), str(tmp_path / "tsv")]) == 0

    objects = json.loads(original_rows(tmp_path / "tsv" / "label.tsv")[0][1])
    np.testing.assert_array_equal(np.array([o["rect"] for o in objects], np.float32), wanted.boxes)
