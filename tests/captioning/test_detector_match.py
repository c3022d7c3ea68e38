"""A captioner asks its detector for what it was trained on, and says how to."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from captioning.captioner import Captioner
from captioning.checkpoints import DetectorInfo
from captioning.detector_match import DetectorMismatch, detector_of, extract_command
from features.arguments import parse_config
from features.extract import DetectorOptions, ExtractConfig, RegionExtractor
from features.store import RegionStore, write_shard
from tests.captioning.small_captioner import META, small_regions, write_small_checkpoint

OPTIONS = DetectorOptions(profile="coco", overrides={"min_regions": 3, "nms_iou": 0.4}, class_topk=2)


def detector(**values: object) -> DetectorInfo:
    wanted = {"fingerprint": "", "feature_dim": 8, "vocabulary_id": "voc-20", "has_globals": True}
    return DetectorInfo(backend="mini", **(wanted | values))


def test_the_command_asks_for_the_options_of_the_checkpoint() -> None:
    info = detector(
        options={"profile": "coco", "overrides": {"nms_iou": 0.4}, "attributes": True, "class_topk": 2}
    )
    words = shlex.split(extract_command(info, "my pictures"))
    config = parse_config("features.extract", ExtractConfig, words[3:])
    assert config.images == Path("my pictures")
    assert config.options == DetectorOptions(
        profile="coco", overrides={"nms_iou": 0.4}, attributes=True, class_topk=2
    )


def test_pictures_are_extracted_with_the_options_of_the_regions_trained_on(tmp_path: Path) -> None:
    extractor = RegionExtractor("mini", options=OPTIONS)
    meta = extractor.meta(
        {"options": {"profile": "coco", "overrides": dict(OPTIONS.overrides), "class_topk": 2}}
    )
    write_shard(tmp_path / "r.h5", [], meta)
    captioner = Captioner.from_pretrained(write_small_checkpoint(tmp_path / "small"))
    found = detector_of(RegionStore(tmp_path / "r.h5"))
    captioner.info = replace(captioner.info, detector=found)
    assert captioner.extractor.fingerprint == extractor.fingerprint


def test_how_options_were_asked_for_does_not_tell_detectors_apart(tmp_path: Path) -> None:
    asked = replace(META, run={"options": {"profile": "mini", "overrides": {}}})
    for name, meta in (("a.h5", META), ("b.h5", asked)):
        write_shard(tmp_path / name, [small_regions("a.jpg")], meta)
    assert detector_of(RegionStore(tmp_path / "a.h5")) == detector_of(RegionStore(tmp_path / "b.h5"))


def test_a_checkpoint_of_imported_features_asks_for_regions(tmp_path: Path) -> None:
    captioner = Captioner.from_pretrained(write_small_checkpoint(tmp_path / "small"))
    imported = replace(captioner.info.detector, backend="oscar-tsv")
    captioner.info = replace(captioner.info, detector=imported)
    with pytest.raises(
        DetectorMismatch, match=r"imported features.*give it regions.*\n.*features.import_tsv"
    ):
        _ = captioner.extractor
