"""What a regions file may hold besides the required: attributes, more classes, proposals; and compression."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from features.schema import Layout, Regions
from features.store import RegionStore, StoreError, merge_shards, write_shard
from tests.features.fake import META, assert_equal, make_regions, with_options

ALL = (
    "attribute_ids",
    "attribute_scores",
    "class_ids",
    "class_scores",
    "globals",
    "num_proposals",
)


def records(n: int = 5) -> list[Regions]:
    return [with_options(make_regions(f"{number}.jpg", number)) for number in range(n)]


def test_optional_datasets_are_read_back(tmp_path: Path) -> None:
    write_shard(tmp_path / "r.h5", records(), META)
    store = RegionStore(tmp_path / "r.h5")
    assert store.layout == Layout(optional=ALL, class_topk=2)
    assert store.attribute_vocabulary == ("matt", "shiny")
    for record in records():
        assert_equal(store.regions(record.image_id), record)


def test_a_file_without_options_holds_what_it_always_held(tmp_path: Path) -> None:
    write_shard(tmp_path / "r.h5", [make_regions("a.jpg")], META)
    with h5py.File(tmp_path / "r.h5") as file:
        assert sorted(file) == [
            "boxes", "failed", "features", "geometry", "globals", "image_ids", "image_sha256", "image_sizes",
            "object_ids", "object_scores", "offsets", "vocab",
        ]  # fmt: skip
        assert list(file["vocab"]) == ["objects"]
    assert RegionStore(tmp_path / "r.h5").attribute_vocabulary == ()


def test_options_are_no_part_of_the_fingerprint() -> None:
    assert dataclasses.replace(META, attribute_vocabulary=()).fingerprint == META.fingerprint


def test_a_merge_carries_optional_datasets_along(tmp_path: Path) -> None:
    write_shard(tmp_path / "once.h5", records(), META)
    write_shard(tmp_path / "a.h5", records()[::2], META)
    write_shard(tmp_path / "b.h5", records()[1::2], META)
    write_shard(tmp_path / "c.h5", [], META, {})  # knows no attribute names, and is merged last
    merge_shards([tmp_path / name for name in ("a.h5", "b.h5", "c.h5")], tmp_path / "merged.h5")
    assert (tmp_path / "merged.h5").read_bytes() == (tmp_path / "once.h5").read_bytes()


@pytest.mark.parametrize("other", [make_regions("z.jpg"), with_options(make_regions("z.jpg"), 3)])
def test_pictures_with_and_without_an_option_share_no_file(tmp_path: Path, other: Regions) -> None:
    with pytest.raises(ValueError, match=r"have the same datasets: '4.jpg' has .*2 class_ids.*; 'z.jpg' has"):
        write_shard(tmp_path / "r.h5", [*records(), other], META)
    write_shard(tmp_path / "a.h5", records(), META)
    write_shard(tmp_path / "b.h5", [other], META)
    for use in (
        lambda: merge_shards([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "m.h5"),
        lambda: len(RegionStore(tmp_path)),
    ):
        with pytest.raises(StoreError, match=r"a.h5 has .*2 class_ids.*b.h5 has .*with the same options"):
            use()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"attribute_ids": np.array([2, 0, 0], np.int32)}, "attribute ids 0..2 of 2 attributes"),
        ({"attribute_ids": np.array([-2, 0, 0], np.int32)}, "attribute ids -2..0 of 2 attributes"),
        ({"attribute_scores": None}, "attribute_ids and attribute_scores come together or not at all"),
        ({"attribute_scores": np.full(3, np.nan, np.float32)}, "attribute_scores holds NaN"),
        ({"class_ids": np.full((3, 2), 3, np.int32)}, "class ids 3..3 of 3 classes"),
        ({"class_ids": np.zeros((2, 2), np.int32)}, r"class_ids is int32 \(2, 2\), wanted is int32 \(3, 2\)"),
        ({"class_scores": np.zeros((3, 2), np.float32)}, "class_scores is float32"),
    ],
)
def test_options_that_do_not_fit_are_never_written(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    record = dataclasses.replace(with_options(make_regions("a.jpg")), **change)
    with pytest.raises(ValueError, match=f"picture 'a.jpg': {reason}"):
        write_shard(tmp_path / "r.h5", [record], META)


def test_half_of_a_pair_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "r.h5", records(), META)
    with h5py.File(tmp_path / "r.h5", "r+") as file:
        del file["class_scores"]
    with pytest.raises(StoreError, match="dataset 'class_scores' is missing"):
        len(RegionStore(tmp_path / "r.h5"))


def test_regions_of_an_unexpected_detector_are_refused_on_first_use(tmp_path: Path) -> None:
    write_shard(tmp_path / "r.h5", records(), META)
    expect = {"fingerprint": META.fingerprint, "feature_dim": 4, "has_globals": True}
    assert len(RegionStore(tmp_path / "r.h5", expect)) == 5
    store = RegionStore(tmp_path / "r.h5", {**expect, "feature_dim": 2048, "backend": "c4"})
    with pytest.raises(
        StoreError, match="r.h5: regions of another detector .* feature_dim 4, not 2048; backend"
    ):
        store.regions("0.jpg")


def test_zstd_changes_no_number_and_leaves_the_small_datasets_as_they_are(tmp_path: Path) -> None:
    many = [make_regions(f"{number:02}.jpg", 9) for number in range(20)]
    write_shard(tmp_path / "raw.h5", many, META)
    write_shard(tmp_path / "zstd.h5", many, META, compression="zstd")
    with h5py.File(tmp_path / "zstd.h5") as file:
        assert file["features"].chunks == (32, 4)
        assert file["features"].shuffle
        assert file["boxes"].chunks is None
    store = RegionStore(tmp_path / "zstd.h5")
    for record in many:
        assert_equal(store.regions(record.image_id), record)
    merge_shards([tmp_path / "zstd.h5"], tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "raw.h5").read_bytes()
    merge_shards([tmp_path / "raw.h5"], tmp_path / "packed.h5", compression="zstd")
    assert_equal(RegionStore(tmp_path / "packed.h5").regions("07.jpg"), many[7])


def test_fewer_rows_than_a_chunk_and_none_at_all_are_compressed_too(tmp_path: Path) -> None:
    write_shard(tmp_path / "few.h5", [make_regions("a.jpg", 2)], META, compression="zstd")
    write_shard(tmp_path / "none.h5", [make_regions("a.jpg", 0)], META, compression="zstd")
    assert_equal(RegionStore(tmp_path / "few.h5").regions("a.jpg"), make_regions("a.jpg", 2))
    assert_equal(RegionStore(tmp_path / "none.h5").regions("a.jpg"), make_regions("a.jpg", 0))


def test_an_unknown_compression_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown compression 'gzip'; choose zstd, or none"):
        write_shard(tmp_path / "r.h5", [make_regions("a.jpg")], META, compression="gzip")
    assert list(tmp_path.iterdir()) == []


def test_zstd_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shard(tmp_path / "r.h5", [make_regions("a.jpg")], META, compression="zstd")
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: code < 32000)
    with pytest.raises(ValueError, match=r"zstd needs the package hdf5plugin: pip install 'tushuo\[zstd\]'"):
        write_shard(tmp_path / "s.h5", [make_regions("a.jpg")], META, compression="zstd")
    with pytest.raises(
        StoreError, match=r"r.h5: features cannot be decompressed: zstd needs the package hdf5"
    ):
        len(RegionStore(tmp_path / "r.h5"))


def test_a_filter_that_nobody_knows_is_named(tmp_path: Path) -> None:
    write_shard(tmp_path / "r.h5", [make_regions("a.jpg")], META)
    with h5py.File(tmp_path / "r.h5", "r+") as file:
        del file["features"]
        filters = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        filters.set_chunk((1, 4))
        filters.set_filter(40001, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple((3, 4))
        h5py.h5d.create(file.id, b"features", h5py.h5t.IEEE_F16LE, space, filters)
    with pytest.raises(
        StoreError, match=r"r.h5: features cannot be decompressed: filter 40001 .* is not known"
    ):
        len(RegionStore(tmp_path / "r.h5"))
