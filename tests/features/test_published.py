from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from features.published import PublishedFile, WeightsError, pins_file
from tests.features.mirror import Mirror

DATA = b"not really weights, but the same bytes every time"
DIGEST = hashlib.sha256(DATA).hexdigest()
DOWN = "http://127.0.0.1:9/model.pth"  # the port of "discard", where nothing listens


def published(*mirrors: str) -> PublishedFile:
    return PublishedFile(mirrors=mirrors, size_mb=1)


def nothing_left(file: PublishedFile) -> bool:
    return not list(file.path.parent.iterdir()) and not pins_file().exists()


def test_a_file_is_downloaded_once_and_pinned(mirror: Mirror) -> None:
    url = mirror.serve(f"model-{DIGEST[:8]}.pth", DATA)
    file = published(url)
    path = file.fetch("test", "")
    assert path == Path(torch.hub.get_dir()) / "checkpoints" / f"model-{DIGEST[:8]}.pth"
    assert path.read_bytes() == DATA
    assert json.loads(pins_file().read_text(encoding="utf-8")) == {
        "test": {"sha256": DIGEST, "file": file.file_name}
    }
    assert file.fetch("test", "") == path
    assert mirror.asked == [f"/model-{DIGEST[:8]}.pth"]


def test_a_mirror_that_is_down_is_followed_by_the_next(mirror: Mirror) -> None:
    file = published(DOWN, mirror.url("absent.pth"), mirror.serve("model.pth", DATA))
    assert file.fetch("test", "").read_bytes() == DATA
    assert file.path.name == "model.pth"


def test_the_name_in_the_cache_can_be_another_than_the_mirrors(mirror: Mirror) -> None:
    file = PublishedFile(mirrors=(mirror.serve("pytorch_model.bin", DATA),), size_mb=1, save_as="frcnn.bin")
    assert file.fetch("test", "").name == "frcnn.bin"


def test_a_wrong_hash_is_named_and_the_next_mirror_asked(mirror: Mirror) -> None:
    name = f"model-{DIGEST[:8]}.pth"
    wrong, right = mirror.serve(f"a/{name}", DATA[:-1]), mirror.serve(f"b/{name}", DATA)
    with pytest.raises(WeightsError, match=f"a/{name}: its SHA-256 is .*, its publisher states {DIGEST[:8]}"):
        published(wrong).fetch("test", "")
    assert nothing_left(published(wrong))
    assert published(wrong, right).fetch("test", "").read_bytes() == DATA


def test_a_download_that_is_cut_off_leaves_nothing(mirror: Mirror) -> None:
    file = published(mirror.serve("model.pth", DATA, cut_off=10))
    with pytest.raises(WeightsError, match=f"model.pth: it broke off after 10 of {len(DATA)} bytes"):
        file.fetch("test", "")
    assert nothing_left(file)


def test_a_page_that_a_portal_serves_instead_is_not_taken(mirror: Mirror) -> None:
    file = published(mirror.serve("model.pth", b"<html>Log in", content_type="text/html; charset=utf-8"))
    with pytest.raises(WeightsError, match="model.pth: it answers with a web page"):
        file.fetch("test", "")
    assert nothing_left(file)


def test_without_a_connection_every_mirror_is_named_with_its_failure_and_the_cure(mirror: Mirror) -> None:
    file = published(DOWN, mirror.url("absent.pth"))
    with pytest.raises(WeightsError) as caught:
        file.fetch("test", "name a file with --weights")
    message = str(caught.value)
    assert f"test could not be downloaded ({DOWN}: <urlopen error [Errno 111]" in message
    assert f"; {mirror.url('absent.pth')}: HTTP Error 404" in message
    assert message.endswith(
        f"Fetch it (1 MB) from there on a machine with a connection and put it at {file.path}, or name a "
        "file with --weights."
    )


def test_a_file_that_changed_since_its_first_use_is_refused(mirror: Mirror) -> None:
    file = published(mirror.serve("model.pth", DATA))
    file.fetch("test", "")
    file.path.write_bytes(b"something else")
    with pytest.raises(WeightsError, match=f"is not the {DIGEST[:12]}… of its first use. Delete it to"):
        file.fetch("test", "")


def test_a_file_put_there_by_hand_must_be_the_publishers(empty_caches: None) -> None:
    file = published(f"{DOWN}/model-00000000.pth")
    file.path.parent.mkdir(parents=True)
    file.path.write_bytes(DATA)
    with pytest.raises(WeightsError, match=f"SHA-256 {DIGEST[:12]}…, its publisher states 00000000…"):
        file.fetch("test", "")
