"""Sentences cut once, by one process or several, and the folder that keeps them."""

import hashlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from eval import segmentation
from eval.protocols import Protocol, find_protocol
from eval.segmentation import SegmentationCache, already_cut, cut

SENTENCES = ["两只狗在雪地里玩耍", "一个男人", "", "两只狗", "孩子们在海边放风筝。"]


class Cutter:
    """Cuts into characters and remembers what it was asked to cut."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, text: str) -> list[str]:
        self.seen.append(text)
        return list(text)


@pytest.fixture
def cutter() -> Cutter:
    return Cutter()


@pytest.fixture
def protocol(cutter: Cutter) -> Protocol:
    chars = find_protocol("chars")
    segmenter = replace(chars.segmenter, name="cutter", cut=cutter, version=lambda: "1")
    return replace(chars, name="chars+cutter", segmenter=segmenter)


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SegmentationCache:
    """A folder that keeps even what was cut in no time."""
    monkeypatch.setattr(segmentation, "CACHE_PAYS", 0)
    return SegmentationCache(tmp_path / "segmentation")


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests leave threads behind, which forbid to fork."""
    monkeypatch.setattr(threading, "active_count", lambda: 1)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes are started for a handful of sentences."""
    monkeypatch.setattr(segmentation, "PROCESSES_PAY", 0)
    monkeypatch.setattr(segmentation, "SAMPLE", 2)
    monkeypatch.setattr(segmentation, "CHUNK", 2)


def entries(known: SegmentationCache) -> list[Path]:
    return sorted(known.folder.iterdir())


def test_a_sentence_of_several_files_is_cut_once(protocol: Protocol, cutter: Cutter) -> None:
    cut_before = already_cut(protocol, [SENTENCES, {"两只狗", "新的"}, SENTENCES])
    assert sorted(cutter.seen) == sorted(text.removesuffix("。") for text in {*SENTENCES, "新的"})
    for text in SENTENCES:
        assert cut_before.cut(text) == list(text.removesuffix("。"))
    assert len(cutter.seen) == 6


def test_what_is_cut_beforehand_keeps_name_steps_and_version(protocol: Protocol) -> None:
    cut_before = already_cut(protocol, [SENTENCES])
    assert (cut_before.name, cut_before.steps) == (protocol.name, protocol.steps)
    assert (cut_before.version(), cut_before.unit) == (protocol.version(), protocol.unit)


def test_nothing_is_cut_where_there_is_nothing(protocol: Protocol, cutter: Cutter) -> None:
    already_cut(protocol, [[], []], processes=2)
    assert cutter.seen == []


@pytest.mark.usefixtures("eager", "one_thread")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks here")
def test_forked_processes_cut_as_one_does() -> None:
    words = find_protocol("aic-icc")
    assert [*cut(words, SENTENCES, processes=2)] == [*map(words.cut, SENTENCES)]


@pytest.mark.usefixtures("eager")
def test_processes_are_not_forked_beside_threads_and_cut_alike() -> None:
    characters = find_protocol("chars")
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert [*cut(characters, SENTENCES, processes=2)] == [*map(characters.cut, SENTENCES)]
    finally:
        done.set()
        thread.join()


@pytest.mark.usefixtures("eager", "one_thread")
def test_a_protocol_that_other_processes_cannot_find_is_cut_here(protocol: Protocol, cutter: Cutter) -> None:
    assert [*cut(protocol, SENTENCES, processes=2)] == [*map(find_protocol("chars").cut, SENTENCES)]
    assert len(cutter.seen) == len(SENTENCES)


def test_a_second_run_cuts_nothing(protocol: Protocol, cutter: Cutter, known: SegmentationCache) -> None:
    first = already_cut(protocol, [SENTENCES, ["新的"]], known=known)
    cutter.seen.clear()
    second = already_cut(protocol, [SENTENCES[::-1], ["新的"]], known=known)
    assert cutter.seen == []
    assert [*map(second.cut, SENTENCES)] == [*map(first.cut, SENTENCES)]


def test_a_file_that_is_known_is_not_cut_for_the_sake_of_another(
    protocol: Protocol, cutter: Cutter, known: SegmentationCache
) -> None:
    already_cut(protocol, [SENTENCES], known=known)
    cutter.seen.clear()
    already_cut(protocol, [SENTENCES, ["两只狗", "新的"]], known=known)
    assert cutter.seen == ["新的"]


def test_what_decides_the_tokens_decides_the_entry(
    protocol: Protocol, cutter: Cutter, known: SegmentationCache
) -> None:
    already_cut(protocol, [SENTENCES], known=known)
    others = [
        replace(protocol, name="other"),
        replace(protocol, after=("reversed",)),
        replace(protocol, segmenter=replace(protocol.segmenter, version=lambda: "2")),
    ]
    for other in others:
        cutter.seen.clear()
        already_cut(other, [SENTENCES], known=known)
        assert len(cutter.seen) == len(SENTENCES)
    assert len(entries(known)) == 4


def test_sentences_cut_in_no_time_are_not_kept(tmp_path: Path, protocol: Protocol) -> None:
    known = SegmentationCache(tmp_path / "segmentation")
    already_cut(protocol, [SENTENCES], known=known)
    assert not known.folder.exists()


def damaged(whole: bytes) -> Iterator[bytes]:
    yield b""
    yield whole[:-1]
    yield whole.replace("狗".encode(), "猫".encode())
    yield b"[]"
    body = b"[[["
    yield hashlib.sha256(body).hexdigest().encode() + b"\n" + body


@pytest.mark.parametrize("kind", range(5))
def test_a_damaged_entry_is_cut_again_and_replaced(
    kind: int, protocol: Protocol, cutter: Cutter, known: SegmentationCache
) -> None:
    already_cut(protocol, [SENTENCES], known=known)
    [entry] = entries(known)
    whole = entry.read_bytes()
    entry.write_bytes([*damaged(whole)][kind])
    cutter.seen.clear()
    found = already_cut(protocol, [SENTENCES], known=known)
    assert len(cutter.seen) == len(SENTENCES)
    assert found.cut("两只狗") == ["两", "只", "狗"]
    assert entry.read_bytes() == whole


def test_an_entry_is_json_that_only_its_owner_reads(protocol: Protocol, known: SegmentationCache) -> None:
    already_cut(protocol, [SENTENCES], known=known)
    [entry] = entries(known)
    checksum, body = entry.read_bytes().split(b"\n", 1)
    assert checksum.decode() == hashlib.sha256(body).hexdigest()
    assert json.loads(body) == [list(text.replace("。", "")) for text in sorted(SENTENCES)]
    assert (known.folder.stat().st_mode & 0o777, entry.stat().st_mode & 0o777) == (0o700, 0o600)


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_may_write_to_is_not_trusted(
    mode: int, protocol: Protocol, cutter: Cutter, known: SegmentationCache
) -> None:
    already_cut(protocol, [SENTENCES], known=known)
    known.folder.chmod(mode)
    cutter.seen.clear()
    already_cut(protocol, [SENTENCES, ["新的"]], known=known)
    assert len(cutter.seen) == len(SENTENCES) + 1
    assert len(entries(known)) == 1


def test_a_folder_of_somebody_else_is_not_trusted(
    protocol: Protocol, cutter: Cutter, known: SegmentationCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    already_cut(protocol, [SENTENCES], known=known)
    cutter.seen.clear()
    monkeypatch.setattr(os, "getuid", lambda: known.folder.stat().st_uid + 1)
    already_cut(protocol, [SENTENCES], known=known)
    assert len(cutter.seen) == len(SENTENCES)


def test_a_folder_that_cannot_be_made_costs_nothing_but_time(
    protocol: Protocol, known: SegmentationCache
) -> None:
    known.folder.write_text("a file")
    assert already_cut(protocol, [SENTENCES], known=known).cut("两只狗") == ["两", "只", "狗"]


def test_a_full_disk_leaves_nothing_behind(
    protocol: Protocol, known: SegmentationCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    already_cut(protocol, [SENTENCES], known=known)
    assert entries(known) == []


def test_the_entry_unused_for_longest_makes_room(protocol: Protocol, known: SegmentationCache) -> None:
    files = [[f"{number}号"] for number in range(4)]
    small = replace(known, max_bytes=3 * 90)
    for number, sentences in enumerate(files[:3]):
        already_cut(protocol, [sentences], known=small)
        [newest] = set(entries(small)) - {entry for entry in entries(small) if entry.stat().st_mtime < 1000}
        os.utime(newest, (number, number))
    assert len(entries(small)) == 3
    already_cut(protocol, [files[0]], known=small)
    already_cut(protocol, [files[3]], known=small)
    kept = [small.read(protocol, sentences) is not None for sentences in files]
    assert kept == [True, False, True, True]


def test_what_a_killed_process_left_is_removed_an_hour_later(
    protocol: Protocol, known: SegmentationCache
) -> None:
    already_cut(protocol, [SENTENCES], known=known)
    for name, age in [("old.json.1.part", 4000), ("new.json.2.part", 60)]:
        (known.folder / name).write_bytes(b"[")
        os.utime(known.folder / name, (time.time() - age, time.time() - age))
    already_cut(protocol, [["新的"]], known=known)
    assert {entry.name for entry in entries(known) if entry.suffix == ".part"} == {"new.json.2.part"}


def test_the_user_s_folder_follows_the_desktop_s_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert SegmentationCache.of_user().folder == Path("/somewhere/tushuo/segmentation")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert SegmentationCache.of_user().folder == Path.home() / ".cache/tushuo/segmentation"


def die(names: tuple[str, str], sentences: list[str]) -> list[list[str]]:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


@pytest.mark.usefixtures("eager", "one_thread")
def test_a_process_that_is_killed_is_an_error_and_no_endless_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "_cut_chunk", die)
    with pytest.raises(ChildProcessError, match="was killed, probably for want of memory"):
        [*cut(find_protocol("chars"), SENTENCES, processes=2)]
