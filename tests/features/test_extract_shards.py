"""Several processes on one output: what they make together, and that they never spoil each other's work."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import re
import signal
import time
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from features.decoding import cores
from features.devices import uneven
from features.extract import main
from features.locks import OutputError, Shard, door, locked
from features.store import RegionStore
from tests.features.fake import FakeBackend, register, save_picture
from tests.features.same_file import assert_same_file, torch_threads

FORK = multiprocessing.get_context("fork")
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Thirteen pictures of three sizes, one of them broken."""
    random = np.random.default_rng(0)
    for number in range(13):
        size = ((16, 12), (8, 20), (12, 12))[number % 3]
        save_picture(tmp_path / "images" / f"{number:02d}.png", tuple(random.integers(0, 255, 3)), size)  # type: ignore[arg-type]
    (tmp_path / "images" / "07.png").write_bytes(b"")
    return tmp_path / "images"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, images: Path, tmp_path: Path) -> Callable[..., int]:
    """The command with the fake back end and windows of three pictures."""
    register(monkeypatch, FakeBackend())

    def command(out: str, *arguments: str) -> int:
        words = ["--images", str(images), "--out", str(tmp_path / out), "--backend", "fake"]
        return main([*words, "--workers", "0", "--batch_size", "2", "--shard_size", "3", *arguments])

    return command


def slowly(monkeypatch: pytest.MonkeyPatch, seconds: float = 0.1) -> None:
    register(monkeypatch, FakeBackend(on_batch=lambda _: time.sleep(seconds)))


def started(run: Callable[..., int], *arguments: str) -> multiprocessing.context.ForkProcess:
    def work() -> None:
        os._exit(run(*arguments))

    process = FORK.Process(target=work)
    process.start()
    return process


def until(happened: Callable[[], bool]) -> None:
    """Wait for another process, within reason."""
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_three_shards_make_the_file_of_one_process(
    run: Callable[..., int], tmp_path: Path, order: tuple[int, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("one.h5") == 3
    capsys.readouterr()
    codes = [run("three.h5", "--shard", f"{index}/3") for index in order]
    assert codes[-1] == 3  # one picture is broken
    assert_same_file(tmp_path / "three.h5", tmp_path / "one.h5")
    assert not (tmp_path / "three.h5.parts").exists()
    said = capsys.readouterr().out
    assert f"shard {order[0]}/3: " in said
    assert f"so far, of all shards; the one that ends last writes {tmp_path / 'three.h5'}" in said
    assert f"12 ok / 1 failed -> {tmp_path / 'three.h5'}" in said


def test_shards_that_end_together_make_the_file_of_one_process(
    run: Callable[..., int], tmp_path: Path
) -> None:
    run("one.h5")
    processes = [started(run, "four.h5", "--shard", f"{index}/4") for index in range(4)]
    for process in processes:
        process.join(60)
        assert process.exitcode in (0, 3)
    assert_same_file(tmp_path / "four.h5", tmp_path / "one.h5")
    assert not (tmp_path / "four.h5.parts").exists()


def test_a_shard_that_was_killed_is_started_again(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run("one.h5")
    slowly(monkeypatch, 0.3)
    process = started(run, "two.h5", "--shard", "0/2")
    until(lambda: any((tmp_path / "two.h5.parts").glob("shard-*.h5")))
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (tmp_path / "two.h5").exists()
    register(monkeypatch, FakeBackend())
    run("two.h5", "--shard", "1/2")
    run("two.h5", "--shard", "0/2")
    assert_same_file(tmp_path / "two.h5", tmp_path / "one.h5")


def test_a_finished_file_is_added_to_by_shards(run: Callable[..., int], images: Path, tmp_path: Path) -> None:
    run("two.h5", "--limit", "5")
    for index in range(2):
        run("two.h5", "--shard", f"{index}/2")
    assert len(RegionStore(tmp_path / "two.h5")) == 12
    run("one.h5", "--limit", "5")
    run("one.h5")
    assert_same_file(tmp_path / "two.h5", tmp_path / "one.h5")


def test_two_devices_make_the_file_of_one_and_of_three_shards(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(1)
    for number in range(7):
        pixels = random.integers(0, 255, (40 + number, 50, 3), dtype=np.uint8)
        save_picture(tmp_path / "images" / f"{number}.png")
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    words = ["--images", str(tmp_path / "images"), "--backend", "mini", "--shard_size", "2"]
    words += ["--batch_size", "2", "--workers", "0", "--out"]
    with torch_threads(max(1, cores() // 2)):  # as each of two devices has
        assert main([*words, str(tmp_path / "one.h5"), "--device", "cpu"]) == 0
        for index in range(3):
            assert main([*words, str(tmp_path / "three.h5"), "--shard", f"{index}/3", "--device", "cpu"]) == 0
    assert_same_file(tmp_path / "three.h5", tmp_path / "one.h5")
    capfd.readouterr()
    assert main([*words, str(tmp_path / "two.h5"), "--devices", "cpu,cpu"]) == 0
    assert_same_file(tmp_path / "two.h5", tmp_path / "one.h5")
    assert "7 pictures in " in capfd.readouterr().out


@pytest.mark.parametrize("n_devices", [2, 3, 8])
@pytest.mark.parametrize("n_pictures", [1, 9, 500, 513, 1360, 3000, 20000])
def test_the_shard_size_that_is_advised_shares_pictures_evenly(n_pictures: int, n_devices: int) -> None:
    def busiest(size: int) -> int:
        windows = [min(size, n_pictures - start) for start in range(0, n_pictures, size)]
        return max(sum(windows[device::n_devices]) for device in range(n_devices))

    advice = uneven(n_pictures, 512, n_devices)
    if n_pictures < n_devices or busiest(512) * n_devices <= 1.1 * n_pictures:
        assert advice == ""
    else:
        found = re.search(r"gets (\d+) of .*--shard_size (\d+) shares", advice)
        assert found is not None
        assert int(found[1]) == busiest(512)
        n_rounds = -(-n_pictures // (512 * n_devices))
        assert busiest(int(found[2])) <= n_pictures / n_devices + n_rounds  # one picture a round, at most


def test_the_error_of_a_device_is_the_error_of_the_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    save_picture(tmp_path / "images" / "a.png")
    words = ["--images", str(tmp_path / "images"), "--backend", "mini", "--out", str(tmp_path / "r.h5")]
    assert main([*words, "--workers", "0", "--fixed", "3"]) == 0
    assert main([*words, "--devices", "cpu,cpu"]) == 1
    assert capfd.readouterr().err.count("error: ") == 1
    assert main([*words, "--devices", "cpu,cpu", "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--devices", "cpu,cpu", "--images", "/nowhere"], "/nowhere"),
        (["--devices", "cpu,cpu", "--weights", "none.pth"], "none.pth: no weights of the mini detector here"),
        (["--devices", "cpu,cdua"], "devices: 'cdua' is none"),
        (["--devices", "cpu,cuda:99"], "devices: there is no cuda:99"),
        (["--ray", "2", "--images", "/nowhere"], "/nowhere"),
        (["--ray", "2", "--weights", "none.pth"], "none.pth: no weights of the mini detector here"),
    ],
)
def test_what_is_wrong_is_said_before_a_finished_output_is_deleted(
    tmp_path: Path, wrong: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    save_picture(tmp_path / "images" / "a.png")
    words = ["--images", str(tmp_path / "images"), "--backend", "mini", "--out", str(tmp_path / "r.h5")]
    assert main([*words, "--workers", "0"]) == 0
    assert main([*words, "--overwrite", *wrong]) == 1
    assert message in capfd.readouterr().err
    assert len(RegionStore(tmp_path / "r.h5")) == 1


def test_ctrl_c_while_the_devices_start_ends_the_run_cleanly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_picture(tmp_path / "images" / "a.png")
    start, processes = SpawnProcess.start, []

    def interrupted(process: SpawnProcess) -> None:
        start(process)
        processes.append(process)
        if len(processes) == 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(SpawnProcess, "start", interrupted)
    words = ["--images", str(tmp_path / "images"), "--backend", "mini", "--out", str(tmp_path / "r.h5")]
    assert main([*words, "--devices", "cpu,cpu"]) == 128 + signal.SIGINT
    assert [process.is_alive() for process in processes] == [False, False]


def test_of_four_extractions_of_one_output_one_writes_and_three_name_it(
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    slowly(monkeypatch, 0.5)
    processes = [started(run, "r.h5") for _ in range(4)]
    for process in processes:
        process.join(60)
    codes = [process.exitcode for process in processes]
    assert codes.count(1) == 3
    writer = processes[codes.index(3)].pid
    assert capfd.readouterr().err.count(f"is being written by another run (process {writer})") == 3
    store = RegionStore(tmp_path / "r.h5")
    assert len(store.image_ids) == len(set(store.image_ids)) == 12


def test_a_second_extraction_can_wait_for_the_first(
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    slowly(monkeypatch)
    processes = [started(run, "r.h5", "--wait") for _ in range(2)]
    for process in processes:
        process.join(60)
        assert process.exitcode == 3
    captured = capfd.readouterr()
    assert captured.err.count("waiting for another extraction (process ") == 1
    assert "nothing to do: every picture was tried before; " in captured.out
    assert len(RegionStore(tmp_path / "r.h5")) == 12


def test_the_lock_of_a_process_that_is_gone_stands_in_nobodys_way(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slowly(monkeypatch, 5.0)
    process = started(run, "r.h5")
    until(lambda: (tmp_path / "r.h5.parts" / "shard-0-of-1.lock").exists())
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    register(monkeypatch, FakeBackend())
    for index in range(2):
        assert run("r.h5", "--shard", f"{index}/2") in (0, 3)
    assert len(RegionStore(tmp_path / "r.h5")) == 12
    assert not (tmp_path / "r.h5.parts").exists()


@pytest.mark.parametrize(
    ("first", "second"), [("0/1", "1/2"), ("0/2", "0/1"), ("0/2", "0/3"), ("1/2", "1/2")]
)
def test_what_may_not_run_side_by_side_is_refused(
    run: Callable[..., int], tmp_path: Path, first: str, second: str
) -> None:
    with locked(tmp_path / "r.h5", Shard.parse(first)):
        assert run("r.h5", "--shard", second) == 1
        with pytest.raises(OutputError, match=f"process {os.getpid()}"), locked(tmp_path / "r.h5"):
            pass
    assert run("r.h5") == 3


def test_a_file_system_without_flock_is_refused(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def flock(_file: int, _operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", flock)
    assert run("r.h5") == 1
    assert "r.h5 must lie on a file system with flock (" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["1", "2/2", "-1/2", "a/b", "0/0", "1/4/2"])
def test_a_wrong_shard_is_answered_with_a_right_one(text: str) -> None:
    with pytest.raises(ValueError, match="shard must be i/N, i counting from 0 to N - 1, such as 0/4"):
        Shard.parse(text)


def test_the_windows_of_all_shards_are_all_windows() -> None:
    shards = [Shard(index=1, count=2).part(number, 3) for number in range(3)] + [Shard(index=0, count=2)]
    for number in range(24):
        assert sum(shard.owns(number) for shard in shards) == 1


def test_a_lock_is_let_go_of_where_the_disk_takes_nothing_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, text: str, encoding: str | None = None) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full, door(tmp_path / "r.h5"):
        full.setattr(Path, "write_text", refuse)
    with locked(tmp_path / "r.h5"):
        pass
