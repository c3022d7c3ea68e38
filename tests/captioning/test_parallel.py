"""Processes and accumulated parts: whoever computes a step, it is the step of one large batch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from captioning.checkpoints import MODEL, STATE_TENSORS
from captioning.config import LossConfig, StageConfig, TrainConfig
from captioning.run_folder import step_folder
from captioning.runs import plain
from captioning.train import train
from tests.captioning.small_run import small_config

ROOT = Path(__file__).parents[2]
PROCESSES = 2
TOLERANCE = 1e-6


def configs(folder: Path) -> dict[str, TrainConfig]:
    """Runs without dropout whose steps two processes, or two parts, can share unevenly."""
    small = small_config(folder, steps=6, batch_size=5, dropout=0.0, out="caption")
    # Adam divides a gradient by its own size: where that is rounding alone, so is its whole step. A larger
    # epsilon leaves such weights (the keys' biases, to which softmax gives no gradient) where they are.
    small = replace(small, optim=replace(small.optim, epsilon=1e-4))
    captioner = replace(small, out=folder / "captioner")
    train(captioner)
    init = str(captioner.out / "last")
    stages = (StageConfig(share=0.5), StageConfig(share=0.5, batch_size=3, max_caption_pieces=6))
    return {
        "dense": small,
        "sparse": replace(small, loss=LossConfig(masking="sparse", label_smoothing=0.1)),
        "pretrain": replace(
            small, objective="pretrain", optim=replace(small.optim, ema_decay=0.5), save_every=2, keep_last=9
        ),
        "scst": replace(small, objective="scst", init=init),
        "both": replace(small, also={"pretrain": 0.5, "scst": 2.0}, init=init, weight=0.5),
        "stages": replace(small, stages=stages, data=replace(small.data, length_window=2)),
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Each run in one process, in two, in two with FSDP, and in one with two accumulated parts -> folder."""
    folder = tmp_path_factory.mktemp("parallel")
    found: dict[str, Path] = {}
    files = []
    for name, config in configs(folder).items():
        ways = {
            "whole": config,
            "accumulated": replace(config, accumulate=2),
            "ddp": config,
            "fsdp": replace(config, parallel="fsdp"),
        }
        for way, changed in ways.items():
            out = found[f"{name}, {way}"] = folder / name / way
            made = replace(changed, out=out)
            if way in ("whole", "accumulated"):
                train(made)
            else:
                path = folder / f"{name}-{way}.yaml"
                path.write_text(json.dumps(plain(made)), encoding="utf-8")
                files.append(str(path))
    run_in_processes(files)
    return found


def run_in_processes(configs: Sequence[str]) -> None:
    """Trains one after another, in two processes."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={PROCESSES}"]
    ran = subprocess.run(
        [sys.executable, *launch, str(Path(__file__).with_name("two_processes.py")), *configs],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]


def tensors(run: Path) -> dict[str, torch.Tensor]:
    """Weights, optimizer state and, where weights are averaged, the trained ones."""
    return load_file(run / "last" / MODEL) | load_file(run / "last" / STATE_TENSORS)


def losses(run: Path) -> list[dict[str, float]]:
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    # What depends on the clock, or on how a step is divided.
    timed = {"captions_per_second", "pieces_per_second", "data_wait", "eta_seconds", "padding"}
    events: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [
        {key: value for key, value in event.items() if isinstance(value, float) and key not in timed}
        for event in events
        if event["event"] in ("step", "validation")
    ]


@pytest.mark.parametrize("way", ["accumulated", "ddp", "fsdp"])
@pytest.mark.parametrize("name", ["dense", "sparse", "pretrain", "scst", "both", "stages"])
def test_shared_out_steps_are_those_of_one_large_batch(runs: Mapping[str, Path], name: str, way: str) -> None:
    whole, shared = runs[f"{name}, whole"], runs[f"{name}, {way}"]
    wanted, found = tensors(whole), tensors(shared)
    assert found.keys() == wanted.keys()
    for key, value in found.items():
        torch.testing.assert_close(
            value, wanted[key], rtol=0, atol=TOLERANCE, msg=lambda m, k=key: f"{k}: {m}"
        )
    for got, right in zip(losses(shared), losses(whole), strict=True):
        assert got == pytest.approx(right, rel=1e-4, abs=TOLERANCE)


def test_processes_go_on_from_a_checkpoint_to_the_same_bits(runs: Mapping[str, Path]) -> None:
    files, resumed = [], {}
    for way in ("ddp", "fsdp"):
        straight = runs[f"pretrain, {way}"]
        resumed[way] = straight.with_name(f"{way}-resumed")
        shutil.copytree(straight, resumed[way], symlinks=True)
        for step in (4, 6):
            shutil.rmtree(step_folder(resumed[way], step))
        settings = straight.parents[1] / f"pretrain-{way}.yaml"
        values = json.loads(settings.read_text(encoding="utf-8")) | {"out": str(resumed[way])}
        files.append(str(settings.with_name(f"resumed-{way}.yaml")))
        Path(files[-1]).write_text(json.dumps(values), encoding="utf-8")
    run_in_processes(files)
    for way, run in resumed.items():
        for name in (MODEL, STATE_TENSORS):
            wanted = step_folder(runs[f"pretrain, {way}"], 6) / name
            assert (step_folder(run, 6) / name).read_bytes() == wanted.read_bytes()
