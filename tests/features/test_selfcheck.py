"""The bundled mini detector against its own features, spoiled in one way at a time."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from features.backends.base import Backend, load_backend
from features.comparison import BOX_FORMS, Reference, compare
from features.export import main as export_main
from features.extractor import RegionExtractor
from features.images import read_image
from features.schema import Regions
from features.selfcheck import main
from features.store import write_shard
from tests.imports import ROOT

PICTURE = ROOT / "examples" / "images" / "000000303818.jpg"  # people, cars and a bus, far from square


@pytest.fixture(scope="module")
def backend() -> Backend:
    torch.set_num_threads(1)
    return load_backend("mini", None, "cpu")


@pytest.fixture(scope="module")
def image() -> Image.Image:
    return read_image(PICTURE)


@pytest.fixture(scope="module")
def regions(image: Image.Image) -> Regions:
    return RegionExtractor("mini", device="cpu").regions(image, "a.jpg")


def reference_of(regions: Regions, **changes: Any) -> Reference:
    reference = Reference(
        boxes=regions.boxes, vectors=regions.features.astype(np.float32), object_ids=regions.object_ids
    )
    return dataclasses.replace(reference, **changes)


def test_its_own_features_are_the_same(image: Image.Image, backend: Backend, regions: Regions) -> None:
    found = compare(reference_of(regions), image, backend)

    assert found.differences() == []
    assert found.n_reference == found.n_ours == found.matched.pairs
    assert found.at_their_boxes.cosine > 0.99999
    assert found.at_their_boxes.max_abs < 0.01
    assert (found.found_again, found.labels_agree) == (1.0, 1.0)


def test_six_box_numbers_behind_the_vectors_are_passed_over(
    image: Image.Image, backend: Backend, regions: Regions
) -> None:
    vectors = np.concatenate([regions.features, regions.geometry], axis=1, dtype=np.float32)

    assert compare(reference_of(regions, vectors=vectors), image, backend).differences() == []


def test_swapped_colours_are_called_so(image: Image.Image, backend: Backend, regions: Regions) -> None:
    swapped = Image.merge("RGB", image.split()[::-1])
    reference = reference_of(RegionExtractor("mini", device="cpu").regions(swapped))

    differences = compare(reference, image, backend).differences()

    assert (
        "colours: the vectors agree when red and blue are swapped (RGB taken for BGR, or back)" in differences
    )


def in_other_form(boxes: np.ndarray, form: str, width: int, height: int) -> np.ndarray:
    """What ``BOX_FORMS[form]`` turns back."""
    resized = min(600 / min(width, height), 1000 / max(width, height))
    return {
        "x1 y1 x2 y2 in pixels": boxes,
        "x y width height in pixels": np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]),
        "y1 x1 y2 x2 in pixels": boxes[:, [1, 0, 3, 2]],
        "x1 y1 x2 y2 from 0 to 1": boxes / [width, height, width, height],
        "x1 y1 x2 y2 of the picture resized to 600/1000": boxes * resized,
    }[form].astype(np.float32)


@pytest.mark.parametrize("form", BOX_FORMS)
def test_the_form_of_the_boxes_is_found(
    form: str, image: Image.Image, backend: Backend, regions: Regions
) -> None:
    boxes = in_other_form(regions.boxes, form, *image.size)

    found = compare(reference_of(regions, boxes=boxes), image, backend)

    assert found.box_form == form
    assert found.at_their_boxes.cosine > 0.999
    geometry = [line for line in found.differences() if line.startswith("geometry")]
    assert len(geometry) == (form != next(iter(BOX_FORMS)))


def test_another_choice_of_boxes_is_told_from_other_vectors(
    image: Image.Image, backend: Backend, regions: Regions
) -> None:
    rng = np.random.default_rng(0)
    corners = np.sort(rng.random((12, 2, 2)) * image.size, axis=1).reshape(12, 4).astype(np.float32)
    batch = backend.preprocessor(image)[None]
    (given,) = backend.detect(batch, [(image.height, image.width)], [corners])
    reference = Reference(boxes=given.boxes, vectors=given.features.astype(np.float32))

    differences = compare(reference, image, backend).differences()

    assert [line.split(":")[0] for line in differences] == ["boxes"]


def test_other_vectors_at_the_same_boxes_are_called_so(
    image: Image.Image, backend: Backend, regions: Regions
) -> None:
    noise = np.abs(np.random.default_rng(0).standard_normal(regions.features.shape)).astype(np.float32)

    differences = compare(reference_of(regions, vectors=noise), image, backend).differences()

    assert [line.split(":")[0] for line in differences] == ["vectors"]
    assert "they differ at the same boxes" in differences[0]


def test_another_resizing_is_nearly_the_same(image: Image.Image, backend: Backend, regions: Regions) -> None:
    batch = backend.preprocessor(image)[None].float() + 6  # the mean
    (given,) = backend.detect(batch, [(image.height, image.width)], [regions.boxes])
    reference = Reference(boxes=given.boxes, vectors=given.features.astype(np.float32))

    differences = compare(reference, image, backend).differences()

    assert (
        "vectors: nearly the same: another resizing, another mean, or the picture was saved anew"
        in differences
    )


def test_a_background_counted_as_class_0_and_another_order_are_seen(
    image: Image.Image, backend: Backend, regions: Regions
) -> None:
    one_more = reference_of(regions, object_ids=regions.object_ids + 1)
    backwards = reference_of(
        regions, boxes=regions.boxes[::-1], vectors=regions.features[::-1], object_ids=None
    )

    assert compare(one_more, image, backend).differences() == [
        "labels: the reference counts the background as class 0; take 1 off"
    ]
    (order,) = compare(backwards, image, backend).differences()
    assert order.startswith("order: the reference is not sorted by score")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"vectors": np.zeros((3, 2048), np.float32)},
            "vectors of 2048 numbers, the mini detector gives 1280",
        ),
        ({"boxes": np.full((3, 4), 5000.0, np.float32)}, "lie in this picture of"),
        ({"boxes": np.zeros((0, 4), np.float32), "vectors": np.zeros((0, 1280))}, "has no regions"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    changes: dict[str, Any], message: str, image: Image.Image, backend: Backend
) -> None:
    reference = Reference(boxes=np.zeros((3, 4), np.float32), vectors=np.zeros((3, 1280), np.float32))

    with pytest.raises(ValueError, match=message):
        compare(dataclasses.replace(reference, **changes), image, backend)


def test_the_command_reads_what_we_export(
    tmp_path: Path, regions: Regions, capsys: pytest.CaptureFixture[str]
) -> None:
    meta = RegionExtractor("mini", device="cpu").meta()
    write_shard(tmp_path / "r.h5", [regions], meta)
    assert export_main([str(tmp_path / "r.h5"), str(tmp_path / "npz"), "--format", "npz"]) == 0
    arguments = [
        "--reference",
        str(tmp_path / "npz" / "a.jpg.npz"),
        "--image",
        str(PICTURE),
        "--backend",
        "mini",
    ]

    assert main(arguments) == 0

    said = capsys.readouterr().out
    assert "-> the same: boxes, vectors and order are those of this detector" in said
    assert "classes: 100% of the overlapping regions agree" in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"x": np.zeros((2, 3))}, r"wanted are x \(N, D\) and bbox \(N, 4\)"),
        ({"x": np.zeros((2, 3)), "bbox": np.zeros((3, 4))}, r"found x \(2, 3\), bbox \(3, 4\)"),
        (
            {"x": np.array([{"a": 1}], object), "bbox": np.zeros((1, 4))},
            "cannot be read as npz without pickle",
        ),
    ],
)
def test_a_reference_without_the_arrays_is_refused(
    content: dict[str, Any], message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "x.npz", **content)

    with pytest.raises(ValueError, match=message):
        Reference.load(tmp_path / "x.npz")


def test_padded_arrays_are_cut_and_pickles_passed_over(tmp_path: Path) -> None:
    padded = {
        "x": np.ones((5, 3)),
        "bbox": np.ones((5, 4)),
        "num_bbox": 2,
        "info": np.array({"a": 1}, object),
    }
    np.savez(tmp_path / "x.npz", **padded)

    found = Reference.load(tmp_path / "x.npz")

    assert found.boxes.shape == (2, 4)
    assert found.vectors.shape == (2, 3)
    assert found.object_ids is None


def test_a_broken_reference_and_a_missing_picture_are_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--reference", str(tmp_path / "x.npz"), "--image", "none.jpg", "--backend", "mini"]

    assert main(arguments) == 1
    assert "x.npz: no such file" in capsys.readouterr().err

    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 broken")
    assert main(arguments) == 1
    assert "x.npz: cannot be read as npz without pickle" in capsys.readouterr().err

    np.savez(tmp_path / "x.npz", x=np.zeros((1, 3)), bbox=np.zeros((1, 4)))
    assert main(arguments) == 1
    assert "none.jpg: no such file" in capsys.readouterr().err
