"""What checkpoints cost of a run's time: seconds of one, beside those of the steps between two.

    OMP_NUM_THREADS=2 python -m benchmarks.checkpointing --out benchmarks/results/checkpointing.json

"mini" is the bundled captioner, "base" has BERT-base size; both with Adam's state. A checkpoint is written,
hashed and synced as in training; "plain" writes and syncs as many bytes and does nothing else. A step is that
of `benchmarks.training_step`, dense, 16 captions of 16 pictures. They are measured in turn; medians count.
CheckFreq (FAST'21) holds checkpoints to 3.5 % of the time.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import workload
from benchmarks.machine import machine
from benchmarks.results import tell
from benchmarks.training_step import SCENARIOS, stepper
from captioning.checkpoints import TrainingState, write_checkpoint
from captioning.folders import fsync, sha256_of
from captioning.optim import optimizer_tensors
from captioning.places import mini_folder
from captioning.tokenizer import CaptionTokenizer
from oscar.configuration import OscarConfig
from oscar.modeling import OscarForCaptioning

SIZES: dict[str, Callable[[], OscarConfig]] = {
    "mini": lambda: OscarConfig.from_pretrained(mini_folder()),
    "base": OscarConfig,
}
SCENARIO = "dense, 16 captions of 16 pictures"
AIM = 0.035
INTERVALS = (50, 100, 200, 500, 1000)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=SIZES, help="one size")
    parser.add_argument("--checkpoints", type=int, default=5, help="checkpoints that are measured (5)")
    parser.add_argument("--steps", type=int, default=2, help="steps between two of them (2)")
    parser.add_argument(
        "--folder", type=Path, default=Path("build/checkpointing"), help="on the disk to measure"
    )
    parser.add_argument("--out", type=Path, help="JSON file of the result")
    given = parser.parse_args()
    found = {}
    for name in (given.only,) if given.only else SIZES:
        found[name] = measure(SIZES[name](), given.folder, given.checkpoints, given.steps)
    tell({"what": (__doc__ or "").splitlines()[0], "machine": machine(), "sizes": found}, given.out)


def measure(config: OscarConfig, folder: Path, n_checkpoints: int, n_steps: int) -> dict[str, Any]:
    """One size of model; the folder is removed at the end."""
    torch.manual_seed(0)
    model = OscarForCaptioning(config)
    step, optimizer = stepper(model, _inputs(config), SCENARIOS[SCENARIO], "fp32")
    tokenizer = CaptionTokenizer.from_folder(mini_folder())  # the size of a vocabulary's file is no matter
    step()
    seconds: dict[str, list[float]] = {"checkpoint": [], "plain": [], "hash": [], "step": []}
    sizes: list[int] = []

    def checkpoint() -> None:
        state = TrainingState(tensors=optimizer_tensors(model, optimizer), values={})
        write_checkpoint(folder / "checkpoint", model=model, tokenizer=tokenizer, info=None, state=state)

    try:
        for number in range(n_checkpoints + 1):
            for work, name in ((checkpoint, "checkpoint"), *((step, "step"),) * n_steps):
                taken = _seconds(work, settled=name == "checkpoint")
                if number:  # the first time, caches are cold and buffers are made
                    seconds[name].append(taken)
            files = list((folder / "checkpoint").iterdir())
            sizes = [path.stat().st_size for path in files]
            seconds["hash"].append(_seconds(partial(list, map(sha256_of, files))))
            shutil.rmtree(folder / "checkpoint")
            seconds["plain"].append(_seconds(partial(_write, folder / "plain", sizes), settled=True))
            shutil.rmtree(folder / "plain")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _told(model, seconds, sum(sizes))


def _told(model: OscarForCaptioning, seconds: dict[str, list[float]], n_bytes: int) -> dict[str, Any]:
    one, step = median(seconds["checkpoint"]), median(seconds["step"])
    plain = median(seconds["plain"])
    steps_between = math.ceil(one * (1 - AIM) / AIM / step)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "checkpoint_mb": round(n_bytes / 1e6, 1),
        "seconds": {name: [round(each, 4) for each in found] for name, found in seconds.items()},
        "checkpoint_seconds": round(one, 3),
        "plain_seconds": round(plain, 3),
        "plain_mb_per_second": round(n_bytes / 1e6 / plain),
        "times_plain": round(one / plain, 2),
        "step_seconds": round(step, 3),
        "share_of_time_by_steps_between": {
            every: round(one / (one + every * step), 4) for every in INTERVALS
        },
        f"steps_between_for_{AIM:.1%}": steps_between,
        f"seconds_between_for_{AIM:.1%}": round(one * (1 - AIM) / AIM, 1),
    }


def _inputs(config: OscarConfig) -> dict[str, Tensor]:
    """The workload's, with pieces and regions that the model knows."""
    inputs = workload.inputs()
    for name in ("captions", "tag_ids"):
        inputs[name] %= config.vocab_size
    inputs["region_features"] = inputs["region_features"][..., : config.img_feature_dim].contiguous()
    return inputs


def _seconds(work: Callable[[], object], *, settled: bool = False) -> float:
    """Seconds of some work; ``settled``: once the disk has written what came before."""
    if settled:
        os.sync()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _write(folder: Path, sizes: list[int]) -> None:
    """Files of these sizes, synced, of numbers that no disk can compress."""
    folder.mkdir(parents=True)
    block = np.random.default_rng(0).bytes(1 << 22)
    for number, size in enumerate(sizes):
        path = folder / str(number)
        with path.open("wb", buffering=0) as file:
            for start in range(0, size, len(block)):
                file.write(block[: size - start])
        fsync(path)
    fsync(folder)


if __name__ == "__main__":
    main()
