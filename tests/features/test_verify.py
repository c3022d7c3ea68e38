"""Damaged regions files: everything that is wrong is listed, and what can be saved is."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from features.schema import Regions
from features.store import RegionStore, StoreError, merge_shards, write_shard
from features.verification import Problem, examine
from features.verify import main, why_unanswered
from tests.features.fake import META, assert_equal, make_regions, with_options

NAMES = ("a.jpg", "folder/b.png", "海滩/日落 🌅.jpg", "d.jpg")


def records() -> list[Regions]:
    return [with_options(make_regions(name, number + 1)) for number, name in enumerate(NAMES)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good file: 10 regions of four pictures, and one failure."""
    out = tmp_path / "r.h5"
    write_shard(out, records(), META, {"bad.jpg": "empty file"})
    return out


@pytest.fixture(autouse=True)
def _no_child_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests need no process of their own for a file that HDF5 comes back from."""
    monkeypatch.setattr("features.verify.why_unanswered", lambda _path: None)


def change(path: Path, name: str, edit: Callable[[np.ndarray], None], *, honest: bool = True) -> None:
    """Edit a dataset in place; ``honest`` renews its checksum, as a wrong writer would have."""
    with h5py.File(path, "r+") as file:
        data = file[name][...]
        edit(data)
        file[name][...] = data
        if honest:
            file[name].attrs["crc32"] = np.uint32(zlib.crc32(np.ascontiguousarray(data).data))


def put(place: Any, value: float) -> Callable[[np.ndarray], None]:
    def edit(data: np.ndarray) -> None:
        data[place] = value

    return edit


def replace_dataset(path: Path, name: str, data: object) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = data


def found(path: Path) -> list[tuple[str | None, str]]:
    return [(problem.picture, problem.what) for problem in examine(path).problems]


def row_of(image_id: str) -> int:
    """First region of a picture."""
    start = 0
    for name in sorted(NAMES):
        if name == image_id:
            return start
        start += NAMES.index(name) + 1
    raise KeyError(image_id)


def test_a_good_file_has_no_problems(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert examine(path).problems == []
    assert main([str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: good (4 pictures, 10 regions, 1 recorded as failed)\n"


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_good_files_of_every_kind_have_no_problems(tmp_path: Path, compression: str | None) -> None:
    write_shard(tmp_path / "a.h5", [], META, {"bad.jpg": "broken"}, compression=compression)
    write_shard(tmp_path / "b.h5", [make_regions("a.jpg", 0)], META, compression=compression)
    write_shard(
        tmp_path / "c.h5", [make_regions(f"{n}.jpg", n) for n in range(9)], META, compression=compression
    )
    assert main([str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("dataset", "edit", "what"),
    [
        ("features", put((1, 2), np.nan), "features of 1 regions hold NaN or Inf"),
        ("boxes", put((1, 0), np.inf), "boxes of 1 regions hold NaN or Inf"),
        ("boxes", put((1, 2), 201), "boxes of 1 regions reach out of the picture"),
        ("boxes", put((1, 1), -1), "boxes of 1 regions reach out of the picture"),
        ("boxes", put((1, 0), 200), "boxes of 1 regions end before they begin"),
        ("object_ids", put((1,), 3), "object ids of 1 regions are not in the vocabulary"),
        ("object_ids", put((1,), -1), "object ids of 1 regions are not in the vocabulary"),
        ("object_scores", put((2,), 1.5), "scores of 1 regions are not in [0, 1]"),
        ("object_scores", put((2,), 1.0), "1 regions score more than the region before them"),
        ("attribute_ids", put((1,), 2), "attribute ids of 1 regions are not in the vocabulary"),
        ("attribute_scores", put((1,), np.nan), "attribute scores of 1 regions are not in [0, 1]"),
        ("class_ids", put((1, 1), 7), "class ids of 1 regions are not in the vocabulary"),
        ("class_scores", put((1, 1), -1), "class scores of 1 regions are not in [0, 1]"),
        ("class_scores", put((1, 1), 1), "class scores of 1 regions are not best first"),
    ],
)
def test_bad_rows_are_named_with_their_picture_which_a_repair_leaves_out(
    path: Path, tmp_path: Path, dataset: str, edit: Callable[[np.ndarray], None], what: str
) -> None:
    change(path, dataset, edit)  # rows 1 to 4 belong to d.jpg

    listed = examine(path)

    assert ("d.jpg", what) in [(problem.picture, problem.what) for problem in listed.problems]
    assert {problem.picture for problem in listed.problems} == {"d.jpg"}
    assert listed.repairable
    assert main([str(path), "--repair", str(tmp_path / "saved.h5")]) == 1
    store = RegionStore(tmp_path / "saved.h5")
    assert "d.jpg" not in store
    assert store.failed["d.jpg"].startswith("left out of a damaged file: ")
    assert store.failed["bad.jpg"] == "empty file"
    for record in records()[:3]:
        assert_equal(store.regions(record.image_id), record)
    assert main([str(tmp_path / "saved.h5")]) == 0


def test_every_problem_is_listed_and_not_only_the_first(path: Path) -> None:
    change(path, "features", put((slice(1, 3), 0), np.nan))
    change(path, "features", put((row_of("folder/b.png"), 0), np.inf))
    change(path, "object_ids", put((0,), 9))
    change(path, "globals", put((0, 0), np.nan))
    change(path, "image_sizes", put((3, 0), 0))
    change(path, "num_proposals", put((1,), 2))
    with h5py.File(path, "r+") as file:
        file.attrs["num_failed"] = 7

    assert sorted(found(path), key=str) == sorted(
        [
            (None, "num_failed says 7, the file holds 1"),
            ("a.jpg", "its global vector holds NaN or Inf"),
            ("a.jpg", "object ids of 1 regions are not in the vocabulary"),
            ("d.jpg", "features of 2 regions hold NaN or Inf"),
            ("d.jpg", "it has more regions than its 2 proposals"),
            ("folder/b.png", "features of 1 regions hold NaN or Inf"),
            ("海滩/日落 🌅.jpg", "boxes of 3 regions reach out of the picture"),
            ("海滩/日落 🌅.jpg", "it is 200 pixels wide and 0 high"),
        ],
        key=str,
    )


@pytest.mark.parametrize("damage", ["changed", "bytes", "missing", "type"])
def test_geometry_is_recomputed_whatever_became_of_it(path: Path, tmp_path: Path, damage: str) -> None:
    if damage == "missing":
        with h5py.File(path, "r+") as file:
            del file["geometry"]
    elif damage == "type":
        replace_dataset(path, "geometry", np.zeros((10, 6)))
    else:
        change(path, "geometry", put((slice(1, 3), 4), 0.5), honest=damage == "changed")
    with_damage = examine(path)
    assert with_damage.problems
    assert all(
        problem.cure == "recomputes it from boxes and picture sizes" for problem in with_damage.problems
    )

    assert main([str(path), "--repair", str(tmp_path / "saved.h5")]) == 1

    for record in records():
        assert_equal(RegionStore(tmp_path / "saved.h5").regions(record.image_id), record)
    assert examine(tmp_path / "saved.h5").problems == []


def test_a_name_that_no_regions_file_has_is_found(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.move("globals", "globalz")
    assert found(path) == [(None, "holds 'globalz', which no regions file has")]


@pytest.mark.parametrize("value", ["text", np.array([1, 2]), 0.5, h5py.Empty("u4")])
@pytest.mark.parametrize("name", ["features", "geometry", "image_ids"])
def test_a_checksum_that_is_no_number_is_a_change(path: Path, name: str, value: object) -> None:
    with h5py.File(path, "r+") as file:
        file[name].attrs["crc32"] = value
    ((_, what),) = found(path)
    assert re.fullmatch(
        rf"the bytes of {name} changed on disk \(CRC-32 .{{8}}, written was no number\)", what
    )
    with pytest.raises(StoreError, match=f"r.h5: the bytes of {name} changed on disk"):
        merge_shards([path], path.with_name("merged.h5"))


@pytest.mark.parametrize("value", ["4", np.array([4, 4]), np.array([4])])
def test_a_count_that_is_no_number_is_a_problem(path: Path, value: object) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["num_images"] = value
    assert found(path) == [(None, f"num_images says {value}, the file holds 4")]
    with h5py.File(path, "r+") as file:
        file.attrs["num_regions"] = value
    ((_, what),) = found(path)
    assert what.startswith("num_regions is ")


def test_names_that_changed_on_disk_are_found(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["image_ids"][0] = "another.jpg"
    assert [what for _, what in found(path) if what.startswith("the bytes of image_ids changed on disk")]


def test_geometry_in_the_order_of_height_before_width_is_found(path: Path) -> None:
    change(
        path, "geometry", lambda data: data.__setitem__((slice(None), slice(4, 6)), data[:, [5, 4]].copy())
    )
    assert ("d.jpg", "geometry of 4 regions is not that of their boxes") in found(path)


def test_a_picture_that_is_there_twice_is_kept_once(tmp_path: Path) -> None:
    shard = tmp_path / "twice.h5"
    write_shard(shard, [make_regions("a.jpg"), make_regions("b.jpg", 2), make_regions("c.jpg", 1)], META)
    replace_dataset(shard, "image_ids", ["a.jpg", "a.jpg", "../c.jpg"])

    listed = examine(shard)

    assert listed.problems == [
        Problem(what="pictures are not in the order of their ids", cure="writes the file anew"),
        Problem(picture="a.jpg", what="its id occurs twice; the first is kept",
                cure="leaves the picture out and records it as failed"),
        Problem(picture="../c.jpg", what="its id is no path inside a folder",
                cure="leaves the picture out and records it as failed"),
    ]  # fmt: skip
    assert main([str(shard), "--repair", str(tmp_path / "saved.h5")]) == 1
    store = RegionStore(tmp_path / "saved.h5")
    assert store.image_ids == ["a.jpg"]
    assert_equal(store.regions("a.jpg"), make_regions("a.jpg"))


def test_a_picture_that_is_both_extracted_and_failed_counts_as_extracted(tmp_path: Path) -> None:
    write_shard(tmp_path / "r.h5", [make_regions("a.jpg")], META, {"a.jpg": "broken"})
    assert found(tmp_path / "r.h5") == [("a.jpg", "is extracted and recorded as failed")]
    assert main([str(tmp_path / "r.h5"), "--repair", str(tmp_path / "s.h5")]) == 1
    assert RegionStore(tmp_path / "s.h5").failed == {}


@pytest.mark.parametrize("name", ["features", "boxes", "object_scores", "image_sha256", "offsets", "globals"])
def test_bytes_that_changed_on_disk_are_named_and_nothing_is_saved(
    path: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File(path) as file:
        place = file[name].id.get_offset() + (8 if name == "offsets" else 0)
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)

    assert any(what.startswith(f"the bytes of {name} changed on disk") for _, what in found(path))
    assert main([str(path), "--repair", str(tmp_path / "saved.h5")]) == 1
    assert "nothing was written" in capsys.readouterr().out
    assert not (tmp_path / "saved.h5").exists()


def test_compressed_vectors_that_cannot_be_decompressed_are_a_problem_and_a_store_error(
    tmp_path: Path,
) -> None:
    zstd = tmp_path / "zstd.h5"
    write_shard(zstd, [make_regions(f"{n:02}.jpg", 9) for n in range(8)], META, compression="zstd")
    with h5py.File(zstd) as file:
        place = file["features"].id.get_chunk_info(1).byte_offset
    data = bytearray(zstd.read_bytes())
    data[place : place + 8] = bytes(8)
    zstd.write_bytes(data)

    whats = [what for _, what in found(zstd)]
    assert any("the bytes of features changed on disk" in what for what in whats)
    assert any("compressed vectors cannot be read" in what for what in whats)
    with pytest.raises(StoreError, match="zstd.h5: '04.jpg' is unreadable"):
        RegionStore(zstd).regions("04.jpg")


def test_the_report_says_which_problems_can_be_repaired(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(path, "features", put((1, 0), np.nan))
    change(path, "geometry", put((1, 0), 0.5))

    assert main([str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{path}: 2 problems; can be repaired with --repair OUT"
    assert lines[1:] == [
        "  d.jpg: features of 1 regions hold NaN or Inf "
        "[--repair leaves the picture out and records it as failed]",
        "  d.jpg: geometry of 1 regions is not that of their boxes "
        "[--repair recomputes it from boxes and picture sizes]",
    ]

    assert main([str(path), "--json"]) == 1
    (report,) = json.loads(capsys.readouterr().out)
    assert (report["pictures"], report["regions"]) == (4, 10)
    assert report["repairable"] and report["repair"] is None
    assert [problem["picture"] for problem in report["problems"]] == ["d.jpg", "d.jpg"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["none.h5"],
        ["EMPTY"],
        ["FILE", "FILE", "--repair", "x.h5"],
        ["FILE", "--repair", "FILE"],
    ],
)
def test_wrong_usage_is_2(path: Path, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    places = {"FILE": str(path), "EMPTY": str(tmp_path / "empty")}
    with pytest.raises(SystemExit) as stopped:
        main([places.get(argument, argument) for argument in arguments])
    assert stopped.value.code == 2


def test_a_missing_file_does_not_keep_the_others_from_being_looked_at(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = path.with_name("nothere.h5")
    assert main([str(path), str(missing), str(path)]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("  ")]
    assert [line.split(":")[1] for line in lines] == [
        " good (4 pictures, 10 regions, 1 recorded as failed)",
        " 1 problems; nothing to repair",
        " good (4 pictures, 10 regions, 1 recorded as failed)",
    ]


def test_what_cannot_be_repaired_is_answered_once_with_what_helps(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File(path, "r+") as file:
        del file.attrs["complete"]
        file.attrs["fingerprint"] = "0"
    assert main([str(path)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: 2 problems; cannot be repaired. Copy the file again, or delete it and run the command that "
        "made it again.",
        "  was never finished (no complete = 1) [not repairable]",
        "  its attributes were changed after it was written [not repairable]",
    ]


def test_a_file_that_hdf5_does_not_come_back_from_is_a_problem(path: Path) -> None:
    assert why_unanswered(path) is None
    problem = why_unanswered(path, seconds=0)
    assert problem is not None and problem.cure is None
    assert problem.what.startswith("HDF5 does not come back within 0 s when it opens the file")


def no_filter(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["features"]
        filters = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        filters.set_chunk((1, 4))
        filters.set_filter(40001, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple((10, 4))
        h5py.h5d.create(file.id, b"features", h5py.h5t.IEEE_F16LE, space, filters)


def external_link(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["features"]
        file["features"] = h5py.ExternalLink("/etc/passwd", "features")


def from_the_future(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 9


def not_hdf5(path: Path) -> None:
    path.write_bytes(b"hello")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "wrong dimensions": (
        lambda path: replace_dataset(path, "boxes", np.zeros((10, 5), np.float32)),
        r"boxes is float32 \(10, 5\), wanted is float32 \(10, 4\)",
    ),
    "wrong sizes": (
        lambda path: replace_dataset(path, "image_sizes", np.zeros((4, 3), np.int32)),
        r"image_sizes is int32 \(4, 3\), wanted is int32 \(4, 2\)",
    ),
    "wrong type": (
        lambda path: replace_dataset(path, "features", np.zeros((10, 4), np.float64)),
        r"features is float64 \(10, 4\), wanted is float16 \(10, 4\)",
    ),
    "truncated": (truncated, "truncated|not HDF5"),
    "not HDF5": (not_hdf5, r"not HDF5 \(5 bytes\)"),
    "external link": (external_link, "dataset 'features' is missing"),
    "filter plugin missing": (no_filter, "features cannot be decompressed: filter 40001"),
    "version from the future": (from_the_future, "region-features version 9; this program reads version 1"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_a_file_that_no_reader_opens_is_a_problem_without_cure(path: Path, case: str) -> None:
    damage, reason = REFUSED[case]
    damage(path)
    with pytest.raises(StoreError, match=f"r.h5: .*({reason})"):
        len(RegionStore(path))
    listed = examine(path)
    assert not listed.repairable
    assert any(re.search(reason, problem.what) for problem in listed.problems)
    assert main([str(path)]) == 1


def test_pictures_without_regions_are_good_and_missing_ones_are_named(tmp_path: Path) -> None:
    write_shard(tmp_path / "r.h5", [make_regions("a.jpg", 0)], META)
    assert found(tmp_path / "r.h5") == []
    store = RegionStore(tmp_path / "r.h5")
    assert store.regions("a.jpg").features.shape == (0, 4)
    with pytest.raises(StoreError, match="has no picture 'b.jpg'; it holds 1 pictures"):
        store.regions("b.jpg")
