"""Sizes worked by hand, colours of one pixel, and a resize written out."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from PIL import Image

from features.backends.c4.preprocess import C4Preprocessor, Preparation, resize_bilinear
from features.backends.c4.variants import VARIANTS, Variant

NAMES = sorted(VARIANTS)


def tiny(name: str, short: int = 6, long: int = 10) -> Variant:
    return replace(VARIANTS[name], short_side=short, long_side=long)


@pytest.mark.parametrize(
    ("name", "size", "wanted"),
    [
        ("butd-r101", (480, 640), (600, 800)),
        ("butd-r101", (640, 480), (800, 600)),
        ("butd-r101", (333, 500), (600, 901)),  # 500 * 600 / 333 = 900.9
        ("butd-r101", (300, 601), (499, 1000)),  # 1000 / 601 = 1.66389 of 300 = 499.2
        ("butd-r101", (600, 2), (1000, 3)),
        ("frcnn-vg-finetuned", (333, 500), (600, 901)),
        ("frcnn-vg-finetuned", (427, 640), (600, 899)),  # 899.3
        ("vinvl-x152", (333, 500), (600, 900)),  # cut off, not rounded
        ("vinvl-x152", (300, 601), (499, 999)),  # round(1000 * 300 / 601) = 499, then int(499 * 601 / 300)
        ("vinvl-x152", (600, 700), (600, 700)),
        ("vinvl-x152", (1, 5000), (1, 1)),  # 0.2 pixels, which its publishers' program refuses
        ("coco-r50", (480, 640), (800, 1067)),  # 1066.67
        ("coco-r101", (427, 1280), (445, 1333)),  # 1333 / 1280 of 427 = 444.7
    ],
)
def test_sizes_follow_the_publishers_rounding(
    name: str, size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    found = Preparation.of(VARIANTS[name], *size)
    assert (found.height, found.width) == wanted


@pytest.mark.parametrize("name", ["butd-r101", "frcnn-vg-finetuned"])
@pytest.mark.parametrize(
    ("size", "becomes"),
    [((600, 1), "2x1000"), ((1, 600), "1000x2"), ((4, 2000), "1000x2"), ((1, 5000), "1000x1")],
)
def test_what_leaves_the_stem_nothing_to_pool_is_too_thin(
    name: str, size: tuple[int, int], becomes: str
) -> None:
    height, width = size
    told = f"too thin for {name}: {width}x{height} pixels become {becomes}, wanted are 3 or more a side"
    with pytest.raises(ValueError, match=told):
        Preparation.of(VARIANTS[name], height, width)


def test_opencv_scales_both_sides_by_one_factor_and_the_others_by_what_came_out() -> None:
    butd = Preparation.of(VARIANTS["butd-r101"], 333, 500)
    assert (butd.scale_y, butd.scale_x) == (600 / 333, 600 / 333)
    vinvl = Preparation.of(VARIANTS["vinvl-x152"], 333, 500)
    assert (vinvl.scale_y, vinvl.scale_x) == (600 / 333, 900 / 500)


@pytest.mark.parametrize("name", NAMES)
def test_red_and_blue_stay_apart(name: str) -> None:
    variant = tiny(name)
    image = Image.new("RGB", (24, 12), (250, 20, 3))
    image.paste((1, 30, 200), (12, 0, 24, 12))
    prepared = C4Preprocessor(variant)(image)
    assert prepared.dtype == torch.float32
    assert prepared.shape == (3, 5, 10)
    mean = torch.tensor(variant.pixel_mean)
    assert mean[0] < mean[1] < mean[2]  # blue, green, red, as caffe's and detectron2's means are written
    torch.testing.assert_close(prepared[:, 2, 0], torch.tensor([3.0, 20, 250]) - mean)
    torch.testing.assert_close(prepared[:, 2, -1], torch.tensor([200.0, 30, 1]) - mean)


def slowly(pixels: np.ndarray, height: int, width: int, step_y: float, step_x: float) -> np.ndarray:
    """Bilinear between pixel centres, one number at a time."""
    n_rows, n_columns, _ = pixels.shape
    made = np.zeros((height, width, pixels.shape[2]))
    for row in range(height):
        for column in range(width):
            y, x = (row + 0.5) * step_y - 0.5, (column + 0.5) * step_x - 0.5
            for at_row in (math.floor(y), math.floor(y) + 1):
                for at_column in (math.floor(x), math.floor(x) + 1):
                    weight = (1 - abs(y - at_row)) * (1 - abs(x - at_column))
                    inside = pixels[min(max(at_row, 0), n_rows - 1), min(max(at_column, 0), n_columns - 1)]
                    made[row, column] += weight * inside
    return made


@pytest.mark.parametrize("size", [(4, 5), (13, 9), (12, 20), (1, 4), (25, 31)])
@pytest.mark.parametrize("name", ["butd-r101", "frcnn-vg-finetuned"])
def test_floats_are_resized_between_pixel_centres_without_antialiasing(
    name: str, size: tuple[int, int]
) -> None:
    variant = tiny(name, 8, 12)
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    found = C4Preprocessor(variant)(Image.fromarray(pixels)).permute(1, 2, 0).numpy()
    height, width = found.shape[:2]
    if name == "butd-r101":
        factor = 8 / min(size)
        factor = factor if round(factor * max(size)) <= 12 else 12 / max(size)
        steps = 1 / factor, 1 / factor
    else:
        steps = size[0] / height, size[1] / width
    floats = pixels[..., ::-1].astype(np.float64) - np.array(variant.pixel_mean)
    # positions are float32 as in OpenCV: below 32 they are off by 2 ** -20 at most, times 255 and two sides
    np.testing.assert_allclose(found, slowly(floats, height, width, *steps), rtol=0, atol=2 * 255 * 2**-20)


def test_a_resize_from_size_to_size_is_torchs_interpolation() -> None:
    pixels = np.random.default_rng(2).random((13, 17, 3), np.float32)
    found = resize_bilinear(pixels, Preparation(height=8, width=30, scale_y=8 / 13, scale_x=30 / 17))
    wanted = F.interpolate(torch.from_numpy(pixels).permute(2, 0, 1)[None], (8, 30), mode="bilinear")[0]
    np.testing.assert_allclose(found, wanted.permute(1, 2, 0).numpy(), atol=1e-6)


def test_halving_is_the_mean_of_four_pixels() -> None:
    pixels = np.arange(32, dtype=np.float32).reshape(4, 8, 1)
    found = resize_bilinear(pixels, Preparation(height=2, width=4, scale_y=0.5, scale_x=0.5))
    assert found[..., 0].tolist() == [[4.5, 6.5, 8.5, 10.5], [20.5, 22.5, 24.5, 26.5]]


@pytest.mark.parametrize("name", ["vinvl-x152", "coco-r50"])
def test_pillow_resizes_bytes_with_antialiasing(name: str) -> None:
    variant = tiny(name, 4, 8)
    image = Image.fromarray(np.random.default_rng(3).integers(0, 256, (24, 24, 3), np.uint8))
    found = C4Preprocessor(variant)(image)
    bytes_again = found.flip(0) + torch.tensor(variant.pixel_mean).flip(0)[:, None, None]
    wanted = torch.from_numpy(np.asarray(image.resize((4, 4), Image.Resampling.BILINEAR)).copy())
    torch.testing.assert_close(bytes_again, wanted.permute(2, 0, 1).float(), atol=1e-4, rtol=0)


def test_preprocessors_travel_to_workers() -> None:
    image = Image.fromarray(np.random.default_rng(4).integers(0, 256, (9, 12, 3), np.uint8))
    preprocessor = C4Preprocessor(tiny("butd-r101"))
    again = pickle.loads(pickle.dumps(preprocessor))
    assert torch.equal(again(image), preprocessor(image))
