"""Parts of captions on a disk that fails: no model is needed for any of it."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from captioning.merge import finished_before, merge
from captioning.parts import CaptionParts, Part, failures_file
from eval.annotations import read_predictions
from features.locks import OutputError, Shard

IDS = [f"{n:02d}.jpg" for n in range(10)]
BROKEN = "05.jpg"


def parts_of(out: Path, shard: str = "0/1", **changed: Any) -> CaptionParts:
    parts = CaptionParts(
        out=out,
        settings={"checkpoint": "abc", "decode.beam_width": 3},
        image_ids=IDS,
        part_size=3,
        shard=Shard.parse(shard),
        say=lambda message: sys.stderr.write(f"{message}\n") and None,
    )
    return replace(parts, **changed)


def result_of(image_ids: Any) -> Part:
    part = Part(failed={name: "truncated" for name in image_ids if name == BROKEN})
    for name in image_ids:
        if name not in part:
            record = {"image_id": name, "caption": f"{name}的说明", "score": -0.5, "log_prob": -3.0}
            part.records[name] = record | {"tags": ["狗"], "alternatives": [{"caption": "狗"}]}
    return part


def write(parts: CaptionParts) -> None:
    """What a run does to the disk; every part is sealed half done first, as after a signal."""
    if parts.out.exists():
        assert finished_before(parts.out) or not parts.folder.exists()
        return
    with parts.claimed():
        for number in parts.own:
            window = parts.window(number)
            if len(parts.read(number)) < len(window):
                parts.seal(number, result_of(window[:1]))
                parts.seal(number, result_of(window))
        merge(parts, [("unusable.jpg", "no name")])


DISK = ("fsync", "replace", "unlink", "mkdir", "rmdir", "open")


def counted(step: int, act: Callable[[], Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The functions that reach the disk, one of whose calls, the so-manieth of all, acts before it works."""
    count = 0

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == step:
                act()
            return function(*args, **kwargs)

        return call

    for name in DISK:
        yield name, wrap(getattr(os, name))


def killed_at(step: int, out: Path) -> bool:
    """Write in a child that is killed before its so-manieth step; False if it ended before."""
    child = os.fork()
    if child == 0:
        try:
            for name, function in counted(step, lambda: os.kill(os.getpid(), signal.SIGKILL)):
                setattr(os, name, function)
            write(parts_of(out))
        except BaseException as error:
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "c.json"
    write(parts_of(out))
    return out


def check_finished(out: Path, wanted: Path) -> None:
    assert out.read_bytes() == wanted.read_bytes()
    assert failures_file(out).read_bytes() == failures_file(wanted).read_bytes()
    assert sorted(os.listdir(out.parent)) == ["c.json", "c.json.failures.csv"]


def test_the_merge_holds_every_picture_once_in_their_order(undisturbed: Path) -> None:
    assert list(read_predictions(undisturbed)) == [name for name in IDS if name != BROKEN]
    table = failures_file(undisturbed).read_text(encoding="utf-8").splitlines()
    assert table[1:] == ["unusable.jpg,no name", "05.jpg,truncated"]
    check_finished(undisturbed, undisturbed)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_run_killed_at_any_step_and_started_again_ends_with_the_same_bytes(
    tmp_path: Path, undisturbed: Path
) -> None:
    step = 1
    while True:
        out = tmp_path / str(step) / "c.json"
        out.parent.mkdir()
        was_killed = killed_at(step, out)
        write(parts_of(out))
        check_finished(out, undisturbed)
        if not was_killed:
            break
        step += 1
    assert step > 50  # parts, their renames, the merge and the cleaning up were all interrupted


def test_a_full_disk_loses_nothing_that_was_sealed(
    tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_faults = 0

    def full() -> None:
        nonlocal n_faults
        n_faults += 1
        raise OSError(errno.ENOSPC, "No space left on device")

    step = 0
    while n_faults == step:
        step += 1
        out = tmp_path / str(step) / "c.json"
        out.parent.mkdir()
        with monkeypatch.context() as patch:
            for name, function in counted(step, full):
                patch.setattr(os, name, function)
            with suppress(OSError):
                write(parts_of(out))
        write(parts_of(out))
        check_finished(out, undisturbed)
    assert step > 50


def half_done(out: Path) -> CaptionParts:
    parts = parts_of(out)
    with parts.claimed():
        for number in (0, 1):
            parts.seal(number, result_of(parts.window(number)))
    return parts


@pytest.mark.parametrize(
    "spoil",
    [lambda data: data[:-9], lambda data: data.replace("说".encode(), "話".encode(), 1), lambda _: b""],
)
def test_a_part_that_changed_on_disk_is_done_again(
    spoil: Callable[[bytes], bytes], tmp_path: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = half_done(tmp_path / "c.json")
    path = parts.folder / "part-00001.jsonl"
    path.write_bytes(spoil(path.read_bytes()))
    write(parts)
    assert "part-00001.jsonl: the part was cut, or its bytes changed on disk" in capsys.readouterr().err
    check_finished(tmp_path / "c.json", undisturbed)


def test_a_part_of_another_run_among_ours_is_done_again(
    tmp_path: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = parts_of(tmp_path / "other" / "c.json", settings={"checkpoint": "another"})
    with other.claimed():
        other.seal(1, result_of(other.window(1)))
    parts = half_done(tmp_path / "ours" / "c.json")
    (other.folder / "part-00001.jsonl").replace(parts.folder / "part-00001.jsonl")
    write(parts)
    assert "a part of another run" in capsys.readouterr().err
    check_finished(parts.out, undisturbed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"settings": {"checkpoint": "abc", "decode.beam_width": 5}}, r"decode.beam_width 3 \(now 5\)"),
        ({"image_ids": IDS[:-1]}, r"pictures 10 \(SHA.*\) \(now 9 \(SHA"),
        ({"part_size": 4}, r"part_size 3 \(now 4\)"),
        ({"shard": Shard(index=0, count=2)}, r"shards 1 \(now 2\)"),
    ],
)
def test_a_run_with_other_settings_is_refused_by_their_names(
    changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    parts = replace(half_done(tmp_path / "c.json"), **changed)
    with pytest.raises(OutputError, match=message), parts.claimed():
        pass
    with replace(parts, shard=Shard()).claimed(overwrite=True):
        assert len(parts.read(0)) == 0


def test_a_folder_without_parts_binds_nobody(tmp_path: Path) -> None:
    with parts_of(tmp_path / "c.json").claimed():
        pass
    with parts_of(tmp_path / "c.json", settings={"checkpoint": "another"}).claimed():
        pass


def test_two_runs_at_a_time_are_refused(tmp_path: Path) -> None:
    parts = parts_of(tmp_path / "c.json")
    wanted = rf"c.json is being written by another run \(process {os.getpid()}\)"
    with parts.claimed(), pytest.raises(OutputError, match=wanted), parts_of(parts.out).claimed():
        pass


def test_a_file_system_without_flock_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(_file: int, _operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", flock)
    wanted = r"c.json must lie on a file system with flock \("
    with pytest.raises(OutputError, match=wanted), parts_of(tmp_path / "c.json").claimed():
        pass


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_shards_in_any_order_end_with_the_bytes_of_one_run(
    order: tuple[int, ...], tmp_path: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "c.json"
    for n_done, index in enumerate(order, start=1):
        assert not out.exists()
        write(parts_of(out, f"{index}/3"))
        said = capsys.readouterr().err
        if n_done < 3:
            assert f"not done yet: shard {', '.join(map(str, sorted(order[n_done:])))} of 3" in said
    (tmp_path / ".c.json.lock").unlink()
    check_finished(out, undisturbed)


def test_every_shard_has_work_where_there_are_fewer_pictures_than_full_parts(tmp_path: Path) -> None:
    shards = [parts_of(tmp_path / "c.json", f"{index}/4", part_size=128) for index in range(4)]
    held = [[name for number in parts.own for name in parts.window(number)] for parts in shards]
    assert sorted(sum(held, [])) == IDS
    assert all(held)


def test_a_foreign_file_in_the_folder_is_left_alone(tmp_path: Path, undisturbed: Path) -> None:
    parts = half_done(tmp_path / "c.json")
    (parts.folder / "notes.txt").write_text("mine")
    write(parts)
    assert (tmp_path / "c.json").read_bytes() == undisturbed.read_bytes()
    assert os.listdir(parts.folder) == ["notes.txt"]
