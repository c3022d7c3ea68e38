"""Published regions of one picture against what a detector of ours finds there, rule by rule.

Two questions are kept apart, because two halves of an extractor can differ: does the detector choose the same
boxes, and does it give the same vector where the box is the same? The second is asked at the reference's own
boxes, so that another threshold or suppression cannot hide another colour order or pooling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from PIL import Image

from features.backends.base import Backend, Detections
from features.boxes import box_iou

__all__ = ["BOX_FORMS", "Closeness", "Comparison", "Reference", "compare"]

SAME_COSINE, NEAR_COSINE = 0.999, 0.95
"""Median cosines from which vectors are the same but for rounding, and from which the weights are the same.

Measured with the mini detector on six of the sample pictures: mean off by 6/255 0.998, JPEG saved anew at
quality 90 0.992, bicubic for bilinear resizing 0.983, nearest-neighbour 0.87, red and blue swapped 0.82,
another picture 0.10.
"""
SAME_SHARE = 0.9
"""Share of the reference's boxes that must be found again (IoU of 0.9 or more) for the same selection."""
_IDENTICAL_IOU, _MATCHED_IOU = 0.9, 0.5
_CLEARLY = 0.2  # mean IoU by which a later form must lie better: boxes chosen otherwise fit a little anyhow

BOX_FORMS: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "x1 y1 x2 y2 in pixels": lambda boxes, _w, _h: boxes,
    "x y width height in pixels": lambda boxes, _w, _h: np.hstack(
        [boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]
    ),
    "y1 x1 y2 x2 in pixels": lambda boxes, _w, _h: boxes[:, [1, 0, 3, 2]],
    "x1 y1 x2 y2 from 0 to 1": lambda boxes, w, h: boxes * np.array([w, h, w, h]),
    "x1 y1 x2 y2 of the picture resized to 600/1000": lambda boxes, w, h: (
        boxes / min(600 / min(w, h), 1000 / max(w, h))
    ),
}
"""What the four numbers of a box may be -> a function of them, W and H that gives xyxy in pixels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """Published regions of a picture.

    Attributes:
        boxes: (N, 4) float32, in one of ``BOX_FORMS``.
        vectors: (N, D) float32.
        object_ids: (N,) int, where they are published.
    """

    boxes: np.ndarray
    vectors: np.ndarray
    object_ids: np.ndarray | None = None

    @staticmethod
    def load(path: Path) -> Reference:
        """Read an npz file with ``x`` or ``features`` and ``bbox`` or ``boxes``; nothing is unpickled.

        Raises:
            ValueError: No such file, or without these arrays.
        """
        if not path.is_file():
            raise ValueError(f"{path}: no such file")
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in _ARRAYS if name in file}
        except (OSError, ValueError, TypeError, EOFError, BadZipFile) as error:  # TypeError: it is .npy
            raise ValueError(f"{path}: cannot be read as npz without pickle ({error})") from error
        vectors, boxes = (
            next((arrays[name] for name in names if name in arrays), None)
            for names in (("x", "features"), ("bbox", "boxes"))
        )
        if vectors is None or boxes is None or vectors.ndim != 2 or boxes.shape != (len(vectors), 4):
            found = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "none of them"
            raise ValueError(
                f"{path}: wanted are x (N, D) and bbox (N, 4), or features and boxes; found {found}"
            )
        n_boxes = int(arrays.get("num_bbox", len(boxes)))  # published arrays may be padded
        ids = next((arrays[name] for name in ("objects_id", "object_ids") if name in arrays), None)
        return Reference(
            boxes=boxes[:n_boxes].astype(np.float32),
            vectors=vectors[:n_boxes].astype(np.float32),
            object_ids=None if ids is None else ids[:n_boxes].astype(np.int64),
        )


_ARRAYS = ("x", "features", "bbox", "boxes", "num_bbox", "objects_id", "object_ids")


@dataclass(frozen=True, kw_only=True)
class Closeness:
    """How alike pairs of vectors are.

    Attributes:
        pairs: Compared.
        cosine: Median over the pairs.
        least_cosine: Of the worst pair.
        max_abs: Largest difference of two numbers.
    """

    pairs: int
    cosine: float
    least_cosine: float
    max_abs: float

    @staticmethod
    def of(ours: np.ndarray, theirs: np.ndarray) -> Closeness:
        """Of (N, D) and (N, D), row by row; 0 pairs are not alike."""
        ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
        norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        cosines = (ours * theirs).sum(1) / np.maximum(norms, 1e-12)
        return Closeness(
            pairs=len(cosines),
            cosine=float(np.median(cosines)) if len(cosines) else 0.0,
            least_cosine=float(cosines.min()) if len(cosines) else 0.0,
            max_abs=float(np.abs(ours - theirs).max(initial=0.0)),
        )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What was found; :meth:`differences` says what it means.

    Attributes:
        n_reference, n_ours: Regions of either.
        box_form: Of ``BOX_FORMS``, the one in which the reference's boxes lie best on ours.
        found_again: Share of the reference's boxes that one of ours overlaps with an IoU of 0.9 or more.
        matched: Vectors of pairs of boxes that overlap best, IoU of 0.5 or more, each box in one pair.
        at_their_boxes: Vectors that the detector gives at the reference's boxes.
        colours_swapped: The same with red and blue of the picture swapped.
        labels_agree: Share of the pairs that have one class; None where there are none to compare.
        labels_agree_less_one: The same after taking 1 off the reference's, for a background counted as 0.
        in_score_order: Whether the pairs stand in the order of our scores.
    """

    n_reference: int
    n_ours: int
    box_form: str
    found_again: float
    matched: Closeness
    at_their_boxes: Closeness
    colours_swapped: Closeness
    labels_agree: float | None
    labels_agree_less_one: float | None
    in_score_order: bool

    def differences(self) -> list[str]:
        """Every rule that differs, in words; none where boxes, vectors and order are the detector's."""
        return [*self._box_differences(), *self._vector_differences(), *self._label_differences()]

    def _box_differences(self) -> Iterator[str]:
        if self.box_form != next(iter(BOX_FORMS)):
            yield f"geometry: the reference's boxes are {self.box_form}"
        if self.found_again < SAME_SHARE:
            yield (
                "boxes: another choice of regions (threshold, suppression, proposals or refined boxes); try "
                "another --profile"
            )
        if not self.in_score_order:
            yield "order: the reference is not sorted by score, so its first 50 are not its best 50"

    def _vector_differences(self) -> Iterator[str]:
        here, swapped = self.at_their_boxes.cosine, self.colours_swapped.cosine
        if max(here, swapped) >= NEAR_COSINE and swapped > here:
            yield "colours: the vectors agree when red and blue are swapped (RGB taken for BGR, or back)"
        elif here < NEAR_COSINE:
            yield "vectors: they differ at the same boxes: other weights, another pooling, or another picture"
        elif here < SAME_COSINE:
            yield "vectors: nearly the same: another resizing, another mean, or the picture was saved anew"

    def _label_differences(self) -> Iterator[str]:
        if self.labels_agree is None or self.labels_agree_less_one is None:
            return
        if self.labels_agree_less_one > max(self.labels_agree, 0.5):
            yield "labels: the reference counts the background as class 0; take 1 off"
        elif self.labels_agree < SAME_SHARE:
            yield "labels: another class list, or another rule for the class of a region"


def compare(reference: Reference, image: Image.Image, backend: Backend) -> Comparison:
    """Look at a picture and at published regions of it.

    Args:
        reference: Published regions.
        image: Upright RGB.
        backend: Detector.

    Raises:
        ValueError: Vectors of another width, no regions, or boxes that fit this picture in no form.
    """
    width = reference.vectors.shape[1]
    if width == backend.feature_dim + 6:
        reference = Reference(
            boxes=reference.boxes, vectors=reference.vectors[:, :-6], object_ids=reference.object_ids
        )
    elif width != backend.feature_dim:
        raise ValueError(
            f"the reference has vectors of {width} numbers, the {backend.name} detector gives "
            f"{backend.feature_dim}: they are not of one detector"
        )
    if not len(reference.boxes):
        raise ValueError("the reference has no regions in this picture")
    own = _detect(backend, image)
    box_form, boxes = _find_form(reference.boxes, own.boxes, image.size)
    overlaps = box_iou(boxes, own.boxes)  # (N, R)
    rows, columns = _pairs(overlaps)
    agree = less_one = None
    if reference.object_ids is not None and len(rows):
        named = reference.object_ids[rows]
        agree = float((named == own.object_ids[columns]).mean())
        less_one = float((named - 1 == own.object_ids[columns]).mean())
    swapped = Image.merge("RGB", image.split()[::-1])
    scores = own.object_scores[columns]  # in the reference's order
    return Comparison(
        n_reference=len(boxes),
        n_ours=len(own.boxes),
        box_form=box_form,
        found_again=float((overlaps.max(axis=1, initial=0.0) >= _IDENTICAL_IOU).mean()),
        matched=Closeness.of(own.features[columns], reference.vectors[rows]),
        at_their_boxes=Closeness.of(_vectors_at(backend, image, boxes), reference.vectors),
        colours_swapped=Closeness.of(_vectors_at(backend, swapped, boxes), reference.vectors),
        labels_agree=agree,
        labels_agree_less_one=less_one,
        in_score_order=len(scores) < 2 or float((np.diff(scores) <= 1e-3).mean()) >= SAME_SHARE,
    )


def _detect(backend: Backend, image: Image.Image, boxes: np.ndarray | None = None) -> Detections:
    batch = torch.as_tensor(backend.preprocessor(image))[None]
    (found,) = backend.detect(batch, [(image.height, image.width)], None if boxes is None else [boxes])
    return found


def _vectors_at(backend: Backend, image: Image.Image, boxes: np.ndarray) -> np.ndarray:
    """(N, D) vectors in the order of the (N, 4) boxes: a back end gives them by score."""
    found = _detect(backend, image, boxes)
    vectors = np.empty_like(found.features)
    vectors[np.lexsort(boxes.T)] = found.features[np.lexsort(found.boxes.T)]
    return vectors


def _find_form(boxes: np.ndarray, ours: np.ndarray, size: tuple[int, int]) -> tuple[str, np.ndarray]:
    """The form in which the boxes lie best on ours, and the boxes in pixels, cut at the picture's edges."""
    best: tuple[float, str, np.ndarray] | None = None
    limits = np.array([*size, *size], np.float32)
    for name, form in BOX_FORMS.items():
        pixels = form(boxes, *size).astype(np.float32)
        cut = pixels.clip(0, limits)
        if (np.abs(cut - pixels) > 2).any() or (cut[:, 2:] <= cut[:, :2]).any():
            continue
        fit = float(box_iou(cut, ours).max(axis=1, initial=0.0).mean())
        if best is None or fit > best[0] + _CLEARLY:
            best = (fit, name, cut)
    if best is None:
        raise ValueError(
            f"the reference's boxes, such as {boxes[0].tolist()}, lie in this picture of {size[0]}x{size[1]} "
            f"pixels in none of these forms: {'; '.join(BOX_FORMS)}. Is it the same picture?"
        )
    return best[1], best[2]


def _pairs(overlaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, R) IoU -> rows and columns of pairs, the best overlaps first served, in the order of the rows."""
    pairs: dict[int, int] = {}
    rows, columns = np.unravel_index(np.argsort(-overlaps, axis=None, kind="stable"), overlaps.shape)
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if overlaps[row, column] < _MATCHED_IOU:
            break
        if row not in pairs and column not in pairs.values():
            pairs[row] = column
    order = sorted(pairs)
    return np.array(order, np.int64), np.array([pairs[row] for row in order], np.int64)
