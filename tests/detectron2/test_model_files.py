"""A model is read from files that are not trusted, and from nothing but files that fit each other."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from features.backends.base import BACKENDS, DetectorOptions
from features.backends.detectron2_model import Detectron2Model, read_model
from features.vocabularies import VOC_CLASSES
from tests.detectron2.originals import Original

CPU = torch.device("cpu")


@pytest.fixture
def folder(thin: Original, tmp_path: Path) -> Path:
    """A folder of one's own with the thin model's files."""
    shutil.copytree(thin.weights.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path


def read(folder: Path, name: str = "model_final.pth") -> Detectron2Model:
    return read_model(folder / name, CPU)


def edit_config(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "config.yaml"
    values = yaml.safe_load(path.read_text())
    change(values)
    path.write_text(yaml.safe_dump(values))


def edit_state(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "model_final.pth"
    content = torch.load(path, weights_only=True)
    change(content["model"])
    torch.save(content, path)


def assert_same_weights(found: Detectron2Model, original: Original) -> None:
    for name, values in original.model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], values), name


def test_the_weights_of_the_file_are_in_the_model(thin: Original) -> None:
    found = read(thin.weights.parent)
    assert_same_weights(found, thin)
    assert not found.model.training


def test_a_pickle_as_the_model_zoo_publishes_them_is_read(thin: Original, folder: Path) -> None:
    arrays = {name: values.numpy() for name, values in thin.model.state_dict().items()}
    arrays["pixel_mean"] = arrays["pixel_std"] = torch.zeros(3, 1, 1).numpy()
    arrays["proposal_generator.anchor_generator.cell_anchors.0"] = torch.zeros(15, 4).numpy()
    (folder / "model_zoo.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "someone"}))
    found = read(folder, "model_zoo.pkl")
    assert_same_weights(found, thin)
    assert found.model.pixel_mean.flatten().tolist() == pytest.approx([103.53, 116.28, 123.675])


def test_a_config_named_like_the_weights_comes_before_config_yaml(folder: Path) -> None:
    shutil.copy(folder / "config.yaml", folder / "model_final.yaml")
    (folder / "config.yaml").write_text("of: another model")
    assert read(folder).config.MODEL.RESNETS.DEPTH == 50


def test_a_config_may_rest_on_another_in_its_folder(folder: Path) -> None:
    (folder / "config.yaml").rename(folder / "Base-RCNN-C4.yaml")
    (folder / "config.yaml").write_text("_BASE_: ../Base-RCNN-C4.yaml\nMODEL: {RPN: {POST_NMS_TOPK_TEST: 7}}")
    config = read(folder).config
    assert (config.MODEL.RPN.POST_NMS_TOPK_TEST, config.MODEL.RESNETS.WIDTH_PER_GROUP) == (7, 8)


def test_another_graph_has_another_digest_and_where_it_runs_does_not_matter(folder: Path) -> None:
    before = read(folder).graph_sha256
    edit_config(folder, lambda values: values["MODEL"].update(DEVICE="cuda", WEIGHTS="somewhere.pkl"))
    assert read(folder).graph_sha256 == before
    edit_config(folder, lambda values: values["MODEL"]["RPN"].update(NMS_THRESH=0.6))
    assert read(folder).graph_sha256 != before


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("!!python/object/apply:os.mkdir [canary]", "config.yaml: no plain YAML"),
        ("MODEL: !!python/tuple [1]", "config.yaml: no plain YAML"),
        ("MODEL: {", "config.yaml: no plain YAML"),
        ("- 3", "config.yaml: holds list; wanted is a mapping"),
        ("MODEL: {COLOUR: red}", "config.yaml: not a config of the detectron2 that is installed .*COLOUR"),
        ("MODEL: {RPN: {NMS_THRESH: much}}", "config.yaml: not a config of the detectron2 that is installed"),
        ("_BASE_: ../../etc/passwd", "passwd: no such file, though the config is based on it"),
        ("_BASE_: config.yaml", "config.yaml: based on itself"),
        (
            "_BASE_: [config.yaml]",
            r"config.yaml: _BASE_ is \['config.yaml'\]; wanted is the name of one file",
        ),
        ("MODEL: {META_ARCHITECTURE: RetinaNet}", "META_ARCHITECTURE is 'RetinaNet', wanted is Generalized"),
        (
            "MODEL: {ROI_HEADS: {NAME: StandardROIHeads}}",
            "NAME is 'StandardROIHeads', wanted is Res5ROIHeads",
        ),
        ("MODEL: {PROPOSAL_GENERATOR: {NAME: RRPN}}", "NAME is 'RRPN', wanted is RPN"),
        ("INPUT: {FORMAT: L}", "INPUT.FORMAT is 'L', wanted is BGR or RGB"),
        (
            "MODEL: {BACKBONE: {NAME: no_such_net}}",
            "config.yaml: detectron2 cannot build this model .*no_such",
        ),
    ],
)
def test_configs_that_cannot_be_used_are_refused_and_nothing_in_them_is_run(
    text: str, complaint: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "config.yaml").write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=complaint):
        read(folder)
    assert not Path("canary").exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda state: state.pop("backbone.res4.5.conv1.weight"), "lacks backbone.res4.5.conv1.weight"),
        (lambda state: state.pop("backbone.stem.conv1.norm.running_var"), "lacks backbone.stem.conv1.norm"),
        (lambda state: state.update({"fc.weight": torch.ones(1)}), "has fc.weight, which the model lacks"),
        (
            lambda state: state.update({"roi_heads.box_predictor.cls_score.bias": torch.ones(21)}),
            r"roi_heads.box_predictor.cls_score.bias is \(21,\), the model's \(81,\)",
        ),
    ],
)
def test_every_weight_is_accounted_for(
    change: Callable[[dict[str, Any]], None], complaint: str, folder: Path
) -> None:
    edit_state(folder, change)
    with pytest.raises(ValueError, match=rf"model_final.pth: not the weights of the config .*{complaint}"):
        read(folder)


def test_files_that_are_missing_are_named_with_what_to_put_there(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"other.pth: no such weights file"):
        read(folder, "other.pth")
    (folder / "config.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"wanted is model_final.yaml or config.yaml"):
        read(folder)


def with_classes(folder: Path, n_classes: int) -> None:
    edit_config(folder, lambda values: values["MODEL"]["ROI_HEADS"].update(NUM_CLASSES=n_classes))

    def change(state: dict[str, Any]) -> None:
        for part, rows in (("cls_score", n_classes + 1), ("bbox_pred", 4 * n_classes)):
            for kind in ("weight", "bias"):
                name = f"roi_heads.box_predictor.{part}.{kind}"
                state[name] = state[name][:rows].clone()

    edit_state(folder, change)


@pytest.mark.parametrize(
    ("names", "vocabulary_id"), [(("hat", "coat", "shoe"), "custom-3"), (VOC_CLASSES, "voc-20")]
)
def test_classes_other_than_cocos_are_named_in_a_file(
    names: tuple[str, ...], vocabulary_id: str, folder: Path
) -> None:
    with_classes(folder, len(names))
    with pytest.raises(FileNotFoundError, match=rf"classes.txt: .* {len(names)} classes there, one a line"):
        read(folder)
    (folder / "classes.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    found = read(folder)
    assert (found.vocabulary_id, found.vocabulary) == (vocabulary_id, names)
    (folder / "classes.txt").write_text("hat\ncoat\n", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"classes.txt: names 2 classes, the model has {len(names)}"):
        read(folder)
    (folder / "classes.txt").write_bytes("帽子".encode("gbk"))
    with pytest.raises(ValueError, match=r"classes.txt: not UTF-8"):
        read(folder)


def test_what_the_models_cannot_do_is_refused(thin: Original) -> None:
    with pytest.raises(ValueError, match=r"own model has no attributes; c4 has, with Visual Genome"):
        BACKENDS["detectron2"](thin.weights, CPU, DetectorOptions(attributes=True))
    with pytest.raises(ValueError, match=r"class_topk must lie in 0..80 .detectron2's own model., got 81"):
        BACKENDS["detectron2"](thin.weights, CPU, DetectorOptions(class_topk=81))
