"""A C4 Faster R-CNN: trunk to stride 16, proposals on its map, the last stage on every proposal.

    picture -> conv1, layer1-3 -> C4 map -> proposals
                                     +-> crops of them -> layer4 -> mean: a region's vector
                                                                      -> class, boxes, attribute

ResNet is arXiv:1512.03385, ResNeXt arXiv:1611.05431; the box and attribute heads are those of
bottom-up attention (arXiv:1707.07998, section 3.1). Parameters have torchvision's names. Batch norms
are folded into the convolutions before them when weights are loaded, since none of them is trained here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor, nn
from torchvision.ops import roi_align, roi_pool

from features.backends.c4.rpn import ProposalNetwork, cell_anchors, clip_boxes, decode_boxes, grid_anchors
from features.backends.c4.variants import STRIDE, Variant

__all__ = ["C4Network", "fold_batch_norms"]

ROI_CHUNK = 64
"""Regions that pass layer4 at once: 1.6 MB an activation and region (2,048 x 14 x 14 floats, four alive), so
0.4 GB instead of the 2 GB of 300 regions; smaller chunks would leave large processors idle."""


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a shortcut, batch norms already folded."""

    def __init__(
        self, n_in: int, n_middle: int, n_out: int, *, variant: Variant, stride: int, dilation: int
    ) -> None:
        super().__init__()
        first, second = (stride, 1) if variant.stride_in_1x1 else (1, stride)
        self.conv1 = nn.Conv2d(n_in, n_middle, 1, first)
        self.conv2 = nn.Conv2d(n_middle, n_middle, 3, second, dilation, dilation, variant.groups)
        self.conv3 = nn.Conv2d(n_middle, n_out, 1)
        self.downsample = nn.Conv2d(n_in, n_out, 1, stride) if n_in != n_out else None

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, n_in, h, w) -> (B, n_out, h / stride, w / stride)."""
        shortcut = hidden if self.downsample is None else self.downsample(hidden)
        hidden = F.relu_(self.conv1(hidden))
        hidden = F.relu_(self.conv2(hidden))
        return F.relu_(self.conv3(hidden).add_(shortcut))


def _layer(variant: Variant, number: int) -> nn.Sequential:
    """Stage 1 to 4 of the residual network."""
    growth = 2 ** (number - 1)
    n_out = 4 * variant.channels * growth
    n_in = variant.channels if number == 1 else n_out // 2
    dilation = variant.res5_dilation if number == 4 else 1
    stride = 1 if number == 1 or dilation > 1 else 2
    return nn.Sequential(
        *(
            Bottleneck(
                n_out if block else n_in,
                variant.bottleneck * growth,
                n_out,
                variant=variant,
                stride=1 if block else stride,
                dilation=dilation,
            )
            for block in range(variant.blocks[number - 1])
        )
    )


class Trunk(nn.Module):
    """Picture -> C4 map."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, variant.channels, 7, 2, 3)
        self.pool = (
            nn.MaxPool2d(3, 2, ceil_mode=True) if variant.caffe_pool else nn.MaxPool2d(3, 2, padding=1)
        )
        self.layer1 = _layer(variant, 1)
        self.layer2 = _layer(variant, 2)
        self.layer3 = _layer(variant, 3)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C, H / 16, W / 16), C = 16 times the stem's channels."""
        hidden = self.pool(F.relu_(self.conv1(pictures)))
        return self.layer3(self.layer2(self.layer1(hidden)))


class Head(nn.Module):
    """What is said of every region: its vector's stage, class logits and box deltas."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        n_boxes = variant.classes + int(variant.boxes_of_background)
        self.layer4 = _layer(variant, 4)
        self.classes = nn.Linear(variant.feature_dim, variant.classes + 1)
        self.boxes = nn.Linear(variant.feature_dim, 4 * n_boxes)


class AttributeHead(nn.Module):
    """A region's vector and class -> attribute logits."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        n_embedding, n_hidden = variant.feature_dim // 8, variant.feature_dim // 4  # 256 and 512 of 2,048
        self.embedding = nn.Embedding(variant.classes + 1, n_embedding)
        self.hidden = nn.Linear(variant.feature_dim + n_embedding, n_hidden)
        self.scores = nn.Linear(n_hidden, variant.attributes + 1)

    def forward(self, vectors: Tensor, rows: Tensor) -> Tensor:
        """(R, D) vectors and (R,) rows of the class head -> (R, attributes + 1)."""
        known = torch.cat([vectors, self.embedding(rows)], dim=1)
        return self.scores(F.relu(self.hidden(known)))


class C4Network(nn.Module):
    """The whole detector; build it with :meth:`from_state`.

    Args:
        variant: What it is.
        amp: Whether convolutions run in bfloat16; everything on boxes and scores stays float32.
    """

    anchors: Tensor

    def __init__(self, variant: Variant, *, amp: bool = False) -> None:
        super().__init__()
        self.variant = variant
        self.precision = torch.bfloat16 if amp else torch.float32
        self.trunk = Trunk(variant)
        self.rpn = ProposalNetwork(variant)
        self.head = Head(variant)
        self.attributes = AttributeHead(variant) if variant.attributes else None
        self.register_buffer("anchors", cell_anchors(variant), persistent=False)  # (A, 4)

    @classmethod
    def from_state(cls, variant: Variant, state: Mapping[str, Tensor], *, amp: bool = False) -> C4Network:
        """The network in evaluation mode on the CPU, from weights in native names (batch norms apart).

        ``rpn.anchors`` (A, 4), where a file brings its own, takes the place of the variant's anchors, as it
        does when the publishers' programs load the file.

        Raises:
            ValueError: A weight is missing, not wanted, or of another shape.
        """
        weights = dict(state)
        anchors = weights.pop("rpn.anchors", cell_anchors(variant)).float()
        with torch.device("meta"):  # no time is spent on random weights
            network = cls(variant, amp=amp)
        try:
            network.load_state_dict(fold_batch_norms(weights, variant.norm_eps), assign=True)
        except (KeyError, RuntimeError) as error:
            raise ValueError(
                f"not the weights of {variant.name}: {str(error).splitlines()[-1].strip()}"
            ) from error
        if anchors.shape != (variant.cell_anchors, 4):
            raise ValueError(
                f"not the weights of {variant.name}: rpn.anchors has shape {tuple(anchors.shape)}, "
                f"wanted is ({variant.cell_anchors}, 4)"
            )
        network.anchors = anchors
        for convolutions in (network.trunk, network.rpn, network.head.layer4):
            convolutions.to(network.precision)
        return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def c4_map(self, picture: Tensor) -> Tensor:
        """(3, H, W) prepared picture -> (1, C, H / 16, W / 16) map, float32."""
        c4 = self.trunk(picture[None].to(self.precision))
        return c4.float().contiguous()  # once, as every crop would otherwise make it for itself

    def proposals(self, c4: Tensor, size: tuple[int, int], scale: float) -> Tensor:
        """(N, 4) boxes on a prepared picture of (height, width), best first; see ``ProposalNetwork``."""
        scores, deltas = self.rpn(c4.to(self.precision))
        anchors = grid_anchors(self.anchors, c4.shape[2], c4.shape[3])
        return self.rpn.propose(scores, decode_boxes(deltas, anchors, self.variant), size, scale)

    def vectors(self, c4: Tensor, boxes: Tensor) -> Tensor:
        """(N, 4) boxes of a map -> (N, D) vectors, float32, N of 1 or more."""
        return torch.cat([self._mean_res5(c4, chunk) for chunk in boxes.split(ROI_CHUNK)])

    def _mean_res5(self, c4: Tensor, boxes: Tensor) -> Tensor:
        size = self.variant.crop_size
        if self.variant.crop == "pool":
            crops = roi_pool(c4, [boxes], size, 1 / STRIDE)
        else:
            half_pixel = self.variant.crop == "align-half-pixel"
            crops = roi_align(c4, [boxes], size, 1 / STRIDE, sampling_ratio=0, aligned=half_pixel)
        maps = self.head.layer4(crops.to(self.precision, memory_format=torch.channels_last))
        return maps.float().mean((2, 3))

    def class_logits(self, vectors: Tensor) -> Tensor:
        """(N, D) -> (N, classes + 1), rows in the order of the weights file."""
        return self.head.classes(vectors)

    def class_probabilities(self, logits: Tensor) -> Tensor:
        """(N, classes + 1) logits -> (N, classes); background has its share but no column."""
        probabilities = logits.softmax(dim=1)
        return probabilities[:, 1:] if self.variant.background == "first" else probabilities[:, :-1]

    def regressed(self, vectors: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, D) vectors of (N, 4) boxes -> (N, classes, 4) boxes refined a class, within the picture."""
        variant = self.variant
        deltas = self.head.boxes(vectors).unflatten(1, (-1, 4))
        if variant.boxes_of_background:
            deltas = deltas[:, 1:] if variant.background == "first" else deltas[:, :-1]
        return clip_boxes(decode_boxes(deltas, boxes[:, None], variant, variant.box_weights), size, variant)

    def attribute_probabilities(self, vectors: Tensor, logits: Tensor, object_ids: Tensor) -> Tensor:
        """(R, attributes) of regions by their vectors, class logits and names; none has no column."""
        variant = self.variant
        if self.attributes is None:
            raise ValueError(f"{variant.name} has no attribute head")
        if variant.attribute_class == "best":
            rows = logits.argmax(dim=1)
        else:
            rows = object_ids + int(variant.background == "first")
        scores = self.attributes(vectors, rows)
        some = slice(1, None) if variant.attribute_none == "first" else slice(None, -1)
        if variant.attribute_none_scored:
            return scores.softmax(dim=1)[:, some]
        return scores[:, some].softmax(dim=1)


def fold_batch_norms(state: Mapping[str, Tensor], eps: float) -> dict[str, Tensor]:
    """Convolutions and batch norms under torchvision's names -> convolutions with biases.

    ``x.convN`` takes ``x.bnN`` in, and ``x.downsample`` is what ``x.downsample.0`` and ``.1`` were.

    Raises:
        KeyError: A batch norm without its convolution, or not whole.
    """
    rest = dict(state)
    folded: dict[str, Tensor] = {}
    for norm in [name.removesuffix(".running_var") for name in state if name.endswith(".running_var")]:
        if norm.endswith("downsample.1"):
            source = norm.removesuffix("1") + "0"
            target = norm.removesuffix(".1")
        else:
            source = target = re.sub(r"bn(\d)$", r"conv\1", norm)
        gain, shift, mean, variance = (
            rest.pop(f"{norm}.{part}").double() for part in ("weight", "bias", "running_mean", "running_var")
        )
        gain = gain / (variance + eps).sqrt()
        folded[f"{target}.weight"] = (
            rest.pop(f"{source}.weight").double() * gain[:, None, None, None]
        ).float()
        folded[f"{target}.bias"] = (shift - mean * gain).float()
    return {**rest, **folded}
