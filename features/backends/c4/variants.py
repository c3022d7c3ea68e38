"""What the published C4 detectors have in common is a graph; this table is what they do not.

Numbers are read from the projects that published the weights or run them:

- ``vinvl-x152``: microsoft/scene_graph_benchmark 8e14944 (``sgg_configs/vgattr/vinvl_x152c4.yaml``, the
  defaults it rests on, and its maskrcnn_benchmark), arXiv:2101.00529.
- ``butd-r101``: MILVLG/bottom-up-attention.pytorch 4dbce86 in caffe mode
  (``configs/caffe/test-caffe-r101.yaml``), which runs the converted weights of
  peteanderson80/bottom-up-attention, arXiv:1707.07998.
- ``frcnn-vg-finetuned``: huggingface/transformers-research-projects fccd0cd (``lxmert/modeling_frcnn.py``,
  ``lxmert/processing_image.py``) for the graph and the resize, airsplay/py-bottom-up-attention 85ec9b7 for
  the settings: the ``config.yaml`` beside the weights could not be read. Weights of the same caffe model,
  in detectron2's conventions.
- ``coco-r50``, ``coco-r101``: facebookresearch/detectron2 02b5c4e
  (``configs/COCO-Detection/faster_rcnn_R_{50,101}_C4_3x.yaml``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["STRIDE", "VARIANTS", "Variant"]

STRIDE = 16
"""Pixels of the prepared picture between two cells of the C4 map."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """All that tells one C4 detector from another; pixels are the prepared picture's, where not said."""

    name: str
    """Name in ``VARIANTS``."""

    blocks: tuple[int, int, int, int]
    """Bottlenecks of layer1 to layer3 (the trunk) and layer4 (the head on each region)."""
    channels: int = 64
    """Outputs of the stem; layer1 has 4 times as many, and each further layer twice those before it."""
    groups: int = 1
    """Of the 3x3 convolutions."""
    bottleneck: int = 64
    """Channels of layer1's 3x3 convolutions over all groups."""
    stride_in_1x1: bool
    """Stages halve their map in the first 1x1 convolution (caffe), else in the 3x3 (fb.resnet.torch)."""
    caffe_pool: bool
    """The stem's 3x3 maximum with stride 2 pads nothing and rounds up, else pads 1 and rounds down."""
    norm_eps: float
    """Added to the running variances."""

    crop: Literal["pool", "align", "align-half-pixel"]
    """RoIPool, RoIAlign without the half-pixel shift, or with it (detectron2's ROIAlignV2); samples adapt."""
    crop_size: int = 14
    """Cells a side of a cropped region."""
    res5_dilation: int
    """2 keeps layer4 at ``crop_size`` with dilated 3x3 convolutions, 1 halves it."""

    rpn_channels: int
    """Outputs of the 3x3 convolution on the C4 map."""
    anchor_sizes: tuple[int, ...]
    """Sides of the square anchors."""
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Height / width."""
    anchors: Literal["caffe", "detectron2"]
    """``caffe``: whole pixels around (7.5, 7.5), sides counted x2 - x1 + 1, ratio by ratio. ``detectron2``:
    exact sides around (0, 0), size by size."""
    objectness: Literal["pair", "single"]
    """Two logits an anchor (all backgrounds, then all foregrounds) under a softmax, or one."""
    pre_nms: int = 6000
    """Best anchors that enter suppression."""
    post_nms: int
    """Proposals at most."""
    rpn_iou: float = 0.7
    """Overlap at which a weaker proposal goes."""
    rpn_iou_plus_one: bool
    """IoU counts sides x2 - x1 + 1 and suppresses at the threshold, else x2 - x1 and above it."""
    min_side: float
    """Proposals with a side up to this are dropped; in pixels of the *original* picture."""
    small_first: bool
    """Small proposals are dropped before the best ``pre_nms`` are taken, else after."""

    plus_one: bool
    """Sides are x2 - x1 + 1 when boxes are decoded, and boxes end at width - 1; else x2 - x1 and width."""
    minus_one: bool
    """Decoded boxes end one pixel earlier, which makes up for ``plus_one``."""
    box_weights: tuple[float, float, float, float]
    """Divisors of the head's (dx, dy, dw, dh); those of the proposal network are 1."""

    classes: int
    """Without background."""
    background: Literal["first", "last"]
    """Row of the background in the class head."""
    boxes_of_background: bool
    """The box head has a row for the background too."""
    vocabulary_id: str
    """Names the class list."""
    profile: str
    """Selection profile where none is asked for; it says too whether proposals or refined boxes are kept."""

    attributes: int = 0
    """Without none; 0 is no attribute head."""
    attribute_none: Literal["first", "last"] = "first"
    """Row of none in the attribute head."""
    attribute_none_scored: bool = True
    """None takes its share of the softmax, else it is left out before."""
    attribute_class: Literal["best", "kept"] = "best"
    """Class that feeds the embedding: the best row, which may be background, or what the region is named."""
    attribute_min_score: float = 0.0
    """An attribute up to this score is none."""
    attribute_vocabulary_id: str | None = None
    """Names the attribute list."""

    pixel_mean: tuple[float, float, float]
    """Blue, green, red; subtracted, and nothing is divided."""
    resize: Literal["opencv", "torch", "detectron2", "benchmark"]
    """``opencv``: cv2.resize of float pixels by one factor, bilinear. ``torch``: the same to a rounded size.
    ``detectron2``, ``benchmark``: Pillow's antialiased bilinear on bytes, sizes rounded or cut off."""
    short_side: int
    """The shorter side of a prepared picture, unless the longer would exceed ``long_side``."""
    long_side: int
    """The longer side at most."""

    @property
    def feature_dim(self) -> int:
        """Width of a region's vector."""
        return 32 * self.channels

    @property
    def cell_anchors(self) -> int:
        """Anchors a cell of the C4 map."""
        return len(self.anchor_sizes) * len(self.anchor_ratios)


_VINVL = Variant(
    name="vinvl-x152",
    blocks=(3, 8, 36, 3),
    groups=32,
    bottleneck=256,
    stride_in_1x1=False,
    caffe_pool=False,
    norm_eps=0.0,  # maskrcnn_benchmark's frozen norm adds nothing
    crop="align",
    res5_dilation=1,
    rpn_channels=1024,
    anchor_sizes=(32, 64, 128, 256, 512),
    anchors="caffe",
    objectness="single",
    post_nms=300,
    rpn_iou_plus_one=False,  # its nms is torchvision's
    min_side=0,
    small_first=False,
    plus_one=True,
    minus_one=True,
    box_weights=(10.0, 10.0, 5.0, 5.0),
    classes=1594,
    background="first",
    boxes_of_background=True,
    vocabulary_id="vinvl-1594",
    profile="vinvl",
    attributes=524,
    attribute_class="kept",
    attribute_min_score=0.05,
    attribute_vocabulary_id="vinvl-524-attributes",
    pixel_mean=(103.530, 116.280, 123.675),
    resize="benchmark",
    short_side=600,
    long_side=1000,
)

_BUTD = Variant(
    name="butd-r101",
    blocks=(3, 4, 23, 3),
    stride_in_1x1=True,
    caffe_pool=True,
    norm_eps=1e-5,
    crop="pool",
    res5_dilation=2,
    rpn_channels=512,
    anchor_sizes=(64, 128, 256, 512),
    anchors="caffe",
    objectness="pair",
    post_nms=300,
    rpn_iou_plus_one=True,
    min_side=16,
    small_first=True,
    plus_one=True,
    minus_one=False,
    box_weights=(1.0, 1.0, 1.0, 1.0),
    classes=1600,
    background="first",
    boxes_of_background=True,
    vocabulary_id="vg-1600",
    profile="butd",
    attributes=400,
    attribute_vocabulary_id="vg-400-attributes",
    pixel_mean=(102.9801, 115.9465, 122.7717),
    resize="opencv",
    short_side=600,
    long_side=1000,
)

_FRCNN = replace(
    _BUTD,
    name="frcnn-vg-finetuned",
    anchors="detectron2",
    objectness="single",
    rpn_iou_plus_one=False,
    min_side=0,
    small_first=False,
    plus_one=False,
    box_weights=(10.0, 10.0, 5.0, 5.0),
    background="last",
    boxes_of_background=False,
    profile="agnostic",
    attribute_none="last",
    attribute_none_scored=False,
    resize="torch",
)

_COCO_R50 = Variant(
    name="coco-r50",
    blocks=(3, 4, 6, 3),
    stride_in_1x1=True,
    caffe_pool=False,
    norm_eps=1e-5,
    crop="align-half-pixel",
    res5_dilation=1,
    rpn_channels=1024,
    anchor_sizes=(32, 64, 128, 256, 512),
    anchors="detectron2",
    objectness="single",
    post_nms=1000,
    rpn_iou_plus_one=False,
    min_side=0,
    small_first=False,
    plus_one=False,
    minus_one=False,
    box_weights=(10.0, 10.0, 5.0, 5.0),
    classes=80,
    background="last",
    boxes_of_background=False,
    vocabulary_id="coco-80",
    profile="coco",
    pixel_mean=(103.530, 116.280, 123.675),
    resize="detectron2",
    short_side=800,
    long_side=1333,
)

VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        _VINVL,
        _BUTD,
        _FRCNN,
        _COCO_R50,
        replace(_COCO_R50, name="coco-r101", blocks=(3, 4, 23, 3)),
    )
}
"""Best for captioning first."""
