from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from features.backends.c4.flavours import C4Weights, native_weights
from features.backends.c4.network import C4Network
from features.backends.c4.variants import VARIANTS
from features.vocabularies import CLASS_LISTS, SHORT_LISTS
from features.weights import REGISTRY, WeightsEntry
from tests.features.c4.published import PREDICTOR, Key, coco, frcnn, milvlg, numbered, vinvl

FILE = Path("w.pth")
PUBLISHED: dict[str, tuple[str, list[Key]]] = {
    "coco-r50": ("detectron2", coco(50)),
    "coco-r101": ("detectron2", coco(101)),
    "frcnn-vg-finetuned": ("py-bottom-up-attention", frcnn()),
    "butd-r101": ("bottom-up-attention.pytorch", milvlg()),
    "vinvl-x152": ("maskrcnn-benchmark", vinvl()),
}
every_variant = pytest.mark.parametrize("variant", PUBLISHED)


def read(tensors: dict[str, Tensor]) -> C4Weights:
    return native_weights(FILE, tensors)


@every_variant
def test_every_key_of_a_published_file_gets_its_native_name(variant: str) -> None:
    flavour, keys = PUBLISHED[variant]
    found = read(numbered(keys))
    assert (found.variant, found.flavour, found.dropped) == (variant, flavour, {})
    assert {name: (value.flatten()[0].item(), value.shape) for name, value in found.state.items()} == {
        ours: (i, shape) for i, (_, ours, shape) in enumerate(keys)
    }


def test_every_variant_is_tested_with_a_published_file() -> None:
    assert set(PUBLISHED) == set(VARIANTS)


@pytest.mark.parametrize("entry", [entry for entry in REGISTRY.values() if entry.backend == "c4"])
def test_the_registry_names_the_flavour_and_the_class_lists_of_its_files(entry: WeightsEntry) -> None:
    keys = PUBLISHED[entry.variant][1]
    found = read(numbered(keys))
    assert (found.variant, found.flavour) == (entry.variant, entry.flavour)
    rows = {ours: shape[0] for _, ours, shape in keys}
    heads = [rows[name] for name in ("head.classes.bias", "attributes.scores.bias") if name in rows]
    counts = {name: len(names) for name, names in SHORT_LISTS.items()}
    counts |= {name: listed.count for name, listed in CLASS_LISTS.items()}
    assert heads == [counts[name] + 1 for name in entry.vocabularies]  # background, or none, has a row too


def test_the_network_takes_what_was_read() -> None:
    _, keys = PUBLISHED["coco-r50"]
    C4Network.from_state(VARIANTS["coco-r50"], read(numbered(keys)).state)


@every_variant
def test_a_file_saved_from_distributed_training_is_the_same(variant: str) -> None:
    tensors = numbered(PUBLISHED[variant][1])
    wrapped = read({f"module.{key}": value for key, value in tensors.items()})
    plain = read(tensors)
    assert wrapped.variant == variant
    assert all(torch.equal(wrapped.state[name], plain.state[name]) for name in plain.state)
    assert wrapped.state.keys() == plain.state.keys()


@every_variant
def test_buffers_of_no_use_are_dropped_with_a_reason(variant: str) -> None:
    tensors = numbered(PUBLISHED[variant][1])
    counters = {
        key.replace("running_var", "num_batches_tracked"): torch.tensor(7)
        for key in tensors
        if key.endswith("running_var")
    }
    found = read({**tensors, **counters, "pixel_mean": torch.ones(3, 1, 1), "pixel_std": torch.ones(3, 1, 1)})
    assert found.dropped == dict.fromkeys(counters, "counts the steps of a training") | dict.fromkeys(
        ("pixel_mean", "pixel_std"), "the variant says how pixels are normalised"
    )
    assert len(found.state) == len(tensors)


def test_a_layer_that_the_attribute_head_shares_may_be_saved_twice_if_it_is_the_same() -> None:
    tensors = numbered(vinvl())
    start = "roi_heads.box.feature_extractor."
    twice = {
        f"attribute.feature_extractor.{key.removeprefix(start)}": value
        for key, value in tensors.items()
        if key.startswith(start)
    }
    assert read(tensors | twice).dropped == dict.fromkeys(twice, "saved twice")
    other = next(iter(twice))
    with pytest.raises(ValueError, match=f": unexplained {other}. Wanted is the whole state dict"):
        read(tensors | twice | {other: twice[other] + 1})


def test_half_precision_becomes_single() -> None:
    found = read({key: value.half() for key, value in numbered(coco(50)).items()})
    assert {value.dtype for value in found.state.values()} == {torch.float32}


@every_variant
def test_one_missing_key_is_named(variant: str) -> None:
    flavour, keys = PUBLISHED[variant]
    tensors = numbered(keys)
    for key in [key for key in tensors if "cell_anchors" not in key][::40]:
        rest = {name: value for name, value in tensors.items() if name != key}
        told = f"w.pth: {variant} under the names of {flavour}: missing {key}. Wanted is"
        with pytest.raises(ValueError, match=told):
            read(rest)


@every_variant
def test_anchors_may_be_missing(variant: str) -> None:
    tensors = {k: v for k, v in numbered(PUBLISHED[variant][1]).items() if "cell_anchors" not in k}
    assert "rpn.anchors" not in read(tensors).state


@every_variant
def test_one_key_too_many_is_named(variant: str) -> None:
    tensors = numbered(PUBLISHED[variant][1])
    with pytest.raises(ValueError, match=": unexplained roi_heads.mask_head.weight. Wanted"):
        read({**tensors, "roi_heads.mask_head.weight": torch.zeros(1)})


@every_variant
def test_one_key_of_another_shape_is_named_with_both_shapes(variant: str) -> None:
    tensors = numbered(PUBLISHED[variant][1])
    key = next(key for key, value in tensors.items() if value.shape == (256,))
    with pytest.raises(ValueError, match=rf": of another shape {key} \(255,\) instead of \(256,\)\. Wanted"):
        read({**tensors, key: tensors[key][1:]})


def test_no_more_than_five_keys_are_named() -> None:
    tensors = {k: v for k, v in numbered(coco(50)).items() if not k.startswith("backbone.res2.0.")}
    with pytest.raises(ValueError, match=r": missing ([^,]+, ){4}[^, ]+ and 15 more\. Wanted"):
        read(tensors)


def test_the_attribute_names_of_another_flavour_are_not_taken() -> None:
    tensors = numbered(frcnn())
    renamed = {key.replace("cls_embedding", "cls_embed"): value for key, value in tensors.items()}
    with pytest.raises(ValueError, match=": missing .*cls_embedding.weight; unexplained .*cls_embed.weight"):
        read(renamed)


def test_rows_of_the_two_way_objectness_stay_in_the_files_order() -> None:
    tensors = numbered(milvlg())
    tensors["proposal_generator.rpn_head.objectness_logits.bias"] = torch.arange(24.0)
    assert read(tensors).state["rpn.objectness.bias"].tolist() == list(range(24))


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("backbone.stem.norm.weight", "a pre-activation ResNet, .* .bua-caffe-frcn-r152., is another graph"),
        ("roi_heads.res5_bn.bias", "a pre-activation ResNet"),
        ("backbone.fpn_lateral2.weight", "a feature pyramid .FPN. is another graph; --backend torchvision"),
        ("backbone.body.conv1.weight", "a feature pyramid .FPN. is another graph"),
        ("conv1.weight", "holds no C4 detector known here, but 'conv1.weight', …; known are coco-r50 .6 bl"),
    ],
)
def test_another_graph_is_refused_with_the_reason(key: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"w.pth: {reason}"):
        read({key: torch.zeros(1)})


def test_a_head_of_other_classes_is_told_with_what_is_known() -> None:
    tensors = numbered(coco(101))
    tensors[f"{PREDICTOR}.cls_score.weight"] = torch.zeros(1).expand(21, 2048)
    with pytest.raises(
        ValueError,
        match=r"but detectron2 \(23 blocks in the third stage, 21 class and 15 objectness rows\); known .*"
        r"vinvl-x152 \(36 blocks in the third stage, 1595 class and 15 objectness rows\)",
    ):
        read(tensors)
