"""How exact the memory is that ``captioning.train --dry_run`` tells.

    OMP_NUM_THREADS=2 python -m benchmarks.training_memory --out benchmarks/results/training_memory.json

Runs over made-up pictures (50 regions of 2,048 numbers, 5 captions of 8 to 25 of 8,000 characters). "told" is
the dry run's, from batches of 4 and 16 pictures. "tensors" is what the largest step of an epoch takes with
weights and optimizer, by torch's profiler. "process" is what a process without profiler grows by over an
epoch, from before the model is made: tensors, and what libraries and the allocator hold besides. Each is a
process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine, peak_megabytes
from benchmarks.results import tell
from captioning.config import DataConfig, LossConfig, ModelConfig, PrefixConfig, TrainConfig
from captioning.dry_run import estimate
from captioning.gradients import gradients
from captioning.memory import peak_bytes, size_of
from captioning.runs import prepare
from captioning.step_batches import StepBatches, StepParts
from captioning.trainer import Trainer
from features.store import Regions, StoreMeta, box_geometry, write_shard
from features.tags import Lexicon

PICTURES, REGIONS, WIDTH = 96, 50, 2048
CHARACTERS = [chr(0x4E00 + number) for number in range(8_000)]
SMALL = ModelConfig(layers=4, width=256, heads=4, feed_forward=1024)
BASE = ModelConfig(layers=12, width=768, heads=12, feed_forward=3072)

CASES: dict[str, dict[str, Any]] = {
    "small, dense": {},
    "small, sparse": {"loss": LossConfig(masking="sparse")},
    "small, pretrain": {"objective": "pretrain"},
    "small, dense, bf16": {"precision": "bf16"},
    "small, dense, in 2 parts": {"accumulate": 2, "batch_size": 96},
    "small, dense, layers computed twice": {"gradient_checkpointing": True},
    "base, dense": {"model": BASE, "batch_size": 32},
}
"""What differs from small, dense, 48 pictures in fp32."""


def write_data(folder: Path) -> None:
    """Regions and captions of all pictures."""
    rng = np.random.default_rng(0)
    lexicon = Lexicon.load("zh", "voc-20")
    meta = StoreMeta(
        backend="mini",
        description={"weights_sha256": "0" * 64},
        vocabulary=lexicon.english,
        vocabulary_id="voc-20",
        feature_dim=WIDTH,
        run={"images": "made up"},
    )
    pictures = []
    for number in range(PICTURES):
        boxes = np.sort(rng.random((REGIONS, 2, 2), np.float32), axis=1).reshape(REGIONS, 4) * 400
        pictures.append(
            Regions(
                image_id=f"{number:03}.jpg",
                width=400,
                height=400,
                features=rng.random((REGIONS, WIDTH), np.float32).astype(np.float16),
                boxes=boxes,
                geometry=box_geometry(boxes, 400, 400),
                object_ids=rng.integers(0, len(lexicon.english), REGIONS, dtype=np.int32),
                object_scores=np.linspace(0.9, 0.3, REGIONS, dtype=np.float32),
            )
        )
    write_shard(folder / "regions.h5", pictures, meta, {})
    rows: list[dict[str, Any]] = [
        {
            "image_id": picture.image_id,
            "caption": ["".join(rng.choice(CHARACTERS, rng.integers(8, 26))) for _ in range(5)],
        }
        for picture in pictures
    ]
    rows[0]["caption"] += ["".join(CHARACTERS)]  # the vocabulary is that of all captions
    (folder / "captions.json").write_text(json.dumps(rows), encoding="utf-8")


def config_of(folder: Path, case: str) -> TrainConfig:
    """The run of a case."""
    config = TrainConfig(
        out=folder / "run",
        precision="fp32",
        device="cpu",
        batch_size=48,
        model=SMALL,
        data=DataConfig(
            regions=folder / "regions.h5",
            train=folder / "captions.json",
            validation=None,
            prefix=PrefixConfig(max_regions=REGIONS, max_tag_pieces=60),
        ),
    )
    return replace(config, **CASES[case])


def told(folder: Path, case: str) -> dict[str, float]:
    """What the dry run says."""
    found = estimate(config_of(folder, case)).memory
    parts = {"weights": found.weights, "gradients": found.gradients, "optimizer": found.optimizer}
    parts |= {"activations": found.activations or 0, "told": found.together or 0}
    return {f"{name}_mb": size / 1e6 for name, size in parts.items()}


def _steps(folder: Path, case: str) -> tuple[Trainer, list[StepParts], Callable[[StepParts], None]]:
    trainer = Trainer(prepare(config_of(folder, case)), None)
    batches = StepBatches(trainer.run.training, trainer.plan)
    trainer.shared.wrapped.train()

    def take(parts: StepParts) -> None:
        gradients(trainer.shared, parts, 0, trainer.config.seed)
        trainer.shared.clip(1.0)
        trainer.shared.update()

    return trainer, [batches[step] for step in range(trainer.plan.steps_per_epoch(0))], take


def tensors(folder: Path, case: str) -> dict[str, float]:
    """Weights, optimizer, and the peak of an epoch's steps."""
    trainer, every, take = _steps(folder, case)
    take(every[0])
    state = [value for state in trainer.optimizer.state.values() for value in state.values()]
    kept = size_of(trainer.model.parameters()) + size_of(state)
    peaks = [peak_bytes(trainer.device, partial(take, parts)) or 0 for parts in every]
    return {"tensors_mb": (kept + max(peaks)) / 1e6}


def process(folder: Path, case: str) -> dict[str, float]:
    """Growth of a process over an epoch."""
    before = peak_megabytes()
    _, every, take = _steps(folder, case)
    for parts in every:
        take(parts)
    return {"process_mb": peak_megabytes() - before}


SIDES = {"told": told, "tensors": tensors, "process": process}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="JSON file of the result")
    parser.add_argument("--only", default="", help="only cases whose name holds this")
    parser.add_argument("--one", nargs=3, metavar=("FOLDER", "SIDE", "CASE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        folder, side, case = given.one
        print(json.dumps(SIDES[side](Path(folder), case)))
        return
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        write_data(Path(name))
        for case in (case for case in CASES if given.only in case):
            numbers: dict[str, float] = {}
            for side in SIDES:
                words = [sys.executable, "-m", __spec__.name, "--one", name, side, case]
                done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
                numbers |= json.loads(done.stdout.splitlines()[-1])
            numbers["told_of_tensors"] = numbers["told_mb"] / numbers["tensors_mb"]
            numbers["process_of_told"] = numbers["process_mb"] / numbers["told_mb"]
            found[case] = {key: round(value, 3 if "_of_" in key else 1) for key, value in numbers.items()}
    tell({"what": (__doc__ or "").splitlines()[0], "machine": machine(), "cases": found}, given.out)


if __name__ == "__main__":
    main()
