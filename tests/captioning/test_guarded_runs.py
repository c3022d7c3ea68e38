"""The guard in whole runs, also in those that were killed and go on."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from captioning.config import TrainConfig
from captioning.guard import TrainingError
from captioning.guard_config import GuardConfig
from captioning.run_folder import step_folder
from captioning.runs import plain
from captioning.train import main, train
from captioning.trainer import Trainer
from tests.captioning.poisoned import poison
from tests.captioning.small_run import small_config

ROOT = Path(__file__).parents[2]
SKIP = GuardConfig(not_a_number="skip", max_skipped=3)
SPIKE = GuardConfig(window=6, spike_steps=4, deviations=5.0)


class Killed(BaseException):
    """Stands for kill -9."""


def kill_before_step(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    real = Trainer._step

    def dying(self: Trainer, batches: object) -> None:
        if self.counters.step + 1 == step:
            raise Killed
        real(self, batches)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "_step", dying)


def events(config: TrainConfig, kind: str) -> list[dict[str, object]]:
    lines = (config.out / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def weights(config: TrainConfig, step: int) -> dict[str, torch.Tensor]:
    return load_file(step_folder(config.out, step) / "model.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_loss_that_is_no_number_ends_the_command_with_1_and_names_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    poison(monkeypatch, lambda step: math.nan if step == 6 else 1.0)
    config = small_config(tmp_path)
    (tmp_path / "c.yaml").write_text(json.dumps(plain(config)), encoding="utf-8")
    assert main(["--config", str(tmp_path / "c.yaml")]) == 1
    (fault,) = events(config, "fault")
    assert (fault["kind"], fault["action"], fault["step"]) == ("loss", "stop", 6)
    assert fault["values"] == {"loss": None, "grad_norm": None}
    pictures = fault["pictures"]
    assert isinstance(pictures, list)
    assert 1 <= len(pictures) <= config.batch_size
    message = capsys.readouterr().err
    assert f"captioning.train: step 6: the loss is nan (pictures {', '.join(pictures)})." in message
    assert f"Last good checkpoint: {step_folder(config.out, 4)}." in message
    assert not any(tensor.isnan().any() for tensor in weights(config, 4).values())


def test_a_step_that_is_left_out_changes_no_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch, lambda step: math.nan if step >= 6 else 1.0)
    config = replace(small_config(tmp_path, save_every=1, validation=False), guard=SKIP, keep_last=7)
    train(config)
    assert not same(weights(config, 4), weights(config, 5))
    assert same(weights(config, 5), weights(config, 6))
    assert same(weights(config, 5), weights(config, 7))
    assert [fault["action"] for fault in events(config, "fault")] == ["skip", "skip"]


def test_a_resumed_run_skips_and_gives_up_where_the_uninterrupted_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, lambda step: math.nan if step in (3, 5, 6) else 1.0)
    straight = replace(small_config(tmp_path, save_every=1, validation=False), guard=SKIP)
    train(straight)
    broken = replace(straight, out=tmp_path / "broken")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_before_step(patch, 6)
        train(broken)
    train(broken)
    assert same(weights(broken, 7), weights(straight, 7))
    strict = replace(straight, out=tmp_path / "strict", guard=replace(SKIP, max_skipped=1))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_before_step(patch, 6)
        train(strict)
    with pytest.raises(TrainingError, match="step 6: the loss is nan, 2 steps in a row"):
        train(strict)


def spiking_config(folder: Path, out: str) -> TrainConfig:
    return replace(
        small_config(folder, out=out, steps=20, save_every=1, validation=False),
        guard=SPIKE,
        keep_last=20,
    )


def test_a_loss_that_jumps_stops_the_run_at_the_same_step_whether_it_was_killed_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, lambda step: 100.0 if step >= 10 else 1.0)
    told = []
    for out, killed_at in (("straight", None), ("broken", 12)):
        config = spiking_config(tmp_path, out)
        if killed_at is not None:
            with monkeypatch.context() as patch, pytest.raises(Killed):
                kill_before_step(patch, killed_at)
                train(config)
        with pytest.raises(TrainingError, match="for 4 steps") as stopped:
            train(config)
        assert f"Last good checkpoint: {step_folder(config.out, 9)}. Start from it (--init" in str(
            stopped.value
        )
        (fault,) = events(config, "fault")
        told.append((fault["step"], fault["since"], fault["values"]))
    assert told[0][:2] == (13, 10)
    assert told[0] == told[1]


def test_a_resumed_run_may_change_its_guard_and_go_on_regardless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, lambda step: 100.0 if step >= 10 else 1.0)
    config = spiking_config(tmp_path, "run")
    with pytest.raises(TrainingError):
        train(config)
    train(replace(config, guard=replace(SPIKE, spike="warn")))
    assert step_folder(config.out, 20).is_dir()
    assert [fault["action"] for fault in events(config, "fault")] == ["stop", "warn"]


def test_processes_leave_a_step_out_together_and_the_first_alone_tells_of_it(tmp_path: Path) -> None:
    config = replace(small_config(tmp_path, save_every=1, validation=False), guard=SKIP, keep_last=7)
    (tmp_path / "c.yaml").write_text(json.dumps(plain(config)), encoding="utf-8")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    script = str(Path(__file__).with_name("poisoned_process.py"))
    ran = subprocess.run(
        [sys.executable, *launch, script, "--config", str(tmp_path / "c.yaml")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    told = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [event["step"] for event in told if event["event"] == "step"] == [2, 4, 6]
    assert [(event["step"], event["action"]) for event in told if event["event"] == "fault"] == [(4, "skip")]
    assert same(weights(config, 3), weights(config, 4))
    assert not same(weights(config, 4), weights(config, 5))
