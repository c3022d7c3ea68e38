"""Reading the TSV files of Oscar and VinVL, line by line; ``features.export`` writes them.

=====================  ================================================================================
``feature.tsv``        key, ``{"num_boxes": n, "features": base64}`` (captioning), or
                       key, n, base64 (retrieval, pre-training), or
                       key, ``{"objects": [{"rect", "class", "conf", "feature": base64}]}`` (extraction)
``label.tsv``          key, ``[{"class", "conf", "rect"}]``, or that list as ``objects`` beside
                       ``image_h`` and ``image_w``
``hw.tsv``             key, ``[{"height", "width"}]``
``*.lineidx``          the byte at which each line of the TSV file of that name begins, a number a line
``imageid2idx.json``   key -> line
=====================  ================================================================================

Vectors are float32; the first two forms carry six numbers of the box behind them, see
:func:`geometry_order`. ``rect`` is xyxy in pixels of the original. Read in microsoft/Oscar
(``run_captioning.py``, ``run_retrieval.py``, ``tsv_file.py``) and microsoft/scene_graph_benchmark.
"""

from __future__ import annotations

import base64
import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "GEOMETRY_WIDTH",
    "FeatureLine",
    "LabelFile",
    "Labels",
    "SAME",
    "TsvLine",
    "geometry_order",
    "parse_feature_line",
    "parse_size",
    "read_lines",
]

GEOMETRY_WIDTH = 6
SAME = 1e-3
"""Normalised box numbers that differ by less are the same number, rounded twice."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """What a detector called the boxes of one picture.

    Attributes:
        names: L class names.
        scores: (L,) float32.
        rects: (L, 4) float32, xyxy in pixels.
        size: Height and width of the picture, where the line gives them.
    """

    names: list[str]
    scores: np.ndarray
    rects: np.ndarray
    size: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureLine:
    """The regions of one picture, in the order of the line.

    Attributes:
        vectors: (R, F) float32, with or without the six numbers of the box.
        labels: Of the same R boxes, in the form that carries them; else None.
    """

    vectors: np.ndarray
    labels: Labels | None = None


@dataclass(frozen=True)
class TsvLine:
    """One line of a TSV file.

    Attributes:
        number: Counted from 1.
        key: First column.
        columns: All the others, as bytes.
        complete: Whether the line ends in a line feed; the last one of a killed writer does not.
    """

    number: int
    key: str
    columns: list[bytes]
    complete: bool


def read_lines(path: Path) -> Iterator[TsvLine]:
    """Lines of a TSV file, one in memory at a time; empty ones are passed over.

    Raises:
        ValueError: A line without key.
        OSError: The disk.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            key, *columns = line.rstrip(b"\r\n").split(b"\t")
            if not key.strip():
                raise ValueError(f"{path}, line {number}: begins with a tab; wanted is the key of a picture")
            try:
                yield TsvLine(number, key.decode("utf-8").strip(), columns, line.endswith(b"\n"))
            except UnicodeDecodeError as error:
                raise ValueError(f"{path}, line {number}: the key is not UTF-8 ({error.reason})") from error


def parse_feature_line(columns: list[bytes]) -> FeatureLine:
    """Columns after the key, in any of the three forms -> vectors.

    Raises:
        ValueError: What is wrong with them.
    """
    if len(columns) == 2:
        return FeatureLine(vectors=_decoded(columns[1], _count(columns[0])))
    if len(columns) != 1:
        raise ValueError(
            f"{len(columns) + 1} columns; wanted are a key and JSON, or a key, a count and base64"
        )
    content = _json(columns[0])
    if isinstance(content, dict) and "features" in content:
        return FeatureLine(vectors=_decoded(content["features"], _count(content.get("num_boxes"))))
    objects = content.get("objects") if isinstance(content, dict) else content
    if not isinstance(objects, list) or not all(isinstance(o, dict) and "feature" in o for o in objects):
        raise ValueError('wanted are "num_boxes" and "features", or objects with a "feature" each')
    vectors = [_decoded(found["feature"], 1) for found in objects]
    if len({vector.shape for vector in vectors}) > 1:
        raise ValueError("its boxes have vectors of several widths")
    empty = np.empty((0, 0), np.float32)
    return FeatureLine(vectors=np.concatenate(vectors) if vectors else empty, labels=_labels(content))


def _json(column: bytes) -> Any:
    try:
        return json.loads(column)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from error


def _count(number: Any) -> int:
    try:
        return int(number)
    except (TypeError, ValueError, OverflowError) as error:  # JSON may hold Infinity
        raise ValueError(f"the number of boxes is {number!r}") from error


def _decoded(text: Any, n_boxes: int) -> np.ndarray:
    """Base64 of float32 -> (n_boxes, F)."""
    if not isinstance(text, str | bytes):
        raise ValueError(f"the features are {type(text).__name__}; wanted is base64")
    data = base64.b64decode(text, validate=True)
    if len(data) % (4 * max(n_boxes, 1)) or (data and not n_boxes):
        raise ValueError(f"{len(data)} bytes are not {n_boxes} vectors of float32")
    return np.frombuffer(data, "<f4").reshape(n_boxes, -1 if n_boxes else 0)


def parse_labels(columns: list[bytes]) -> Labels:
    """Columns of a line of ``label.tsv`` after the key.

    Raises:
        ValueError: What is wrong with them.
    """
    if len(columns) != 1:
        raise ValueError(f"{len(columns) + 1} columns; wanted are a key and JSON")
    return _labels(_json(columns[0]))


def _labels(content: Any) -> Labels:
    size = None
    if isinstance(content, dict):
        if "image_h" in content and "image_w" in content:
            size = (_count(content["image_h"]), _count(content["image_w"]))
        content = content.get("objects")
    try:
        return Labels(
            names=[str(found["class"]) for found in content],
            scores=np.array([found.get("conf", 1.0) for found in content], np.float32),
            rects=np.array([found["rect"] for found in content], np.float32).reshape(-1, 4),
            size=size,
        )
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError('wanted is a list of {"class", "conf", "rect": [x1, y1, x2, y2]}') from error


def parse_size(columns: list[bytes]) -> tuple[int, int]:
    """Columns of a line of ``hw.tsv`` after the key -> height, width.

    Raises:
        ValueError: What is wrong with them.
    """
    content = _json(columns[0]) if len(columns) == 1 else None
    match content:
        case {"height": int(height), "width": int(width)} | [{"height": int(height), "width": int(width)}]:
            return height, width
    raise ValueError('wanted is [{"height": 480, "width": 640}]')


class LabelFile:
    """``label.tsv`` by key; only the places of its lines are kept in memory.

    Raises:
        ValueError: A key that stands on two lines.
        OSError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._numbers: dict[bytes, int] = {}  # key -> its line, from 1
        self._places = array("Q")  # where each line begins, empty ones too
        self._file = path.open("rb")
        place = 0
        for number, line in enumerate(self._file, 1):
            key = line.partition(b"\t")[0].strip()
            if key in self._numbers:
                shown = key.decode("utf-8", "replace")
                raise ValueError(f"{path}, line {number}: {shown!r} stands on an earlier line too; keep one")
            if key:
                self._numbers[key] = number
            self._places.append(place)
            place += len(line)

    def number(self, key: str) -> int | None:
        """The line of a picture, counted from 1; None where the file does not have it."""
        return self._numbers.get(key.encode("utf-8"))

    def line(self, key: str) -> TsvLine | None:
        """The line of a picture; None where the file does not have it."""
        number = self.number(key)
        if number is None:
            return None
        self._file.seek(self._places[number - 1])
        line = self._file.readline()
        columns = line.rstrip(b"\r\n").split(b"\t")[1:]
        return TsvLine(number, key, columns, line.endswith(b"\n"))

    def of(self, key: str) -> Labels | None:
        """Labels of a picture; None where the file does not have it.

        Raises:
            ValueError: What is wrong with its line.
        """
        line = self.line(key)
        if line is None:
            return None
        try:
            return parse_labels(line.columns)
        except ValueError as error:
            raise ValueError(f"{self.path.name}: {error}") from error

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def geometry_order(vectors: np.ndarray) -> str | None:
    """What the last six numbers of many vectors are.

    Publishers agree on x1/W y1/H x2/W y2/H and differ in the last two; a file does not say which it has.
    Where w/W = x2/W - x1/W stands first it is "wh", where h/H does "hw".

    Args:
        vectors: (N, F) of several pictures: one square box decides nothing.

    Returns:
        "wh", "hw", or None where they are no box at all: nine tenths of them must fit.
    """
    if vectors.shape[1] <= GEOMETRY_WIDTH:
        return None
    x1, y1, x2, y2, fifth, sixth = vectors[:, -GEOMETRY_WIDTH:].T.astype(np.float64)
    with np.errstate(invalid="ignore"):  # of broken files
        width, height = x2 - x1, y2 - y1
    corners = vectors[:, -GEOMETRY_WIDTH:-2]
    boxes = (corners > -SAME).all(1) & (corners < 1 + SAME).all(1) & (width > 0) & (height > 0)
    as_wh = boxes & (np.abs(fifth - width) < SAME) & (np.abs(sixth - height) < SAME)
    as_hw = boxes & (np.abs(fifth - height) < SAME) & (np.abs(sixth - width) < SAME)
    share = {"wh": as_wh.mean(), "hw": as_hw.mean()} if len(vectors) else {"wh": 0.0, "hw": 0.0}
    best = "wh" if share["wh"] >= share["hw"] else "hw"  # all square: the order does not matter
    return best if share[best] >= 0.9 else None
