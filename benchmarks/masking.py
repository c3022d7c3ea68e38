r"""Dense against sparse masking at equal wall time: two runs side by side, one thread each, scored alike.

    python -m benchmarks.masking --regions build/flickr8kcn.h5 --train flickr8kcn/captions_train.json \\
        --validation flickr8kcn/captions_val.json --seconds 1200 --out benchmarks/results/masking.json

Both take the settings of configs/flickr8k_cn.yaml, with dropout 0.1 and without label smoothing, and are
validated once, greedily, at the end. Runs that were cut short go on where they stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.results import tell

NEVER = 10**9  # steps between validations; the end of a run validates all the same
SCORES = ("cider", "rouge-l", "bleu-4")


def start(masking: str, given: argparse.Namespace) -> subprocess.Popen[bytes]:
    """A training run with one kind of masks, on one thread."""
    settings = {
        "--config": "configs/flickr8k_cn.yaml",
        "--out": given.runs / masking,
        "--loss.masking": masking,
        "--loss.label_smoothing": 0.0,
        "--model.dropout": 0.1,
        "--data.regions": given.regions,
        "--data.train": given.train,
        "--data.validation": given.validation,
        "--max_seconds": given.seconds,
        "--validation.every": NEVER,
        "--precision": "fp32",
    }
    command = [sys.executable, "-m", "captioning.train", *(str(s) for pair in settings.items() for s in pair)]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})


def result_of(run: Path) -> dict[str, Any]:
    """Steps, captions/s and the scores of a finished run."""
    events = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [event for event in events if event["event"] == "step"]
    last = [event for event in events if event["event"] == "validation"][-1]
    rates = sorted(event["captions_per_second"] for event in steps)
    return {
        "steps": last["step"],
        "epochs": round(steps[-1]["epoch"], 2),
        "captions_per_second_median": round(rates[len(rates) // 2], 1),
        **{name: round(last[name], 4) for name in SCORES},
    }


def main() -> None:
    """Run both, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("regions", "train", "validation"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=1200, help="seconds in training steps, of each run")
    parser.add_argument("--runs", type=Path, default=Path("build/masking"), help="folder of the two runs")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    runs = {masking: start(masking, given) for masking in ("dense", "sparse")}
    for masking, process in runs.items():
        if process.wait():
            sys.exit(f"the {masking} run ended with exit code {process.returncode}")
    results = {masking: result_of(given.runs / masking) for masking in runs}
    tell({"machine": machine(), "seconds": given.seconds, "greedy, jieba words": results}, given.out)


if __name__ == "__main__":
    main()
