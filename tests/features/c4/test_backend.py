"""The back end on small detectors: what it keeps, gives, says and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from features.backends.base import BACKENDS, Detections, DetectorOptions, load_backend
from features.backends.c4.backend import C4Backend
from features.backends.c4.flavours import C4Weights
from features.backends.c4.variants import VARIANTS
from features.regions import PROFILES
from features.schema import box_geometry
from tests.features.c4.detectors import random_state, small

NAMES = sorted(VARIANTS)
WIDTH, HEIGHT = 90, 70
FIELDS = (
    "boxes",
    "object_ids",
    "object_scores",
    "features",
    "global_feature",
    "attribute_ids",
    "attribute_scores",
    "class_ids",
    "class_scores",
)
Load = Callable[..., C4Backend]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads a small variant from a file in native names."""

    def read(path: Path) -> C4Weights:
        return C4Weights(variant=path.stem, flavour="native", state=load_file(path), dropped={})

    def vocabulary(vocabulary_id: str, beside: Path) -> tuple[str, ...]:
        return tuple(f"{vocabulary_id} {row}" for row in range(5 if "attributes" in vocabulary_id else 7))

    monkeypatch.setattr("features.backends.c4.backend.read_c4_weights", read)
    monkeypatch.setattr("features.backends.c4.backend.load_vocabulary", vocabulary)

    def load(name: str, seed: int = 0, changes: dict[str, Any] | None = None, **options: Any) -> C4Backend:
        sizes = {"short_side": 96, "long_side": 160, "anchor_sizes": (16, 32, 96)}
        variant = small(name, **(sizes | (changes or {})))
        monkeypatch.setitem(VARIANTS, name, variant)
        path = tmp_path / f"{name}.safetensors"
        save_file(random_state(variant, seed), path)
        return C4Backend(path, torch.device("cpu"), DetectorOptions(**options))

    return load


def pictures(n: int = 1) -> list[Image.Image]:
    random = np.random.default_rng(3)
    sheets = [Image.fromarray(random.integers(0, 256, (8, 9, 3), np.uint8)) for _ in range(n)]
    return [sheet.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC) for sheet in sheets]


def detect(backend: C4Backend, n: int = 1, boxes: list[np.ndarray] | None = None) -> list[Detections]:
    batch = torch.stack([backend.preprocessor(picture) for picture in pictures(n)])
    return backend.detect(batch, [(HEIGHT, WIDTH)] * n, boxes)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_gives_regions_of_the_contract(name: str, load: Load) -> None:
    backend = load(name, overrides={"min_regions": 4, "max_regions": 8})
    (found,) = detect(backend)
    n_regions = len(found.boxes)
    assert 4 <= n_regions <= 8
    assert found.boxes.shape == (n_regions, 4)
    assert found.boxes.dtype == np.float32
    assert (found.boxes >= 0).all()
    assert (box_geometry(found.boxes, WIDTH, HEIGHT)[:, :4] <= 1).all()
    assert found.features.shape == (n_regions, 256)
    assert found.features.dtype == np.float16
    assert found.object_ids.dtype == np.int32
    assert found.object_scores.dtype == np.float32
    assert (np.diff(found.object_scores) <= 0).all()
    assert found.num_proposals is not None
    assert n_regions <= found.num_proposals <= 20
    assert found.attribute_ids is found.attribute_scores is found.class_ids is found.class_scores is None
    assert len(np.unique(found.features, axis=0)) > 1


@pytest.mark.parametrize("size", [(600, 1), (1, 600), (2000, 4), (5000, 1)])
@pytest.mark.parametrize("name", NAMES)
def test_web_spacers_are_detected_in_or_refused_by_name(name: str, size: tuple[int, int], load: Load) -> None:
    backend = load(name, changes={"short_side": 600, "long_side": 1000})
    image = Image.new("RGB", size)
    if VARIANTS[name].caffe_pool:
        with pytest.raises(ValueError, match=f"too thin for {name}: {size[0]}x{size[1]} pixels"):
            backend.preprocessor(image)
        image = Image.new("RGB", (600, 2))  # 3 prepared pixels, which are enough
    (found,) = backend.detect(backend.preprocessor(image)[None], [(image.height, image.width)])
    assert found.global_feature is not None
    assert np.isfinite(found.global_feature).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_has_the_same_bits_in_every_batch(name: str, load: Load) -> None:
    attributes = bool(VARIANTS[name].attributes)
    backend = load(name, attributes=attributes, class_topk=3)
    together = detect(backend, 3)
    batch = [backend.preprocessor(picture)[None] for picture in pictures(3)]
    for one, picture in zip(together, batch, strict=True):
        (alone,) = backend.detect(picture, [(HEIGHT, WIDTH)])
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(one, field), getattr(alone, field), err_msg=field)


def test_float32_is_never_tf32(load: Load) -> None:
    backend = load("coco-r50")
    seen: list[tuple[str, bool, bool]] = []
    for name, module in backend.network.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_pre_hook(
                lambda *_, name=name: seen.append(
                    (name, torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic)
                )
            )
    before = torch.backends.cudnn.allow_tf32
    detect(backend)
    assert {name.split(".")[0] for name, _, _ in seen} == {"trunk", "rpn", "head"}
    assert {(tf32, deterministic) for _, tf32, deterministic in seen} == {(False, True)}
    assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.parametrize("name", ["vinvl-x152", "butd-r101"])
def test_boxes_of_proposal_profiles_are_where_the_vectors_come_from(name: str, load: Load) -> None:
    backend = load(name)
    (found,) = detect(backend)
    (again,) = detect(backend, boxes=[found.boxes])
    order = again.boxes[:, None] == found.boxes[None]
    rows = order.all(-1).argmax(1)
    assert sorted(rows) == list(range(len(rows)))
    np.testing.assert_allclose(again.features, found.features[rows].astype(np.float32), rtol=2e-3, atol=2e-3)


def test_refined_boxes_are_kept_where_the_profile_says_so(load: Load) -> None:
    proposals, refined = (
        load(
            "vinvl-x152",
            overrides={"box_source": source, "suppression": "agnostic", "tag": "raw", "nms_iou": 1.0},
        )
        for source in ("proposal", "regressed")
    )
    (kept,), (moved,) = detect(proposals), detect(refined)
    assert kept.object_ids.tolist() == moved.object_ids.tolist()
    np.testing.assert_array_equal(kept.features, moved.features)
    assert np.abs(kept.boxes - moved.boxes).max() > 0.01


def test_a_box_of_less_than_a_pixel_does_not_end_before_it_starts(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = load("vinvl-x152")
    slivers = torch.tensor([[30.0, 20, 29.25, 60], [50, 40, 90, 39.5]])  # sides of 0.25 and 0.5, counted + 1
    monkeypatch.setattr(backend.network, "proposals", lambda *_: slivers)
    (found,) = detect(backend)
    assert len(found.boxes) == 2
    assert (found.boxes[:, 2:] >= found.boxes[:, :2]).all()


@pytest.mark.parametrize("name", NAMES)
def test_given_boxes_are_all_kept_as_they_are(name: str, load: Load) -> None:
    given = np.array(
        [[3.25, 4.5, 60.75, 50], [3.25, 4.5, 60.75, 50], [20, 1, 21, 2], [40, 30, 90, 70]], np.float32
    )
    (found,) = detect(load(name), boxes=[given])
    assert sorted(found.boxes.tolist()) == sorted(given.tolist())
    assert (np.diff(found.object_scores) <= 0).all()
    twins = (found.boxes == given[0]).all(1).nonzero()[0]
    np.testing.assert_array_equal(found.features[twins[0]], found.features[twins[1]])
    assert found.num_proposals == 4


def test_no_given_boxes_leave_the_whole_picture(load: Load) -> None:
    (found,) = detect(load("vinvl-x152"), boxes=[np.zeros((0, 4), np.float32)])
    assert found.boxes.shape == (0, 4)
    assert found.features.shape == (0, 256)
    assert found.global_feature is not None


@pytest.mark.parametrize(
    ("name", "end"), [("coco-r50", (90, 70)), ("butd-r101", (90 - 90 / 123, 70 - 70 / 96))]
)
def test_the_global_vector_is_that_of_the_whole_picture(
    name: str, end: tuple[float, float], load: Load
) -> None:
    (found,) = detect(load(name), boxes=[np.array([[0, 0, *end]], np.float32)])
    assert found.global_feature is not None
    np.testing.assert_allclose(
        found.global_feature, found.features[0].astype(np.float32), rtol=2e-3, atol=2e-3
    )


@pytest.mark.parametrize("name", ["vinvl-x152", "butd-r101", "frcnn-vg-finetuned"])
def test_attributes_belong_to_the_kept_regions(name: str, load: Load) -> None:
    backend = load(name, changes={"attribute_min_score": 0.0}, attributes=True)
    (found,) = detect(backend)
    assert found.attribute_ids is not None
    assert found.attribute_scores is not None
    assert found.attribute_ids.dtype == np.int32
    assert found.attribute_scores.dtype == np.float32
    assert backend.attribute_vocabulary[4] == f"{backend.variant.attribute_vocabulary_id} 4"
    row = len(found.boxes) // 2
    vector = torch.from_numpy(found.features[row : row + 1]).float()
    logits = backend.network.class_logits(vector)
    object_id = torch.from_numpy(found.object_ids[row : row + 1]).long()
    scores = backend.network.attribute_probabilities(vector, logits, object_id)[0]
    assert found.attribute_ids[row] == scores.argmax()
    assert found.attribute_scores[row] == pytest.approx(scores.max().item(), rel=1e-2)


def test_a_weak_attribute_is_none(load: Load) -> None:
    bar = 0.5
    (found,) = detect(load("vinvl-x152", changes={"attribute_min_score": bar}, attributes=True))
    assert found.attribute_ids is not None
    assert found.attribute_scores is not None
    assert ((found.attribute_ids == -1) == (found.attribute_scores <= bar)).all()
    assert -1 in found.attribute_ids


def test_the_best_classes_are_kept_with_their_scores(load: Load) -> None:
    (found,) = detect(load("coco-r50", class_topk=3))
    assert found.class_ids is not None
    assert found.class_scores is not None
    assert found.class_ids.shape == found.class_scores.shape == (len(found.boxes), 3)
    np.testing.assert_array_equal(found.class_ids[:, 0], found.object_ids)
    np.testing.assert_array_equal(found.class_scores[:, 0], found.object_scores.astype(np.float16))
    assert (np.diff(found.class_scores.astype(np.float32), axis=1) <= 0).all()


def test_all_that_changes_numbers_shows_in_the_description(load: Load) -> None:
    plain = load("vinvl-x152")
    others = [
        load("vinvl-x152", seed=1),
        load("vinvl-x152", profile="butd"),
        load("vinvl-x152", overrides={"max_regions": 50}),
        load("vinvl-x152", amp=True),
        load("vinvl-x152", changes={"norm_eps": 1e-5}),
    ]
    told = [json.dumps(backend.description(), sort_keys=True) for backend in (plain, *others)]
    assert len(set(told)) == len(told)
    assert json.loads(told[0]) == plain.description()
    more = load("vinvl-x152", attributes=True, class_topk=2)  # a captioner reads the same numbers
    assert told[0] == json.dumps(more.description(), sort_keys=True)


def test_anchors_of_a_file_replace_the_variants_and_are_described(load: Load, tmp_path: Path) -> None:
    backend = load("coco-r50")
    path = tmp_path / "coco-r50.safetensors"
    anchors = torch.arange(36.0).reshape(9, 4)
    save_file({**load_file(path), "rpn.anchors": anchors}, path)
    again = C4Backend(path, torch.device("cpu"))
    assert again.description()["anchors"] == anchors.tolist() != backend.description()["anchors"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"attributes": True},
            "coco-r50 has no attributes; c4 has, with Visual Genome weights",
        ),
        ({"class_topk": 8}, "class_topk must lie in 0..7 .coco-r50., got 8"),
        ({"profile": "best"}, "unknown selection profile 'best'"),
        ({"overrides": {"min_score": 2.0}}, "min_score must lie in"),
    ],
)
def test_what_cannot_be_done_is_refused(options: dict[str, Any], reason: str, load: Load) -> None:
    with pytest.raises(ValueError, match=reason):
        load("coco-r50", **options)


def test_weights_that_do_not_fit_are_refused_by_file(load: Load, tmp_path: Path) -> None:
    load("coco-r50")
    path = tmp_path / "coco-r50.safetensors"
    state = load_file(path)
    del state["head.classes.bias"]
    save_file(state, path)
    with pytest.raises(
        ValueError, match=r"coco-r50.safetensors: not the weights of coco-r50: .*head.classes.bias"
    ):
        C4Backend(path, torch.device("cpu"))


def test_c4_is_loaded_by_name_and_first_of_all(load: Load, tmp_path: Path) -> None:
    load("vinvl-x152")
    backend = load_backend("c4", tmp_path / "vinvl-x152.safetensors", "cpu", DetectorOptions(profile="butd"))
    assert isinstance(backend, C4Backend)
    assert (backend.name, backend.selection.profile, backend.vocabulary[6]) == ("c4", "butd", "vinvl-1594 6")
    assert next(iter(BACKENDS)) == "c4"


@pytest.mark.parametrize("name", NAMES)
def test_a_variant_starts_with_its_publishers_profile(name: str, load: Load) -> None:
    assert load(name).selection == PROFILES[VARIANTS[name].profile]


def test_the_smallest_proposal_is_measured_in_the_original(load: Load) -> None:
    (found,) = detect(load("butd-r101", changes={"min_side": 40}))
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    assert len(sides)
    assert sides.min() > 40 - 1  # of which one prepared pixel is counted, not spanned
