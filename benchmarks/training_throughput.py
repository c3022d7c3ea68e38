r"""Training on real data beside its bare steps: does anything but the model take time?

    python -m benchmarks.training_throughput --regions build/flickr8kcn.h5 \
        --train flickr8kcn/captions_train.json --out benchmarks/results/training_throughput.json

The settings are those of configs/flickr8k_cn.yaml. "Command" is captioning.train: its own captions a second
over its steps, in which regions are read, tags and captions made into batches, losses checked and logged.
"Bare" takes the very batches of the same steps, made beforehand, and does what `benchmarks.training_step`
times: forward, backward, clipping, AdamW. Each is a process of its own, in turn; first steps are left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import DTYPES, machine, peak_megabytes
from benchmarks.results import tell
from captioning.config import TrainConfig
from captioning.optim import make_optimizer
from captioning.runs import prepare
from captioning.step_batches import StepBatches
from captioning.steps import Learning
from captioning.train import main as train
from captioning.train import parser as settings
from captioning.trainer import plan_of

WARM = 10
"""Steps left out."""
CAPTIONS = 160
"""In a step: 32 pictures with 5, human or drawn."""
OBJECTIVES = {
    "caption, dense": [],
    "caption, sparse": ["--loss.masking", "sparse"],
    "pretrain": ["--objective", "pretrain"],
    # a rate that changes nothing: captions that grow longer on one side would take it more time
    "scst": ["--objective=scst", "--init=examples/mini/captioner", "--optim.learning_rate=1e-9"],
}


def words_of(given: argparse.Namespace, objective: str, out: str) -> list[str]:
    """Arguments of captioning.train."""
    options = {
        "config": "configs/flickr8k_cn.yaml",
        "out": out,
        "data.regions": given.regions,
        "data.train": given.train,
        "data.validation": "null",
        "data.workers": given.workers,
        "max_seconds": "null",
        "steps": given.steps + WARM,
        "log_every": 1,
        "save_every": 10**9,
        "precision": given.precision,
    }
    return [*(f"--{name}={value}" for name, value in options.items()), *OBJECTIVES[objective]]


def command(given: argparse.Namespace, objective: str) -> dict[str, float]:
    """captioning.train, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        if code := train(words_of(given, objective, folder)):
            sys.exit(code)
        lines = Path(folder, "log.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [event for event in map(json.loads, lines) if event["event"] == "step"][WARM:]
    seconds = [CAPTIONS / event["captions_per_second"] for event in steps]
    waited = sum(event["data_wait"] * each for event, each in zip(steps, seconds, strict=True))
    return {
        "seconds": sum(seconds) / len(seconds),
        "data_wait": waited / sum(seconds),
        "peak_mb": peak_megabytes(),
    }


def bare(given: argparse.Namespace, objective: str) -> dict[str, float]:
    """The same steps on batches that are there already, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        made = vars(settings().instantiate(settings().parse_args(words_of(given, objective, folder))))
        config = TrainConfig(**{name: value for name, value in made.items() if name != "config"})
        run = prepare(config)
    batches = [
        parts[0] for parts in islice(StepBatches(run.training, plan_of(run, 1)).from_step(0, 0), config.steps)
    ]
    learning = Learning(run.model, run.steps, config.objectives).train()
    optimizer = make_optimizer(run.model, config.optim)
    start = 0.0
    for number, batch in enumerate(batches):
        if number == WARM:
            start = time.perf_counter()
        torch.manual_seed(number)
        with torch.autocast("cpu", DTYPES[given.precision], enabled=given.precision != "fp32"):
            means = learning(batch, number)
        loss = torch.stack(
            [part.weight * means[name] for name, part in learning.parts.items() if part.weight]
        )
        loss.sum().backward()
        torch.nn.utils.clip_grad_norm_(run.model.parameters(), config.optim.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
    return {"seconds": (time.perf_counter() - start) / given.steps, "peak_mb": peak_megabytes()}


SIDES = {"bare": bare, "command": command}


def compare(given: argparse.Namespace, objective: str) -> dict[str, Any]:
    """Both sides in turn; the shortest mean step of each counts."""
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(given.rounds):
        for side in SIDES:
            words = [sys.executable, "-m", __spec__.name, *sys.argv[1:], "--one", side, objective]
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
            runs[side].append(json.loads(done.stdout.splitlines()[-1]))
    best = {side: min(found, key=lambda run: run["seconds"]) for side, found in runs.items()}
    return {
        "bare_captions_per_second": round(CAPTIONS / best["bare"]["seconds"], 1),
        "command_captions_per_second": round(CAPTIONS / best["command"]["seconds"], 1),
        "command_of_bare": round(best["bare"]["seconds"] / best["command"]["seconds"], 3),
        "data_wait": round(best["command"]["data_wait"], 4),
        "peak_mb": {side: round(run["peak_mb"]) for side, run in best.items()},
        "rounds": {side: [round(run["seconds"], 4) for run in found] for side, found in runs.items()},
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--regions", type=Path, required=True)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=60, help="timed, of each process")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0, help="that make batches, of the command")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--only", help="only objectives whose name holds this")
    parser.add_argument("--one", nargs=2, metavar=("SIDE", "OBJECTIVE"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.one:
        side, objective = given.one
        print(json.dumps(SIDES[side](given, objective)))
        return
    result = {
        "what": f"configs/flickr8k_cn.yaml, {CAPTIONS} captions a step, {given.precision}",
        "machine": machine(),
        "workers": given.workers,
        **{name: compare(given, name) for name in OBJECTIVES if (given.only or "") in name},
    }
    tell(result, given.out)


if __name__ == "__main__":
    main()
