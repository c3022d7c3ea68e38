"""Region selection against plain loops, against torchvision, and by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import nms

from features.backends.base import DetectorOptions
from features.regions import PROFILES, KeptRegions, Selection, select_regions, top_classes
from tests.features.selection_oracle import Row, select_agnostic, select_butd, select_vinvl

Oracle = Callable[[np.ndarray, np.ndarray, Selection], list[Row]]
ORACLES: dict[str, Oracle] = {
    "butd": select_butd,
    "vinvl": select_vinvl,
    "agnostic": select_agnostic,
    "coco": select_agnostic,
    "mini": select_agnostic,
}


def rule(**changes: object) -> Selection:
    numbers = {"min_score": 0.2, "min_regions": 1, "max_regions": 5, "nms_iou": 0.5} | changes
    return Selection(profile="test", **numbers)  # type: ignore[arg-type]


def few(profile: str, draw: Callable[[Any], Any]) -> Selection:
    """A profile cut down to the sizes of these tests."""
    least = draw(st.integers(1, 6))
    return replace(
        PROFILES[profile],
        min_regions=least,
        max_regions=draw(st.integers(least, 9)),
        min_score=draw(st.sampled_from([0.05, 0.25, 0.5])),
        nms_iou=draw(st.sampled_from([0.3, 0.5])),
    )


@st.composite
def crowded(draw: Callable[[Any], Any], shared: bool) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and boxes among which equals, touching and nested boxes are the rule."""
    n, n_classes = draw(st.integers(0, 10)), draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    probabilities = random.integers(1, 9, (n, n_classes)).astype(np.float32) / 8
    shape = (n,) if shared else (n, n_classes)
    corner = random.integers(0, 4, (*shape, 2)) * draw(st.sampled_from([1, 7]))
    size = random.integers(0, 4, (*shape, 2)) * draw(st.sampled_from([1, 7]))
    return probabilities, np.concatenate([corner, corner + size], -1).astype(np.float32)


def rows_of(kept: KeptRegions) -> list[Row]:
    found = zip(kept.rows.tolist(), kept.object_ids.tolist(), kept.scores.tolist(), strict=True)
    return [Row(*one) for one in found]


@pytest.mark.parametrize("profile", sorted(PROFILES))
@settings(max_examples=80)
@given(data=st.data())
def test_every_profile_keeps_what_plain_loops_keep(profile: str, data: st.DataObject) -> None:
    probabilities, boxes = data.draw(crowded(shared=True))
    selection = few(profile, data.draw)

    kept = select_regions(torch.tensor(probabilities), torch.tensor(boxes), selection)

    assert rows_of(kept) == ORACLES[profile](probabilities, boxes, selection)
    np.testing.assert_array_equal(kept.boxes, boxes[kept.rows.numpy()])


@pytest.mark.parametrize("profile", ["vinvl", "agnostic"])
@settings(max_examples=50)
@given(data=st.data())
def test_boxes_refined_a_class_are_compared_within_their_class(profile: str, data: st.DataObject) -> None:
    probabilities, boxes = data.draw(crowded(shared=False))
    selection = replace(few(profile, data.draw), box_source="regressed")

    kept = select_regions(torch.tensor(probabilities), torch.tensor(boxes), selection)

    assert rows_of(kept) == ORACLES[profile](probabilities, boxes, selection)
    np.testing.assert_array_equal(kept.boxes, boxes[kept.rows.numpy(), kept.object_ids.numpy()])


def a_picture(n: int, n_classes: int, sharpness: float) -> tuple[Tensor, Tensor]:
    """Proposals in clusters around a few things, with class distributions that clusters share."""
    generator = torch.Generator().manual_seed(n)
    things = torch.randint(0, 20, (n,), generator=generator)
    centre = (torch.rand(20, 2, generator=generator) * 400 + 100)[things]
    centre = centre + torch.randn(n, 2, generator=generator) * 15
    side = (torch.rand(20, 2, generator=generator) * 150 + 30)[things]
    logits = torch.randn(20, n_classes, generator=generator)[things]
    logits = (logits + torch.randn(n, n_classes, generator=generator)) * sharpness
    return logits.softmax(1), torch.cat([centre - side / 2, centre + side / 2], 1).clamp(0, 600)


@pytest.mark.parametrize("sharpness", [3.0, 1.0, 0.1])
def test_a_whole_picture_is_suppressed_as_by_one_torchvision_call_a_class(sharpness: float) -> None:
    probabilities, boxes = a_picture(n=120, n_classes=200, sharpness=sharpness)
    one_more = boxes + torch.tensor([0.0, 0, 1, 1])  # the last pixel belongs to the box
    strength = torch.zeros(len(boxes))
    for scores in probabilities.T:
        left = nms(one_more, scores, float(np.nextafter(0.3, 0)))  # 0.3 itself suppresses
        strength[left] = torch.maximum(strength[left], scores[left])
    best = strength.sort(descending=True, stable=True)
    wanted = min(100, max(10, int((best.values >= 0.2).sum())))

    kept = select_regions(probabilities, boxes, PROFILES["vinvl"])

    assert kept.rows.tolist() == best.indices[:wanted].tolist()
    assert torch.equal(kept.scores, best.values[:wanted])


def test_one_suppression_is_torchvisions() -> None:
    probabilities, boxes = a_picture(n=200, n_classes=30, sharpness=2.0)
    left = nms(boxes, probabilities.max(1).values, 0.5)

    kept = select_regions(probabilities, boxes, rule(min_regions=200, max_regions=200))

    assert kept.rows.tolist() == left.tolist()


def test_the_agnostic_threshold_rises_until_enough_are_left() -> None:
    probabilities, boxes = a_picture(n=60, n_classes=30, sharpness=2.0)
    scores = probabilities.max(1).values
    counts = {iou: len(nms(boxes, scores, iou)) for iou in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)}
    iou = next(iou for iou, count in counts.items() if count >= 36)
    assert 0.3 < iou < 0.9

    kept = select_regions(probabilities, boxes, PROFILES["agnostic"])

    assert kept.rows.tolist() == nms(boxes, scores, iou)[:36].tolist()


@pytest.mark.parametrize(
    ("first", "second", "caffe", "left"),
    [
        ([0, 0, 2, 1], [0, 0, 1, 1], False, 2),  # 1/2: not above the threshold
        ([0, 0, 1, 0], [0, 0, 0, 0], True, 1),  # 1 of 2 pixels: the threshold itself suppresses
        ([0, 0, 9, 9], [0, 0, 9, 9], False, 1),
        ([0, 0, 9, 0], [0, 0, 9, 0], True, 1),  # a line is one pixel high
        ([0, 0, 9, 9], [10, 0, 19, 9], True, 2),  # neighbours share no pixel
    ],
)
def test_the_last_pixel_and_the_threshold_itself_count_in_caffes_overlap_only(
    first: list[float], second: list[float], caffe: bool, left: int
) -> None:
    boxes = torch.tensor([first, second]).float()

    kept = select_regions(torch.tensor([[0.9], [0.8]]), boxes, rule(caffe_overlap=caffe))

    assert len(kept.rows) == left


def test_the_tag_of_vinvl_is_the_class_a_region_survives_in_and_that_of_butd_is_not() -> None:
    probabilities = torch.tensor([[0.5, 0.1], [0.4, 0.3]])
    boxes = torch.tensor([[0.0, 0, 50, 50], [0, 0, 50, 48]])

    vinvl, butd = (select_regions(probabilities, boxes, PROFILES[name]) for name in ("vinvl", "butd"))

    assert vinvl.object_ids.tolist() == [0, 1]
    assert vinvl.scores.tolist() == pytest.approx([0.5, 0.3])
    assert butd.object_ids.tolist() == [0, 0]
    assert butd.scores.tolist() == pytest.approx([0.5, 0.4])


def test_a_region_that_survives_in_no_class_fills_up_in_butd_only() -> None:
    probabilities = torch.tensor([[0.5, 0.3], [0.4, 0.2]])
    boxes = torch.tensor([[0.0, 0, 50, 50], [0, 0, 50, 48]])

    vinvl, butd = (select_regions(probabilities, boxes, PROFILES[name]) for name in ("vinvl", "butd"))

    assert vinvl.rows.tolist() == [0]
    assert butd.rows.tolist() == [0, 1]


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
    assert kept.rows.tolist() == [1]


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_no_proposals_are_no_regions(profile: str) -> None:
    kept = select_regions(torch.zeros(0, 5), torch.zeros(0, 4), PROFILES[profile])
    assert kept.boxes.shape == (0, 4)
    assert len(kept.rows) == len(kept.scores) == len(kept.object_ids) == 0


def test_top_classes_come_best_first_and_the_lower_id_first_among_equals() -> None:
    ids, scores = top_classes(torch.tensor([[0.1, 0.3, 0.3, 0.2]]), 3)
    assert ids is not None and scores is not None
    assert ids.dtype == np.int32
    assert scores.dtype == np.float16
    assert ids.tolist() == [[1, 2, 3]]
    assert scores.tolist() == [pytest.approx([0.3, 0.3, 0.2], rel=1e-3)]
    assert top_classes(torch.rand(2, 4), 0) == (None, None)


def test_the_numbers_of_mini_and_coco_are_recorded_as_they_always_were() -> None:
    # Captioners compare fingerprints of these: a word more would make them refuse their own detector.
    assert PROFILES["mini"].description() == {
        "profile": "mini", "min_score": 0.2, "min_regions": 16, "max_regions": 36, "nms_iou": 0.5,
    }  # fmt: skip
    assert PROFILES["coco"].description() == {
        "profile": "coco", "min_score": 0.2, "min_regions": 10, "max_regions": 100, "nms_iou": 0.5,
    }  # fmt: skip


def test_what_differs_from_the_defaults_is_recorded() -> None:
    found = PROFILES["vinvl"].description()
    assert found | {"profile": "vinvl"} == found
    assert {name: found[name] for name in ("suppression", "caffe_overlap", "tag", "box_source")} == {
        "suppression": "class",
        "caffe_overlap": True,
        "tag": "surviving",
        "box_source": "proposal",
    }
    assert "nms_iou_limit" not in found
    assert PROFILES["agnostic"].description()["nms_iou_limit"] == 0.9


def test_options_name_a_profile_and_change_its_numbers() -> None:
    options = DetectorOptions(profile="butd", overrides={"min_regions": 36, "max_regions": 36})
    found = options.selection(PROFILES["mini"])
    assert found == replace(PROFILES["butd"], min_regions=36, max_regions=36)
    assert DetectorOptions().selection(PROFILES["mini"]) == PROFILES["mini"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profile": "vinv1"}, "unknown selection profile 'vinv1'; choose from agnostic, butd, coco, mini"),
        ({"overrides": {"nms": 0.3}}, "a selection has no 'nms'; choose from min_score, min_regions"),
        ({"overrides": {"profile": "mine"}}, "a selection has no 'profile'"),
        (
            {"overrides": {"min_regions": 40}},
            r"got 40 and 36: max_regions 36 is the profile's \(mini\); give --selection.max_regions too",
        ),
        (
            {"overrides": {"max_regions": 3}},
            r"got 16 and 3: min_regions 16 is the profile's \(mini\); give --selection.min_regions too",
        ),
        ({"overrides": {"min_regions": 9, "max_regions": 3}}, "max_regions is wanted, got 9 and 3$"),
    ],
)  # fmt: skip
def test_a_wrong_profile_or_field_is_answered_with_the_right_ones(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        DetectorOptions(**options).selection(PROFILES["mini"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_score": 1.5}, r"min_score must lie in \[0, 1\], got 1.5"),
        ({"nms_iou": 0.0}, "nms_iou must lie in"),
        ({"min_regions": 9}, "min_regions <= max_regions is wanted, got 9 and 5"),
        ({"suppression": "none"}, "suppression is agnostic or class, got 'none'"),
        ({"tag": "best"}, "tag is raw or surviving, got 'best'"),
        ({"box_source": "rpn"}, "box_source is regressed or proposal, got 'rpn'"),
        ({"suppression": "class", "nms_iou_limit": 0.9}, "nms_iou_limit belongs to agnostic suppression"),
    ],
)
def test_numbers_outside_their_range_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rule(**changes)
