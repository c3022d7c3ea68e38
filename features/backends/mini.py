"""The mini detector: a Faster R-CNN small enough to travel with the package.

    picture, squashed to 320 x 320
       -> stem and blocks 0-2 of an ImageNet EfficientNet-Lite0, frozen     (stride 8)
            -> blocks 3-6 and head as ImageNet left them                    -> appearance vectors
            -> a copy of blocks 3-6, trained for detection -> FPN -> RPN -> boxes and classes

The late blocks exist twice because detection and captioning want different things of them:
training on 20 classes teaches the copy where those 20 are, and would make the other one forget
the thousand that a caption may speak of. The trunk is `tf_efficientnet_lite0` of timm
(EfficientNet, arXiv:1905.11946); the detector is Faster R-CNN (arXiv:1506.01497) with a feature
pyramid (arXiv:1612.03144), proposal and head code from torchvision.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign, roi_align
from torchvision.ops import boxes as box_ops

from features.backends.base import Backend, Detections, exact_convolutions, file_sha256
from features.regions import MINI, Selection, keep_all, select_regions, top_classes
from features.vocabularies import VOC_CLASSES

__all__ = ["MiniBackend", "MiniDetector", "SquashPreprocessor", "load_trunk", "normalise"]

INPUT_SIZE = 320
"""Side in pixels of the square every picture is squashed to."""
FEATURE_DIM = 1280
"""Width of EfficientNet-Lite0's last feature map."""
_PYRAMID_WIDTH = 128
_SHARED_BLOCKS = 3  # blocks 0-2: edges and textures, the same for both branches
_STRIDE_16, _STRIDE_32 = 4, 6  # the last block of each resolution


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    """Kept: none can be started where memory is short, and then a smaller batch shall still do."""
    return ThreadPoolExecutor(count, thread_name_prefix="mini")


@dataclass(frozen=True)
class SquashPreprocessor:
    """RGB picture -> (3, size, size) uint8; the aspect ratio is given up.

    One fixed shape makes every batch exact (no padding, no buckets). Bytes, because pictures travel
    between processes: :func:`normalise` comes after.
    """

    size: int = INPUT_SIZE

    def __call__(self, image: Image.Image) -> Tensor:
        """Squash one picture."""
        squashed = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.asarray(squashed).transpose(2, 0, 1).copy())


def normalise(pixels: Tensor) -> Tensor:
    """Bytes 0..255 -> float32 in (-1, 1), the input of the Lite models' own training.

    (x - 127) / 128 is from tensorflow/tpu, efficientnet/lite.
    """
    return (pixels.float() - 127.0) / 128.0


def fold_batch_norm(module: nn.Module) -> None:
    """Put every batch norm into the convolution before it; only its activation stays.

    Statistics stay ImageNet's anyway (eight pictures a batch cannot better them), and a folded
    convolution is one pass over memory where there were three. The folded biases are not trained.
    """
    before: tuple[str, nn.Module] | None = None
    for name, child in module.named_children():
        if isinstance(child, BatchNormAct2d) and before is not None and isinstance(before[1], nn.Conv2d):
            setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
            setattr(module, name, child.act)
        fold_batch_norm(child)
        before = (name, child)


def trunk_parts(trunk: nn.Module) -> tuple[nn.Sequential, list[nn.Module], nn.Sequential]:
    """Of a folded trunk: stem and blocks 0-2; blocks 3-6; the head that makes 1,280 channels."""
    part = dict(trunk.named_children())
    blocks = list(part["blocks"].children())
    shared = nn.Sequential(part["conv_stem"], part["bn1"], *blocks[:_SHARED_BLOCKS])
    return shared, blocks[_SHARED_BLOCKS:], nn.Sequential(part["conv_head"], part["bn2"])


class MiniDetector(nn.Module):
    """Both branches; losses in training, proposals with class scores and appearance otherwise."""

    def __init__(self, n_classes: int = len(VOC_CLASSES)) -> None:
        super().__init__()
        trunk = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
        fold_batch_norm(trunk.eval())
        self.shared, late, head = trunk_parts(trunk)
        self.appearance = nn.Sequential(*late, *head)
        self.detection = copy.deepcopy(nn.ModuleList(late))
        self.pyramid = FeaturePyramidNetwork([40, 112, 320], _PYRAMID_WIDTH)
        sizes = ((24, 44), (72, 110), (160, 250))  # of 320 pixels, for strides 8, 16, 32
        anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 3)
        self.rpn = RegionProposalNetwork(
            anchors,
            RPNHead(_PYRAMID_WIDTH, anchors.num_anchors_per_location()[0]),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n={"training": 600, "testing": 400},
            post_nms_top_n={"training": 400, "testing": 150},
            nms_thresh=0.7,
        )
        self.heads = RoIHeads(
            MultiScaleRoIAlign(["0", "1", "2"], output_size=7, sampling_ratio=2),
            TwoMLPHead(_PYRAMID_WIDTH * 7 * 7, 512),
            FastRCNNPredictor(512, n_classes + 1),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=64,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            score_thresh=0.01,
            nms_thresh=0.5,
            detections_per_img=100,
        )
        for frozen in (self.shared, self.appearance):
            frozen.requires_grad_(False)
        for part in (self.shared, self.appearance, self.detection):
            part.to(memory_format=torch.channels_last)  # depthwise convolutions are several times faster so

    def _pyramid(self, shared: Tensor) -> dict[str, Tensor]:
        levels, hidden = {"0": shared}, shared
        for number, block in enumerate(self.detection, _SHARED_BLOCKS):
            hidden = block(hidden)
            if number == _STRIDE_16:
                levels["1"] = hidden
            elif number == _STRIDE_32:
                levels["2"] = hidden
        # torch's 3 x 3 convolutions train seven times faster contiguous, the depthwise ones channels-last
        return dict(self.pyramid({name: level.contiguous() for name, level in levels.items()}))

    def _pooled(self, levels: dict[str, Tensor], proposals: list[Tensor], size: tuple[int, int]) -> Tensor:
        """The regions' part of the levels, (sum N, 128, 7, 7).

        On a processor torchvision's RoIAlign uses one core, which takes a sixth of the detector's time: there
        each picture's is a thread's.
        """

        def pooled(pictures: slice) -> Tensor:
            own = {name: level[pictures] for name, level in levels.items()}
            boxes = proposals[pictures]
            found: Tensor = self.heads.box_roi_pool(own, boxes, [size] * len(boxes))
            return found

        n_threads = torch.get_num_threads()
        if levels["0"].device.type != "cpu" or n_threads == 1:
            return pooled(slice(None))
        one_by_one = (slice(number, number + 1) for number in range(len(proposals)))
        return torch.cat(list(_threads(n_threads).map(pooled, one_by_one)))

    def losses(self, batch: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """The four Faster R-CNN losses of a (B, 3, H, W) batch.

        Args:
            batch: Prepared pictures.
            targets: For each picture ``boxes`` (N, 4) xyxy in input pixels and ``labels`` (N,),
                1 being the first class.
        """
        with torch.no_grad():
            shared = self.shared(batch)
        levels = self._pyramid(shared)
        images = ImageList(batch, [tuple(batch.shape[-2:])] * len(batch))
        proposals, rpn_losses = self.rpn(images, levels, targets)
        _, head_losses = self.heads(levels, proposals, images.image_sizes, targets)
        return {**rpn_losses, **head_losses}

    def detections(self, batch: Tensor) -> list[dict[str, Tensor]]:
        """Detections a class (``boxes``, ``labels`` from 1, ``scores``), as a detector is scored."""
        images = ImageList(batch, [tuple(batch.shape[-2:])] * len(batch))
        levels = self._pyramid(self.shared(batch))
        proposals, _ = self.rpn(images, levels)
        results, _ = self.heads(levels, proposals, images.image_sizes)
        return list(results)

    def forward(
        self, batch: Tensor, proposals: list[Tensor] | None = None
    ) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Everything that region selection needs.

        Args:
            batch: (B, 3, H, W) prepared pictures.
            proposals: A picture, (N, 4) boxes in prepared pixels; by default those of the RPN.

        Returns:
            Per picture the class probabilities (N, C) without background and the clipped boxes
            (N, C, 4) of its N proposals; for all pictures the appearance map (B, 1280, H/32, W/32).
        """
        shared = self.shared(batch)
        size = (batch.shape[-2], batch.shape[-1])
        images = ImageList(batch, [size] * len(batch))
        levels = self._pyramid(shared)
        if proposals is None:
            proposals, _ = self.rpn(images, levels)
        pooled = self.heads.box_head(self._pooled(levels, proposals, size))
        logits, deltas = self.heads.box_predictor(pooled)
        boxes = self.heads.box_coder.decode(deltas, proposals)
        boxes = boxes.reshape(len(logits), logits.shape[1], 4)[
            :, 1:
        ]  # (sum N, C, 4); decode forgets it at N = 0
        boxes = box_ops.clip_boxes_to_image(boxes, size)
        counts = [len(p) for p in proposals]
        probabilities = logits.softmax(-1)[:, 1:]
        return list(probabilities.split(counts)), list(boxes.split(counts)), self.appearance(shared)


def load_trunk(detector: MiniDetector, state: dict[str, Tensor]) -> None:
    """Put ImageNet weights into both branches of a fresh detector.

    Args:
        detector: Still untrained.
        state: State dict of timm's ``tf_efficientnet_lite0`` (its classifier is not used).

    Raises:
        RuntimeError: A key or a shape does not fit.
    """
    trunk = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    trunk.load_state_dict(state)
    fold_batch_norm(trunk.eval())
    shared, late, head = trunk_parts(trunk)
    detector.shared.load_state_dict(shared.state_dict())
    detector.appearance.load_state_dict(nn.Sequential(*late, *head).state_dict())
    detector.detection.load_state_dict(nn.ModuleList(late).state_dict())


def bundled_weights() -> Path:
    """The detector that is package data."""
    from importlib.resources import files

    return Path(str(files("examples") / "mini" / "detector.safetensors"))


class MiniBackend(Backend):
    """The mini detector as a back end; weights default to the bundled ones."""

    name = "mini"
    feature_dim = FEATURE_DIM
    vocabulary_id = "voc-20"
    vocabulary = VOC_CLASSES

    def __init__(
        self,
        weights: Path | None,
        device: torch.device,
        selection: Selection = MINI,
        *,
        class_topk: int = 0,
    ) -> None:
        """Load fp16 or fp32 safetensors.

        Raises:
            FileNotFoundError: No such weights file.
            ValueError: The file is not a mini detector's.
        """
        path = weights or bundled_weights()
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no weights of the mini detector here. Train them with "
                "`python -m features.train_detector`, or name a file with --weights."
            )
        model = MiniDetector()
        try:
            model.load_state_dict({k: v.float() for k, v in load_file(path).items()}, strict=True)
        except Exception as error:
            raise ValueError(
                f"{path}: not weights of the mini detector ({str(error).splitlines()[0]}); "
                "wanted is what `python -m features.train_detector` writes."
            ) from error
        self.device = device
        self.selection = selection
        self.class_topk = class_topk
        self.weights_sha256 = file_sha256(path)
        self.preprocessor = SquashPreprocessor()
        self.model = model.eval().to(device)

    @property
    def lanes(self) -> int:
        """Two on a processor of several cores.

        All cores on one batch wait for the slowest at every layer, and while one runs Python. Of two batches
        with half of the cores each, the other goes on (benchmarks/extraction_cpu.py). More would take more
        memory.
        """
        return 2 if self.device.type == "cpu" and torch.get_num_threads() > 1 else 1

    def description(self) -> dict[str, Any]:
        """See :class:`Backend`."""
        return {
            "backend": self.name,
            "weights_sha256": self.weights_sha256,
            "input": f"squash {INPUT_SIZE}x{INPUT_SIZE}, PIL bilinear, RGB, (x - 127) / 128",
            "feature": "EfficientNet-Lite0 head map, RoIAlign 3x3, mean; global: mean of the map",
            "selection": self.selection.description(),
            "vocabulary": list(self.vocabulary),
        }

    @torch.inference_mode()
    @exact_convolutions()
    def detect(
        self,
        batch: Tensor,
        sizes: Sequence[tuple[int, int]],
        boxes: Sequence[np.ndarray] | None = None,
    ) -> list[Detections]:
        """See :class:`Backend`."""
        side = batch.shape[-1]
        scales = [np.array([width, height, width, height], np.float32) / side for height, width in sizes]
        given = None
        if boxes is not None:
            given = [torch.from_numpy(b / s).to(self.device) for b, s in zip(boxes, scales, strict=True)]
        probabilities, refined, appearance = self.model(normalise(batch.to(self.device)), given)
        if given is None:
            kept = [select_regions(p, b, self.selection) for p, b in zip(probabilities, refined, strict=True)]
        else:
            kept = [keep_all(p, b) for p, b in zip(probabilities, given, strict=True)]
        stride = batch.shape[-1] / appearance.shape[-1]
        pooled = roi_align(
            appearance,
            [k.boxes for k in kept],
            output_size=3,
            spatial_scale=1.0 / stride,
            sampling_ratio=2,
            aligned=True,
        ).mean((2, 3))  # (sum R, D)
        whole = appearance.mean((2, 3)).half().cpu().numpy()  # (B, D)
        vectors = pooled.half().cpu().split([len(k.scores) for k in kept])
        found = []
        for number, (regions, classes, features, global_feature) in enumerate(
            zip(kept, probabilities, vectors, whole, strict=True)
        ):
            in_pixels = regions.boxes.cpu().numpy() * scales[number]
            class_ids, class_scores = top_classes(classes[regions.rows], self.class_topk)
            found.append(
                Detections(
                    boxes=in_pixels if boxes is None else boxes[number][regions.rows.cpu().numpy()],
                    object_ids=regions.object_ids.cpu().numpy().astype(np.int32),
                    object_scores=regions.scores.cpu().numpy(),
                    features=features.numpy(),
                    global_feature=global_feature,
                    class_ids=class_ids,
                    class_scores=class_scores,
                )
            )
        return found
