"""The mini detector with random weights: what must hold whatever it has learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from features.backends.mini import MiniBackend, MiniDetector, SquashPreprocessor, load_trunk, normalise
from features.train_detector import export_weights


@pytest.fixture(scope="module")
def trunk() -> torch.nn.Module:
    torch.manual_seed(0)
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # statistics that folding could get wrong
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
    return model.eval()


@pytest.fixture(scope="module")
def weights(trunk: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    model = MiniDetector()
    load_trunk(model, trunk.state_dict())
    path = tmp_path_factory.mktemp("weights") / "detector.safetensors"
    export_weights(model, path)
    return path


def pictures(n: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (n, 3, 320, 320), dtype=torch.uint8, generator=generator)


def test_the_appearance_map_is_the_imagenet_trunks_last_map(trunk: torch.nn.Module) -> None:
    model = MiniDetector()
    load_trunk(model, trunk.state_dict())

    with torch.no_grad():
        ours = model.appearance(model.shared(normalise(pictures(1))))
        theirs = trunk.forward_features(normalise(pictures(1)))

    # Values reach 6; folding rounds the weights of 50 random layers, a wrong fold is off by more than 0.1.
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_training_never_moves_the_appearance_branch() -> None:
    model = MiniDetector()

    frozen = [*model.shared.parameters(), *model.appearance.parameters()]

    assert not any(p.requires_grad for p in frozen)
    assert all(p.requires_grad for name, p in model.detection.named_parameters() if name.endswith("weight"))


def test_float32_is_never_tf32(weights: Path) -> None:
    backend = MiniBackend(weights, torch.device("cpu"))
    seen: list[bool] = []
    for module in backend.model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_pre_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    with torch.backends.cudnn.flags(allow_tf32=True):
        backend.detect(pictures(1), [(320, 320)])
        assert torch.backends.cudnn.allow_tf32
    assert set(seen) == {False}


def test_a_batch_of_three_gives_what_three_single_pictures_give(weights: Path) -> None:
    backend = MiniBackend(weights, torch.device("cpu"))
    sizes = [(300, 400), (200, 100), (320, 320)]

    together = backend.detect(pictures(3), sizes)
    alone = [backend.detect(pictures(3)[i : i + 1], sizes[i : i + 1])[0] for i in range(3)]

    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a.global_feature, b.global_feature, atol=2e-3, rtol=2e-3)
        np.testing.assert_allclose(a.object_scores, b.object_scores, atol=1e-5)


def test_boxes_come_back_in_pixels_of_the_original(weights: Path) -> None:
    backend = MiniBackend(weights, torch.device("cpu"))

    wide = backend.detect(pictures(1), [(160, 640)])[0]
    square = backend.detect(pictures(1), [(320, 320)])[0]

    np.testing.assert_allclose(wide.boxes, square.boxes * [2, 0.5, 2, 0.5], rtol=1e-5)
    assert wide.boxes.max() <= 640


def test_regions_are_score_descending_half_precision_vectors(weights: Path) -> None:
    backend = MiniBackend(weights, torch.device("cpu"))

    found = backend.detect(pictures(1), [(320, 320)])[0]

    assert (np.diff(found.object_scores) <= 0).all()
    assert found.features.shape == (len(found.boxes), 1280)
    assert found.features.dtype == np.float16
    assert found.global_feature is not None
    assert found.global_feature.shape == (1280,)


def test_red_stays_red_through_the_preprocessor() -> None:
    prepared = SquashPreprocessor()(Image.new("RGB", (50, 20), (255, 127, 0)))

    assert prepared.shape == (3, 320, 320)
    assert normalise(prepared).mean((1, 2)).tolist() == pytest.approx([1.0, 0.0, -127 / 128])


def test_other_weights_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path)

    with pytest.raises(ValueError, match=r"other\.safetensors: not weights of the mini detector"):
        MiniBackend(path, torch.device("cpu"))


def test_missing_weights_say_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"python -m features\.train_detector"):
        MiniBackend(tmp_path / "none.safetensors", torch.device("cpu"))


def test_the_detectors_own_boxes_given_back_have_the_same_vectors(weights: Path) -> None:
    backend = MiniBackend(weights, torch.device("cpu"))
    sizes = [(300, 400), (97, 1031)]
    own = backend.detect(pictures(2), sizes)

    again = backend.detect(pictures(2), sizes, [found.boxes for found in own])

    for found, wanted in zip(again, own, strict=True):
        rows = [int(np.flatnonzero((wanted.boxes == box).all(1))[0]) for box in found.boxes]
        assert sorted(rows) == list(range(len(wanted.boxes)))  # all of them, bit by bit
        np.testing.assert_allclose(found.features, wanted.features[rows], atol=1e-3, rtol=1e-3)
        np.testing.assert_array_equal(found.global_feature, wanted.global_feature)
        assert (np.diff(found.object_scores) <= 0).all()
        assert found.object_ids.dtype == np.int32


def test_given_boxes_are_neither_suppressed_nor_cut_short(weights: Path) -> None:
    backend = MiniBackend(weights, torch.device("cpu"), class_topk=2)
    same = np.tile(np.array([[10, 20, 200, 300]], np.float32), (40, 1))

    many, none = backend.detect(pictures(2), [(320, 320)] * 2, [same, np.empty((0, 4), np.float32)])

    np.testing.assert_array_equal(many.boxes, same)
    assert np.ptp(many.object_scores) == 0
    assert many.class_ids is not None
    np.testing.assert_array_equal(many.class_ids[:, 0], many.object_ids)
    assert none.features.shape == (0, 1280)
    assert none.boxes.shape == (0, 4)


def test_a_batch_may_be_given_no_boxes_at_all(weights: Path) -> None:
    backend = MiniBackend(weights, torch.device("cpu"), class_topk=2)
    found = backend.detect(pictures(2), [(320, 320)] * 2, [np.empty((0, 4), np.float32)] * 2)
    assert [one.boxes.shape for one in found] == [(0, 4)] * 2
    assert [one.features.shape for one in found] == [(0, 1280)] * 2
    assert [one.class_ids is not None and one.class_ids.shape for one in found] == [(0, 2)] * 2
