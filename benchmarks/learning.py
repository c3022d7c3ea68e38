r"""What pre-training and self-critical training are worth: three ways to spend the same processor time.

    python -m benchmarks.learning --regions build/flickr8kcn.h5 --data flickr8kcn --minutes 30 \
        --out benchmarks/results/learning.json

Each way is one or two runs on one thread (configs/flickr8k_cn.yaml, configs/flickr8k_cn_scst.yaml), whose
steps are set so that all ways take the same processor time (a step of each objective is measured first):
captions alone; pre-training on captions and tags for half of the time, then captions; captions for two
thirds, then self-critical training. Scored on the validation split, greedily and with a beam of 5, jieba
words. Two ways run side by side. Runs that were cut short go on where they stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.results import tell
from captioning.captioner import Captioner
from captioning.captions import Caption
from eval import evaluate
from eval.annotations import read_references
from features.store import RegionStore

SHOWN = ("bleu-4", "rouge-l", "cider")
CALIBRATION = (5, 25)
"""Steps of two short runs: their difference is free of start-up."""


CONFIGS = {
    "caption": "configs/flickr8k_cn.yaml",
    "pretrain": "configs/flickr8k_cn.yaml",
    "scst": "configs/flickr8k_cn_scst.yaml",
}


@dataclass(frozen=True)
class Part:
    """One run of a way."""

    objective: str
    share: float
    """Of the way's time."""


WAYS: dict[str, tuple[Part, ...]] = {
    "captions": (Part("caption", 1.0),),
    "pre-training, captions": (Part("pretrain", 0.5), Part("caption", 0.5)),
    "captions, self-critical": (Part("caption", 2 / 3), Part("scst", 1 / 3)),
}


def train(given: argparse.Namespace, objective: str, out: Path, steps: int, init: Path | None) -> None:
    """One run, on one thread."""
    options = {
        "config": CONFIGS[objective],
        "objective": objective,
        "out": out,
        "data.regions": given.regions,
        "data.train": given.data / "captions_train.json",
        "data.validation": given.data / "captions_val.json" if steps > CALIBRATION[1] else "null",
        "validation.every": 10**9,
        "max_seconds": "null",
        "steps": steps,
        "save_every": given.save_every,
        "precision": given.precision,
        "init": "null" if init is None else init,
    }
    run("captioning.train", [f"--{name}={value}" for name, value in options.items()])


def run(module: str, words: Iterable[str]) -> None:
    """A command on one thread; its failure ends the program."""
    command = [sys.executable, "-m", module, *words]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with exit code {done.returncode}")


def processor_seconds() -> float:
    """Of all commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def seconds_a_step(given: argparse.Namespace, objective: str, init: Path | None) -> float:
    """Processor time of one step, measured by two short runs."""
    used = []
    for steps in CALIBRATION:
        before = processor_seconds()
        train(given, objective, given.runs / f"calibration-{objective}-{steps}", steps, init)
        used.append(processor_seconds() - before)
    return (used[1] - used[0]) / (CALIBRATION[1] - CALIBRATION[0])


def calibrate(given: argparse.Namespace) -> dict[str, float]:
    """Seconds a step of each objective; kept, so that a program that goes on does the same steps."""
    kept = given.runs / "seconds_a_step.json"
    if not kept.exists():
        inits = {"caption": None, "pretrain": None, "scst": Path("examples/mini/captioner")}
        seconds = {name: seconds_a_step(given, name, init) for name, init in inits.items()}
        kept.write_text(json.dumps(seconds), encoding="utf-8")
    found: dict[str, float] = json.loads(kept.read_text(encoding="utf-8"))
    return found


def go(given: argparse.Namespace, name: str, seconds: dict[str, float]) -> dict[str, Any]:
    """One way from its beginning to its end: its steps, and scores after each part that writes captions."""
    told: dict[str, Any] = {}
    init = None
    for number, part in enumerate(WAYS[name], start=1):
        steps = round(given.minutes * 60 * part.share / seconds[part.objective])
        out = given.runs / name.replace(", ", "-").replace(" ", "_") / f"{number}-{part.objective}"
        train(given, part.objective, out, steps, init)
        init = out / "last"
        told[f"{number}. {part.objective}"] = {"steps": steps} | (
            {} if part.objective == "pretrain" else scores(given, init)
        )
    return told


def scores(given: argparse.Namespace, checkpoint: Path) -> dict[str, Any]:
    """Of the captions of the validation split."""
    captioner = Captioner.from_pretrained(str(checkpoint), device="cpu")
    store = RegionStore(given.regions)
    people = read_references(given.data / "captions_val.json")
    found = {}
    for beam in (1, 5):
        written = captioner.caption_many(map(store.regions, people), batch_size=64, beam_width=beam)
        texts = {caption.image_id: caption.text for caption in written if isinstance(caption, Caption)}
        overall = evaluate(texts, people, protocol="aic-icc").overall
        found["greedy" if beam == 1 else f"beam {beam}"] = {each: round(overall[each], 4) for each in SHOWN}
    return found


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--regions", type=Path, required=True)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with captions_train and captions_val"
    )
    parser.add_argument("--minutes", type=float, default=30, help="of processor time, of each way")
    parser.add_argument("--runs", type=Path, default=Path("build/learning"), help="folder of the runs")
    parser.add_argument("--side_by_side", type=int, default=2, help="ways at a time")
    parser.add_argument("--save_every", type=int, default=100)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    given.runs.mkdir(parents=True, exist_ok=True)
    seconds = calibrate(given)
    with ThreadPoolExecutor(given.side_by_side) as pool:
        results = dict(zip(WAYS, pool.map(lambda name: go(given, name, seconds), WAYS), strict=True))
    tell(
        {
            "what": f"{given.minutes:g} minutes of processor time a way, one thread, {given.precision}",
            "machine": machine(),
            "seconds_a_step": {name: round(each, 3) for name, each in seconds.items()},
            "validation split, jieba words": results,
        },
        given.out,
    )


if __name__ == "__main__":
    main()
