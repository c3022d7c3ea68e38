"""What `features.allocator.keep_freed_memory` is worth: the mini detector with and without, in turn.

    python -m benchmarks.allocator --out benchmarks/results/allocator.json

Each measurement is a process of its own (the setting holds for a process); the ratio of their minima counts.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.results import tell

BATCH, REPEATS, ROUNDS = 16, 5, 3


def measure(keep: bool) -> float:
    """Seconds of the fastest batch of random pictures."""
    from features.allocator import keep_freed_memory
    from features.backends.mini import MiniBackend

    if keep:
        keep_freed_memory()
    backend = MiniBackend(None, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    batch = torch.randint(0, 256, (BATCH, 3, 320, 320), dtype=torch.uint8, generator=generator)
    seconds = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        backend.detect(batch, [(320, 320)] * BATCH)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def main() -> None:
    """Alternate both, print and write the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", choices=("keep", "default"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(measure(arguments.one == "keep"))
        return
    seconds: dict[str, list[float]] = {"default": [], "keep": []}
    for _ in range(ROUNDS):
        for setting, found in seconds.items():
            command = [sys.executable, "-m", "benchmarks.allocator", "--one", setting]
            found.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    best = {setting: min(found) for setting, found in seconds.items()}
    result = {
        "what": f"mini detector, {BATCH} pictures a batch, {torch.get_num_threads()} threads",
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "seconds": seconds,
        "pictures_per_second": {setting: round(BATCH / s, 2) for setting, s in best.items()},
        "speed_up": round(best["default"] / best["keep"], 3),
    }
    tell(result, arguments.out)


if __name__ == "__main__":
    main()
