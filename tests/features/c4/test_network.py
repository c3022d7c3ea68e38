"""The graph, against torchvision's ResNet with batch norms apart and against its heads written out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops import roi_align, roi_pool

from features.backends.c4.network import C4Network, fold_batch_norms
from features.backends.c4.variants import VARIANTS, Variant
from tests.features.c4.detectors import network, random_state, small

NAMES = sorted(VARIANTS)
BOXES = torch.tensor([[0.0, 0, 159, 127], [17.3, 22.9, 80.2, 63.7], [100, 5, 140, 125]])


def torchvision_twin(variant: Variant, state: dict[str, Tensor]) -> ResNet:
    """torchvision's ResNet, turned by hand into what a variant is said to be, with the same weights."""
    twin = ResNet(
        Bottleneck,
        list(variant.blocks),
        groups=variant.groups,
        width_per_group=variant.bottleneck // variant.groups,
        replace_stride_with_dilation=[False, False, variant.res5_dilation == 2],
    )
    if variant.caffe_pool:
        twin.maxpool = nn.MaxPool2d(3, 2, padding=0, ceil_mode=True)
    for layer in (twin.layer2, twin.layer3, twin.layer4):
        if variant.stride_in_1x1:
            layer[0].conv1.stride, layer[0].conv2.stride = layer[0].conv2.stride, (1, 1)
    if (
        variant.res5_dilation == 2
    ):  # torchvision starts with the second block, bottom-up attention with the first
        twin.layer4[0].conv2.dilation = twin.layer4[0].conv2.padding = (2, 2)
    for module in twin.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = variant.norm_eps
    backbone = {
        name.split(".", 1)[1]: v for name, v in state.items() if name.startswith(("trunk.", "head.layer4"))
    }
    missing, unexpected = twin.load_state_dict(backbone, strict=False)
    assert not unexpected
    assert all("num_batches" in name or name.startswith("fc.") for name in missing)
    return twin.eval()


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_trunk_and_vectors_are_those_of_the_same_resnet_with_its_batch_norms_apart(name: str) -> None:
    groups = {"groups": 4, "bottleneck": 64} if VARIANTS[name].groups > 1 else {"bottleneck": 64}
    variant = small(name, blocks=(1, 1, 1, 2), channels=64, **groups)
    state = random_state(variant)
    twin, ours = torchvision_twin(variant, state), C4Network.from_state(variant, state)
    picture = torch.randn(3, 128, 160, generator=torch.Generator().manual_seed(1))
    hidden = twin.maxpool(twin.relu(twin.bn1(twin.conv1(picture[None]))))
    wanted_map = twin.layer3(twin.layer2(twin.layer1(hidden)))
    c4 = ours.c4_map(picture)
    assert c4.shape == wanted_map.shape
    torch.testing.assert_close(c4, wanted_map, rtol=1e-4, atol=1e-4)
    crops = {
        "pool": lambda: roi_pool(wanted_map, [BOXES], 14, 1 / 16),
        "align": lambda: roi_align(wanted_map, [BOXES], 14, 1 / 16, aligned=False),
        "align-half-pixel": lambda: roi_align(wanted_map, [BOXES], 14, 1 / 16, aligned=True),
    }[variant.crop]()
    maps = twin.layer4(crops)
    assert maps.shape[2:] == ((14, 14) if variant.res5_dilation == 2 else (7, 7))
    torch.testing.assert_close(ours.vectors(c4, BOXES), maps.mean((2, 3)), rtol=1e-4, atol=1e-4)


def test_the_three_crops_differ() -> None:
    c4 = torch.randn(1, 128, 8, 10, generator=torch.Generator().manual_seed(2))
    vectors = [
        network(small("coco-r50", crop=crop)).vectors(c4, BOXES)
        for crop in ("pool", "align", "align-half-pixel")
    ]
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert (vectors[one] - vectors[other]).abs().max() > 0.1


@torch.inference_mode()
def test_regions_have_the_vectors_they_have_alone_however_they_are_chunked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = network(small("vinvl-x152"))
    c4 = torch.randn(1, 128, 8, 10)
    together = ours.vectors(c4, BOXES)
    monkeypatch.setattr("features.backends.c4.network.ROI_CHUNK", 2)
    torch.testing.assert_close(ours.vectors(c4, BOXES), together, rtol=1e-6, atol=1e-6)


def test_folding_takes_the_epsilon_of_the_variant() -> None:
    state = {"x.conv1.weight": torch.ones(1, 1, 1, 1)} | {
        f"x.bn1.{part}": torch.tensor([value])
        for part, value in {"weight": 3.0, "bias": 1.0, "running_mean": 2.0, "running_var": 3.0}.items()
    }
    folded = fold_batch_norms(state, eps=1.0)  # (x - 2) * 3 / sqrt(3 + 1) + 1
    assert {name: value.item() for name, value in folded.items()} == {
        "x.conv1.weight": 1.5,
        "x.conv1.bias": -2.0,
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"head.classes.bias": None}, r"[Mm]issing key.*head.classes.bias"),
        ({"trunk.bn1.weight": None}, "trunk.bn1.weight"),
        ({"trunk.layer1.0.conv2.weight": None}, "trunk.layer1.0.conv2.weight"),
        ({"head.masks.weight": torch.zeros(1)}, r"[Uu]nexpected key.*head.masks.weight"),
        ({"rpn.deltas.bias": torch.zeros(7)}, "size mismatch for rpn.deltas.bias"),
        ({"rpn.anchors": torch.zeros(15, 4)}, r"rpn.anchors has shape \(15, 4\), wanted is \(12, 4\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change: dict[str, Any], reason: str) -> None:
    variant = small("butd-r101")
    state = {name: value for name, value in {**random_state(variant), **change}.items() if value is not None}
    with pytest.raises(ValueError, match=f"not the weights of butd-r101: .*{reason}"):
        C4Network.from_state(variant, state)


@pytest.mark.parametrize("name", NAMES)
def test_the_background_row_is_left_out_where_the_file_has_it(name: str) -> None:
    ours = network(small(name))
    logits = torch.tensor([[5.0, 1, 2, 3, 4, 0, 0, -5]])
    whole = logits.exp() / logits.exp().sum()
    wanted = whole[:, 1:] if name in ("vinvl-x152", "butd-r101") else whole[:, :7]
    torch.testing.assert_close(ours.class_probabilities(logits), wanted)


@torch.inference_mode()
@pytest.mark.parametrize("name", NAMES)
def test_refined_boxes_are_those_of_their_own_class_row(name: str) -> None:
    variant = small(name)
    state = random_state(variant)
    shift = {"vinvl-x152": 1, "butd-r101": 1}.get(name, 0)  # rows of background before the first class
    state["head.boxes.weight"].zero_()
    state["head.boxes.bias"].zero_()[4 * (shift + 2)] = 1.0  # dx of class 2
    ours = C4Network.from_state(variant, state)
    moved = ours.regressed(
        torch.zeros(1, variant.feature_dim), torch.tensor([[40.0, 40, 59, 59]]), (200, 200)
    )[0]
    side = 20 if variant.plus_one else 19
    dx = side / variant.box_weights[0]
    assert moved.shape == (7, 4)
    torch.testing.assert_close(moved[2, 0] - moved[1, 0], torch.tensor(dx))
    end = {"vinvl-x152": 59.0, "butd-r101": 60.0}.get(name, 59.0)
    torch.testing.assert_close(moved[1], torch.tensor([40.0, 40.0, end, end]))


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "row", "scored", "columns"),
    [
        ("butd-r101", 0, True, slice(1, 6)),  # the background is the best of all rows and feeds the embedding
        ("frcnn-vg-finetuned", 0, False, slice(0, 5)),
        ("vinvl-x152", 4, True, slice(1, 6)),  # object 3 is row 4, whatever scores best
    ],
)
def test_attributes_come_from_the_vector_and_the_class(
    name: str, row: int, scored: bool, columns: slice
) -> None:
    variant = small(name)
    state = random_state(variant)
    vector = torch.rand(1, variant.feature_dim, generator=torch.Generator().manual_seed(3))
    logits = torch.tensor([[9.0, 0, 0, 0, 1, 0, 0, 0]])
    found = C4Network.from_state(variant, state).attribute_probabilities(vector, logits, torch.tensor([3]))
    known = torch.cat([vector[0], state["attributes.embedding.weight"][row]])
    hidden = (state["attributes.hidden.weight"] @ known + state["attributes.hidden.bias"]).clamp(min=0)
    scores = (state["attributes.scores.weight"] @ hidden + state["attributes.scores.bias"]).exp()
    wanted = scores[columns] / (scores.sum() if scored else scores[columns].sum())
    torch.testing.assert_close(found[0], wanted, rtol=1e-5, atol=1e-6)


def test_a_variant_without_attributes_says_so() -> None:
    with pytest.raises(ValueError, match="coco-r50 has no attribute head"):
        network(small("coco-r50")).attribute_probabilities(
            torch.zeros(1, 256), torch.zeros(1, 8), torch.tensor([0])
        )


@torch.inference_mode()
def test_bfloat16_reaches_convolutions_only() -> None:
    variant = small("vinvl-x152")
    state = random_state(variant)
    exact, fast = C4Network.from_state(variant, state), C4Network.from_state(variant, state, amp=True)
    picture = 50 * torch.randn(3, 128, 160, generator=torch.Generator().manual_seed(4))
    c4 = fast.c4_map(picture)
    vectors = fast.vectors(c4, BOXES)
    assert {c4.dtype, vectors.dtype, fast.class_logits(vectors).dtype} == {torch.float32}
    assert not torch.equal(c4, exact.c4_map(picture))
    torch.testing.assert_close(c4, exact.c4_map(picture), rtol=0.1, atol=0.05 * c4.max().item())
    assert torch.equal(
        fast.class_logits(vectors),
        F.linear(vectors, state["head.classes.weight"], state["head.classes.bias"]),
    )


def test_every_variant_of_the_table_has_the_published_shapes() -> None:
    with torch.device("meta"):
        shapes = {
            name: {
                key: tuple(value.shape)
                for key, value in C4Network(replace(v, blocks=(1, 1, 1, 1))).state_dict().items()
            }
            for name, v in VARIANTS.items()
        }
    found = {
        name: (
            shape["head.classes.weight"],
            shape["head.boxes.weight"][0],
            shape["rpn.conv.weight"][0],
            shape["rpn.objectness.weight"][0],
            shape.get("attributes.scores.weight"),
            shape["head.layer4.0.conv2.weight"],
        )
        for name, shape in shapes.items()
    }
    coco = ((81, 2048), 320, 1024, 15, None, (512, 512, 3, 3))
    assert found == {
        "vinvl-x152": ((1595, 2048), 6380, 1024, 15, (525, 512), (2048, 64, 3, 3)),
        "butd-r101": ((1601, 2048), 6404, 512, 24, (401, 512), (512, 512, 3, 3)),
        "frcnn-vg-finetuned": ((1601, 2048), 6400, 512, 12, (401, 512), (512, 512, 3, 3)),
        "coco-r50": coco,
        "coco-r101": coco,
    }
