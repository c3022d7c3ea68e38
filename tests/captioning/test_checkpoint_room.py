from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from torch import nn

from captioning.checkpoint_room import CheckpointRoom

Usage = namedtuple("Usage", "total used free")
MB = 1_000_000


def room(run: Path, free: int, monkeypatch: pytest.MonkeyPatch) -> CheckpointRoom:
    """Of a model of 1 MB, half of it frozen, which Adam makes 2 MB."""
    model = nn.ParameterList(
        [nn.Parameter(nn.init.zeros_(nn.Linear(500, 250).weight.data)) for _ in range(2)]
    )
    model[0].requires_grad_(False)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free))
    return CheckpointRoom.of(run, model, copies=2, keep_last=2)


def test_a_disk_without_room_for_one_checkpoint_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OSError, match=r"takes 2\.0 MB, the disk has 1\.9 MB free\. Make room"):
        room(tmp_path, 2 * MB - 100_000, monkeypatch).check(tmp_path)


def test_a_disk_without_room_for_all_that_are_kept_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = room(tmp_path, 7 * MB, monkeypatch).check(tmp_path)
    assert told is not None
    assert "up to 8.0 MB are there at once, the disk has 7.0 MB free" in told
    assert room(tmp_path, 8 * MB, monkeypatch).check(tmp_path) is None


def test_what_is_there_already_counts_and_tells_the_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "step-00000001").mkdir()
    (tmp_path / "step-00000001/model.safetensors").write_bytes(bytes(3 * MB))
    found = room(tmp_path, 9 * MB, monkeypatch)
    assert (found.checkpoint, found.at_most, found.present) == (3 * MB, 12 * MB, 3 * MB)
    assert found.check(tmp_path) is None
