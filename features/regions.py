"""From what a detector sees to the regions that are kept: one selection rule a profile.

A Faster R-CNN head answers every proposal with a distribution over its classes and one
refined box a class. Captioning wants something else than detection: one row a region (not
one a class), always enough rows to describe the picture, and the best ones first, because
readers cut the list at the front (spec of Oscar: the first 50 rows are read, unsorted).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torchvision.ops import nms

__all__ = ["COCO", "MINI", "KeptRegions", "Selection", "select_regions"]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which regions of a picture are kept (rule of Anderson et al., arXiv:1707.07998, section 3.1).

    Raises:
        ValueError: A number outside its range, or ``min_regions`` above ``max_regions``.
    """

    profile: str
    """Name under which the numbers are recorded in a regions file."""
    min_score: float
    """Regions whose best class scores below this are dropped; in [0, 1]."""
    min_regions: int
    """The best so many are kept whatever they score, as far as suppression leaves so many."""
    max_regions: int
    """Never more than this many."""
    nms_iou: float
    """A region that overlaps a better one by more than this (IoU, whatever the classes) goes; in (0, 1]."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_score <= 1.0:
            raise ValueError(f"min_score must lie in [0, 1], got {self.min_score}")
        if not 0.0 < self.nms_iou <= 1.0:
            raise ValueError(f"nms_iou must lie in (0, 1], got {self.nms_iou}")
        if not 1 <= self.min_regions <= self.max_regions:
            raise ValueError(
                f"1 <= min_regions <= max_regions is wanted, got {self.min_regions} and {self.max_regions}"
            )

    def description(self) -> dict[str, str | float]:
        """Every number of the rule, for a regions file and its fingerprint."""
        return asdict(self)


MINI = Selection(profile="mini", min_score=0.2, min_regions=16, max_regions=36, nms_iou=0.5)
"""Few classes, so weak regions are kept too: 16 rows cover what the 20 classes do not name."""

COCO = Selection(profile="coco", min_score=0.2, min_regions=10, max_regions=100, nms_iou=0.5)
"""The 10 to 100 regions above 0.2 of bottom-up attention, over COCO's 80 classes."""


@dataclass(frozen=True, kw_only=True)
class KeptRegions:
    """The regions kept of one picture, score-descending.

    Attributes:
        boxes: (R, 4) float32, xyxy in the pixels of the detector's input.
        object_ids: (R,) int64, best class, background not counted (0 is the first object).
        scores: (R,) float32, probability of that class.
    """

    boxes: Tensor
    object_ids: Tensor
    scores: Tensor


def select_regions(probabilities: Tensor, boxes: Tensor, selection: Selection) -> KeptRegions:
    """Keep the regions of one picture that its captioner shall read.

    Each proposal is taken with its best class and that class's refined box; one suppression over
    all classes then removes the same thing seen twice.

    Args:
        probabilities: (N, C) class probabilities of N proposals, without the background column.
        boxes: (N, C, 4) refined xyxy boxes a class, clipped to the picture.
        selection: The rule.

    Returns:
        Between 0 and ``max_regions`` rows; at least ``min_regions`` where suppression leaves as many.
        Empty boxes (no width or no height after clipping) are never kept.
    """
    scores, object_ids = probabilities.float().max(dim=1)  # (N,), (N,)
    best = boxes[torch.arange(len(boxes), device=boxes.device), object_ids].float()  # (N, 4)
    solid = ((best[:, 2] > best[:, 0]) & (best[:, 3] > best[:, 1])).nonzero().squeeze(1)
    scores, object_ids, best = scores[solid], object_ids[solid], best[solid]
    kept = nms(best, scores, selection.nms_iou)[: selection.max_regions]  # sorted by score
    n_sure = int((scores[kept] >= selection.min_score).sum())
    kept = kept[: max(n_sure, selection.min_regions)]
    return KeptRegions(boxes=best[kept], object_ids=object_ids[kept], scores=scores[kept])
