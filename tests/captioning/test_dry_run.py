from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import captioning.dry_run
from captioning.config import ModelConfig, TrainConfig, ValidationConfig
from captioning.dry_run import estimate
from captioning.gradients import gradients
from captioning.memory import peak_bytes, size_of
from captioning.run_folder import checkpoints
from captioning.runs import plain, prepare
from captioning.step_batches import StepBatches, StepParts
from captioning.train import main, train
from captioning.trainer import Trainer
from tests.captioning.small_run import small_config

CPU = torch.device("cpu")


def test_the_peak_of_a_computation_is_what_is_there_at_once() -> None:
    def work() -> None:
        first = torch.ones(1000)  # 4,000 bytes
        second = first + 1  # 8,000
        del first
        third = second + 1  # 8,000, no more
        del second, third

    assert peak_bytes(CPU, work) == pytest.approx(8000, abs=64)  # and a number or two


def test_tensors_that_share_memory_count_once() -> None:
    whole = torch.zeros(100)
    assert size_of([whole, whole[:10], whole.view(10, 10), torch.zeros(3)]) == 412


def wide(folder: Path, **settings: object) -> TrainConfig:
    """A run of 40 pictures in batches of 32, wide enough that buffers of a few bytes do not count."""
    words = ["一只狗", "在草地上", "两个人", "骑着自行车", "小女孩", "在海边", "玩沙子", "一群人"]
    captions = {
        f"{number}.jpg": ["".join(words[(number * 3 + n) % 8] for n in range(2 + number % 5))]
        for number in range(40)
    }
    config = small_config(folder, captions=captions, batch_size=32, dropout=0.1, **settings)  # type: ignore[arg-type]
    model = ModelConfig(layers=3, width=64, heads=4, feed_forward=256, max_positions=48)
    return replace(config, model=model)


def peak_of_the_largest_step(config: TrainConfig) -> int:
    """Measured over a whole epoch of whole steps."""
    trainer = Trainer(prepare(config), None)
    batches = StepBatches(trainer.run.training, trainer.plan)
    every = [batches[step] for step in range(trainer.plan.steps_per_epoch(0))]
    trainer.shared.wrapped.train()

    def taken(parts: StepParts) -> None:
        gradients(trainer.shared, parts, trainer.counters.step, trainer.config.seed)
        trainer.shared.clip(1.0)
        trainer.shared.update()

    taken(every[0])  # the optimizer has its state from now on
    parameters = size_of(trainer.model.parameters())
    peaks = [peak_bytes(CPU, partial(taken, parts)) for parts in every]
    return 3 * parameters + max(peak for peak in peaks if peak is not None)


@pytest.mark.parametrize(
    ("objective", "masking", "others"),
    [
        ("caption", "dense", {}),
        ("caption", "sparse", {}),
        ("pretrain", "dense", {}),
        ("caption", "dense", {"gradient_checkpointing": True}),
        ("caption", "dense", {"accumulate": 2}),
    ],
)
def test_memory_reckoned_from_small_batches_is_that_of_the_largest(
    tmp_path: Path, objective: str, masking: str, others: dict[str, Any]
) -> None:
    config = wide(tmp_path, objective=objective)
    config = replace(config, loss=replace(config.loss, masking=masking), **others)
    found = estimate(config).memory
    assert found.together is not None
    assert found.together == pytest.approx(peak_of_the_largest_step(config), rel=0.1)


def test_sizes_are_those_of_the_run_that_follows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = replace(
        small_config(tmp_path, steps=11, save_every=3), validation=ValidationConfig(every=4), keep_last=99
    )
    found = estimate(config)
    train(config)
    folders = checkpoints(config.out)
    log = (config.out / "log.jsonl").read_text(encoding="utf-8").splitlines()
    validations = [event for event in map(json.loads, log) if event["event"] == "validation"]
    assert found.validations == len(validations) == 3  # 4, 8 and the end
    assert found.checkpoints == len(folders) == 6  # 3, 4, 6, 8, 9 and the end
    assert (found.total_steps, found.steps_per_epoch) == (11, 3)
    capsys.readouterr()


@pytest.mark.parametrize("objective", ["caption", "pretrain"])
def test_a_dry_run_tells_everything_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], objective: str
) -> None:
    config = small_config(tmp_path, objective=objective)
    (tmp_path / "c.yaml").write_text(json.dumps(plain(config)), encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    assert main(["--config", str(tmp_path / "c.yaml"), "--dry-run"]) == 0
    assert sorted(tmp_path.rglob("*")) == before
    text = capsys.readouterr().out
    for line in (
        r"training: 5 pictures, 8 captions, \d+ word pieces\n",
        r"validation: 3 pictures, 6 captions, \d+ word pieces\n",
        r"steps: \d\.\d regions a picture, \d\.\d captions, padding \d+%\n",
        r"model: 0\.0 M parameters, 0\.0 M of them trained\n",
        r"run: 3 steps an epoch, 7 steps; 2 validations and 2 checkpoints to come\n",
        r"memory: weights \d+\.\d MB, gradients .*, optimizer .*, activations .* \(largest of 3 steps\)\n",
        r"memory together: about \d+\.\d MB of \d+\.\d\d GB\n",
        r"disk: .* a checkpoint, .* at most, of .* free\n",
        r"time: \d.* s a step \(measured\), .* s to load a batch: about 0:\d\d, without validations",
    ):
        assert re.search(line, text), line


def test_a_dry_run_leaves_a_run_alone_and_says_how_much_of_it_is_left(tmp_path: Path) -> None:
    config = small_config(tmp_path, steps=4)
    train(config)
    before = {path: path.stat().st_mtime_ns for path in config.out.rglob("*")}
    found = estimate(replace(config, dry_run=True))
    assert (found.steps_taken, found.validations, found.checkpoints, found.seconds) == (4, 0, 0, 0.0)
    assert {path: path.stat().st_mtime_ns for path in config.out.rglob("*")} == before
    with pytest.raises(ValueError, match="dry_run deletes nothing"):
        replace(config, dry_run=True, overwrite=True)


def test_a_run_that_time_ends_is_reckoned_in_steps(tmp_path: Path) -> None:
    config = replace(small_config(tmp_path), steps=None, max_seconds=1000.0)
    found = estimate(config)
    assert found.total_steps is None
    assert found.seconds == pytest.approx(1000, rel=0.01)  # whole steps
    assert found.validations > 10


def test_what_there_is_no_room_for_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    monkeypatch.setattr(captioning.dry_run, "_memory_there", lambda device: 1000)
    lines = list(estimate(small_config(tmp_path)).lines())
    assert any(line.startswith("disk: ") and "0.0 MB free: TOO LITTLE" in line for line in lines)
    assert any(line.endswith("of 0.0 MB: TOO LITTLE, lower batch_size") for line in lines)


def test_steps_that_would_take_long_are_not_taken_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captioning.dry_run, "STEP_SECONDS", 0.0)
    found = estimate(small_config(tmp_path))
    assert not found.whole_steps
    assert found.step_seconds > 0
