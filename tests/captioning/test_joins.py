"""Captions and regions by picture, and what either side lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from captioning.joins import join
from captioning.records import CaptionRecord
from features.store import RegionStore
from tests.captioning.small_captioner import write_small_store


def record(image_id: str) -> CaptionRecord:
    return CaptionRecord(image_id=image_id, captions=("狗",), split="train")


def test_pictures_missing_on_either_side_are_counted_and_named(tmp_path: Path) -> None:
    store = RegionStore(write_small_store(tmp_path / "r.h5", [f"{i:02}.jpg" for i in range(14)]))
    found = join([record("00.jpg"), record("x.jpg"), record("y.jpg")], store)
    assert [r.image_id for r in found.records] == ["00.jpg"]
    without_regions, without_captions = found.report()
    assert without_regions == "2 captioned pictures without regions are left out: x.jpg, y.jpg"
    assert without_captions.startswith("13 pictures of the regions file have no captions")
    assert without_captions.endswith("09.jpg, 10.jpg, …")


def test_pictures_whose_extraction_failed_are_named_with_the_reason(tmp_path: Path) -> None:
    store = RegionStore(write_small_store(tmp_path / "r.h5", ["a.jpg"]))
    found = join([record("a.jpg"), record("broken.jpg")], store)
    assert found.report() == [
        "1 captioned pictures without regions are left out: broken.jpg",
        "1 of them could not be used when the regions were extracted: broken.jpg (truncated)",
    ]


def test_captions_and_regions_without_a_picture_in_common_are_refused(tmp_path: Path) -> None:
    store = RegionStore(write_small_store(tmp_path / "r.h5", ["a.jpg"]))
    with pytest.raises(ValueError, match=r"none of the 1 captioned pictures has regions.*x\.jpg.*a\.jpg"):
        join([record("x.jpg")], store)


@pytest.mark.parametrize(
    ("captioned", "stored"),
    [
        ("a.jpg", "train/a.jpg"),
        ("train/a.jpg", "a.jpg"),
        ("a", "train/a.webp"),
        ("val2014/COCO_val2014_000000391895.jpg", "391895"),
        ("COCO_val2014_000000391895", "000000391895.jpg"),
        ("1000092795.jpg", "1000092795"),
    ],
    ids=["shorter", "longer", "bare", "Karpathy and VinVL", "COCO-CN and COCO 2017", "Flickr30k and VinVL"],
)
def test_one_picture_is_found_under_the_other_form_of_its_name(
    tmp_path: Path, captioned: str, stored: str
) -> None:
    store = RegionStore(write_small_store(tmp_path / "r.h5", [stored, "other.jpg"]))
    found = join([record(captioned)], store)
    assert [r.image_id for r in found.records] == [stored]
    assert found.without_captions == ("other.jpg",)
    assert store.regions(found.records[0].image_id).image_id == stored


def test_an_id_that_fits_two_pictures_is_refused_not_guessed(tmp_path: Path) -> None:
    store = RegionStore(write_small_store(tmp_path / "r.h5", ["train/a.jpg", "val/a.jpg"]))
    with pytest.raises(ValueError, match=r"'a\.jpg' could be any of \['train/a\.jpg', 'val/a\.jpg'\]"):
        join([record("a.jpg")], store)
