from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from features.backends.c4.state import read_c4_weights
from tests.features.c4.published import coco, numbered, vinvl


def test_a_training_checkpoint_is_read_and_what_lies_beside_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model_0080000.pth"
    state = {f"module.{key}": value for key, value in numbered(vinvl()).items()}
    torch.save({"model": state, "optimizer": {"state": {}}, "iteration": 80000}, path)
    found = read_c4_weights(path)
    assert (found.variant, found.flavour) == ("vinvl-x152", "maskrcnn-benchmark")
    assert len(found.state) == len(state)
    assert found.dropped == dict.fromkeys(("optimizer", "iteration"), "lies beside the state dict")


def test_a_model_zoo_pickle_is_read(tmp_path: Path) -> None:
    tensors = numbered(coco(50))
    arrays = {key: np.full(value.shape, value.flatten()[0], np.float16) for key, value in tensors.items()}
    path = tmp_path / "model_final.pkl"
    content = {"model": arrays, "__author__": "someone", "matching_heuristics": True}
    path.write_bytes(pickle.dumps(content, protocol=4))
    found = read_c4_weights(path)
    assert found.variant == "coco-r50"
    assert list(found.dropped) == ["__author__", "matching_heuristics"]
    assert torch.equal(found.state["head.boxes.bias"], tensors["roi_heads.box_predictor.bbox_pred.bias"])


def test_what_is_wrong_with_a_file_is_told_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=f"{path}: holds no C4 detector known here"):
        read_c4_weights(path)
