from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.features.mirror import Mirror, serving


@pytest.fixture
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither downloads nor pins of the machine are seen or changed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def mirror(empty_caches: None) -> Iterator[Mirror]:
    """A publisher on the loopback interface."""
    with serving() as server:
        yield server
