"""The key names of published C4 weights, and what they are called here.

One network was published under four sets of names:

- ``detectron2``: facebookresearch/detectron2 02b5c4e, its model zoo.
- ``py-bottom-up-attention``: airsplay/py-bottom-up-attention 85ec9b7, and ``lxmert/modeling_frcnn.py`` of
  huggingface/transformers-research-projects fccd0cd: detectron2's names and three more for attributes.
- ``bottom-up-attention.pytorch``: MILVLG/bottom-up-attention.pytorch 4dbce86 in caffe mode: detectron2's
  names and three others for attributes.
- ``maskrcnn-benchmark``: microsoft/scene_graph_benchmark 8e14944, which published VinVL.

A file is known by its names and shapes, never by what it is called. Every key is mapped, or dropped for a
reason that stands below, or the file is refused; so is a file that lacks one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from features.backends.c4.network import C4Network
from features.backends.c4.variants import VARIANTS, Variant

__all__ = ["FLAVOURS", "C4Weights", "Flavour", "native_weights"]

_SHOWN = 5
"""Keys named in a message."""


@dataclass(frozen=True, kw_only=True)
class C4Weights:
    """Weights of a C4 detector under native names.

    Attributes:
        variant: Its name in ``VARIANTS``.
        flavour: Its name in ``FLAVOURS``.
        state: float32 tensors; batch norms apart, rows in the file's order. ``rpn.anchors`` where the file
            has anchors.
        dropped: Keys of the file that were not used, each with the reason.
    """

    variant: str
    flavour: str
    state: dict[str, Tensor]
    dropped: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Flavour:
    """How one project calls what is here called otherwise.

    Attributes:
        variants: Those that it published.
        parts: Beginnings of names, native -> published; the first that fits is taken.
        pieces: Parts of names within residual blocks, native -> published.
    """

    variants: tuple[str, ...]
    parts: Mapping[str, str]
    pieces: Mapping[str, str]

    def published(self, native: str) -> str:
        """The project's name of a native one."""
        start = next(start for start in self.parts if native.startswith(start))
        name = self.parts[start] + native.removeprefix(start)
        for ours, theirs in self.pieces.items():
            name = name.replace(ours, theirs)
        return name


_DETECTRON2_PARTS = {
    "trunk.layer1.": "backbone.res2.",
    "trunk.layer2.": "backbone.res3.",
    "trunk.layer3.": "backbone.res4.",
    "trunk.": "backbone.stem.",
    "rpn.conv.": "proposal_generator.rpn_head.conv.",
    "rpn.objectness.": "proposal_generator.rpn_head.objectness_logits.",
    "rpn.deltas.": "proposal_generator.rpn_head.anchor_deltas.",
    "rpn.anchors": "proposal_generator.anchor_generator.cell_anchors.0",
    "head.layer4.": "roi_heads.res5.",
    "head.classes.": "roi_heads.box_predictor.cls_score.",
    "head.boxes.": "roi_heads.box_predictor.bbox_pred.",
}
_DETECTRON2_PIECES = {
    ".bn1.": ".conv1.norm.",
    ".bn2.": ".conv2.norm.",
    ".bn3.": ".conv3.norm.",
    ".downsample.0.": ".shortcut.",
    ".downsample.1.": ".shortcut.norm.",
}

FLAVOURS: dict[str, Flavour] = {
    "detectron2": Flavour(
        variants=("coco-r50", "coco-r101"), parts=_DETECTRON2_PARTS, pieces=_DETECTRON2_PIECES
    ),
    "py-bottom-up-attention": Flavour(
        variants=("frcnn-vg-finetuned",),
        parts=_DETECTRON2_PARTS
        | {
            "attributes.embedding.": "roi_heads.box_predictor.cls_embedding.",
            "attributes.hidden.": "roi_heads.box_predictor.fc_attr.",
            "attributes.scores.": "roi_heads.box_predictor.attr_score.",
        },
        pieces=_DETECTRON2_PIECES,
    ),
    "bottom-up-attention.pytorch": Flavour(
        variants=("butd-r101",),
        parts=_DETECTRON2_PARTS
        | {
            "attributes.embedding.": "roi_heads.box_predictor.cls_embed.",
            "attributes.hidden.": "roi_heads.box_predictor.attr_linear1.",
            "attributes.scores.": "roi_heads.box_predictor.attr_linear2.",
        },
        pieces=_DETECTRON2_PIECES,
    ),
    "maskrcnn-benchmark": Flavour(
        variants=("vinvl-x152",),
        parts={
            "trunk.layer": "backbone.body.layer",
            "trunk.": "backbone.body.stem.",
            "rpn.conv.": "rpn.head.conv.",
            "rpn.objectness.": "rpn.head.cls_logits.",
            "rpn.deltas.": "rpn.head.bbox_pred.",
            "rpn.anchors": "rpn.anchor_generator.cell_anchors.0",
            "head.layer4.": "roi_heads.box.feature_extractor.head.layer4.",
            "head.classes.": "roi_heads.box.predictor.cls_score.",
            "head.boxes.": "roi_heads.box.predictor.bbox_pred.",
            "attributes.embedding.": "attribute.predictor.cls_embedding.",
            "attributes.hidden.": "attribute.predictor.fc_attr.",
            "attributes.scores.": "attribute.predictor.attr_score.",
        },
        pieces={},
    ),
}
"""By the name of the project."""

_DROPPED = {
    r".+\.num_batches_tracked": "counts the steps of a training",
    r"pixel_(mean|std)": "the variant says how pixels are normalised",
}
"""Keys of no use here, as patterns, with the reason."""
_SHARED = re.compile(r"attribute\.feature_extractor\.(.+)")
"""maskrcnn-benchmark saves layer4 twice where the attribute head shares it."""

_REFUSED = {
    r"backbone\.stem\.norm\.|roi_heads\.res5_bn\.": (
        "a pre-activation ResNet, whose batch norms come before its convolutions (bua-caffe-frcn-r152), is "
        "another graph; bua-caffe-frcn-r101 is read"
    ),
    r"backbone\.(fpn|bottom_up\.)|backbone\.body\.conv1\.": (
        "a feature pyramid (FPN) is another graph; --backend torchvision reads torchvision's, --backend "
        "detectron2 detectron2's"
    ),
}
"""Keys that show another graph, as patterns of their beginnings, with what to do."""


def native_weights(path: Path, tensors: Mapping[str, Tensor]) -> C4Weights:
    """Find out whose weights these are and give every one its native name.

    Args:
        path: Where they come from, for messages.
        tensors: The state dict of a file.

    Raises:
        ValueError: No C4 detector of the table, or a key that is missing, unexplained or of another shape.
    """
    if all(key.startswith("module.") for key in tensors):  # saved from within DistributedDataParallel
        tensors = {key.removeprefix("module."): tensor for key, tensor in tensors.items()}
    name, variant = _recognise(path, tensors)
    flavour = FLAVOURS[name]
    wanted = {flavour.published(native): (native, shape) for native, shape in _shapes(variant).items()}
    optional = flavour.published("rpn.anchors")
    dropped = {key: reason for key in tensors if (reason := _reason_to_drop(key, tensors))}
    mapped = [key for key in tensors if key in wanted]
    problems = {
        "missing": [key for key in wanted if key not in tensors and key != optional],
        "unexplained": [key for key in tensors if key not in wanted and key not in dropped],
        "of another shape": [
            f"{key} {tuple(tensors[key].shape)} instead of {wanted[key][1]}"
            for key in mapped
            if tuple(tensors[key].shape) != wanted[key][1]
        ],
    }
    _check(f"{path}: {variant.name} under the names of {name}", problems)
    state = {wanted[key][0]: tensors[key].float() for key in mapped}
    return C4Weights(variant=variant.name, flavour=name, state=state, dropped=dropped)


def _recognise(path: Path, tensors: Mapping[str, Tensor]) -> tuple[str, Variant]:
    """Flavour and variant by the depth of the trunk and the rows of two heads."""
    for pattern, reason in _REFUSED.items():
        if any(re.match(pattern, key) for key in tensors):
            raise ValueError(f"{path}: {reason}")
    found: list[str] = []
    for name, flavour in FLAVOURS.items():
        numbers = _numbers(flavour, tensors)
        for variant in (VARIANTS[variant] for variant in flavour.variants):
            if numbers == _numbers_of(variant):
                return name, variant
        if numbers[1:] != (0, 0):
            found.append(_told(name, numbers))
    known = [_told(v, _numbers_of(VARIANTS[v])) for flavour in FLAVOURS.values() for v in flavour.variants]
    what = found[0] if found else f"{next(iter(tensors), 'nothing')!r}, …"
    raise ValueError(f"{path}: holds no C4 detector known here, but {what}; known are {', '.join(known)}")


def _numbers(flavour: Flavour, tensors: Mapping[str, Tensor]) -> tuple[int, int, int]:
    """Blocks of layer3, rows of the class head and of the objectness head; 0 for what is not there."""
    stage = flavour.published("trunk.layer3.")
    blocks = {key.removeprefix(stage).split(".")[0] for key in tensors if key.startswith(stage)}

    def rows(head: str) -> int:  # by the bias where the weight is missing, so that it is told by name
        names = (flavour.published(f"{head}.{part}") for part in ("weight", "bias"))
        return next((len(tensors[name]) for name in names if name in tensors), 0)

    return len(blocks), rows("head.classes"), rows("rpn.objectness")


def _numbers_of(variant: Variant) -> tuple[int, int, int]:
    logits = 2 if variant.objectness == "pair" else 1
    return variant.blocks[2], variant.classes + 1, variant.cell_anchors * logits


def _told(name: str, numbers: tuple[int, int, int]) -> str:
    blocks, classes, objectness = numbers
    return f"{name} ({blocks} blocks in the third stage, {classes} class and {objectness} objectness rows)"


def _shapes(variant: Variant) -> dict[str, tuple[int, ...]]:
    """Native names and shapes before batch norms are folded into the biases of the convolutions."""
    with torch.device("meta"):
        network = C4Network(variant)
    shapes: dict[str, tuple[int, ...]] = {"rpn.anchors": (variant.cell_anchors, 4)}
    for name, tensor in network.state_dict().items():
        folded = re.fullmatch(r"(.+\.)(?:conv(\d)|downsample)\.bias", name)
        if folded is None:
            shapes[name.replace("downsample.", "downsample.0.")] = tuple(tensor.shape)
            continue
        norm = folded[1] + (f"bn{folded[2]}" if folded[2] else "downsample.1")
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{part}"] = tuple(tensor.shape)
    return shapes


def _reason_to_drop(key: str, tensors: Mapping[str, Tensor]) -> str | None:
    shared = _SHARED.fullmatch(key)
    if shared is not None:
        twin = tensors.get(f"roi_heads.box.feature_extractor.{shared[1]}")
        return "saved twice" if twin is not None and torch.equal(twin, tensors[key]) else None
    return next((reason for pattern, reason in _DROPPED.items() if re.fullmatch(pattern, key)), None)


def _check(what: str, found: Mapping[str, list[str]]) -> None:
    problems = []
    for kind, keys in found.items():
        more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
        if keys:
            problems.append(f"{kind} {', '.join(keys[:_SHOWN])}{more}")
    if problems:
        raise ValueError(
            f"{what}: {'; '.join(problems)}. Wanted is the whole state dict, as its publisher gives it."
        )
