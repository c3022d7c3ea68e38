"""The published C4 detectors as a back end: their weights in, regions as their publishers keep them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from features.backends.base import Detections, DetectorOptions, OneByOne, file_sha256
from features.backends.c4.network import C4Network
from features.backends.c4.preprocess import C4Preprocessor, Preparation
from features.backends.c4.state import read_c4_weights
from features.backends.c4.variants import VARIANTS
from features.regions import PROFILES, KeptRegions, keep_all, select_regions, top_classes
from features.vocabularies import load_vocabulary
from features.weights import weights_file

__all__ = ["C4Backend"]


class C4Backend(OneByOne):
    """A C4 Faster R-CNN as a back end.

    Args:
        weights: A published file of any of the variants, the name of a registry entry, or None for the best
            of the registry that is in the cache, else the best, downloaded.
        device: Where it runs.
        options: What is asked for beside the weights.

    Raises:
        FileNotFoundError: No such weights file.
        features.weights.WeightsError: A download failed.
        ValueError: The file holds no such detector, or something is asked that it cannot do.
    """

    name = "c4"

    def __init__(
        self, weights: Path | None, device: torch.device, options: DetectorOptions | None = None
    ) -> None:
        options = options or DetectorOptions()
        path = weights_file(self.name, weights)
        found = read_c4_weights(path)
        variant = VARIANTS[found.variant]
        options.check(variant.name, variant.classes, has_attributes=bool(variant.attributes))
        self.selection = options.selection(PROFILES[variant.profile])
        self.variant = variant
        self.flavour = found.flavour
        self.options = options
        self.device = device
        self.feature_dim = variant.feature_dim
        self.vocabulary_id = variant.vocabulary_id
        self.vocabulary = load_vocabulary(variant.vocabulary_id, path)
        if options.attributes and variant.attribute_vocabulary_id:
            self.attribute_vocabulary = load_vocabulary(variant.attribute_vocabulary_id, path)
        self.weights_sha256 = file_sha256(path)
        self.preprocessor = C4Preprocessor(variant)
        try:
            self.network = C4Network.from_state(variant, found.state, amp=options.amp).to(device)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def description(self) -> dict[str, Any]:
        """See :class:`Backend`."""
        return {
            "backend": self.name,
            "weights_sha256": self.weights_sha256,
            "flavour": self.flavour,
            "variant": {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self.variant).items()},
            "anchors": self.network.anchors.tolist(),
            "feature": "mean of layer4 over the cropped proposal; global: the whole picture as one region",
            "selection": self.selection.description(),
            "convolutions": "bfloat16" if self.options.amp else "float32",
            "vocabulary": list(self.vocabulary),
        }

    def look(self, picture: Tensor, size: tuple[int, int], given: np.ndarray | None) -> Detections:
        """See :class:`OneByOne`."""
        network, variant = self.network, self.variant
        prepared = Preparation.of(variant, *size)
        scale = picture.new_tensor([prepared.scale_x, prepared.scale_y] * 2)
        c4 = network.c4_map(picture)
        shape = (picture.shape[1], picture.shape[2])
        if given is None:
            proposals = network.proposals(c4, shape, prepared.scale_x)
        else:
            proposals = torch.from_numpy(given).to(picture) * scale
        height, width = (side - int(variant.plus_one) for side in shape)
        whole = proposals.new_tensor([[0, 0, width, height]])
        vectors = network.vectors(c4, torch.cat([proposals, whole]))
        vectors, global_vector = vectors[:-1], vectors[-1]
        logits = network.class_logits(vectors)
        probabilities = network.class_probabilities(logits)
        if given is None:
            kept = self._select(probabilities, vectors, proposals, shape)
            found_boxes = _valid((kept.boxes / scale).cpu().numpy(), size)
        else:
            kept = keep_all(probabilities, proposals)
            found_boxes = given[kept.rows.cpu().numpy()]
        attribute_ids, attribute_scores = self._attributes(vectors, logits, kept)
        class_ids, class_scores = top_classes(probabilities[kept.rows], self.options.class_topk)
        return Detections(
            boxes=found_boxes,
            object_ids=kept.object_ids.int().cpu().numpy(),
            object_scores=kept.scores.cpu().numpy(),
            features=vectors[kept.rows].half().cpu().numpy(),
            global_feature=global_vector.half().cpu().numpy(),
            attribute_ids=attribute_ids,
            attribute_scores=attribute_scores,
            class_ids=class_ids,
            class_scores=class_scores,
            num_proposals=len(proposals),
        )

    def _select(
        self, probabilities: Tensor, vectors: Tensor, proposals: Tensor, shape: tuple[int, int]
    ) -> KeptRegions:
        boxes = proposals
        if self.selection.box_source == "regressed":
            boxes = self.network.regressed(vectors, proposals, shape)
        return select_regions(probabilities, boxes, self.selection)

    def _attributes(
        self, vectors: Tensor, logits: Tensor, kept: KeptRegions
    ) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
        """(R,) ids and scores of the kept regions' best attributes, where they are asked for."""
        if not self.options.attributes:
            return None, None
        rows = kept.rows
        scores, ids = self.network.attribute_probabilities(vectors[rows], logits[rows], kept.object_ids).max(
            1
        )
        ids = ids.where(scores > self.variant.attribute_min_score, -1)
        return ids.int().cpu().numpy(), scores.cpu().numpy()


def _valid(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(R, 4) boxes that end within an original of (height, width), and not before they start.

    What ends where the prepared picture does may end a rounding further. Where the last pixel belongs to
    a box, one of less than a pixel has its end before its start.
    """
    ends = np.minimum(boxes[:, 2:], np.array([size[1], size[0]], np.float32))
    return np.concatenate([boxes[:, :2], np.maximum(ends, boxes[:, :2])], axis=1)
