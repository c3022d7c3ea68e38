"""A line of Oscar's or VinVL's TSV files -> the regions of a picture, as regions files hold them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.boxes import box_iou
from features.oscar_tsv import GEOMETRY_WIDTH, SAME, FeatureLine, Labels, geometry_order
from features.schema import Regions, box_geometry, check_regions

__all__ = ["Converted", "VectorForm", "convert", "find_form"]

NAMED_FROM = 0.5
"""IoU from which a region is called what an unaligned label is called."""
_SIZE_ERROR = 0.1
"""Pixels by which an estimated width or height may miss a whole number."""


@dataclass(frozen=True, kw_only=True)
class VectorForm:
    """What the vectors of a feature file are.

    Attributes:
        width: F, numbers a vector.
        order: Of the last two of its six box numbers, "wh" or "hw"; None where it carries none.
    """

    width: int
    order: str | None

    @property
    def feature_dim(self) -> int:
        """D, width of the appearance alone."""
        return self.width - (GEOMETRY_WIDTH if self.order else 0)


def find_form(lines: Sequence[FeatureLine]) -> VectorForm:
    """What the vectors of a file are, as its first pictures show it.

    Raises:
        ValueError: No vectors, float16 instead of float32, or six numbers that should be a box and are none.
    """
    widths = [line.vectors.shape[1] for line in lines if len(line.vectors)]
    if not widths:
        raise ValueError("has no regions in its first pictures; is it a feature file?")
    ((width, _),) = Counter(widths).most_common(1)
    if width == 1027:  # Oscar issue 94
        raise ValueError("has 1,027 numbers a vector read as float32: 2,054 of float16; wanted is float32")
    vectors = np.concatenate([line.vectors for line in lines if line.vectors.shape[1] == width])
    order = geometry_order(vectors)
    if order is None and width == 2054:
        raise ValueError(
            "has 2,054 numbers a vector, of which the last six are no box: neither x1/W y1/H x2/W y2/H w/W "
            "h/H, nor that with h/H before w/W"
        )
    return VectorForm(width=width, order=order)


@dataclass(frozen=True, kw_only=True, eq=False)
class Converted:
    """One picture, and what could not be kept of it.

    Attributes:
        regions: Of the picture.
        unnamed: Regions that no label names: they have score 0, so they are never a tag.
        unplaced: Labels that belong to no region: they are left out.
    """

    regions: Regions
    unnamed: int
    unplaced: int


def convert(
    image_id: str,
    line: FeatureLine,
    labels: Labels | None,
    size: tuple[int, int] | None,
    form: VectorForm,
    class_ids: Mapping[str, int],
) -> Converted:
    """Put vectors, boxes, classes and size of a picture together, best score first.

    Boxes are the labels' where these lie row by row where the vectors' box numbers say. Otherwise (the two
    files may hold different boxes, even different numbers of them: Oscar issues 94 and 103) boxes are
    the vectors' own, and a region is called what the label is called that overlaps it best.

    Args:
        image_id: Key of the line.
        line: Its vectors.
        labels: Of ``label.tsv``, where there is one that has the picture.
        size: Height and width of ``hw.tsv``; else the labels' own, else what labels and box numbers imply.
        form: Of the file.
        class_ids: Name -> row of the vocabulary.

    Raises:
        KeyError: A class that the vocabulary does not have.
        ValueError: What does not fit, without the picture's name.
    """
    n_regions = len(line.vectors)
    if n_regions and line.vectors.shape[1] != form.width:
        raise ValueError(f"{line.vectors.shape[1]} numbers a vector; the file has {form.width}")
    vectors = line.vectors.reshape(n_regions, form.width)
    corners = vectors[:, -GEOMETRY_WIDTH:-2] if form.order else None  # (R, 4) of 1
    if corners is None and (labels is None or len(labels.rects) != n_regions):
        found = "no labels" if labels is None else f"{len(labels.rects)} labels"
        raise ValueError(f"{n_regions} vectors without box numbers, and {found} to take the boxes from")
    own = labels.size if labels is not None else None
    height, width = size or own or _implied_size(corners, labels)
    scale = np.array([width, height, width, height], np.float32)
    ids, scores = np.zeros(n_regions, np.int32), np.zeros(n_regions, np.float32)
    unplaced = 0
    if labels is not None and (corners is None or _aligned(corners, labels.rects / scale)):
        boxes = labels.rects
        named = np.arange(n_regions)
    else:
        assert corners is not None  # noqa: S101  (checked above)
        boxes = corners * scale
        named, unplaced = _best_labels(boxes, labels)
    if labels is not None:
        label_ids = np.array([_class_id(name, class_ids) for name in labels.names], np.int32)
        has_name = named >= 0
        ids[has_name], scores[has_name] = label_ids[named[has_name]], labels.scores[named[has_name]]
    order = np.argsort(-scores, kind="stable")
    with np.errstate(over="ignore"):  # what float16 cannot hold is found by check_regions
        features = vectors[order, : form.feature_dim].astype(np.float16)
    boxes = np.ascontiguousarray(boxes[order], np.float32)
    regions = Regions(
        image_id=image_id,
        width=width,
        height=height,
        features=features,
        boxes=boxes,
        geometry=box_geometry(boxes, width, height),
        object_ids=ids[order],
        object_scores=scores[order],
    )
    check_regions(regions, form.feature_dim, len(class_ids))
    return Converted(regions=regions, unnamed=int((named < 0).sum()), unplaced=unplaced)


def _class_id(name: str, class_ids: Mapping[str, int]) -> int:
    """Lists are published in lower case, labels not always."""
    found = class_ids.get(name, class_ids.get(name.strip().lower()))
    if found is None:
        raise KeyError(name)
    return found


def _aligned(corners: np.ndarray, scaled: np.ndarray) -> bool:
    """Whether two lists of normalised boxes are the same boxes, one of them perhaps cut at the edges."""
    if corners.shape != scaled.shape:
        return False
    return bool((np.minimum(np.abs(corners - scaled), np.abs(corners - scaled.clip(0, 1))) < SAME).all())


def _implied_size(corners: np.ndarray | None, labels: Labels | None) -> tuple[int, int]:
    """Height and width that turn the box numbers of the vectors into the labels' boxes."""
    advice = "give the sizes with --sizes hw.tsv"
    if corners is None or labels is None or corners.shape != labels.rects.shape or not len(corners):
        raise ValueError(f"nothing says how large the picture is; {advice}")
    ratios = labels.rects.sum(0, dtype=np.float64) / np.maximum(corners.sum(0, dtype=np.float64), 1e-9)
    width, height = (float(number) for number in ratios[2:])  # x2 and y2 are the farthest from 0
    size = (round(height), round(width))
    if max(abs(height - size[0]), abs(width - size[1])) > _SIZE_ERROR or min(size) < 1:
        raise ValueError(
            f"labels and box numbers imply a picture of {width:.1f}x{height:.1f} pixels, so they hold "
            f"different boxes; {advice}"
        )
    return size


def _best_labels(boxes: np.ndarray, labels: Labels | None) -> tuple[np.ndarray, int]:
    """(R,) the label that overlaps each region best, -1 for none; and how many labels are nobody's."""
    if labels is None or not len(labels.rects) or not len(boxes):
        return np.full(len(boxes), -1), 0 if labels is None else len(labels.rects)
    overlaps = box_iou(boxes, labels.rects)  # (R, L)
    best = np.where(overlaps.max(axis=1) >= NAMED_FROM, overlaps.argmax(axis=1), -1)
    return best, len(set(range(len(labels.rects))) - set(best.tolist()))
