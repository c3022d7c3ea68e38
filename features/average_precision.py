"""Average precision of a detector, by the rules of PASCAL VOC (Everingham et al., IJCV 2010).

A detection is right when it overlaps an object of its class by at least half (IoU) and that object
has not been found by a better detection. Difficult objects count neither as found nor as missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.boxes import box_iou

__all__ = ["FoundBoxes", "average_precision", "mean_average_precision"]


@dataclass(frozen=True, kw_only=True)
class FoundBoxes:
    """Detections (with scores) or objects (with difficult flags) of one picture.

    Attributes:
        boxes: (N, 4) xyxy.
        labels: (N,) class numbers.
        scores: (N,) of detections.
        difficult: (N,) bool of objects.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None = None
    difficult: np.ndarray | None = None


def mean_average_precision(
    detected: Sequence[FoundBoxes], objects: Sequence[FoundBoxes], n_classes: int, iou: float = 0.5
) -> dict[str, list[float]]:
    """AP of every class.

    Returns:
        ``all_point`` (area under the precision envelope, VOC 2010 on) and ``11_point`` (mean of
        the envelope at recalls 0, 0.1 … 1; VOC 2007), a value a class; NaN for a class without objects.
    """
    curves = [_precision_recall(detected, objects, label, iou) for label in range(n_classes)]
    return {
        "all_point": [average_precision(*curve) for curve in curves],
        "11_point": [average_precision(*curve, points=11) for curve in curves],
    }


def average_precision(recall: np.ndarray, precision: np.ndarray, points: int | None = None) -> float:
    """Area under a precision-recall curve whose precision is made non-increasing first.

    Args:
        recall: (N,) ascending, in score order of the detections; NaN where there is no object.
        precision: (N,).
        points: Sample the envelope at so many equal steps of recall, or integrate it (None).
    """
    if np.isnan(recall).any():
        return float("nan")
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if points is None:
        steps = np.diff(np.concatenate([[0.0], recall]))
        return float((steps * envelope).sum())
    grid = np.linspace(0, 1, points)
    at = np.searchsorted(recall, grid - 1e-12)
    return float(np.append(envelope, 0.0)[at].mean())


def _precision_recall(
    detected: Sequence[FoundBoxes], objects: Sequence[FoundBoxes], label: int, iou: float
) -> tuple[np.ndarray, np.ndarray]:
    scores, hits, ignored, n_objects = [], [], [], 0
    for found, truth in zip(detected, objects, strict=True):
        mine, theirs = found.labels == label, truth.labels == label
        confidence, hard = found.scores, truth.difficult
        if confidence is None or hard is None:
            raise ValueError("detections need scores and objects need difficult flags")
        n_objects += int((~hard[theirs]).sum())
        order = np.argsort(-confidence[mine], kind="stable")
        hit, skip = _match(found.boxes[mine][order], truth.boxes[theirs], hard[theirs], iou)
        scores.append(confidence[mine][order])
        hits.append(hit)
        ignored.append(skip)
    if n_objects == 0:
        return np.array([np.nan]), np.array([np.nan])
    score, hit, skip = (np.concatenate(part) for part in (scores, hits, ignored))
    order = np.argsort(-score, kind="stable")
    hit = hit[order][~skip[order]]
    true, false = np.cumsum(hit), np.cumsum(~hit)
    return true / n_objects, true / np.maximum(true + false, 1)


def _match(
    boxes: np.ndarray, truth: np.ndarray, difficult: np.ndarray, iou: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which of one picture's detections (best first) are right, and which fell on a difficult object."""
    hit, skip = np.zeros(len(boxes), bool), np.zeros(len(boxes), bool)
    taken = np.zeros(len(truth), bool)
    if len(truth) == 0:
        return hit, skip
    overlaps = box_iou(boxes, truth)
    for row, overlap in enumerate(overlaps):
        best = int(overlap.argmax())
        if overlap[best] < iou:
            continue
        if difficult[best]:
            skip[row] = True
        elif not taken[best]:
            hit[row] = taken[best] = True
    return hit, skip
