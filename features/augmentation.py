"""Training pictures of the mini detector: what is drawn is a function of (seed, epoch, picture)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from features.backends.mini import INPUT_SIZE, normalise
from features.voc import VocPicture

__all__ = ["TrainingPictures", "batch_keys", "collate", "crop_boxes", "draw_window"]

Window = tuple[float, float, float, float]
"""xyxy in pixels of the original picture."""
SMALL = 224
"""Side of the copies in which some caption data sets come (all of Flickr8k here)."""


class TrainingPictures(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """Augmented pictures: crop, passage through 224 x 224, brightness, flip, squash.

    Indexed by (epoch, index); each item is a (3, 320, 320) picture and its target: ``boxes``
    (N, 4) xyxy in input pixels and ``labels`` (N,), 1 being the first class.
    """

    def __init__(
        self, pictures: list[VocPicture], *, seed: int, crop_share: float, small_share: float
    ) -> None:
        """Pictures without an object that is not difficult are left out."""
        self.pictures = [p for p in pictures if (~p.difficult).any()]
        self.seed = seed
        self.crop_share = crop_share
        self.small_share = small_share

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, dict[str, Tensor]]:
        epoch, index = key
        rng = np.random.Generator(np.random.Philox(key=[self.seed, epoch * 2**32 + index]))
        picture = self.pictures[index]
        easy = ~picture.difficult
        boxes, labels = picture.boxes[easy], picture.labels[easy]
        window: Window = (0.0, 0.0, float(picture.width), float(picture.height))
        if rng.random() < self.crop_share:
            window = draw_window(rng, boxes, window)
        boxes, kept = crop_boxes(boxes, window)
        pixels = self._pixels(picture, window, small=rng.random() < self.small_share)
        pixels = (pixels * rng.uniform(0.8, 1.2) + rng.uniform(-0.15, 0.15)).clamp(-1, 1)
        boxes = boxes * INPUT_SIZE
        if rng.random() < 0.5:
            pixels = pixels.flip(2)
            boxes[:, [0, 2]] = INPUT_SIZE - boxes[:, [2, 0]]
        return pixels, {"boxes": torch.from_numpy(boxes), "labels": torch.from_numpy(labels[kept] + 1)}

    @staticmethod
    def _pixels(picture: VocPicture, window: Window, *, small: bool) -> Tensor:
        with Image.open(picture.path) as file:
            image = file.convert("RGB")
        if small:
            image = image.resize((SMALL, SMALL), Image.Resampling.BILINEAR, box=window)
            window = (0.0, 0.0, float(SMALL), float(SMALL))
        image = image.resize((INPUT_SIZE, INPUT_SIZE), Image.Resampling.BILINEAR, box=window)
        return normalise(torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1))


def draw_window(rng: np.random.Generator, boxes: np.ndarray, whole: Window) -> Window:
    """A part of 40-100 % of the picture that holds the middle of at least one object."""
    _, _, width, height = whole
    for _ in range(10):
        area, ratio = rng.uniform(0.4, 1.0), math.exp(rng.uniform(-0.35, 0.35))
        w, h = min(1.0, math.sqrt(area * ratio)) * width, min(1.0, math.sqrt(area / ratio)) * height
        x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
        window = (x, y, x + w, y + h)
        if crop_boxes(boxes, window)[1].any():
            return window
    return whole


def crop_boxes(boxes: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Boxes whose middle lies in the window, clipped to it.

    Returns:
        (K, 4) float32 xyxy in shares of the window, and (N,) bool which of the boxes they are.
    """
    x1, y1, x2, y2 = window
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    kept = ((middle >= (x1, y1)) & (middle < (x2, y2))).all(1)
    inside = (boxes[kept] - (x1, y1, x1, y1)) / (x2 - x1, y2 - y1, x2 - x1, y2 - y1)
    return inside.clip(0, 1).astype(np.float32), kept


def batch_keys(
    n_pictures: int, *, batch_size: int, seed: int, first_step: int, steps: int
) -> Iterator[list[tuple[int, int]]]:
    """(epoch, index) keys of every batch from ``first_step`` on; an epoch is shuffled by (seed, epoch).

    Raises:
        ValueError: Fewer pictures than a batch holds.
    """
    per_epoch = n_pictures // batch_size
    if per_epoch == 0:
        raise ValueError(f"{n_pictures} pictures do not fill one batch of {batch_size}")
    for step in range(first_step, steps):
        epoch, number = divmod(step, per_epoch)
        order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(n_pictures)
        chosen = order[number * batch_size : (number + 1) * batch_size]
        yield [(epoch, int(index)) for index in chosen]


def collate(items: list[tuple[Tensor, dict[str, Tensor]]]) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """Stack pictures; targets stay a list (their numbers of boxes differ)."""
    pixels, targets = zip(*items, strict=True)
    return torch.stack(pixels), list(targets)
