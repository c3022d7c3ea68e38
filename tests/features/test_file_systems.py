"""Odd things in a folder of pictures: nothing hangs, nothing is left out unsaid, nothing leads out."""

from __future__ import annotations

import os
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from features.extract import main
from features.images import ImageError, read_image, scan_images
from features.store import RegionStore
from tests.features.fake import FakeBackend, register, save_picture


def self_loop(root: Path) -> None:
    (root / "loop.png").symlink_to("loop.png")
    (root / "round.png").symlink_to("about.png")
    (root / "about.png").symlink_to("round.png")


def folder_loop(root: Path) -> None:
    (root / "again").symlink_to(root)


def dangling(root: Path) -> None:
    (root / "gone.png").symlink_to("nowhere.png")


def leading_out(root: Path) -> None:
    save_picture(root.parent / "secret" / "secret.png")
    (root / "leak.png").symlink_to(root.parent / "secret" / "secret.png")
    (root / "leaks").symlink_to(root.parent / "secret")


def pipe(root: Path) -> None:
    os.mkfifo(root / "pipe.png")


def plug(root: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(root, os.O_RDONLY)  # a socket's path may be no longer than 107 bytes
        server.bind(f"/proc/self/fd/{here}/socket.png")
        os.close(here)


def device(root: Path) -> None:
    try:
        os.mknod(root / "zero.png", 0o644 | stat.S_IFCHR, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("making a device takes root, and a container that allows it")


def folder_of_a_pictures_name(root: Path) -> None:
    save_picture(root / "x.jpg" / "inner.png")


def same_file_twice(root: Path) -> None:
    (root / "hard.png").hardlink_to(root / "good.png")
    (root / "soft.png").symlink_to("good.png")


def hidden(root: Path) -> None:
    save_picture(root / ".thumbnails" / "t.png")
    (root / "._good.png").write_bytes(b"\0\5\x16\7")  # as macOS leaves beside every file


def deep(root: Path) -> None:
    for _ in range(300):
        root = root / "deeper"
    save_picture(root / "end.png")


@pytest.fixture
def _within_5_seconds() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TimeoutError("took more than 5 seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(5)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("_within_5_seconds")
@pytest.mark.parametrize(
    ("build", "more", "outside"),
    [
        (self_loop, [], ["about.png", "loop.png", "round.png"]),
        (folder_loop, [], []),
        (dangling, [], ["gone.png"]),
        (leading_out, [], ["leak.png", "leaks"]),
        (pipe, [], []),
        (plug, [], []),
        (device, [], []),
        (folder_of_a_pictures_name, ["x.jpg/inner.png"], []),
        (same_file_twice, ["hard.png", "soft.png"], []),
        (hidden, [], []),
        (deep, ["deeper/" * 300 + "end.png"], []),
    ],
)
def test_only_regular_files_inside_the_folder_are_pictures(
    build: Callable[[Path], None], more: list[str], outside: list[str], tmp_path: Path
) -> None:
    root = tmp_path / "in"
    save_picture(root / "good.png")
    build(root)
    found = scan_images(root)
    assert found.image_ids == sorted(["good.png", *more])
    assert found.outside == outside
    assert found.failed == {}
    for name in found.image_ids:
        assert read_image(root / name).size == (16, 12)
    for name in os.listdir(root):  # and whatever became of a picture after it was found, reading ends
        if name not in found.image_ids and not name.startswith("leak"):
            with pytest.raises(ImageError):
                read_image(root / name)


@pytest.fixture
def locked_away() -> Iterator[Path]:
    """A folder with a file and a folder that this process may not read; root becomes nobody for it."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)  # pytest's own folders are closed to nobody
        save_picture(root / "good.png")
        save_picture(root / "secret.png").chmod(0)
        save_picture(root / "secrets" / "a.png").parent.chmod(0)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)
        yield root
        if is_root:
            os.seteuid(0)
        (root / "secrets").chmod(0o700)


def test_what_may_not_be_read_is_named(locked_away: Path) -> None:
    found = scan_images(locked_away)
    assert found.image_ids == ["good.png", "secret.png"]
    assert found.failed == {"secrets": "the folder cannot be listed: Permission denied"}
    assert read_image(locked_away / "good.png").size == (16, 12)
    with pytest.raises(ImageError, match="^cannot be read: Permission denied$"):
        read_image(locked_away / "secret.png")
    with pytest.raises(PermissionError, match="secrets"):
        scan_images(locked_away / "secrets")


def test_a_folder_that_cannot_be_listed_is_recorded_and_the_others_are_extracted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, FakeBackend())
    save_picture(tmp_path / "in" / "good.png")
    save_picture(tmp_path / "in" / "bad disk" / "a.png")
    scandir = os.scandir

    def failing(path: Path) -> object:
        if path.name == "bad disk":
            raise OSError(5, "Input/output error")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)
    words = ["--images", str(tmp_path / "in"), "--out", str(tmp_path / "r.h5"), "--backend", "fake"]
    assert main([*words, "--workers", "0"]) == 3
    store = RegionStore(tmp_path / "r.h5")
    assert store.image_ids == ["good.png"]
    assert store.failed == {"bad disk": "the folder cannot be listed: Input/output error"}


def test_a_folder_of_5_000_pictures_is_listed_in_a_second(tmp_path: Path) -> None:
    for number in range(5_000):
        os.close(os.open(tmp_path / f"{number}.jpg", os.O_CREAT))
    started = time.perf_counter()
    assert len(scan_images(tmp_path).image_ids) == 5_000
    assert time.perf_counter() - started < 1  # 100,000 take 0.3 s
