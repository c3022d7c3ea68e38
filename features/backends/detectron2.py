"""detectron2's own C4 detectors: any of its configs whose region head is res5, with weights trained by it.

The package is optional (``detectron2_model.py`` names the ways to get it). Its modules are called one after
the other, for its predictor throws the vectors away: backbone, proposals, res5 of their crops (whose mean is
the 2,048-d vector), classes and boxes. Nothing of its compiled part is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from features.backends.base import Detections, DetectorOptions, OneByOne, file_sha256
from features.backends.detectron2_model import read_model
from features.regions import COCO, keep_all, select_regions, top_classes

__all__ = ["Detectron2Backend", "ShortestEdgePreprocessor"]

_ROIS_AT_ONCE = 250
"""Crops that go through res5 together: 0.2 GB of them, whatever the number of proposals."""


@dataclass(frozen=True, kw_only=True)
class ShortestEdgePreprocessor:
    """RGB picture -> (3, H, W) float32, as detectron2's mapper and model prepare it for testing.

    Attributes:
        short: Shorter side in pixels; 0 leaves the picture as it is.
        longest: Longer side at most, in pixels.
        bgr: Whether the channels are turned round (INPUT.FORMAT).
        mean: Subtracted a channel, in the order of the channels, on a scale of 0 to 255.
        std: Divided by, thereafter.
    """

    short: int
    longest: int
    bgr: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the prepared picture."""
        if self.short == 0:
            return height, width
        scale = self.short / min(height, width)
        tall, wide = (self.short, scale * width) if height < width else (scale * height, self.short)
        if max(tall, wide) > self.longest:
            scale = self.longest / max(tall, wide)
            tall, wide = tall * scale, wide * scale
        return max(int(tall + 0.5), 1), max(int(wide + 0.5), 1)  # detectron2 fails at 0

    def __call__(self, image: Image.Image) -> Tensor:
        """Prepare one picture."""
        height, width = self.size(image.height, image.width)
        pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32)
        channels = torch.from_numpy(pixels[..., ::-1].copy() if self.bgr else pixels.copy()).permute(2, 0, 1)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return ((channels - mean) / std).contiguous()


class Detectron2Backend(OneByOne):
    """A C4 Faster R-CNN of detectron2 as a back end.

    Beside the weights ``NAME.pth`` stands their config, ``NAME.yaml`` or ``config.yaml`` (which detectron2's
    training writes there). A ``_BASE_`` that it names is looked for in the same folder. Where the classes are
    not COCO's 80, ``classes.txt`` beside them lists their names, one a line, in the order of the model.

    Args:
        weights: ``.pth``, ``.pkl`` of detectron2's model zoo, or ``.safetensors``.
        device: Where it runs.
        options: Profile (``coco`` unless named otherwise), class scores, bfloat16.

    Raises:
        FileNotFoundError: No weights named, or no such file, config or class list.
        ValueError: detectron2 is not installed; a file that cannot be read safely; a config or weights that
            are not of a C4 Faster R-CNN; attributes, which these models do not have.
    """

    name = "detectron2"

    def __init__(self, weights: Path | None, device: torch.device, options: DetectorOptions) -> None:
        if weights is None:
            raise FileNotFoundError(
                "the detectron2 back end has no weights of its own: name a file with --weights, and put its "
                "config beside it (NAME.yaml or config.yaml)"
            )
        read = read_model(weights, device)
        options.check("detectron2's own model", len(read.vocabulary))
        self.model = read.model
        self.device = device
        self.amp = options.amp
        self.class_topk = options.class_topk
        self.weights_sha256 = file_sha256(weights)
        self.vocabulary_id = read.vocabulary_id
        self.vocabulary = read.vocabulary
        self.feature_dim = self.model.roi_heads.box_predictor.cls_score.in_features
        self.selection = options.selection(COCO)
        self.preprocessor: ShortestEdgePreprocessor = ShortestEdgePreprocessor(
            short=read.config.INPUT.MIN_SIZE_TEST,
            longest=read.config.INPUT.MAX_SIZE_TEST,
            bgr=read.config.INPUT.FORMAT == "BGR",
            mean=tuple(read.config.MODEL.PIXEL_MEAN),
            std=tuple(read.config.MODEL.PIXEL_STD),
        )
        self._graph_sha256 = read.graph_sha256

    def description(self) -> dict[str, Any]:
        """See :class:`Backend`."""
        prepared = self.preprocessor
        return {
            "backend": self.name,
            "weights_sha256": self.weights_sha256,
            "graph_sha256": self._graph_sha256,
            "input": f"PIL bilinear, {'BGR' if prepared.bgr else 'RGB'}, (x - mean) / std",
            "min_size": prepared.short,
            "max_size": prepared.longest,
            "mean": list(prepared.mean),
            "std": list(prepared.std),
            "feature": "mean of res5 over the proposal; global: over the whole picture",
            "convolutions": "bfloat16" if self.amp else "float32",
            "selection": self.selection.description(),
            "vocabulary": list(self.vocabulary),
        }

    def look(self, picture: Tensor, size: tuple[int, int], given: np.ndarray | None) -> Detections:
        """See :class:`OneByOne`."""
        from detectron2.structures import Boxes, ImageList, Instances

        images = ImageList.from_tensors([picture], self.model.backbone.size_divisibility)
        with self._convolving():
            maps = self.model.backbone(images.tensor)
        maps = {name: values.float() for name, values in maps.items()}
        (shape,) = images.image_sizes  # before any padding
        scale = np.array([shape[1] / size[1], shape[0] / size[0]] * 2, np.float32)
        if given is None:
            ((found,), _) = self.model.proposal_generator(images, maps)
        else:
            prepared = torch.from_numpy(given * scale).to(picture)
            found = Instances(shape, proposal_boxes=Boxes(prepared))
        proposals = found.proposal_boxes.tensor  # (N, 4)
        whole = proposals.new_tensor([[0, 0, shape[1], shape[0]]])
        vectors = self._vectors(maps, torch.cat([proposals, whole]))  # (N + 1, D)
        predictor = self.model.roi_heads.box_predictor
        answers = predictor(vectors[:-1])
        (probabilities,) = predictor.predict_probs(answers, [found])
        probabilities = probabilities[:, :-1]  # (N, C): the background comes last
        if given is None:
            candidates = proposals
            if self.selection.box_source == "regressed":
                (refined,) = predictor.predict_boxes(answers, [found])  # (N, 4 C), or (N, 4) for all classes
                candidates = _clipped(refined, shape)
            kept = select_regions(probabilities, candidates, self.selection)
            found_boxes = kept.boxes.cpu().numpy() / scale
        else:
            kept = keep_all(probabilities, proposals)
            found_boxes = given[kept.rows.cpu().numpy()]
        class_ids, class_scores = top_classes(probabilities[kept.rows], self.class_topk)
        return Detections(
            boxes=found_boxes,
            object_ids=kept.object_ids.int().cpu().numpy(),
            object_scores=kept.scores.cpu().numpy(),
            features=vectors[kept.rows].half().cpu().numpy(),
            global_feature=vectors[-1].half().cpu().numpy(),
            class_ids=class_ids,
            class_scores=class_scores,
            num_proposals=len(proposals),
        )

    def _vectors(self, maps: dict[str, Tensor], boxes: Tensor) -> Tensor:
        """(N, 4) boxes in prepared pixels -> (N, D) float32."""
        from detectron2.structures import Boxes

        heads = self.model.roi_heads
        levels = [maps[name] for name in heads.in_features]
        vectors = []
        for chunk in boxes.split(_ROIS_AT_ONCE):
            with self._convolving():
                crops = heads._shared_roi_transform(levels, [Boxes(chunk)])
            vectors.append(crops.float().mean((2, 3)))
        return torch.cat(vectors)

    def _convolving(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp)


def _clipped(refined: Tensor, shape: tuple[int, int]) -> Tensor:
    """(N, 4 C) or (N, 4) -> (N, C, 4) or (N, 4), within the picture."""
    boxes = refined.unflatten(1, (-1, 4)) if refined.shape[1] > 4 else refined
    height, width = shape
    return boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))
