from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.given_boxes import BoxesError, GivenBoxes

BOXES = {"a.jpg": [[0, 0, 10, 20], [1.5, 2, 3, 4]], "猫/b.png": []}


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False), "utf-8")
    return path


def json_lines(boxes: dict[str, Any]) -> str:
    return "".join(json.dumps({"image_id": name, "boxes": rows}) + "\n" for name, rows in boxes.items())


def coco(boxes: dict[str, Any]) -> dict[str, Any]:
    return {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(boxes, 7)],
        "annotations": [
            {"image_id": number, "bbox": [x1, y1, x2 - x1, y2 - y1], "category_id": 1}
            for number, rows in enumerate(boxes.values(), 7)
            for x1, y1, x2, y2 in rows
        ],
    }


@pytest.mark.parametrize("form", [dict, json_lines, coco])
def test_all_three_forms_say_the_same(form: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "boxes", form(BOXES))

    given = GivenBoxes.load(path)

    assert sorted(given.by_picture) == sorted(BOXES)
    for name, rows in BOXES.items():
        found = given.of(name)
        assert found is not None
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, np.array(rows, np.float32).reshape(-1, 4))
    assert given.of("c.jpg") is None
    assert given.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_single_json_line_is_json_lines(tmp_path: Path) -> None:
    given = GivenBoxes.load(write(tmp_path / "boxes", '{"image_id": "a.jpg", "boxes": [[0, 0, 1, 1]]}'))

    assert list(given.by_picture) == ["a.jpg"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "boxes: not JSON"),
        ("[1, 2]", "boxes: holds a list; wanted is an object from picture ids to boxes"),
        ("[" * 100_000, "nested too deep"),
        ('{"a.jpg": [], "a.jpg": []}', "boxes: 'a.jpg' stands there twice"),
        ({"a.jpg": [[1, 2, 3]]}, r"picture 'a.jpg', box 0 is \[1, 2, 3\]; wanted are the pixels x1"),
        ({"a.jpg": [[0, 0, 9, 9], [1, 2, 3, "4"]]}, "picture 'a.jpg', box 1 is"),
        ({"a.jpg": [[0, 0, True, 1]]}, "box 0 is"),
        ('{"a.jpg": [[0, 0, NaN, 1]]}', r"box 0 is \[0, 0, nan, 1\]"),
        ('{"a.jpg": [[0, 0, 1e999, 1]]}', r"box 0 is \[0, 0, inf, 1\]"),
        ({"a.jpg": [[0, 0, 10**400, 1]]}, "box 0 is"),
        ({"a.jpg": [[5, 0, 5, 1]]}, "with x1 < x2 and y1 < y2"),
        ({"a.jpg": 3}, "picture 'a.jpg': wanted is a list of boxes, found 3"),
        (json_lines({"a.jpg": []}) * 2, "line 2: picture 'a.jpg' has boxes already"),
        (json_lines({"a.jpg": []}) + '{"image_id": 3, "boxes": []}', "line 2: wanted is"),
        (json_lines({"a.jpg": []}) + '{"image_id": "b.j', "line 2: not JSON"),
        ({"images": [{"id": 1}], "annotations": []}, r'images\[0\]: wanted is a picture with "id"'),
        ({"images": [{"id": [], "file_name": "a"}], "annotations": []}, r"images\[0\]: wanted is a picture"),
        (
            {"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}], "annotations": []},
            r"images\[1\]: the id 1 occurs twice",
        ),
        (
            {"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 2, "bbox": [0, 0, 1, 1]}]},
            r"annotations\[0\]: wanted is a bbox with the image_id of one of the pictures",
        ),
        (
            {"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1, "bbox": [0, 0, 1]}]},
            r"annotations\[0\]: bbox is \[0, 0, 1\]; wanted are x, y, width, height",
        ),
        (
            {"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1, "bbox": [0, 0, 0, 4]}]},
            "picture 'a', box 0",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(BoxesError, match=message):
        GivenBoxes.load(write(tmp_path / "boxes", content))


def test_other_encodings_and_missing_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "boxes"
    path.write_bytes('{"狗.jpg": []}'.encode("gbk"))

    with pytest.raises(BoxesError, match="boxes: not UTF-8"):
        GivenBoxes.load(path)
    with pytest.raises(BoxesError, match="none: cannot be read"):
        GivenBoxes.load(tmp_path / "none")


def test_a_box_is_cut_at_the_edge_and_refused_beyond_a_pixel(tmp_path: Path) -> None:
    boxes = {"edge.jpg": [[-0.5, 0, 100.9, 50]], "out.jpg": [[0, 0, 10, 10], [0, 0, 103, 50]]}
    given = GivenBoxes.load(write(tmp_path / "boxes", boxes))

    np.testing.assert_array_equal(given.within("edge.jpg", 100, 50), [[0, 0, 100, 50]])
    with pytest.raises(BoxesError, match=r"box 1 of boxes, \[0.0, 0.0, 103.0, 50.0\], does not lie inside"):
        given.within("out.jpg", 100, 50)
    with pytest.raises(BoxesError, match="boxes has no boxes for it"):
        given.within("none.jpg", 100, 50)


def test_a_box_that_the_edge_cuts_to_nothing_is_refused(tmp_path: Path) -> None:
    given = GivenBoxes.load(write(tmp_path / "boxes", {"a.jpg": [[100, 0, 100.5, 9]]}))

    with pytest.raises(BoxesError, match="does not lie inside the picture of 100x50 pixels"):
        given.within("a.jpg", 100, 50)


def test_pictures_that_nobody_has_are_listed(tmp_path: Path) -> None:
    given = GivenBoxes.load(write(tmp_path / "boxes", BOXES))

    assert given.unknown(["a.jpg", "z.jpg"]) == ["猫/b.png"]
