"""Greedy non-maximum suppression of many classes at once: exact, and without a loop over boxes or classes.

A box survives in a class when no survivor of that class that scores better overlaps it. Who may suppress
whom is a short list (most boxes are apart, and most classes score next to nothing), so the list is made
once and the survivors are the fixed point of "alive is who is beaten by nobody alive", begun with all alive:
after k rounds everybody is settled who has at most k - 1 betters above him in a row.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["have_area", "overlap", "survivors"]

_PAIRS_AT_ONCE = 1 << 22  # box pairs x classes held in memory together


def overlap(a: Tensor, b: Tensor, iou: float, *, caffe: bool) -> Tensor:
    """Which boxes are so close that the weaker one goes.

    Args:
        a: (..., 4) float32 xyxy boxes.
        b: The same, broadcast against ``a``.
        iou: Intersection over union from which (``caffe``) or above which (torchvision) they are.
        caffe: Whether the last pixel belongs to a box (+1), as in py-faster-rcnn's ``cpu_nms.pyx`` and
            maskrcnn-benchmark's ``nms_cpu.cpp``.

    Returns:
        (...) bool.
    """
    plus = 1 if caffe else 0
    sides = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2]) + plus
    shared = sides.clamp(min=0).prod(-1)
    ratio = (shared / (_area(a, plus) + _area(b, plus) - shared)).double()  # both compare with a double
    return ratio >= iou if caffe else ratio > iou


def have_area(boxes: Tensor, *, caffe: bool) -> Tensor:
    """(..., 4) xyxy -> (...) bool; with the last pixel in it, a box of no width is one pixel wide."""
    return ((boxes[..., 2:] - boxes[..., :2] + (1 if caffe else 0)) > 0).all(-1)


def _area(boxes: Tensor, plus: int) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2] + plus).prod(-1)


def survivors(scores: Tensor, considered: Tensor, boxes: Tensor, iou: float, *, caffe: bool) -> Tensor:
    """What greedy suppression leaves in every class.

    Among equal scores the earlier row wins. Leaving out every (row, class) below some score changes
    nothing above it, because who suppresses never scores less.

    Args:
        scores: (N, C).
        considered: (N, C) bool; the others neither survive nor suppress.
        boxes: (N, 4), the same for all classes, or (N, C, 4).
        iou: Threshold, see :func:`overlap`.
        caffe: Convention, see :func:`overlap`.

    Returns:
        (N, C) bool, within ``considered``.
    """
    first, second = torch.triu_indices(len(boxes), len(boxes), offset=1, device=boxes.device)
    if boxes.dim() == 2:
        near = overlap(boxes[first], boxes[second], iou, caffe=caffe)
        first, second = first[near], second[near]
    alive = torch.zeros_like(considered)
    step = max(1, _PAIRS_AT_ONCE // max(1, len(first)))
    for start in range(0, considered.shape[1], step):
        part = slice(start, start + step)
        pair, column = (considered[first, part] & considered[second, part]).nonzero().unbind(1)
        one, other = first[pair], second[pair]
        if boxes.dim() == 3:
            near = overlap(boxes[one, start + column], boxes[other, start + column], iou, caffe=caffe)
            one, other, column = one[near], other[near], column[near]
        ahead = scores[one, start + column] >= scores[other, start + column]
        winner, loser = torch.where(ahead, one, other), torch.where(ahead, other, one)
        alive[:, part] = _settle(considered[:, part], winner, loser, column)
    return alive


def _settle(considered: Tensor, winner: Tensor, loser: Tensor, column: Tensor) -> Tensor:
    alive = considered
    while True:
        wins = alive[winner, column]
        settled = considered.clone()
        settled[loser[wins], column[wins]] = False
        if torch.equal(settled, alive):
            return alive
        alive = settled
