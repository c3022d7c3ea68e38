"""Region selection as the published codes define it, in plain loops over classes and boxes; shares nothing.

Definitions: ``tools/generate_tsv.py`` and ``lib/nms/cpu_nms.pyx`` of peteanderson80/bottom-up-attention,
``filter_results_peter`` of microsoft/scene_graph_benchmark, ``do_nms`` of LXMERT's ``modeling_frcnn.py``.
They leave equal scores to chance; here the earlier row comes first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.regions import Selection

Box = np.ndarray


@dataclass(frozen=True)
class Row:
    """A kept region: its proposal, class and score."""

    row: int
    object_id: int
    score: float


def iou(a: Box, b: Box, plus: int) -> np.float32:
    """In float32, as the compiled codes compute it."""
    one = np.float32(plus)
    width = max(np.float32(0), min(a[2], b[2]) - max(a[0], b[0]) + one)
    height = max(np.float32(0), min(a[3], b[3]) - max(a[1], b[1]) + one)
    inner = width * height
    area_a = (a[2] - a[0] + one) * (a[3] - a[1] + one)
    area_b = (b[2] - b[0] + one) * (b[3] - b[1] + one)
    return inner / (area_a + area_b - inner)


def greedy(boxes: list[Box], scores: list[float], threshold: float, caffe: bool) -> list[int]:
    """Rows that one suppression leaves, best first."""
    kept: list[int] = []
    for row in sorted(range(len(boxes)), key=lambda row: (-scores[row], row)):
        overlaps = [float(iou(boxes[row], boxes[better], int(caffe))) for better in kept]
        if not any(found >= threshold if caffe else found > threshold for found in overlaps):
            kept.append(row)
    return kept


def without_area(box: Box) -> bool:
    return not (box[2] > box[0] and box[3] > box[1])


def select_butd(probabilities: np.ndarray, boxes: np.ndarray, rule: Selection) -> list[Row]:
    """Suppression in every class; the tag of a region is its best class, suppressed or not."""
    n_rows, n_classes = probabilities.shape
    tags = [int(np.argmax(one)) for one in probabilities]
    max_conf = [0.0] * n_rows
    for label in range(n_classes):
        scores = probabilities[:, label].tolist()
        for row in greedy(list(boxes), scores, rule.nms_iou, caffe=True):
            max_conf[row] = max(max_conf[row], scores[row])
    by_score = sorted(range(n_rows), key=lambda row: (-max_conf[row], row))
    kept = [row for row in by_score if max_conf[row] >= rule.min_score]
    if len(kept) < rule.min_regions:
        kept = by_score[: rule.min_regions]
    elif len(kept) > rule.max_regions:
        kept = by_score[: rule.max_regions]
    found = [Row(row, tags[row], float(probabilities[row, tags[row]])) for row in kept]
    return sorted(found, key=lambda one: -one.score)


def select_vinvl(probabilities: np.ndarray, boxes: np.ndarray, rule: Selection) -> list[Row]:
    """The same with the best surviving class as tag, and a threshold halved while too few are found."""

    def filtered(threshold: float) -> list[Row]:
        n_rows, n_classes = probabilities.shape
        masked = np.zeros_like(probabilities)
        for label in range(n_classes):
            own = list(boxes if boxes.ndim == 2 else boxes[:, label])
            for row in greedy(own, probabilities[:, label].tolist(), rule.nms_iou, caffe=True):
                masked[row, label] = probabilities[row, label]
        found = [Row(row, int(np.argmax(masked[row])), float(masked[row].max())) for row in range(n_rows)]
        found = sorted((one for one in found if one.score > 0), key=lambda one: (-one.score, one.row))
        n_sure = sum(one.score >= threshold for one in found)
        if n_sure < rule.min_regions:
            return found[: rule.min_regions]
        return found[: min(n_sure, rule.max_regions)]

    threshold = rule.min_score
    found = filtered(threshold)
    for _ in range(10):
        if len(found) >= rule.min_regions:
            break
        threshold /= 2
        found = filtered(threshold)
    return found


def select_agnostic(probabilities: np.ndarray, boxes: np.ndarray, rule: Selection) -> list[Row]:
    """One suppression over all classes, as torchvision's; its threshold rises while too few are left."""
    tags = [int(np.argmax(one)) for one in probabilities]
    scores = [float(one[tag]) for one, tag in zip(probabilities, tags, strict=True)]
    own = [boxes[row] if boxes.ndim == 2 else boxes[row, tag] for row, tag in enumerate(tags)]
    solid = [row for row, box in enumerate(own) if not without_area(box)]
    steps = [rule.nms_iou]
    while rule.nms_iou_limit is not None and round(steps[-1] + 0.1, 6) <= rule.nms_iou_limit:
        steps.append(round(steps[-1] + 0.1, 6))
    kept: list[int] = []
    for threshold in steps:
        left = greedy([own[row] for row in solid], [scores[row] for row in solid], threshold, caffe=False)
        kept = [solid[number] for number in left]
        if len(kept) >= rule.min_regions:
            break
    n_sure = sum(scores[row] >= rule.min_score for row in kept)
    kept = kept[: max(n_sure, rule.min_regions)][: rule.max_regions]
    return [Row(row, tags[row], scores[row]) for row in kept]
