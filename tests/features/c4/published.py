"""State dicts as they were published: names, shapes, and a value of its own for each tensor.

They are written from the projects' models, without the table that is tested. A tensor is one number spread
over its real shape, which takes no memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, tensor

Key = tuple[str, str, tuple[int, ...]]
"""Published name, native name, shape."""

NORM = ("weight", "bias", "running_mean", "running_var")
DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
PREDICTOR = "roi_heads.box_predictor"


def _linear(theirs: str, ours: str, rows: int, columns: tuple[int, ...]) -> Iterator[Key]:
    yield f"{theirs}.weight", f"{ours}.weight", (rows, *columns)
    yield f"{theirs}.bias", f"{ours}.bias", (rows,)


def _norm(theirs: str, ours: str, channels: int) -> Iterator[Key]:
    for part in NORM:
        yield f"{theirs}.{part}", f"{ours}.{part}", (channels,)


def _stage(
    theirs: str, ours: str, number: int, blocks: int, *, style: str, groups: int, width: int
) -> Iterator[Key]:
    """A stage of bottlenecks; ``number`` from 1."""
    middle, out = groups * width * 2 ** (number - 1), 256 * 2 ** (number - 1)
    for block in range(blocks):
        n_in = out if block else (64 if number == 1 else out // 2)
        here, there = f"{ours}.{block}", f"{theirs}.{block}"
        shapes = {1: (middle, n_in, 1, 1), 2: (middle, middle // groups, 3, 3), 3: (out, middle, 1, 1)}
        for i, shape in shapes.items():
            norm = f"conv{i}.norm" if style == "detectron2" else f"bn{i}"
            yield f"{there}.conv{i}.weight", f"{here}.conv{i}.weight", shape
            yield from _norm(f"{there}.{norm}", f"{here}.bn{i}", shape[0])
        if block == 0:
            conv, norm = "downsample.0", "downsample.1"
            if style == "detectron2":
                conv, norm = "shortcut", "shortcut.norm"
            yield f"{there}.{conv}.weight", f"{here}.downsample.0.weight", (out, n_in, 1, 1)
            yield from _norm(f"{there}.{norm}", f"{here}.downsample.1", out)


def _detectron2(
    *, depth: int, hidden: int, objectness: int, anchors: int, classes: int, boxes: int
) -> Iterator[Key]:
    yield "backbone.stem.conv1.weight", "trunk.conv1.weight", (64, 3, 7, 7)
    yield from _norm("backbone.stem.conv1.norm", "trunk.bn1", 64)
    stages = ("backbone.res2", "backbone.res3", "backbone.res4", "roi_heads.res5")
    for number, theirs in enumerate(stages, start=1):
        ours = "head.layer4" if number == 4 else f"trunk.layer{number}"
        yield from _stage(
            theirs, ours, number, DEPTHS[depth][number - 1], style="detectron2", groups=1, width=64
        )
    head = "proposal_generator.rpn_head"
    yield from _linear(f"{head}.conv", "rpn.conv", hidden, (1024, 3, 3))
    yield from _linear(f"{head}.objectness_logits", "rpn.objectness", objectness, (hidden, 1, 1))
    yield from _linear(f"{head}.anchor_deltas", "rpn.deltas", 4 * anchors, (hidden, 1, 1))
    yield from _linear(f"{PREDICTOR}.cls_score", "head.classes", classes, (2048,))
    yield from _linear(f"{PREDICTOR}.bbox_pred", "head.boxes", 4 * boxes, (2048,))


def _attributes(names: tuple[str, str, str], classes: int, attributes: int) -> Iterator[Key]:
    embedding, hidden, scores = names
    yield f"{embedding}.weight", "attributes.embedding.weight", (classes, 256)
    yield from _linear(hidden, "attributes.hidden", 512, (2304,))
    yield from _linear(scores, "attributes.scores", attributes, (512,))


def coco(depth: int) -> list[Key]:
    """detectron2's model zoo, faster_rcnn_R_{50,101}_C4_3x."""
    return list(_detectron2(depth=depth, hidden=1024, objectness=15, anchors=15, classes=81, boxes=80))


def frcnn() -> list[Key]:
    """unc-nlp/frcnn-vg-finetuned, and faster_rcnn_from_caffe_attr.pkl of airsplay."""
    names = (f"{PREDICTOR}.cls_embedding", f"{PREDICTOR}.fc_attr", f"{PREDICTOR}.attr_score")
    return [
        *_detectron2(depth=101, hidden=512, objectness=12, anchors=12, classes=1601, boxes=1600),
        *_attributes(names, 1601, 401),
        ("proposal_generator.anchor_generator.cell_anchors.0", "rpn.anchors", (12, 4)),
    ]


def milvlg() -> list[Key]:
    """bua-caffe-frcn-r101-k10-100.pth."""
    names = (f"{PREDICTOR}.cls_embed", f"{PREDICTOR}.attr_linear1", f"{PREDICTOR}.attr_linear2")
    return [
        *_detectron2(depth=101, hidden=512, objectness=24, anchors=12, classes=1601, boxes=1601),
        *_attributes(names, 1601, 401),
    ]


def vinvl() -> list[Key]:
    """vinvl_vg_x152c4.pth."""
    keys: list[Key] = [("backbone.body.stem.conv1.weight", "trunk.conv1.weight", (64, 3, 7, 7))]
    keys += _norm("backbone.body.stem.bn1", "trunk.bn1", 64)
    for number in (1, 2, 3):
        theirs, ours = f"backbone.body.layer{number}", f"trunk.layer{number}"
        keys += _stage(theirs, ours, number, DEPTHS[152][number - 1], style="torch", groups=32, width=8)
    box = "roi_heads.box"
    keys += _stage(
        f"{box}.feature_extractor.head.layer4", "head.layer4", 4, 3, style="torch", groups=32, width=8
    )
    keys += _linear("rpn.head.conv", "rpn.conv", 1024, (1024, 3, 3))
    keys += _linear("rpn.head.cls_logits", "rpn.objectness", 15, (1024, 1, 1))
    keys += _linear("rpn.head.bbox_pred", "rpn.deltas", 60, (1024, 1, 1))
    keys += _linear(f"{box}.predictor.cls_score", "head.classes", 1595, (2048,))
    keys += _linear(f"{box}.predictor.bbox_pred", "head.boxes", 6380, (2048,))
    there = "attribute.predictor"
    keys += _attributes((f"{there}.cls_embedding", f"{there}.fc_attr", f"{there}.attr_score"), 1595, 525)
    keys.append(("rpn.anchor_generator.cell_anchors.0", "rpn.anchors", (15, 4)))
    return keys


def numbered(keys: list[Key]) -> dict[str, Tensor]:
    """The file's state dict: tensor i is i all over."""
    return {theirs: tensor(float(i)).expand(shape) for i, (theirs, _, shape) in enumerate(keys)}
