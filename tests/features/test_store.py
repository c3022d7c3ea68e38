from __future__ import annotations

import dataclasses
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from features.store import (
    Regions,
    RegionStore,
    StoreError,
    StoreMeta,
    box_geometry,
    merge_shards,
    write_shard,
)
from features.store_file import OpenFiles, StoreFile
from tests.features.fake import META, assert_equal, make_regions

NAMES = ("a.jpg", "folder/b.png", "海滩/日落 🌅.jpg", "-x.jpg", "with\nnewline.jpg")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A regions file of five pictures, one of them without regions, and one failure."""
    out = tmp_path / "regions.h5"
    records = [make_regions(name, n_regions=number) for number, name in enumerate(NAMES)]
    write_shard(out, records, META, {"bad.jpg": "empty file (0 bytes)"})
    return out


names = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=20)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pictures=st.dictionaries(names, st.integers(0, 5), max_size=6), with_globals=st.booleans())
def test_what_is_written_is_read_back(tmp_path: Path, pictures: dict[str, int], with_globals: bool) -> None:
    records = [make_regions(name, n) for name, n in pictures.items()]
    if not with_globals:
        records = [dataclasses.replace(record, global_feature=None) for record in records]
    write_shard(tmp_path / "r.h5", records, META)
    with RegionStore(tmp_path / "r.h5") as store:
        assert store.image_ids == sorted(pictures)
        assert len(store) == len(pictures)
        assert store.has_globals == (with_globals and bool(pictures))
        for record in records:
            assert_equal(store.regions(record.image_id), record)


def test_a_store_says_where_its_numbers_come_from(path: Path) -> None:
    store = RegionStore(path)
    assert (store.backend, store.feature_dim, store.vocabulary_id) == ("fake", 4, "rgb-3")
    assert store.vocabulary == META.vocabulary
    assert store.fingerprint == META.fingerprint
    assert store.failed == {"bad.jpg": "empty file (0 bytes)"}
    assert store.attributes["description"] == {"weights_sha256": "0" * 64}
    assert store.attributes["num_images"] == 5
    assert store.attributes["num_regions"] == 10


def test_the_fingerprint_covers_what_changes_numbers_and_nothing_else() -> None:
    assert dataclasses.replace(META, run={"device": "cuda"}).fingerprint == META.fingerprint
    for change in (
        {"description": {"weights_sha256": "1" * 64}},
        {"vocabulary": ("red thing", "green thing", "azure thing")},
        {"backend": "other"},
        {"feature_dim": 5},
    ):
        assert dataclasses.replace(META, **change).fingerprint != META.fingerprint  # type: ignore[arg-type]


def test_box_geometry_is_left_top_right_bottom_width_height() -> None:
    found = box_geometry(np.array([[20, 30, 120, 80]], np.float32), width=200, height=100)
    np.testing.assert_allclose(found, [[0.1, 0.3, 0.6, 0.8, 0.5, 0.5]], rtol=1e-6)


def test_memory_maps_hold_what_h5py_reads(path: Path) -> None:
    file = StoreFile(path)
    with h5py.File(path) as theirs:
        for name, rows in file.rows.items():
            assert isinstance(rows, np.ndarray)
            np.testing.assert_array_equal(rows, theirs[name][...])
        assert theirs["features"].chunks is None  # contiguous
        assert theirs["features"].dtype == np.float16


def test_a_chunked_file_reads_the_same(path: Path, tmp_path: Path) -> None:
    chunked = tmp_path / "chunked.h5"
    with h5py.File(path) as source, h5py.File(chunked, "w") as target:
        for name in source:
            if name == "features":
                target.create_dataset(name, data=source[name][...], chunks=(2, 4), compression="gzip")
            else:
                source.copy(name, target)
        target.attrs.update(source.attrs)
    for name in NAMES:
        assert_equal(RegionStore(chunked).regions(name), RegionStore(path).regions(name))


def test_regions_can_be_changed_without_changing_the_file(path: Path) -> None:
    store = RegionStore(path)
    store.regions("-x.jpg").features[:] = 7
    assert not (store.regions("-x.jpg").features == 7).all()


@pytest.mark.parametrize("name", ["b.png", "folder/b", "b"])
def test_a_picture_is_found_by_a_shorter_name_that_only_it_has(path: Path, name: str) -> None:
    store = RegionStore(path)
    assert name in store
    assert store.regions(name).image_id == "folder/b.png"


def test_a_shorter_name_that_two_pictures_have_is_refused(tmp_path: Path) -> None:
    write_shard(
        tmp_path / "r.h5", [make_regions("x/a.jpg"), make_regions("y/a.jpg"), make_regions("y/a.png")], META
    )
    store = RegionStore(tmp_path / "r.h5")
    for name in ("a.jpg", "a", "y/a"):
        assert name not in store
        with pytest.raises(StoreError, match=f"several pictures are called '{name}'; give the path"):
            store.regions(name)
    assert store.regions("x/a").image_id == "x/a.jpg"


def test_a_missing_picture_is_named_with_its_file_and_with_its_failure(path: Path) -> None:
    store = RegionStore(path)
    with pytest.raises(
        StoreError, match=r"regions.h5: has no picture 'zebra.jpg'; it holds 5 pictures, such as"
    ):
        store.regions("zebra.jpg")
    with pytest.raises(StoreError, match=r"'bad.jpg' could not be used when it was extracted: empty file"):
        store.regions("bad.jpg")


class Scores(Dataset[float]):
    """What a training dataset does with a store: travels to workers and looks pictures up."""

    def __init__(self, store: RegionStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(NAMES)

    def __getitem__(self, index: int) -> float:
        return float(self.store.regions(NAMES[index]).features.astype(np.float64).sum())


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="tells what is mapped")
def test_a_closed_file_is_mapped_no_more(path: Path) -> None:
    file = StoreFile(path)
    mapped = Path("/proc/self/maps").read_text(encoding="utf-8").count(str(path))
    file.close()
    assert mapped > Path("/proc/self/maps").read_text(encoding="utf-8").count(str(path)) == 0


def test_workers_of_a_loader_read_what_this_process_reads(path: Path) -> None:
    dataset = Scores(RegionStore(path))
    wanted = [dataset[index] for index in range(len(dataset))]  # open here, before the fork
    found = list(DataLoader(dataset, batch_size=None, num_workers=2))
    assert found == wanted


def test_only_the_path_is_pickled(path: Path) -> None:
    store = RegionStore(path)
    before = pickle.dumps(store)
    wanted = store.regions("a.jpg")
    assert pickle.dumps(store) == before
    assert_equal(pickle.loads(before).regions("a.jpg"), wanted)


def test_a_folder_of_sealed_shards_reads_as_one_file(tmp_path: Path) -> None:
    parts = tmp_path / "regions.h5.parts"
    parts.mkdir()
    write_shard(parts / "shard-00000.h5", [make_regions("b.jpg")], META, {"bad.jpg": "broken"})
    write_shard(parts / "shard-00001.h5", [make_regions("a.jpg", 5)], META)
    (parts / "shard-00002.h5.tmp").write_bytes(b"being written")
    store = RegionStore(parts)
    assert store.image_ids == ["a.jpg", "b.jpg"]
    assert_equal(store.regions("a.jpg"), make_regions("a.jpg", 5))
    assert store.attributes["num_regions"] == 8
    assert store.failed == {"bad.jpg": "broken"}


def test_shards_of_two_detectors_are_not_read_as_one(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.h5", [make_regions("a.jpg")], META)
    write_shard(tmp_path / "b.h5", [make_regions("b.jpg")], dataclasses.replace(META, backend="other"))
    with pytest.raises(StoreError, match="b.h5 and a.h5 were extracted differently .other and fake."):
        len(RegionStore(tmp_path))


def test_more_files_than_may_be_open_are_read(tmp_path: Path) -> None:
    for number in range(5):
        write_shard(tmp_path / f"{number}.h5", [make_regions(f"{number}.jpg")], META)
    files = OpenFiles(sorted(tmp_path.glob("*.h5")), limit=2)
    found = [files[number].regions(0).image_id for number in (0, 1, 2, 3, 4, 0, 4)]
    assert found == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg", "0.jpg", "4.jpg"]
    assert len(files._open) == 2


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(
        StoreError,
        match="regions.h5: (not HDF5|broken or truncated HDF5|truncated).*[Cc]opy th.* again",
    ):
        len(RegionStore(path))


def edit(path: Path, change: str) -> None:
    with h5py.File(path, "r+") as file:
        if change == "foreign":
            file.attrs["format"] = "somebody's features"
        elif change == "version":
            file.attrs["version"] = 9
        elif change == "unsealed":
            del file.attrs["complete"]
        elif change == "missing":
            del file["boxes"]
        elif change == "short":
            del file["boxes"]
            file["boxes"] = np.zeros((3, 4), np.float32)
        elif change == "type":
            data = file["features"][...].astype(np.float32)
            del file["features"]
            file["features"] = data
        elif change == "offsets":
            file["offsets"][-2] = 99
        elif change == "external":
            del file["features"]
            file["features"] = h5py.ExternalLink("elsewhere.h5", "features")
        elif change == "fingerprint":
            file.attrs["description"] = '{"weights_sha256": "other"}'


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("foreign", "HDF5, but no regions file: it holds boxes, .*; wanted is format 'region-features'"),
        ("version", "region-features version 9; this program reads version 1"),
        ("unsealed", "was never finished"),
        ("missing", "dataset 'boxes' is missing"),
        ("short", r"boxes is float32 \(3, 4\), wanted is float32 \(10, 4\)"),
        ("type", r"features is float32 \(10, 4\), wanted is float16 \(10, 4\)"),
        ("offsets", "offsets run from 0 to 10 and fall in between; wanted is 0 to 10"),
        ("external", "dataset 'features' is missing"),
        ("fingerprint", "its attributes were changed after it was written"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused_with_the_reason(
    path: Path, change: str, reason: str
) -> None:
    edit(path, change)
    with pytest.raises(StoreError, match=f"regions.h5: {reason}"):
        len(RegionStore(path))


def test_a_text_file_is_no_regions_file(tmp_path: Path) -> None:
    (tmp_path / "r.h5").write_text("hello", encoding="utf-8")
    with pytest.raises(StoreError, match=r"r.h5: not HDF5 \(5 bytes\); wanted is a regions file"):
        len(RegionStore(tmp_path / "r.h5"))


def test_a_missing_file_is_answered_with_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(
        StoreError, match="r.h5: no such regions file. Make one with `python -m features.extract"
    ):
        RegionStore(tmp_path / "r.h5")
    (tmp_path / "r.h5.parts").mkdir()
    with pytest.raises(
        StoreError, match="Its extraction is not finished: run it again, or read .*r.h5.parts"
    ):
        RegionStore(tmp_path / "r.h5")
    with pytest.raises(StoreError, match="r.h5.parts: a folder without sealed shards"):
        len(RegionStore(tmp_path / "r.h5.parts"))


def bad_records() -> Iterator[tuple[Regions, str]]:
    good = make_regions("a.jpg")
    nan = good.features.copy()
    nan[0, 0] = np.inf
    yield (
        dataclasses.replace(good, features=nan),
        "features holds NaN, or numbers beyond the range of float16",
    )
    yield dataclasses.replace(good, features=good.features.astype(np.float32)), "features is float32"
    yield (
        dataclasses.replace(good, boxes=good.boxes[:2]),
        r"boxes is float32 \(2, 4\), wanted is float32 \(3, 4\)",
    )
    yield dataclasses.replace(good, object_ids=good.object_ids + 3), "object ids .* of 3 classes"
    yield dataclasses.replace(good, object_scores=good.object_scores[::-1].copy()), "not in descending order"
    yield dataclasses.replace(good, width=0), "0 pixels wide"


@pytest.mark.parametrize(("record", "reason"), list(bad_records()))
def test_a_record_that_does_not_fit_is_never_written(tmp_path: Path, record: Regions, reason: str) -> None:
    with pytest.raises(ValueError, match=f"picture 'a.jpg': .*{reason}"):
        write_shard(tmp_path / "r.h5", [record], META)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_not_written_twice(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a picture id occurs twice"):
        write_shard(tmp_path / "r.h5", [make_regions("a.jpg"), make_regions("a.jpg")], META)


def test_a_failure_is_forgotten_when_the_picture_is_extracted_after_all(tmp_path: Path) -> None:
    write_shard(tmp_path / "1.h5", [], META, {"a.jpg": "no such file", "b.jpg": "broken"})
    write_shard(tmp_path / "2.h5", [make_regions("a.jpg")], META)
    assert RegionStore(tmp_path).failed == {"b.jpg": "broken"}
    merge_shards(sorted(tmp_path.glob("*.h5")), tmp_path / "o.h5")
    assert RegionStore(tmp_path / "o.h5").failed == {"b.jpg": "broken"}


def test_a_merge_equals_the_file_written_at_once(tmp_path: Path) -> None:
    records = [make_regions(f"{number:02}.jpg", number % 4) for number in range(12)]
    write_shard(tmp_path / "once.h5", records, META)
    parts = [tmp_path / f"p{number}.h5" for number in range(3)]
    for number, part in enumerate(parts):
        write_shard(part, records[number::3], META)
    merge_shards(parts, tmp_path / "merged.h5")
    assert (tmp_path / "merged.h5").read_bytes() == (tmp_path / "once.h5").read_bytes()


def test_pictures_have_one_digest_however_they_are_divided_among_files(tmp_path: Path) -> None:
    records = [make_regions(f"{number:02}.jpg", number % 4) for number in range(12)]
    for number in range(3):
        (tmp_path / "parts").mkdir(exist_ok=True)
        write_shard(tmp_path / "parts" / f"p{number}.h5", records[number::3], META)
    write_shard(tmp_path / "once.h5", records, META)
    write_shard(tmp_path / "fewer.h5", records[1:], META)
    changed = dataclasses.replace(records[-1], object_scores=records[-1].object_scores / 2)
    write_shard(tmp_path / "changed.h5", [*records[:-1], changed], META)
    names = ("parts", "once.h5", "fewer.h5", "changed.h5")
    parts, once, fewer, other = (RegionStore(tmp_path / name).digest() for name in names)
    assert parts == once
    assert len({once, fewer, other}) == 3


def test_the_output_may_be_one_of_the_merged_files(path: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "more.h5", [make_regions("z.jpg")], META)
    merge_shards([path, tmp_path / "more.h5"], path)
    assert RegionStore(path).image_ids == sorted([*NAMES, "z.jpg"])


def test_a_merge_refuses_bytes_that_changed_on_disk(path: Path, tmp_path: Path) -> None:
    rotten = tmp_path / "rotten.h5"
    shutil.copy(path, rotten)
    with h5py.File(rotten) as file:
        place = file["features"].id.get_offset()
    data = bytearray(rotten.read_bytes())
    data[place] ^= 1
    rotten.write_bytes(data)
    with pytest.raises(StoreError, match="rotten.h5: the bytes of features changed on disk"):
        merge_shards([rotten], tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_a_merge_refuses_another_detector(path: Path, tmp_path: Path) -> None:
    other: StoreMeta = dataclasses.replace(META, description={"weights_sha256": "f" * 64})
    write_shard(tmp_path / "other.h5", [make_regions("z.jpg")], other)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="were extracted differently .fingerprints .*cannot be merged"):
        merge_shards([path, tmp_path / "other.h5"], path)
    assert path.read_bytes() == before
