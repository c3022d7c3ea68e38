"""Our C4 graph and detectron2's are the same function: module by module, and back end by back end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.testing import assert_close

from features.backends.base import Backend, Detections, DetectorOptions, load_backend
from features.backends.c4.network import C4Network
from features.backends.c4.preprocess import C4Preprocessor
from features.backends.c4.rpn import grid_anchors
from features.backends.c4.state import read_c4_weights
from features.backends.c4.variants import VARIANTS, Variant
from features.regions import COCO, Selection
from tests.detectron2.originals import LONGEST, N_PROPOSALS, SHORT, Original, pictures, recorded

ATOL = 1e-4
EVERY_PROPOSAL = replace(
    COCO, box_source="proposal", nms_iou=1.0, min_regions=N_PROPOSALS, max_regions=N_PROPOSALS
)


def small(variant: Variant) -> Variant:
    """A variant made as quick as the originals are."""
    return replace(variant, short_side=SHORT, long_side=LONGEST, post_nms=N_PROPOSALS)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The same weights in both graphs, and a picture prepared for them."""

    original: Original
    ours: C4Network
    picture: Image.Image
    prepared: Tensor

    @property
    def size(self) -> tuple[int, int]:
        return self.prepared.shape[1], self.prepared.shape[2]


@pytest.fixture(scope="module", params=["coco-r50", "coco-r101"])
def pair(request: pytest.FixtureRequest) -> Pair:
    original: Original = request.getfixturevalue(request.param.removeprefix("coco-"))
    weights = read_c4_weights(original.weights)
    assert weights.variant == request.param
    variant = small(VARIANTS[request.param])
    (picture,) = pictures(1)
    return Pair(
        original=original,
        ours=C4Network.from_state(variant, weights.state),
        picture=picture,
        prepared=C4Preprocessor(variant)(picture),
    )


@dataclass(frozen=True, kw_only=True)
class Theirs:
    """What each module of detectron2's gives in one inference, in float32."""

    stages: list[Tensor]
    logits: Tensor
    deltas: Tensor
    proposals: Tensor
    crops: Tensor
    res5: Tensor
    class_logits: Tensor
    box_deltas: Tensor
    probabilities: Tensor
    boxes: Tensor


@pytest.fixture(scope="module")
def theirs(pair: Pair) -> Theirs:
    from detectron2.structures import ImageList

    model = pair.original.model
    backbone, heads = model.backbone, model.roi_heads
    rpn = model.proposal_generator
    with (
        torch.inference_mode(),
        recorded(
            backbone.stem,
            backbone.res2,
            backbone.res3,
            backbone.res4,
            rpn.rpn_head,
            heads.pooler,
            heads.res5,
            heads.box_predictor,
        ) as calls,
    ):
        images = ImageList.from_tensors([pair.prepared])
        maps = backbone(images.tensor)
        (proposals,), _ = rpn(images, maps)
        heads(images, maps, [proposals])
        *stages, head, crops, res5, predictions = [outputs for ((_, outputs),) in calls]
        (probabilities,) = heads.box_predictor.predict_probs(predictions, [proposals])
        (boxes,) = heads.box_predictor.predict_boxes(predictions, [proposals])
    return Theirs(
        stages=stages,
        logits=head[0][0][0].permute(1, 2, 0).flatten(),
        deltas=head[1][0][0].unflatten(0, (-1, 4)).permute(2, 3, 0, 1).reshape(-1, 4),
        proposals=proposals.proposal_boxes.tensor,
        crops=crops,
        res5=res5,
        class_logits=predictions[0],
        box_deltas=predictions[1],
        probabilities=probabilities,
        boxes=boxes,
    )


@pytest.fixture(autouse=True)
def inference_mode() -> Iterator[None]:
    with torch.inference_mode():
        yield


def test_the_picture_is_prepared_alike(pair: Pair, tmp_path: Path) -> None:
    from detectron2.data import DatasetMapper

    red_and_blue = Image.new("RGB", (331, 207), (250, 10, 60))
    red_and_blue.paste((10, 30, 240), (160, 0, 331, 207))
    for number, picture in enumerate((pair.picture, red_and_blue)):
        path = tmp_path / f"{number}.png"
        picture.save(path)
        mapper = DatasetMapper(pair.original.config, is_train=False)
        read = mapper({"file_name": str(path), "width": picture.width, "height": picture.height})
        wanted = pair.original.model.preprocess_image([read]).tensor[0]
        assert_close(C4Preprocessor(pair.ours.variant)(picture), wanted, rtol=0, atol=1e-5)


def test_stem_and_stages_give_the_same_maps(pair: Pair, theirs: Theirs) -> None:
    trunk = pair.ours.trunk
    modules = (trunk.pool, trunk.layer1, trunk.layer2, trunk.layer3)
    with recorded(*modules) as calls:
        trunk(pair.prepared[None])
    for ((_, found),), wanted in zip(calls, theirs.stages, strict=True):
        assert_close(found, wanted, rtol=0, atol=ATOL)


def test_the_proposal_network_scores_and_moves_every_anchor_alike(pair: Pair, theirs: Theirs) -> None:
    logits, deltas = pair.ours.rpn(theirs.stages[-1])
    assert_close(logits, theirs.logits, rtol=0, atol=ATOL)
    assert_close(deltas, theirs.deltas, rtol=0, atol=ATOL)
    generator = pair.original.model.proposal_generator.anchor_generator
    (anchors,) = generator([theirs.stages[-1]])
    own = grid_anchors(pair.ours.anchors, *theirs.stages[-1].shape[2:])
    assert_close(own, anchors.tensor, rtol=0, atol=ATOL)


def test_the_same_proposals_come_out_in_the_same_order(pair: Pair, theirs: Theirs) -> None:
    found = pair.ours.proposals(theirs.stages[-1], pair.size, 1.0)
    assert len(found) == N_PROPOSALS
    assert_close(found, theirs.proposals, rtol=0, atol=ATOL)


def test_crops_and_the_last_stage_on_them_are_the_same(pair: Pair, theirs: Theirs) -> None:
    with recorded(pair.ours.head.layer4) as (calls,):
        vectors = pair.ours.vectors(theirs.stages[-1], theirs.proposals)
    assert_close(torch.cat([crops for crops, _ in calls]), theirs.crops, rtol=0, atol=ATOL)
    assert_close(torch.cat([maps for _, maps in calls]), theirs.res5, rtol=0, atol=ATOL)
    assert_close(vectors, theirs.res5.mean((2, 3)), rtol=0, atol=ATOL)


def test_classes_and_refined_boxes_are_the_same(pair: Pair, theirs: Theirs) -> None:
    vectors = theirs.res5.mean((2, 3))
    logits = pair.ours.class_logits(vectors)
    assert_close(logits, theirs.class_logits, rtol=0, atol=ATOL)
    assert_close(pair.ours.class_probabilities(logits), theirs.probabilities[:, :-1], rtol=0, atol=ATOL)
    assert_close(pair.ours.head.boxes(vectors), theirs.box_deltas, rtol=0, atol=ATOL)
    found = pair.ours.regressed(vectors, theirs.proposals, pair.size)
    height, width = pair.size
    wanted = theirs.boxes.view(-1, 80, 4).clamp(min=0).minimum(torch.tensor([width, height] * 2))
    assert_close(found, wanted, rtol=0, atol=ATOL)


@pytest.fixture(scope="module")
def back_ends(pair: Pair) -> Iterator[tuple[Backend, Backend]]:
    """``c4`` and ``detectron2`` on one weights file."""
    name = pair.ours.variant.name
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(VARIANTS, name, small(VARIANTS[name]))
        c4, detectron2 = (
            load_backend(which, pair.original.weights, "cpu", DetectorOptions(class_topk=5))
            for which in ("c4", "detectron2")
        )
        yield c4, detectron2


def assert_same(found: Detections, wanted: Detections) -> None:
    assert found.num_proposals == wanted.num_proposals
    np.testing.assert_array_equal(found.object_ids, wanted.object_ids)
    np.testing.assert_allclose(found.object_scores, wanted.object_scores, rtol=0, atol=ATOL)
    np.testing.assert_allclose(found.boxes, wanted.boxes, rtol=0, atol=ATOL)
    for name in ("features", "global_feature", "class_scores"):
        ours, its = getattr(found, name), getattr(wanted, name)
        if its is not None:  # half precision, in which neighbours differ by up to 2 ** -10 of themselves
            np.testing.assert_allclose(
                ours.astype(float), its.astype(float), rtol=2**-10, atol=ATOL, err_msg=name
            )
    if wanted.class_ids is not None:
        np.testing.assert_array_equal(found.class_ids, wanted.class_ids)


@pytest.mark.parametrize(("rule", "n_regions"), [(COCO, 10), (EVERY_PROPOSAL, N_PROPOSALS)])
def test_both_back_ends_give_the_same_regions_box_by_box_and_vector_by_vector(
    rule: Selection, n_regions: int, back_ends: tuple[Backend, Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, wanted = detect_alike(back_ends, rule, monkeypatch, None)
    assert len(wanted.boxes) >= n_regions
    assert_same(found, wanted)


def test_both_back_ends_describe_given_boxes_alike(
    back_ends: tuple[Backend, Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = np.array([[5, 10, 100, 75], [0, 0, 150, 105], [125, 5, 145, 102]], np.float32)
    assert_same(*detect_alike(back_ends, COCO, monkeypatch, [boxes]))


def detect_alike(
    back_ends: tuple[Backend, Backend],
    rule: Selection,
    monkeypatch: pytest.MonkeyPatch,
    boxes: list[np.ndarray] | None,
) -> list[Detections]:
    """Both back ends' regions of a picture that the weights were not settled on.

    It is smaller than its prepared form, so that boxes in its pixels do not magnify what rounding did.
    """
    (picture,) = pictures(1, (150, 105), seed=11)
    detections = []
    for backend in back_ends:
        monkeypatch.setattr(backend, "selection", rule)
        batch = backend.preprocessor(picture)[None]
        detections += backend.detect(batch, [(picture.height, picture.width)], boxes)
    return detections


def test_both_back_ends_name_the_same_classes(back_ends: tuple[Backend, Backend]) -> None:
    ours, its = back_ends
    assert (ours.vocabulary_id, ours.vocabulary) == (its.vocabulary_id, its.vocabulary)
