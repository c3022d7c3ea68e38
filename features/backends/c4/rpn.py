"""Proposals: anchors, the deltas that move them, the boxes that are left (arXiv:1506.01497, section 3)."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor, nn
from torchvision.ops import nms

from features.backends.c4.variants import STRIDE, Variant

__all__ = ["ProposalNetwork", "cell_anchors", "clip_boxes", "decode_boxes", "grid_anchors"]

_MAX_GROWTH = math.log(1000 / 16)
"""Deltas of a side are cut here, before ``exp``: 16 pixels never become more than 1,000."""


def cell_anchors(variant: Variant) -> Tensor:
    """(A, 4) anchors of the cell at the origin, in the order of the proposal network's channels.

    ``caffe`` is py-faster-rcnn's: the sides of a 16-pixel window are rounded once a ratio, then scaled.
    """
    sizes, ratios = variant.anchor_sizes, variant.anchor_ratios
    if variant.anchors == "detectron2":
        sides = [(size / math.sqrt(r), size * math.sqrt(r)) for size in sizes for r in ratios]
        return torch.tensor([[-w / 2, -h / 2, w / 2, h / 2] for w, h in sides])
    boxes = []
    centre = (STRIDE - 1) / 2
    for ratio in ratios:
        width = round(math.sqrt(STRIDE**2 / ratio))
        height = round(width * ratio)  # of halves the even neighbour, as numpy rounds
        for size in sizes:
            reach_x, reach_y = ((side * size / STRIDE - 1) / 2 for side in (width, height))
            boxes.append([centre - reach_x, centre - reach_y, centre + reach_x, centre + reach_y])
    return torch.tensor(boxes)


def grid_anchors(cells: Tensor, height: int, width: int) -> Tensor:
    """(A, 4) anchors of one cell -> (height * width * A, 4) of a map, row by row, anchors innermost."""
    y, x = torch.meshgrid(
        torch.arange(height, device=cells.device), torch.arange(width, device=cells.device), indexing="ij"
    )
    shifts = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4) * STRIDE
    return (cells + shifts).reshape(-1, 4)


def decode_boxes(
    deltas: Tensor, boxes: Tensor, variant: Variant, weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
) -> Tensor:
    """Boxes moved and scaled by deltas (arXiv:1311.2524, appendix C).

    Args:
        deltas: (..., 4) dx, dy in sides of the box and the logarithms of dw, dh; each times its weight.
        boxes: (..., 4) xyxy, of a shape that broadcasts.
        variant: For its convention of sides and ends.
        weights: Divisors of the deltas.
    """
    offset = float(variant.plus_one)
    sides = boxes[..., 2:] - boxes[..., :2] + offset
    centres = boxes[..., :2] + 0.5 * sides
    deltas = deltas / deltas.new_tensor(weights)
    centres = deltas[..., :2] * sides + centres
    halves = 0.5 * (deltas[..., 2:].clamp(max=_MAX_GROWTH).exp() * sides)
    return torch.cat([centres - halves, centres + halves - float(variant.minus_one)], dim=-1)


def clip_boxes(boxes: Tensor, size: tuple[int, int], variant: Variant) -> Tensor:
    """(..., 4) boxes cut to a prepared picture of (height, width)."""
    height, width = (side - int(variant.plus_one) for side in size)
    return boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))


class ProposalNetwork(nn.Module):
    """C4 map in, boxes that may hold an object out."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        n_logits = variant.cell_anchors * (2 if variant.objectness == "pair" else 1)
        self.variant = variant
        self.conv = nn.Conv2d(16 * variant.channels, variant.rpn_channels, 3, padding=1)
        self.objectness = nn.Conv2d(variant.rpn_channels, n_logits, 1)
        self.deltas = nn.Conv2d(variant.rpn_channels, 4 * variant.cell_anchors, 1)

    def forward(self, c4: Tensor) -> tuple[Tensor, Tensor]:
        """(1, C, h, w) map -> (h * w * A,) objectness, (h * w * A, 4) deltas, float32, anchors innermost."""
        hidden = F.relu_(self.conv(c4))
        logits = self.objectness(hidden).float()[0]  # (A or 2A, h, w)
        if self.variant.objectness == "pair":
            logits = logits.unflatten(0, (2, -1)).softmax(0)[1]
        deltas = self.deltas(hidden).float()[0].unflatten(0, (-1, 4))  # (A, 4, h, w)
        return logits.permute(1, 2, 0).reshape(-1), deltas.permute(2, 3, 0, 1).reshape(-1, 4)

    def propose(self, scores: Tensor, boxes: Tensor, size: tuple[int, int], scale: float) -> Tensor:
        """Scored boxes of one picture -> its proposals, best first.

        Args:
            scores: (K,) objectness.
            boxes: (K, 4) decoded anchors.
            size: Height and width of the prepared picture.
            scale: Of the prepared picture to the original, for ``min_side``.

        Returns:
            (N, 4), N at most ``post_nms``.
        """
        variant = self.variant
        boxes = clip_boxes(boxes, size, variant)
        # a caffe box of one pixel has x1 = x2 and is empty, however small ``scale`` makes the bound
        smallest = max(variant.min_side * scale, 1.0) if variant.min_side else 0.0
        solid = (boxes[:, 2:] - boxes[:, :2] + float(variant.plus_one) > smallest).all(dim=1)
        if variant.small_first:
            scores, boxes, solid = scores[solid], boxes[solid], solid[solid]
        scores, order = scores.sort(descending=True, stable=True)
        best = order[: variant.pre_nms]
        keep = solid[best]
        return _suppress(boxes[best[keep]], scores[: len(best)][keep], variant)[: variant.post_nms]


def _suppress(boxes: Tensor, scores: Tensor, variant: Variant) -> Tensor:
    if not variant.rpn_iou_plus_one:
        return boxes[nms(boxes, scores, variant.rpn_iou)]
    # ends moved by one make torchvision's sides x2 - x1 + 1; above the number before is at or above
    threshold = np.nextafter(np.float32(variant.rpn_iou), np.float32(0))
    return boxes[nms(boxes + boxes.new_tensor([0, 0, 1, 1]), scores, float(threshold))]
