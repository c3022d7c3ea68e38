"""The same runs in one process, in accumulated parts and in two processes, for tests and a benchmark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from captioning.checkpoints import MODEL, STATE_TENSORS
from captioning.config import LossConfig, StageConfig, TrainConfig
from captioning.runs import plain
from captioning.train import train
from tests.captioning.small_run import small_config

ROOT = Path(__file__).parents[2]
PROCESSES = 2
WAYS = ("accumulated", "ddp", "fsdp")
"""To share out a step that ``whole`` computes at once."""
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={PROCESSES}")


def configs(folder: Path) -> dict[str, TrainConfig]:
    """Runs without dropout whose steps two processes, or two parts, can share unevenly."""
    small = small_config(folder, steps=6, batch_size=5, dropout=0.0, out="caption")
    # Adam divides a gradient by its own size: where that is rounding alone, so is its whole step. A larger
    # epsilon leaves such weights (the keys' biases, to which softmax gives no gradient) where they are.
    small = replace(small, log_every=1, optim=replace(small.optim, epsilon=1e-4))
    captioner = replace(small, out=folder / "captioner")
    train(captioner)
    init = str(captioner.out / "last")
    stages = (StageConfig(share=0.5), StageConfig(share=0.5, batch_size=3, max_caption_pieces=6))
    pretrain = replace(
        small, objective="pretrain", optim=replace(small.optim, ema_decay=0.5), save_every=2, keep_last=9
    )
    return {
        "dense": small,
        "sparse": replace(small, loss=LossConfig(masking="sparse", label_smoothing=0.1)),
        "pretrain": pretrain,
        "two-way": replace(
            pretrain,
            model=replace(small.model, contrast_classes=2),
            loss=LossConfig(swap_caption=0.0, swap_tags=0.5),
        ),
        "scst": replace(small, objective="scst", init=init),
        "both": replace(small, also={"pretrain": 0.5, "scst": 2.0}, init=init, weight=0.5),
        "stages": replace(small, stages=stages, data=replace(small.data, length_window=2)),
    }


def run_each_way(folder: Path) -> dict[str, Path]:
    """Each run in one process, and in all of `WAYS`: its name and the way -> its folder.

    Raises:
        RuntimeError: two processes failed.
    """
    found: dict[str, Path] = {}
    files = []
    for name, config in configs(folder).items():
        for way in ("whole", *WAYS):
            out = found[f"{name}, {way}"] = folder / name / way
            if way in ("whole", "accumulated"):
                train(replace(config, out=out, accumulate=2 if way == "accumulated" else 1))
            else:
                made = replace(config, out=out, parallel=way)  # type: ignore[arg-type]
                files.append(write_settings(folder / f"{name}-{way}.yaml", made))
    run_in_processes([str(Path(__file__).with_name("two_processes.py")), *map(str, files)])
    return found


def write_settings(path: Path, config: TrainConfig) -> Path:
    """As ``--config`` reads them."""
    path.write_text(json.dumps(plain(config)), encoding="utf-8")
    return path


def run_in_processes(
    words: Sequence[str], launch: Sequence[str] = TORCHRUN, environment: Mapping[str, str] | None = None
) -> None:
    """Starts a program in two processes and waits for it.

    Args:
        words: the program and its arguments.
        launch: what Python runs to start it.
        environment: variables besides those of this process.

    Raises:
        RuntimeError: it failed; with what it said last.
    """
    ran = subprocess.run(
        [sys.executable, *launch, *words],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=500,
    )
    if ran.returncode:
        raise RuntimeError(ran.stderr[-3000:])


def weights(run: Path) -> dict[str, torch.Tensor]:
    """Those that a run releases at its end."""
    return load_file(run / "last" / MODEL)


def states(run: Path) -> dict[str, torch.Tensor]:
    """Of the optimizer at the end of a run and, where weights are averaged, the trained ones."""
    return load_file(run / "last" / STATE_TENSORS)


def events(run: Path) -> list[dict[str, Any]]:
    """A run's log."""
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def figures(run: Path) -> list[dict[str, float]]:
    """Losses, gradient norms and scores from a run's log: of each step and each validation."""
    # What depends on the clock, or on how a step is divided.
    timed = {"captions_per_second", "pieces_per_second", "data_wait", "eta_seconds", "padding"}
    return [
        {key: value for key, value in event.items() if isinstance(value, float) and key not in timed}
        for event in events(run)
        if event["event"] in ("step", "validation")
    ]
