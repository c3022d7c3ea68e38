"""Detector training on four painted pictures: exact resume, crops, splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image, ImageDraw

from features.augmentation import TrainingPictures, batch_keys, crop_boxes
from features.train_detector import DetectorConfig, main, split_train, train
from features.voc import read_split, read_voc
from features.vocabularies import VOC_CLASSES

XML = """<annotation><size><width>100</width><height>80</height></size>
<object><name>{name}</name><difficult>0</difficult>
<bndbox><xmin>11</xmin><ymin>21</ymin><xmax>60</xmax><ymax>70</ymax></bndbox></object></annotation>"""


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("voc")
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    ids = [f"{i:06d}" for i in range(1, 6)]
    for number, image_id in enumerate(ids):
        image = Image.new("RGB", (100, 80), (40 * number, 90, 120))
        ImageDraw.Draw(image).rectangle((10, 20, 59, 69), fill=(250, 20 * number, 0))
        image.save(root / "JPEGImages" / f"{image_id}.jpg")
        (root / "Annotations" / f"{image_id}.xml").write_text(XML.format(name="dog"), encoding="ascii")
    (root / "ImageSets/Main/train.txt").write_text("\n".join(ids), encoding="ascii")
    return root


@pytest.fixture(scope="module")
def trunk_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("trunk") / "trunk.pth"
    torch.save(timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict(), path)
    return path


def config(voc: Path, trunk: Path, out: Path, steps: int) -> DetectorConfig:
    return DetectorConfig(
        voc=voc,
        trunk=trunk,
        out=out,
        steps=steps,
        batch_size=2,
        save_every=1,
        workers=0,
        warmup=1,
        device="cpu",
    )


def test_a_resumed_run_ends_with_the_bits_of_the_uninterrupted_one(
    voc: Path, trunk_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(config(voc, trunk_file, tmp_path / "whole", steps=2))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("features.train_detector.DataLoader", first_batch_only(stop))
        train(config(voc, trunk_file, tmp_path / "cut", steps=2))
    resumed = train(config(voc, trunk_file, tmp_path / "cut", steps=2))

    assert resumed.step == whole.step == 2
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name


def first_batch_only(stop):  # type: ignore[no-untyped-def]
    from torch.utils.data import DataLoader

    def loader(*args, **kwargs):  # type: ignore[no-untyped-def]
        yield next(iter(DataLoader(*args, **kwargs)))
        stop()

    return loader


def test_voc_boxes_become_zero_based_and_half_open(voc: Path) -> None:
    picture = read_voc(voc, ["000001"], VOC_CLASSES)[0]

    assert picture.boxes.tolist() == [[10, 20, 60, 70]]
    assert picture.labels.tolist() == [VOC_CLASSES.index("dog")]


def test_a_crop_keeps_objects_whose_middle_it_holds() -> None:
    boxes = np.array([[0, 0, 20, 20], [40, 40, 80, 80]], np.float32)

    inside, kept = crop_boxes(boxes, (30, 30, 70, 70))

    assert kept.tolist() == [False, True]
    assert inside.tolist() == [[0.25, 0.25, 1.0, 1.0]]


def test_a_picture_is_augmented_the_same_whenever_it_is_asked_for(voc: Path) -> None:
    dataset = TrainingPictures(
        read_voc(voc, read_split(voc, "train"), VOC_CLASSES), seed=1, crop_share=1.0, small_share=0.5
    )
    first, _ = dataset[3, 2]
    dataset[0, 0]

    again, target = dataset[3, 2]

    assert torch.equal(first, again)
    assert not torch.equal(first, dataset[4, 2][0])
    assert target["labels"].tolist() == [VOC_CLASSES.index("dog") + 1]


def test_batches_from_the_middle_are_the_tail_of_all_batches() -> None:
    every = list(batch_keys(7, batch_size=2, seed=5, first_step=0, steps=8))

    assert list(batch_keys(7, batch_size=2, seed=5, first_step=3, steps=8)) == every[3:]
    assert len({index for batch in every[:3] for _, index in batch}) == 6  # an epoch repeats nothing


def test_pictures_kept_for_choices_are_never_trained_on() -> None:
    ids = [f"{i:06d}" for i in range(2501)]

    trained, kept = split_train(ids)

    assert len(kept) == 250
    assert not set(trained) & set(kept)
    assert sorted(trained + kept) == ids


def test_a_folder_that_is_not_voc_exits_1_and_says_what_is_wanted(
    tmp_path: Path, trunk_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([f"--voc={tmp_path}", f"--trunk={trunk_file}", f"--out={tmp_path / 'out'}", "--device=cpu"])

    assert code == 1
    assert "is not a VOC folder (wanted: JPEGImages, Annotations, ImageSets)" in capsys.readouterr().err


def test_an_unknown_class_names_the_file(voc: Path, tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "1.xml").write_text(XML.format(name="unicorn"), encoding="ascii")

    with pytest.raises(ValueError, match=r"1\.xml: unknown class 'unicorn'"):
        read_voc(tmp_path, ["1"], VOC_CLASSES)
