from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import SafetensorError

from captioning.checkpoints import (
    CheckpointError,
    export_captioner,
    read_captioner,
    read_info,
    read_step,
    read_training_state,
    verify_checkpoint,
    write_checkpoint,
)
from captioning.config import PrefixConfig
from captioning.places import mini_folder
from tests.captioning.small_captioner import write_small_checkpoint

FILES = ("config.json", "model.safetensors", "tushuo.json", "vocab.txt")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_checkpoint(tmp_path_factory.mktemp("checkpoint") / "small")


def test_the_bundled_captioner_reads_the_tags_it_was_trained_with() -> None:
    trained = PrefixConfig(max_regions=36, max_tag_pieces=30, tag_min_score=0.2, keep_duplicate_tags=False)
    assert read_info(mini_folder()).prefix == trained


def test_a_captioner_reads_back_with_its_settings(whole: Path) -> None:
    read = read_captioner(whole)
    assert not read.model.training
    assert read.info == read_info(whole)
    assert read_step(whole) == read.info.step
    assert len(read.tokenizer) == read.model.config.vocab_size
    decoder, words = read.model.cls.predictions.decoder, read.model.bert.embeddings.word_embeddings
    assert decoder.weight is words.weight


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_found(whole: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(whole, tmp_path / "c")
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"{name}: its SHA-256 is not that of manifest\.json"):
        verify_checkpoint(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_cut_or_missing_file_is_found(whole: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(whole, tmp_path / "c")
    os.truncate(folder / name, 3)
    with pytest.raises(CheckpointError, match=rf"{name}: 3 bytes, manifest\.json says \d+"):
        verify_checkpoint(folder)
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=rf"{name}: missing"):
        verify_checkpoint(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "a JSON list, wanted an object"),
        ('{"format": "other"}', "format 'other', wanted 'tushuo-checkpoint/1'"),
        ('{"format": "tushuo-checkpoint/2"}', "format 'tushuo-checkpoint/2'.*written by another program"),
        ('{"format": "tushuo-checkpoint/1", "files": {}}', "does not name config.json"),
    ],
)
def test_a_broken_manifest_is_told(whole: Path, tmp_path: Path, text: str, message: str) -> None:
    folder = shutil.copytree(whole, tmp_path / "c")
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=message):
        verify_checkpoint(folder)


def test_every_changed_byte_of_a_manifest_is_found(whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "c")
    manifest = folder / "manifest.json"
    data = manifest.read_bytes()
    for where in range(len(data)):
        for bit in (1, 4, 32):  # another digit or letter, another punctuation mark, the other case
            manifest.write_bytes(data[:where] + bytes([data[where] ^ bit]) + data[where + 1 :])
            with pytest.raises(CheckpointError, match=re.escape(str(folder))):
                verify_checkpoint(folder)
    manifest.write_bytes(data)
    verify_checkpoint(folder)


def test_a_full_disk_is_told_with_the_folder_whoever_met_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_named: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.torch, "serialize_file", full)
    with pytest.raises(OSError, match=r"new: not written: I/O error: No space left.*before is untouched"):
        write_small_checkpoint(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_fails_leaves_the_earlier_folder(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_calls, real = 0, os.fsync

    for failing in range(1, 8):
        folder = tmp_path / f"run{failing}" / "step-00000001"
        shutil.copytree(whole, folder)
        before = (folder / "manifest.json").read_bytes()
        n_calls = 0

        def fsync(descriptor: int, failing: int = failing) -> None:
            nonlocal n_calls
            n_calls += 1
            if n_calls == failing:
                raise OSError(28, "No space left on device")
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match="No space left"):
            write_small_checkpoint(folder)
        verify_checkpoint(folder)
        assert (folder / "manifest.json").read_bytes() == before
        assert [path.name for path in folder.parent.iterdir()] == ["step-00000001"]


def test_an_exported_captioner_has_no_training_state_and_may_be_half_the_size(
    whole: Path, tmp_path: Path
) -> None:
    export_captioner(whole, tmp_path / "half", scores={"cider": 0.5}, half=True)
    half = read_captioner(tmp_path / "half")
    assert half.info.scores == {"cider": 0.5}
    assert (tmp_path / "half/model.safetensors").stat().st_size < 0.7 * (
        whole / "model.safetensors"
    ).stat().st_size
    full = read_captioner(whole).model.state_dict()
    for name, value in half.model.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, full[name], rtol=1e-3, atol=1e-5)
    with pytest.raises(CheckpointError, match="can write captions but not go on training"):
        read_training_state(tmp_path / "half")


def test_pretrained_weights_are_no_captioner(whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "c")
    values = json.loads((folder / "tushuo.json").read_text(encoding="utf-8"))
    values["objective"] = "pretrain"
    (folder / "tushuo.json").write_text(json.dumps(values), encoding="utf-8")
    assert read_info(folder).objective == "pretrain"
    with pytest.raises(CheckpointError, match=r"tushuo\.json: .* bytes"):
        read_captioner(folder)


def test_an_unknown_field_of_the_info_is_named(whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "c")
    values = json.loads((folder / "tushuo.json").read_text(encoding="utf-8"))
    values["prefix"]["max_reigons"] = 3
    (folder / "tushuo.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(CheckpointError, match="max_reigons"):
        read_info(folder)


def test_a_shared_captioner_names_files_and_no_folders_of_its_maker(whole: Path, tmp_path: Path) -> None:
    read = read_captioner(whole)
    told = {"objective": "caption", "seed": 88, "data": {"regions": "/home/someone/regions.h5"}}
    lexicon = dataclasses.replace(read.info.lexicon, name="/home/someone/words.json")
    info = dataclasses.replace(read.info, training=told, lexicon=lexicon)
    write_checkpoint(tmp_path / "run", model=read.model, tokenizer=read.tokenizer, info=info)

    export_captioner(tmp_path / "run", tmp_path / "shared", scores={"cider": 0.5})

    shared = read_info(tmp_path / "shared")
    assert shared.training == {"objective": "caption", "seed": 88, "data": {"regions": "regions.h5"}}
    assert shared.lexicon == dataclasses.replace(lexicon, name="words.json")
    assert shared.scores == {"cider": 0.5}
