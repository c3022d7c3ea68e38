"""Region selection against a plain loop, and by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from features.regions import Selection, select_regions


def rule(**changes: object) -> Selection:
    numbers = {"min_score": 0.2, "min_regions": 1, "max_regions": 5, "nms_iou": 0.5} | changes
    return Selection(profile="test", **numbers)  # type: ignore[arg-type]


def overlap(a: Tensor, b: Tensor) -> float:
    width = (min(a[2], b[2]) - max(a[0], b[0])).clamp(min=0)
    height = (min(a[3], b[3]) - max(a[1], b[1])).clamp(min=0)
    inner = float(width * height)
    return inner / float((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner)


def select_one_by_one(probabilities: Tensor, boxes: Tensor, selection: Selection) -> list[tuple[int, float]]:
    rows = []
    for row in range(len(probabilities)):
        score, label = probabilities[row].max(0)
        rows.append((float(score), int(label), boxes[row, label]))
    rows.sort(key=lambda item: -item[0])
    kept: list[tuple[float, int, Tensor]] = []
    for item in rows:
        if all(overlap(item[2], other[2]) <= selection.nms_iou for other in kept):
            kept.append(item)
    kept = kept[: selection.max_regions]
    n_sure = sum(item[0] >= selection.min_score for item in kept)
    return [(label, score) for score, label, _ in kept[: max(n_sure, selection.min_regions)]]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(0, 30), min_regions=st.integers(1, 4))
def test_selection_equals_a_loop_over_proposals(seed: int, n: int, min_regions: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.rand(n, 6, generator=generator) * 0.5
    corner = torch.rand(n, 6, 2, generator=generator) * 60
    boxes = torch.cat([corner, corner + 5 + torch.rand(n, 6, 2, generator=generator) * 40], -1)
    selection = rule(min_regions=min_regions, max_regions=8)

    kept = select_regions(probabilities, boxes, selection)

    expected = select_one_by_one(probabilities, boxes, selection)
    assert kept.object_ids.tolist() == [label for label, _ in expected]
    assert kept.scores.tolist() == pytest.approx([score for _, score in expected])


def test_weak_regions_fill_up_to_the_minimum_and_no_further() -> None:
    probabilities = torch.tensor([[0.9], [0.1], [0.05], [0.04]])
    boxes = torch.tensor([[[i * 50.0, 0, i * 50.0 + 40, 40]] for i in range(4)])

    kept = select_regions(probabilities, boxes, rule(min_regions=3))

    assert kept.scores.tolist() == pytest.approx([0.9, 0.1, 0.05])


def test_a_weaker_region_of_another_class_on_the_same_place_goes() -> None:
    probabilities = torch.tensor([[0.6, 0.1], [0.1, 0.5]])
    boxes = torch.tensor([[0.0, 0, 10, 10], [0.0, 0, 10, 11]])[:, None].expand(2, 2, 4)

    kept = select_regions(probabilities, boxes, rule())

    assert kept.object_ids.tolist() == [0]


def test_a_box_clipped_to_nothing_is_never_kept() -> None:
    boxes = torch.tensor([[[320.0, 10, 320, 50]], [[10.0, 10, 50, 50]]])

    kept = select_regions(torch.tensor([[0.9], [0.3]]), boxes, rule())

    assert kept.boxes.tolist() == [[10.0, 10, 50, 50]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_score": 1.5}, r"min_score must lie in \[0, 1\], got 1.5"),
        ({"nms_iou": 0.0}, "nms_iou must lie in"),
        ({"min_regions": 9}, "min_regions <= max_regions is wanted, got 9 and 5"),
    ],
)
def test_numbers_outside_their_range_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rule(**changes)
