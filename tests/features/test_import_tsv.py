"""Oscar's TSV files into regions files: every published form, what the forms leave open, what is broken."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.export import main as export_main
from features.import_tsv import main
from features.oscar_tsv import geometry_order
from features.schema import Regions, box_geometry
from features.store import RegionStore, write_shard
from features.vocabularies import CLASS_LISTS
from tests.features.fake import META, assert_equal, make_regions

WIDTH, HEIGHT = 200, 100
RECORDS = [make_regions("12", 5), make_regions("345", 0), make_regions("图.jpg", 7)]


def encoded(vectors: np.ndarray) -> str:
    return base64.b64encode(vectors.astype("<f4").tobytes()).decode()


def with_boxes(regions: Regions, order: str = "wh") -> np.ndarray:
    six = regions.geometry if order == "wh" else regions.geometry[:, [0, 1, 2, 3, 5, 4]]
    return np.concatenate([regions.features, six], axis=1, dtype=np.float32)


def objects(regions: Regions) -> list[dict[str, Any]]:
    return [
        {"class": META.vocabulary[i], "conf": float(score), "rect": box}
        for i, score, box in zip(
            regions.object_ids, regions.object_scores, regions.boxes.tolist(), strict=True
        )
    ]


def captioning(regions: Regions, order: str = "wh") -> list[str]:
    return [json.dumps({"num_boxes": len(regions.boxes), "features": encoded(with_boxes(regions, order))})]


def retrieval(regions: Regions, order: str = "wh") -> list[str]:
    return [str(len(regions.boxes)), encoded(with_boxes(regions, order))]


def extraction(regions: Regions) -> list[str]:
    rows = zip(objects(regions), regions.features, strict=True)
    found = [{**row, "feature": encoded(vector)} for row, vector in rows]
    return [json.dumps({"objects": found, "relations": None})]


def write_tsv(path: Path, rows: dict[str, list[str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join([key, *columns]) + "\n" for key, columns in rows.items()), "utf-8")
    return path


def write_labels(folder: Path, records: list[Regions] = RECORDS) -> None:
    write_tsv(folder / "label.tsv", {r.image_id: [json.dumps(objects(r))] for r in records})


def write_sizes(folder: Path, records: list[Regions] = RECORDS) -> None:
    size = [json.dumps([{"height": HEIGHT, "width": WIDTH}])]
    write_tsv(folder / "hw.tsv", {r.image_id: size for r in records})


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "rgb-3.txt"
    path.write_text("\n".join(META.vocabulary) + "\n")
    return path


@pytest.fixture
def run(tmp_path: Path, names: Path) -> Callable[..., int]:
    def command(*more: str, folder: Path | None = None) -> int:
        source, out = str(folder or tmp_path / "tsv"), str(tmp_path / "out.h5")
        return main([source, out, "--detector", "some-detector", "--vocabulary", str(names), *more])

    return command


def stored(tmp_path: Path, image_id: str) -> Regions:
    with RegionStore(tmp_path / "out.h5") as store:
        return store.regions(image_id)


def as_imported(regions: Regions) -> Regions:
    """What TSV files can hold of a picture."""
    return dataclasses.replace(regions, global_feature=None, image_sha256=None)


def test_what_we_export_comes_back_in_every_number_and_its_files_in_every_byte(
    tmp_path: Path, names: Path, run: Callable[..., int]
) -> None:
    write_shard(tmp_path / "ours.h5", RECORDS, META)
    assert export_main([str(tmp_path / "ours.h5"), str(tmp_path / "tsv")]) == 0

    assert run() == 0

    for regions in RECORDS:
        assert_equal(stored(tmp_path, regions.image_id), as_imported(regions))
    assert export_main([str(tmp_path / "out.h5"), str(tmp_path / "again")]) == 0
    for path in (tmp_path / "tsv").iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize("order", ["wh", "hw"])
@pytest.mark.parametrize("form", [captioning, retrieval])
@pytest.mark.parametrize(("name", "labels"), [("feature.tsv", "label.tsv"), ("t.feature.tsv", "t.label.tsv")])
def test_both_orders_of_the_last_two_numbers_become_ours(
    form: Callable[..., list[str]],
    order: str,
    name: str,
    labels: str,
    tmp_path: Path,
    run: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_tsv(tmp_path / "tsv" / name, {r.image_id: form(r, order) for r in RECORDS})
    write_labels(tmp_path / "tsv")
    write_sizes(tmp_path)
    (tmp_path / "tsv" / "label.tsv").rename(tmp_path / "tsv" / labels)

    assert run("--sizes", str(tmp_path / "hw.tsv")) == 0

    for regions in RECORDS:
        assert_equal(stored(tmp_path, regions.image_id), as_imported(regions))
    kept = {"wh": "x1 y1 x2 y2 w h\n", "hw": "x1 y1 x2 y2 h w, kept as w h"}
    assert kept[order] in capsys.readouterr().out
    with RegionStore(tmp_path / "out.h5") as store:
        assert store.backend == "oscar-tsv"
        assert store.meta.description == {"source": "Oscar TSV", "detector": "some-detector"}
        assert store.meta.run["box_numbers"] == order


def test_the_extraction_form_needs_sizes_and_carries_its_own_labels(
    tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    write_tsv(tmp_path / "tsv" / "predictions.tsv", {r.image_id: extraction(r) for r in RECORDS})

    assert run() == 3
    assert "12: line 1: nothing says how large the picture is; give the sizes with --sizes hw.tsv" in (
        capsys.readouterr().out
    )

    write_sizes(tmp_path / "tsv")
    assert run() == 0
    for regions in RECORDS:
        assert_equal(stored(tmp_path, regions.image_id), as_imported(regions))


def test_labels_with_sizes_need_no_other_sizes(tmp_path: Path, run: Callable[..., int]) -> None:
    write_tsv(tmp_path / "tsv" / "features.tsv", {r.image_id: retrieval(r) for r in RECORDS})
    rows = {
        r.image_id: [json.dumps({"image_h": HEIGHT, "image_w": WIDTH, "objects": objects(r)})]
        for r in RECORDS
    }
    write_tsv(tmp_path / "tsv" / "predictions.tsv", rows)

    assert run() == 0

    for regions in RECORDS:
        assert_equal(stored(tmp_path, regions.image_id), as_imported(regions))


def test_labels_on_other_rows_are_found_by_key_and_counted(
    tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    write_tsv(tmp_path / "tsv" / "feature.tsv", {r.image_id: captioning(r) for r in RECORDS})
    write_labels(tmp_path / "tsv", [RECORDS[1], RECORDS[0], RECORDS[2]])
    write_sizes(tmp_path / "tsv")

    assert run() == 0

    for regions in RECORDS:
        assert_equal(stored(tmp_path, regions.image_id), as_imported(regions))
    assert "2 pictures stand on another row in label.tsv than in the feature file" in capsys.readouterr().out


def test_labels_on_the_same_rows_are_not_spoken_of(
    tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    write_tsv(tmp_path / "tsv" / "feature.tsv", {r.image_id: captioning(r) for r in RECORDS})
    write_labels(tmp_path / "tsv")
    write_sizes(tmp_path / "tsv")
    assert run() == 0
    assert "another row" not in capsys.readouterr().out


def test_a_size_follows_from_labels_and_box_numbers(tmp_path: Path, run: Callable[..., int]) -> None:
    write_tsv(tmp_path / "tsv" / "feature.tsv", {"12": captioning(RECORDS[0])})
    write_labels(tmp_path / "tsv")

    assert run() == 0

    assert_equal(stored(tmp_path, "12"), as_imported(RECORDS[0]))


def test_sizes_that_labels_contradict_are_not_guessed(
    tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    other = dataclasses.replace(RECORDS[0], boxes=RECORDS[0].boxes * 1.007 + 3)
    write_tsv(tmp_path / "tsv" / "feature.tsv", {"12": captioning(RECORDS[0])})
    write_labels(tmp_path / "tsv", [other])

    assert run() == 3

    assert "labels and box numbers imply a picture of" in capsys.readouterr().out


def test_other_numbers_of_boxes_are_matched_by_overlap(
    tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    regions = dataclasses.replace(
        make_regions("1", 3),
        boxes=(boxes := np.array([[0, 0, 50, 50], [60, 0, 120, 60], [150, 50, 200, 100]], np.float32)),
        geometry=box_geometry(boxes, WIDTH, HEIGHT),
    )
    write_tsv(tmp_path / "tsv" / "feature.tsv", {"1": captioning(regions)})
    write_sizes(tmp_path / "tsv", [regions])
    labels = [
        {"class": "blue thing", "conf": 0.5, "rect": [152, 52, 198, 99]},
        {"class": "green thing", "conf": 0.9, "rect": [1, 1, 49, 50]},
        {"class": "red thing", "conf": 0.8, "rect": [0, 0, 200, 100]},
        {"class": "red thing", "conf": 0.7, "rect": [0, 90, 10, 100]},
    ]
    write_tsv(tmp_path / "tsv" / "label.tsv", {"1": [json.dumps(labels)]})

    assert run() == 0

    found = stored(tmp_path, "1")
    np.testing.assert_allclose(found.boxes, regions.boxes[[0, 2, 1]], rtol=1e-6)
    np.testing.assert_array_equal(found.features, regions.features[[0, 2, 1]])
    assert found.object_ids[:2].tolist() == [1, 2]
    np.testing.assert_array_equal(found.object_scores, np.array([0.9, 0.5, 0.0], np.float32))
    assert "1 regions have no label (score 0: never a tag), 2 labels belong to no region" in (
        capsys.readouterr().out
    )


def test_without_labels_no_region_is_ever_a_tag(tmp_path: Path, run: Callable[..., int]) -> None:
    write_tsv(tmp_path / "tsv" / "feature.tsv", {"12": captioning(RECORDS[0])})
    write_sizes(tmp_path / "tsv")

    assert run() == 0

    found = stored(tmp_path, "12")
    assert not found.object_scores.any()
    np.testing.assert_array_equal(found.features, RECORDS[0].features)
    np.testing.assert_allclose(found.boxes, RECORDS[0].boxes, atol=1e-4)


def test_labels_in_capitals_are_the_same_classes(tmp_path: Path, run: Callable[..., int]) -> None:
    write_tsv(tmp_path / "tsv" / "feature.tsv", {"12": captioning(RECORDS[0])})
    capitals = [{**row, "class": row["class"].title()} for row in objects(RECORDS[0])]
    write_tsv(tmp_path / "tsv" / "label.tsv", {"12": [json.dumps(capitals)]})

    assert run() == 0

    assert_equal(stored(tmp_path, "12"), as_imported(RECORDS[0]))


@pytest.mark.parametrize(("vocabulary", "n_classes"), [("voc-20", 20), ("coco-80", 80)])
def test_vocabularies_of_our_detectors_are_known_by_name(
    vocabulary: str, n_classes: int, tmp_path: Path, run: Callable[..., int]
) -> None:
    write_tsv(tmp_path / "tsv" / "feature.tsv", {"12": captioning(RECORDS[0])})
    write_sizes(tmp_path / "tsv")

    assert run("--vocabulary", vocabulary) == 0

    with RegionStore(tmp_path / "out.h5") as store:
        assert (store.vocabulary_id, len(store.vocabulary)) == (vocabulary, n_classes)


def test_unsorted_regions_are_sorted_by_score(tmp_path: Path, run: Callable[..., int]) -> None:
    shuffled = RECORDS[0]
    order = np.array([3, 1, 4, 0, 2])
    rows = ("features", "boxes", "geometry", "object_ids", "object_scores")
    shuffled = dataclasses.replace(shuffled, **{name: getattr(shuffled, name)[order] for name in rows})
    write_tsv(tmp_path / "tsv" / "feature.tsv", {"12": captioning(shuffled)})
    write_labels(tmp_path / "tsv", [shuffled])

    assert run() == 0

    assert_equal(stored(tmp_path, "12"), as_imported(RECORDS[0]))


def broken(tmp_path: Path, line: str, end: str = "\n") -> None:
    """A good line, the broken one, and sizes and labels for both."""
    write_tsv(tmp_path / "tsv" / "feature.tsv", {"12": captioning(RECORDS[0])})
    with (tmp_path / "tsv" / "feature.tsv").open("a") as file:
        file.write(line + end)
    both = [RECORDS[0], dataclasses.replace(RECORDS[2], image_id="bad")]
    write_labels(tmp_path / "tsv", both)
    write_sizes(tmp_path / "tsv", both)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("bad", "line 2: 1 columns; wanted are a key and JSON, or a key, a count and base64"),
        ("bad\t{}", 'line 2: wanted are "num_boxes" and "features", or objects with a "feature" each'),
        ("bad\t[[[", "line 2: not JSON"),
        ("bad\tseven\tAAAA", "line 2: the number of boxes is b'seven'"),
        ('bad\t{"num_boxes": Infinity, "features": "AAAA"}', "line 2: the number of boxes is inf"),
        ('bad\t{"num_boxes": NaN, "features": "AAAA"}', "line 2: the number of boxes is nan"),
        (
            'bad\t[{"class": "dog", "rect": [0, 0, 1, 1], "feature": "", "conf": ' + "9" * 400 + "}]",
            'line 2: wanted is a list of {"class", "conf", "rect": [x1, y1, x2, y2]}',
        ),
        ("bad\t1\tA", "line 2: "),
        ("bad\t3\tAAAAAA==", "line 2: 4 bytes are not 3 vectors of float32"),
        ("bad\t7\t" + encoded(np.zeros((7, 9))), "line 2: 9 numbers a vector; the file has 10"),
        ("bad\t7\t" + encoded(np.full((7, 10), np.nan)), "line 2: "),
        (
            "bad\t7\t" + encoded(with_boxes(RECORDS[2]) * ([1e6] + [1] * 9)),
            "line 2: features holds NaN, or numbers beyond the range of float16",
        ),
        (f"bad\t{extraction(RECORDS[2])[0]}", "line 2: 4 numbers a vector; the file has 10"),
    ],
)
def test_a_broken_line_fails_alone_and_is_named(
    line: str, reason: str, tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    broken(tmp_path, line)

    assert run() == 3

    assert f"failed: bad: {reason}" in capsys.readouterr().out
    with RegionStore(tmp_path / "out.h5") as store:
        assert store.image_ids == ["12"]
        assert store.failed["bad"].startswith(reason)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("form", [captioning, retrieval])
def test_a_half_written_last_line_is_called_so(
    form: Callable[..., list[str]],
    share: float,
    tmp_path: Path,
    run: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = "\t".join(["bad", *form(dataclasses.replace(RECORDS[2], image_id="bad"))])
    broken(tmp_path, line[: int(len(line) * share)], end="")

    assert run() == 3

    assert "line 2: cut short (a killed writer, or an unfinished download): " in capsys.readouterr().out


def test_a_last_line_without_line_feed_is_read_where_it_is_whole(
    tmp_path: Path, run: Callable[..., int]
) -> None:
    broken(tmp_path, "\t".join(["bad", *retrieval(RECORDS[2])]), end="")

    assert run() == 0

    assert_equal(stored(tmp_path, "bad"), dataclasses.replace(as_imported(RECORDS[2]), image_id="bad"))


def test_a_line_that_stands_twice_counts_once(
    tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    broken(tmp_path, "\t".join(["12", *captioning(RECORDS[0])]))

    assert run() == 0

    assert "1 lines repeat an earlier one" in capsys.readouterr().out
    assert_equal(stored(tmp_path, "12"), as_imported(RECORDS[0]))


def test_a_key_with_two_contents_is_refused(
    tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    broken(tmp_path, "\t".join(["12", *captioning(RECORDS[2])]))

    assert run() == 1

    assert "line 2: picture '12' stands on an earlier line with other regions" in capsys.readouterr().err


def test_a_key_with_two_labels_is_refused(
    tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    broken(tmp_path, "\t".join(["bad", *captioning(RECORDS[2])]))
    label = tmp_path / "tsv" / "label.tsv"
    label.write_text(label.read_text("utf-8") * 2, "utf-8")

    assert run() == 1

    assert "label.tsv, line 3: '12' stands on an earlier line too" in capsys.readouterr().err


def test_a_class_list_that_cannot_be_fetched_may_be_named(
    run: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    listed = dataclasses.replace(CLASS_LISTS["vg-1600"], mirrors=("http://127.0.0.1:9/unfetched.txt",))
    monkeypatch.setitem(CLASS_LISTS, "vg-1600", listed)
    write_tsv(tmp_path / "tsv" / "features.tsv", {r.image_id: retrieval(r) for r in RECORDS})
    assert run("--vocabulary", "vg-1600") == 1
    error = capsys.readouterr().err
    assert "vg-1600 could not be downloaded" in error
    assert error.endswith("Or name your own list, a name a line, with --vocabulary FILE.\n")


def test_a_class_of_another_vocabulary_stops_the_import(
    tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    write_tsv(tmp_path / "tsv" / "feature.tsv", {"12": captioning(RECORDS[0])})
    write_labels(tmp_path / "tsv")
    write_sizes(tmp_path / "tsv")

    assert run("--vocabulary", "voc-20") == 1

    error = capsys.readouterr().err
    assert "picture '12' has an object of class" in error
    assert "which the vocabulary voc-20 (20 names) does not have" in error


@pytest.mark.parametrize(
    ("width", "message"),
    [
        (1027, "feature.tsv: has 1,027 numbers a vector read as float32: 2,054 of float16"),
        (2054, "feature.tsv: has 2,054 numbers a vector, of which the last six are no box"),
    ],
)
def test_published_widths_without_box_numbers_are_explained(
    width: int, message: str, tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = np.random.default_rng(0).standard_normal((5, width))
    write_tsv(tmp_path / "tsv" / "feature.tsv", {"12": ["5", encoded(vectors)]})
    write_labels(tmp_path / "tsv")

    assert run() == 1

    assert message in capsys.readouterr().err


def test_an_import_goes_on_where_it_stopped(
    tmp_path: Path, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tsv(tmp_path / "tsv" / "feature.tsv", {r.image_id: captioning(r) for r in RECORDS})
    write_labels(tmp_path / "tsv")
    write_sizes(tmp_path / "tsv")

    def full_after_one(path: Path, *more: Any) -> None:
        if not path.name.startswith("shard-00000"):
            raise OSError(28, "No space left on device")
        write_shard(path, *more)

    monkeypatch.setattr("features.output.write_shard", full_after_one)
    assert run("--shard-size", "1") == 1
    monkeypatch.undo()
    assert run("--shard-size", "1") == 0

    for regions in RECORDS:
        assert_equal(stored(tmp_path, regions.image_id), as_imported(regions))
    assert not (tmp_path / "out.h5.parts").exists()


def test_features_of_two_detectors_never_share_a_file(
    tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    write_tsv(tmp_path / "tsv" / "feature.tsv", {r.image_id: captioning(r) for r in RECORDS})
    write_labels(tmp_path / "tsv")
    write_sizes(tmp_path / "tsv")
    assert run() == 0

    assert run("--detector", "another") == 1

    assert "was extracted differently: with detector some-detector (now another)" in capsys.readouterr().err


@pytest.mark.parametrize("case", ["nothing", "two", "empty"])
def test_a_folder_without_one_feature_file_is_explained(
    case: str, tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tsv").mkdir()
    if case == "two":
        for name in ("train", "val"):
            write_tsv(tmp_path / "tsv" / f"{name}.feature.tsv", {})
    elif case == "empty":
        write_tsv(tmp_path / "tsv" / "feature.tsv", {})

    assert run() == 1

    assert {
        "nothing": "tsv: no feature file",
        "two": "several feature files (train.feature.tsv, val.feature.tsv); name one",
        "empty": "feature.tsv: has no regions in its first pictures",
    }[case] in capsys.readouterr().err


def test_the_order_is_found_as_far_as_the_boxes_tell_it() -> None:
    flat = box_geometry(np.array([[0, 0, 100, 20], [10, 10, 20, 80]]), WIDTH, HEIGHT)
    square = box_geometry(np.array([[0, 0, 100, 50]]), WIDTH, HEIGHT)

    assert geometry_order(flat) is None  # six numbers are no appearance
    appearance = np.ones((2, 3), np.float32)
    assert geometry_order(np.concatenate([appearance, flat], 1)) == "wh"
    assert geometry_order(np.concatenate([appearance, flat[:, [0, 1, 2, 3, 5, 4]]], 1)) == "hw"
    assert geometry_order(np.concatenate([appearance[:1], square], 1)) == "wh"  # both are the same number
    assert geometry_order(np.zeros((2, 9), np.float32)) is None
    assert geometry_order(np.full((2, 9), np.inf, np.float32)) is None
