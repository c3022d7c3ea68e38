"""How fast a captioning step trains: BERT-base size, 21,128 pieces, 30 tag pieces, 50 regions.

    OMP_NUM_THREADS=2 python -m benchmarks.training_step --peer ../Oscar --out training_step.json

A step is forward, backward, clipping and AdamW, with dropout. "sparse" is the original's objective on the
original's batch: 16 captions of 16 pictures, at most 3 masked pieces each. "dense" trains every piece; with
80 captions each picture has five, which read one prefix. Every measurement is a process of its own, ours
and the original's in turn; minima count. --peer is a checkout of microsoft/Oscar, see `benchmarks.original`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import workload
from benchmarks.machine import DTYPES
from benchmarks.processes import dtypes, figures, in_turn, original, ours, run, timed
from captioning.batches import CaptionBatch, PrefixBatch, collate_captions
from captioning.config import LossConfig, Masking, OptimConfig
from captioning.examples import IGNORED, CaptionExample
from captioning.optim import make_optimizer
from captioning.steps import STEPS, Learning
from oscar.modeling import OscarForCaptioning

PICTURES = 16


@dataclass(frozen=True)
class Scenario:
    """What a step trains on."""

    masking: Masking
    captions: int
    """Captions of each picture."""
    peer: bool = False
    """Does the original have such a step?"""


SCENARIOS = {
    "sparse, 16 captions of 16 pictures": Scenario("sparse", 1, peer=True),
    "dense, 16 captions of 16 pictures": Scenario("dense", 1),
    "dense, 80 captions of 16 pictures": Scenario("dense", 5),
}


def example(caption: Tensor, masked: Tensor, masking: Masking) -> CaptionExample:
    """A caption of the workload as an example of the objective."""
    pieces = caption[caption != 0]
    if masking == "dense":
        return CaptionExample(pieces=pieces[:-1].numpy(), targets=pieces[1:].numpy())
    chosen = masked[: len(pieces)]
    targets = pieces.masked_fill(~chosen, IGNORED)
    return CaptionExample(pieces=pieces.masked_fill(chosen, workload.MASK).numpy(), targets=targets.numpy())


def batch_of(inputs: dict[str, Tensor], scenario: Scenario) -> CaptionBatch:
    """16 pictures and their captions; with several captions a picture, those of its neighbours serve."""
    rows = [(p + c) % workload.N_PICTURES for p in range(PICTURES) for c in range(scenario.captions)]
    examples = [example(inputs["captions"][r], inputs["masked"][r], scenario.masking) for r in rows]
    tags, regions = inputs["tag_ids"][:PICTURES], inputs["region_features"][:PICTURES]
    return CaptionBatch(
        image_ids=tuple(map(str, range(PICTURES))),
        prefix=PrefixBatch(
            tag_ids=tags,
            tag_mask=torch.ones_like(tags, dtype=torch.bool),
            region_features=regions,
            region_mask=torch.ones(regions.shape[:2], dtype=torch.bool),
        ),
        captions=collate_captions(
            examples, np.repeat(np.arange(PICTURES), scenario.captions).tolist(), pad_id=0
        ),
        n_captions=len(examples),
    )


def measure(folder: Path, name: str, dtype: str) -> dict[str, Any]:
    """Ours, in this process: seconds of some steps as `captioning.trainer` takes them."""
    step, _ = stepper(*workload.load(folder), SCENARIOS[name], dtype)
    return timed(step, dtype)


def stepper(
    model: OscarForCaptioning, inputs: dict[str, Tensor], scenario: Scenario, dtype: str
) -> tuple[Callable[[], float], torch.optim.Optimizer]:
    """What takes a step and gives its loss, and the optimizer."""
    batch = batch_of(inputs, scenario)
    loss_config = LossConfig(masking=scenario.masking, label_smoothing=0.1)
    learning = Learning(model, {"caption": STEPS["caption"](loss_config)}, {"caption": 1.0}).train()
    optimizer = make_optimizer(model, OptimConfig(learning_rate=3e-5))

    def step() -> float:
        torch.manual_seed(0)
        with torch.autocast("cpu", DTYPES[dtype], enabled=dtype != "fp32"):
            loss = learning({"caption": batch}, 0)["words"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step, optimizer


def compare(name: str, folder: Path, peer: Path | None, rounds: int) -> dict[str, Any]:
    """One scenario, ours and, where it has such a step, the original's."""
    scenario = SCENARIOS[name]
    commands = {f"ours, {dtype}": ours(__spec__.name, folder, name, dtype) for dtype in dtypes()}
    if peer is not None and scenario.peer:
        commands["original"] = original(peer, folder, "train", "--batch", str(PICTURES), "--repeats", "3")
    measured = dict(zip(commands, in_turn(list(commands.values()), [rounds] * len(commands)), strict=True))
    result: dict[str, Any] = {
        side: figures(runs, PICTURES * scenario.captions) for side, runs in measured.items()
    }
    if "original" in measured:
        ratio = measured["original"]["seconds"] / measured["ours, fp32"]["seconds"]
        result["original"]["ours_fp32_is_faster"] = round(ratio, 2)
    return result


if __name__ == "__main__":
    run(__doc__, SCENARIOS, measure, compare)
