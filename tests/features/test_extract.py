from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

import features.extraction
import features.progress
from features.backends.base import BACKENDS, Detections
from features.decoding import Prepared, decode_pictures
from features.extract import RegionExtractor, main
from features.images import ImageError
from features.locks import locked
from features.output import differences
from features.progress import ExtractionProgress, failure_lines
from features.schema import Regions
from features.store import RegionStore
from tests.features.fake import META, FakeBackend, as_it_is, assert_equal, register, save_picture
from tests.imports import ROOT

COLOURS = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (90, 80, 70), (10, 20, 30), (5, 5, 250), (77, 0, 1)]


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> FakeBackend:
    backend = FakeBackend()
    register(monkeypatch, backend)
    return backend


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Seven pictures of two sizes, some in a folder of their own."""
    for number, colour in enumerate(COLOURS):
        name = f"{'子 文件夹/' if number % 3 == 0 else ''}{number}.png"
        save_picture(tmp_path / "images" / name, colour, size=(16, 12) if number % 2 else (8, 20))
    return tmp_path / "images"


@pytest.fixture
def run(tmp_path: Path, images: Path) -> Callable[..., int]:
    """The command with the fake back end, small batches and no worker processes."""

    def command(*arguments: str) -> int:
        words = ["--images", str(images), "--out", str(tmp_path / "regions.h5"), "--backend", "fake"]
        return main([*words, "--workers", "0", "--batch-size", "2", "--shard-size", "3", *arguments])

    return command


def assert_same_pictures(found: Path, wanted: Path) -> None:
    ours, theirs = RegionStore(found), RegionStore(wanted)
    assert ours.image_ids == theirs.image_ids
    assert ours.failed == theirs.failed
    for image_id in theirs.image_ids:
        assert_equal(ours.regions(image_id), theirs.regions(image_id))


def test_every_picture_of_a_folder_ends_in_one_file(
    backend: FakeBackend, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    store = RegionStore(tmp_path / "regions.h5")
    assert store.image_ids == [
        "1.png",
        "2.png",
        "4.png",
        "5.png",
        "子 文件夹/0.png",
        "子 文件夹/3.png",
        "子 文件夹/6.png",
    ]
    assert store.fingerprint == RegionExtractor("fake").fingerprint
    assert store.attributes["run"]["images"] == str(tmp_path / "images")
    assert not (tmp_path / "regions.h5.parts").exists()
    summary = capsys.readouterr().out
    assert f"7 ok / 0 failed -> {tmp_path / 'regions.h5'}" in summary
    assert "pictures/s" in summary
    assert "% of the time in the model, " in summary
    assert "% merging, peak memory" in summary


def test_colours_reach_the_detector_as_red_green_blue(
    backend: FakeBackend, run: Callable[..., int], tmp_path: Path
) -> None:
    assert run() == 0
    store = RegionStore(tmp_path / "regions.h5")
    for number, colour in enumerate(COLOURS):
        regions = store.regions(str(number))
        np.testing.assert_array_equal(regions.features, [[*colour, max(colour)]] * 2)
        np.testing.assert_array_equal(regions.global_feature, [*colour, max(colour)])
        assert (
            store.vocabulary[regions.object_ids[0]]
            == ("red thing", "green thing", "blue thing")[np.argmax(colour)]
        )
    assert (store.regions("1").width, store.regions("1").height) == (16, 12)
    np.testing.assert_array_equal(store.regions("1").boxes, [[0, 0, 16, 12], [0, 0, 8, 12]])
    np.testing.assert_allclose(store.regions("1").geometry[1], [0, 0, 0.5, 1, 0.5, 1])


def test_a_batch_holds_pictures_of_one_shape_only(backend: FakeBackend, run: Callable[..., int]) -> None:
    assert run("--shard-size", "100") == 0
    assert sorted(backend.shapes) == [(1, 3, 12, 16), (2, 3, 12, 16), (2, 3, 20, 8), (2, 3, 20, 8)]


def test_few_pictures_wait_for_others_of_their_shape(
    backend: FakeBackend, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.pipeline.WAITING_BYTES", 3 * 12 * 16)  # one picture
    assert run("--batch-size", "8", "--shard-size", "100") == 0
    assert max(shape[0] for shape in backend.shapes) <= 2
    assert sum(shape[0] for shape in backend.shapes) == 7


def test_corrupt_pictures_are_listed_and_cost_no_other(
    backend: FakeBackend, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "mixed"
    for name in ("a.png", "b.jpg", "c.webp"):
        save_picture(images / name)
    (images / "empty.jpg").write_bytes(b"")
    (images / "text.jpg").write_text("not a picture", encoding="utf-8")
    whole = save_picture(images / "z.png", size=(300, 300)).read_bytes()
    (images / "cut\x1b[31m.png").write_bytes(whole[: len(whole) // 2])
    (images / "z.png").unlink()
    out = tmp_path / "r.h5"
    words = ["--images", str(images), "--out", str(out), "--backend", "fake", "--workers", "1"]
    assert main(words) == 3
    store = RegionStore(out)
    assert store.image_ids == ["a.png", "b.jpg", "c.webp"]
    assert store.failed["empty.jpg"] == "empty file (0 bytes)"
    assert store.failed["text.jpg"].startswith("not a picture in a known format")
    assert store.failed["cut\x1b[31m.png"].startswith("broken picture data")
    printed = capsys.readouterr().out
    assert "3 ok / 3 failed" in printed
    assert "failed: empty.jpg: empty file (0 bytes)" in printed
    assert "\x1b" not in printed  # a file name cannot command the terminal
    assert main(words) == 3  # and a second run says the same, without trying again
    assert (
        "every picture was tried before; 3 failed, --retry_failed tries them again" in capsys.readouterr().out
    )


def test_worker_processes_give_what_the_main_process_gives(
    backend: FakeBackend, run: Callable[..., int], tmp_path: Path
) -> None:
    assert run() == 0
    assert run("--out", str(tmp_path / "other.h5"), "--workers", "2") == 0
    assert_same_pictures(tmp_path / "other.h5", tmp_path / "regions.h5")


def test_a_finished_output_is_left_alone(
    backend: FakeBackend, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    before = (tmp_path / "regions.h5").stat()
    n_batches = len(backend.shapes)
    assert run() == 0
    assert (tmp_path / "regions.h5").stat().st_ino == before.st_ino
    assert len(backend.shapes) == n_batches
    assert "nothing to do: every picture was extracted before" in capsys.readouterr().out
    assert run("--limit", "6") == 0
    assert "the file holds 1 picture more, of earlier runs" in capsys.readouterr().out


def test_only_pictures_that_were_added_are_extracted(
    backend: FakeBackend, run: Callable[..., int], images: Path, tmp_path: Path
) -> None:
    assert run("--limit", "5") == 0
    backend.shapes.clear()
    assert run() == 0
    assert sum(shape[0] for shape in backend.shapes) == 2
    assert run("--out", str(tmp_path / "once.h5")) == 0
    assert_same_pictures(tmp_path / "regions.h5", tmp_path / "once.h5")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_a_signal_seals_what_is_done_and_the_next_run_goes_on(
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., int],
    tmp_path: Path,
    number: int,
    code: int,
    batch: int,
) -> None:
    stopping = FakeBackend(on_batch=lambda now: os.kill(os.getpid(), number) if now == batch else None)
    register(monkeypatch, stopping)
    assert run() == code
    assert not (tmp_path / "regions.h5").exists()
    sealed = len(RegionStore(tmp_path / "regions.h5.parts"))
    assert sealed >= sum(shape[0] for shape in stopping.shapes) - 1  # all but the rest of one batch
    resumed = FakeBackend()
    register(monkeypatch, resumed)
    assert run() == 0
    assert sum(shape[0] for shape in resumed.shapes) == len(COLOURS) - sealed
    assert run("--out", str(tmp_path / "once.h5")) == 0
    assert_same_pictures(tmp_path / "regions.h5", tmp_path / "once.h5")


def test_a_detector_that_breaks_loses_nothing_that_was_done(
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def break_down(batch: int) -> None:
        if batch == 3:
            raise RuntimeError("CUDA error: the card fell off the bus")

    breaking = FakeBackend(on_batch=break_down)
    register(monkeypatch, breaking)
    assert run() == 1
    assert "fell off the bus" in capsys.readouterr().err
    done = sum(shape[0] for shape in breaking.shapes)
    assert len(RegionStore(tmp_path / "regions.h5.parts")) == done
    register(monkeypatch, FakeBackend())
    assert run() == 0
    assert len(RegionStore(tmp_path / "regions.h5")) == len(COLOURS)


def test_a_shard_that_rotted_on_disk_is_extracted_again(
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stop = FakeBackend(on_batch=lambda now: os.kill(os.getpid(), signal.SIGINT) if now == 3 else None)
    register(monkeypatch, stop)
    assert run() == 130
    shard = tmp_path / "regions.h5.parts" / "shard-00000.h5"
    shard.write_bytes(shard.read_bytes()[:3000])
    (tmp_path / "regions.h5.parts" / "shard-00007.h5.tmp").write_bytes(b"half")
    register(monkeypatch, FakeBackend())
    assert run() == 0
    assert "shard-00000.h5: broken or truncated HDF5" in capsys.readouterr().err
    assert len(RegionStore(tmp_path / "regions.h5")) == len(COLOURS)
    assert not (tmp_path / "regions.h5.parts").exists()


def test_the_output_of_another_detector_is_refused_and_kept(
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    register(monkeypatch, FakeBackend())
    assert run() == 0
    before = (tmp_path / "regions.h5").read_bytes()
    register(monkeypatch, FakeBackend(weights_sha256="1" * 64))
    assert run() == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(
        f"error: {tmp_path / 'regions.h5'} was extracted differently: with weights_sha256 000"
    )
    assert error.endswith("name another output, or start over with --overwrite.")
    assert (tmp_path / "regions.h5").read_bytes() == before
    assert run("--overwrite") == 0
    assert RegionStore(tmp_path / "regions.h5").meta.description == {"weights_sha256": "1" * 64}


def _text(path: Path) -> None:
    path.write_text("my thesis", encoding="utf-8")


def _hdf5_of_others(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["measurements"] = [1, 2, 3]


def _damaged_hdf5(path: Path) -> None:
    _hdf5_of_others(path)
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize("flags", [[], ["--overwrite"], ["--overwrite", "--devices", "cpu,cpu"]])
@pytest.mark.parametrize("write", [_text, _hdf5_of_others, _damaged_hdf5])
def test_a_file_that_is_no_regions_file_is_never_replaced(
    backend: FakeBackend,
    run: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    write: Callable[[Path], None],
    flags: list[str],
) -> None:
    out = tmp_path / "regions.h5"
    write(out)
    before = out.read_bytes()
    assert run(*flags) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "name another output" in error
    assert "--overwrite" not in error
    assert out.read_bytes() == before


@pytest.mark.parametrize("cure", ["delete", "--overwrite"])
def test_an_unfinished_regions_file_is_made_anew_when_asked(
    backend: FakeBackend,
    run: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    cure: str,
) -> None:
    assert run() == 0
    with h5py.File(tmp_path / "regions.h5", "a") as file:
        del file.attrs["complete"]
    assert run() == 1
    assert capsys.readouterr().err.rstrip().endswith("or delete it and run the command that made it again.")
    if cure == "delete":
        (tmp_path / "regions.h5").unlink()
        assert run() == 0
    else:
        assert run(cure) == 0
    assert len(RegionStore(tmp_path / "regions.h5")) == len(COLOURS)


def test_settings_that_differ_are_named_one_by_one() -> None:
    description = {"input": "as it is", "selection": {"profile": "mini", "min_score": 0.2, "nms_iou": 0.5}}
    other = {"input": "as it is", "selection": {"profile": "mini", "min_score": 0.4}}
    found, wanted = (dataclasses.replace(META, description=one) for one in (description, other))
    assert differences(found, found) == "with another class vocabulary"
    assert (
        differences(found, wanted)
        == "with selection.min_score 0.2 (now 0.4), selection.nms_iou 0.5 (now None)"
    )


def test_a_second_writer_is_refused_with_the_process_of_the_first(
    backend: FakeBackend, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with locked(tmp_path / "regions.h5"):
        assert run() == 1
    assert f"is being written by another run (process {os.getpid()})" in capsys.readouterr().err
    assert run() == 0


def test_failed_pictures_are_tried_again_on_request_only(
    backend: FakeBackend, run: Callable[..., int], images: Path, tmp_path: Path
) -> None:
    (images / "9.png").write_bytes(b"")
    assert run() == 3
    save_picture(images / "9.png")
    assert run() == 3
    assert run("--retry-failed") == 0
    store = RegionStore(tmp_path / "regions.h5")
    assert "9.png" in store
    assert store.failed == {}


def test_regions_that_cannot_be_stored_are_a_failure_of_their_picture(
    monkeypatch: pytest.MonkeyPatch, run: Callable[..., int], tmp_path: Path
) -> None:
    class Overflowing(FakeBackend):
        def _look(self, picture: object, height: int, width: int) -> Detections:
            found = super()._look(picture, height, width)  # type: ignore[arg-type]
            features = found.features.copy()
            features[0, 0] = np.inf if found.object_ids[0] == 2 else features[0, 0]
            return dataclasses.replace(found, features=features)

    register(monkeypatch, Overflowing())
    assert run() == 3
    store = RegionStore(tmp_path / "regions.h5")
    assert sorted(store.failed) == ["2.png", "4.png", "5.png"]  # the blue ones
    assert "regions that cannot be kept: features holds NaN, or numbers beyond" in store.failed["2.png"]


def test_an_empty_folder_is_one_clear_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert (
        main(["--images", str(tmp_path / "empty"), "--out", str(tmp_path / "r.h5"), "--backend", "mini"]) == 1
    )
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / 'empty'}: no pictures here or below (looked for .apng")
    assert error.count("\n") == 1
    assert not (tmp_path / "r.h5").exists()


def test_a_missing_folder_is_one_clear_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--images", str(tmp_path / "nowhere"), "--backend", "mini"]) == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path / 'nowhere'}: a folder of pictures is wanted, and this is not a folder\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--images"),
        (
            ["--images", "x", "--backend", "yolo"],
            f"unknown back end 'yolo'; choose from auto, {', '.join(sorted(BACKENDS))}",
        ),
        (["--images", "x", "--weights", "w.pth"], "weights belong to one back end: name it with --backend"),
        (["--images", "x", "--batch_size", "0"], "batch_size must be 1 or more, got 0"),
        (["--images", "x", "--colour", "red"], "--colour"),
    ],
)
def test_wrong_usage_ends_with_code_2_and_says_what_is_right(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_settings_can_be_printed_and_read_from_yaml(
    backend: FakeBackend, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(
            [
                "--images",
                str(images),
                "--backend",
                "fake",
                "--out",
                str(tmp_path / "y.h5"),
                "--workers",
                "0",
                "--print_config",
            ]
        )
    assert caught.value.code == 0
    (tmp_path / "extract.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert main(["--config", str(tmp_path / "extract.yaml")]) == 0
    assert len(RegionStore(tmp_path / "y.h5")) == len(COLOURS)


def test_a_lost_worker_is_one_clear_message(
    backend: FakeBackend,
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def dying(*_: object) -> object:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
        yield

    monkeypatch.setattr(features.extraction, "decode_pictures", dying)
    assert run() == 1
    assert "a decode process ended unexpectedly" in capsys.readouterr().err


def test_the_extractor_answers_every_picture_in_order(backend: FakeBackend, images: Path) -> None:
    (images / "broken.png").write_bytes(b"x")
    extractor = RegionExtractor("fake")
    pictures: list[Path | Image.Image] = [
        Path("1.png"),
        Path("broken.png"),
        Image.new("RGB", (8, 20), (0, 9, 0)),
        Path("2.png"),
        Path("missing.png"),
    ]
    found = list(extractor.extract(iter(pictures), images, batch_size=2))
    assert [type(item) for item in found] == [Regions, ImageError, Regions, Regions, ImageError]
    assert [item.image_id for item in found if isinstance(item, Regions)] == ["1.png", "", "2.png"]
    assert str(found[4]) == "no such file"
    one = extractor.regions(Image.new("RGB", (8, 20), (0, 9, 0)), "upload.png")
    assert one.image_id == "upload.png"
    assert isinstance(found[2], Regions)
    np.testing.assert_array_equal(one.features, found[2].features)


def test_a_picture_that_cannot_be_prepared_costs_the_extractor_no_other(backend: FakeBackend) -> None:
    def prepare(image: Image.Image) -> torch.Tensor:
        if image.width == 1:
            raise ZeroDivisionError("no width left")
        return as_it_is(image)

    backend.preprocessor = prepare
    found = list(RegionExtractor("fake").extract([Image.new("RGB", (1, 9)), Image.new("RGB", (8, 9))]))
    assert str(found[0]) == "could not be prepared: ZeroDivisionError: no width left"
    assert isinstance(found[1], Regions)


def test_the_next_pictures_are_decoded_while_the_detector_works(
    monkeypatch: pytest.MonkeyPatch, images: Path
) -> None:
    decoded_ahead = threading.Event()

    def see(image: Image.Image) -> torch.Tensor:
        if image.getpixel((0, 0)) == (9, 9, 9):
            decoded_ahead.set()
        return as_it_is(image)

    def wait(_batch: int) -> None:
        assert decoded_ahead.wait(10)  # in vain, were the two done in turn

    backend = FakeBackend(on_batch=wait)
    backend.preprocessor = see
    register(monkeypatch, backend)
    pictures = [Path("1.png")] * 4 + [Image.new("RGB", (8, 20), (9, 9, 9))]
    assert len(list(RegionExtractor("fake").extract(pictures, images, batch_size=1))) == 5


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Python does not fork")
def test_decode_processes_are_forked_where_a_program_would_spawn_its_own(images: Path) -> None:
    here = threading.Event()  # cannot be pickled, as a process that is spawned would need it

    def prepare(image: Image.Image) -> torch.Tensor:
        return as_it_is(image) + here.is_set()

    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)  # as in the process of one device of several
    try:
        (found,) = decode_pictures(images, ["1.png"], prepare, workers=1)
    finally:
        multiprocessing.set_start_method(before, force=True)
    assert isinstance(found, Prepared)


KILLED = """
import multiprocessing, os, signal, sys
from pathlib import Path
from features.backends.mini import SquashPreprocessor
from features.decoding import decode_pictures

decoded = decode_pictures(Path(sys.argv[1]), ["1.png"] * 40, SquashPreprocessor(), workers=2)
next(decoded)  # more than a pipe holds are on their way
print(*[process.pid for process in multiprocessing.active_children()], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def runs(pid: int) -> bool:
    """Whether a process does; one that has ended may wait for somebody to ask how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_decode_processes_end_with_the_one_that_was_killed(images: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(images)]
    child = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=120)
    workers = child.stdout.split()
    assert len(workers) == 2
    deadline = time.monotonic() + 60
    while any(runs(int(worker)) for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_pictures_that_nobody_asks_for_any_more_are_not_decoded(
    backend: FakeBackend, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []

    def endless() -> Iterator[Path]:
        for number in itertools.count():
            taken.append(number)
            yield Path("1.png")

    found = RegionExtractor("fake").extract(endless(), images, batch_size=2)
    assert isinstance(next(iter(found)), Regions)
    del found
    assert len(taken) == 16
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decoder")]


def test_regions_of_one_picture_equal_those_of_the_command(
    backend: FakeBackend, run: Callable[..., int], images: Path, tmp_path: Path
) -> None:
    assert run() == 0
    (found,) = RegionExtractor("fake").extract([Path("1.png")], images)
    assert isinstance(found, Regions)
    assert_equal(found, RegionStore(tmp_path / "regions.h5").regions("1.png"))


def test_programs_read_progress_as_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features.progress, "_SECONDS_BETWEEN_LINES", 0.0)
    stream = StringIO()
    with ExtractionProgress(3, stream) as progress:
        progress.count(failed=False)
        progress.count(failed=True)
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(event["ok"], event["failed"], event["total"]) for event in events] == [(1, 0, 3), (1, 1, 3)]
    assert {"pictures_per_second", "eta_seconds"} <= events[0].keys()


def test_people_see_a_rate_and_an_eta() -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with ExtractionProgress(2, stream) as progress:
        progress.count(failed=False)
        progress.count(failed=True)
    assert "2/2" in stream.getvalue()
    assert "1 failed" in stream.getvalue()
    assert "eta" in stream.getvalue()


def test_a_long_list_of_failures_is_cut_and_says_so() -> None:
    lines = list(failure_lines({f"{n:03}.jpg": "empty" for n in range(25)}))
    assert len(lines) == 21
    assert lines[-1] == "… and 5 more; all are listed in the file (RegionStore.failed)"


def test_the_digest_of_a_picture_is_that_of_its_file(
    backend: FakeBackend, run: Callable[..., int], images: Path, tmp_path: Path
) -> None:
    assert run() == 0
    wanted = hashlib.sha256((images / "1.png").read_bytes()).digest()
    assert RegionStore(tmp_path / "regions.h5").regions("1.png").image_sha256 == wanted
    with h5py.File(tmp_path / "regions.h5") as file:
        assert file.attrs["complete"] == 1
