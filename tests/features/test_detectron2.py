"""Whoever has no detectron2, or no files of it, is told how to get them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from features.backends.base import load_backend


def test_without_detectron2_the_ways_to_get_it_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "detectron2.config", None)
    (tmp_path / "model_final.pth").write_bytes(b"")
    (tmp_path / "config.yaml").write_text("MODEL: {}")
    with pytest.raises(
        ValueError, match=r"on PYTHONPATH and install tushuo's extra \[detectron2\].*INSTALL.md"
    ):
        load_backend("detectron2", tmp_path / "model_final.pth")


def test_without_weights_it_is_said_which_files_are_wanted() -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no weights of its own: name a file .* \(NAME.yaml or config.yaml\)"
    ):
        load_backend("detectron2")
