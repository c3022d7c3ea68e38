"""torchvision's Faster R-CNN ResNet-50 FPN (v1 and v2) on COCO, with 2,048-d appearance vectors.

Boxes, classes and scores are torchvision's own, preprocessing included: pictures are resized to a shorter
side of 800 pixels (longer at most 1,333), and zeros pad them to multiples of 32. The detector's own box
vectors have 1,024 numbers; captioning models want 2,048 of a backbone, so each final box is pooled once more
from the last stage (``layer4``, C5). These are not Visual Genome's bottom-up features: a captioner must
be trained on the detector that it will be used with.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection import (
    FasterRCNN,
    FasterRCNN_ResNet50_FPN_Weights,
    fasterrcnn_resnet50_fpn_v2,
)
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FrozenBatchNorm2d, roi_align
from torchvision.ops import boxes as box_ops
from torchvision.transforms.functional import pil_to_tensor

from features.backends.base import Backend, Detections, exact_convolutions, file_sha256
from features.regions import COCO, Selection, keep_all, select_regions, top_classes
from features.state_files import read_state
from features.vocabularies import COCO_CLASSES
from features.weights import weights_file

__all__ = ["FpnPreprocessor", "TorchvisionBackend"]

_CATEGORIES: list[str] = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]  # 91, with gaps
_LABELS = [_CATEGORIES.index(name) for name in COCO_CLASSES]

_V1_COCO_SHA256 = "258fb6c6"  # torchvision sets the epsilon of this file's frozen batch norms to 0


class FpnPreprocessor:
    """RGB picture -> (3, H, W) float32 by torchvision's own normalisation and resizing, not yet padded."""

    def __init__(self, min_size: int, max_size: int) -> None:
        self._max_size = max_size
        self._transform = GeneralizedRCNNTransform(
            min_size, max_size, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]
        ).eval()

    def __call__(self, image: Image.Image) -> Tensor:
        """Prepare one picture.

        Raises:
            ValueError: It is so thin that nothing is left of its shorter side.
        """
        if max(image.size) > self._max_size * min(image.size):
            raise ValueError(
                f"too thin for torchvision's detectors: {image.width}x{image.height} pixels, wanted are "
                f"sides of 1 to {self._max_size} at most"
            )
        pixels = self._transform.normalize(pil_to_tensor(image).float() / 255)
        return self._transform.resize(pixels)[0]


class TorchvisionBackend(Backend):
    """Faster R-CNN ResNet-50 FPN as a back end.

    Args:
        weights: A state dict (.pth or .safetensors), the name of a registry entry, or None for the best
            of the registry that is in the cache, else the best, downloaded.
        device: Where it runs.
        selection: Which of torchvision's detections are kept.
        class_topk: Classes a region that are kept with their scores; 0 for its own alone.
        min_size: Shorter side of the prepared picture.
        max_size: Longest side of the prepared picture.

    Raises:
        FileNotFoundError: No such weights file.
        features.weights.WeightsError: The download failed, or the name is of another back end's weights.
        ValueError: The file holds no such model.
    """

    name = "torchvision"
    feature_dim = 2048
    vocabulary_id = "coco-80"
    vocabulary = COCO_CLASSES

    def __init__(
        self,
        weights: Path | None,
        device: torch.device,
        selection: Selection = COCO,
        *,
        class_topk: int = 0,
        min_size: int = 800,
        max_size: int = 1333,
    ) -> None:
        path = weights_file(self.name, weights)
        self.weights_sha256 = file_sha256(path)
        state = read_state(path).tensors  # beside it is what torchvision's training scripts save
        self.variant = _variant(path, state)
        model = _build(self.variant, min_size, max_size)
        try:
            model.load_state_dict(state, strict=True)
        except RuntimeError as error:
            raise ValueError(
                f"{path}: not torchvision's {self.variant} on COCO ({str(error).splitlines()[-1].strip()})"
            ) from error
        if self.variant == "fasterrcnn_resnet50_fpn" and self.weights_sha256.startswith(_V1_COCO_SHA256):
            for module in model.modules():
                if isinstance(module, FrozenBatchNorm2d):
                    module.eps = 0.0
        self.model = model.eval().to(device)
        self.device = device
        self.selection = selection
        self.class_topk = class_topk
        self._size = {"min_size": min_size, "max_size": max_size}
        self.preprocessor = FpnPreprocessor(min_size, max_size)
        self._contiguous = torch.full((len(_CATEGORIES),), -1, device=device)  # 91 labels -> 80 ids
        self._contiguous[_LABELS] = torch.arange(len(_LABELS), device=device)

    def description(self) -> dict[str, Any]:
        """See :class:`Backend`."""
        return {
            "backend": self.name,
            "variant": self.variant,
            "weights_sha256": self.weights_sha256,
            "input": "torchvision's: RGB / 255, ImageNet mean and std, bilinear, zeros to multiples of 32",
            **self._size,
            "detections": "torchvision's: score > 0.05, NMS 0.5 a class, best 100; unused labels left out",
            "feature": "layer4 (C5), RoIAlign 7x7 aligned, 2 samples a bin, mean; global: over the picture",
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
        height, width = batch.shape[-2:]
        padded = self.model.transform.batch_images(
            list(batch.to(self.device))
        )  # (B, 3, H', W'), multiples of 32
        images = ImageList(padded, [(height, width)] * len(batch))
        stages = self.model.backbone.body(padded)
        pyramid = self.model.backbone.fpn(stages)
        if boxes is None:
            proposals, _ = self.model.rpn(images, pyramid)
        else:
            scales = [np.array([width / w, height / h] * 2, np.float32) for h, w in sizes]
            proposals = [torch.from_numpy(b * s).to(self.device) for b, s in zip(boxes, scales, strict=True)]
        found = self._look(pyramid, proposals, images.image_sizes, keep=boxes is not None)
        whole = batch.new_tensor([[0, 0, width, height]], device=self.device)
        rois = [torch.cat([one["boxes"], whole]) for one in found]  # the picture itself comes last
        vectors = self._pool(stages["3"], rois)
        found = self.model.transform.postprocess(found, images.image_sizes, list(sizes))
        results = []
        for number, (one, vector) in enumerate(zip(found, vectors, strict=True)):
            in_pixels = one["boxes"].cpu().numpy()
            class_ids, class_scores = top_classes(one["classes"], self.class_topk)
            results.append(
                Detections(
                    boxes=in_pixels if boxes is None else boxes[number][one["rows"].cpu().numpy()],
                    object_ids=one["labels"].int().cpu().numpy(),
                    object_scores=one["scores"].cpu().numpy(),
                    features=vector[:-1],
                    global_feature=vector[-1],
                    class_ids=class_ids,
                    class_scores=class_scores,
                )
            )
        return results

    def _look(
        self, pyramid: dict[str, Tensor], proposals: list[Tensor], sizes: list[tuple[int, int]], *, keep: bool
    ) -> list[dict[str, Tensor]]:
        """Run torchvision's box head on proposals; a picture's kept rows as :meth:`_choose` gives them.

        With ``keep`` all proposals are kept, where they are.
        """
        heads = self.model.roi_heads
        logits, deltas = heads.box_predictor(heads.box_head(heads.box_roi_pool(pyramid, proposals, sizes)))
        counts = [len(boxes) for boxes in proposals]
        probabilities = logits.softmax(-1).split(counts)  # (N, 91) a picture, background first
        if keep:
            return [self._keep(*one) for one in zip(probabilities, proposals, strict=True)]
        boxes = heads.box_coder.decode(deltas, proposals)
        boxes = boxes.reshape(len(logits), logits.shape[1], 4)  # (N, 91, 4); decode forgets it where N is 0
        return [self._choose(*one) for one in zip(probabilities, boxes.split(counts), sizes, strict=True)]

    def _keep(self, probabilities: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        """All (R, 4) boxes of a picture, as :meth:`_choose` gives them; ``rows`` (R,) is their new order."""
        probabilities = probabilities[:, _LABELS]
        kept = keep_all(probabilities, boxes)
        classes = probabilities[kept.rows]
        return {
            "boxes": kept.boxes,
            "labels": kept.object_ids,
            "scores": kept.scores,
            "classes": classes,
            "rows": kept.rows,
        }

    def _choose(self, probabilities: Tensor, boxes: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        """Torchvision's detections of a picture, then those that are kept.

        The steps are those of its ``RoIHeads.postprocess_detections``, which does not tell which proposal
        a detection comes from.

        Returns:
            ``boxes`` (R, 4), ``labels`` (R,) of COCO's 80, ``scores`` (R,), ``classes`` (R, 80), all
            probabilities of the proposal.
        """
        heads = self.model.roi_heads
        boxes = box_ops.clip_boxes_to_image(boxes, size)
        rows, labels = (probabilities[:, 1:] > heads.score_thresh).nonzero().unbind(1)
        labels = labels + 1
        large = box_ops.remove_small_boxes(boxes[rows, labels], min_size=1e-2)
        rows, labels = rows[large], labels[large]
        found, scores = boxes[rows, labels], probabilities[rows, labels]
        best = box_ops.batched_nms(found, scores, labels, heads.nms_thresh)[: heads.detections_per_img]
        best = best[self._contiguous[labels[best]] >= 0]
        ids = self._contiguous[labels[best]]
        alone = F.one_hot(ids, len(COCO_CLASSES)) * scores[best, None]  # a detection speaks for its own class
        kept = select_regions(alone, found[best], self.selection)
        classes = probabilities[rows[best[kept.rows]]][:, _LABELS]
        return {"boxes": kept.boxes, "labels": kept.object_ids, "scores": kept.scores, "classes": classes}

    def _pool(self, c5: Tensor, rois: list[Tensor]) -> list[Any]:
        """(B, 2048, H'/32, W'/32) and boxes in prepared pixels -> per picture (R, 2048) float16."""
        pooled = roi_align(c5, rois, output_size=7, spatial_scale=1 / 32, sampling_ratio=2, aligned=True)
        vectors = pooled.mean((2, 3)).half().cpu()  # (sum R, 2048)
        return [part.numpy() for part in vectors.split([len(boxes) for boxes in rois])]


def _variant(path: Path, state: dict[str, Tensor]) -> str:
    if "roi_heads.box_head.fc6.weight" in state:
        variant = "fasterrcnn_resnet50_fpn"
    elif "rpn.head.conv.1.0.weight" in state:
        variant = "fasterrcnn_resnet50_fpn_v2"
    else:
        example = next(iter(state), "nothing")
        raise ValueError(f"{path}: no Faster R-CNN ResNet-50 FPN of torchvision (holds {example!r}, …)")
    logits = state.get("roi_heads.box_predictor.cls_score.weight")
    if logits is None or len(logits) != len(_CATEGORIES):
        n_found = "no" if logits is None else len(logits)
        raise ValueError(f"{path}: {variant} with {n_found} classes; wanted are COCO's {len(_CATEGORIES)}")
    return variant


def _build(variant: str, min_size: int, max_size: int) -> FasterRCNN:
    if variant == "fasterrcnn_resnet50_fpn_v2":
        return fasterrcnn_resnet50_fpn_v2(
            weights=None,
            weights_backbone=None,
            num_classes=len(_CATEGORIES),
            min_size=min_size,
            max_size=max_size,
        )
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, norm_layer=FrozenBatchNorm2d)
    return FasterRCNN(backbone, len(_CATEGORIES), min_size=min_size, max_size=max_size)
