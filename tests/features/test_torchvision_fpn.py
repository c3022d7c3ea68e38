from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models.detection import (
    FasterRCNN,
    FasterRCNN_ResNet50_FPN_Weights,
    fasterrcnn_resnet50_fpn,
    fasterrcnn_resnet50_fpn_v2,
)
from torchvision.transforms.functional import to_tensor

import features.weights
from features.backends.torchvision_fpn import FpnPreprocessor, TorchvisionBackend
from features.regions import COCO, Selection
from features.vocabularies import COCO_CLASSES

SIZES: dict[str, Any] = {"min_size": 64, "max_size": 100}
EVERYTHING = Selection(profile="all", min_score=0.0, min_regions=100, max_regions=100, nms_iou=1.0)
CPU = torch.device("cpu")


def seeded(model: FasterRCNN) -> FasterRCNN:
    """Weights whose detections have scores to choose between; fresh ones give every class 1/91."""
    generator = torch.Generator().manual_seed(5)
    for name, values in model.named_buffers():
        if name.endswith("running_mean"):
            values.copy_(torch.randn(values.shape, generator=generator) * 0.05)
        elif name.endswith("running_var"):
            values.copy_(1 + torch.rand(values.shape, generator=generator) * 0.2)
    weight = model.roi_heads.box_predictor.cls_score.weight.data
    weight.copy_(torch.randn(weight.shape, generator=generator) * 0.25)
    return few_proposals(model.eval())


def few_proposals(model: FasterRCNN) -> FasterRCNN:
    model.rpn._post_nms_top_n = {"training": 40, "testing": 40}  # the box heads would take seconds a picture
    return model


@pytest.fixture(scope="module")
def v1(tmp_path_factory: pytest.TempPathFactory) -> tuple[FasterRCNN, Path]:
    """Torchvision's own model, and the file of its weights."""
    torch.manual_seed(1)
    model = seeded(fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, **SIZES))
    path = tmp_path_factory.mktemp("v1") / "weights.pth"
    torch.save(model.state_dict(), path)
    return model, path


@pytest.fixture(scope="module")
def v2(tmp_path_factory: pytest.TempPathFactory) -> tuple[FasterRCNN, Path]:
    """The same of its second version, in the other file format."""
    torch.manual_seed(2)
    model = seeded(fasterrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, **SIZES))
    path = tmp_path_factory.mktemp("v2") / "weights.safetensors"
    save_file(model.state_dict(), path)
    return model, path


def pictures(size: tuple[int, int], n: int = 2) -> list[Image.Image]:
    random = np.random.default_rng(3)
    return [
        Image.fromarray(random.integers(0, 256, (9, 9, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
        for _ in range(n)
    ]


def load(path: Path, selection: Selection = EVERYTHING) -> TorchvisionBackend:
    backend = TorchvisionBackend(path, CPU, selection, **SIZES)
    few_proposals(backend.model)
    return backend


@torch.inference_mode()
def reference(
    model: FasterRCNN, images: list[Image.Image]
) -> tuple[list[dict[str, Tensor]], Tensor, tuple[int, int]]:
    """The model as anyone calls it; its C5 map; the prepared size."""
    maps: list[Tensor] = []
    shapes: list[tuple[int, int]] = []
    hooks = [
        model.backbone.body.layer4.register_forward_hook(lambda _m, _i, out: maps.append(out)),
        model.transform.register_forward_hook(lambda _m, _i, out: shapes.extend(out[0].image_sizes)),
    ]
    found = model([to_tensor(image) for image in images])
    for hook in hooks:
        hook.remove()
    return found, maps[0], shapes[0]


def pooled_by_hand(c5: Tensor, box: Tensor) -> Tensor:
    """Mean of 14 x 14 bilinear samples over the box: what 7 x 7 bins of 2 x 2 samples average to."""
    x1, y1, x2, y2 = (box / 32 - 0.5).tolist()
    steps = (torch.arange(14) + 0.5) / 14
    x, y = x1 + steps * (x2 - x1), y1 + steps * (y2 - y1)
    height, width = c5.shape[-2:]
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]  # (1, 14, 14, 2)
    span = torch.tensor([max(width - 1, 1), max(height - 1, 1)]) / 2
    sampled = F.grid_sample(c5[None], grid / span - 1, padding_mode="border", align_corners=True)
    return sampled.mean((2, 3))[0]


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("size", [(120, 90), (70, 133)])
def test_boxes_scores_classes_and_vectors_are_those_of_torchvisions_own_model(
    version: str, size: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    model, path = request.getfixturevalue(version)
    images = pictures(size)
    wanted, c5, (height, width) = reference(model, images)
    backend = load(path)
    batch = torch.stack([backend.preprocessor(image) for image in images])
    assert batch.shape[-2:] == (height, width)
    found = backend.detect(batch, [(image.height, image.width) for image in images])
    categories = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    for picture, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
        named = [
            row for row, label in enumerate(theirs["labels"].tolist()) if categories[label] in COCO_CLASSES
        ]
        assert len(named) > 10
        np.testing.assert_allclose(ours.boxes, theirs["boxes"][named], atol=2e-3)
        np.testing.assert_allclose(ours.object_scores, theirs["scores"][named], atol=1e-4)
        names = [categories[label] for label in theirs["labels"][named].tolist()]
        assert [COCO_CLASSES[i] for i in ours.object_ids] == names
        scale = torch.tensor([width, height, width, height]) / torch.tensor([*size, *size])
        for row in (0, len(named) // 2, -1):
            vector = pooled_by_hand(c5[picture], theirs["boxes"][named][row] * scale)
            np.testing.assert_allclose(ours.features[row].astype(np.float32), vector, rtol=2e-3, atol=2e-3)
        whole = pooled_by_hand(c5[picture], torch.tensor([0.0, 0.0, width, height]))
        assert ours.global_feature is not None
        np.testing.assert_allclose(ours.global_feature.astype(np.float32), whole, rtol=2e-3, atol=2e-3)


def test_float32_is_never_tf32(v1: tuple[FasterRCNN, Path]) -> None:
    backend = load(v1[1])
    seen: list[bool] = []
    for module in backend.model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_pre_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    (image,) = pictures((120, 90), n=1)
    with torch.backends.cudnn.flags(allow_tf32=True):
        backend.detect(backend.preprocessor(image)[None], [(90, 120)])
        assert torch.backends.cudnn.allow_tf32
    assert set(seen) == {False}


def test_a_batch_gives_what_its_pictures_give_alone(v1: tuple[FasterRCNN, Path]) -> None:
    backend = load(v1[1])
    images = pictures((120, 90), n=3)
    batch = torch.stack([backend.preprocessor(image) for image in images])
    together = backend.detect(batch, [(90, 120)] * 3)
    for one, picture in zip(together, batch, strict=True):
        (alone,) = backend.detect(picture[None], [(90, 120)])
        np.testing.assert_allclose(one.boxes, alone.boxes, atol=2e-3)
        np.testing.assert_array_equal(one.object_ids, alone.object_ids)
        # fp32 sums in another order may round to the neighbouring float16, 2 ** -10 away
        np.testing.assert_allclose(
            one.features.astype(np.float32), alone.features.astype(np.float32), rtol=2**-10, atol=1e-4
        )


def test_the_keep_rule_suppresses_across_classes_and_cuts_by_score(v1: tuple[FasterRCNN, Path]) -> None:
    images = pictures((120, 90), n=1)
    rule = Selection(profile="test", min_score=0.3, min_regions=2, max_regions=9, nms_iou=0.5)
    all_of_them, kept = load(v1[1]), load(v1[1], rule)
    batch = all_of_them.preprocessor(images[0])[None]
    (every,), (few,) = all_of_them.detect(batch, [(90, 120)]), kept.detect(batch, [(90, 120)])
    rows: list[int] = []
    for row, box in enumerate(every.boxes):  # score-descending
        if all(iou(box, every.boxes[better]) <= 0.5 for better in rows):
            rows.append(row)
    rows = rows[:9]
    n_sure = sum(every.object_scores[row] >= 0.3 for row in rows)
    np.testing.assert_array_equal(few.boxes, every.boxes[rows[: max(2, n_sure)]])
    assert len(few.boxes) < len(every.boxes)


def test_more_classes_are_those_of_the_proposal_that_a_detection_comes_from(
    v1: tuple[FasterRCNN, Path],
) -> None:
    backend = TorchvisionBackend(v1[1], CPU, EVERYTHING, class_topk=80, **SIZES)
    few_proposals(backend.model)
    (image,) = pictures((120, 90), n=1)
    (found,) = backend.detect(backend.preprocessor(image)[None], [(90, 120)])
    assert found.class_ids is not None and found.class_scores is not None
    assert found.class_ids.shape == (len(found.boxes), 80) and len(found.boxes) > 10
    own = found.class_ids == found.object_ids[:, None]
    np.testing.assert_array_equal(found.class_scores[own], found.object_scores.astype(np.float16))
    assert (np.diff(found.class_scores, axis=1) <= 0).all()
    assert (found.class_scores.astype(np.float32).sum(1) < 1.01).all()


def iou(a: np.ndarray, b: np.ndarray) -> float:
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return float(shared / (sum(areas) - shared))


@pytest.mark.parametrize("size", [(3000, 1), (1, 3000), (2, 201)])
def test_a_picture_of_which_no_row_would_be_left_is_too_thin(size: tuple[int, int]) -> None:
    preprocessor = FpnPreprocessor(**SIZES)
    with pytest.raises(ValueError, match=f"too thin .*: {size[0]}x{size[1]} pixels, wanted .* 1 to 100"):
        preprocessor(Image.new("RGB", size))


@pytest.mark.parametrize("size", [(100, 1), (1, 100), (2, 200)])
def test_thin_pictures_of_which_a_row_is_left_are_detected_in(
    size: tuple[int, int], v1: tuple[FasterRCNN, Path]
) -> None:
    backend = TorchvisionBackend(v1[1], CPU, EVERYTHING, **SIZES)
    few_proposals(backend.model)
    batch = backend.preprocessor(Image.new("RGB", size))[None]
    (found,) = backend.detect(batch, [size[::-1]])
    assert found.global_feature is not None
    assert np.isfinite(found.global_feature).all()


def test_the_preprocessor_travels_to_workers(v1: tuple[FasterRCNN, Path]) -> None:
    backend = load(v1[1])
    (image,) = pictures((50, 40), n=1)
    again = pickle.loads(pickle.dumps(backend.preprocessor))
    assert torch.equal(again(image), backend.preprocessor(image))


def test_weights_come_from_the_cache_by_name_and_by_default(
    v1: tuple[FasterRCNN, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    entry = features.weights.WeightsEntry(
        backend="torchvision",
        variant="seeded",
        mirrors=(v1[1].parent.as_uri() + "/weights.pth",),
        size_mb=1,
        vocabularies=(),
        quality="none",
    )
    monkeypatch.setattr(features.weights, "REGISTRY", {"seeded": entry})
    backend = TorchvisionBackend(None, CPU, COCO, **SIZES)  # downloads: the registry's only entry
    assert entry.path.read_bytes() == v1[1].read_bytes()
    again = TorchvisionBackend(Path("seeded"), CPU, COCO, **SIZES)
    assert again.weights_sha256 == backend.weights_sha256
    assert again.description() == backend.description()


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (
            {"conv1.weight": torch.zeros(1)},
            "no Faster R-CNN ResNet-50 FPN of torchvision .holds 'conv1.weight'",
        ),
        (["list"], "holds no state dict"),
        (
            {
                "roi_heads.box_head.fc6.weight": torch.zeros(1),
                "roi_heads.box_predictor.cls_score.weight": torch.zeros(21, 1024),
            },
            "fasterrcnn_resnet50_fpn with 21 classes; wanted are COCO's 91",
        ),
    ],
)
def test_weights_of_something_else_are_refused(tmp_path: Path, state: Any, reason: str) -> None:
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=f"w.pth: .*{reason}"):
        TorchvisionBackend(tmp_path / "w.pth", CPU)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("pwned"),))


def test_code_in_a_weights_file_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Evil()}, "evil.pth")
    with pytest.raises(ValueError, match="evil.pth: cannot be read as weights"):
        TorchvisionBackend(Path("evil.pth"), CPU)
    assert not Path("pwned").exists()


def test_a_missing_weights_file_is_answered_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError,
        match="w.pth: no such weights file; .* or one of fasterrcnn_resnet50_fpn_v2",
    ):
        TorchvisionBackend(tmp_path / "w.pth", CPU)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_detectors_own_boxes_given_back_have_the_same_vectors(
    version: str, request: pytest.FixtureRequest
) -> None:
    _, path = request.getfixturevalue(version)
    backend = load(path)
    batch = torch.stack([backend.preprocessor(image) for image in pictures((120, 90))])
    own = backend.detect(batch, [(90, 120)] * 2)

    again = backend.detect(batch, [(90, 120)] * 2, [found.boxes for found in own])

    for found, wanted in zip(again, own, strict=True):
        assert len(found.boxes) == len(wanted.boxes) > 5
        rows = [int(np.flatnonzero((wanted.boxes == box).all(1))[0]) for box in found.boxes]
        np.testing.assert_array_equal(found.boxes, wanted.boxes[rows])
        np.testing.assert_allclose(found.features, wanted.features[rows], atol=1e-3, rtol=1e-3)
        assert (np.diff(found.object_scores) <= 0).all()
        assert found.object_ids.max() < len(COCO_CLASSES)


def test_a_picture_may_be_given_no_boxes(v1: tuple[FasterRCNN, Path]) -> None:
    backend = load(v1[1])
    batch = torch.stack([backend.preprocessor(image) for image in pictures((120, 90))])
    box = np.array([[3, 4, 50, 60]], np.float32)

    none, one = backend.detect(batch, [(90, 120)] * 2, [np.empty((0, 4), np.float32), box])

    assert none.features.shape == (0, 2048)
    assert none.global_feature is not None
    np.testing.assert_array_equal(one.boxes, box)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("by", ["user", "rpn"])
def test_a_batch_without_any_box_gives_no_regions(
    version: str, by: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = load(request.getfixturevalue(version)[1])
    batch = torch.stack([backend.preprocessor(image) for image in pictures((120, 90))])
    if by == "rpn":
        monkeypatch.setattr(backend.model.rpn, "forward", lambda *_: ([torch.empty(0, 4)] * 2, {}))
    given = [np.empty((0, 4), np.float32)] * 2 if by == "user" else None
    found = backend.detect(batch, [(90, 120)] * 2, given)
    assert [one.boxes.shape for one in found] == [(0, 4)] * 2
    assert [one.features.shape for one in found] == [(0, 2048)] * 2
