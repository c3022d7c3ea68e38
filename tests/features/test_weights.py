from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import features.weights
from features.weights import REGISTRY, WeightsEntry, WeightsError, best_backend, cached, fetch, pins_file

DATA = b"not really weights, but the same bytes every time"
DIGEST = hashlib.sha256(DATA).hexdigest()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the name it has)
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serves ``tmp_path/served`` on the loopback interface; gives its URL."""
    (tmp_path / "served").mkdir()
    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as http_server:
        thread = threading.Thread(target=http_server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http_server.server_port}"
        http_server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def register(monkeypatch: pytest.MonkeyPatch, url: str) -> WeightsEntry:
    entry = WeightsEntry(backend="torchvision", url=url, size_mb=1, box_ap=0.0)
    monkeypatch.setitem(REGISTRY, "test", entry)
    return entry


def test_published_weights_carry_their_digest_in_their_names() -> None:
    assert {name: entry.hash_prefix for name, entry in REGISTRY.items()} == {
        "fasterrcnn_resnet50_fpn_v2": "dd69338a",
        "fasterrcnn_resnet50_fpn": "258fb6c6",
    }


def test_weights_are_downloaded_once_and_pinned(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"model-{DIGEST[:8]}.pth"
    (tmp_path / "served" / name).write_bytes(DATA)
    entry = register(monkeypatch, f"{server}/{name}")
    assert cached("torchvision") is None
    path = fetch("test")
    assert path.read_bytes() == DATA
    assert path == Path(torch.hub.get_dir()) / "checkpoints" / name
    assert cached("torchvision") == path
    assert json.loads(pins_file().read_text(encoding="utf-8")) == {
        "test": {"sha256": DIGEST, "url": entry.url}
    }
    (tmp_path / "served" / name).unlink()
    assert fetch("test") == path


def test_a_download_that_is_not_the_publishers_is_refused(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "served" / "model-00000000.pth").write_bytes(DATA)
    entry = register(monkeypatch, f"{server}/model-00000000.pth")
    with pytest.raises(WeightsError, match="test: .* could not be downloaded .invalid hash value"):
        fetch("test")
    assert not entry.path.exists()


def test_weights_that_changed_since_their_first_use_are_refused(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "served" / "model.pth").write_bytes(DATA)
    entry = register(monkeypatch, f"{server}/model.pth")
    fetch("test")
    entry.path.write_bytes(b"something else")
    with pytest.raises(
        WeightsError, match=f"is not the {DIGEST[:12]}… of its first use. Delete it to fetch it again"
    ):
        fetch("test")


def test_without_a_connection_the_message_says_what_to_get_and_where_to_put_it(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = register(monkeypatch, f"{server}/absent-12345678.pth")
    with pytest.raises(WeightsError) as caught:
        fetch("test")
    assert entry.url in str(caught.value)
    assert f"put it at {entry.path}, or name a file with --weights" in str(caught.value)


def test_unknown_weights_are_answered_with_those_that_exist() -> None:
    with pytest.raises(
        WeightsError, match="unknown weights 'v3'; choose from fasterrcnn_resnet50_fpn, fasterrcnn_"
    ):
        fetch("v3")


def test_auto_takes_the_best_back_end_whose_weights_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = tmp_path / "detector.safetensors"
    monkeypatch.setattr("features.backends.mini.bundled_weights", lambda: bundled)
    with pytest.raises(FileNotFoundError, match="no back end has weights here: .*detector.safetensors"):
        best_backend()
    bundled.write_bytes(b"")
    assert best_backend() == "mini"
    entry = features.weights.REGISTRY["fasterrcnn_resnet50_fpn"]
    entry.path.parent.mkdir(parents=True)
    entry.path.write_bytes(b"")
    assert best_backend() == "torchvision"
