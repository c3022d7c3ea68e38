"""``--boxes FILE``: boxes that somebody else drew, to be described instead of the detector's own.

Three forms are read, recognised by content; pictures are named as in a regions file (paths relative to
the picture folder, with suffix):

- JSON: ``{"a.jpg": [[x1, y1, x2, y2], …], …}``
- JSON lines: ``{"image_id": "a.jpg", "boxes": [[x1, y1, x2, y2], …]}``, a picture a line
- COCO detection: ``images`` (``id``, ``file_name``) and ``annotations`` (``image_id``, ``bbox``: x, y,
  width, height)

Numbers are pixels of the upright picture. A picture may have no boxes at all (an empty list).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["BoxesError", "GivenBoxes"]

EDGE_TOLERANCE = 1.0
"""Pixels by which a box may stand over the picture's edge: people's boxes are rounded. It is cut there."""

BEYOND_ANY_PICTURE = 1e9
"""Pixels."""


class BoxesError(ValueError):
    """Boxes that cannot be used; the message says where they stand and what is wanted."""


@dataclass(frozen=True, kw_only=True)
class GivenBoxes:
    """Boxes by picture.

    Attributes:
        path: The file.
        sha256: Of its bytes, in hex: features of other boxes are other features.
        by_picture: Picture id -> (R, 4) float32, xyxy in pixels, in the order of the file.
    """

    path: Path
    sha256: str
    by_picture: Mapping[str, np.ndarray]

    @staticmethod
    def load(path: Path) -> GivenBoxes:
        """Read a file of any of the three forms.

        Raises:
            BoxesError: No such file, none of the forms, a picture twice, or a box that is none.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BoxesError(f"{path}: cannot be read ({error.strerror or error})") from error
        by_picture: dict[str, np.ndarray] = {}
        for where, image_id, boxes in _records(path, _text(path, data)):
            if image_id in by_picture:
                raise BoxesError(f"{where}: picture {image_id!r} has boxes already; give them in one place")
            by_picture[image_id] = _boxes(where, image_id, boxes)
        return GivenBoxes(path=path, sha256=hashlib.sha256(data).hexdigest(), by_picture=by_picture)

    def of(self, image_id: str) -> np.ndarray | None:
        """(R, 4) float32 boxes of a picture; None where the file does not name it."""
        return self.by_picture.get(image_id)

    def within(self, image_id: str, width: int, height: int) -> np.ndarray:
        """Boxes of a picture whose size is known, cut at its edges.

        Returns:
            (R, 4) float32, xyxy in pixels; R may be 0.

        Raises:
            BoxesError: The file does not name the picture, or a box stands out of it by more than a pixel.
        """
        boxes = self.of(image_id)
        if boxes is None:
            raise BoxesError(f"{self.path.name} has no boxes for it")
        limits = np.array([width, height, width, height], np.float32)
        cut = boxes.clip(0, limits)
        outside = np.abs(cut - boxes).max(axis=1) > EDGE_TOLERANCE
        empty = (cut[:, 2:] <= cut[:, :2]).any(axis=1)
        for row in np.flatnonzero(outside | empty)[:1]:
            raise BoxesError(
                f"box {row} of {self.path.name}, {boxes[row].tolist()}, does not lie inside the picture of "
                f"{width}x{height} pixels; wanted is x1, y1, x2, y2 in pixels of the upright picture"
            )
        return cut

    def unknown(self, image_ids: Iterable[str]) -> list[str]:
        """Sorted pictures that the file names and the extraction does not have."""
        return sorted(self.by_picture.keys() - set(image_ids))


def _text(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BoxesError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from error


def _records(path: Path, text: str) -> Iterator[tuple[str, str, Any]]:
    """Where, picture id and boxes, of every picture of a file."""
    if _is_json_line(text.partition("\n")[0]):
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield _json_line(f"{path}, line {number}", line)
        return
    content = _parse(str(path), text)
    if not isinstance(content, dict):
        raise BoxesError(
            f"{path}: holds a {type(content).__name__}; wanted is an object from picture ids to boxes, JSON "
            'lines with "image_id" and "boxes", or COCO detection with "images" and "annotations"'
        )
    if isinstance(content.get("images"), list) and isinstance(content.get("annotations"), list):
        yield from _coco(path, content["images"], content["annotations"])
        return
    for image_id, boxes in content.items():
        yield str(path), image_id, boxes


def _is_json_line(line: str) -> bool:
    try:
        return isinstance(record := json.loads(line), dict) and {"image_id", "boxes"} <= record.keys()
    except (ValueError, RecursionError):
        return False


def _parse(where: str, text: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in found if names.count(name) > 1)
            raise BoxesError(f"{where}: {twice!r} stands there twice; give each picture's boxes in one place")
        return found

    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise BoxesError(f"{where}: not JSON ({error}); wanted are boxes by picture") from error
    except RecursionError as error:
        raise BoxesError(f"{where}: nested too deep; wanted are boxes by picture") from error


def _json_line(where: str, line: str) -> tuple[str, str, Any]:
    record = _parse(where, line)
    if not isinstance(record, dict) or not isinstance(record.get("image_id"), str) or "boxes" not in record:
        raise BoxesError(f'{where}: wanted is {{"image_id": "a.jpg", "boxes": [[x1, y1, x2, y2], …]}}')
    return where, record["image_id"], record["boxes"]


def _coco(path: Path, images: list[Any], annotations: list[Any]) -> Iterator[tuple[str, str, Any]]:
    names: dict[int | str, str] = {}
    boxes: dict[int | str, list[Any]] = {}
    for number, image in enumerate(images):
        where = f"{path}, images[{number}]"
        match image:
            case {"id": int() | str() as key, "file_name": str() as name}:
                if key in names:
                    raise BoxesError(f"{where}: the id {key!r} occurs twice")
                names[key], boxes[key] = name, []
            case _:
                raise BoxesError(f'{where}: wanted is a picture with "id" and "file_name"')
    for number, annotation in enumerate(annotations):
        where = f"{path}, annotations[{number}]"
        match annotation:
            case {"image_id": int() | str() as key, "bbox": box} if key in names:
                if not _is_four_numbers(box):
                    raise BoxesError(f"{where}: bbox is {box!r}; wanted are x, y, width, height in pixels")
                x, y, width, height = box
                boxes[key].append([x, y, x + width, y + height])
            case _:
                raise BoxesError(f"{where}: wanted is a bbox with the image_id of one of the pictures")
    for key, name in names.items():
        yield str(path), name, boxes[key]


def _boxes(where: str, image_id: str, boxes: Any) -> np.ndarray:
    """JSON lists -> (R, 4) float32, proved to be boxes."""
    if not isinstance(boxes, list):
        raise BoxesError(f"{where}: picture {image_id!r}: wanted is a list of boxes, found {boxes!r}")
    for number, box in enumerate(boxes):
        if not _is_four_numbers(box) or not (box[0] < box[2] and box[1] < box[3]):
            raise BoxesError(
                f"{where}: picture {image_id!r}, box {number} is {box!r}; wanted are the pixels "
                "x1, y1, x2, y2 with x1 < x2 and y1 < y2"
            )
    return np.array(boxes, np.float32).reshape(-1, 4)


def _is_four_numbers(box: Any) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(x, int | float) and not isinstance(x, bool) for x in box)
        and all(abs(x) < BEYOND_ANY_PICTURE for x in box)  # false for NaN, too
    )
