"""Proposals, against numbers worked by hand and a suppression written out."""

from __future__ import annotations

import math

import pytest
import torch

from features.backends.c4.rpn import ProposalNetwork, cell_anchors, clip_boxes, decode_boxes, grid_anchors
from features.backends.c4.variants import VARIANTS, Variant
from tests.features.c4.detectors import small

VINVL, BUTD, COCO = (VARIANTS[name] for name in ("vinvl-x152", "butd-r101", "coco-r50"))


def test_caffe_anchors_are_whole_pixels_ratio_by_ratio() -> None:
    # 256 / 0.5 has the root 22.6 -> 23 wide, 11.5 -> 12 high; 256 / 2 -> 11 wide, 22 high
    found = cell_anchors(BUTD)
    assert found.shape == (12, 4)
    assert found[:4].tolist() == [
        [-38, -16, 53, 31],  # 92 x 48
        [-84, -40, 99, 55],  # the first line that py-faster-rcnn's generator prints
        [-176, -88, 191, 103],
        [-360, -184, 375, 199],
    ]
    assert found[4].tolist() == [-24, -24, 39, 39]
    assert found[8].tolist() == [-14, -36, 29, 51]  # 44 x 88
    assert cell_anchors(VINVL)[0].tolist() == [-15, -4, 30, 19]  # 46 x 24
    assert cell_anchors(VINVL)[5].tolist() == [-8, -8, 23, 23]


def test_detectron2_anchors_are_exact_around_the_corner_of_the_cell_size_by_size() -> None:
    found = cell_anchors(COCO)
    root = math.sqrt(2)
    assert found.shape == (15, 4)
    torch.testing.assert_close(found[0], torch.tensor([-16 * root, -8 * root, 16 * root, 8 * root]))
    assert found[1].tolist() == [-16, -16, 16, 16]
    assert found[4].tolist() == [-32, -32, 32, 32]


def test_anchors_move_by_the_stride_columns_first() -> None:
    grid = grid_anchors(torch.tensor([[0.0, 1, 2, 3], [4, 5, 6, 7]]), 2, 3)
    assert grid.shape == (12, 4)
    assert grid[1].tolist() == [4, 5, 6, 7]
    assert grid[2].tolist() == [16, 1, 18, 3]
    assert grid[7].tolist() == [4, 21, 6, 23]


@pytest.mark.parametrize(
    ("variant", "still", "moved"),
    [
        (COCO, [10, 20, 30, 60], [10, 20, 50, 60]),  # 20 wide; half of it to the right, then twice as wide
        (BUTD, [10, 20, 31, 61], [10, 20, 52, 61]),
        (VINVL, [10, 20, 30, 60], [10, 20, 51, 60]),
    ],
)
def test_boxes_are_decoded_by_the_sides_of_the_convention(
    variant: Variant, still: list[float], moved: list[float]
) -> None:
    box = torch.tensor([10.0, 20, 30, 60])
    torch.testing.assert_close(decode_boxes(torch.zeros(4), box, variant), torch.tensor(still).float())
    wide = decode_boxes(torch.tensor([0.5, 0, math.log(2), 0]), box, variant)
    torch.testing.assert_close(wide, torch.tensor(moved).float())


@pytest.mark.parametrize(("variant", "corner"), [(COCO, [200, 100]), (BUTD, [199, 99]), (VINVL, [199, 99])])
def test_boxes_end_where_the_picture_does(variant: Variant, corner: list[float]) -> None:
    box = torch.tensor([[-5.0, 3, 500, 500]])
    assert clip_boxes(box, (100, 200), variant).tolist() == [[0, 3, *corner]]


def test_paired_objectness_is_all_backgrounds_then_all_foregrounds() -> None:
    variant = small("butd-r101")
    network = ProposalNetwork(variant)
    for parameter in network.parameters():
        parameter.data.zero_()
    network.objectness.bias.data[3] = 1.0  # background of anchor 3
    network.objectness.bias.data[12 + 7] = 2.0  # foreground of anchor 7
    network.deltas.bias.data[4 * 5 + 2] = 6.0  # dw of anchor 5
    scores, deltas = network(torch.zeros(1, 128, 2, 3))
    assert scores.shape == (72,)
    assert deltas.shape == (72, 4)
    first = scores[:12].tolist()
    assert first[3] == pytest.approx(1 / (1 + math.e))
    assert first[7] == pytest.approx(1 / (1 + math.exp(-2)))
    assert {first[i] for i in range(12) if i not in (3, 7)} == {0.5}
    assert torch.equal(scores.reshape(6, 12), scores[:12].expand(6, 12))
    assert deltas.nonzero().tolist() == [[12 * cell + 5, 2] for cell in range(6)]


def test_single_objectness_is_a_logit_an_anchor_with_places_before_anchors() -> None:
    variant = small("coco-r50")
    network = ProposalNetwork(variant)
    network.conv.weight.data.zero_()
    network.conv.weight.data[0, 0, 1, 1] = 1.0
    network.objectness.weight.data.zero_()
    network.objectness.weight.data[4, 0] = 1.0
    for layer in (network.conv, network.objectness):
        layer.bias.data.zero_()
    c4 = torch.zeros(1, 128, 2, 3)
    c4[0, 0] = torch.arange(6).reshape(2, 3)
    scores, _ = network(c4)
    assert scores.reshape(6, 15)[:, 4].tolist() == [0, 1, 2, 3, 4, 5]
    assert scores.reshape(6, 15)[:, 3].tolist() == [0] * 6


def overlap(a: list[float], b: list[float], plus_one: bool) -> float:
    offset = 1 if plus_one else 0
    width = min(a[2], b[2]) - max(a[0], b[0]) + offset
    height = min(a[3], b[3]) - max(a[1], b[1]) + offset
    shared = max(width, 0) * max(height, 0)
    area_a, area_b = ((box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (a, b))
    return shared / (area_a + area_b - shared)


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_proposals_are_those_of_a_suppression_written_out(name: str) -> None:
    variant = small(name, pre_nms=60, post_nms=12)
    generator = torch.Generator().manual_seed(6)
    corners = torch.rand(200, 2, generator=generator) * torch.tensor([180.0, 80])
    boxes = torch.cat([corners, corners + torch.rand(200, 2, generator=generator) * 90 - 5], dim=1).round()
    scores = torch.rand(200, generator=generator)
    scale = 0.5  # sides up to 8 are small for butd-r101
    found = ProposalNetwork(variant).propose(scores, boxes, (100, 200), scale)

    offset = 1 if variant.plus_one else 0
    end_x, end_y = 200 - offset, 100 - offset
    clipped = [
        [min(max(x1, 0), end_x), min(max(y1, 0), end_y), min(max(x2, 0), end_x), min(max(y2, 0), end_y)]
        for x1, y1, x2, y2 in boxes.tolist()
    ]
    order = sorted(range(200), key=lambda row: -scores[row].item())
    smallest = 8 if name == "butd-r101" else 0

    def large(row: int) -> bool:
        x1, y1, x2, y2 = clipped[row]
        return min(x2 - x1, y2 - y1) + offset > smallest

    rows = (
        [row for row in order if large(row)][:60]
        if name == "butd-r101"
        else [r for r in order[:60] if large(r)]
    )
    kept: list[int] = []
    for row in rows:
        overlaps = [overlap(clipped[row], clipped[better], variant.rpn_iou_plus_one) for better in kept]
        if not any(o >= 0.7 if variant.rpn_iou_plus_one else o > 0.7 for o in overlaps):
            kept.append(row)
    assert found.tolist() == [clipped[row] for row in kept[:12]]


def test_the_plus_one_overlap_suppresses_at_the_threshold() -> None:
    pair = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 6]])  # 10 x 10 and 10 x 7: exactly 0.7
    scores = torch.tensor([0.9, 0.8])
    at = ProposalNetwork(small("butd-r101", min_side=0)).propose(scores, pair, (100, 200), 1.0)
    above = ProposalNetwork(small("butd-r101", min_side=0, rpn_iou=0.701)).propose(
        scores, pair, (100, 200), 1.0
    )
    assert (len(at), len(above)) == (1, 2)


def test_no_proposals_are_no_error() -> None:
    tiny = torch.tensor([[3.0, 3, 4, 4]])
    found = ProposalNetwork(small("butd-r101")).propose(torch.ones(1), tiny, (100, 200), 1.0)
    assert found.shape == (0, 4)
