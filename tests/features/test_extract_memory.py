"""Batches that memory does not hold."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from features.backends.base import Detections
from features.extract import main
from features.store import RegionStore
from tests.features.fake import FakeBackend, register, save_picture
from tests.features.same_file import assert_same_file
from tests.imports import ROOT

ALLOCATOR = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
    "allocate 4000000 bytes. Error code 12 (Cannot allocate memory)"
)


class Small(FakeBackend):
    """Holds no more than so many pictures of 12 x 16 pixels, and any number of others."""

    def __init__(self, most: int, error: Exception) -> None:
        super().__init__()
        self.most = most
        self.error = error
        self.tried: list[int] = []

    def detect(
        self,
        batch: Tensor,
        sizes: Sequence[tuple[int, int]],
        boxes: Sequence[np.ndarray] | None = None,
    ) -> list[Detections]:
        self.tried.append(len(batch))
        if batch.shape[-1] == 16 and len(batch) > self.most:
            raise self.error
        return super().detect(batch, sizes, boxes)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., int]:
    """The command with the fake back end over eleven pictures of 12 x 16 pixels and three of 20 x 8."""
    for number in range(14):
        size = (16, 12) if number < 11 else (8, 20)
        save_picture(tmp_path / "images" / f"{number:02}.png", (number, 0, 200), size)

    def command(out: str) -> int:
        words = ["--images", str(tmp_path / "images"), "--out", str(tmp_path / out), "--backend", "fake"]
        return main([*words, "--workers", "0", "--batch_size", "8"])

    return command


@pytest.mark.parametrize(
    "error",
    [
        ALLOCATOR,
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.1 GB)"),
    ],
)
def test_what_memory_does_not_hold_is_halved_until_it_does(
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    error: Exception,
    capsys: pytest.CaptureFixture[str],
) -> None:
    register(monkeypatch, FakeBackend())
    assert run("roomy.h5") == 0
    small = Small(2, error)
    register(monkeypatch, small)
    assert run("small.h5") == 0
    assert_same_file(tmp_path / "small.h5", tmp_path / "roomy.h5")
    assert small.tried == [8, 4, 2, 2, 2, 2, 2, 1, 3]  # what has been learnt of a shape holds for it alone
    assert capsys.readouterr().err.count("out of memory with 8 pictures at once") == 1


def test_a_picture_that_memory_does_not_hold_alone_is_a_failure(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    register(monkeypatch, Small(0, ALLOCATOR))
    assert run("small.h5") == 3
    store = RegionStore(tmp_path / "small.h5")
    assert store.image_ids == ["11.png", "12.png", "13.png"]
    assert len(store.failed) == 11
    assert store.failed["00.png"] == "not enough memory for its 12x16 prepared pixels"


class Choosy(FakeBackend):
    """Fails on batches with a picture whose red is among these, or on every one from a batch on."""

    def __init__(self, *reds: int, broken_from: float = np.inf) -> None:
        super().__init__()
        self.reds = reds
        self.broken_from = broken_from
        self.tried = 0

    def detect(
        self,
        batch: Tensor,
        sizes: Sequence[tuple[int, int]],
        boxes: Sequence[np.ndarray] | None = None,
    ) -> list[Detections]:
        self.tried += 1
        if self.tried > self.broken_from:
            raise RuntimeError("CUDA error: device-side assert triggered\nCompile with TORCH_USE_CUDA_DSA")
        if set(batch[:, 0, 0, 0].tolist()) & set(self.reds):
            raise ValueError("torch.stack expects a non-empty list")
        return super().detect(batch, sizes, boxes)


def test_a_picture_that_the_detector_fails_on_is_a_failure_and_costs_no_other(
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    register(monkeypatch, Choosy(0, 5, 13))
    assert run("choosy.h5") == 3
    store = RegionStore(tmp_path / "choosy.h5")
    assert store.failed == dict.fromkeys(
        ("00.png", "05.png", "13.png"),
        "the fake detector failed on it (torch.stack expects a non-empty list)",
    )
    assert len(store) == 11
    assert (
        "failed on 3 pictures (torch.stack expects a non-empty list): trying them one by one (11.png, "
        in (capsys.readouterr().err)
    )


def test_a_detector_that_breaks_on_the_way_stops_the_run_and_nothing_counts_as_failed(
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    register(monkeypatch, Choosy(broken_from=1))
    assert run("broken.h5") == 1
    assert "error: 08.png: the fake detector failed on it (CUDA error: device-side assert triggered" in (
        capsys.readouterr().err
    )
    store = RegionStore(tmp_path / "broken.h5.parts")
    assert (len(store), store.failed) == (8, {})
    register(monkeypatch, FakeBackend())
    assert run("broken.h5") == 0


def test_a_detector_that_never_worked_stops_the_run_after_twenty_pictures(
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number in range(14, 40):
        save_picture(tmp_path / "images" / f"{number}.png")
    broken = Choosy(broken_from=0)
    register(monkeypatch, broken)
    assert run("broken.h5") == 1
    assert "its weights or its device are broken" in capsys.readouterr().err
    assert broken.tried == 20 + 3  # pictures, and the batches that they are of
    assert not (tmp_path / "broken.h5.parts").exists()


REALLY_SHORT = """
import re, resource
from pathlib import Path
import numpy as np
import torch
from features.extract import RegionExtractor
from features.images import find_images

torch.set_num_threads(1)  # batches that are cut for more threads round otherwise
samples = Path("examples/images")
pictures = [Path(name) for name in find_images(samples)[:16]]
extractor = RegionExtractor("mini", device="cpu")
roomy = list(extractor.extract(pictures, samples, batch_size=2))
held = 1024 * int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
resource.setrlimit(resource.RLIMIT_AS, (held + 200_000_000,) * 2)
short = list(extractor.extract(pictures, samples, batch_size=16))
for one, other in zip(short, roomy, strict=True):
    np.testing.assert_allclose(one.features.astype(float), other.features.astype(float), atol=1e-5)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory are Linux's")
def test_a_real_detector_goes_on_where_the_process_may_have_no_more_memory() -> None:
    child = subprocess.run(
        [sys.executable, "-c", REALLY_SHORT], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert child.returncode == 0, child.stderr
    assert "out of memory with 16 pictures at once" in child.stderr
