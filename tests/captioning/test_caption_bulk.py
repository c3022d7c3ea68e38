"""Captioning of many pictures: killed, stopped, shared out, with broken pictures in between.

In the test of kill -9 the command, its files, the process and the signal are real; the model is small, and
the processes are forked from one that has loaded it, which would otherwise take most of the time.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from captioning.bulk import BulkRun
from captioning.caption import main
from captioning.captioner import Caption, Captioner
from captioning.parts import CaptionParts
from captioning.sources import open_source
from eval.annotations import read_predictions
from features.locks import Shard, parts_folder
from features.stop import StopRequest
from features.store import Regions, write_shard
from tests.captioning import killed
from tests.captioning.small_captioner import (
    META,
    SmallExtractor,
    small_regions,
    write_small_checkpoint,
)

IDS = [f"{n:02d}.jpg" for n in range(26)]
N_KILLS = 50


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_small_checkpoint(tmp_path_factory.mktemp("checkpoints") / "small"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with 1 to 5 regions, in no order."""
    path = tmp_path_factory.mktemp("store") / "r.h5"
    records = [small_regions(name, n_regions=1 + number * 3 % 5) for number, name in enumerate(IDS)]
    write_shard(path, records, META, {"broken.jpg": "truncated"})
    return path


def words(store: Path, checkpoint: str, out: Path, *more: str) -> list[str]:
    sizes = ["--part_size", "6", "--batch_size", "2"]
    return ["--features", str(store), "--checkpoint", checkpoint, "--out", str(out), *sizes, *more]


@pytest.fixture(scope="module")
def undisturbed(store: Path, checkpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "c.jsonl"
    assert main(words(store, checkpoint, out)) == 3
    return out


def sealed_pictures(out: Path) -> set[str]:
    parts = out.with_name(out.name + ".parts")
    lines = [
        line for part in parts.glob("part-*.jsonl") for line in part.read_text("utf-8").splitlines()[1:-1]
    ]
    return {json.loads(line)["image_id"] for line in lines}


def is_finished(out: Path) -> bool:
    """Whether nothing is left to do: a run may still be killed before its last words."""
    return out.exists() and not parts_folder(out).exists()


def test_a_run_killed_at_50_random_points_loses_and_repeats_nothing(
    store: Path, checkpoint: str, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(killed.CHECKPOINT, checkpoint)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.captioning.killed", "pytest"])  # which every child would import
    calls = context.Value("q", 0)

    def run(out: Path, log: Path, die_at: int | None) -> int | None:
        process = context.Process(
            target=killed.caption, args=(words(store, checkpoint, out), log, calls, die_at)
        )
        process.start()
        process.join()
        return process.exitcode

    assert run(tmp_path / "counted.jsonl", tmp_path / "counted.log", None) == 3
    draws, n_calls = random.Random(88), calls.value
    n_killed = n_outputs = 0
    while n_killed < N_KILLS:
        folder = tmp_path / str(n_outputs)
        folder.mkdir()
        out, log = folder / "c.jsonl", tmp_path / f"{n_outputs}.log"
        n_outputs += 1
        code: int | None = None
        while code is None or (code == -signal.SIGKILL and not is_finished(out)):
            before = sealed_pictures(out)
            log.write_text("")
            n_left = n_calls * (len(IDS) - len(before)) // len(IDS) + n_calls // 5  # and the merge
            code = run(out, log, draws.randint(1, n_left))
            assert not before & set(log.read_text().split()), "a sealed picture was captioned again"
            n_killed += code == -signal.SIGKILL
        assert code in (3, -signal.SIGKILL)
        assert out.read_bytes() == undisturbed.read_bytes()
        assert sorted(os.listdir(folder)) == ["c.jsonl", "c.jsonl.failures.csv"]
    assert n_calls > 1000


def test_three_shards_end_with_the_bytes_of_one_run(
    store: Path, checkpoint: str, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "c.jsonl"
    codes = [main(words(store, checkpoint, out, "--shard", f"{index}/3")) for index in (1, 0, 2)]
    assert codes == [0, 0, 3]
    assert out.read_bytes() == undisturbed.read_bytes()
    said = capsys.readouterr().err
    assert "not done yet: shard 0, 2 of 3" in said
    assert "shard 1/3: 8 captions, 0 failed" in said
    assert "c.jsonl: 26 captions, 1 failed" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_seals_the_batch_in_hand_and_the_same_command_goes_on(
    number: signal.Signals,
    store: Path,
    checkpoint: str,
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "c.jsonl"
    caption_regions, n_batches = Captioner.caption_regions, 0

    def interrupted(self: Captioner, regions: Sequence[Regions], *settings: Any) -> list[Caption]:
        nonlocal n_batches
        n_batches += len(regions) > 0
        if regions and n_batches == 5:
            os.kill(os.getpid(), number)
        return caption_regions(self, regions, *settings)

    monkeypatch.setattr(Captioner, "caption_regions", interrupted)
    assert main(words(store, checkpoint, out)) == 128 + number
    assert (
        "stopped: 10 captions, 0 failed so far, all sealed; run the same command" in capsys.readouterr().err
    )
    assert not out.exists()
    assert len(sealed_pictures(out)) == 10
    assert main(words(store, checkpoint, out)) == 3
    assert "10 of 26 pictures are already captioned" in capsys.readouterr().err
    assert n_batches == 5 + 8
    assert out.read_bytes() == undisturbed.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["c.jsonl", "c.jsonl.failures.csv"]


def test_broken_pictures_in_the_middle_cost_nothing_but_themselves(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Captioner, "extractor", SmallExtractor())
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, name in enumerate(IDS):
        Image.new("RGB", (20, 10)).save(pictures / name)
        if number % 5 == 3:
            (pictures / name).write_bytes((pictures / name).read_bytes()[:40])
    out = tmp_path / "c.json"
    sizes = ["--part_size", "6", "--batch_size", "2"]
    assert main(["--images", str(pictures), "--checkpoint", checkpoint, "--out", str(out), *sizes]) == 3
    assert list(read_predictions(out)) == [name for n, name in enumerate(IDS) if n % 5 != 3]
    table = (tmp_path / "c.json.failures.csv").read_text(encoding="utf-8")
    assert table.count("\n") == 1 + 5


def test_a_batch_holds_pictures_of_like_length_and_every_picture_is_in_one(
    store: Path, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = Captioner.from_pretrained(checkpoint)
    source = open_source(None, store, None)
    batches: list[list[int]] = []

    def noted(self: Captioner, regions: Sequence[Regions], *settings: Any) -> list[Caption]:
        batches.append([len(picture.features) for picture in regions])
        return []

    monkeypatch.setattr(Captioner, "caption_regions", noted)
    parts = CaptionParts(
        out=tmp_path / "c.json",
        settings={},
        image_ids=source.image_ids,
        part_size=100,
        shard=Shard(),
        say=lambda _: None,
    )
    run = BulkRun(
        source=source,
        captioner=captioner,
        decode=captioner.info.decode,
        constraints={},
        parts=parts,
        batch_size=4,
    )
    with StopRequest() as stop, parts.claimed():
        run.run(stop)
    lengths = sum(batches, [])
    assert lengths == sorted(lengths)
    assert len(lengths) == len(IDS)
    assert max(map(len, batches)) == 4


def test_starting_over_is_refused_to_a_shard(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--images", "x", "--shard", "1/4", "--overwrite"])
    assert stopped.value.code == 2
    assert "overwrite would delete what the other shards have done" in capsys.readouterr().err


def test_another_search_is_refused_until_told_to_start_over(
    store: Path, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "c.json"
    assert main(words(store, checkpoint, out, "--shard", "0/2")) == 0
    other = words(store, checkpoint, out, "--decode.beam_width", "2")
    assert main(other) == 1
    assert "of another run: decode.beam_width 3 (now 2), shards 2 (now 1)" in capsys.readouterr().err
    assert main([*other, "--overwrite"]) == 3
    assert len(read_predictions(out)) == len(IDS)


def test_constraints_reach_their_pictures_and_bind_the_run(
    store: Path, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "words.json", tmp_path / "c.json"
    file.write_text('{"03.jpg": ["狗"], "broken.jpg": ["狗"]}', encoding="utf-8")
    asked = words(store, checkpoint, out, "--constraints", str(file))
    assert main([*asked, "--shard", "0/2"]) == 0
    file.write_text('{"03.jpg": ["草"]}', encoding="utf-8")
    assert main([*asked, "--shard", "1/2"]) == 1
    assert "of another run: constraints " in capsys.readouterr().err
    assert main([*asked, "--overwrite"]) == 3
    assert "草" in read_predictions(out)["03.jpg"].caption
    file.write_text('{"nowhere.jpg": ["草"]}', encoding="utf-8")
    assert main([*asked, "--overwrite"]) == 1
    assert "'nowhere.jpg' is none of the 27 pictures" in capsys.readouterr().err
    assert len(read_predictions(out)) == len(IDS)
