"""A detector without weights, records without pictures, pictures without a camera: for tests only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from features.backends.base import BACKENDS, Backend, Detections
from features.regions import MINI
from features.schema import Regions, StoreMeta, box_geometry

META = StoreMeta(
    backend="fake",
    description={"weights_sha256": "0" * 64},
    vocabulary=("red thing", "green thing", "blue thing"),
    vocabulary_id="rgb-3",
    feature_dim=4,
    attribute_vocabulary=("matt", "shiny"),
)


def make_regions(image_id: str, n_regions: int = 3, feature_dim: int = 4, seed: int = 0) -> Regions:
    """Random but valid regions of a 200 x 100 picture."""
    random = np.random.default_rng([seed, len(image_id), n_regions])
    corners = np.sort(random.random((n_regions, 2, 2), np.float32), axis=1).reshape(n_regions, 4)
    boxes = corners * np.array([200, 100, 200, 100], np.float32)
    return Regions(
        image_id=image_id,
        width=200,
        height=100,
        features=random.standard_normal((n_regions, feature_dim)).astype(np.float16),
        boxes=boxes,
        geometry=box_geometry(boxes, 200, 100),
        object_ids=random.integers(0, 3, n_regions, dtype=np.int32),
        object_scores=np.sort(random.random(n_regions, np.float32))[::-1].copy(),
        global_feature=random.standard_normal(feature_dim).astype(np.float16),
        image_sha256=bytes(range(32)),
    )


def with_options(regions: Regions, class_topk: int = 2) -> Regions:
    """The same with attributes, more classes and the number of proposals."""
    n_regions = len(regions.features)
    random = np.random.default_rng(n_regions)
    return replace(
        regions,
        attribute_ids=random.integers(-1, 2, n_regions, dtype=np.int32),
        attribute_scores=random.random(n_regions, np.float32),
        class_ids=random.integers(0, 3, (n_regions, class_topk), dtype=np.int32),
        class_scores=-np.sort(-random.random((n_regions, class_topk), np.float32)).astype(np.float16),
        num_proposals=300 + n_regions,
    )


def assert_equal(found: Regions, wanted: Regions) -> None:
    """Equal in every bit, and of the same types."""
    for name in (field.name for field in fields(Regions)):
        ours, theirs = getattr(found, name), getattr(wanted, name)
        assert type(ours) is type(theirs), name
        if not isinstance(theirs, np.ndarray):
            assert ours == theirs, name
            continue
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def as_it_is(image: Image.Image) -> Tensor:
    """RGB picture -> (3, H, W) uint8, at its own size."""
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


class FakeBackend(Backend):
    """Sees one thing in the left half of a picture and one in all of it; their vectors are mean colours.

    Args:
        on_batch: Called with the number of the batch before it is looked at.
        weights_sha256: Two fakes that differ in it are two detectors.
    """

    name = "fake"
    feature_dim = META.feature_dim
    vocabulary = META.vocabulary
    vocabulary_id = META.vocabulary_id
    selection = MINI

    def __init__(
        self, on_batch: Callable[[int], None] = lambda _: None, weights_sha256: str = "0" * 64
    ) -> None:
        self.on_batch = on_batch
        self.weights_sha256 = weights_sha256
        self.preprocessor = as_it_is
        self.shapes: list[tuple[int, ...]] = []

    def description(self) -> dict[str, Any]:
        return {"weights_sha256": self.weights_sha256}

    def detect(
        self,
        batch: Tensor,
        sizes: Sequence[tuple[int, int]],
        boxes: Sequence[np.ndarray] | None = None,
    ) -> list[Detections]:
        self.on_batch(len(self.shapes))
        self.shapes.append(tuple(batch.shape))
        return [self._look(picture, *size) for picture, size in zip(batch, sizes, strict=True)]

    def _look(self, picture: Tensor, height: int, width: int) -> Detections:
        whole = picture.double().mean((1, 2))
        left = picture[:, :, : width // 2 or 1].double().mean((1, 2))
        vectors = torch.stack([torch.cat([mean, mean.max(0, keepdim=True).values]) for mean in (whole, left)])
        return Detections(
            boxes=np.array([[0, 0, width, height], [0, 0, width / 2, height]], np.float32),
            object_ids=np.array([int(whole.argmax()), int(left.argmax())], np.int32),
            object_scores=np.array([0.9, 0.5], np.float32),
            features=vectors.half().numpy(),
            global_feature=vectors[0].half().numpy(),
        )


def register(monkeypatch: pytest.MonkeyPatch, backend: Backend) -> None:
    """Make ``--backend fake`` mean this one."""
    monkeypatch.setitem(BACKENDS, "fake", lambda _weights, _device, _options: backend)


def save_picture(
    path: Path, colour: tuple[int, int, int] = (200, 30, 10), size: tuple[int, int] = (16, 12)
) -> Path:
    """A picture of one colour; the suffix chooses the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path
