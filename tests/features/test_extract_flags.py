"""What the flags of `features.extract` do."""

from __future__ import annotations

import json
import shutil
import signal
from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from torch import Tensor

from features.backends.base import BACKENDS, Detections, DetectorOptions
from features.extract import main
from features.regions import MINI
from features.store import RegionStore
from tests.features.fake import FakeBackend, register, save_picture
from tests.features.same_file import assert_same_file

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number in range(6):
        save_picture(tmp_path / "images" / f"{number}.png", (number, 0, 200))
    return tmp_path / "images"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, images: Path, tmp_path: Path) -> Callable[..., int]:
    """The command with the fake back end and windows of two pictures."""
    register(monkeypatch, FakeBackend())

    def command(*arguments: str) -> int:
        words = ["--images", str(images), "--out", str(tmp_path / "r.h5"), "--backend", "fake"]
        return main([*words, "--workers", "0", "--batch_size", "2", "--shard_size", "2", *arguments])

    return command


def disk_of(monkeypatch: pytest.MonkeyPatch, megabytes: float) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, int(megabytes * 1e6)))


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], DetectorOptions()),
        (["--profile", "vinvl"], DetectorOptions(profile="vinvl")),
        (
            ["--selection.min_score", "0.3", "--selection.nms-iou", "0.4", "--selection.max_regions=50"],
            DetectorOptions(overrides={"min_score": 0.3, "nms_iou": 0.4, "max_regions": 50}),
        ),
        (
            ["--selection.suppression", "class", "--selection.box_source", "proposal"],
            DetectorOptions(overrides={"suppression": "class", "box_source": "proposal"}),
        ),
        (["--fixed", "36"], DetectorOptions(overrides={"min_regions": 36, "max_regions": 36})),
        (
            ["--attributes", "--class-topk", "5", "--amp"],
            DetectorOptions(attributes=True, class_topk=5, amp=True),
        ),
    ],
)
def test_what_is_asked_of_the_detector_reaches_it(
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    wanted: DetectorOptions,
) -> None:
    asked: list[DetectorOptions] = []

    def load(_weights: object, _device: object, options: DetectorOptions) -> FakeBackend:
        asked.append(options)
        return FakeBackend()

    monkeypatch.setitem(BACKENDS, "fake", load)
    assert run(*arguments) == 0
    assert asked == [wanted]


def test_fixed_gives_every_picture_so_many_regions(tmp_path: Path, images: Path) -> None:
    words = ["--images", str(images), "--out", str(tmp_path / "m.h5"), "--backend", "mini", "--limit", "2"]
    assert main([*words, "--fixed", "7", "--workers", "0"]) == 0
    with RegionStore(tmp_path / "m.h5") as store:
        assert {len(store.regions(name).features) for name in store.image_ids} == {7}
        assert store.meta.description["selection"] == MINI.description() | {
            "min_regions": 7,
            "max_regions": 7,
        }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "caffe"], "unknown profile 'caffe'; choose from vinvl, butd, agnostic, coco, mini"),
        (["--fixed", "36", "--selection.max_regions", "50"], "fixed is min_regions and max_regions at once"),
        (["--shard", "3/3"], "shard must be i/N, i counting from 0 to N - 1, such as 0/4; got '3/3'"),
        (["--shard", "0/2", "--overwrite"], "delete OUT and OUT.parts instead"),
        (["--devices", "cpu", "--device", "cpu"], "give --device for one, or --devices for several"),
        (["--max_errors", "-1"], "max_errors must be 0 or more, got -1"),
        (["--on_error", "panic"], "on_error"),
        (["--dry_run", "--overwrite"], "dry_run deletes nothing"),
        (["--compression", "gzip"], "unknown compression 'gzip'; choose zstd, or leave it out"),
        (["--selection.min_score", "1.5"], "min_score must lie in [0, 1], got 1.5"),
        (["--selection.min_regions", "0"], "1 <= min_regions <= max_regions is wanted, got 0 and 1"),
        (["--profile", "mini", "--selection.max_regions", "3"], "give --selection.min_regions too"),
        (["--retry_failed", "--shard", "0/2"], "failed pictures are few: retry them in one process"),
        (["--retry_failed", "--devices", "cpu,cpu"], "failed pictures are few: retry them in one process"),
        (["--retry_failed", "--ray", "2"], "failed pictures are few: retry them in one process"),
        (["--on_error", "stop", "--max_errors", "5"], "on_error stop allows no error"),
    ],
)
def test_flags_that_make_no_sense_are_refused(
    run: Callable[..., int], arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_nested_settings_are_printed_and_read_from_yaml(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run("--selection.min_score", "0.25", "--print_config")
    (tmp_path / "c.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert "selection:\n  min_score: 0.25\n" in (tmp_path / "c.yaml").read_text(encoding="utf-8")
    assert main(["--config", str(tmp_path / "c.yaml")]) == 0


def test_given_boxes_are_described_instead_of_found_ones(
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Describing(FakeBackend):
        def detect(
            self,
            batch: Tensor,
            sizes: Sequence[tuple[int, int]],
            boxes: Sequence[np.ndarray] | None = None,
        ) -> list[Detections]:
            assert boxes is not None
            return [self._of(given) for given in boxes]

        def _of(self, given: np.ndarray) -> Detections:
            zeros = np.zeros(len(given))
            return Detections(
                boxes=given,
                object_ids=zeros.astype(np.int32),
                object_scores=zeros.astype(np.float32),
                features=np.zeros((len(given), self.feature_dim), np.float16),
                global_feature=np.zeros(self.feature_dim, np.float16),
            )

    register(monkeypatch, Describing())
    given: dict[str, Any] = {f"{number}.png": [[0, 0, 4, 5], [1, 2, 3, 4]] for number in range(4)}
    given |= {"4.png": [[0, 0, 4, 500]], "elsewhere.png": []}  # and none for 5.png
    (tmp_path / "boxes.json").write_text(json.dumps(given), encoding="utf-8")
    assert run("--boxes", str(tmp_path / "boxes.json")) == 3
    store = RegionStore(tmp_path / "r.h5")
    np.testing.assert_array_equal(store.regions("0.png").boxes, [[0, 0, 4, 5], [1, 2, 3, 4]])
    assert "does not lie inside the picture of 16x12 pixels" in store.failed["4.png"]
    assert "has no boxes for it" in store.failed["5.png"]
    assert "boxes of 1 pictures that are not here, 'elsewhere.png' for one" in capsys.readouterr().err
    register(monkeypatch, FakeBackend())
    assert run() == 1  # regions of other boxes do not belong into this file
    assert "was extracted differently: with boxes given, SHA-256" in capsys.readouterr().err


def test_the_first_bad_picture_can_stop_the_run_and_is_tried_again(
    run: Callable[..., int], images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "3.png").write_bytes(b"")
    assert run("--on_error", "stop") == 1
    store = RegionStore(tmp_path / "r.h5.parts")
    assert capsys.readouterr().err.endswith(
        "3.png: empty file (0 bytes). 1 picture could not be used, allowed: 0. Repair or remove it, or "
        "allow it (--on_error record, or a higher --max_errors). "
        f"{len(store)} pictures sealed so far; run the same command to go on.\n"
    )
    assert {"0.png", "1.png"} <= set(store.image_ids) < {f"{number}.png" for number in range(6)}
    assert store.failed == {}
    save_picture(images / "3.png")
    assert run("--on_error", "stop") == 0
    assert len(RegionStore(tmp_path / "r.h5")) == 6


def test_so_many_errors_are_allowed_and_no_more(
    run: Callable[..., int], images: Path, tmp_path: Path
) -> None:
    for number in (1, 3):
        (images / f"{number}.png").write_bytes(b"")
    assert run("--max_errors", "1") == 1
    assert not (tmp_path / "r.h5").exists()
    assert run("--max_errors", "2") == 3
    assert len(RegionStore(tmp_path / "r.h5")) == 4


def test_a_name_that_cannot_be_kept_is_an_error_like_others(
    run: Callable[..., int], images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "0.png").rename(images / b"\xff.png".decode("utf-8", "surrogateescape"))
    assert run("--on_error", "stop") == 1
    assert "the file name is not valid UTF-8" in capsys.readouterr().err
    assert run() == 3


def test_a_dry_run_tells_time_and_room_and_writes_nothing(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert run("--dry_run") == 0
    assert sorted(tmp_path.rglob("*")) == before
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "6 pictures, 6 to extract"
    assert second.startswith("6 of them tried: ")
    assert third.startswith("about 0:00:00 hours; 0 MB (0 MB while it is merged; ")
    assert run("--limit", "4") == 0
    assert run("--dry_run") == 0
    assert "6 pictures, 2 to extract" in capsys.readouterr().out
    assert run() == 0
    assert run("--dry_run") == 0
    assert capsys.readouterr().out.endswith("6 pictures, 0 to extract\n")


def test_a_dry_run_of_broken_pictures_says_so(
    run: Callable[..., int], images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in images.iterdir():
        path.write_bytes(b"")
    assert run("--dry_run") == 0
    assert capsys.readouterr().out.endswith("none of them could be used, so there is no estimate\n")


@pytest.mark.parametrize("arguments", [["--dry_run"], []])
def test_too_small_a_disk_is_refused_before_anything_is_written(
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    disk_of(monkeypatch, 0.001)
    assert run(*arguments) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path / 'r.h5'}: will be 0 MB, and as much again until it is merged" in error
    assert "the disk has 0 MB free" in error
    assert not (tmp_path / "r.h5").exists()
    assert not (tmp_path / "r.h5.parts").exists()
    disk_of(monkeypatch, 100)
    assert run() == 0


def test_a_run_that_goes_on_forms_the_batches_of_one_that_never_stopped(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Numbering(FakeBackend):
        """Its vectors tell how many pictures shared the batch, as rounding does on some processors."""

        def detect(
            self,
            batch: Tensor,
            sizes: Sequence[tuple[int, int]],
            boxes: Sequence[np.ndarray] | None = None,
        ) -> list[Detections]:
            found = super().detect(batch, sizes, boxes)
            for place, one in enumerate(found):
                one.features[:] = 10 * len(batch) + place
            return found

    words = ["--shard_size", "6", "--batch_size", "2"]
    register(monkeypatch, Numbering())
    assert run(*words) == 0
    (tmp_path / "r.h5").rename(tmp_path / "whole.h5")
    stopping = Numbering(on_batch=lambda number: signal.raise_signal(signal.SIGINT) if number == 1 else None)
    register(monkeypatch, stopping)
    assert run(*words) == 130
    register(monkeypatch, Numbering())
    assert run(*words) == 0
    assert_same_file(tmp_path / "r.h5", tmp_path / "whole.h5")


def test_compression_changes_no_number(run: Callable[..., int], tmp_path: Path) -> None:
    pytest.importorskip("hdf5plugin")
    assert run() == 0
    (tmp_path / "r.h5").rename(tmp_path / "raw.h5")
    assert run("--compression", "zstd") == 0
    with h5py.File(tmp_path / "r.h5") as file:
        assert file["features"].chunks is not None
    assert_same_file(tmp_path / "r.h5", tmp_path / "raw.h5")


def test_pictures_with_other_datasets_are_refused_before_they_are_written(
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class WithoutGlobals(FakeBackend):
        def _look(self, picture: Tensor, height: int, width: int) -> Detections:
            return replace(super()._look(picture, height, width), global_feature=None)

    assert run("--limit", "3") == 0
    register(monkeypatch, WithoutGlobals())
    assert run() == 1
    assert "holds pictures with globals, these have none of the optional datasets" in capsys.readouterr().err
    assert not (tmp_path / "r.h5.parts").exists()


def test_a_preview_is_drawn_of_the_finished_file(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--preview", str(tmp_path / "preview")) == 0
    shown = sorted(path.name for path in (tmp_path / "preview").glob("*/*"))
    assert shown == ["0.png.jpg", "001.jpg", *(f"{number}.png.jpg" for number in range(1, 6))]
    assert run("--preview", str(tmp_path / "preview")) == 1
    assert "preview: exists; give another --preview" in capsys.readouterr().err


def test_a_preview_that_cannot_be_drawn_leaves_the_extraction_as_good_as_it_is(
    run: Callable[..., int], images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "3.png").write_bytes(b"")
    (tmp_path / "file").touch()
    assert run("--preview", str(tmp_path / "file" / "preview")) == 3
    captured = capsys.readouterr()
    assert "5 ok / 1 failed -> " in captured.out
    assert "no preview: " in captured.err
