from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from features.draw import class_colour
from features.preview import main
from features.schema import Regions, StoreMeta, box_geometry
from features.store import write_shard
from features.vocabularies import VOC_CLASSES
from tests.features.fake import META, make_regions, save_picture

VOC = dataclasses.replace(META, vocabulary=VOC_CLASSES, vocabulary_id="voc-20")


def one_dog(image_id: str, score: float = 0.9) -> Regions:
    """A dog in the middle of a grey picture of 200 x 100 pixels."""
    box = np.array([[50, 20, 150, 80]], np.float32)
    return dataclasses.replace(
        make_regions(image_id, 1),
        boxes=box,
        geometry=box_geometry(box, 200, 100),
        object_ids=np.array([VOC_CLASSES.index("dog")], np.int32),
        object_scores=np.array([score], np.float32),
    )


def prepared(tmp_path: Path, *records: Regions, meta: StoreMeta = VOC) -> list[str]:
    write_shard(tmp_path / "regions.h5", records, meta)
    for record in records:
        save_picture(tmp_path / "images" / record.image_id, (127, 127, 127), (200, 100))
    return [
        str(tmp_path / "regions.h5"),
        "--images",
        str(tmp_path / "images"),
        "--out",
        str(tmp_path / "out"),
    ]


def files(folder: Path) -> list[str]:
    """Paths of all files below it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def coloured(image: Image.Image, place: tuple[int, int]) -> bool:
    """Whether a pixel has the dog's colour, as far as JPEG keeps it."""
    wanted = bytes.fromhex(class_colour(VOC_CLASSES.index("dog"))[1:])
    return bool(np.abs(np.array(image.getpixel(place), int) - list(wanted)).max() < 60)


def test_boxes_stand_where_the_regions_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*prepared(tmp_path, one_dog("子/a.png")), "--side", "100"]) == 0

    assert files(tmp_path / "out") == ["pictures/子/a.png.jpg", "sheets/001.jpg"]
    with Image.open(tmp_path / "out" / "pictures" / "子" / "a.png.jpg") as drawn:
        assert drawn.size == (100, 50)
        assert coloured(drawn, (50, 40)) and coloured(drawn, (75, 30))
        assert not coloured(drawn, (50, 30))
    assert "1 pictures / 0 failed" in capsys.readouterr().out


def test_weak_regions_are_not_drawn(tmp_path: Path) -> None:
    assert main(prepared(tmp_path, one_dog("a.jpg", score=0.19))) == 0

    with Image.open(tmp_path / "out" / "pictures" / "a.jpg.jpg") as drawn:
        assert np.ptp(np.asarray(drawn)) < 3


def test_pictures_are_taken_evenly_and_sheets_hold_so_many(tmp_path: Path) -> None:
    records = [one_dog(f"{number:02d}.jpg") for number in range(10)]

    assert main([*prepared(tmp_path, *records), "--limit", "5", "--per-sheet", "2"]) == 0

    assert files(tmp_path / "out" / "pictures") == [f"{number:02d}.jpg.jpg" for number in (0, 2, 4, 6, 8)]
    assert files(tmp_path / "out" / "sheets") == ["001.jpg", "002.jpg", "003.jpg"]


def test_no_picture_takes_the_place_of_another_or_of_a_sheet(tmp_path: Path) -> None:
    ids = ["001.jpg", "sheet-001.jpg", "sheets/001.jpg", "x.jpg", "x.png", "x.png.jpg"]

    assert main(prepared(tmp_path, *map(one_dog, ids))) == 0

    assert files(tmp_path / "out") == [*(f"pictures/{image_id}.jpg" for image_id in ids), "sheets/001.jpg"]


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_file_name_asks_for_one_contact_sheet(suffix: str, tmp_path: Path) -> None:
    arguments = prepared(tmp_path, *(one_dog(f"{number}.jpg") for number in range(5)))

    assert main([*arguments[:-1], str(tmp_path / f"sheet.{suffix}"), "--per-sheet", "1"]) == 0

    with Image.open(tmp_path / f"sheet.{suffix}") as sheet:
        assert sheet.format == {"png": "PNG", "jpg": "JPEG"}[suffix]
        assert sheet.width > 4 * 360  # four a row, and a second row
        assert sheet.height > 2 * 360


def test_pictures_that_changed_or_went_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = prepared(tmp_path, one_dog("a.jpg"), one_dog("b.jpg"), one_dog("c.jpg"))
    save_picture(tmp_path / "images" / "a.jpg", size=(100, 200))
    (tmp_path / "images" / "b.jpg").unlink()

    assert main(arguments) == 3

    said = capsys.readouterr().out
    assert "failed: a.jpg: the picture has 100x200 pixels, its regions were found in one of 200x100" in said
    assert "failed: b.jpg: no such file" in said


def test_imported_ids_find_their_pictures_without_suffix(tmp_path: Path) -> None:
    arguments = prepared(tmp_path, one_dog("391895.jpg"))
    write_shard(tmp_path / "regions.h5", [one_dog("391895")], VOC)

    assert main(arguments) == 0

    assert files(tmp_path / "out" / "pictures") == ["391895.jpg"]


def test_nothing_to_show_is_an_error_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = prepared(tmp_path, one_dog("../a.jpg"))

    assert main(arguments) == 1

    assert (
        "could be shown: ../a.jpg: picture id '../a.jpg' does not name a file inside"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


def test_a_vocabulary_without_lexicon_is_shown_in_english(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = dataclasses.replace(make_regions("a.jpg", 3), object_scores=np.full(3, 0.5, np.float32))
    arguments = prepared(tmp_path, record, meta=META)

    assert main(arguments) == 0
    assert "class names are written in English" in capsys.readouterr().err

    assert main([*arguments[:-1], str(tmp_path / "two"), "--lexicon", str(tmp_path / "mine.tsv")]) == 1
    assert "mine.tsv: no such lexicon file" in capsys.readouterr().err


def test_english_and_chinese_differ(tmp_path: Path) -> None:
    arguments = prepared(tmp_path, one_dog("a.jpg"))

    assert main(arguments) == 0
    assert main([*arguments[:-1], str(tmp_path / "two"), "--english"]) == 0

    found = [(tmp_path / name / "pictures" / "a.jpg.jpg").read_bytes() for name in ("out", "two")]
    assert found[0] != found[1]
