"""Average precision: worked by hand, and against pycocotools where the rules agree."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from features.average_precision import FoundBoxes, average_precision, mean_average_precision

FAR = [[i * 100.0, 0.0, i * 100.0 + 50, 50.0] for i in range(4)]


def detections(boxes: list[list[float]], scores: list[float]) -> FoundBoxes:
    return FoundBoxes(
        boxes=np.array(boxes).reshape(-1, 4), labels=np.zeros(len(boxes), int), scores=np.array(scores)
    )


def objects(boxes: list[list[float]], difficult: list[bool] | None = None) -> FoundBoxes:
    return FoundBoxes(
        boxes=np.array(boxes).reshape(-1, 4),
        labels=np.zeros(len(boxes), int),
        difficult=np.array(difficult or [False] * len(boxes), dtype=bool),
    )


def test_hit_miss_hit_gives_five_sixths_and_28_of_33() -> None:
    # recall 1/2 1/2 1, precision 1 1/2 2/3: area 1/2 + 1/2 * 2/3; 11 points: (6 * 1 + 5 * 2/3) / 11
    found = detections([FAR[0], FAR[3], FAR[1]], [0.9, 0.8, 0.7])

    ap = mean_average_precision([found], [objects([FAR[0], FAR[1]])], n_classes=1)

    assert ap["all_point"] == [pytest.approx(5 / 6)]
    assert ap["11_point"] == [pytest.approx(28 / 33)]


def test_a_difficult_object_neither_helps_nor_harms() -> None:
    truth = objects([FAR[0], FAR[1]], [False, True])

    with_it = mean_average_precision([detections(FAR[:2], [0.5, 0.9])], [truth], 1)
    without = mean_average_precision([detections(FAR[:1], [0.5])], [truth], 1)

    assert with_it == without == {"all_point": [1.0], "11_point": [1.0]}


def test_finding_one_object_twice_counts_once() -> None:
    found = detections([FAR[0], FAR[0], FAR[1]], [0.9, 0.8, 0.7])

    ap = mean_average_precision([found], [objects([FAR[0], FAR[1]])], 1)

    assert ap["all_point"] == [pytest.approx(5 / 6)]


def test_a_class_without_objects_has_no_score() -> None:
    ap = mean_average_precision([detections(FAR[:1], [0.9])], [objects([])], 1)

    assert np.isnan(ap["all_point"][0])


def test_no_detection_scores_zero() -> None:
    ap = mean_average_precision([detections([], [])], [objects(FAR[:1])], 1)

    assert ap == {"all_point": [0.0], "11_point": [0.0]}


@pytest.mark.parametrize("seed", range(5))
def test_101_points_equal_pycocotools_on_separate_objects(seed: int) -> None:
    # Well separated objects: there the matching rules of VOC and COCO agree.
    rng = np.random.default_rng(seed)
    found, truth = [], []
    for _ in range(12):
        real = [box for box in FAR if rng.random() < 0.7]
        shift = [list(np.array(box) + rng.uniform(-12, 12)) for box in FAR if rng.random() < 0.8]
        truth.append(objects(real))
        found.append(detections(shift, list(rng.permutation(1000)[: len(shift)] / 1000)))

    ours = mean_average_precision(found, truth, 1)
    from features.average_precision import _precision_recall

    curve = _precision_recall(found, truth, 0, 0.5)

    assert average_precision(*curve, points=101) == pytest.approx(coco_ap(found, truth), abs=1e-9)
    assert ours["all_point"][0] == pytest.approx(coco_ap(found, truth), abs=0.02)


def coco_ap(found: list[FoundBoxes], truth: list[FoundBoxes]) -> float:
    def rows(items: list[FoundBoxes]) -> list[dict[str, object]]:
        return [
            {
                "id": 1000 * picture + row + 1,
                "image_id": picture,
                "category_id": 1,
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "area": float((box[2] - box[0]) * (box[3] - box[1])),
                "iscrowd": 0,
                "score": 1.0 if item.scores is None else float(item.scores[row]),
            }
            for picture, item in enumerate(items)
            for row, box in enumerate(item.boxes.tolist())
        ]

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": i} for i in range(len(truth))],
            "categories": [{"id": 1}],
            "annotations": rows(truth),
        }
        coco.createIndex()
        results = COCO()
        results.dataset = {**coco.dataset, "annotations": rows(found)}
        results.createIndex()
        evaluation = COCOeval(coco, results, "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.evaluate()
        evaluation.accumulate()
    return float(evaluation.eval["precision"][0, :, 0, 0, -1].mean())
