"""The detectron2 back end gives what detectron2's own inference computes."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from features.backends.base import Detections, DetectorOptions, load_backend
from features.backends.detectron2 import Detectron2Backend, ShortestEdgePreprocessor
from tests.detectron2.originals import N_PROPOSALS, Original, pictures, recorded

CPU = torch.device("cpu")
# detectron2's own rule, as far as one row a region goes: each class by itself, IoU 0.5, scores above 0.05.
ITS_RULE = {
    "suppression": "class",
    "tag": "surviving",
    "nms_iou": 0.5,
    "min_score": 0.05,
    "min_regions": 1,
    "max_regions": N_PROPOSALS,
}


def load(weights: Path, **options: Any) -> Detectron2Backend:
    return Detectron2Backend(weights, CPU, DetectorOptions(**options))


def detect(backend: Detectron2Backend, images: list[Image.Image], **given: Any) -> list[Detections]:
    batch = torch.stack([backend.preprocessor(image) for image in images])
    return backend.detect(batch, [(image.height, image.width) for image in images], **given)


def mapped(original: Original, path: Path) -> dict[str, Any]:
    """A picture as detectron2 reads and resizes it."""
    from detectron2.data import DatasetMapper

    with Image.open(path) as image:
        width, height = image.size
    mapper = DatasetMapper(original.config, is_train=False)
    return mapper({"file_name": str(path), "width": width, "height": height})


@torch.inference_mode()
def inference(original: Original, path: Path) -> tuple[Any, Tensor, Tensor]:
    """Its detections in prepared pixels, the proposal that each comes from, and the proposals' vectors."""
    model, rows = original.model, []
    predictor = model.roi_heads.box_predictor
    theirs = predictor.inference

    def noted(answers: Any, proposals: Any) -> Any:
        found = theirs(answers, proposals)
        rows.append(found[1][0])
        return found

    with pytest.MonkeyPatch.context() as patch, recorded(model.roi_heads.res5) as (calls,):
        patch.setattr(predictor, "inference", noted)
        (found,) = model.inference([mapped(original, path)], do_postprocess=False)
    ((_, crops),) = calls
    return found, rows[0], crops.mean((2, 3))


@pytest.mark.parametrize(("model", "size"), [("r50", (300, 210)), ("r101", (200, 330))])
def test_boxes_classes_scores_and_vectors_are_those_of_its_own_inference(
    model: str, size: tuple[int, int], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    original = request.getfixturevalue(model)
    (picture,) = pictures(1, size)
    picture.save(tmp_path / "picture.png")
    wanted, rows, vectors = inference(original, tmp_path / "picture.png")
    backend = load(original.weights, overrides=ITS_RULE)
    (found,) = detect(backend, [picture])

    first: dict[int, int] = {}  # proposal -> its best detection; they come score-descending
    for number, row in enumerate(rows.tolist()):
        first.setdefault(row, number)
    best = list(first.values())
    assert len(best) > 15
    height, width = wanted.image_size
    scale = np.array([size[0] / width, size[1] / height] * 2, np.float32)
    np.testing.assert_allclose(found.object_scores, wanted.scores[best], atol=1e-4)
    np.testing.assert_array_equal(found.object_ids, wanted.pred_classes[best])
    np.testing.assert_allclose(found.boxes, wanted.pred_boxes.tensor[best].numpy() * scale, atol=1e-3)
    np.testing.assert_allclose(found.features, vectors[list(first)].half(), rtol=1e-3, atol=1e-4)
    assert found.num_proposals == len(vectors) == N_PROPOSALS


@pytest.mark.parametrize("channels", ["BGR", "RGB"])
@pytest.mark.parametrize("size", [(300, 210), (203, 331), (640, 100), (90, 60)])
def test_pictures_are_prepared_as_its_mapper_does(
    thin: Original, channels: str, size: tuple[int, int], tmp_path: Path
) -> None:
    path = tmp_path / "picture.png"
    picture = Image.new("RGB", size, (250, 10, 60))  # red, with a blue half
    picture.paste((10, 30, 240), (size[0] // 2, 0, *size))
    picture.save(path)
    config = thin.config.clone()
    config.INPUT.FORMAT = channels
    config.MODEL.PIXEL_STD = [57.0, 58.0, 59.0]
    wanted = (mapped(replace(thin, config=config), path)["image"] - means(config.MODEL.PIXEL_MEAN)) / means(
        config.MODEL.PIXEL_STD
    )
    prepare = ShortestEdgePreprocessor(
        short=config.INPUT.MIN_SIZE_TEST,
        longest=config.INPUT.MAX_SIZE_TEST,
        bgr=channels == "BGR",
        mean=tuple(config.MODEL.PIXEL_MEAN),
        std=tuple(config.MODEL.PIXEL_STD),
    )
    found = pickle.loads(pickle.dumps(prepare))(picture)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    assert found.is_contiguous()


def test_a_line_of_pixels_keeps_one_pixel_across() -> None:
    prepare = ShortestEdgePreprocessor(short=800, longest=1333, bgr=True, mean=(0, 0, 0), std=(1, 1, 1))
    assert prepare(Image.new("RGB", (1, 9000))).shape == (3, 1333, 1)


def means(values: list[float]) -> Tensor:
    return torch.tensor(values).view(3, 1, 1)


def test_a_picture_has_the_same_numbers_to_the_last_bit_whoever_is_in_its_batch(thin: Original) -> None:
    backend = load(thin.weights, class_topk=3)
    images = pictures(3)
    for image, found in zip(images, detect(backend, images), strict=True):
        (alone,) = detect(backend, [image])
        for name, values in vars(alone).items():
            np.testing.assert_array_equal(getattr(found, name), values, err_msg=name)


def test_the_best_classes_of_a_region_begin_with_its_own(thin: Original) -> None:
    (found,) = detect(load(thin.weights, class_topk=3), pictures(1))
    assert found.class_ids is not None and found.class_scores is not None
    assert found.class_ids.shape == (len(found.boxes), 3)
    np.testing.assert_array_equal(found.class_ids[:, 0], found.object_ids)
    np.testing.assert_array_equal(found.class_scores[:, 0], found.object_scores.astype(np.float16))
    assert (np.diff(found.class_scores.astype(np.float32), axis=1) <= 0).all()


def test_given_boxes_come_back_as_they_are_with_the_vectors_that_proposals_there_have(thin: Original) -> None:
    backend = load(
        thin.weights, overrides={"box_source": "proposal", "nms_iou": 1.0, "min_regions": N_PROPOSALS}
    )
    images = pictures(2)
    own = detect(backend, images)
    shuffled = [one.boxes[::-1].copy() for one in own]
    for one, given, found in zip(own, shuffled, detect(backend, images, boxes=shuffled), strict=True):
        assert {tuple(box) for box in found.boxes.tolist()} == {tuple(box) for box in given.tolist()}
        np.testing.assert_allclose(found.boxes, one.boxes)
        np.testing.assert_allclose(found.object_scores, one.object_scores, atol=1e-4)
        np.testing.assert_allclose(found.features, one.features, rtol=2e-3, atol=1e-3)


def test_the_vector_of_the_picture_is_that_of_a_box_around_all_of_it(thin: Original) -> None:
    (picture,) = pictures(1)
    whole = np.array([[0, 0, *picture.size]], np.float32)
    (found,) = detect(load(thin.weights), [picture], boxes=[whole])
    np.testing.assert_array_equal(found.features[0], found.global_feature)


def test_a_picture_with_no_given_box_has_no_regions(thin: Original) -> None:
    (found,) = detect(load(thin.weights), pictures(1), boxes=[np.zeros((0, 4), np.float32)])
    assert found.features.shape == (0, 2048)
    assert found.global_feature is not None


def test_bfloat16_moves_vectors_by_little_and_is_part_of_the_description(thin: Original) -> None:
    exact, quick = load(thin.weights), load(thin.weights, amp=True)
    assert exact.description() != quick.description()
    images = pictures(1)
    boxes = [np.array([[20, 30, 200, 180], [100, 5, 290, 100]], np.float32)]
    (wanted,), (found,) = detect(exact, images, boxes=boxes), detect(quick, images, boxes=boxes)
    difference = np.linalg.norm(found.global_feature.astype(np.float32) - wanted.global_feature)
    assert 0 < difference < 0.05 * np.linalg.norm(wanted.global_feature.astype(np.float32))


def test_what_a_regions_file_says_of_it_is_json_and_names_graph_and_rule(thin: Original) -> None:
    backend = load_backend("detectron2", thin.weights, "cpu", DetectorOptions(profile="butd"))
    description = json.loads(json.dumps(backend.description()))
    assert description["selection"]["profile"] == "butd"
    assert (description["min_size"], description["max_size"]) == (128, 192)
    assert (backend.vocabulary_id, len(backend.vocabulary), backend.feature_dim) == ("coco-80", 80, 2048)
