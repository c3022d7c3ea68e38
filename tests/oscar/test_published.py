import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from oscar.published import ConversionError, read_published

STATE: dict[str, Tensor] = {"bert.a.weight": torch.ones(2, 3), "bert.b.bias": torch.zeros(4)}


class Bomb:
    """Makes a folder when an ordinary unpickler meets it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(
    legacy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "pytorch_model.bin"
    torch.save({**STATE, "bert.x": Bomb()}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ConversionError, match="may run code when unpickled; it is refused"):
        read_published(tmp_path)
    assert not (tmp_path / "exploded").exists()
    torch.load(path, weights_only=False)  # the bomb is a real one
    assert (tmp_path / "exploded").exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("legacy", [False, True])
def test_damaged_weights_are_told_by_their_path(legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    torch.save(STATE, path, _use_new_zipfile_serialization=not legacy)
    whole, draw = path.read_bytes(), random.Random(0)
    refused = 0
    for number in range(150):
        damaged = bytearray(whole)
        if number % 3 == 0:
            del damaged[draw.randrange(1, len(whole)) :]
        for _ in range(3):
            damaged[draw.randrange(min(len(damaged), 900))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            read_published(tmp_path)
        except ConversionError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 75


def test_two_keys_that_mean_the_same_are_refused(tmp_path: Path) -> None:
    torch.save({**STATE, "module.bert.b.bias": torch.ones(4)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ConversionError, match="'bert.b.bias' and 'module.bert.b.bias' both mean 'bert.b.bia"):
        read_published(tmp_path)


def test_something_else_than_a_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save({"model": STATE}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ConversionError, match="wanted a state dict of tensors, found something else"):
        read_published(tmp_path)


def test_a_folder_that_is_not_whole_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="found no folder"):
        read_published(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConversionError, match=r"wanted model.safetensors or .*found \['config.json'\]"):
        read_published(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0truncated")
    with pytest.raises(ConversionError, match="cannot be read as weights .*; fetch the file again"):
        read_published(tmp_path)
    torch.save(STATE, tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    for text, message in (("{", "not JSON"), ("[]", "a JSON list, wanted an object")):
        (tmp_path / "config.json").write_text(text, encoding="utf-8")
        with pytest.raises(ConversionError, match=f"config.json: {message}"):
            read_published(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ConversionError, match=r"config.json: not found; a folder of published weights"):
        read_published(tmp_path)
