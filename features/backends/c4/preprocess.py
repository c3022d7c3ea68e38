"""Pictures as the C4 detectors were trained to see them: blue first, means subtracted, nothing divided.

Every publisher resizes in its own way, and what the pixels do moves the boxes:

- ``opencv`` (bottom-up attention): ``cv2.resize`` of floats with one factor for both sides, bilinear between
  pixel centres, without antialiasing. Reproduced here, so that OpenCV is not needed.
- ``torch`` (frcnn-vg-finetuned): ``interpolate`` of floats, which is the same from size to size.
- ``detectron2`` and ``benchmark`` (VinVL): Pillow's bilinear, which antialiases, of bytes.

The script beside ``frcnn-vg-finetuned`` hands red first (huggingface/transformers#8769), which its weights
were not trained for; here they see blue first, as everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from features.backends.c4.variants import Variant

__all__ = ["C4Preprocessor", "Preparation", "resize_bilinear"]


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How a picture of one size is resized.

    Attributes:
        height, width: Of the prepared picture.
        scale_y, scale_x: Prepared pixels to an original one.
    """

    height: int
    width: int
    scale_y: float
    scale_x: float

    @staticmethod
    def of(variant: Variant, height: int, width: int) -> Preparation:
        """For an original of this height and width in pixels, 1 or more each.

        Raises:
            ValueError: It is so thin that the variant's stem has nothing left to pool.
        """
        short, long = min(height, width), max(height, width)
        factor = None
        if variant.resize == "opencv":
            factor = variant.short_side / short
            if round(factor * long) > variant.long_side:
                factor = variant.long_side / long
            sides = round(factor * short), round(factor * long)
        elif variant.resize == "benchmark":
            short_to = variant.short_side
            if long / short * short_to > variant.long_side:
                short_to = round(variant.long_side * short / long)
            sides = short_to, int(short_to * long / short)
        else:
            exact = float(variant.short_side), variant.short_side / short * long
            shrink = min(variant.long_side / exact[1], 1.0)
            sides = int(exact[0] * shrink + 0.5), int(exact[1] * shrink + 0.5)
        new_height, new_width = (max(side, 1) for side in (sides if height <= width else sides[::-1]))
        if variant.caffe_pool and min(new_height, new_width) < 3:  # one row after conv1; pooling takes two
            raise ValueError(
                f"too thin for {variant.name}: {width}x{height} pixels become {new_width}x{new_height}, "
                "wanted are 3 or more a side"
            )
        return Preparation(
            height=new_height,
            width=new_width,
            scale_y=factor or new_height / height,
            scale_x=factor or new_width / width,
        )


@dataclass(frozen=True)
class C4Preprocessor:
    """RGB picture -> (3, H, W) float32, blue first, as the variant wants it."""

    variant: Variant

    def __call__(self, image: Image.Image) -> Tensor:
        """Prepare one picture."""
        to = Preparation.of(self.variant, image.height, image.width)
        if self.variant.resize in ("detectron2", "benchmark"):
            image = image.resize((to.width, to.height), Image.Resampling.BILINEAR)
        pixels = np.array(image, np.float32)[..., ::-1]
        pixels -= np.array(self.variant.pixel_mean, np.float32)  # in place: 80 megapixels are 1 GB
        if self.variant.resize in ("opencv", "torch"):
            pixels = resize_bilinear(pixels, to)
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def resize_bilinear(pixels: np.ndarray, to: Preparation) -> np.ndarray:
    """(H, W, C) float32 -> (to.height, to.width, C) float32 as OpenCV's INTER_LINEAR does it.

    A prepared pixel's centre is taken back to the original by the scale and lies between the centres of two
    pixels each way; beyond the outermost centre the edge goes on.
    """
    left, right, share = _taps(pixels.shape[1], to.width, to.scale_x)
    pixels = pixels[:, left] + (pixels[:, right] - pixels[:, left]) * share[:, None]
    upper, lower, share = _taps(pixels.shape[0], to.height, to.scale_y)
    return pixels[upper] + (pixels[lower] - pixels[upper]) * share[:, None, None]


def _taps(n_in: int, n_out: int, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of n_out pixels: the two original ones it lies between, and the share of the second."""
    centres = ((np.arange(n_out) + 0.5) / scale - 0.5).astype(np.float32).clip(0, n_in - 1)
    first = np.floor(centres).astype(np.int64)
    return first, np.minimum(first + 1, n_in - 1), centres - first.astype(np.float32)
