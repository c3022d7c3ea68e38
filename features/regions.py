"""From what a detector sees to the regions that are kept: one selection rule a profile.

A Faster R-CNN head answers every proposal with a distribution over its classes and one
refined box a class. Captioning wants something else than detection: one row a region (not
one a class), always enough rows to describe the picture, and the best ones first, because
readers cut the list at the front (spec of Oscar: the first 50 rows are read, unsorted).

Rows are score-descending in every profile; among equals the earlier proposal comes first, which is
the one that the proposal network ranked higher. (The published codes leave equals to an unstable sort,
and bottom-up attention leaves its rows in the order of the proposals unless it cuts.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from features.suppression import have_area, survivors

__all__ = [
    "COCO",
    "MINI",
    "PROFILES",
    "KeptRegions",
    "Selection",
    "choose_selection",
    "keep_all",
    "select_regions",
    "top_classes",
]

Suppression = Literal["agnostic", "class"]
TagRule = Literal["raw", "surviving"]
BoxSource = Literal["regressed", "proposal"]

_IOU_STEP = 0.1  # by which airsplay/py-bottom-up-attention raises its threshold
_SUPPRESSED, _NO_AREA = -1.0, -2.0  # as scores: below every probability
_SMALL = 1e-3  # below this score a search for enough regions looks at all there is


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which regions of a picture are kept (rule of Anderson et al., arXiv:1707.07998, section 3.1).

    Raises:
        ValueError: A number outside its range, an unknown word, or ``min_regions`` above ``max_regions``.
    """

    profile: str
    """Name under which the numbers are recorded in a regions file."""
    min_score: float
    """Regions whose best class (of those that survive) scores below this are dropped; in [0, 1]."""
    min_regions: int
    """The best so many are kept whatever they score, as far as suppression leaves so many."""
    max_regions: int
    """Never more than this many."""
    nms_iou: float
    """A region that overlaps a better one by more than this (IoU) goes; in (0, 1]."""
    suppression: Suppression = "agnostic"
    """``agnostic``: once, each region with its best class. ``class``: in every class by itself; a region is
    as good as the best class it survives in."""
    caffe_overlap: bool = False
    """The last pixel belongs to a box (+1) and the threshold itself suppresses, as on the CPU in caffe and in
    maskrcnn-benchmark; otherwise torchvision's: plain areas, only what is above the threshold."""
    nms_iou_limit: float | None = None
    """Where fewer than ``min_regions`` are left, the threshold of agnostic suppression is raised by 0.1 at
    a time up to this."""
    tag: TagRule = "raw"
    """Class that is recorded: the best of all, or the best of those that a region survives in. A region
    that survives in no class has no ``surviving`` tag and is never kept; by ``raw`` it may fill up to
    ``min_regions``, last of all."""
    box_source: BoxSource = "regressed"
    """Box that is recorded and compared: refined by the head, or the proposal that the vector is of."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_score <= 1.0:
            raise ValueError(f"min_score must lie in [0, 1], got {self.min_score}")
        if not 0.0 < self.nms_iou <= 1.0:
            raise ValueError(f"nms_iou must lie in (0, 1], got {self.nms_iou}")
        if not 1 <= self.min_regions <= self.max_regions:
            raise ValueError(
                f"1 <= min_regions <= max_regions is wanted, got {self.min_regions} and {self.max_regions}"
            )
        words = {"suppression": Suppression, "tag": TagRule, "box_source": BoxSource}
        for name, choices in words.items():
            if getattr(self, name) not in get_args(choices):
                raise ValueError(f"{name} is {' or '.join(get_args(choices))}, got {getattr(self, name)!r}")
        if self.nms_iou_limit is not None and self.suppression != "agnostic":
            raise ValueError("nms_iou_limit belongs to agnostic suppression; leave it out")

    def description(self) -> dict[str, str | float]:
        """Every number of the rule, for a regions file and its fingerprint.

        What is at its default stays out, so that files from before it existed keep their fingerprint.
        """
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}


MINI = Selection(profile="mini", min_score=0.2, min_regions=16, max_regions=36, nms_iou=0.5)
"""Few classes, so weak regions are kept too: 16 rows cover what the 20 classes do not name."""

COCO = Selection(profile="coco", min_score=0.2, min_regions=10, max_regions=100, nms_iou=0.5)
"""The 10 to 100 regions above 0.2 of bottom-up attention, over COCO's 80 classes."""

BUTD = Selection(
    profile="butd",
    min_score=0.2,
    min_regions=10,
    max_regions=100,
    nms_iou=0.3,
    suppression="class",
    caffe_overlap=True,
    tag="raw",
    box_source="proposal",
)
"""``tools/generate_tsv.py`` of peteanderson80/bottom-up-attention; tags as MILVLG's port records them."""

VINVL = replace(BUTD, profile="vinvl", tag="surviving")
"""scene_graph_benchmark with ``NMS_FILTER 1`` and ``IGNORE_BOX_REGRESSION True``.

Its loop that halves the threshold, up to ten times while fewer than ``min_regions`` are found, is not
here because it never finds more: below the minimum its filter already returns the best of all that have
a surviving class, whatever the threshold (``filter_results_peter``; a test runs the loop).
"""

AGNOSTIC = Selection(
    profile="agnostic", min_score=0.0, min_regions=36, max_regions=36, nms_iou=0.3, nms_iou_limit=0.9
)
"""The 36 regions of airsplay/py-bottom-up-attention and of LXMERT's ``frcnn-vg-finetuned``."""

PROFILES: dict[str, Selection] = {rule.profile: rule for rule in (VINVL, BUTD, AGNOSTIC, COCO, MINI)}
"""Selection rules by name."""


def choose_selection(default: Selection, profile: str | None, overrides: Mapping[str, Any]) -> Selection:
    """The rule that was asked for.

    Args:
        default: Taken where no profile is named.
        profile: A name of ``PROFILES``, or None.
        overrides: Fields of :class:`Selection` that differ from the profile's.

    Raises:
        ValueError: An unknown profile or field, or numbers that do not fit together.
    """
    if profile is not None and profile not in PROFILES:
        raise ValueError(f"unknown selection profile {profile!r}; choose from {', '.join(sorted(PROFILES))}")
    known = [field.name for field in fields(Selection) if field.name != "profile"]
    for name in overrides:
        if name not in known:
            raise ValueError(f"a selection has no {name!r}; choose from {', '.join(known)}")
    rule = default if profile is None else PROFILES[profile]
    numbers = {name: overrides.get(name, getattr(rule, name)) for name in ("min_regions", "max_regions")}
    if numbers["min_regions"] > numbers["max_regions"]:
        for name in numbers.keys() - overrides.keys():
            raise ValueError(
                f"1 <= min_regions <= max_regions is wanted, got {' and '.join(map(str, numbers.values()))}: "
                f"{name} {numbers[name]} is the profile's ({rule.profile}); give --selection.{name} too"
            )
    return replace(rule, **overrides)


@dataclass(frozen=True, kw_only=True)
class KeptRegions:
    """The regions kept of one picture, score-descending.

    Attributes:
        boxes: (R, 4) float32, xyxy in the pixels of the detector's input.
        object_ids: (R,) int64, the class recorded, background not counted (0 is the first object).
        scores: (R,) float32, probability of that class.
        rows: (R,) int64, which of the N proposals each is.
    """

    boxes: Tensor
    object_ids: Tensor
    scores: Tensor
    rows: Tensor


def select_regions(probabilities: Tensor, boxes: Tensor, selection: Selection) -> KeptRegions:
    """Keep the regions of one picture that its captioner shall read.

    Args:
        probabilities: (N, C) class probabilities of N proposals, without the background column.
        boxes: xyxy boxes clipped to the picture, of the rule's ``box_source``: (N, 4), or (N, C, 4) refined
            a class. Suppression in every class takes each class's own; where the tag is ``raw``, and in
            agnostic suppression, a region has one box, that of its best class.
        selection: The rule.

    Returns:
        Between 0 and ``max_regions`` rows; at least ``min_regions`` where suppression leaves as many.
        Boxes without area (after clipping) are never kept.
    """
    probabilities, boxes = probabilities.float(), boxes.float()
    every = torch.arange(len(boxes), device=boxes.device)
    object_ids = probabilities.argmax(dim=1)  # (N,); the first of equals
    if boxes.dim() == 3 and (selection.suppression == "agnostic" or selection.tag == "raw"):
        boxes = boxes[every, object_ids]
    if selection.suppression == "agnostic":
        strength = _suppress_once(probabilities[every, object_ids], boxes, selection)
    else:
        strength, surviving = _suppress_by_class(probabilities, boxes, selection)
        object_ids = surviving if selection.tag == "surviving" else object_ids
    if boxes.dim() == 3:
        boxes = boxes[every, object_ids]

    n_sure = int((strength >= selection.min_score).sum())
    n_kept = min(max(n_sure, selection.min_regions), selection.max_regions)
    rows = strength.argsort(descending=True, stable=True)[:n_kept]
    may_fill = selection.suppression == "class" and selection.tag == "raw"
    rows = rows[strength[rows] >= (_SUPPRESSED if may_fill else 0.0)]
    scores = probabilities[rows, object_ids[rows]]
    scores, order = scores.sort(descending=True, stable=True)  # of raw tags; others are sorted already
    rows = rows[order]
    return KeptRegions(boxes=boxes[rows], object_ids=object_ids[rows], scores=scores, rows=rows)


def keep_all(probabilities: Tensor, boxes: Tensor) -> KeptRegions:
    """Every box of one picture by its best class: for boxes that were given, not found.

    Args:
        probabilities: (R, C) class probabilities of the boxes, without the background column.
        boxes: (R, 4) xyxy; kept as they are.

    Returns:
        R rows, score-descending, the earlier of equals first.
    """
    scores, object_ids = probabilities.float().max(dim=1)
    scores, rows = scores.sort(descending=True, stable=True)
    return KeptRegions(boxes=boxes[rows], object_ids=object_ids[rows], scores=scores, rows=rows)


def top_classes(probabilities: Tensor, k: int) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """The best classes of kept regions, for files that ask for more than one.

    Args:
        probabilities: (R, C), rows of the regions.
        k: K, at most C; 0 for none.

    Returns:
        (R, K) int32 ids and (R, K) float16 scores, best first, the lower id among equals; None for none.
    """
    if k == 0:
        return None, None
    scores, ids = probabilities.sort(dim=1, descending=True, stable=True)
    return ids[:, :k].int().cpu().numpy(), scores[:, :k].half().cpu().numpy()


def _suppress_once(scores: Tensor, boxes: Tensor, selection: Selection) -> Tensor:
    """(N,) best scores and (N, 4) boxes -> (N,) strength: the score of who is left, negative otherwise."""
    solid = have_area(boxes, caffe=selection.caffe_overlap)
    iou = selection.nms_iou
    while True:
        left = survivors(scores[:, None], solid[:, None], boxes, iou, caffe=selection.caffe_overlap)[:, 0]
        higher = round(iou + _IOU_STEP, 6)
        if selection.nms_iou_limit is None or higher > selection.nms_iou_limit:
            break
        if int(left.sum()) >= selection.min_regions:
            break
        iou = higher
    return scores.where(left, scores.new_tensor(_SUPPRESSED))


def _suppress_by_class(probabilities: Tensor, boxes: Tensor, selection: Selection) -> tuple[Tensor, Tensor]:
    """(N, C) and (N, 4) or (N, C, 4) -> (N,) score and (N,) id of the best class each survives in.

    Only what scores at least ``min_score`` is looked at, which is exact for all of it (see
    :func:`survivors`). Where too few regions are among it, the search goes on among weaker ones.
    """
    least = selection.min_score
    while True:
        strength, surviving = _best_surviving(probabilities, boxes, least, selection)
        if least == 0.0 or int((strength >= least).sum()) >= selection.min_regions:
            return strength, surviving
        least = least / 8 if least > _SMALL else 0.0


def _best_surviving(
    probabilities: Tensor, boxes: Tensor, least: float, selection: Selection
) -> tuple[Tensor, Tensor]:
    """The same among classes that score at least ``least``; others count as suppressed."""
    columns = (probabilities >= least).any(dim=0).nonzero().squeeze(1)  # (C',), few
    if len(columns) == 0:
        return probabilities.new_full((len(boxes),), _SUPPRESSED), boxes.new_zeros(len(boxes)).long()
    scores = probabilities[:, columns]  # (N, C')
    own_boxes = boxes[:, columns] if boxes.dim() == 3 else boxes
    solid = have_area(own_boxes, caffe=selection.caffe_overlap)
    solid = solid if boxes.dim() == 3 else solid[:, None]
    alive = survivors(
        scores, (scores >= least) & solid, own_boxes, selection.nms_iou, caffe=selection.caffe_overlap
    )
    masked = scores.where(alive, scores.new_tensor(_SUPPRESSED))
    best = masked.argmax(dim=1)  # (N,)
    strength = masked.gather(1, best[:, None]).squeeze(1)
    if boxes.dim() == 2:
        strength = strength.where(solid[:, 0], strength.new_tensor(_NO_AREA))
    return strength, columns[best]
