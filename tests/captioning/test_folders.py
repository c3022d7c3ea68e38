from __future__ import annotations

import os
from pathlib import Path

import pytest

from captioning.folders import put_back, written_aside


def write(folder: Path, text: str) -> None:
    with written_aside(folder) as aside:
        (aside / "file").write_text(text, encoding="utf-8")


def test_a_folder_takes_the_place_of_an_earlier_one_and_nothing_else_is_left(tmp_path: Path) -> None:
    write(tmp_path / "f", "old")
    write(tmp_path / "f", "new")
    assert (tmp_path / "f/file").read_text(encoding="utf-8") == "new"
    assert os.listdir(tmp_path) == ["f"]


def test_the_earlier_folder_is_put_back_where_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "f", "old")
    real = os.rename

    def failing(source: Path, target: Path) -> None:
        if str(source).endswith(".partial"):
            raise OSError(5, "Input/output error")
        real(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OSError, match="Input/output error"):
        write(tmp_path / "f", "new")
    assert (tmp_path / "f/file").read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["f"]


def test_what_a_killed_writer_moved_away_is_put_back(tmp_path: Path) -> None:
    write(tmp_path / "f", "old")
    (tmp_path / "f").rename(tmp_path / ".f.replaced")
    put_back(tmp_path / "f")
    assert (tmp_path / "f/file").read_text(encoding="utf-8") == "old"
    put_back(tmp_path / "f")
    assert os.listdir(tmp_path) == ["f"]


def test_what_a_killed_writer_moved_away_survives_the_next_writer_that_fails(tmp_path: Path) -> None:
    write(tmp_path / "f", "old")
    (tmp_path / "f").rename(tmp_path / ".f.replaced")
    with pytest.raises(OSError, match="full"), written_aside(tmp_path / "f"):
        raise OSError("full")
    assert (tmp_path / "f/file").read_text(encoding="utf-8") == "old"
