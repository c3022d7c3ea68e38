from __future__ import annotations

import numpy as np
import pytest

from features.boxes import box_iou


def test_overlaps_are_those_of_a_loop_over_pixels() -> None:
    random = np.random.default_rng(1)
    boxes = [np.sort(random.integers(0, 12, (n, 2, 2)), axis=1).reshape(n, 4) for n in (6, 5)]

    def pixels(box: np.ndarray) -> np.ndarray:
        mask = np.zeros((12, 12), bool)
        mask[box[1] : box[3], box[0] : box[2]] = True
        return mask

    found = box_iou(boxes[0], boxes[1])

    for row, a in enumerate(boxes[0]):
        for column, b in enumerate(boxes[1]):
            union = (pixels(a) | pixels(b)).sum()
            wanted = (pixels(a) & pixels(b)).sum() / union if union else 0.0
            assert found[row, column] == pytest.approx(wanted)
