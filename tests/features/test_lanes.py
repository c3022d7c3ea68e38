"""Batches side by side: in threads, and yet in order, and with the results of one after the other."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from features.backends.mini import MiniBackend
from features.extract import main
from features.pipeline import side_by_side
from features.store import RegionStore
from tests.features.fake import FakeBackend, register, save_picture
from tests.features.same_file import assert_same_file, torch_threads


class InLanes(FakeBackend):
    """Takes batches side by side, and for each some other time."""

    def __init__(self, lanes: int) -> None:
        draw = random.Random(0)
        super().__init__(on_batch=lambda _: time.sleep(0.02 * draw.random()))
        self._lanes = lanes

    @property
    def lanes(self) -> int:
        return self._lanes


@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_results_come_in_order_and_no_more_than_the_lanes_are_worked_on(lanes: int) -> None:
    busy, most, lock = 0, 0, threading.Lock()

    def work(number: int) -> int:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.002 * (number % 3))
        with lock:
            busy -= 1
        return -number

    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        while taken < 40:
            taken += 1
            yield taken

    for given, result in enumerate(side_by_side(work, items(), lanes), start=1):
        assert result == -given
        assert taken - given <= lanes  # one more waits than are worked on, at most
    assert most <= lanes
    assert (most > 1) == (lanes > 1)


@pytest.mark.parametrize("lanes", [1, 2])
def test_an_error_comes_in_its_place_and_what_was_not_begun_never_is(lanes: int) -> None:
    begun = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise ValueError("three")
        return number

    results = side_by_side(work, range(100), lanes)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert max(begun) <= 3 + lanes


def test_lanes_share_the_threads_of_torch_and_give_them_back() -> None:
    with torch_threads(4):
        assert set(side_by_side(lambda _: torch.get_num_threads(), range(8), 2)) == {2}
        later: list[int] = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert later == [torch.get_num_threads()] == [4]


def test_an_extraction_in_lanes_writes_the_file_of_one_lane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (40, 3))
    for number, (red, green, blue) in enumerate(colours):
        size = ((16, 12), (8, 20), (12, 12))[number % 3]
        save_picture(tmp_path / "images" / f"{number:02}.png", (red, green, blue), size)
    (tmp_path / "images" / "17.png").write_bytes(b"")
    words = ["--images", str(tmp_path / "images"), "--backend", "fake", "--batch_size", "3"]
    words += ["--workers", "0", "--shard_size", "16", "--out"]
    for lanes in (1, 3):
        register(monkeypatch, InLanes(lanes))
        assert main([*words, str(tmp_path / f"{lanes}.h5")]) == 3
    assert_same_file(tmp_path / "3.h5", tmp_path / "1.h5")


def test_the_mini_detector_sees_the_same_in_two_lanes_as_in_one(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(6):
        Image.fromarray(draw.integers(0, 255, (60, 80, 3), np.uint8)).save(tmp_path / f"images/{number}.png")
    words = ["--images", str(tmp_path / "images"), "--backend", "mini", "--device", "cpu", "--workers", "0"]
    words += ["--batch_size", "2", "--out"]
    for n_threads in (1, 2):  # in one lane, in two: a product is one thread's in both
        with torch_threads(n_threads):
            assert MiniBackend(None, torch.device("cpu")).lanes == n_threads
            assert main([*words, str(tmp_path / f"{n_threads}.h5")]) == 0
    assert_same_file(tmp_path / "2.h5", tmp_path / "1.h5")
    assert len(RegionStore(tmp_path / "1.h5")) == 6
