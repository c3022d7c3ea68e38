"""Tag recall against counts made by hand."""

from pathlib import Path

import numpy as np
import pytest

from eval.annotations import PredictedCaption
from eval.tag_recall import (
    Detections,
    NamedObjects,
    detections_of_predictions,
    detections_of_regions,
    measure_tag_recall,
)
from features.store import Regions, StoreError, StoreMeta, box_geometry, write_shard
from features.tags import Lexicon, LexiconError

DETECTED = Detections(
    objects={
        "1.jpg": frozenset({"男人", "狗", "长椅"}),
        "2.jpg": frozenset({"猫"}),
        "3.jpg": frozenset(),
    },
    vocabulary=frozenset({"男人", "女人", "狗", "长椅", "猫", "自行车"}),
    source="by hand",
)
CAPTIONS = {
    "1.jpg": "一个女人骑着自行车，旁边有一只小狗",
    "2.jpg": "天空下的城堡",
    "3.jpg": "一只猫",
}


def test_objects_are_named_or_not_and_detected_or_not() -> None:
    found = measure_tag_recall(CAPTIONS, DETECTED)
    assert found.per_image == {
        "1.jpg": NamedObjects(named=("人", "狗"), not_named=("长椅",), not_detected=("自行车",)),
        "2.jpg": NamedObjects(named=(), not_named=("猫",), not_detected=()),
        "3.jpg": NamedObjects(named=(), not_named=(), not_detected=("猫",)),
    }


def test_the_overall_numbers_add_up_the_pictures() -> None:
    found = measure_tag_recall(CAPTIONS, DETECTED)
    assert (found.named, found.not_named, found.not_detected) == (2, 2, 2)
    assert (found.recall, found.not_detected_share) == (2 / 4, 2 / 4)
    assert found.images_not_detected == 2 / 3
    assert found.vocabulary == 5  # 男人 and 女人 are one
    assert found.source == "by hand"


def test_pictures_without_detections_are_left_out_and_counted() -> None:
    assert measure_tag_recall(CAPTIONS | {"4.jpg": "一只狗"}, DETECTED).n_images == 3
    with pytest.raises(ValueError, match="by hand: none of the 1 pictures is there"):
        measure_tag_recall({"4.jpg": "一只狗"}, DETECTED)


def test_shares_of_nothing_are_none() -> None:
    nothing = Detections(objects={"1.jpg": frozenset()}, vocabulary=frozenset({"狗"}), source="by hand")
    found = measure_tag_recall({"1.jpg": "城堡"}, nothing)
    assert (found.recall, found.not_detected_share, found.images_not_detected) == (None, None, 0)


def test_words_that_are_known_are_not_cut_again() -> None:
    words = {caption: ["狗"] for caption in CAPTIONS.values()}
    assert measure_tag_recall(CAPTIONS, DETECTED, words.__getitem__).per_image["1.jpg"].named == ("狗",)


def test_tags_in_predictions_are_detections_and_their_own_vocabulary() -> None:
    predictions = {
        "1.jpg": PredictedCaption("1.jpg", "一只狗", tags=("狗", "草地")),
        "2.jpg": PredictedCaption("2.jpg", "一只猫"),
    }
    detected = detections_of_predictions(predictions)
    assert detected is not None
    assert detected.objects == {"1.jpg": {"狗", "草地"}, "2.jpg": frozenset()}
    assert detected.vocabulary == {"狗", "草地"}


def test_predictions_without_tags_have_no_detections() -> None:
    assert detections_of_predictions({"1.jpg": PredictedCaption("1.jpg", "一只狗")}) is None


def write_regions(
    path: Path,
    vocabulary_id: str,
    vocabulary: tuple[str, ...],
    names: tuple[str, str] = ("val/1.jpg", "val/2.jpg"),
) -> None:
    """The last class at 0.9, the first at 0.1 in one picture; no region in another."""
    regions = []
    for image_id, n in zip(names, (2, 0), strict=True):
        boxes = np.array([[0, 0, 40, 30]] * n, np.float32).reshape(n, 4)
        regions.append(
            Regions(
                image_id=image_id,
                width=400,
                height=300,
                features=np.zeros((n, 4), np.float16),
                boxes=boxes,
                geometry=box_geometry(boxes, 400, 300),
                object_ids=np.array([len(vocabulary) - 1, 0][:n], np.int32),
                object_scores=np.array([0.9, 0.1][:n], np.float32),
            )
        )
    meta = StoreMeta(
        backend="test", description={}, vocabulary=vocabulary, vocabulary_id=vocabulary_id, feature_dim=4
    )
    write_shard(path, regions, meta)


def test_objects_of_a_regions_file_are_named_in_chinese(tmp_path: Path) -> None:
    lexicon = Lexicon.load("zh", "voc-20")
    write_regions(tmp_path / "regions.h5", "voc-20", lexicon.english)
    found = detections_of_regions(tmp_path / "regions.h5", ["1.jpg", "2.jpg", "3.jpg"])
    assert found.objects == {"1.jpg": {lexicon.texts[-1]}, "2.jpg": frozenset()}
    assert found.vocabulary == set(lexicon.texts)
    assert found.source == "regions.h5, voc-20, score ≥ 0.2"


def test_pictures_of_a_regions_file_are_found_by_the_rule_for_all_ids(tmp_path: Path) -> None:
    lexicon = Lexicon.load("zh", "voc-20")
    write_regions(tmp_path / "regions.h5", "voc-20", lexicon.english, names=("000000000042.jpg", "b.jpg"))
    found = detections_of_regions(tmp_path / "regions.h5", ["42", "sub/b.jpg"])
    assert found.objects.keys() == {"42", "sub/b.jpg"}


def test_the_least_score_of_a_detection_is_a_choice(tmp_path: Path) -> None:
    lexicon = Lexicon.load("zh", "voc-20")
    write_regions(tmp_path / "regions.h5", "voc-20", lexicon.english)
    found = detections_of_regions(tmp_path / "regions.h5", ["1.jpg"], min_score=0.05)
    assert found.objects["1.jpg"] == {lexicon.texts[0], lexicon.texts[-1]}


def test_regions_of_other_pictures_are_refused_with_what_ids_they_have(tmp_path: Path) -> None:
    write_regions(tmp_path / "regions.h5", "voc-20", Lexicon.load("zh", "voc-20").english)
    with pytest.raises(StoreError, match=r"none of the pictures .* its ids are like 'val/1\.jpg', 'val/2"):
        detections_of_regions(tmp_path / "regions.h5", ["3.jpg"])


def test_classes_that_nobody_named_in_chinese_are_refused(tmp_path: Path) -> None:
    write_regions(tmp_path / "regions.h5", "own", ("cat", "dog"))
    with pytest.raises(LexiconError, match="no Chinese lexicon for the vocabulary 'own'"):
        detections_of_regions(tmp_path / "regions.h5", ["1.jpg"])
